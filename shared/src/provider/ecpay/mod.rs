//! ECPay (綠界) AIO: checkout, notices, queries, and the JSON envelope of the newer products.
//!
//! origin's checkout → `checkout` → the customer's browser → ECPay → **`verify` → `normalise`** → event.
//!
//! `mac` is the signature, `wire` the fields of a notice, `aes_json` the envelope. The server calls have a file each:
//! `query`, `period_info`, `period_action`, `do_action`, `settlement_file`. `observe` lists what their answers tell.
//! Invariant: nothing outside `verify` makes a `Verified`. Facts are from ECPay's pages (developers.ecpay.com.tw)
//! and recorded traffic, by way of the reference; each fact names its section where it is used.
//! Not here: sending requests (origin's gateway).

pub mod aes_json;
pub mod checkout;
pub mod do_action;
pub mod mac;
mod normalise;
pub mod observe;
pub mod period_action;
pub mod period_info;
pub mod query;
pub mod settlement_file;
mod verify;
mod wire;

pub use verify::Verified;

use crate::event::Event;
use crate::id::{MerchantId, SourceId};
use crate::provider::{Acknowledgement, Provider, Refusal, Unverified};
use crate::secret::{Rotating, Secret};

/// The two secrets of a merchant for one product (the same MerchantID has others for e-invoices, §1.0).
#[derive(Debug, Clone)]
pub struct EcpayKeys {
    /// 16 ASCII bytes.
    pub hash_key: Secret,
    /// 16 ASCII bytes.
    pub hash_iv: Secret,
}

/// How many charges a periodic order may have in all; the documents disagree (§1.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExecTimesLimit {
    /// Old manual and support page 16214: 999 by day, 99 by month, 9 by year. What every source accepts.
    #[default]
    Conservative,
    /// Current pages and the server's own messages: 999, 999, 99.
    Wide,
}

/// A merchant at ECPay.
#[derive(Debug, Clone)]
pub struct Ecpay {
    source: SourceId,
    merchant: MerchantId,
    keys: Rotating<EcpayKeys>,
    exec_times: ExecTimesLimit,
}

impl Ecpay {
    /// A merchant with its keys; `source` is the name that stands in the webhook's path.
    #[must_use]
    pub fn new(source: SourceId, merchant: MerchantId, keys: Rotating<EcpayKeys>) -> Self {
        Self {
            source,
            merchant,
            keys,
            exec_times: ExecTimesLimit::default(),
        }
    }

    /// The same merchant with another limit of periodic charges.
    #[must_use]
    pub fn with_exec_times(mut self, limit: ExecTimesLimit) -> Self {
        self.exec_times = limit;
        self
    }

    /// ECPay's MerchantID.
    #[must_use]
    pub const fn merchant(&self) -> &MerchantId {
        &self.merchant
    }

    /// Reads what `observe` composed: the origin's own notices.
    pub(super) fn read_observed(&self, unverified: &Unverified<'_>) -> Result<Event, Refusal> {
        verify::observed::read(self, unverified.notice, unverified.body)
    }

    /// Signs the fields of a request with the current keys and appends `CheckMacValue`.
    fn sign(&self, mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
        let keys = &self.keys.current;
        let pairs = fields.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let (key, iv) = (keys.hash_key.expose(), keys.hash_iv.expose());
        let mac = mac::check_mac_value(pairs, key, iv, mac::Algorithm::Sha256);
        fields.push((mac::FIELD.to_owned(), mac));
        fields
    }
}

impl Provider for Ecpay {
    type Verified = Verified;

    fn verify(&self, unverified: &Unverified<'_>) -> Result<Verified, Refusal> {
        verify::verify(&self.keys, unverified)
    }

    fn normalise(&self, verified: Verified) -> Result<Event, Refusal> {
        normalise::normalise(&self.source, &verified)
    }

    /// Exactly four bytes (§1.4.5): any other body counts as not received.
    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement {
            body: "1|OK",
            content_type: "text/plain",
        }
    }

    fn notices(&self) -> &'static [&'static str] {
        &["payment", "code", "period"]
    }
}
