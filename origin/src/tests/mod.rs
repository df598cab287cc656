//! The origin as a whole: real HTTP on a free port, a real Postgres, a signed hop, a clock that the test moves.
//!
//! A test plays the edge: it signs calls and forwards notices that the provider's keys signed. Names begin with the
//! requirement that they prove. What the edge itself does is tested in `edge/` and in `xtask/tests`.

#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

mod admin;
mod chosen_day;
mod chosen_day_checkout;
mod contract_ends;
mod contract_numbers;
mod contracts;
mod counterpart;
mod customer_notices;
mod disputes;
mod dunning;
mod every_step;
mod every_step_subscriptions;
mod health;
mod held_charges;
mod hop;
mod inbox;
mod jobs;
mod notices;
mod packs;
mod payment_polls;
mod permutations;
mod plan_changes;
mod provider;
mod provider_limits;
mod purchases;
mod reconciliation;
mod refunds;
mod schedule;
mod service;
mod settlement_file;
mod smtp;
pub(crate) mod stage;
mod stored_cards;
mod sweep;
mod sweep_faults;
mod test_clock;
mod timeouts;
mod told_dates;
mod user_core;
