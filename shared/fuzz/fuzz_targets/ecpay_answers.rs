//! Fuzz target: `entries::ecpay_answers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollgate_shared_fuzz::entries::ecpay_answers(data));
