//! See `fuzz::pax`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::pax(data));
