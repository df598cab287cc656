//! ECPay's field table: every parameter `AioCheckOut` V5 knows, and what each may hold.
//!
//! `request` walks this table over a posted form.
//!
//! Invariant: a parameter that is not in [`FIELDS`] is refused (10100050, "X Not In Spec"); lengths are characters,
//! as the reference (§1.3.1) advises where ECPay does not say.
//! Not here: rules between fields (`request`).
//! Failure: [`Shape::accepts`] answers `false`; the caller names the field.

use tollgate_shared::money::Minor;
use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};

use crate::trade::Method;

/// What a value must look like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Any text without control characters.
    Text,
    /// Text without `<`, `>`, `&`, `=` and control characters: markup breaks the page, framing breaks the MAC (§1.1.4).
    PlainText,
    /// ASCII letters and digits.
    Alphanumeric,
    /// An absolute http or https address.
    Url,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A whole number in this range, without sign or leading zero.
    Number(i64, i64),
    /// `yyyy/MM/dd HH:mm:ss`.
    WallClock,
    /// `#`-separated payment methods.
    Methods,
    /// A MAC; its value is checked elsewhere.
    Mac,
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) chars_max: usize,
    pub(crate) shape: Shape,
}

const fn needed(name: &'static str, chars_max: usize, shape: Shape) -> Rule {
    Rule {
        name,
        required: true,
        chars_max,
        shape,
    }
}

const fn optional(name: &'static str, chars_max: usize, shape: Shape) -> Rule {
    Rule {
        name,
        required: false,
        chars_max,
        shape,
    }
}

const CHOICES: &[&str] = &[
    "Credit",
    "ALL",
    "ATM",
    "CVS",
    "BARCODE",
    "WebATM",
    "ApplePay",
    "TWQR",
    "BNPL",
    "WeiXin",
    "DigitalPayment",
];

/// Every parameter of `AioCheckOut` V5 (reference §1.3.1, §1.3.2).
///
/// The numbers of the periodic parameters, of the amount and of the order number are checked in `request`, because
/// ECPay has codes of its own for them.
pub(crate) const FIELDS: &[Rule] = &[
    needed("MerchantID", 10, Shape::Alphanumeric),
    needed("MerchantTradeDate", 20, Shape::WallClock),
    needed("PaymentType", 20, Shape::OneOf(&["aio"])),
    needed("TotalAmount", 15, Shape::Number(1, i64::MAX)),
    needed("TradeDesc", 200, Shape::PlainText),
    needed("ItemName", 400, Shape::PlainText),
    needed("ReturnURL", 200, Shape::Url),
    needed("ChoosePayment", 20, Shape::OneOf(CHOICES)),
    needed("EncryptType", 1, Shape::OneOf(&["1"])),
    needed("CheckMacValue", 64, Shape::Mac),
    // Its format and length have a code of their own (10200052).
    needed("MerchantTradeNo", usize::MAX, Shape::Text),
    optional("StoreID", 20, Shape::Alphanumeric),
    optional("ClientBackURL", 200, Shape::Url),
    optional("OrderResultURL", 200, Shape::Url),
    optional("ItemURL", 200, Shape::Url),
    optional("Remark", 100, Shape::Text),
    optional("ChooseSubPayment", 20, Shape::Alphanumeric),
    optional("NeedExtraPaidInfo", 1, Shape::OneOf(&["Y", "N"])),
    optional("IgnorePayment", 100, Shape::Methods),
    optional("PlatformID", 10, Shape::Alphanumeric),
    optional("CustomField1", 50, Shape::Text),
    optional("CustomField2", 50, Shape::Text),
    optional("CustomField3", 50, Shape::Text),
    optional("CustomField4", 50, Shape::Text),
    optional("Language", 3, Shape::OneOf(&["ENG", "KOR", "JPN", "CHI"])),
    optional("BindingCard", 1, Shape::OneOf(&["0", "1"])),
    optional("MerchantMemberID", 30, Shape::Text),
    optional("Redeem", 1, Shape::OneOf(&["Y", "N"])),
    optional("UnionPay", 1, Shape::OneOf(&["0", "1", "2"])),
    optional("CreditInstallment", 20, Shape::Text),
    optional("PeriodAmount", 15, Shape::Text),
    optional("PeriodType", 10, Shape::Text),
    optional("Frequency", 10, Shape::Text),
    optional("ExecTimes", 10, Shape::Text),
    optional("PeriodReturnURL", 200, Shape::Url),
    optional("ExpireDate", 2, Shape::Number(1, 60)),
    // Minutes for CVS (the old manual's maximum), days for BARCODE; the narrower rule is in `request`.
    optional("StoreExpireDate", 5, Shape::Number(1, 86_400)),
    optional("Desc_1", 20, Shape::Text),
    optional("Desc_2", 20, Shape::Text),
    optional("Desc_3", 20, Shape::Text),
    optional("Desc_4", 20, Shape::Text),
    optional("PaymentInfoURL", 200, Shape::Url),
    optional("ClientRedirectURL", 200, Shape::Url),
];

impl Shape {
    /// Whether a value that is present has this shape. `ports` says whether only 80 and 443 will do in a URL.
    pub(crate) fn accepts(self, value: &str, standard_ports_only: bool) -> bool {
        match self {
            Self::Text => !value.chars().any(char::is_control),
            Self::PlainText => !value
                .chars()
                .any(|character| character.is_control() || "<>&=".contains(character)),
            Self::Alphanumeric => value.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            Self::Url => is_url(value, standard_ports_only),
            Self::OneOf(choices) => choices.contains(&value),
            Self::Number(min, max) => whole_number(value).is_some_and(|number| (min..=max).contains(&number)),
            Self::WallClock => Timestamp::from_taipei(ECPAY_FORMAT, value).is_some() && value.len() == 19,
            // DigitalPayment cannot be listed (§1.3.1, IgnorePayment).
            Self::Methods => value
                .split('#')
                .all(|name| Method::from_wire(name).is_some_and(|method| method != Method::DigitalPayment)),
            Self::Mac => true,
        }
    }
}

/// A whole number in its one spelling.
pub(crate) fn whole_number(text: &str) -> Option<i64> {
    Minor::from_decimal(text).map(Minor::get)
}

fn is_url(value: &str, standard_ports_only: bool) -> bool {
    let Ok(url) = reqwest::Url::parse(value) else {
        return false;
    };
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    // `Url` drops a port that is the scheme's own, so what is left is an unusual one.
    let port = !standard_ports_only || matches!(url.port(), None | Some(80 | 443));
    // ECPay takes the address as it stands; one that begins with a space is another address.
    web && port && value.trim() == value && !value.chars().any(char::is_control)
}

/// Amounts a method takes, in whole TWD.
///
/// ECPay publishes no maximum; these are the usual limits of a contract, so that an amount nobody can pay shows up
/// here and not on stage (inferred, PAYUNi's published limits are the same order of size).
pub(crate) const fn amounts_of(method: Method) -> (i64, i64) {
    match method {
        Method::Atm | Method::WebAtm => (1, 49_999),
        Method::Cvs | Method::Barcode => (30, 20_000),
        Method::Credit
        | Method::ApplePay
        | Method::Twqr
        | Method::Bnpl
        | Method::WeiXin
        | Method::DigitalPayment => (1, 199_999),
    }
}
