//! The sealed forms for PAYUNi's pages: `/api/upp` (one payment) and `/api/period/Page` (a periodic order).
//!
//! origin's checkout → **form** → the customer's browser posts it → PAYUNi's page.
//!
//! Invariant: a form that exists keeps every limit of reference A.5 and A.9. A periodic order always asks for
//! notices: without `NotifyURL` PAYUNi sends none at all. The period pages list no `Timestamp`, so none is sent.
//! Not here: the notices that follow (`wire`); `FType=date` on another day binds the card with NT$1, which
//! `normalise` never counts as a period's money (PU-7).

use super::Payuni;
use crate::id::OrderNumber;
use crate::money::Money;
use crate::provider::CheckoutForm;
use crate::provider::checkout_error::{CheckoutError, amount, number, text, url};
use crate::time::Timestamp;

/// Characters of `MerTradeNo`.
pub const ORDER_NUMBER_LENGTH_MAX: usize = 25;
/// Characters of `ProdDesc` on `/api/upp`.
pub const UPP_DESC_LENGTH_MAX: usize = 550;
/// Characters of `ProdDesc` on `/api/period/Page`.
pub const PERIOD_DESC_LENGTH_MAX: usize = 500;
/// Charges of a periodic order.
pub const PERIOD_TIMES_MAX: u32 = 900;
/// Characters of `CreditToken`.
pub const CREDIT_TOKEN_LENGTH_MAX: usize = 200;
/// The highest amount of any method: a card's.
pub const AMOUNT_MAX: i64 = 199_999;
/// PAYUNi prints no length for URLs; this is well inside what browsers and gateways carry.
pub const URL_LENGTH_MAX: usize = 500;

/// A payment on `/api/upp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// `MerTradeNo`: 1 to 25 of `A-Za-z0-9_-`, not repeated within 10 minutes.
    pub number: OrderNumber,
    /// `Timestamp`: an old one is refused (UPP02010).
    pub placed_at: Timestamp,
    /// `TradeAmt`: whole TWD, in the range of every offered method.
    pub money: Money,
    /// `ProdDesc`: 1 to 550 characters.
    pub description: String,
    /// `NotifyURL`: where PAYUNi posts the result.
    pub notify_url: String,
    /// `ReturnURL`: where the customer's browser posts the result.
    pub return_url: Option<String>,
    /// `BackURL`: the page's button back to the shop.
    pub back_url: Option<String>,
    /// The methods on offer; empty offers what the contract has.
    pub methods: Vec<Method>,
}

/// A method of `/api/upp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Credit card: NT$1–199,999.
    Credit,
    /// Transfer to an account made for this order: NT$15–49,999.
    Atm,
    /// Code paid at a shop: NT$30–20,000.
    Cvs,
}

impl Method {
    /// The method of our `method` text (the same words as ECPay's).
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        match code {
            "Credit" => Some(Self::Credit),
            "ATM" => Some(Self::Atm),
            "CVS" => Some(Self::Cvs),
            _ => None,
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Credit => "Credit",
            Self::Atm => "ATM",
            Self::Cvs => "CVS",
        }
    }

    const fn amount_range(self) -> (i64, i64) {
        match self {
            Self::Credit => (1, AMOUNT_MAX),
            Self::Atm => (15, 49_999),
            Self::Cvs => (30, 20_000),
        }
    }
}

/// A periodic order on `/api/period/Page`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodOrder {
    /// `MerTradeNo`: 1 to 25 of `A-Za-z0-9-` (no `_`: PAYUNi appends `_N` for the periods).
    pub number: OrderNumber,
    /// `PeriodAmt`: above NT$1.
    pub money: Money,
    /// `FAmt`: the first charge, above NT$1; `None` is the same as the others.
    pub first_money: Option<Money>,
    /// `ProdDesc`: 1 to 500 characters.
    pub description: String,
    /// When the charges fall.
    pub schedule: Schedule,
    /// `PeriodTimes`: 1 to 900 charges.
    pub period_times: u32,
    /// When the first charge falls.
    pub first_charge: FirstCharge,
    /// `NotifyURL`: where PAYUNi posts each period's result.
    pub notify_url: String,
    /// `ReturnURL`: where the customer's browser posts the result of the page.
    pub return_url: Option<String>,
    /// `BackURL`: the page's button back to the shop.
    pub back_url: Option<String>,
    /// `PayerEmail`; asked on the page when missing.
    pub payer_email: Option<String>,
}

