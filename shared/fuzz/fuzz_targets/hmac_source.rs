//! Fuzz target: `entries::hmac_source`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollgate_shared_fuzz::entries::hmac_source(data));
