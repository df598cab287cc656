//! Fuzz target: `entries::ecpay_settlement_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollgate_shared_fuzz::entries::ecpay_settlement_file(data));
