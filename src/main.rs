//! The command line of tinqs-ci.

fn main() {}
