//! What the sandbox is told before it starts: merchants, keys, and how patient its notices are.
//!
//! A test fills [`Config`] by hand, the program reads it from its environment with [`Config::from_env`].
//!
//! Invariant: no other file of this crate reads an environment variable. The setting names are those of edge and
//! origin, so that one environment serves all three. Defaults are ECPay's public stage merchant and made-up
//! PAYUNi keys; none of them guards anything.
//! Failure: a setting that does not parse is refused by name, the value is not repeated.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tollgate_shared::secret::Secret;

use crate::limiter::CallLimit;

/// ECPay's published stage merchant (reference §1.0).
pub const ECPAY_MERCHANT_ID: &str = "3002607";
/// `HashKey` of [`ECPAY_MERCHANT_ID`].
pub const ECPAY_HASH_KEY: &str = "pwFHCqoQZGmho4w6";
/// `HashIV` of [`ECPAY_MERCHANT_ID`].
pub const ECPAY_HASH_IV: &str = "EkRm7iFT261dpevs";
/// A made-up PAYUNi merchant, the one of the derived vectors; PAYUNi publishes no shared test shop.
pub const PAYUNI_MERCHANT_ID: &str = "KAT0001";
/// `HashKey` of [`PAYUNI_MERCHANT_ID`], 32 bytes.
pub const PAYUNI_HASH_KEY: &str = "RustKatKey0123456789abcdefABCDEF";
/// `HashIV` of [`PAYUNI_MERCHANT_ID`], 16 bytes.
pub const PAYUNI_HASH_IV: &str = "RustKatIV0123456";
/// Signs the session tokens that the sandbox issues, unless told otherwise.
pub const SESSION_SECRET: &str = "tollgate-sandbox-session-secret-of-32-bytes-or-more";
/// Cloudflare's secret for tests that lets the dummy token `XXXX.DUMMY.TOKEN.XXXX` pass, and here every token that was given out.
pub const TURNSTILE_SECRET: &str = crate::turnstile::SECRET_PASSES;
/// Signs the mock provider's notices (Standard Webhooks form: base64 behind the prefix).
pub const MOCK_WEBHOOK_SECRET: &str = "whsec_dG9sbGdhdGUtc2FuZGJveC1tb2NrLXNlY3JldA==";

/// A merchant and the two halves of its key.
#[derive(Debug, Clone)]
pub struct Merchant {
    /// The provider's number of the merchant.
    pub id: String,
    /// Seals and MACs together with `hash_iv`; 16 bytes at ECPay, 32 at PAYUNi.
    pub hash_key: Secret,
    /// 16 bytes at both; PAYUNi uses all of them as the nonce.
    pub hash_iv: Secret,
}

impl Merchant {
    /// A merchant with its keys, each exactly as the provider's console prints it.
    #[must_use]
    pub fn new(id: &str, hash_key: &str, hash_iv: &str) -> Self {
        Self {
            id: id.into(),
            hash_key: Secret::new(hash_key.into()),
            hash_iv: Secret::new(hash_iv.into()),
        }
    }
}

/// Everything that can be chosen about a sandbox.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the mail sink listens; port 0 takes a free one.
    pub mail_listen: SocketAddr,
    /// Merchants that the fake ECPay knows.
    pub ecpay: Vec<Merchant>,
    /// Merchants that the fake PAYUNi knows.
    pub payuni: Vec<Merchant>,
    /// Standard Webhooks secret (`whsec_…`) of the mock provider.
    pub mock_secret: Secret,
    /// HS256 secret of issued session tokens.
    pub session_secret: Secret,
    /// `iss` of issued session tokens, where one is wanted.
    pub session_issuer: Option<String>,
    /// `aud` of issued session tokens (Supabase: `authenticated`).
    pub session_audience: String,
    /// Ours towards Turnstile, besides Cloudflare's secrets for tests.
    pub turnstile_secret: Secret,
    /// Time between two deliveries of an unacknowledged notice. ECPay waits 5 to 15 minutes; local work wants seconds.
    pub resend_interval: Duration,
    /// Deliveries after the first (ECPay: 4 a day, reference §1.4.5).
    pub resends_max: u32,
    /// How long a notice waits for its answer (ECPay: 10 s, reference §1.4.5).
    pub answer_limit: Duration,
    /// Refuse notice URLs on other ports than 80 and 443, as ECPay does. Off, because local servers live elsewhere.
    pub standard_ports_only: bool,
    /// Refuse shell-like words in `ItemName` and `TradeDesc` with 10400011, as ECPay's firewall does.
    pub refuse_shell_words: bool,
    /// When ECPay charges the periods of a day, in minutes after midnight in Taiwan. Recorded charges show only that it
    /// has nothing to do with the time of the purchase (reference §1.3.2).
    pub ecpay_charge_minute_of_day: u32,
    /// When PAYUNi's daily run charges (reference A.8: "a daily schedule").
    pub payuni_charge_minute_of_day: u32,
    /// From asking for another attempt at a failed period to its result, on the sandbox's clock.
    pub retry_delay: Duration,
    /// How often a server may ask ECPay.
    pub ecpay_call_limit: CallLimit,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            mail_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ecpay: vec![Merchant::new(ECPAY_MERCHANT_ID, ECPAY_HASH_KEY, ECPAY_HASH_IV)],
            payuni: vec![Merchant::new(PAYUNI_MERCHANT_ID, PAYUNI_HASH_KEY, PAYUNI_HASH_IV)],
            mock_secret: Secret::new(MOCK_WEBHOOK_SECRET.into()),
            session_secret: Secret::new(SESSION_SECRET.into()),
            session_issuer: None,
            session_audience: "authenticated".into(),
            turnstile_secret: Secret::new(TURNSTILE_SECRET.into()),
            resend_interval: Duration::from_secs(5),
            resends_max: 4,
            answer_limit: Duration::from_secs(10),
            standard_ports_only: false,
            refuse_shell_words: false,
            ecpay_charge_minute_of_day: 6 * 60,
            payuni_charge_minute_of_day: 8 * 60,
            retry_delay: Duration::from_mins(1),
            ecpay_call_limit: CallLimit::default(),
        }
    }
}

