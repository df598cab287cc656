//! Configuration: read once from the environment, checked whole, every fault named at once (OP-1).
//!
//! `main` → **config** → everything else takes typed values.
//!
//! Invariants: a fault names the setting and the rule, never its value; a program whose configuration is wrong in
//! three places says all three and starts nothing (exit code 2). Settings of the providers are read by
//! `shared::provider::Sources`, the same code and the same names as at the edge.
//! Not here: reading `std::env` anywhere else (clippy forbids it).

mod gateway;
mod notices;
mod subscriptions;
mod upkeep;

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use tollgate_shared::config::{Fault, Lookup, Reader};
use tollgate_shared::handoff::HandoffKey;
use tollgate_shared::id::SourceId;
use tollgate_shared::provider::{SourceState, Sources};
use tollgate_shared::secret::{Rotating, Secret};

pub use self::gateway::GatewayConfig;
pub use self::notices::{MailConfig, NoticesConfig};
pub use self::subscriptions::SubscriptionsConfig;
pub use self::upkeep::UpkeepConfig;
use crate::telemetry::{LogLevel, NotALevel};

/// What `serve` and `work` need.
pub struct Config {
    /// Where the database is, and how to log in.
    pub database_url: Secret,
    /// Where to listen; the port may be 0.
    pub listen: String,
    /// Keys of the hop from the edge.
    pub handoff: Rotating<HandoffKey>,
    /// Every configured source of events.
    pub sources: Sources,
    /// How customers are sent to pay.
    pub checkout: CheckoutConfig,
    /// Where payment events are delivered, if anywhere (PM-6).
    pub user_core: Option<Receiver>,
    /// What customers are told about their subscriptions (EC-8, PU-6).
    pub notices: NoticesConfig,
    /// How fast providers may be called.
    pub gateway: GatewayConfig,
    /// How subscriptions are run (EC-1, EC-2).
    pub subscriptions: SubscriptionsConfig,
    /// Metered jobs (TB-7, TB-8).
    pub jobs: JobsConfig,
    /// Deductions that may wait for a batch, in each queue; `None` where batching is off.
    pub token_queue_max: Option<usize>,
    /// What happens beside the payments: retention, the test clock.
    pub upkeep: UpkeepConfig,
}

/// Settings of checkout.
#[derive(Debug, Clone)]
pub struct CheckoutConfig {
    /// The provider of a checkout that names none (`PAYMENT_PROVIDER`).
    pub default_provider: PaymentProvider,
    /// The edge as providers reach it; base of the notice URLs.
    pub public_edge_url: Url,
    /// Where the customer's browser comes back to.
    pub app_return_url: Url,
    /// ECPay's host; `None` where ECPay is not in use.
    pub ecpay_base_url: Option<Url>,
    /// PAYUNi's host; `None` where PAYUNi is not in use.
    pub payuni_base_url: Option<Url>,
    /// The mock provider's pages; `None` where it is not in use.
    pub mock_base_url: Option<Url>,
    /// How long a payment waits for its notice before it is canceled.
    pub pending: Duration,
}

/// A provider that can be paid with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PaymentProvider {
    /// 綠界.
    Ecpay,
    /// 統一金流.
    Payuni,
    /// The provider of tests and demonstrations.
    Mock,
}

/// Settings of metered jobs.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// Who makes articles; `None`: nobody, and the route says so.
    pub generator: Option<Receiver>,
    /// Who knows whether the work of a key exists; `None`: reconciliation decides by what was reported.
    pub work_lookup: Option<Receiver>,
    /// Where a customer without tokens is sent (`upgradeUrl`).
    pub upgrade_url: Url,
}

/// A receiver of messages signed as Standard Webhooks.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Where to post them.
    pub url: Url,
    /// The base64 of the HMAC key: `whsec_…` without its prefix.
    pub key_base64: Secret,
    /// The key before it, in the same form: while a rotation lasts, messages carry a signature of each.
    pub key_base64_previous: Option<Secret>,
}

impl PaymentProvider {
    /// Every provider.
    pub const ALL: [Self; 3] = [Self::Ecpay, Self::Payuni, Self::Mock];

    /// The name in settings, paths and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecpay => "ecpay",
            Self::Payuni => "payuni",
            Self::Mock => "mock",
        }
    }

    /// The provider of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }
}

/// The process's environment as a lookup.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "configuration is read here, once")]
    std::env::var(name).ok()
}

/// The database's address alone: what `migrate`, `plan` and `ledger` need.
pub fn database_url(lookup: Lookup<'_>) -> Result<Secret, Vec<Fault>> {
    let mut reader = Reader::new(lookup);
    let url = required_database_url(&mut reader);
    reader.finish(url)
}

/// The log level alone, so that configuration faults can already be logged.
pub fn log_level(lookup: Lookup<'_>) -> LogLevel {
    Reader::new(lookup).parsed_or("LOG_LEVEL", LogLevel::INFO, "")
}

