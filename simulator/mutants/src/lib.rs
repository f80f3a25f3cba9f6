//! Mechanisms switched off one by one: `tests/mutants.rs` shows that each breaks a law.
