//! Small HTTP/1.1 servers of the control thread: an address that may move, few connections, short ones.
//!
//! ```text
//! open(address, beside: servers that may be in its way) ──> Opened ──Server::begin──> Server ──close──> gone
//!         nobody is answered yet                                                        its connections end after their answer
//! ```

mod place;
mod server;

pub use place::{Opened, open};
pub use server::{Answer, Limits, Server};

#[cfg(test)]
mod tests;
