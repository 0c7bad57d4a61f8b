//! The independent judge of what came back.
