//! A server's sealed call, opened and answered.
//!
//! merchant's server → **[`answer`]** → `query`, `contract_calls`, `charge_calls`, `credit` → JSON with a sealed inner form.
//!
//! Invariant: a reply is sealed under the merchant's key, with its own Status inside as outside; a refusal is the bare
//! Status and Message, HTTP 200 as PAYUNi does (A.3).
//! Not here: what the calls mean. Failure: the refusal's code as Status.

use serde_json::{Map, Value, json};

use super::envelope::{self, Refusal, seal};
use super::rules::{self, Rule};
use crate::app::App;
use crate::config::Merchant;
use crate::form::Fields;

/// What a call takes, and how its reply is labelled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) versions: &'static [&'static str],
    pub(crate) table: &'static [Rule],
    pub(crate) reply_version: &'static str,
    /// Whether the call carries a Timestamp; the period calls list none (A.3).
    pub(crate) stamped: bool,
}

/// The inner fields of a reply; `Status` stands first.
pub(crate) type Inner = Vec<(String, String)>;

/// Opens, checks, works, seals.
pub(crate) fn answer(
    app: &App,
    body: &[u8],
    terms: Terms,
    work: impl FnOnce(&Merchant, &Fields) -> Result<Inner, Refusal>,
) -> Value {
    match reply(app, body, terms, work) {
        Ok(outer) => outer
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)))
            .collect::<Map<_, _>>()
            .into(),
        Err(refusal) => json!({ "Status": refusal.code, "Message": refusal.text }),
    }
}

fn reply(
    app: &App,
    body: &[u8],
    terms: Terms,
    work: impl FnOnce(&Merchant, &Fields) -> Result<Inner, Refusal>,
) -> Result<Inner, Refusal> {
    let (merchant, fields) = envelope::open(&app.config, body, terms.versions)?;
    rules::check(terms.table, &fields, app.config.standard_ports_only)?;
    if terms.stamped {
        super::checkout::check_stamp(&fields, app.clock.now())?;
    }
    let inner = work(&merchant, &fields)?;
    let status = inner.first().map_or("", |(_, value)| value.as_str());
    Ok(seal(&merchant, status, terms.reply_version, &inner))
}

/// A successful reply with these fields.
pub(crate) fn success(message: &str, fields: &[(&str, &str)]) -> Inner {
    let head = [("Status", "SUCCESS"), ("Message", message)];
    owned(head.iter().chain(fields))
}

/// Inner fields.
pub(crate) fn owned<'a>(fields: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Inner {
    fields
        .into_iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
