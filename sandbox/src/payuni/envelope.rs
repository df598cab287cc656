//! PAYUNi's outer form: merchant, version, sealed inner fields and their hash.
//!
//! a posted form → **`open`** → inner fields; inner fields → **`seal`** → an outer form.
//!
//! Invariant: the order of checks is fixed: merchant (DEF01005), version (API00003, API00001), hash (DEF01007),
//! decryption (DEF01002), the same merchant inside (A.3, A.12). Sealing uses the key as configured, untrimmed.
//! Not here: the inner fields (`rules`). Failure: [`Refusal`].

use tollgate_shared::provider::payuni::cipher;

use crate::config::{Config, Merchant};
use crate::form::{self, Fields};

/// PAYUNi's refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({code})")]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    /// What PAYUNi answers here is documented nowhere.
    pub(crate) fn undocumented(text: impl Into<String>) -> Self {
        Self::new("SANDBOX01", text)
    }
}

const OUTER: [&str; 5] = ["MerID", "Version", "EncryptInfo", "HashInfo", "IsPlatForm"];

/// Opens an outer form.
pub(crate) fn open(config: &Config, body: &[u8], versions: &[&str]) -> Result<(Merchant, Fields), Refusal> {
    let outer = form::parse(body).map_err(|error| Refusal::undocumented(error.to_string()))?;
    if let Some(unknown) = outer.names().find(|name| !OUTER.contains(name)) {
        return Err(Refusal::undocumented(format!(
            "{unknown} is not a field of the outer form"
        )));
    }
    let merchant = config
        .payuni
        .iter()
        .find(|merchant| merchant.id == outer.text("MerID"));
    let merchant =
        merchant.ok_or_else(|| Refusal::new("DEF01005", "商店不存在 The merchant does not exist"))?;
    check_version(outer.text("Version"), versions)?;
    let inner = unseal(merchant, outer.text("EncryptInfo"), outer.text("HashInfo"))?;
    if inner.text("MerID") != merchant.id {
        return Err(Refusal::new(
            "DEF01005",
            "The MerID inside differs from the one outside",
        ));
    }
    Ok((merchant.clone(), inner))
}

fn check_version(version: &str, versions: &[&str]) -> Result<(), Refusal> {
    if version.is_empty() {
        return Err(Refusal::new("API00003", "No Version"));
    }
    if versions.contains(&version) {
        Ok(())
    } else {
        Err(Refusal::new("API00001", "Version is not valid here"))
    }
}

fn unseal(merchant: &Merchant, encrypt_info: &str, hash_info: &str) -> Result<Fields, Refusal> {
    let (key, iv) = (merchant.hash_key.expose(), merchant.hash_iv.expose());
    if hash_info != cipher::hash_info(encrypt_info, key, iv) {
        return Err(Refusal::new("DEF01007", "HashInfo 不符 HashInfo does not match"));
    }
    let plain = cipher::open(encrypt_info, key, iv);
    let plain = plain.ok_or_else(|| Refusal::new("DEF01002", "解密失敗 EncryptInfo cannot be opened"))?;
    form::parse(&plain).map_err(|error| Refusal::undocumented(format!("inside EncryptInfo: {error}")))
}

/// The outer fields around inner ones. With keys of a wrong length there is nothing to send but empty fields, which
/// a receiver refuses; `Sandbox::start` does not let it come to that.
pub(crate) fn seal(
    merchant: &Merchant,
    status: &str,
    version: &str,
    inner: &[(String, String)],
) -> Vec<(String, String)> {
    let (key, iv) = (merchant.hash_key.expose(), merchant.hash_iv.expose());
    let encrypt_info = cipher::seal(&form::encode(inner), key, iv).unwrap_or_default();
    let hash_info = cipher::hash_info(&encrypt_info, key, iv);
    let outer = [
        ("Status", status.to_owned()),
        ("MerID", merchant.id.clone()),
        ("Version", version.to_owned()),
        ("EncryptInfo", encrypt_info),
        ("HashInfo", hash_info),
    ];
    outer.map(|(name, value)| (name.to_owned(), value)).to_vec()
}
