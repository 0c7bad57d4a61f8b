//! Half a handshake: a SYN, and a reset after the server's answer. Its program never sees it.

use tokio::time::{Instant, timeout_at};

use super::super::{Attempt, Passed, failed, inconclusive, judge};
use super::ear::Answer;
use super::segment::{RST, SYN, Segment};
use super::source::reserve;
use super::{Call, Road, TRIES};

pub(super) async fn ask(call: &Call<'_>, road: &Road) -> Attempt {
    let way = call.way(road)?;
    let port = reserve(call.source)?;
    let (ticket, mut told) = call
        .waiting()
        .ask(port.address, road.service)
        .ok_or_else(|| inconclusive("too many checks are under way"))?;
    let segment =
        Segment { source: port.address, service: road.service, sequence: ticket.sequence, flags: SYN };
    let send = |segment: &Segment| {
        let packet = segment.packet();
        let packet = packet.ok_or_else(|| inconclusive("a service and its check are of two IP families"))?;
        way.send(&packet).map_err(|error| judge(&error))
    };
    for rest in (0..TRIES).rev() {
        send(&segment)?;
        // What is left, in equal parts.
        let left = call.deadline.saturating_duration_since(Instant::now());
        match timeout_at(Instant::now() + left / (rest + 1), &mut told).await {
            Ok(Ok(Answer::Accepted)) => {
                // It has answered, whatever becomes of this.
                let _ = send(&Segment { sequence: ticket.sequence + 1, flags: RST, ..segment });
                return Ok(Passed::new("accepted"));
            }
            Ok(Ok(Answer::Refused)) => return Err(failed(format!("{}: connection refused", road.service))),
            Ok(Err(_)) => return Err(inconclusive("nobody hears the answers")),
            Err(_) => {}
        }
    }
    Err(call.silence(road))
}
