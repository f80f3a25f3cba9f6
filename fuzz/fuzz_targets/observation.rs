#![no_main]

#[path = "../src/observation.rs"]
mod observation;

libfuzzer_sys::fuzz_target!(|data: &[u8]| observation::check(data));
