//! The edge's settings and bindings, read once per isolate.
//!
//! bindings of wrangler.toml → **config** → every step. Settings are those that origin reads too (README,
//! "Settings"); only the edge has:
//! - bindings: INBOX (Durable Object class `Inbox`), CALLER (class `Caller`), both SQLite classes; `RL_ADDRESS`
//!   (rate limit by address); ORIGIN (service binding, preferred where bound);
//! - variables: `ORIGIN_BASE_URL`, `INBOX_SHARDS` (16), `CORS_ORIGINS`, `SESSION_AUDIENCE` (`authenticated`), `APP_RETURN_URL`,
//!   `SESSION_ISSUER`, `LOG_LEVEL` (`info` logs each request, `warn` only those answered with 4xx or 5xx), `TURNSTILE`
//!   (`off` lets checkouts pass without it), `TURNSTILE_HOSTNAMES` (the hosts of `CORS_ORIGINS`), `TURNSTILE_VERIFY_URL`;
//! - secrets: `SESSION_HS256_SECRET`, `CSRF_SECRET`, `ADMIN_WEBHOOK_TOKEN`, `TURNSTILE_SECRET_KEY`, `HANDOFF_KEY_ID`, `HANDOFF_KEY`
//!   (and `_PREVIOUS` of the first three; the hop is signed with the current key only, the origin accepts both). A secret of
//!   ours below 32 bytes is a fault.
//!
//! Invariant: plain Rust values are cached, JavaScript objects never: those belong to a request. A new deployment
//! means new isolates, so the cache cannot be stale. A missing setting never stops the worker: the routes that
//! need it refuse, and health names it. Changing `INBOX_SHARDS` moves orders to other shards: do it with an empty
//! backlog; what is then sent again twice, the origin recognises.

use std::cell::OnceCell;
use std::rc::Rc;

use tollgate_shared::config::{Fault, Lookup, Reader};
use tollgate_shared::handoff::HandoffKey;
use tollgate_shared::provider::Sources;
use tollgate_shared::secret::{Rotating, Secret};
use tollgate_shared::session::SessionRules;
use worker::Env;

use crate::port;

/// HMAC-SHA256 is as strong as its key up to the length of its output (RFC 2104 §3, RFC 7518 §3.2).
const HMAC_KEY_BYTES_MIN: usize = 32;
/// Cloudflare's (reference D.1).
const SITEVERIFY_URL: &str = "https://challenges.cloudflare.com/turnstile/v0/siteverify";
/// Above this many shards, asking all of them for health would cost more than it tells.
const SHARDS_MAX: u32 = 256;

/// Everything that the settings say.
pub(crate) struct Settings {
    /// Every provider and source.
    pub(crate) sources: Sources,
    /// Shown to pages.
    pub(crate) public_key: Option<String>,
    /// Signs the hop to the origin.
    pub(crate) handoff: Result<HandoffKey, Vec<Fault>>,
    /// Checks the tokens of browsers.
    pub(crate) session: Result<SessionRules, Vec<Fault>>,
    /// Make and check the tokens of pages.
    pub(crate) csrf: Result<Rotating<Secret>, Vec<Fault>>,
    /// Who vouches for visitors; `None`: switched off.
    pub(crate) turnstile: Result<Option<Turnstile>, Vec<Fault>>,
    /// Lets operators in (EC-5).
    pub(crate) admin: Result<Rotating<Secret>, Vec<Fault>>,
    /// Where the origin answers if no service is bound; empty when one is.
    pub(crate) origin: Result<String, Vec<Fault>>,
    /// Whether addresses are limited at all.
    pub(crate) limiter: Result<(), Vec<Fault>>,
    /// Where a customer is sent who comes back from a provider's page.
    pub(crate) return_url: Option<String>,
    /// How many inboxes share the orders.
    pub(crate) shards: u32,
    /// Pages that may call the browser routes.
    pub(crate) cors_origins: Vec<String>,
    /// Whether requests that went well are logged.
    pub(crate) log_all: bool,
}

