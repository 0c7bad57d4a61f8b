//! The packet path in memory: `ringlead bench core` without building the whole binary. See ../README.md.

fn main() {}
