//! The command blocks of the README and the book: each says which test runs it, or what it needs
//! that no test has. Those of one host run here, as they are printed, with the real binary and a
//! forge on loopback.

mod book;
mod marks;
mod operations;
mod play;
mod removal;
mod rotation;
