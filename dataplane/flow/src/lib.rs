//! The flow table: lock-free, sharded, shared by all workers. See README.md for how and why.

mod account;
mod age;
mod entry;
mod flow;
mod flow_table;
mod hit;
mod insert;
mod key;
mod link;
mod memory;
mod packed;
mod processor;
mod room;
mod shard;
mod slot;
pub mod snat;
mod state;
mod step;
mod sync;
mod table;
mod tcp;
mod tick;
mod timer;
mod tuple;

pub use account::{Account, Volume};
pub use flow::{EntryRef, Flow, FlowSpec, Gone, Inserted, ServerId, Side};
pub use flow_table::{Count, FlowTable, Sizes, TableError};
pub use hit::Hit;
pub use link::Link;
pub use packed::Packed;
pub use room::Room;
pub use state::{Outcome, State};
pub use tcp::Phase;
pub use tick::Tick;
pub use timer::Profile;
pub use tuple::Tuple;

#[cfg(all(test, not(loom)))]
mod parked;
