//! The house rules that a machine can check: how imports go, what lies where, what no file may hold.

mod crates;
mod files;
mod graph;
mod imports;
mod text;
mod tree;
