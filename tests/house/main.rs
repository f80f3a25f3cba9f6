//! Repository rules: imports between files and crates, file locations, forbidden content.

mod book;
mod crates;
mod files;
mod graph;
mod imports;
mod retired;
mod text;
mod tree;
mod words;
mod workflows;