/// A setting that does not parse.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {expected}")]
pub struct ConfigError {
    name: &'static str,
    expected: &'static str,
}

impl Config {
    /// Reads the environment; what is absent keeps its default, except the address (127.0.0.1:8789).
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(&read)
    }

    fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut config = Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8789)),
            ..Self::default()
        };
        if let Some(address) = lookup("LISTEN_ADDR") {
            config.listen = address
                .parse()
                .map_err(|_| invalid("LISTEN_ADDR", "an address such as 127.0.0.1:8789"))?;
        }
        config.ecpay.extend(merchant(
            lookup,
            ["ECPAY_MERCHANT_ID", "ECPAY_HASH_KEY", "ECPAY_HASH_IV"],
        )?);
        config.payuni.extend(merchant(
            lookup,
            ["PAYUNI_MERCHANT_ID", "PAYUNI_HASH_KEY", "PAYUNI_HASH_IV"],
        )?);
        if let Some(secret) = lookup("PAYMENT_WEBHOOK_SECRET") {
            config.mock_secret = Secret::new(secret);
        }
        if let Some(secret) = lookup("SESSION_HS256_SECRET") {
            config.session_secret = Secret::new(secret);
        }
        if let Some(address) = lookup("SANDBOX_SMTP_ADDR") {
            config.mail_listen = address
                .parse()
                .map_err(|_| invalid("SANDBOX_SMTP_ADDR", "an address and a port"))?;
        }
        if let Some(secret) = lookup("TURNSTILE_SECRET_KEY") {
            config.turnstile_secret = Secret::new(secret);
        }
        config.session_issuer = lookup("SESSION_ISSUER");
        if let Some(audience) = lookup("SESSION_AUDIENCE") {
            config.session_audience = audience;
        }
        if let Some(seconds) = number(lookup, "SANDBOX_RESEND_SECONDS")? {
            config.resend_interval = Duration::from_secs(u64::from(seconds));
        }
        config.resends_max = number(lookup, "SANDBOX_RESENDS_MAX")?.unwrap_or(config.resends_max);
        config.standard_ports_only = switch(lookup, "SANDBOX_STANDARD_PORTS_ONLY")?;
        config.refuse_shell_words = switch(lookup, "SANDBOX_REFUSE_SHELL_WORDS")?;
        Ok(config)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the config file that the rule speaks of"
)]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A merchant beside the default one; all three settings or none, because half a merchant cannot sign.
fn merchant(
    lookup: &dyn Fn(&str) -> Option<String>,
    [id, key, iv]: [&'static str; 3],
) -> Result<Option<Merchant>, ConfigError> {
    match (lookup(id), lookup(key), lookup(iv)) {
        (None, None, None) => Ok(None),
        (Some(id), Some(key), Some(iv)) => Ok(Some(Merchant::new(&id, &key, &iv))),
        _ => Err(invalid(
            id,
            "merchant id, hash key and hash iv go together; one of them is missing",
        )),
    }
}

fn number(lookup: &dyn Fn(&str) -> Option<String>, name: &'static str) -> Result<Option<u32>, ConfigError> {
    lookup(name)
        .map(|text| text.parse().map_err(|_| invalid(name, "a whole number")))
        .transpose()
}

fn switch(lookup: &dyn Fn(&str) -> Option<String>, name: &'static str) -> Result<bool, ConfigError> {
    match lookup(name).as_deref() {
        None | Some("off") => Ok(false),
        Some("on") => Ok(true),
        Some(_) => Err(invalid(name, "on or off")),
    }
}

const fn invalid(name: &'static str, expected: &'static str) -> ConfigError {
    ConfigError { name, expected }
}

#[cfg(test)]
mod tests {
    use super::Config;

    fn from(settings: &[(&str, &str)]) -> Result<Config, String> {
        let lookup = |name: &str| {
            settings
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Config::from_lookup(&lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn absent_settings_keep_their_defaults() {
        let config = from(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8789");
        assert_eq!(
            (config.ecpay.len(), config.payuni.len(), config.resends_max),
            (1, 1, 4)
        );
    }

    #[test]
    fn a_merchant_of_the_environment_is_known_beside_the_default_one() {
        let config = from(&[
            ("ECPAY_MERCHANT_ID", "1"),
            ("ECPAY_HASH_KEY", "k"),
            ("ECPAY_HASH_IV", "i"),
        ])
        .unwrap();
        assert_eq!(
            config
                .ecpay
                .iter()
                .map(|merchant| merchant.id.as_str())
                .collect::<Vec<_>>(),
            ["3002607", "1"]
        );
    }

    #[test]
    fn what_does_not_parse_is_refused_by_name() {
        for (name, value) in [
            ("LISTEN_ADDR", "localhost"),
            ("SANDBOX_SMTP_ADDR", "25"),
            ("ECPAY_MERCHANT_ID", "1"),
            ("SANDBOX_RESEND_SECONDS", "-1"),
            ("SANDBOX_RESENDS_MAX", "four"),
            ("SANDBOX_STANDARD_PORTS_ONLY", "yes"),
        ] {
            let error = from(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
