#![no_main]

#[path = "../src/boot.rs"]
mod boot;

libfuzzer_sys::fuzz_target!(|data: &[u8]| boot::check(data));
