//! A server's signed form, checked before any call is answered.
//!
//! merchant's server → **[`read`]** → `query`, `period_info`, `period_action`, `do_action`, `settlement_file`.
//!
//! Invariant: the order of checks is fixed: readable, merchant, MAC, known fields, `TimeStamp` within three minutes
//! either way (§1.6). Not here: being asked too often (`http` asks the limiter first), what the fields mean.
//! Failure: [`Unread`]; each call has its own way to say it.

use std::time::Duration;

use tollgate_shared::time::Timestamp;

use super::mac;
use super::request::check_mac;
use crate::app::App;
use crate::config::Merchant;
use crate::form::{self, Fields};

const STAMP_TOLERANCE: Duration = Duration::from_mins(3);

/// A genuine call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) merchant: Merchant,
    pub(crate) fields: Fields,
}

/// Why a call is not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Nobody known sent it, so there is no key to sign an answer with.
    NotGenuine,
    /// It is stale, or has a field that the call does not take.
    Invalid(Call),
}

/// Checks a form.
pub(crate) fn read(app: &App, body: &[u8], allowed: &[&str]) -> Result<Call, Unread> {
    let fields = form::parse(body).map_err(|_| Unread::NotGenuine)?;
    let merchant = app
        .ecpay_merchant(fields.text("MerchantID"))
        .ok_or(Unread::NotGenuine)?;
    check_mac(merchant, &fields).map_err(|_| Unread::NotGenuine)?;
    let call = Call {
        merchant: merchant.clone(),
        fields,
    };
    let known = call
        .fields
        .names()
        .all(|name| allowed.contains(&name) || matches!(name, "MerchantID" | "PlatformID" | "CheckMacValue"));
    let stale = allowed.contains(&"TimeStamp") && !is_fresh(&call.fields, app.clock.now());
    if stale || !known {
        return Err(Unread::Invalid(call));
    }
    Ok(call)
}

fn is_fresh(fields: &Fields, now: Timestamp) -> bool {
    let stamp = fields.text("TimeStamp").parse().ok();
    let stamp = stamp.map(Timestamp::from_unix_seconds);
    stamp.is_some_and(|stamp: Timestamp| stamp.distance(now) <= STAMP_TOLERANCE)
}

/// The raw answer `k=v&k=v`, signed, then sorted as recorded: `amount` stands between `AlipayTradeNo` and `ATMAccBank`.
pub(crate) fn signed(merchant: &Merchant, mut fields: Vec<(String, String)>) -> String {
    fields.push(("CheckMacValue".into(), mac(merchant, &fields)));
    fields.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    raw(&fields)
}

/// An answer without a MAC.
pub(crate) fn raw(fields: &[(String, String)]) -> String {
    fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&")
}

/// Fields of an answer.
pub(crate) fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
