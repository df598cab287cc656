//! The sandbox over real HTTP, with a receiver that answers as a test tells it.
//!
//! Each test starts its own sandbox and its own receiver on free ports, so all run in parallel. Nothing sleeps: tests wait
//! for the n-th delivery to arrive, with a deadline. Requirements named here: PM-4 and PM-8 (notices and their cases),
//! PU-1 to PU-7 (PAYUNi), EC-1, EC-2, EC-9, OP-5 (contracts), as far as the other side of the wire plays a part in them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "functions of tests, not of the product"
)]

mod agreement;
mod agreement_calls;
mod calendar;
mod checkout;
mod contracts;
mod control;
mod ecpay_calls;
mod mails;
mod mock;
mod notices;
mod payuni;
mod payuni_calls;
mod payuni_cards;
mod query;
mod receiver;
mod settlement_file;
mod stage;
mod turnstile;
