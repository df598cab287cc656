//! A posted `AioCheckOut` form, checked the way ECPay checks it.
//!
//! browser → **`request::check`** → `checkout` opens a trade.
//!
//! Invariants: the order of refusals is fixed (form, merchant, MAC, unknown parameter, table, order number, method,
//! amount, URLs, periodic), so a test can rely on the code; the form decoder is not Tollgate's.
//! Not here: whether the order number was used before (`checkout`, under the lock).
//! Failure: [`Refusal`] with ECPay's code where one is known. 10100050 stands in where none is (reference §1.8 has no
//! complete list); its text names the parameter, as ECPay's does.

use std::collections::BTreeMap;

use tollgate_shared::money::Minor;

use super::mac;
use super::rules::{FIELDS, amounts_of, whole_number};
use crate::config::{Config, Merchant};
use crate::contract::schedule::{Cadence, CountedIn};
use crate::form::{self, Fields};
use crate::trade::Method;

/// ECPay's refusal: its code, and a text in the style of its error page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({code})")]
pub(crate) struct Refusal {
    pub(crate) code: u32,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(code: u32, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    fn not_in_spec(name: &str) -> Self {
        Self::new(10_100_050, format!("Parameter Error. {name} Not In Spec"))
    }
}

/// Words that ECPay's firewall refuses in free text (§1.3.1, `ItemName`).
const SHELL_WORDS: [&str; 5] = ["curl", "wget", "bash", "cmd", "powershell"];

/// A form that a trade can be opened from.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) merchant: Merchant,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) amount: Minor,
    /// What the cashier may offer.
    pub(crate) methods: Vec<Method>,
    pub(crate) periodic: Option<Periodic>,
}

/// A periodic order's own parameters.
#[derive(Debug, Clone)]
pub(crate) struct Periodic {
    /// Charges in all.
    pub(crate) times_total: u32,
    pub(crate) cadence: Cadence,
}

/// Checks a form.
pub(crate) fn check(config: &Config, body: &[u8]) -> Result<Checked, Refusal> {
    let fields =
        form::parse(body).map_err(|error| Refusal::new(10_100_050, format!("Parameter Error. {error}")))?;
    let merchant = known_merchant(config, &fields)?;
    check_mac(&merchant, &fields)?;
    check_known(&fields)?;
    check_table(config, &fields)?;
    check_order_number(fields.get("MerchantTradeNo").unwrap_or_default())?;
    check_words(config, &fields)?;
    check_urls(&fields)?;
    let periodic = check_period(&fields)?;
    let amount = Minor::from_decimal(fields.get("TotalAmount").unwrap_or_default());
    let amount = amount.ok_or_else(|| Refusal::not_in_spec("TotalAmount"))?;
    let methods = offered(&fields, amount)?;
    Ok(Checked {
        merchant,
        fields: fields.into_map(),
        amount,
        methods,
        periodic,
    })
}

fn known_merchant(config: &Config, fields: &Fields) -> Result<Merchant, Refusal> {
    let id = fields.get("MerchantID").unwrap_or_default();
    let known = config.ecpay.iter().find(|merchant| merchant.id == id);
    // A merchant ECPay does not know has no key, so the MAC cannot be right either.
    known
        .cloned()
        .ok_or_else(|| Refusal::new(10_200_073, "CheckMacValue Error. MerchantID is not known"))
}

/// Compares as text: the sandbox guards nothing, so the comparison need not be in constant time.
pub(crate) fn check_mac(merchant: &Merchant, fields: &Fields) -> Result<(), Refusal> {
    let given = fields.get("CheckMacValue").unwrap_or_default();
    let signed: Vec<(String, String)> = fields.without("CheckMacValue");
    if given == mac(merchant, &signed) {
        Ok(())
    } else {
        Err(Refusal::new(10_200_073, "CheckMacValue Error"))
    }
}

fn check_known(fields: &Fields) -> Result<(), Refusal> {
    let unknown = fields
        .names()
        .find(|name| !FIELDS.iter().any(|rule| rule.name == *name));
    unknown.map_or(Ok(()), |name| Err(Refusal::not_in_spec(name)))
}

fn check_table(config: &Config, fields: &Fields) -> Result<(), Refusal> {
    for rule in FIELDS {
        let value = fields.get(rule.name).unwrap_or_default();
        if value.is_empty() {
            if rule.required && rule.name != "MerchantTradeNo" {
                return Err(Refusal::not_in_spec(rule.name));
            }
            continue;
        }
        let fits = value.chars().count() <= rule.chars_max;
        if !(fits && rule.shape.accepts(value, config.standard_ports_only)) {
            return Err(Refusal::not_in_spec(rule.name));
        }
    }
    Ok(())
}

/// `[0-9A-Za-z]{1,20}` (§1.3.1).
fn check_order_number(order_number: &str) -> Result<(), Refusal> {
    let alphanumeric = order_number.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if alphanumeric && (1..=20).contains(&order_number.len()) {
        Ok(())
    } else {
        Err(Refusal::new(10_200_052, "MerchantTradeNo Error"))
    }
}

