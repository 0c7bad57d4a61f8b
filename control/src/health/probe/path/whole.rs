//! A whole connection, and by it what a direct check of the same type asks.

use std::sync::Arc;

use tokio::time::timeout_at;

use super::super::{Attempt, Outcome, failed, http, in_words, inconclusive, judge, tls};
use super::source::reserve;
use super::stream::{Ends, Stream};
use super::{Call, Road};
use crate::health::Probe;
use crate::health::trust::Trust;

pub(super) async fn ask(call: &Call<'_>, road: &Road, trust: &Trust) -> Attempt {
    let service = road.service;
    let stream = connect(call, road).await?;
    let answer = async {
        match &*call.probe.asks {
            Probe::Tls(tls) => tls::over(tls, service, stream, trust).await,
            Probe::Http(http) => http::over(http, service, stream, trust).await,
            Probe::Tcp | Probe::Path(_) | Probe::Icmp | Probe::Udp(_) | Probe::Dns(_) | Probe::Agent(_) => {
                Err(inconclusive("it has no connection"))
            }
        }
    };
    let in_time = timeout_at(call.deadline, answer).await;
    let answer = in_time.unwrap_or_else(|_| {
        Err(failed(format!("it accepts, but gives no answer within {}", in_words(call.timeout))))
    });
    answer.map_err(|outcome| at(road, outcome))
}

async fn connect(call: &Call<'_>, road: &Road) -> Result<Stream, Outcome> {
    let busy = || inconclusive("too many checks are under way");
    let port = reserve(call.source)?;
    let ear = call.waiting().connection(port.address, road.service).ok_or_else(busy)?;
    let closes = Arc::clone(&call.probe.prober.0.closes);
    let way = call.way(road)?;
    let send = Box::new(move |packet: &[u8]| way.send(packet));
    let ends = Ends { send, ear, port, service: road.service, closes };
    match Stream::connect(ends, call.deadline).await {
        Ok(Some(stream)) => Ok(stream),
        Ok(None) => Err(call.silence(road)),
        Err(error) => Err(at(road, judge(&error))),
    }
}

/// A failure of one of several addresses.
fn at(road: &Road, outcome: Outcome) -> Outcome {
    if let Outcome::Failed(reason) = outcome {
        return failed(format!("{}: {reason}", road.service));
    }
    outcome
}
