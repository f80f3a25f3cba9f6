//! Quick tests of the decision and of records, in one program: mutation tests build it some thousand
//! times, with `controller` and `plan_table` of the crate `testing` (`docs/testing.md`).

mod credentials;
mod drift;
mod names;
mod records;
mod repositories;
mod usage;
