//! The commands that people copy from the README and the book, and the messages they search it for.
//!
//! Each command block says which test runs it, or what it needs that no test has; those of one host
//! run here, as they are printed, with the real binary and a forge on loopback. Each quoted message
//! is in the sources.

mod book;
mod marks;
mod messages;
mod operations;
mod play;
mod removal;
mod rotation;