/// Whose card an agreement is about: `CreditTokenType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardAgreement {
    /// `1`: a member's, at this shop.
    Member,
    /// `2`: the shop's.
    Shop,
}

impl CardAgreement {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Member => "1",
            Self::Shop => "2",
        }
    }
}

/// `PeriodType` and `PeriodDate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// `week`: 1 (Monday) to 7.
    Weekly(u32),
    /// `month`: 1 to 31; short months use their last day.
    Monthly(u32),
    /// `year`: `YYYY-MM-DD`.
    Yearly(String),
}

/// `FType` and `FDate` (PU-7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstCharge {
    /// `build`: on the day of the order.
    Build,
    /// `job`: with the schedule.
    Schedule,
    /// `date`: on a chosen `YYYY-MM-DD`.
    Date(String),
}

/// The sealed form of a payment. `base_url` is `https://sandbox-api.payuni.com.tw` or its like, without a path.
pub fn form(payuni: &Payuni, base_url: &str, order: &Order) -> Result<CheckoutForm, CheckoutError> {
    sealed(
        payuni,
        base_url,
        "/api/upp",
        "2.0",
        &payment_fields(payuni, order)?,
    )
}

/// The sealed form of a card payment by which the customer also agrees that we charge the same card later
/// (`UseTokenType=3`, reference A.11: forced). Not `1`, where the customer may untick the agreement on PAYUNi's page: the
/// first period would be paid and no card kept for the second. `reference` is our own name for the agreement (`CreditToken`); PAYUNi shows the
/// customer what is agreed to, and the notice of the payment carries the CreditHash.
pub fn agreement_form(
    payuni: &Payuni,
    base_url: &str,
    order: &Order,
    agreement: CardAgreement,
    reference: &str,
) -> Result<CheckoutForm, CheckoutError> {
    if order.methods.iter().any(|method| *method != Method::Credit) {
        return Err(CheckoutError::Conflict {
            field: "UseTokenType",
            other: "ATM or CVS",
        });
    }
    let mut inner = payment_fields(payuni, order)?;
    if order.methods.is_empty() {
        inner.add(Method::Credit.field(), "1");
    }
    inner.add("UseTokenType", "3");
    inner.add(
        "CreditToken",
        text("CreditToken", reference, CREDIT_TOKEN_LENGTH_MAX, "<>\"&")?,
    );
    inner.add("CreditTokenType", agreement.code());
    sealed(payuni, base_url, "/api/upp", "2.0", &inner)
}

fn payment_fields(payuni: &Payuni, order: &Order) -> Result<Fields, CheckoutError> {
    let mut inner = Fields(Vec::with_capacity(12));
    let mut trade_amount = amount("TradeAmt", order.money, 1, AMOUNT_MAX)?;
    for method in &order.methods {
        let (minimum, maximum) = method.amount_range();
        trade_amount = amount("TradeAmt", order.money, minimum, maximum)?;
    }
    inner.add("MerID", payuni.merchant.as_str());
    inner.add("MerTradeNo", order_number(&order.number, |byte| byte == b'_')?);
    inner.add("TradeAmt", trade_amount);
    inner.add("Timestamp", order.placed_at.unix_seconds().to_string());
    inner.add(
        "ProdDesc",
        text("ProdDesc", &order.description, UPP_DESC_LENGTH_MAX, "<>")?,
    );
    inner.urls(
        &order.notify_url,
        order.return_url.as_deref(),
        order.back_url.as_deref(),
    )?;
    for method in &order.methods {
        inner.add(method.field(), "1");
    }
    Ok(inner)
}