impl Config {
    /// Reads everything, or names every fault.
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader::new(lookup);
        let sources = Sources::from_lookup(lookup);
        let database_url = required_database_url(&mut reader);
        let listen = listen_address(&mut reader);
        let handoff = handoff_keys(&mut reader);
        let checkout = checkout(&mut reader, &sources);
        let user_core = receiver(&mut reader, "USER_CORE_WEBHOOK_URL", "USER_CORE_WEBHOOK_SECRET");
        let notices = notices::notices(&mut reader);
        let gateway = gateway::gateway(&mut reader);
        let subscriptions = subscriptions::subscriptions(&mut reader);
        let jobs = jobs(&mut reader);
        let token_queue_max = token_queue(&mut reader);
        let upkeep = upkeep::upkeep(&mut reader);
        reader.parsed_or("LOG_LEVEL", LogLevel::INFO, &NotALevel.to_string());
        for fault in source_faults(&sources) {
            reader.fault(&fault.setting, &fault.reason);
        }
        let parts = database_url.zip(handoff).zip(checkout).zip(jobs);
        let (((database_url, handoff), checkout), jobs) = finish_once(reader, parts)?;
        Ok(Self {
            database_url,
            listen,
            handoff,
            sources,
            checkout,
            user_core,
            notices,
            gateway,
            subscriptions,
            jobs,
            token_queue_max,
            upkeep,
        })
    }
}

/// Finishes with every fault once: two sources may share a setting (`PAYMENT_API_KEY`).
fn finish_once<T>(reader: Reader<'_>, value: Option<T>) -> Result<T, Vec<Fault>> {
    reader.finish(value).map_err(|faults| {
        let mut seen = BTreeSet::new();
        faults
            .into_iter()
            .filter(|fault| seen.insert(fault.to_string()))
            .collect()
    })
}

fn required_database_url(reader: &mut Reader<'_>) -> Option<Secret> {
    let url = reader.required("DATABASE_URL")?;
    if url.parse::<tokio_postgres::Config>().is_err() {
        reader.fault("DATABASE_URL", "must be a PostgreSQL connection URL");
        return None;
    }
    Some(Secret::new(url))
}

fn listen_address(reader: &mut Reader<'_>) -> String {
    let address = reader
        .optional("LISTEN_ADDR")
        .unwrap_or_else(|| "127.0.0.1:8788".to_owned());
    if address.parse::<std::net::SocketAddr>().is_err() {
        reader.fault(
            "LISTEN_ADDR",
            "must be an address and a port, such as 127.0.0.1:8788",
        );
    }
    address
}

fn handoff_keys(reader: &mut Reader<'_>) -> Option<Rotating<HandoffKey>> {
    let id = reader.required("HANDOFF_KEY_ID");
    let secret = handoff_secret(reader, "HANDOFF_KEY");
    let previous_id = reader.optional("HANDOFF_KEY_ID_PREVIOUS");
    let previous = match (previous_id, reader.optional("HANDOFF_KEY_PREVIOUS")) {
        (Some(id), Some(_)) => {
            handoff_secret(reader, "HANDOFF_KEY_PREVIOUS").map(|secret| HandoffKey { id, secret })
        }
        (None, None) => None,
        (Some(_), None) => missing_half(reader, "HANDOFF_KEY_PREVIOUS"),
        (None, Some(_)) => missing_half(reader, "HANDOFF_KEY_ID_PREVIOUS"),
    };
    let current = id.zip(secret).map(|(id, secret)| HandoffKey { id, secret })?;
    Some(Rotating { current, previous })
}

/// At least 32 characters: the key is all that stands between the internal routes and the internet.
fn handoff_secret(reader: &mut Reader<'_>, name: &str) -> Option<Secret> {
    let text = reader.required(name)?;
    if text.len() < 32 {
        reader.fault(name, "must be at least 32 characters");
        return None;
    }
    Some(Secret::new(text))
}

fn missing_half(reader: &mut Reader<'_>, name: &str) -> Option<HandoffKey> {
    reader.fault(name, "is not set, though the other half of the previous key is");
    None
}

fn checkout(reader: &mut Reader<'_>, sources: &Sources) -> Option<CheckoutConfig> {
    let default_provider = default_provider(reader, sources);
    let public_edge_url = required_url(reader, "PUBLIC_EDGE_URL");
    let app_return_url = required_url(reader, "APP_RETURN_URL");
    let ecpay_base_url = provider_url(reader, sources, "ecpay", "ECPAY_BASE_URL");
    let payuni_base_url = provider_url(reader, sources, "payuni", "PAYUNI_BASE_URL");
    let mock_base_url = provider_url(reader, sources, "mock", "MOCK_BASE_URL");
    let minutes: u32 = reader.parsed_or("PAYMENT_PENDING_MINUTES", 60, "must be a whole number of minutes");
    if !(1..=10_080).contains(&minutes) {
        reader.fault("PAYMENT_PENDING_MINUTES", "must be from 1 to 10080 (a week)");
    }
    Some(CheckoutConfig {
        default_provider: default_provider?,
        public_edge_url: public_edge_url?,
        app_return_url: app_return_url?,
        ecpay_base_url,
        payuni_base_url,
        mock_base_url,
        pending: Duration::from_secs(u64::from(minutes).saturating_mul(60)),
    })
}

