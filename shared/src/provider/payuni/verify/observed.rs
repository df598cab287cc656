//! Step 2 for what asking PAYUNi found: is it PAYUNi's, and what does it say?
//!
//! `observe` cuts a reply to one fact → inbox → **verify** → normalise, in the words of the notice that tells the same fact.
//!
//! | notice | body |
//! |---|---|
//! | `observed-payment` | a `/api/trade/query` reply with one row |
//! | `observed-period` | a `/api/period/query` reply with one row |
//! | `charge-reply` | a `/api/credit` reply |
//! | `charge-by-hand` | the same form, written by us with what an operator found |
//!
//! Invariants: a body is a reply in PAYUNi's own envelope, and counts only under our keys. Only the fields named below are
//! taken, so that no other field turns a row into another kind of notice. A period is charged by a TradeNo with an
//! AuthCode, and failed only after a try (`period_calls`); a row that is neither, a trade that is undecided or still
//! being collected (DataSource B), and a refused query tell nothing and are refused here.
//! A word of an operator has a key of its own: PAYUNi's reply under the same number may stand in the inbox as a dispute.
//! A row knows no error code: a failure that a query found has a key of its own beside the notice's (its TradeNo is the same).

use super::Verified;
use crate::event::{Event, EventKey, Fact};
use crate::form::{self, Form};
use crate::id::{MerchantId, OrderNumber};
use crate::provider::payuni::reply::{Reply, ReplyError, SUCCESS};
use crate::provider::payuni::wire::{Fields, is_repeat};
use crate::provider::payuni::{Payuni, normalise, period_calls, reply, trade_calls};
use crate::provider::{CHARGE_BY_HAND, CHARGE_REPLY, OBSERVED_PAYMENT, OBSERVED_PERIOD, Refusal};

/// In place of a Status, for a period whose row says no more than that it was refused.
const NOT_AUTHORISED: &str = "NOT_AUTHORISED";

/// What a payment's notice is read from (`wire`, `normalise`).
const PAYMENT_FIELDS: [&str; 21] = [
    "MerTradeNo",
    "OriginalMerTradeNo",
    "TradeNo",
    "TradeAmt",
    "TradeStatus",
    "PaymentType",
    "Message",
    "ResCode",
    "ResCodeMsg",
    "AuthDay",
    "AuthTime",
    "PayTime",
    "PaymentDay",
    "BankType",
    "PayBank",
    "PayNo",
    "ExpireDate",
    "CreditHash",
    "CreditLife",
    "Card4No",
    "Status",
];

/// Reads a body of one of the four notices.
pub(in crate::provider::payuni) fn read(
    payuni: &Payuni,
    notice: &str,
    body: &[u8],
) -> Result<Event, Refusal> {
    let take: fn(&Reply) -> Result<Words, Refusal> = match notice {
        OBSERVED_PAYMENT => trade,
        OBSERVED_PERIOD => period,
        CHARGE_REPLY | CHARGE_BY_HAND => charge,
        _ => return Err(Refusal::UnknownNotice),
    };
    let reply = reply::read(payuni, body).map_err(refusal)?;
    let inner =
        Form::parse(form::encode(take(&reply)?.0.iter().map(as_strs)).as_bytes()).map_err(Refusal::Form)?;
    let merchant = merchant(payuni, &reply)?;
    let event = normalise::normalise(&payuni.source, &Verified { merchant, inner })?;
    if notice == CHARGE_BY_HAND {
        return by_hand(event);
    }
    Ok(event)
}

/// Money or none: a word that decides nothing is none.
fn by_hand(event: Event) -> Result<Event, Refusal> {
    let ended = if let Fact::Paid(charge) = &event.fact {
        format!("paid:{}", charge.provider_payment_id)
    } else if matches!(event.fact, Fact::PaymentFailed(_)) {
        "failed".to_owned()
    } else {
        return Err(Refusal::Malformed("it says neither paid nor failed"));
    };
    let shop = event.merchant.as_ref().map_or("", MerchantId::as_str);
    let order = event.order.as_ref().map_or("", OrderNumber::as_str);
    let key = EventKey::new(&event.source, &[shop, CHARGE_BY_HAND, order, &ended]);
    Ok(Event { key, ..event })
}

/// The fields of a notice.
struct Words(Vec<(&'static str, String)>);

impl Words {
    fn add(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, value.into()));
    }

    /// The same fields, under the same names.
    fn of(fields: Fields<'_>, names: &[&'static str]) -> Self {
        let filled = names
            .iter()
            .filter_map(|name| Some((*name, fields.filled(name)?.to_owned())));
        Self(filled.collect())
    }
}

