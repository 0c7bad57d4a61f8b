//! `ringlead bench core`.
