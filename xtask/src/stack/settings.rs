//! What every part is told in local work: addresses, keys, secrets.
//!
//! `stack` and `commands::dev` → **`edge`, `origin`, `sandbox`** → the environment or the bindings of each part.
//!
//! Invariant: the three agree, because each is made from the same addresses and keys. The hand-off key and the
//! session secret are new in every run. The merchants' keys are ECPay's public stage ones and invented PAYUNi ones.
//! Failure: only if the system has no randomness.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// ECPay's public stage merchant, which the sandbox knows.
pub const ECPAY_MERCHANT_ID: &str = "3002607";
/// Its `HashKey`.
pub const ECPAY_HASH_KEY: &str = "pwFHCqoQZGmho4w6";
/// Its `HashIV`.
pub const ECPAY_HASH_IV: &str = "EkRm7iFT261dpevs";
/// The PAYUNi merchant that the sandbox knows.
pub const PAYUNI_MERCHANT_ID: &str = "KAT0001";
/// Its `HashKey`.
pub const PAYUNI_HASH_KEY: &str = "RustKatKey0123456789abcdefABCDEF";
/// Its `HashIV`.
pub const PAYUNI_HASH_IV: &str = "RustKatIV0123456";

/// Cloudflare's secret for tests (reference D.1): the sandbox lets [`TURNSTILE_TOKEN`] and its own tokens pass.
pub const TURNSTILE_SECRET: &str = "1x0000000000000000000000000000000AA";
/// The token that Turnstile's widget gives under Cloudflare's site keys for tests.
pub const TURNSTILE_TOKEN: &str = "XXXX.DUMMY.TOKEN.XXXX";

/// Ports of the parts, all on the loopback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Of the worker.
    pub edge: u16,
    /// Of `tollgate serve`.
    pub origin: u16,
    /// Of the other side of the wire.
    pub sandbox: u16,
}

/// The secrets of one run.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Id of the hand-off key.
    pub handoff_id: String,
    /// The hand-off key.
    pub handoff: String,
    /// Signs session tokens (HS256).
    pub session: String,
    /// Makes CSRF tokens.
    pub csrf: String,
}

impl Keys {
    /// New ones.
    pub fn random() -> Result<Self> {
        Ok(Self {
            handoff_id: "local-1".to_owned(),
            handoff: random_hex()?,
            session: random_hex()?,
            csrf: random_hex()?,
        })
    }
}

/// Variables and secrets of the worker.
#[must_use]
pub fn edge(addresses: Addresses, keys: &Keys) -> BTreeMap<String, String> {
    let mut settings = merchants(addresses);
    settings.extend(text([
        ("HANDOFF_KEY_ID", &keys.handoff_id),
        ("HANDOFF_KEY", &keys.handoff),
        ("SESSION_HS256_SECRET", &keys.session),
        ("CSRF_SECRET", &keys.csrf),
        ("TURNSTILE_SECRET_KEY", TURNSTILE_SECRET),
        (
            "TURNSTILE_VERIFY_URL",
            &format!("{}/turnstile/v0/siteverify", local(addresses.sandbox)),
        ),
        ("TURNSTILE_HOSTNAMES", "localhost"),
        ("ORIGIN_BASE_URL", &local(addresses.origin)),
        ("APP_RETURN_URL", &format!("{}/", local(addresses.sandbox))),
    ]));
    settings
}

/// Environment of the origin.
#[must_use]
pub fn origin(addresses: Addresses, keys: &Keys, database_url: &str) -> BTreeMap<String, String> {
    let mut settings = merchants(addresses);
    settings.extend(text([
        ("DATABASE_URL", database_url),
        ("LISTEN_ADDR", &format!("127.0.0.1:{}", addresses.origin)),
        ("HANDOFF_KEY_ID", &keys.handoff_id),
        ("HANDOFF_KEY", &keys.handoff),
        ("PUBLIC_EDGE_URL", &local(addresses.edge)),
        ("APP_RETURN_URL", &format!("{}/", local(addresses.sandbox))),
        ("TEST_CLOCK", "on"),
        ("SANDBOX_CONTROL_URL", &local(addresses.sandbox)),
    ]));
    settings
}

/// Environment of the sandbox.
#[must_use]
pub fn sandbox(addresses: Addresses, keys: &Keys) -> BTreeMap<String, String> {
    let mut settings = merchants(addresses);
    settings.extend(text([
        ("LISTEN_ADDR", &format!("127.0.0.1:{}", addresses.sandbox)),
        ("SESSION_HS256_SECRET", &keys.session),
    ]));
    settings
}

fn merchants(addresses: Addresses) -> BTreeMap<String, String> {
    let sandbox = local(addresses.sandbox);
    text([
        ("PAYMENT_PROVIDER", "ecpay"),
        ("ECPAY_MERCHANT_ID", ECPAY_MERCHANT_ID),
        ("ECPAY_HASH_KEY", ECPAY_HASH_KEY),
        ("ECPAY_HASH_IV", ECPAY_HASH_IV),
        ("ECPAY_BASE_URL", &format!("{sandbox}/ecpay")),
        ("PAYUNI_MERCHANT_ID", PAYUNI_MERCHANT_ID),
        ("PAYUNI_HASH_KEY", PAYUNI_HASH_KEY),
        ("PAYUNI_HASH_IV", PAYUNI_HASH_IV),
        ("PAYUNI_BASE_URL", &format!("{sandbox}/payuni")),
    ])
}

fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn text<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn random_hex() -> Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).context("ask the system for randomness")?;
    Ok(hex::encode(bytes))
}