/// Who vouches for visitors.
#[derive(Debug)]
pub(crate) struct Turnstile {
    /// Ours, towards Cloudflare.
    pub(crate) secret: Secret,
    /// Where tokens are checked.
    pub(crate) url: String,
    /// Where the pages are whose widgets we believe.
    pub(crate) hostnames: Vec<String>,
}

thread_local! {
    static SETTINGS: OnceCell<Rc<Settings>> = const { OnceCell::new() };
}

/// The settings of this isolate.
pub(crate) fn settings(env: &Env) -> Rc<Settings> {
    SETTINGS.with(|cell| Rc::clone(cell.get_or_init(|| Rc::new(from_env(env)))))
}

fn from_env(env: &Env) -> Settings {
    let lookup = |name: &str| port::setting(env, name).filter(|text| !text.is_empty());
    from_lookup(&lookup, &|name| port::bound(env, name))
}

fn from_lookup(lookup: Lookup<'_>, bound: &dyn Fn(&str) -> bool) -> Settings {
    let reader = Reader::new(lookup);
    let listed = reader.optional("CORS_ORIGINS").unwrap_or_default();
    Settings {
        sources: Sources::from_lookup(lookup),
        public_key: reader.optional("PAYMENT_PUBLIC_KEY"),
        handoff: handoff(lookup),
        session: session(lookup),
        csrf: long_secret(lookup, "CSRF_SECRET"),
        turnstile: turnstile(lookup),
        admin: long_secret(lookup, "ADMIN_WEBHOOK_TOKEN"),
        origin: origin(lookup, bound("ORIGIN")),
        limiter: limiter(bound("RL_ADDRESS")),
        return_url: reader.optional("APP_RETURN_URL"),
        shards: shards(reader.optional("INBOX_SHARDS").as_deref()),
        cors_origins: listed
            .split([',', ' '])
            .filter(|origin| !origin.is_empty())
            .map(str::to_owned)
            .collect(),
        log_all: reader
            .optional("LOG_LEVEL")
            .is_none_or(|level| level == "info" || level == "debug"),
    }
}

fn handoff(lookup: Lookup<'_>) -> Result<HandoffKey, Vec<Fault>> {
    let mut reader = Reader::new(lookup);
    let (id, key) = (reader.required("HANDOFF_KEY_ID"), reader.required("HANDOFF_KEY"));
    if id
        .as_ref()
        .is_some_and(|id| id.bytes().any(|byte| !byte.is_ascii_graphic()))
    {
        reader.fault("HANDOFF_KEY_ID", "must be visible ASCII, it travels in a header");
    }
    long_enough(&mut reader, "HANDOFF_KEY", key.as_deref());
    let pair = id.zip(key).map(|(id, key)| HandoffKey {
        id,
        secret: Secret::new(key),
    });
    reader.finish(pair)
}

fn session(lookup: Lookup<'_>) -> Result<SessionRules, Vec<Fault>> {
    let mut reader = Reader::new(lookup);
    let keys = reader.rotating("SESSION_HS256_SECRET", None);
    for name in ["SESSION_HS256_SECRET", "SESSION_HS256_SECRET_PREVIOUS"] {
        let secret = reader.optional(name);
        long_enough(&mut reader, name, secret.as_deref());
    }
    let issuer = reader.optional("SESSION_ISSUER");
    let audience = reader
        .optional("SESSION_AUDIENCE")
        .unwrap_or_else(|| "authenticated".to_owned());
    reader.finish(keys.map(|keys| SessionRules {
        keys,
        issuer,
        audience,
    }))
}

fn long_secret(lookup: Lookup<'_>, name: &str) -> Result<Rotating<Secret>, Vec<Fault>> {
    let mut reader = Reader::new(lookup);
    let secrets = reader.rotating(name, None);
    for name in [name, &format!("{name}_PREVIOUS")] {
        let secret = reader.optional(name);
        long_enough(&mut reader, name, secret.as_deref());
    }
    reader.finish(secrets)
}

