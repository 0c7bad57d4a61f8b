//! How many files and sockets this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringlead_control::health::SOCKETS_MAX;

/// Files besides those of checks: rings and maps of the dataplane, doors and who comes by them, logs, state.
const OTHERS: u64 = 512;

/// Raises the limit of open files to what the process may have at most. Without one to spare a check says nothing of its server, the
/// admin socket answers nobody and no state is saved: a limit that is too low for that is told, with what mends it.
pub(crate) fn allow() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match raised {
        Ok(limit) => {
            if let Some(why) = too_few(limit) {
                tracing::warn!(event = "start", "{why}");
            }
        }
        Err(error) => tracing::warn!(event = "start", %error, "the limit of open files could not be raised"),
    }
}

/// Why so many open files are too few, if they are.
fn too_few(limit: u64) -> Option<String> {
    let wanted = u64::try_from(SOCKETS_MAX).unwrap_or(u64::MAX).saturating_add(OTHERS);
    (limit < wanted).then(|| {
        format!(
            "this process may have {limit} open files: health checks can take {SOCKETS_MAX} at one time, and a server whose check gets \
             none stays as it is; allow {wanted} (ulimit -Hn, LimitNOFILE= of the unit)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        let limit = || getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let (_, hard) = limit();
        setrlimit(Resource::RLIMIT_NOFILE, hard / 2, hard).unwrap();
        allow();
        assert_eq!(limit(), (hard, hard));
    }

    #[test]
    fn too_low_a_limit_is_told_with_what_mends_it() {
        let wanted = u64::try_from(SOCKETS_MAX).unwrap() + OTHERS;
        assert_eq!(too_few(wanted), None);
        let why = too_few(wanted - 1).unwrap();
        assert!(why.contains(&format!("allow {wanted} (ulimit -Hn")), "{why}");
    }
}
