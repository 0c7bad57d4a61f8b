//! The flow table: shared by all workers, sharded, lock-free. See README.md.
