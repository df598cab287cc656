//! The configured sources, and the one way to read a delivery of any of them.
//!
//! settings → **Sources** → `read`: verify, then normalise. Edge and origin build it from the same names.
//!
//! Invariant: a source with a missing or unusable setting is `Invalid` and refuses every delivery (fail closed);
//! the faults are kept for health. The mock exists only where no real provider is configured (PM-7).
//! A mistake that belongs to no source is shown under a made-up name: `webhook-sources`, `payment-provider`.
//! Not here: reading the environment, and the rules of each source's settings (`settings`).

use std::collections::BTreeMap;

use super::ecpay::Ecpay;
use super::hmac_source::HmacSource;
use super::mock::Mock;
use super::payuni::Payuni;
use super::{Acknowledgement, Provider, Refusal, Unverified, settings};
use crate::config::{Fault, Lookup};
use crate::event::Event;
use crate::id::SourceId;

/// Whether a source can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceState {
    /// All its settings are there.
    Ready,
    /// None of its settings is there.
    Absent,
    /// Some are missing or unusable: it refuses.
    Invalid(Vec<Fault>),
}

/// Every source that this deployment knows.
pub struct Sources {
    known: BTreeMap<SourceId, Configured>,
    default_provider: Option<SourceId>,
}

/// A source as its settings made it.
pub(super) enum Configured {
    Ready(Source),
    Absent,
    Invalid(Vec<Fault>),
}

/// A usable source. One match a question: a new provider that is not answered for does not compile.
pub(super) enum Source {
    Ecpay(Ecpay),
    Payuni(Payuni),
    Mock(Mock),
    Hmac(HmacSource),
}

impl Source {
    fn read(&self, unverified: &Unverified<'_>) -> Result<Event, Refusal> {
        match self {
            Self::Ecpay(provider) => provider.normalise(provider.verify(unverified)?),
            Self::Payuni(provider) => provider.normalise(provider.verify(unverified)?),
            Self::Mock(provider) => provider.normalise(provider.verify(unverified)?),
            Self::Hmac(provider) => provider.normalise(provider.verify(unverified)?),
        }
    }

    /// Only the providers that are polled have anything to observe.
    fn read_observed(&self, unverified: &Unverified<'_>) -> Result<Event, Refusal> {
        match self {
            Self::Ecpay(provider) => provider.read_observed(unverified),
            Self::Payuni(provider) => provider.read_observed(unverified),
            Self::Mock(_) | Self::Hmac(_) => Err(Refusal::UnknownNotice),
        }
    }

    fn acknowledgement(&self) -> Acknowledgement {
        match self {
            Self::Ecpay(provider) => provider.acknowledgement(),
            Self::Payuni(provider) => provider.acknowledgement(),
            Self::Mock(provider) => provider.acknowledgement(),
            Self::Hmac(provider) => provider.acknowledgement(),
        }
    }
}

impl Sources {
    /// Reads all sources' settings. Never fails: a faulty source is `Invalid`.
    #[must_use]
    pub fn from_lookup(lookup: Lookup<'_>) -> Self {
        let (known, default_provider) = settings::read(lookup);
        Self {
            known,
            default_provider,
        }
    }

    /// Verify, then normalise.
    pub fn read(&self, source: &SourceId, unverified: &Unverified<'_>) -> Result<Event, Refusal> {
        self.usable(source)?.read(unverified)
    }

    /// The same for what the origin observed by asking ([`is_observed`](super::is_observed)). The edge has no business
    /// here: a delivery under such a notice is refused by [`Sources::read`], whoever signed it.
    pub fn read_observed(&self, source: &SourceId, unverified: &Unverified<'_>) -> Result<Event, Refusal> {
        self.usable(source)?.read_observed(unverified)
    }

    /// The provider's exact success answer.
    pub fn acknowledgement(&self, source: &SourceId) -> Result<Acknowledgement, Refusal> {
        self.usable(source).map(Source::acknowledgement)
    }

    /// The state of every source by name, for health and for the check at start.
    #[must_use]
    pub fn states(&self) -> BTreeMap<SourceId, SourceState> {
        let state = |configured: &Configured| match configured {
            Configured::Ready(_) => SourceState::Ready,
            Configured::Absent => SourceState::Absent,
            Configured::Invalid(faults) => SourceState::Invalid(faults.clone()),
        };
        self.known
            .iter()
            .map(|(source, configured)| (source.clone(), state(configured)))
            .collect()
    }

    /// `PAYMENT_PROVIDER`: who takes a checkout that names nobody, and `/api/payments/webhook`.
    #[must_use]
    pub const fn default_provider(&self) -> Option<&SourceId> {
        self.default_provider.as_ref()
    }

    /// ECPay, where it is ready.
    #[must_use]
    pub fn ecpay(&self) -> Option<&Ecpay> {
        self.ready().find_map(|source| {
            if let Source::Ecpay(provider) = source {
                Some(provider)
            } else {
                None
            }
        })
    }

    /// PAYUNi, where it is ready.
    #[must_use]
    pub fn payuni(&self) -> Option<&Payuni> {
        self.ready().find_map(|source| {
            if let Source::Payuni(provider) = source {
                Some(provider)
            } else {
                None
            }
        })
    }

    /// The mock, where it is ready.
    #[must_use]
    pub fn mock(&self) -> Option<&Mock> {
        self.ready().find_map(|source| {
            if let Source::Mock(provider) = source {
                Some(provider)
            } else {
                None
            }
        })
    }

    fn ready(&self) -> impl Iterator<Item = &Source> {
        self.known.values().filter_map(|known| {
            if let Configured::Ready(source) = known {
                Some(source)
            } else {
                None
            }
        })
    }

    fn usable(&self, source: &SourceId) -> Result<&Source, Refusal> {
        match self.known.get(source) {
            None => Err(Refusal::UnknownSource),
            Some(Configured::Absent | Configured::Invalid(_)) => Err(Refusal::NotConfigured),
            Some(Configured::Ready(source)) => Ok(source),
        }
    }
}