fn turnstile(lookup: Lookup<'_>) -> Result<Option<Turnstile>, Vec<Fault>> {
    let mut reader = Reader::new(lookup);
    match reader.optional("TURNSTILE").as_deref() {
        Some("off") => return Ok(None),
        None | Some("on") => {}
        Some(_) => reader.fault("TURNSTILE", "must be on or off"),
    }
    let secret = reader.required("TURNSTILE_SECRET_KEY");
    let url = reader.optional("TURNSTILE_VERIFY_URL");
    let is_test_key = |secret: &String| {
        ["1x0000", "2x0000", "3x0000"]
            .iter()
            .any(|test| secret.starts_with(test))
    };
    if url.is_none() && secret.as_ref().is_some_and(is_test_key) {
        // It lets everybody pass, or nobody.
        reader.fault("TURNSTILE_SECRET_KEY", "is one of Cloudflare's keys for tests");
    }
    let hostnames = hostnames(&reader);
    if hostnames.is_empty() {
        reader.fault(
            "TURNSTILE_HOSTNAMES",
            "is not set, and CORS_ORIGINS names no page",
        );
    }
    let found = secret.map(|secret| Turnstile {
        secret: Secret::new(secret),
        url: url.unwrap_or_else(|| SITEVERIFY_URL.to_owned()),
        hostnames,
    });
    reader.finish(found).map(Some)
}

/// Where our pages are: as set, else the hosts of the pages that may call.
fn hostnames(reader: &Reader<'_>) -> Vec<String> {
    let host = |page: &str| {
        let host = page.split_once("://").map_or(page, |(_, host)| host);
        host.split_once(':').map_or(host, |(host, _)| host).to_owned()
    };
    let listed = reader
        .optional("TURNSTILE_HOSTNAMES")
        .or_else(|| reader.optional("CORS_ORIGINS"));
    let listed = listed.unwrap_or_default();
    listed
        .split([',', ' '])
        .filter(|page| !page.is_empty())
        .map(host)
        .collect()
}

fn long_enough(reader: &mut Reader<'_>, name: &str, secret: Option<&str>) {
    if let Some(secret) = secret
        && secret.len() < HMAC_KEY_BYTES_MIN
    {
        let (min, length) = (HMAC_KEY_BYTES_MIN, secret.len());
        reader.fault(name, &format!("must be {min} bytes or more, has {length}"));
    }
}

fn origin(lookup: Lookup<'_>, bound: bool) -> Result<String, Vec<Fault>> {
    let mut reader = Reader::new(lookup);
    if bound {
        return Ok(String::new());
    }
    let base = reader
        .required("ORIGIN_BASE_URL")
        .map(|base| base.trim_end_matches('/').to_owned());
    if base
        .as_ref()
        .is_some_and(|base| !base.starts_with("https://") && !base.starts_with("http://"))
    {
        reader.fault(
            "ORIGIN_BASE_URL",
            "must begin with https:// (or http:// on your own machine)",
        );
    }
    reader.finish(base)
}

fn limiter(bound: bool) -> Result<(), Vec<Fault>> {
    let fault = Fault {
        setting: "RL_ADDRESS".to_owned(),
        reason: "the rate limit is not bound".to_owned(),
    };
    if bound { Ok(()) } else { Err(vec![fault]) }
}

