//! Step 3 for PAYUNi: what a verified notice says.
//!
//! verify → **normalise** → forward | inbox → apply.
//!
//! Which notice it is, is read from its fields, not from the path: one merchant URL may get all kinds (reference A.6).
//! Invariants: money needs Status SUCCESS *and* (one-time) TradeStatus 1; TradeStatus 0 is an issued code; UNKNOWN,
//! UNAPPROVED and TradeStatus 8 are undecided. An authorisation of exactly NT$1 in a periodic order is the
//! binding of a card and never a period's money (PU-7): every period costs more than NT$1 (A.5). The result of the order's
//! page tells it, and whatever else tells it (no document says that a notice does) is the same fact under the same key.
//! Not here: whether merchant, order and amount are ours (`origin::domain`).

use super::verify::Verified;
use super::wire::{Fields, Status};
use crate::crypto;
use crate::event::{CardBinding, Charge, Decline, Event, EventKey, Fact, IssuedCode, Period};
use crate::id::{OrderNumber, ProviderPaymentId, SourceId};
use crate::money::{Minor, Money};
use crate::provider::Refusal;

/// In a key, for a notice without a trade number.
const NO_TRADE: &str = "none";
/// What binds a card (A.5).
const BINDING_AMOUNT: Minor = Minor::new(1);

pub(super) fn normalise(source: &SourceId, verified: &Verified) -> Result<Event, Refusal> {
    let fields = Fields::Notice(&verified.inner);
    // Fields of notices that have nothing to do with payments: e-invoice, coupon, logistics (A.6).
    let foreign = ["InvoiceNotifyType", "CouponList", "ApiType"]
        .iter()
        .any(|name| fields.filled(name).is_some());
    let reading = Reading {
        source,
        verified,
        fields,
    };
    if foreign {
        Ok(reading.acknowledged("a notice that is not about payments"))
    } else if fields.filled("PeriodOrderNo").is_some() {
        reading.period()
    } else if fields.filled("TradeStatus").is_some() {
        reading.payment()
    } else if fields.filled("PeriodTradeNo").is_some() {
        reading.page_result()
    } else if fields.filled("MerTradeNo").is_some() {
        reading.payment()
    } else {
        Ok(reading.acknowledged("a notice of an unknown kind"))
    }
}

struct Reading<'a> {
    source: &'a SourceId,
    verified: &'a Verified,
    fields: Fields<'a>,
}

