//! Half a handshake: a SYN, and a reset behind it, after the server's answer or in its stead. Its program never sees it.

use tokio::time::{Instant, timeout_at};

use super::super::{Attempt, Outcome, Passed, failed, inconclusive, judge};
use super::ear::{Answer, Ticket};
use super::segment::{RST, SYN, Segment};
use super::source::{Port, reserve};
use super::way::Way;
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
    let mut half = Half { segment, way, is_open: false, _ticket: ticket, _port: port };
    for rest in (0..TRIES).rev() {
        half.open()?;
        // What is left, in equal parts.
        let left = call.deadline.saturating_duration_since(Instant::now());
        match timeout_at(Instant::now() + left / (rest + 1), &mut told).await {
            Ok(Ok(Answer::Accepted)) => return Ok(Passed::new("accepted")),
            Ok(Ok(Answer::Refused)) => {
                half.is_open = false;
                return Err(failed(format!("{}: connection refused", road.service)));
            }
            Ok(Err(_)) => return Err(inconclusive("nobody hears the answers")),
            Err(_) => {}
        }
    }
    Err(call.silence(road))
}

/// What a server may have of a check: reset when this is dropped, so also where the check is broken off.
struct Half {
    /// The SYN.
    segment: Segment,
    way: Way,
    /// Whether the server may have it.
    is_open: bool,
    _ticket: Ticket,
    _port: Port,
}

impl Half {
    fn open(&mut self) -> Result<(), Outcome> {
        self.send(&self.segment)?;
        self.is_open = true;
        Ok(())
    }

    fn send(&self, segment: &Segment) -> Result<(), Outcome> {
        let packet = segment.packet();
        let packet = packet.ok_or_else(|| inconclusive("a service and its check are of two IP families"))?;
        self.way.send(&packet).map_err(|error| judge(&error))
    }
}

impl Drop for Half {
    /// Also where nothing was heard: an answer that is lost keeps the server waiting for a minute.
    fn drop(&mut self) {
        if self.is_open {
            let sequence = self.segment.sequence.wrapping_add(1);
            // There is nobody left to tell.
            let _ = self.send(&Segment { sequence, flags: RST, ..self.segment });
        }
    }
}
