//! The mock payment provider: for trying Tollgate without a contract (PM-7).
//!
//! origin's checkout → `checkout_url` → the sandbox's page → **verify → normalise** → event.
//!
//! Signed as Standard Webhooks; notice `payment`, body
//! `{"type":"payment.paid","data":{"orderNumber":"T1","amount":300,"tradeNo":"M1","message":"…","code":"…"}}` or
//! `payment.failed`. Invariant: `Sources` never makes one where a real provider is configured, so that nobody can pay
//! a real order with play money. Not here: which orders exist (`origin`).

use serde::Deserialize;

use super::hmac_source::{self, HmacSource};
use super::{Acknowledgement, Provider, Refusal, Unverified};
use crate::event::{Charge, Decline, Event, EventKey, Fact};
use crate::id::{MerchantId, OrderNumber, ProviderPaymentId, SourceId};
use crate::money::{Currency, Minor, Money};

/// The mock provider with its shop.
#[derive(Clone)]
pub struct Mock {
    source: SourceId,
    merchant: MerchantId,
    signatures: HmacSource,
}

/// A checked delivery of the mock. Made by [`Mock::verify`] only.
#[derive(Debug)]
pub struct Verified(hmac_source::Verified);

#[derive(Deserialize)]
struct Notice {
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    order_number: OrderNumber,
    amount: i64,
    #[serde(default = "twd")]
    currency: Currency,
    trade_no: Option<ProviderPaymentId>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

const fn twd() -> Currency {
    Currency::Twd
}

impl Mock {
    /// The mock of a shop; `signatures` checks its Standard Webhooks signatures.
    #[must_use]
    pub fn new(source: SourceId, merchant: MerchantId, signatures: HmacSource) -> Self {
        Self {
            source,
            merchant,
            signatures,
        }
    }

    /// The shop that the mock speaks of.
    #[must_use]
    pub const fn merchant(&self) -> &MerchantId {
        &self.merchant
    }
}

/// Where the customer pays: `{base_url}/checkout?orderNumber=…&amount=…&currency=…&notifyUrl=…&returnUrl=…`.
#[must_use]
pub fn checkout_url(
    base_url: &str,
    order: &OrderNumber,
    money: Money,
    notify_url: &str,
    return_url: &str,
) -> String {
    let amount = money.amount_minor.to_string();
    let query = crate::form::encode([
        ("orderNumber", order.as_str()),
        ("amount", &amount),
        ("currency", money.currency.code()),
        ("notifyUrl", notify_url),
        ("returnUrl", return_url),
    ]);
    format!("{}/checkout?{query}", base_url.trim_end_matches('/'))
}

impl Provider for Mock {
    type Verified = Verified;

    fn verify(&self, unverified: &Unverified<'_>) -> Result<Verified, Refusal> {
        if !self.notices().contains(&unverified.notice) {
            return Err(Refusal::UnknownNotice);
        }
        self.signatures
            .verify(&Unverified {
                notice: "event",
                ..*unverified
            })
            .map(Verified)
    }

    fn normalise(&self, Verified(verified): Verified) -> Result<Event, Refusal> {
        let notice: Notice = serde_json::from_str(verified.payload())
            .map_err(|_| Refusal::Malformed("not a mock payment: type, data.orderNumber, data.amount"))?;
        let order = notice.data.order_number.clone();
        Ok(Event {
            key: EventKey::new(&self.source, &[self.merchant.as_str(), "payment", verified.id()]),
            source: self.source.clone(),
            merchant: Some(self.merchant.clone()),
            order: Some(order),
            test: false,
            occurred_at: Some(verified.signed_at()),
            fact: fact(notice)?,
        })
    }

    fn acknowledgement(&self) -> Acknowledgement {
        self.signatures.acknowledgement()
    }

    fn notices(&self) -> &'static [&'static str] {
        &["payment"]
    }
}

fn fact(notice: Notice) -> Result<Fact, Refusal> {
    let data = notice.data;
    if data.amount < 0 {
        return Err(Refusal::Field("data.amount"));
    }
    let money = Money {
        amount_minor: Minor::new(data.amount),
        currency: data.currency,
    };
    match notice.kind.as_str() {
        "payment.paid" => Ok(Fact::Paid(Charge {
            money,
            provider_payment_id: data.trade_no.ok_or(Refusal::Field("data.tradeNo"))?,
            method: Some("Mock".to_owned()),
            credential: None,
        })),
        "payment.failed" => Ok(Fact::PaymentFailed(Decline {
            money: Some(money),
            provider_payment_id: data.trade_no,
            code: data.code,
            bank_code: None,
            message: data.message,
        })),
        _ => Err(Refusal::Field("type")),
    }
}