impl Reading<'_> {
    fn event(&self, parts: &[&str], order: Option<OrderNumber>, fact: Fact) -> Event {
        let parts: Vec<&str> = std::iter::once(self.verified.merchant.as_str())
            .chain(parts.iter().copied())
            .collect();
        Event {
            key: EventKey::new(self.source, &parts),
            source: self.source.clone(),
            merchant: Some(self.verified.merchant.clone()),
            order,
            test: false,
            occurred_at: self.fields.happened_at(),
            fact,
        }
    }

    /// Such a notice has no documented identity. Its fields are one: a repeat is the same text, as the nonce is fixed.
    fn acknowledged(&self, reason: &'static str) -> Event {
        let mut content = String::new();
        for (name, value) in self.verified.inner.fields() {
            content.extend([name, "=", value, "\n"]);
        }
        let identity = hex::encode(crypto::sha256(content.as_bytes()));
        let order = self.fields.order().ok();
        self.event(&["other", &identity], order, Fact::Acknowledged { reason })
    }

    /// The result of the order page. Each charge is told by a notice of its own; counting this one too would book the
    /// first period twice. What it alone tells is that a card was bound.
    fn page_result(&self) -> Result<Event, Refusal> {
        let is_done = self.fields.status()? == Status::Success;
        match self.fields.money("AuthAmt") {
            Ok(money) if is_done && money.amount_minor == BINDING_AMOUNT => self.binding(money),
            Ok(_) | Err(_) => Ok(self.acknowledged(
                "the result of the periodic order page; its charges have notices of their own",
            )),
        }
    }

    /// Under a key of its own: whatever number the first charge has, it is another fact.
    fn binding(&self, money: Money) -> Result<Event, Refusal> {
        let (order, trade_no) = (self.fields.order()?, self.fields.trade_no());
        let trade = trade_no.as_ref().map_or(NO_TRADE, ProviderPaymentId::as_str);
        let parts = ["binding", order.as_str(), trade];
        let fact = Fact::CardBound(CardBinding {
            money,
            provider_payment_id: trade_no.clone(),
            contract_number: self.fields.number("PeriodTradeNo"),
        });
        Ok(self.event(&parts, Some(order.clone()), fact))
    }

    fn payment(&self) -> Result<Event, Refusal> {
        let (fields, status) = (self.fields, self.fields.status()?);
        let order = fields.order()?;
        let trade_no = fields.trade_no();
        let trade_status = fields.filled("TradeStatus").unwrap_or(NO_TRADE);
        if trade_status.len() > 4 || !trade_status.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Refusal::Field("TradeStatus"));
        }
        let fact = self.payment_fact(status, trade_status, trade_no.as_ref())?;
        let trade = trade_no.as_ref().map_or(NO_TRADE, ProviderPaymentId::as_str);
        let mut parts = vec!["payment", order.as_str(), trade, trade_status];
        // An undecided or refused attempt is another fact than the success that may follow under the same numbers.
        if status != Status::Success {
            parts.push(status.as_str());
        }
        Ok(self.event(&parts, Some(order.clone()), fact))
    }

    fn payment_fact(
        &self,
        status: Status<'_>,
        trade_status: &str,
        trade_no: Option<&ProviderPaymentId>,
    ) -> Result<Fact, Refusal> {
        let decline = || self.decline("TradeAmt", status, trade_no.cloned());
        let number = || trade_no.cloned().ok_or(Refusal::Field("TradeNo"));
        Ok(match (status, trade_status) {
            (Status::Success, "1") => Fact::Paid(self.charge("TradeAmt", number()?)?),
            (Status::Success, "0") => Fact::CodeIssued(self.issued_code(number()?)?),
            (Status::Success, "5") => Fact::Refunded(self.charge("TradeAmt", number()?)?),
            // Under the number of a charge that was told before, this is its authorisation taken back.
            (Status::Success, "3") => Fact::PaymentCanceled(decline()),
            // Failed, cancelled, expired, code not issued.
            (Status::Success, "2" | "4" | "6")
            | (Status::Code(_), NO_TRADE | "0" | "2" | "3" | "4" | "6" | "9") => {
                Fact::PaymentFailed(decline())
            }
            // Undecided, or contradicting itself (an error that says "paid"): held, and to be queried.
            (Status::Success | Status::Held(_) | Status::Code(_), _) => Fact::PaymentHeld(decline()),
        })
    }

    fn period(&self) -> Result<Event, Refusal> {
        let (fields, status) = (self.fields, self.fields.status()?);
        let order = fields.order()?;
        // The type of our own order numbers; PAYUNi's are those with `_N` behind.
        let period_order: ProviderPaymentId = fields.required("PeriodOrderNo")?;
        let trade_no = fields.trade_no();
        if status == Status::Success {
            let money = fields.money("AuthAmt")?;
            if money.amount_minor == BINDING_AMOUNT {
                return self.binding(money);
            }
        }
        let fact = self.period_fact(status, &period_order, trade_no.clone())?;
        let trade = trade_no.as_ref().map_or(NO_TRADE, ProviderPaymentId::as_str);
        let parts = ["period", period_order.as_str(), trade, status.as_str()];
        Ok(self.event(&parts, Some(order), fact))
    }

    fn period_fact(
        &self,
        status: Status<'_>,
        period_order: &ProviderPaymentId,
        trade_no: Option<ProviderPaymentId>,
    ) -> Result<Fact, Refusal> {
        let period = Period {
            period_order_number: period_order.as_str().to_owned(),
            contract_number: self.fields.number("PeriodTradeNo"),
            number: self.fields.count("ThisPeriod"),
            total: self.fields.count("TotalTimes"),
        };
        match status {
            Status::Success => {
                let charge = self.charge("AuthAmt", trade_no.ok_or(Refusal::Field("TradeNo"))?)?;
                Ok(Fact::PeriodPaid(charge, period))
            }
            Status::Held(_) => Ok(Fact::PaymentHeld(self.decline("AuthAmt", status, trade_no))),
            Status::Code(_) => Ok(Fact::PeriodFailed(
                self.decline("AuthAmt", status, trade_no),
                period,
            )),
        }
    }

    fn charge(
        &self,
        amount: &'static str,
        provider_payment_id: ProviderPaymentId,
    ) -> Result<Charge, Refusal> {
        let money = self.fields.money(amount)?;
        Ok(Charge {
            money,
            provider_payment_id,
            method: self.fields.method(),
            credential: self.fields.credential(),
        })
    }

    /// ATM: bank and account number; CVS: the code. PAYUNi prints the bank as `BankType` or `PayBank`.
    fn issued_code(&self, provider_payment_id: ProviderPaymentId) -> Result<IssuedCode, Refusal> {
        let bank = self
            .fields
            .filled("BankType")
            .or_else(|| self.fields.filled("PayBank"));
        let code_parts = bank
            .into_iter()
            .chain(self.fields.filled("PayNo"))
            .map(str::to_owned)
            .collect();
        Ok(IssuedCode {
            money: self.fields.money("TradeAmt")?,
            provider_payment_id,
            method: self.fields.method().unwrap_or_default(),
            code_parts,
            expires_at: self.fields.expires_at(),
        })
    }

    fn decline(
        &self,
        amount: &'static str,
        status: Status<'_>,
        provider_payment_id: Option<ProviderPaymentId>,
    ) -> Decline {
        // A refusal under Status SUCCESS (cancelled, expired) says which one by its TradeStatus.
        let code = match status {
            Status::Success => format!("TradeStatus_{}", self.fields.text("TradeStatus")),
            Status::Held(text) | Status::Code(text) => text.to_owned(),
        };
        let bank_words = self.fields.filled("ResCodeMsg").map(str::to_owned);
        Decline {
            money: self.fields.money(amount).ok(),
            provider_payment_id,
            code,
            bank_code: self.fields.bank_code(),
            message: bank_words.unwrap_or_else(|| self.fields.text("Message")),
        }
    }
}
