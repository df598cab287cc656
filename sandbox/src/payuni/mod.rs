//! The fake PAYUNi: `/api/upp`, `/api/period/Page`, their notices, and `/api/trade/query`.
//!
//! browser form → `envelope` opens it → `upp` or `period` checks → `trade` ⇄ cashier → **`notice`** → the merchant.
//!
//! Invariant: an independent check, as at the fake ECPay: field tables of their own from the reference (A.3 to A.10);
//! only the cipher, the hash, money and time are Tollgate's. Codes that are not documented are not invented: what
//! PAYUNi would say is unknown there, and the sandbox says `SANDBOX01` with the field's name.
//! Not here: pages (`cashier`), re-sending (`delivery`; PAYUNi documents no schedule, the sandbox uses ECPay's).
//! Failure: [`Refusal`](envelope::Refusal), as a page to a browser and as JSON to a server.

pub(crate) mod checkout;
pub(crate) mod envelope;
pub(crate) mod notice;
pub(crate) mod query;
pub(crate) mod rules;
