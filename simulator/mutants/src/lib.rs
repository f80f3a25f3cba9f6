//! Switches mechanisms off one by one: `tests/mutants` shows that each mutant breaks a law.
