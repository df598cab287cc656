//! Step 3 for ECPay: what a verified notice says.
//!
//! verify → **normalise** → forward | inbox → apply.
//!
//! Invariants: only RtnCode 1 on ReturnURL or PeriodReturnURL is money; 2 and 10100073 ("code issued", BNPL "applied")
//! never are, and 1 is never "code issued" (§1.4.4). `SimulatePaid=1` makes a test event, and its key says so: were it
//! the key of the real payment, a merchant's try-out would swallow the customer's later payment of the same order.
//! A period's success without a Gwsr is held (§1.5: such "successes" occur and are none): no number, no money.
//! RtnMsg is carried and never matched on: a repeat of a notice has another one (§1.4.2).
//! Not here: whether merchant, order and amount are ours (`origin::domain`).

use super::verify::{Notice, Verified};
use super::wire::{Fields, Head, PeriodCharge, code_parts, expires_at};
use crate::event::{Charge, Decline, Event, EventKey, Fact, IssuedCode, Period};
use crate::id::{ProviderPaymentId, SourceId};
use crate::money::Money;
use crate::provider::Refusal;
use crate::time::Timestamp;

const PAID: &str = "1";
const ATM_CODE_ISSUED: &str = "2";
const STORE_CODE_ISSUED: &str = "10100073";
/// "The result is being confirmed, do not ship" (page 2878): neither money nor a refusal yet.
pub(super) const TO_BE_CONFIRMED: &str = "10300066";

/// In a key, for a notice of a payment that has no TradeNo yet.
const NO_TRADE: &str = "none";

pub(super) fn normalise(source: &SourceId, verified: &Verified) -> Result<Event, Refusal> {
    let fields = Fields(&verified.form);
    match verified.notice {
        Notice::Payment => payment(source, fields),
        Notice::Code => code(source, fields),
        Notice::Period => period(source, fields),
    }
}

fn payment(source: &SourceId, fields: Fields<'_>) -> Result<Event, Refusal> {
    let head = Head::read(fields)?;
    let trade_no: Option<ProviderPaymentId> = fields.optional("TradeNo")?;
    let (outcome, fact) = match head.code {
        PAID => (
            "paid",
            Fact::Paid(charge(
                fields,
                "TradeAmt",
                trade_no.clone().ok_or(Refusal::Field("TradeNo"))?,
            )?),
        ),
        ATM_CODE_ISSUED | STORE_CODE_ISSUED | TO_BE_CONFIRMED => (
            "held",
            Fact::PaymentHeld(decline(fields, "TradeAmt", trade_no.clone(), &head)),
        ),
        _ => (
            "failed",
            Fact::PaymentFailed(decline(fields, "TradeAmt", trade_no.clone(), &head)),
        ),
    };
    let trade = trade_no.as_ref().map_or(NO_TRADE, ProviderPaymentId::as_str);
    let key = key(source, &head, ["payment", head.order.as_str(), trade], outcome);
    Ok(event(source, head, key, fields.time("PaymentDate"), fact))
}

fn code(source: &SourceId, fields: Fields<'_>) -> Result<Event, Refusal> {
    let head = Head::read(fields)?;
    if head.code == PAID {
        return Err(Refusal::Malformed(
            "RtnCode 1 is a payment, not an issued code: is this ReturnURL's notice?",
        ));
    }
    let trade_no: ProviderPaymentId = fields.required("TradeNo")?;
    let parts = code_parts(fields);
    let (outcome, fact) = match head.code {
        ATM_CODE_ISSUED | STORE_CODE_ISSUED if !parts.is_empty() => (
            "issued",
            Fact::CodeIssued(IssuedCode {
                money: fields.money("TradeAmt")?,
                provider_payment_id: trade_no.clone(),
                method: fields.get("PaymentType").unwrap_or_default().to_owned(),
                code_parts: parts,
                expires_at: expires_at(fields),
            }),
        ),
        // BNPL: applied for, and no code to pay with.
        ATM_CODE_ISSUED => (
            "held",
            Fact::PaymentHeld(decline(fields, "TradeAmt", Some(trade_no.clone()), &head)),
        ),
        STORE_CODE_ISSUED => return Err(Refusal::Field("PaymentNo")),
        _ => (
            "failed",
            Fact::PaymentFailed(decline(fields, "TradeAmt", Some(trade_no.clone()), &head)),
        ),
    };
    let key = key(
        source,
        &head,
        ["code", head.order.as_str(), trade_no.as_str()],
        outcome,
    );
    Ok(event(source, head, key, fields.time("TradeDate"), fact))
}

fn period(source: &SourceId, fields: Fields<'_>) -> Result<Event, Refusal> {
    let head = Head::read(fields)?;
    let charged = PeriodCharge::read(fields)?;
    let period = Period {
        period_order_number: format!("{}_{}", head.order, charged.number),
        contract_number: None,
        number: fields.count("TotalSuccessTimes").filter(|_| head.code == PAID),
        total: fields.count("ExecTimes"),
    };
    let decline = || decline(fields, "Amount", charged.gwsr.clone(), &head);
    let (outcome, fact) = match (head.code, charged.gwsr.clone()) {
        (PAID, Some(number)) => (
            "paid",
            Fact::PeriodPaid(charge(fields, "Amount", number)?, period),
        ),
        // A number of our making would be another charge to the ledger than the one that ECPay tells of later.
        (PAID, None) | (TO_BE_CONFIRMED, _) => ("held", Fact::PaymentHeld(decline())),
        _ => ("failed", Fact::PeriodFailed(decline(), period)),
    };
    let key = key(
        source,
        &head,
        ["period", head.order.as_str(), &charged.number],
        outcome,
    );
    Ok(event(source, head, key, charged.processed_at, fact))
}

/// DESIGN.md, "Event identity": `…:paid`, `…:failed:RtnCode`. The first notice of an issued code ends with its trade
/// number; what is simulated, held or refused is another fact and has a longer key.
fn key(source: &SourceId, head: &Head<'_>, fact: [&str; 3], outcome: &str) -> EventKey {
    let [kind, order, number] = fact;
    let mut parts = vec![head.merchant.as_str(), kind, order, number];
    if head.simulated {
        parts.push("simulated");
    }
    match outcome {
        "issued" => {}
        "paid" => parts.push(outcome),
        _ => parts.extend([outcome, head.code]),
    }
    EventKey::new(source, &parts)
}

fn event(
    source: &SourceId,
    head: Head<'_>,
    key: EventKey,
    occurred_at: Option<Timestamp>,
    fact: Fact,
) -> Event {
    Event {
        key,
        source: source.clone(),
        merchant: Some(head.merchant),
        order: Some(head.order),
        test: head.simulated,
        occurred_at,
        fact,
    }
}

fn charge(fields: Fields<'_>, amount: &'static str, number: ProviderPaymentId) -> Result<Charge, Refusal> {
    Ok(Charge {
        money: fields.money(amount)?,
        provider_payment_id: number,
        method: fields.filled("PaymentType").map(str::to_owned),
        credential: None,
    })
}

fn decline(
    fields: Fields<'_>,
    amount: &'static str,
    provider_payment_id: Option<ProviderPaymentId>,
    head: &Head<'_>,
) -> Decline {
    // A failed charge may come with an empty amount (§1.5); it moves no money either way.
    let money: Option<Money> = fields.money(amount).ok();
    Decline {
        money,
        provider_payment_id,
        code: head.code.to_owned(),
        bank_code: None,
        message: head.message.to_owned(),
    }
}
