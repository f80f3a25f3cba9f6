//! The quick tests of the decision and of the controller in one program, which is built in a second:
//! mutation testing builds it some thousand times (`docs/testing.md`).

#[path = "another_row.rs"]
mod another_row;
#[path = "breaker.rs"]
mod breaker;
#[path = "line.rs"]
mod line;
#[path = "looks.rs"]
mod looks;
#[path = "names.rs"]
mod names;
#[path = "../../tests/plan_table.rs"]
mod plan_table;
#[path = "records.rs"]
mod records;
