//! Calls to ECPay's and PAYUNi's servers.
//!
//! `effects` builds a request (`shared::provider`) → **provider** posts it → the answer's bytes, read by `shared` again.
//!
//! Invariants: a call has a time limit, follows no redirect and reads no more than [`ANSWER_BYTES_MAX`]; nothing of an
//! answer that is not 200 is looked at; HTTP 403 (ECPay's "too fast") makes the shop silent for every instance before
//! anything else happens. An error holds no URL, no field and no secret. Whether a call that failed was received nobody
//! knows: callers that move money ask before they send again.
//! Not here: when to call (`limiter`), what a request or an answer means (`shared::provider`).

use std::time::Duration;

use tollgate_shared::form;
use tollgate_shared::id::MerchantId;
use tollgate_shared::provider::ServerRequest;
use tollgate_shared::provider::ecpay::Ecpay;
use tollgate_shared::provider::payuni::Payuni;

use super::user_core::{Client, kind};
use crate::Origin;
use crate::config::PaymentProvider;
use crate::db::provider_limits::ShopKey;

/// Beyond what any answer holds: 900 periods of 8 fields, sealed and in hexadecimal, or a month's settlement file.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Queries and changes of a contract.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(20);
/// Charges: PAYUNi waits a minute for the bank before it says that it does not know (reference A.9).
pub(super) const CHARGE_TIME_MAX: Duration = Duration::from_secs(90);

/// Why there is no answer to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// HTTP 403: asked too fast.
    #[error("the provider answered 403: asked too fast")]
    TooFast,
    /// Another answer than 200.
    #[error("the provider answered {0}")]
    Status(u16),
    /// It could not be reached.
    #[error("the provider cannot be reached")]
    NoConnection,
    /// No whole answer in time, or none at all.
    #[error("the provider did not answer: {0}")]
    NoAnswer(&'static str),
    /// The answer does not end.
    #[error("the provider's answer is too long")]
    TooLong,
}

impl CallError {
    /// Whether the provider certainly did nothing about the call.
    pub(crate) const fn was_not_received(self) -> bool {
        match self {
            Self::TooFast | Self::NoConnection => true,
            Self::Status(_) | Self::NoAnswer(_) | Self::TooLong => false,
        }
    }

    fn of(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            Self::NoConnection
        } else {
            Self::NoAnswer(kind(error))
        }
    }
}

/// A shop that can be asked about, with its keys.
#[derive(Clone, Copy)]
pub(crate) enum Shop<'a> {
    /// At ECPay.
    Ecpay {
        /// The shop and its keys.
        shop: &'a Ecpay,
        /// Where ECPay answers.
        base_url: &'a str,
    },
    /// At PAYUNi.
    Payuni {
        /// The shop and its keys.
        shop: &'a Payuni,
        /// Where PAYUNi answers.
        base_url: &'a str,
    },
}

impl<'a> Shop<'a> {
    /// The shop of a payment; `None` where it is not configured here (any more).
    pub(crate) fn of(origin: &'a Origin, provider: &str, merchant: &MerchantId) -> Option<Self> {
        let found = match PaymentProvider::from_name(provider)? {
            PaymentProvider::Ecpay => Self::ecpay(origin)?,
            PaymentProvider::Payuni => Self::payuni(origin)?,
            PaymentProvider::Mock => return None,
        };
        (found.key().merchant == merchant).then_some(found)
    }

    fn ecpay(origin: &'a Origin) -> Option<Self> {
        let base_url = origin.config.checkout.ecpay_base_url.as_ref()?.as_str();
        let shop = origin.config.sources.ecpay()?;
        Some(Self::Ecpay { shop, base_url })
    }

    fn payuni(origin: &'a Origin) -> Option<Self> {
        let base_url = origin.config.checkout.payuni_base_url.as_ref()?.as_str();
        let shop = origin.config.sources.payuni()?;
        Some(Self::Payuni { shop, base_url })
    }

    /// What its limits go by.
    pub(crate) fn key(&self) -> ShopKey<'a> {
        match *self {
            Self::Ecpay { shop, .. } => ShopKey {
                provider: PaymentProvider::Ecpay.name(),
                merchant: shop.merchant(),
            },
            Self::Payuni { shop, .. } => ShopKey {
                provider: PaymentProvider::Payuni.name(),
                merchant: shop.merchant(),
            },
        }
    }

    /// How far apart two calls about it are.
    pub(crate) fn spacing(&self, origin: &Origin) -> Duration {
        match self {
            Self::Ecpay { .. } => origin.config.gateway.ecpay_spacing,
            Self::Payuni { .. } => origin.config.gateway.payuni_spacing,
        }
    }

    /// PAYUNi asks for this one (reference A.3).
    const fn user_agent(&self) -> &'static str {
        match self {
            Self::Ecpay { .. } => "tollgate",
            Self::Payuni { .. } => "payuni",
        }
    }
}

/// Posts a request as a form and reads the whole answer.
pub(super) async fn post(
    client: &Client,
    shop: Shop<'_>,
    request: &ServerRequest,
    time_max: Duration,
) -> Result<Vec<u8>, CallError> {
    let fields = request
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let sent = client
        .http()
        .post(&request.url)
        .timeout(time_max)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("user-agent", shop.user_agent())
        .body(form::encode(fields))
        .send()
        .await;
    let mut answer = sent.map_err(|error| CallError::of(&error))?;
    match answer.status().as_u16() {
        200 => {}
        403 => return Err(CallError::TooFast),
        status => return Err(CallError::Status(status)),
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| CallError::NoAnswer(kind(&error)))?
    {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(CallError::TooLong);
        }
    }
    Ok(bytes)
}
