//! What a run measured, where, and how it is shown.