/// The sealed form of a periodic order.
pub fn period_form(
    payuni: &Payuni,
    base_url: &str,
    order: &PeriodOrder,
) -> Result<CheckoutForm, CheckoutError> {
    let mut inner = Fields(Vec::with_capacity(16));
    inner.add("MerID", payuni.merchant.as_str());
    inner.add("MerTradeNo", order_number(&order.number, |_| false)?);
    // Above NT$1: so an authorisation of exactly NT$1 can only be the binding of a card (PU-7).
    inner.add("PeriodAmt", amount("PeriodAmt", order.money, 2, AMOUNT_MAX)?);
    inner.add(
        "ProdDesc",
        text("ProdDesc", &order.description, PERIOD_DESC_LENGTH_MAX, "<>")?,
    );
    if let Some(email) = &order.payer_email {
        inner.add("PayerEmail", text("PayerEmail", email, 254, " <>\"")?);
    }
    schedule_fields(order, &mut inner)?;
    inner.urls(
        &order.notify_url,
        order.return_url.as_deref(),
        order.back_url.as_deref(),
    )?;
    sealed(payuni, base_url, "/api/period/Page", "1.0", &inner)
}

struct Fields(Vec<(String, String)>);

impl Fields {
    fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    fn urls(
        &mut self,
        notify: &str,
        back_post: Option<&str>,
        button: Option<&str>,
    ) -> Result<(), CheckoutError> {
        self.add("NotifyURL", url("NotifyURL", notify, URL_LENGTH_MAX)?);
        for (name, value) in [("ReturnURL", back_post), ("BackURL", button)] {
            if let Some(value) = value {
                if value == notify {
                    return Err(CheckoutError::SameUrl {
                        field: name,
                        other: "NotifyURL",
                    });
                }
                self.add(name, url(name, value, URL_LENGTH_MAX)?);
            }
        }
        Ok(())
    }
}

fn schedule_fields(order: &PeriodOrder, inner: &mut Fields) -> Result<(), CheckoutError> {
    let (period_type, period_date) = match &order.schedule {
        Schedule::Weekly(day) => ("week", number("PeriodDate", *day, 1, 7)?),
        Schedule::Monthly(day) => ("month", number("PeriodDate", *day, 1, 31)?),
        Schedule::Yearly(date) => ("year", calendar_date("PeriodDate", date)?),
    };
    inner.add("PeriodType", period_type);
    inner.add("PeriodDate", period_date);
    inner.add(
        "PeriodTimes",
        number("PeriodTimes", order.period_times, 1, PERIOD_TIMES_MAX)?,
    );
    if let Some(first) = order.first_money {
        inner.add("FAmt", amount("FAmt", first, 2, AMOUNT_MAX)?);
    }
    match &order.first_charge {
        FirstCharge::Build => inner.add("FType", "build"),
        FirstCharge::Schedule => inner.add("FType", "job"),
        FirstCharge::Date(date) => {
            inner.add("FType", "date");
            inner.add("FDate", calendar_date("FDate", date)?);
        }
    }
    Ok(())
}

pub(super) fn order_number(number: &OrderNumber, also: fn(u8) -> bool) -> Result<&str, CheckoutError> {
    let text = number.as_str();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || also(byte);
    if text.len() <= ORDER_NUMBER_LENGTH_MAX && text.bytes().all(allowed) {
        Ok(text)
    } else {
        let rule = "1 to 25 letters, digits or - (and _ for a single payment)";
        Err(CheckoutError::OrderNumber {
            field: "MerTradeNo",
            rule,
        })
    }
}

fn calendar_date(field: &'static str, text: &str) -> Result<String, CheckoutError> {
    let midnight = Timestamp::from_taipei("%Y-%m-%d %H:%M:%S", &format!("{text} 00:00:00"));
    if text.len() == 10 && midnight.is_some() {
        Ok(text.to_owned())
    } else {
        Err(CheckoutError::NotADate { field })
    }
}

fn sealed(
    payuni: &Payuni,
    base_url: &str,
    path: &str,
    version: &str,
    inner: &Fields,
) -> Result<CheckoutForm, CheckoutError> {
    Ok(CheckoutForm {
        action: format!("{}{path}", base_url.trim_end_matches('/')),
        method: "POST".to_owned(),
        fields: payuni.envelope(version, &inner.0).ok_or(CheckoutError::Keys)?,
    })
}