fn default_provider(reader: &mut Reader<'_>, sources: &Sources) -> Option<PaymentProvider> {
    let name = reader.required("PAYMENT_PROVIDER")?;
    let Some(provider) = PaymentProvider::from_name(&name) else {
        reader.fault("PAYMENT_PROVIDER", "must be ecpay, payuni or mock");
        return None;
    };
    if state_of(sources, provider.name()) == SourceState::Absent {
        reader.fault(
            "PAYMENT_PROVIDER",
            &format!("names {name}, which has no settings"),
        );
    }
    Some(provider)
}

/// The state of a source; one that `shared` does not list is absent.
fn state_of(sources: &Sources, name: &str) -> SourceState {
    let id = name.parse::<SourceId>().ok();
    id.and_then(|id| sources.states().remove(&id))
        .unwrap_or(SourceState::Absent)
}

/// The base URL of a provider; required only where the provider is in use.
fn provider_url(reader: &mut Reader<'_>, sources: &Sources, provider: &str, name: &str) -> Option<Url> {
    if state_of(sources, provider) == SourceState::Absent && reader.optional(name).is_none() {
        return None;
    }
    required_url(reader, name)
}

/// An absolute HTTP(S) URL without query, fragment or login.
fn required_url(reader: &mut Reader<'_>, name: &str) -> Option<Url> {
    let text = reader.required(name)?;
    let usable = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    let url = Url::parse(&text).ok().filter(usable);
    if url.is_none() {
        reader.fault(
            name,
            "must be an absolute http(s) URL without query, fragment or login",
        );
    }
    url
}

fn jobs(reader: &mut Reader<'_>) -> Option<JobsConfig> {
    let generator = receiver(reader, "GENERATOR_WEBHOOK_URL", "GENERATOR_WEBHOOK_SECRET");
    let work_lookup = receiver(reader, "WORK_LOOKUP_URL", "WORK_LOOKUP_SECRET");
    // The page that sells plans is the app's; without a word about it, the one it is usually called.
    let upgrade_url = match reader.optional("UPGRADE_URL") {
        Some(_) => required_url(reader, "UPGRADE_URL"),
        None => reader
            .optional("APP_RETURN_URL")
            .and_then(|app| Url::parse(&app).ok()?.join("/upgrade").ok()),
    };
    Some(JobsConfig {
        generator,
        work_lookup,
        upgrade_url: upgrade_url?,
    })
}

/// Both settings, or neither.
fn receiver(reader: &mut Reader<'_>, url_name: &str, secret_name: &str) -> Option<Receiver> {
    match (reader.optional(url_name), reader.optional(secret_name)) {
        (None, None) => None,
        (Some(_), None) => half_set(reader, secret_name, url_name),
        (None, Some(_)) => half_set(reader, url_name, secret_name),
        (Some(_), Some(secret)) => {
            let url = required_url(reader, url_name);
            let key = webhook_secret(reader, secret_name, &secret);
            let previous_name = format!("{secret_name}_PREVIOUS");
            let previous = reader.optional(&previous_name);
            Some(Receiver {
                url: url?,
                key_base64: key?,
                key_base64_previous: previous
                    .and_then(|secret| webhook_secret(reader, &previous_name, &secret)),
            })
        }
    }
}

fn half_set(reader: &mut Reader<'_>, missing: &str, set: &str) -> Option<Receiver> {
    reader.fault(missing, &format!("is not set, though {set} is"));
    None
}

/// Standard Webhooks: `whsec_` and the base64 of 24 to 64 bytes.
fn webhook_secret(reader: &mut Reader<'_>, name: &str, text: &str) -> Option<Secret> {
    let encoded = text.strip_prefix("whsec_").unwrap_or_default();
    let usable = STANDARD
        .decode(encoded)
        .is_ok_and(|key| (24..=64).contains(&key.len()));
    if !usable {
        reader.fault(name, "must be whsec_ and the base64 of 24 to 64 bytes");
        return None;
    }
    Some(Secret::new(encoded.to_owned()))
}

/// How many deductions may wait; `None` where each is to be a transaction of its own.
fn token_queue(reader: &mut Reader<'_>) -> Option<usize> {
    let batching = switch(reader, "TOKEN_BATCHING", true);
    let queue_max = reader.parsed_or("TOKEN_QUEUE_MAX", 2_000, "must be a whole number");
    if !(1..=100_000).contains(&queue_max) {
        reader.fault("TOKEN_QUEUE_MAX", "must be from 1 to 100000");
    }
    batching.then_some(queue_max)
}

fn switch(reader: &mut Reader<'_>, name: &str, usual: bool) -> bool {
    match reader.optional(name).as_deref() {
        None => usual,
        Some("off") => false,
        Some("on") => true,
        Some(_) => {
            reader.fault(name, "must be on or off");
            false
        }
    }
}

fn source_faults(sources: &Sources) -> Vec<Fault> {
    let faults = sources.states().into_values().map(|state| match state {
        SourceState::Ready | SourceState::Absent => Vec::new(),
        SourceState::Invalid(faults) => faults,
    });
    faults.flatten().collect()
}