fn as_strs<'a>((name, value): &'a (&'static str, String)) -> (&'a str, &'a str) {
    (name, value)
}

fn trade(reply: &Reply) -> Result<Words, Refusal> {
    let row = only_row(reply)?;
    if !tells_of_trade(row) {
        return Err(Refusal::Malformed("the row tells of no payment"));
    }
    let mut words = Words::of(row, &PAYMENT_FIELDS);
    // The reply's Status is the query's; a row has one of its own, or none.
    if row.filled("Status").is_none() {
        words.add("Status", SUCCESS);
    }
    Ok(words)
}

/// Whether a row of `/api/trade/query` says how a payment of ours went.
pub(in crate::provider::payuni) fn tells_of_trade(row: Fields<'_>) -> bool {
    // A period's charge is told by its schedule, under the period's number.
    let of_period = ["PeriodTradeNo", "PeriodOrderNo"]
        .iter()
        .any(|name| row.filled(name).is_some());
    let told = match row.filled("TradeStatus") {
        // "Code issued" only with the code.
        Some("0") => row.filled("PayNo").is_some(),
        Some(status) => matches!(status, "1" | "2" | "3" | "4" | "5" | "6"),
        None => false,
    };
    told && !of_period && trade_calls::is_complete(row)
}

fn period(reply: &Reply) -> Result<Words, Refusal> {
    let row = only_row(reply)?;
    let head = Fields::Row(&reply.fields);
    let period = period_calls::period(row)?;
    let status = match (&period.charge, period.failed) {
        (Some(_), _) => SUCCESS,
        (None, true) => NOT_AUTHORISED,
        (None, false) => return Err(Refusal::Malformed("the period was neither charged nor refused")),
    };
    let order = head.order()?;
    // PAYUNi names a period only once it is charged; the name is documented as this.
    let number = period
        .period_order_number
        .map_or_else(|| format!("{order}_{}", period.number), String::from);
    // A charged row's "expected" time is when it was charged; a refused one's may still be the day's midnight.
    let when = if period.charge.is_some() {
        "ExpAuthDT"
    } else {
        "UpdateTime"
    };
    let mut words = Words::of(
        head,
        &["MerTradeNo", "OriginalMerTradeNo", "PeriodTradeNo", "TotalTimes"],
    );
    words.add("Status", status);
    words.add("Message", period.description);
    words.add("PeriodOrderNo", number);
    words.add("ThisPeriod", period.number.to_string());
    words.add("AuthAmt", period.amount.to_string());
    words.add("TradeNo", row.filled("TradeNo").unwrap_or_default());
    words.add("PayTime", row.filled(when).unwrap_or_default());
    Ok(words)
}

fn charge(reply: &Reply) -> Result<Words, Refusal> {
    if is_repeat(&reply.status) {
        return Err(Refusal::Malformed(
            "a repeated order number says nothing of the charge that has it: query it",
        ));
    }
    Ok(Words::of(Fields::Row(&reply.fields), &PAYMENT_FIELDS))
}

fn only_row(reply: &Reply) -> Result<Fields<'_>, Refusal> {
    match (reply.status.as_str(), &reply.results[..]) {
        (SUCCESS, [row]) => Ok(Fields::Row(row)),
        (SUCCESS, _) => Err(Refusal::Malformed("not exactly one row: which one is meant?")),
        _ => Err(Refusal::Malformed("the query was refused; it tells nothing")),
    }
}

/// The shop that the reply names, in its head or in its row; one that names none was sealed for us.
fn merchant(payuni: &Payuni, reply: &Reply) -> Result<MerchantId, Refusal> {
    let named = std::iter::once(&reply.fields)
        .chain(&reply.results)
        .find_map(|fields| Fields::Row(fields).filled("MerID"));
    match named {
        Some(named) => named.parse().map_err(|_| Refusal::Field("MerID")),
        None => Ok(payuni.merchant.clone()),
    }
}

fn refusal(error: ReplyError) -> Refusal {
    match error {
        ReplyError::NotAReply => Refusal::Malformed("not a PAYUNi reply"),
        ReplyError::Refused { .. } => Refusal::Malformed("the call was refused; it tells nothing"),
        ReplyError::Envelope(refusal) | ReplyError::Fields(refusal) => refusal,
    }
}
