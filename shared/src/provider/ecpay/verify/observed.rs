//! Step 2 for what polling ECPay found: is it ECPay's, and does it hold?
//!
//! `observe` composes a body → inbox → **verify** → normalise, in the words of the notice that tells the same fact.
//!
//! | notice | body |
//! |---|---|
//! | `observed-payment` | QueryTradeInfo's answer, byte for byte |
//! | `observed-period` | JSON `{"tradeInfo": "<QueryTradeInfo's answer>", "attempt": {<one entry of ExecLog>}, "paidBefore": {"times": 2, "amount": 600}}` |
//!
//! ExecLog has no signature (reference §1.7.1). Invariant: an attempt of it is money only if the signed TradeInfo vouches for
//! it: the order is paid, ECPay counts at least as many successful charges as the log up to this one (`paidBefore` and itself),
//! their sum is within the signed sum (equal to it at the last one), and it is not the first charge, which TradeInfo tells by
//! itself. So a forged log can rename charges but never add one. A refusal needs no voucher: it moves no money.
//! The log is not kept whole: one of 999 charges is longer than the inbox takes.

use serde::{Deserialize, Serialize};

use super::{Notice, Verified};
use crate::event::Event;
use crate::form::{self, Form};
use crate::money::Minor;
use crate::provider::ecpay::Ecpay;
use crate::provider::ecpay::normalise;
use crate::provider::ecpay::period_info::{AttemptWire, PeriodAttempt};
use crate::provider::ecpay::query::{TradeInfo, TradeStatus, answer, trade_info_of};
use crate::provider::ecpay::wire::Fields;
use crate::provider::{OBSERVED_PAYMENT, OBSERVED_PERIOD, Refusal};

const UNVOUCHED: Refusal = Refusal::Malformed("the signed TradeInfo does not vouch for this charge");

/// The body of `observed-period`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::provider::ecpay) struct PeriodBody {
    pub(in crate::provider::ecpay) trade_info: String,
    pub(in crate::provider::ecpay) attempt: AttemptWire,
    pub(in crate::provider::ecpay) paid_before: PaidBefore,
}

/// The successful charges that the log lists before an attempt, the first of the order included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider::ecpay) struct PaidBefore {
    pub(in crate::provider::ecpay) times: u32,
    pub(in crate::provider::ecpay) amount: Minor,
}

impl PaidBefore {
    /// The count with one more charge; `None` where it does not fit.
    pub(in crate::provider::ecpay) fn and(self, amount: Minor) -> Option<Self> {
        Some(Self {
            times: self.times.checked_add(1)?,
            amount: self.amount.checked_add(amount)?,
        })
    }
}

/// Reads a body of one of the two notices.
pub(in crate::provider::ecpay) fn read(ecpay: &Ecpay, notice: &str, body: &[u8]) -> Result<Event, Refusal> {
    let verified = match notice {
        OBSERVED_PAYMENT => payment(ecpay, body),
        OBSERVED_PERIOD => period(ecpay, body),
        _ => Err(Refusal::UnknownNotice),
    }?;
    normalise::normalise(&ecpay.source, &verified)
}

fn payment(ecpay: &Ecpay, body: &[u8]) -> Result<Verified, Refusal> {
    let form = answer(ecpay, body)?;
    if trade_info_of(&form)?.status != TradeStatus::Paid {
        return Err(Refusal::Malformed("the answer tells of no payment"));
    }
    let fields = Fields(&form);
    // Spelt as in ReturnURL's notice. A state that is "paid" is its RtnCode 1; RtnMsg differs from notice to notice anyway.
    let same = [
        "MerchantID",
        "MerchantTradeNo",
        "TradeNo",
        "TradeAmt",
        "PaymentDate",
        "PaymentType",
        "SimulatePaid",
    ];
    let same = same
        .iter()
        .filter_map(|name| fields.get(name).map(|value| (*name, value)));
    in_words(
        Notice::Payment,
        same.chain([("RtnCode", "1"), ("RtnMsg", "paid")]),
    )
}

