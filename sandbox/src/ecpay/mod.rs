//! The fake ECPay: `AioCheckOut` V5, its notices and its query, as strict as the real one is known to be.
//!
//! browser form → `request` checks → `trade` ⇄ cashier → **`notice`** → the merchant; `query` answers questions.
//!
//! Invariant: this is an independent check. Fields, limits and codes stand here in tables of their own, written from
//! the reference (§1.3, §1.4, §1.6); only the MAC, money and time are Tollgate's.
//! `period_info`, `period_action`, `do_action`, `settlement_file`: what a server asks and orders afterwards (§1.7), of which
//! ECPay's own stage offers little.
//! Not here: pages (`cashier`), re-sending (`delivery`), the contract itself (`contract`).
//! Failure: a [`Refusal`](request::Refusal) with ECPay's code, shown as a page.

mod call;
pub(crate) mod checkout;
pub(crate) mod do_action;
pub(crate) mod notice;
pub(crate) mod period_action;
pub(crate) mod period_info;
pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod rules;
pub(crate) mod settlement_file;

use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};

use crate::config::Merchant;

/// The `CheckMacValue` of fields, under a merchant's key (SHA-256, the only one AIO uses).
pub(crate) fn mac(merchant: &Merchant, fields: &[(String, String)]) -> String {
    let borrowed = fields.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    check_mac_value(
        borrowed,
        merchant.hash_key.expose(),
        merchant.hash_iv.expose(),
        Algorithm::Sha256,
    )
}

/// ECPay's wall clock. A sandbox clock moved beyond the year 9999 prints nothing.
pub(crate) fn wall_clock(at: Timestamp) -> String {
    at.to_taipei(ECPAY_FORMAT).unwrap_or_default()
}
