//! PAYUNi's field tables: the inner fields of its pages and of its server calls.
//!
//! `envelope::open` → **`check`** → `checkout`.
//!
//! Invariant: what is not in the table is refused. The groups for shipping and invoices are not played by the
//! sandbox, and their fields are refused like any unknown one; so are raw cards.
//! Not here: rules between fields (`checkout`). Failure: [`Refusal`] naming the field and its rule.

use tollgate_shared::time::Timestamp;

use super::envelope::Refusal;
use crate::form::Fields;

/// What a value must look like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Any text of at most so many characters.
    Text(usize),
    /// Letters, digits and these, at most 25 characters.
    OrderNumber(&'static str),
    /// A whole number in this range.
    Number(i64, i64),
    /// An absolute http or https address.
    Url,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// `YYYY-MM-DD`.
    Date,
    /// A comma list of `YYYY-MM-DD`.
    Dates,
}

/// One inner field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    name: &'static str,
    required: bool,
    shape: Shape,
}

const fn needed(name: &'static str, shape: Shape) -> Rule {
    Rule {
        name,
        required: true,
        shape,
    }
}

const fn optional(name: &'static str, shape: Shape) -> Rule {
    Rule {
        name,
        required: false,
        shape,
    }
}

const SWITCH: Shape = Shape::OneOf(&["0", "1"]);

/// `/api/upp` (A.9).
pub(crate) const UPP: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    needed("MerTradeNo", Shape::OrderNumber("_-")),
    needed("TradeAmt", Shape::Number(1, 199_999)),
    needed("Timestamp", Shape::Number(1, 9_999_999_999)),
    optional("ProdDesc", Shape::Text(550)),
    optional("ReturnURL", Shape::Url),
    optional("NotifyURL", Shape::Url),
    optional("BackURL", Shape::Url),
    optional("UsrMail", Shape::Text(100)),
    optional("UsrMailFix", SWITCH),
    optional("Cardholder", SWITCH),
    optional("ExpireDate", Shape::Date),
    optional("TradeLExpireSec", Shape::Number(60, 600)),
    optional("Credit", SWITCH),
    optional("CreditInst", Shape::Text(50)),
    optional("CreditUnionPay", SWITCH),
    optional("ApplePay", SWITCH),
    optional("GooglePay", SWITCH),
    optional("SamsungPay", SWITCH),
    optional("ATM", SWITCH),
    optional("CVS", SWITCH),
    optional("ICash", SWITCH),
    optional("Aftee", SWITCH),
    optional("LinePay", SWITCH),
    optional("JKoPay", SWITCH),
    optional("API3D", SWITCH),
    optional("Lang", Shape::Text(10)),
    optional("UseTokenType", Shape::OneOf(&["1", "2", "3"])),
    optional("CreditToken", Shape::Text(200)),
    optional("CreditTokenType", Shape::OneOf(&["1", "2"])),
    optional("CreditTokenExpired", Shape::Text(4)),
];

/// `/api/period/Page` (A.5). No Timestamp: the period pages list none.
pub(crate) const PERIOD: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    // No underscore here: PAYUNi appends `_N` for each period.
    needed("MerTradeNo", Shape::OrderNumber("-")),
    needed("PeriodAmt", Shape::Number(2, 199_999)),
    needed("ProdDesc", Shape::Text(500)),
    optional("PayerName", Shape::Text(60)),
    optional("PayerPhone", Shape::Text(20)),
    optional("PayerEmail", Shape::Text(254)),
    optional("PayerFix", Shape::Text(5)),
    optional("Cardholder", SWITCH),
    optional("PeriodType", Shape::OneOf(&["week", "month", "year"])),
    optional("PeriodDate", Shape::Text(10)),
    optional("PeriodTimes", Shape::Number(1, 900)),
    optional("Date", Shape::Dates),
    optional("FAmt", Shape::Number(2, 199_999)),
    needed("FType", Shape::OneOf(&["job", "build", "date"])),
    optional("FDate", Shape::Date),
    optional("NotifyURL", Shape::Url),
    optional("API3D", SWITCH),
    optional("ReturnURL", Shape::Url),
    optional("BackURL", Shape::Url),
    optional("TradeLExpireSec", Shape::Number(60, 600)),
];

/// `/api/trade/query` (A.10).
pub(crate) const QUERY: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    optional("MerTradeNo", Shape::OrderNumber("_-")),
    optional("TradeNo", Shape::Text(30)),
    needed("Timestamp", Shape::Number(1, 9_999_999_999)),
];

/// `/api/period/mdfStatus` (A.8). That the number is missing has a code of its own, so the table lets it pass.
pub(crate) const CONTRACT_STATUS: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    needed(
        "ReviseTradeStatus",
        Shape::OneOf(&["suspend", "restart", "end", "reauth"]),
    ),
    optional("PeriodTradeNo", Shape::Text(30)),
    optional("MerTradeNo", Shape::OrderNumber("-")),
    optional("PeriodOrderNo", Shape::Number(1, 900)),
];

/// `/api/period/query` (A.8).
pub(crate) const CONTRACT_QUERY: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    optional("PeriodTradeNo", Shape::Text(30)),
];

