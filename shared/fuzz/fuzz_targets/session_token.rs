//! Fuzz target: `entries::session_token`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollgate_shared_fuzz::entries::session_token(data));
