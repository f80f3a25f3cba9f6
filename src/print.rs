//! What the command line prints: pure text.

mod escape;

pub use escape::{cut, escape, is_dangerous};
