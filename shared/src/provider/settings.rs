//! The settings of every source, by name.
//!
//! lookup → **settings** → `Sources`. The names are listed in `.env.example`.
//!
//! `PAYMENT_MERCHANT_ID`, `PAYMENT_API_KEY` and `PAYMENT_API_SECRET` (and `_PREVIOUS`) stand in for the default
//! provider's own settings where those are absent (PM-7). Invariant: every fault names its setting and shows no
//! value; a length that cannot be a key is a fault here, not a refused notice later.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ecpay::{Ecpay, EcpayKeys, ExecTimesLimit};
use super::hmac_source::{HmacSource, Scheme, TOLERANCE_DEFAULT};
use super::mock::Mock;
use super::payuni::{Payuni, PayuniKeys};
use super::sources::{Configured, Source};
use crate::config::{Fault, Lookup, Reader};
use crate::id::{MerchantId, SourceId};
use crate::secret::{Rotating, Secret};

type Known = BTreeMap<SourceId, Configured>;

/// Reads everything; the second part is the default provider.
pub(super) fn read(lookup: Lookup<'_>) -> (Known, Option<SourceId>) {
    let mut known = Known::new();
    let default = Reader::new(lookup).optional("PAYMENT_PROVIDER");
    let is_default = |name: &str| default.as_deref() == Some(name);
    add(&mut known, "ecpay", |source| {
        ecpay(lookup, source, is_default("ecpay"))
    });
    add(&mut known, "payuni", |source| {
        payuni(lookup, source, is_default("payuni"))
    });
    let real = known
        .values()
        .any(|configured| !matches!(configured, Configured::Absent));
    add(&mut known, "mock", |source| {
        mock(lookup, source, is_default("mock"), real)
    });
    if let Some(name) = &default
        && !["ecpay", "payuni", "mock"].contains(&name.as_str())
    {
        invalid(
            &mut known,
            "payment-provider",
            "PAYMENT_PROVIDER",
            "must be ecpay, payuni or mock",
        );
    }
    webhook_sources(lookup, &mut known);
    let default = default
        .and_then(|name| name.parse().ok())
        .filter(|source| known.contains_key(source));
    (known, default)
}

fn add(known: &mut Known, name: &str, make: impl FnOnce(SourceId) -> Configured) {
    if let Ok(source) = name.parse::<SourceId>() {
        known.insert(source.clone(), make(source));
    }
}

fn invalid(known: &mut Known, name: &str, setting: &str, reason: &str) {
    let fault = Fault {
        setting: setting.to_owned(),
        reason: reason.to_owned(),
    };
    add(known, name, |_| Configured::Invalid(vec![fault]));
}

fn finish(reader: Reader<'_>, source: Option<Source>) -> Configured {
    reader
        .finish(source)
        .map_or_else(Configured::Invalid, Configured::Ready)
}

/// The settings of one provider, with the general `PAYMENT_…` names behind its own.
struct Names<'a> {
    lookup: Lookup<'a>,
    /// Own name → general name; empty where the provider is not the default.
    stand_ins: Vec<(String, &'static str)>,
}