/// An unusable number falls back to the default: refusing every webhook over it would help nobody.
fn shards(text: Option<&str>) -> u32 {
    let shards = text
        .and_then(|text| text.parse().ok())
        .filter(|shards| (1..=SHARDS_MAX).contains(shards));
    shards.unwrap_or(16)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Settings, from_lookup};

    /// Settings from `NAME=value` lines.
    pub(crate) fn settings_of(lines: &str) -> Settings {
        let lookup = |name: &str| {
            lines
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(str::to_owned)
        };
        from_lookup(&lookup, &|_| false)
    }

    #[test]
    fn a_missing_setting_is_named_and_never_its_value() {
        let settings = settings_of("HANDOFF_KEY=secret\nORIGIN_BASE_URL=ftp://x");
        let faults = settings.handoff.unwrap_err();
        assert_eq!(faults[0].to_string(), "HANDOFF_KEY_ID: is not set");
        assert_eq!(
            faults[1].to_string(),
            "HANDOFF_KEY: must be 32 bytes or more, has 6"
        );
        assert!(
            settings.origin.unwrap_err()[0]
                .to_string()
                .starts_with("ORIGIN_BASE_URL: must begin")
        );
        assert_eq!(settings.session.unwrap_err()[0].setting, "SESSION_HS256_SECRET");
        assert_eq!(settings.limiter.unwrap_err()[0].setting, "RL_ADDRESS");
    }

    #[test]
    fn pu_2_turnstile_is_on_unless_it_is_switched_off() {
        let faults = |lines: &str| match settings_of(lines).turnstile {
            Ok(Some(turnstile)) => turnstile.hostnames.join(" "),
            Ok(None) => "off".to_owned(),
            Err(faults) => faults.iter().map(|fault| fault.setting.clone() + "! ").collect(),
        };
        let secret = "TURNSTILE_SECRET_KEY=0x4AAAAAAA";
        let of_test = "TURNSTILE_SECRET_KEY=1x0000000000000000000000000000000AA\nTURNSTILE_HOSTNAMES=a";
        for (lines, expected) in [
            ("TURNSTILE=off", "off"),
            ("", "TURNSTILE_SECRET_KEY! TURNSTILE_HOSTNAMES! "),
            (secret, "TURNSTILE_HOSTNAMES! "),
            (
                &format!("{secret}\nCORS_ORIGINS=https://a.example,http://b.example:8080"),
                "a.example b.example",
            ),
            (
                &format!("{secret}\nCORS_ORIGINS=https://a.example\nTURNSTILE_HOSTNAMES=c.example"),
                "c.example",
            ),
            (
                &format!("{secret}\nTURNSTILE=perhaps\nTURNSTILE_HOSTNAMES=a"),
                "TURNSTILE! ",
            ),
            (of_test, "TURNSTILE_SECRET_KEY! "),
            (&format!("{of_test}\nTURNSTILE_VERIFY_URL=http://sandbox"), "a"),
        ] {
            assert_eq!(faults(lines), expected, "{lines}");
        }
    }

    #[test]
    fn ed_1_a_short_key_is_no_key() {
        let (long, short) = ("k".repeat(32), "k".repeat(31));
        for (name, value, ready) in [
            ("HANDOFF_KEY", &long, true),
            ("HANDOFF_KEY", &short, false),
            ("SESSION_HS256_SECRET", &long, true),
            ("SESSION_HS256_SECRET", &short, false),
            ("SESSION_HS256_SECRET_PREVIOUS", &long, true),
            ("SESSION_HS256_SECRET_PREVIOUS", &short, false),
        ] {
            let settings = settings_of(&format!(
                "{name}={value}\nHANDOFF_KEY_ID=k\nHANDOFF_KEY={long}\nSESSION_HS256_SECRET={long}"
            ));
            let all_ready = settings.handoff.is_ok() && settings.session.is_ok();
            assert_eq!(all_ready, ready, "{name} of {} bytes", value.len());
        }
    }

    #[test]
    fn numbers_and_lists_have_bounds_and_defaults() {
        for (text, shards) in [
            ("", 16),
            ("INBOX_SHARDS=4", 4),
            ("INBOX_SHARDS=0", 16),
            ("INBOX_SHARDS=999", 16),
        ] {
            assert_eq!(settings_of(text).shards, shards, "{text:?}");
        }
        let listed = settings_of("CORS_ORIGINS=https://a.example, https://b.example").cors_origins;
        assert_eq!(listed, ["https://a.example", "https://b.example"]);
        assert!(settings_of("").log_all);
        assert!(!settings_of("LOG_LEVEL=warn").log_all);
    }
}
