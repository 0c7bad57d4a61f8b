//! Handing a running node's flows over to another process. See README.md.

mod export;
mod import;
mod record;
mod stream;

pub use export::{Exported, export};
pub use import::{Imported, import};
pub use stream::{Unreadable, VERSION};

/// An empty file in memory for a stream.
///
/// # Errors
/// What the system says.
pub fn memory_file() -> std::io::Result<std::fs::File> {
    Ok(rustix::fs::memfd_create("ringlead-flows", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}
