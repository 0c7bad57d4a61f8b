//! `ringlead flow kill`: ends flows, page by page.

use super::daemon;
use super::listing::refused;
use crate::cli::KillArgs;
use crate::out::print;
use ringlead_control::admin::client;
use ringlead_control::engine::requests::flows::KillAnswer;
use serde_json::json;
use std::process::ExitCode;

/// Ends them. Exit status 0; 1: none matched; 2: refused, or no answer.
pub(crate) fn kill(args: &KillArgs) -> ExitCode {
    let (ended, computed) = match all_pages(args) {
        Ok(counts) => counts,
        Err(why) => return refused("flow kill", &why),
    };
    let text = if args.json {
        format!("{:#}\n", json!({ "format": 1, "ended": ended, "computed": computed }))
    } else {
        said(ended, computed)
    };
    print(&text);
    if ended == 0 { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn all_pages(args: &KillArgs) -> Result<(usize, usize), String> {
    let socket = daemon::socket(&args.daemon)?;
    let (mut ended, mut computed, mut cursor) = (0, 0, Some(0));
    while let Some(at) = cursor {
        let request =
            json!({ "command": "flow-kill", "filter": args.filter.filter(), "all": args.all, "cursor": at });
        let answer = client::request(&socket, &request).map_err(|why| match ended {
            0 => why.to_string(),
            _ => format!("{why}, after {ended} flows were ended"),
        })?;
        let page: KillAnswer = serde_json::from_value(answer)
            .map_err(|error| format!("the daemon's answer is of another version: {error}"))?;
        ended += page.ended;
        computed += page.computed;
        cursor = page.next;
    }
    Ok((ended, computed))
}

fn said(ended: usize, computed: usize) -> String {
    let flows = |n: usize| if n == 1 { "1 flow".to_owned() } else { format!("{n} flows") };
    let mut text = format!("{} ended\n", flows(ended));
    if computed > 0 {
        text.push_str(&format!(
            "{} of services whose server is computed from the packet (maglev): the next packet of an open connection makes the flow again; drain or take its server offline to move it\n",
            flows(computed)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn what_was_ended_is_told_with_what_will_come_again() {
        assert_eq!(said(0, 0), "0 flows ended\n");
        assert_eq!(said(1, 0), "1 flow ended\n");
        let text = said(3, 2);
        assert!(text.starts_with("3 flows ended\n2 flows of services whose server is computed"), "{text}");
    }
}
