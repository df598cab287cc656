//! The tests of the shared core, as one program: they link once and share their fixtures.
//!
//! `vectors` (published and recorded values) · `notices` (what a notice means) · `contract` (every provider alike) ·
//! `checkout` (limits) · `queries` and `calls` (requests and answers) · `observed` (what polling finds) ·
//! `stored_cards` · `settlement` (ECPay's file) · `sessions` · `csrf` · `settings` · `golden` (wire formats ever sent) ·
//! `differential` (the `ecpay` crate and ECPay's Node SDK) · `properties` and `smoke` (generated input).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a failed assumption of a test is a failed test"
)]

mod calls;
mod checkout;
mod contract;
mod csrf;
mod differential;
mod fixtures;
mod golden;
mod notices;
mod observed;
mod properties;
mod queries;
mod sessions;
mod settings;
mod settlement;
mod smoke;
mod stored_cards;
mod vectors;
