//! The traffic generator: flows, frames, sending at a rate, receiving, and honest trials.
