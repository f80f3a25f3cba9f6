#![no_main]

#[path = "../src/glob.rs"]
mod glob;

libfuzzer_sys::fuzz_target!(|data: &[u8]| glob::check(data));
