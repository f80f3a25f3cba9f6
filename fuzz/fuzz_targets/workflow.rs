#![no_main]

#[path = "../src/workflow.rs"]
mod workflow;

libfuzzer_sys::fuzz_target!(|data: &[u8]| workflow::check(data));
