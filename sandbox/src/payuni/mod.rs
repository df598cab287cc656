//! The fake PAYUNi: its pages, its notices, and the calls of a merchant's server.
//!
//! browser form → `envelope` opens it → `upp` or `period` checks → `trade` ⇄ cashier → **`notice`** → the merchant.
//!
//! server → `call` → `query`, `contract_status`, `contract_query`, `contract_change`, `charge_calls`, `credit`.
//!
//! Invariant: an independent check, as at the fake ECPay: field tables of their own from the reference (A.3 to A.12);
//! only the cipher, the hash, money and time are Tollgate's. Codes that are not documented are not invented: what
//! PAYUNi would say is unknown there, and the sandbox says `SANDBOX01` with the field's name.
//! Not here: pages (`cashier`), re-sending (`delivery`; PAYUNi documents no schedule, the sandbox uses ECPay's).
//! Failure: [`Refusal`](envelope::Refusal), as a page to a browser and as JSON to a server.

mod call;
pub(crate) mod charge_calls;
pub(crate) mod checkout;
pub(crate) mod contract_change;
pub(crate) mod contract_query;
pub(crate) mod contract_status;
pub(crate) mod credit;
pub(crate) mod envelope;
pub(crate) mod exchange_page;
pub(crate) mod notice;
pub(crate) mod query;
pub(crate) mod rules;
