//! See `fuzz::users`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::users(data));
