//! Fuzz target: `entries::form_body`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollgate_shared_fuzz::entries::form_body(data));