fn check_words(config: &Config, fields: &Fields) -> Result<(), Refusal> {
    let text = format!("{} {}", fields.text("ItemName"), fields.text("TradeDesc")).to_ascii_lowercase();
    if config.refuse_shell_words && SHELL_WORDS.iter().any(|word| text.contains(word)) {
        return Err(Refusal::new(10_400_011, "Request blocked"));
    }
    Ok(())
}

/// The address for the server must not double as one for the browser (§1.3.1, `ReturnURL`).
fn check_urls(fields: &Fields) -> Result<(), Refusal> {
    let server = fields.text("ReturnURL");
    let browser = ["ClientBackURL", "OrderResultURL", "ClientRedirectURL"];
    match browser.into_iter().find(|name| fields.text(name) == server) {
        Some(_) => Err(Refusal::not_in_spec("ReturnURL")),
        None => Ok(()),
    }
}

const PERIOD_FIELDS: [&str; 5] = [
    "PeriodAmount",
    "PeriodType",
    "Frequency",
    "ExecTimes",
    "PeriodReturnURL",
];

/// The periodic parameters (§1.3.2): all or none, card only, not with bonus points, instalments or `UnionPay`.
///
/// 10100227 and 10100228 are recorded from ECPay with their texts; that 10100223 to 10100226 follow the order of the
/// parameters is inferred.
fn check_period(fields: &Fields) -> Result<Option<Periodic>, Refusal> {
    if PERIOD_FIELDS.iter().all(|name| fields.text(name).is_empty()) {
        return Ok(None);
    }
    if fields.text("ChoosePayment") != "Credit" {
        return Err(Refusal::not_in_spec("PeriodAmount"));
    }
    let exclusive = ["CreditInstallment", "Redeem", "UnionPay"];
    if let Some(name) = exclusive
        .into_iter()
        .find(|name| !matches!(fields.text(name), "" | "N" | "0"))
    {
        return Err(Refusal::not_in_spec(name));
    }
    if fields.text("PeriodAmount") != fields.text("TotalAmount") {
        return Err(Refusal::new(
            10_100_223,
            "PeriodAmount Error, PeriodAmount must equal TotalAmount",
        ));
    }
    let (unit, frequency_max, times_max, times_code) = match fields.text("PeriodType") {
        "D" => (CountedIn::Days, 365, 999, 10_100_226),
        "M" => (CountedIn::Months, 12, 999, 10_100_227),
        "Y" => (CountedIn::Years, 1, 99, 10_100_228),
        _ => {
            return Err(Refusal::new(
                10_100_224,
                "PeriodType Error, PeriodType must be D, M or Y",
            ));
        }
    };
    let frequency = in_range(fields.text("Frequency"), 1, frequency_max).ok_or_else(|| {
        Refusal::new(
            10_100_225,
            format!("Frequency Error, between 1 and {frequency_max}"),
        )
    })?;
    let times_total = in_range(fields.text("ExecTimes"), 2, times_max)
        .ok_or_else(|| exec_times(times_code, fields.text("PeriodType"), times_max))?;
    Ok(Some(Periodic {
        times_total,
        cadence: Cadence::FromPurchase(unit, frequency),
    }))
}

fn in_range(text: &str, min: i64, max: i64) -> Option<u32> {
    let number = whole_number(text).filter(|number| (min..=max).contains(number));
    number.and_then(|number| u32::try_from(number).ok())
}

fn exec_times(code: u32, period_type: &str, times_max: i64) -> Refusal {
    let text =
        format!("ExecTimes Error, PeriodType equal {period_type}, ExecTimes between 2 and {times_max}");
    Refusal::new(code, text)
}

/// The methods for this order; none is 10300023.
fn offered(fields: &Fields, amount: Minor) -> Result<Vec<Method>, Refusal> {
    check_expiry(fields)?;
    let ignored: Vec<&str> = fields.text("IgnorePayment").split('#').collect();
    let wanted = |method: &Method| match fields.text("ChoosePayment") {
        "ALL" => !ignored.contains(&method.as_str()),
        chosen => method.as_str() == chosen,
    };
    let affordable = |method: &Method| {
        let (min, max) = amounts_of(*method);
        (min..=max).contains(&amount.get())
    };
    let methods: Vec<Method> = Method::ALL
        .into_iter()
        .filter(wanted)
        .filter(affordable)
        .collect();
    if methods.is_empty() {
        Err(Refusal::new(10_300_023, "No payment method is available"))
    } else {
        Ok(methods)
    }
}

/// BARCODE counts days, 1 to 30; CVS counts minutes (§1.3.1).
fn check_expiry(fields: &Fields) -> Result<(), Refusal> {
    let days = whole_number(fields.text("StoreExpireDate"));
    if fields.text("ChoosePayment") == "BARCODE" && days.is_some_and(|days| days > 30) {
        return Err(Refusal::not_in_spec("StoreExpireDate"));
    }
    Ok(())
}
