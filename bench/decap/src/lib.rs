//! The server's side of tunnel mode where the server's kernel has no tunnels: an XDP program on the server's own port
//! takes the outer headers off what the balancer sends in IPIP or GUE, and the kernel sees the inner packet only.
//!
//! ```no_run
//! # fn main() -> Result<(), ringlead_decap::DecapError> {
//! let decap = ringlead_decap::Decap::attach("eth1", &["192.0.2.11".parse().unwrap()], 6080)?;
//! println!("{:?}", decap.counters());
//! # Ok(())
//! # }
//! ```

mod counters;
mod decap;
mod error;
mod layout;
mod outer;
mod program;
#[cfg(test)]
mod tests;

pub use counters::{Counters, Taken};
pub use decap::{ADDRESSES_MAX, Decap};
pub use error::DecapError;
pub use outer::{Kind, Outer};

/// The UDP port of GUE, as IANA assigned it.
pub const GUE_PORT: u16 = 6080;