impl<'a> Names<'a> {
    fn new(lookup: Lookup<'a>, prefix: &str, is_default: bool) -> Self {
        let pairs = [
            ("MERCHANT_ID", "PAYMENT_MERCHANT_ID"),
            ("HASH_KEY", "PAYMENT_API_KEY"),
            ("HASH_IV", "PAYMENT_API_SECRET"),
            ("HASH_KEY_PREVIOUS", "PAYMENT_API_KEY_PREVIOUS"),
            ("HASH_IV_PREVIOUS", "PAYMENT_API_SECRET_PREVIOUS"),
        ];
        let own = |(name, general): (&str, &'static str)| (format!("{prefix}_{name}"), general);
        Self {
            lookup,
            stand_ins: if is_default {
                pairs.map(own).to_vec()
            } else {
                Vec::new()
            },
        }
    }

    fn find(&self, name: &str) -> Option<String> {
        let present = |text: &String| !text.trim().is_empty();
        (self.lookup)(name).filter(present).or_else(|| {
            let (_, general) = self.stand_ins.iter().find(|(own, _)| own == name)?;
            (self.lookup)(general).filter(present)
        })
    }
}

/// Whether none of a provider's settings is there.
fn absent(find: Lookup<'_>, prefix: &str) -> bool {
    ["MERCHANT_ID", "HASH_KEY", "HASH_IV"]
        .iter()
        .all(|name| find(&format!("{prefix}_{name}")).is_none())
}

fn merchant(reader: &mut Reader<'_>, name: &str) -> Option<MerchantId> {
    match reader.required(name)?.parse() {
        Ok(merchant) => Some(merchant),
        Err(error) => {
            reader.fault(name, error.rule);
            None
        }
    }
}

/// A rotation needs both previous secrets; one alone is a fault.
fn key_pair<K>(
    reader: &mut Reader<'_>,
    prefix: &str,
    key_length: usize,
    make: fn(Secret, Secret) -> K,
) -> Option<Rotating<K>> {
    let key = reader.rotating(&format!("{prefix}_HASH_KEY"), Some(key_length));
    let iv = reader.rotating(&format!("{prefix}_HASH_IV"), Some(16));
    let (key, iv) = (key?, iv?);
    let previous = match (key.previous, iv.previous) {
        (Some(key), Some(iv)) => Some(make(key, iv)),
        (None, None) => None,
        (Some(_), None) => {
            reader.fault(
                &format!("{prefix}_HASH_IV_PREVIOUS"),
                "is not set, but its key is",
            );
            None
        }
        (None, Some(_)) => {
            reader.fault(
                &format!("{prefix}_HASH_KEY_PREVIOUS"),
                "is not set, but its IV is",
            );
            None
        }
    };
    Some(Rotating {
        current: make(key.current, iv.current),
        previous,
    })
}

fn ecpay(lookup: Lookup<'_>, source: SourceId, is_default: bool) -> Configured {
    let names = Names::new(lookup, "ECPAY", is_default);
    let find = |name: &str| names.find(name);
    if absent(&find, "ECPAY") && !is_default {
        return Configured::Absent;
    }
    let mut reader = Reader::new(&find);
    let merchant = merchant(&mut reader, "ECPAY_MERCHANT_ID");
    let keys = key_pair(&mut reader, "ECPAY", 16, |hash_key, hash_iv| EcpayKeys {
        hash_key,
        hash_iv,
    });
    let limit = match reader.optional("ECPAY_EXEC_TIMES").as_deref() {
        None | Some("conservative") => ExecTimesLimit::Conservative,
        Some("wide") => ExecTimesLimit::Wide,
        Some(_) => {
            reader.fault("ECPAY_EXEC_TIMES", "must be conservative or wide");
            ExecTimesLimit::Conservative
        }
    };
    let ready = merchant
        .zip(keys)
        .map(|(merchant, keys)| Ecpay::new(source, merchant, keys).with_exec_times(limit));
    finish(reader, ready.map(Source::Ecpay))
}

fn payuni(lookup: Lookup<'_>, source: SourceId, is_default: bool) -> Configured {
    let names = Names::new(lookup, "PAYUNI", is_default);
    let find = |name: &str| names.find(name);
    if absent(&find, "PAYUNI") && !is_default {
        return Configured::Absent;
    }
    let mut reader = Reader::new(&find);
    let merchant = merchant(&mut reader, "PAYUNI_MERCHANT_ID");
    let keys = key_pair(&mut reader, "PAYUNI", 32, |hash_key, hash_iv| PayuniKeys {
        hash_key,
        hash_iv,
    });
    let ready = merchant
        .zip(keys)
        .map(|(merchant, keys)| Payuni::new(source, merchant, keys));
    finish(reader, ready.map(Source::Payuni))
}

fn mock(lookup: Lookup<'_>, source: SourceId, is_default: bool, real: bool) -> Configured {
    let mut reader = Reader::new(lookup);
    if !is_default && (real || reader.optional("PAYMENT_WEBHOOK_SECRET").is_none()) {
        return Configured::Absent;
    }
    if real {
        reader.fault(
            "PAYMENT_PROVIDER",
            "must not be mock where a real provider is configured",
        );
    }
    let name = reader
        .optional("PAYMENT_MERCHANT_ID")
        .unwrap_or_else(|| "MOCK".to_owned());
    let merchant: Option<MerchantId> = name.parse().ok();
    if merchant.is_none() {
        reader.fault("PAYMENT_MERCHANT_ID", "must be 1 to 20 letters or digits");
    }
    let signatures = hmac_source(
        &mut reader,
        source.clone(),
        Scheme::Standard,
        "PAYMENT_WEBHOOK_SECRET",
    );
    let ready = merchant
        .zip(signatures)
        .map(|(merchant, signatures)| Mock::new(source, merchant, signatures));
    finish(reader, ready.map(Source::Mock))
}

fn hmac_source(
    reader: &mut Reader<'_>,
    source: SourceId,
    scheme: Scheme,
    setting: &str,
) -> Option<HmacSource> {
    let seconds = reader.parsed_or(
        "WEBHOOK_TOLERANCE_SECONDS",
        TOLERANCE_DEFAULT.as_secs(),
        "must be a whole number of seconds",
    );
    let current = reader.required(setting)?;
    let previous = reader
        .optional(&format!("{setting}_PREVIOUS"))
        .unwrap_or_default();
    let secrets: Vec<Secret> = current
        .split_whitespace()
        .chain(previous.split_whitespace())
        .map(|one| Secret::new(one.to_owned()))
        .collect();
    match HmacSource::new(source, scheme, &secrets, Duration::from_secs(seconds)) {
        Ok(ready) => Some(ready),
        Err(reason) => {
            reader.fault(setting, &reason.to_string());
            None
        }
    }
}

fn webhook_sources(lookup: Lookup<'_>, known: &mut Known) {
    let Some(list) = Reader::new(lookup).optional("WEBHOOK_SOURCES") else {
        return;
    };
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let parsed = entry.split_once(':').and_then(|(name, scheme)| {
            Some((
                name.trim().parse::<SourceId>().ok()?,
                Scheme::from_name(scheme.trim())?,
            ))
        });
        let reason = match parsed {
            Some((source, _)) if known.contains_key(&source) => "names a source twice, or a provider",
            Some((source, scheme)) => {
                let setting = format!(
                    "WEBHOOK_SECRET_{}",
                    source.as_str().to_ascii_uppercase().replace('-', "_")
                );
                let mut reader = Reader::new(lookup);
                let ready = hmac_source(&mut reader, source.clone(), scheme, &setting);
                known.insert(source, finish(reader, ready.map(Source::Hmac)));
                continue;
            }
            None => "must list name:standard or name:stripe, separated by commas",
        };
        invalid(known, "webhook-sources", "WEBHOOK_SOURCES", reason);
    }
}
