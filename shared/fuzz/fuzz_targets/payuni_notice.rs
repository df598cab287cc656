//! Fuzz target: `entries::payuni_notice`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollgate_shared_fuzz::entries::payuni_notice(data));
