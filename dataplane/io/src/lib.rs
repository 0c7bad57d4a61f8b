//! Frames in and out: [`Frames`] (one worker's packet memory), [`Port`] (one receive and transmit queue over it) and the drivers.
#![cfg_attr(not(test), warn(missing_docs))]

pub mod af_xdp;
mod causes;
pub mod device;
pub mod frames;
pub mod listen;
pub mod mem;
mod owners;
pub mod packet;
pub mod pcap;
pub mod port;
mod region;
pub mod steer;

pub use frames::{Frame, Frames};
pub use mem::MemPort;
pub use port::{Caps, FrameList, Port, PortStats};
