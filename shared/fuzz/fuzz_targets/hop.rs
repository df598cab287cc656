//! Fuzz target: `entries::hop`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollgate_shared_fuzz::entries::hop(data));
