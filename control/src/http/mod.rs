//! HTTP/1.1 on listeners of this node's: few connections, short ones, and never the control loop's time. What is asked and answered is a
//! [`Handler`]'s.
//!
//! ```text
//! open(address, beside: servers that may be in its way) ──> Opened ──begin──> Server ──close──> its connections end after their answer
//!         connections wait                                         they are answered
//! ```

mod answer;
mod peers;
mod place;
mod server;

pub(crate) use answer::{Answer, response, text};
pub(crate) use place::{Opened, open};
pub use server::Server;
pub(crate) use server::{Handler, REQUEST_WAIT_MAX};

#[cfg(test)]
mod tests;
