//! See `fuzz::mounts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::mounts(data));