/// `/api/period/Modify` (A.8).
pub(crate) const CONTRACT_MODIFY: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    optional("PeriodTradeNo", Shape::Text(30)),
    optional("PayerName", Shape::Text(60)),
    optional("PayerPhone", Shape::Text(20)),
    optional("PayerEmail", Shape::Text(254)),
    optional("PeriodAmt", Shape::Number(2, 199_999)),
    optional("FAmt", Shape::Number(2, 199_999)),
    optional("PeriodType", Shape::OneOf(&["week", "month", "year"])),
    optional("PeriodDate", Shape::Text(10)),
    optional("PeriodTimes", Shape::Number(1, 900)),
    optional("DateList", Shape::Dates),
];

/// `/api/period/exchange`, the form with a page (A.8). `cardholder` is written small there.
pub(crate) const CONTRACT_EXCHANGE: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    optional("PeriodTradeNo", Shape::Text(30)),
    needed("APIType", Shape::OneOf(&["1"])),
    optional("cardholder", SWITCH),
];

/// `/api/trade/close` (A.10).
pub(crate) const TRADE_CLOSE: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    needed("TradeNo", Shape::Text(30)),
    needed("CloseType", Shape::OneOf(&["1", "2", "-1", "-2"])),
    optional("TradeAmt", Shape::Number(1, 199_999)),
    needed("Timestamp", Shape::Number(1, 9_999_999_999)),
];

/// `/api/trade/cancel` (A.10).
pub(crate) const TRADE_CANCEL: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    needed("TradeNo", Shape::Text(30)),
    needed("Timestamp", Shape::Number(1, 9_999_999_999)),
];

/// `/api/credit` by a stored card (A.11). A missing `CreditHash` has a code of its own.
pub(crate) const CREDIT: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    needed("MerTradeNo", Shape::OrderNumber("_-")),
    needed("TradeAmt", Shape::Number(1, 199_999)),
    needed("Timestamp", Shape::Number(1, 9_999_999_999)),
    optional("ProdDesc", Shape::Text(550)),
    optional("CreditHash", Shape::Text(200)),
    optional("CreditToken", Shape::Text(200)),
    optional("UsrMail", Shape::Text(100)),
    optional("NotifyURL", Shape::Url),
];

/// `/api/credit_bind/cancel` (A.11).
pub(crate) const BIND_CANCEL: &[Rule] = &[
    needed("MerID", Shape::Text(20)),
    needed("UseTokenType", Shape::OneOf(&["1", "2"])),
    needed("BindVal", Shape::Text(200)),
    optional("CreditTokenType", Shape::OneOf(&["1", "2"])),
    needed("Timestamp", Shape::Number(1, 9_999_999_999)),
];

/// Walks a table over inner fields.
pub(crate) fn check(table: &[Rule], fields: &Fields, standard_ports_only: bool) -> Result<(), Refusal> {
    if let Some(unknown) = fields
        .names()
        .find(|name| !table.iter().any(|rule| rule.name == *name))
    {
        return Err(Refusal::undocumented(format!(
            "{unknown} is not a field of this page"
        )));
    }
    for rule in table {
        let value = fields.text(rule.name);
        let good = if value.is_empty() {
            !rule.required
        } else {
            rule.shape.accepts(value, standard_ports_only)
        };
        if !good {
            return Err(Refusal::undocumented(format!(
                "{}: {}",
                rule.name,
                rule.shape.text()
            )));
        }
    }
    Ok(())
}

impl Shape {
    fn accepts(self, value: &str, standard_ports_only: bool) -> bool {
        let chars = value.chars().count();
        match self {
            Self::Text(max) => chars <= max && !value.chars().any(char::is_control),
            Self::OrderNumber(extra) => {
                let allowed =
                    |character: char| character.is_ascii_alphanumeric() || extra.contains(character);
                chars <= 25 && value.chars().all(allowed)
            }
            Self::Number(min, max) => number(value).is_some_and(|number| (min..=max).contains(&number)),
            Self::Url => is_url(value, standard_ports_only),
            Self::OneOf(choices) => choices.contains(&value),
            Self::Date => is_date(value),
            Self::Dates => value.split(',').all(is_date),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Text(max) => format!("at most {max} characters"),
            Self::OrderNumber(extra) => format!("1 to 25 of letters, digits and {extra}"),
            Self::Number(min, max) => format!("a whole number from {min} to {max}"),
            Self::Url => "an absolute http or https address on port 80 or 443".into(),
            Self::OneOf(choices) => format!("one of {}", choices.join(", ")),
            Self::Date => "a date as YYYY-MM-DD".into(),
            Self::Dates => "dates as YYYY-MM-DD, separated by commas".into(),
        }
    }
}

/// A whole number in its one spelling.
pub(crate) fn number(text: &str) -> Option<i64> {
    tollgate_shared::money::Minor::from_decimal(text).map(tollgate_shared::money::Minor::get)
}

/// Whether a text is a real day.
pub(crate) fn is_date(text: &str) -> bool {
    text.len() == 10 && Timestamp::from_taipei("%Y-%m-%d %H:%M", &format!("{text} 00:00")).is_some()
}

fn is_url(value: &str, standard_ports_only: bool) -> bool {
    reqwest::Url::parse(value).is_ok_and(|url| {
        let port = !standard_ports_only || matches!(url.port(), None | Some(80 | 443));
        matches!(url.scheme(), "http" | "https") && url.has_host() && port && value.trim() == value
    })
}
