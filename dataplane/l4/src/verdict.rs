//! What was decided about a frame, in words. Built only for drivers that write it down.

use crate::drops::Drop;
use std::fmt;

/// One frame's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Sent on to a server.
    ToServer {
        /// The service's name.
        service: &'a str,
        /// Its mode.
        mode: &'a str,
        /// The server's name.
        server: &'a str,
        /// Whether this frame made the flow.
        new: bool,
    },
    /// A server's packet, sent on to the client.
    ToClient {
        /// The service's name.
        service: &'a str,
        /// The server's name.
        server: &'a str,
    },
    /// Sent to the server that the pool's algorithm computes, without a flow.
    Stateless,
    /// Made by the worker itself: what it is.
    Answer(&'a str),
    /// Waits for its next hop.
    Held,
    /// Not sent on.
    Dropped(Drop),
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToServer { service, mode, server, new } => {
                let flow = if *new { "new flow" } else { "flow" };
                write!(f, "to server: {service} ({mode}) -> {server}, {flow}")
            }
            Self::ToClient { service, server } => write!(f, "to client: {service} <- {server}"),
            Self::Stateless => f.write_str("to server: computed, without a flow"),
            Self::Answer(what) => write!(f, "answer: {what}"),
            Self::Held => f.write_str("held: the next hop's Ethernet address is not known yet"),
            Self::Dropped(reason) => write!(f, "drop: {}", reason.name()),
        }
    }
}