fn period(ecpay: &Ecpay, body: &[u8]) -> Result<Verified, Refusal> {
    let body: PeriodBody =
        serde_json::from_slice(body).map_err(|_| Refusal::Malformed("not the JSON of an observed period"))?;
    let signed = answer(ecpay, body.trade_info.as_bytes())?;
    let info = trade_info_of(&signed)?;
    let attempt = body.attempt.read();
    if info.status != TradeStatus::Paid || is_first_charge(&info, &attempt) {
        return Err(Refusal::Malformed(
            "an attempt of the first charge is not told here",
        ));
    }
    if attempt.paid {
        vouch(&info, &attempt, body.paid_before)?;
    } else if attempt.code == "1" {
        return Err(Refusal::Malformed("a success without a Gwsr is none"));
    }
    in_period_words(&signed, &attempt, body.paid_before)
}

/// Whether an entry of the log is the order's first charge, which the signed TradeInfo names.
pub(in crate::provider::ecpay) fn is_first_charge(info: &TradeInfo, attempt: &PeriodAttempt) -> bool {
    let same_trade = attempt.trade_no.is_some() && attempt.trade_no == info.trade_no;
    let same_authorisation = attempt.gwsr.is_some() && attempt.gwsr == info.gwsr;
    same_trade || same_authorisation
}

/// Whether the signed totals leave room for this charge beside those before it.
pub(in crate::provider::ecpay) fn vouch(
    info: &TradeInfo,
    attempt: &PeriodAttempt,
    before: PaidBefore,
) -> Result<(), Refusal> {
    let signed = info.total_success_times.zip(info.total_success_amount);
    let (times, amount) = signed.ok_or(UNVOUCHED)?;
    let told = attempt
        .amount
        .and_then(|amount| before.and(amount))
        .ok_or(UNVOUCHED)?;
    let first_counts = before.times >= 1 && before.amount >= Minor::ZERO;
    let within = told.times <= times && told.amount <= amount;
    let complete = told.times < times || told.amount == amount;
    if first_counts && within && complete {
        Ok(())
    } else {
        Err(UNVOUCHED)
    }
}

fn in_period_words(signed: &Form, attempt: &PeriodAttempt, before: PaidBefore) -> Result<Verified, Refusal> {
    let text = |name| Fields(signed).get(name).unwrap_or_default().to_owned();
    // An entry of a failure may have no code at all (§1.5).
    let digits =
        (1..=10).contains(&attempt.code.len()) && attempt.code.bytes().all(|byte| byte.is_ascii_digit());
    let code = if digits {
        attempt.code.clone()
    } else {
        "0".to_owned()
    };
    let number = before.times.saturating_add(1);
    let fields = [
        ("MerchantID", text("MerchantID")),
        ("MerchantTradeNo", text("MerchantTradeNo")),
        ("RtnCode", code),
        ("RtnMsg", attempt.message.clone()),
        ("SimulatePaid", text("SimulatePaid")),
        ("ExecTimes", text("ExecTimes")),
        (
            "Amount",
            attempt
                .amount
                .map(|amount| amount.to_string())
                .unwrap_or_default(),
        ),
        (
            "Gwsr",
            attempt.gwsr.as_ref().map(ToString::to_string).unwrap_or_default(),
        ),
        ("ProcessDate", attempt.process_date.clone()),
        ("TotalSuccessTimes", number.to_string()),
    ];
    in_words(
        Notice::Period,
        fields.iter().map(|(name, value)| (*name, value.as_str())),
    )
}

/// The fields under the names of a notice, so that one reading gives one meaning.
fn in_words<'a>(
    notice: Notice,
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Verified, Refusal> {
    let form = Form::parse(form::encode(fields).as_bytes()).map_err(Refusal::Form)?;
    Ok(Verified { notice, form })
}
