//! One line of an agent (HAProxy's agent protocol): connect, send perhaps, read to the end of the line.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Outcome, failed, judge, tcp};
use crate::health::{AgentProbe, AgentReply};

/// No line is longer.
const LINE_MAX: usize = 1024;

pub(super) async fn attempt(probe: &AgentProbe, target: SocketAddr) -> Result<AgentReply, Outcome> {
    let mut stream = tcp::connect(target).await?;
    stream.write_all(probe.send.as_bytes()).await.map_err(|error| judge(&error))?;
    let mut text = Vec::with_capacity(64);
    let mut chunk = [0; 256];
    while text.len() < LINE_MAX && !text.iter().any(|byte| ends(*byte)) {
        match stream.read(&mut chunk).await.map_err(|error| judge(&error))? {
            0 => break,
            n => text.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    }
    let line = text.split(|byte| ends(*byte)).next().unwrap_or_default();
    AgentReply::parse(&String::from_utf8_lossy(line)).map_err(failed)
}

const fn ends(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}
