//! PAYUNi's server calls: how a request is sealed and a reply is opened.
//!
//! origin's gateway sends **request** → PAYUNi → **reply** → `period_calls`, `trade_calls`, `credit`, `observed`.
//!
//! A reply is JSON `{Status, MerID, Version, EncryptInfo, HashInfo}`; sealed inside is a form whose lists are written with
//! brackets, `Result[0][Period]=1`, escaped or not (reference A.1, #/7/320). On an error EncryptInfo may be missing;
//! an unknown path answers an HTML page. Invariant: fields that are returned were sealed for us; the outer Status
//! counts only where nothing is sealed, and then as an error. The reply's Version is not compared (A.3).
//! Not here: what a call's fields mean (the files named above).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Payuni;
use super::verify::open;
use super::wire::{Fields, is_undecided};
use crate::form::Form;
use crate::provider::{Refusal, ServerRequest};

/// 900 periods of 8 fields are the longest reply; this leaves room.
const FIELDS_MAX: usize = 16_384;

pub(super) const SUCCESS: &str = "SUCCESS";

/// What PAYUNi answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The inner Status; `SUCCESS` is the only success.
    pub status: String,
    /// PAYUNi's words.
    pub message: String,
    /// The fields that are in no list.
    pub fields: BTreeMap<String, String>,
    /// The rows of `Result[…]`, in order of their index.
    pub results: Vec<BTreeMap<String, String>>,
}

/// Why a reply gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Not the JSON of a reply: a wrong path answers a web page.
    #[error("not a PAYUNi reply; is the path right?")]
    NotAReply,
    /// PAYUNi refused the call before it sealed an answer.
    #[error("PAYUNi refused the call: {status}")]
    Refused {
        /// Its code.
        status: String,
        /// Its words.
        message: String,
    },
    /// The envelope is not for us, or damaged.
    #[error("the reply's envelope is not ours")]
    Envelope(#[source] Refusal),
    /// What is sealed is not what this call answers.
    #[error("the reply's fields are not those of this call")]
    Fields(#[source] Refusal),
}

/// What became of a call that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallReply {
    /// `SUCCESS`
    Done,
    /// Nobody knows yet (`UNKNOWN`, `API00009` and their like). It may be done, or be done later: ask before calling again.
    Undecided {
        /// `Status`
        code: String,
    },
    /// Anything else, with PAYUNi's words.
    Refused {
        /// `Status`
        code: String,
        /// `Message`, for a person.
        message: String,
    },
}

#[derive(Deserialize)]
struct Outer {
    #[serde(rename = "Status", default)]
    status: String,
    #[serde(rename = "Message", default)]
    message: String,
    #[serde(rename = "EncryptInfo", default)]
    encrypt_info: String,
    #[serde(rename = "HashInfo", default)]
    hash_info: String,
}

/// A sealed request to a server; `None` for unusable keys.
pub(super) fn request(
    payuni: &Payuni,
    base_url: &str,
    path: &str,
    version: &str,
    inner: &[(&str, String)],
) -> Option<ServerRequest> {
    let inner: Vec<(String, String)> = inner
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let fields = payuni.envelope(version, &inner)?;
    Some(ServerRequest {
        url: format!("{}{path}", base_url.trim_end_matches('/')),
        fields,
    })
}

/// A reply of our own making, in the same envelope; `None` for unusable keys.
pub(super) fn seal(payuni: &Payuni, inner: &[(String, String)]) -> Option<Vec<u8>> {
    let outer: BTreeMap<String, String> = payuni.envelope("1.0", inner)?.into_iter().collect();
    serde_json::to_vec(&outer).ok()
}

/// Opens a server's reply.
pub fn read(payuni: &Payuni, json: &[u8]) -> Result<Reply, ReplyError> {
    let outer: Outer = serde_json::from_slice(json).map_err(|_| ReplyError::NotAReply)?;
    if outer.encrypt_info.is_empty() {
        return Err(ReplyError::Refused {
            status: outer.status,
            message: outer.message,
        });
    }
    let plaintext =
        open(&payuni.keys, &outer.encrypt_info, &outer.hash_info).map_err(ReplyError::Envelope)?;
    parse(&plaintext).map_err(ReplyError::Envelope)
}

/// Opens the reply of a call that changes something. A refusal may come unsealed (A.3); it moves nothing.
pub(super) fn outcome(payuni: &Payuni, json: &[u8]) -> Result<(CallReply, Reply), ReplyError> {
    let reply = match read(payuni, json) {
        Ok(reply) => reply,
        // Unsealed, even the word SUCCESS is no success.
        Err(ReplyError::Refused { status, message }) if !status.is_empty() && status != SUCCESS => Reply {
            status,
            message,
            fields: BTreeMap::new(),
            results: Vec::new(),
        },
        Err(error) => return Err(error),
    };
    let call = match reply.status.as_str() {
        SUCCESS => CallReply::Done,
        code if is_undecided(code) => CallReply::Undecided {
            code: code.to_owned(),
        },
        code => CallReply::Refused {
            code: code.to_owned(),
            message: reply.message.clone(),
        },
    };
    Ok((call, reply))
}

/// Reads the sealed text of a reply: plain fields, and the rows of `Result[index][name]`.
pub fn parse(plaintext: &[u8]) -> Result<Reply, Refusal> {
    let form = Form::parse_at_most(plaintext, FIELDS_MAX).map_err(Refusal::Form)?;
    let mut fields = BTreeMap::new();
    let mut rows: BTreeMap<u32, BTreeMap<String, String>> = BTreeMap::new();
    for (name, value) in form.fields() {
        match row_and_name(name) {
            Some((row, member)) => {
                // `Result[0]` and `Result[00]` are one row, so a member could come twice under two spellings.
                let twice = rows
                    .entry(row)
                    .or_default()
                    .insert(member.to_owned(), value.to_owned());
                if twice.is_some() {
                    return Err(Refusal::Malformed("a member of Result occurs twice"));
                }
            }
            None => {
                fields.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let outside = Fields::Notice(&form);
    Ok(Reply {
        status: outside.text("Status"),
        message: outside.text("Message"),
        fields,
        results: rows.into_values().collect(),
    })
}

fn row_and_name(key: &str) -> Option<(u32, &str)> {
    let (row, rest) = key.strip_prefix("Result[")?.split_once("][")?;
    let name = rest.strip_suffix(']')?;
    let digits = !row.is_empty() && row.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        Some((row.parse().ok()?, name))
    } else {
        None
    }
}
