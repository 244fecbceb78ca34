//! See `fuzz::id_maps`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::id_maps(data));
