//! The signed form for ECPay's cashier page: `AioCheckOut/V5`.
//!
//! origin's checkout → **form** → the customer's browser posts it → ECPay's page.
//!
//! Invariant: a form that exists keeps every limit of reference §1.3, because ECPay answers a breach with an
//! error page to the customer, not to us. `PeriodAmount` is written from the order's one amount, so it cannot
//! differ from `TotalAmount`. Only fields of the specification are sent: an unknown one is refused (10100050).
//! Not here: the notices that follow (`wire`), and the ban of shell words by ECPay's firewall (10400011), whose
//! list is not published.

use super::{Ecpay, ExecTimesLimit};
use crate::id::OrderNumber;
use crate::money::Money;
use crate::provider::CheckoutForm;
use crate::provider::checkout_error::{CheckoutError, amount, number, text, url};
use crate::time::{ECPAY_FORMAT, Timestamp};

/// Characters of a URL field.
pub const URL_LENGTH_MAX: usize = 200;
/// Characters of `ItemName`; ECPay cuts a longer one, and then the MAC does not match.
pub const ITEM_NAME_LENGTH_MAX: usize = 400;
/// Characters of `TradeDesc`.
pub const TRADE_DESC_LENGTH_MAX: usize = 200;
/// Characters of `MerchantTradeNo`.
pub const ORDER_NUMBER_LENGTH_MAX: usize = 20;
/// Characters of one `CustomField`.
pub const CUSTOM_FIELD_LENGTH_MAX: usize = 50;
/// `TotalAmount` has no published maximum; this is the largest 32-bit number, well above any card limit.
pub const AMOUNT_MAX: i64 = 2_147_483_647;

/// `&` and `=` would make the MAC's framing ambiguous (§1.1.4); the rest has broken MACs or pages (§1.1.5).
const BANNED: &str = "&=<>\"'\\`";

/// An order for the cashier page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// `MerchantTradeNo`: 1 to 20 letters and digits, unique for ever, ignoring case.
    pub number: OrderNumber,
    /// `MerchantTradeDate`, written as Taiwan time.
    pub placed_at: Timestamp,
    /// `TotalAmount`: whole TWD above zero. For a periodic order, the amount of each period.
    pub money: Money,
    /// `TradeDesc`: 1 to 200 characters, none special.
    pub description: String,
    /// `ItemName`: 1 to 400 characters; several items are joined by `#`.
    pub item_name: String,
    /// `ReturnURL`: where ECPay posts the payment notice.
    pub return_url: String,
    /// How the customer may pay.
    pub method: Method,
    /// Makes it a periodic order; `Method::Credit` only.
    pub period: Option<Period>,
    /// `ClientBackURL`: the page's link back to the shop. Carries no result.
    pub client_back_url: Option<String>,
    /// `OrderResultURL`: where the customer's browser posts the result. Not for codes.
    pub order_result_url: Option<String>,
    /// `CustomField1` to `4`, echoed in notices; at most 50 characters each, empty for none.
    pub custom_fields: [String; 4],
    /// The language of the page; `None` is Chinese.
    pub language: Option<Language>,
}

/// `ChoosePayment`, with what belongs to each method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Credit card.
    Credit,
    /// Whatever the merchant's contract has; the customer chooses.
    All,
    /// Transfer to an account made for this order; expires after 1 to 60 days (default 3).
    Atm(CodeOptions),
    /// Code paid at a shop's terminal; expires after 1 to 43 200 minutes (default 10 080).
    Cvs(CodeOptions),
    /// Barcodes paid at a shop's till; expires after 1 to 30 days.
    Barcode(CodeOptions),
    /// Web ATM (card reader).
    WebAtm,
    /// A wallet of Safari's, charged as a card.
    ApplePay,
    /// Taiwan's common QR code.
    Twqr,
    /// Pay later without a card.
    Bnpl,
    /// `WeChat` Pay.
    WeiXin,
    /// E-wallets.
    DigitalPayment,
}

/// What the methods have in common by which a code is issued first and paid later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CodeOptions {
    /// In the method's unit (days, or minutes for CVS); `None` is ECPay's default.
    pub expires_after: Option<u32>,
    /// `PaymentInfoURL`: where ECPay posts the notice that a code was issued.
    pub payment_info_url: Option<String>,
    /// `ClientRedirectURL`: where the browser goes with the code, instead of ECPay's page.
    pub client_redirect_url: Option<String>,
}

/// `PeriodType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodType {
    /// `D`
    Day,
    /// `M`
    Month,
    /// `Y`
    Year,
}

/// The schedule of a periodic order (§1.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// The unit of `frequency`.
    pub period_type: PeriodType,
    /// Every how many units: days 1–365, months 1–12, years exactly 1.
    pub frequency: u32,
    /// Charges in all, the first included: at least 2; the most depends on [`ExecTimesLimit`].
    pub exec_times: u32,
    /// `PeriodReturnURL`: notices from the second charge on. Without it they are only found by query.
    pub return_url: Option<String>,
}

/// `Language`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `ENG`
    English,
    /// `KOR`
    Korean,
    /// `JPN`
    Japanese,
    /// `CHI`: simplified Chinese.
    SimplifiedChinese,
}

impl Language {
    const fn code(self) -> &'static str {
        match self {
            Self::English => "ENG",
            Self::Korean => "KOR",
            Self::Japanese => "JPN",
            Self::SimplifiedChinese => "CHI",
        }
    }
}

impl Method {
    const fn code(&self) -> &'static str {
        match self {
            Self::Credit => "Credit",
            Self::All => "ALL",
            Self::Atm(_) => "ATM",
            Self::Cvs(_) => "CVS",
            Self::Barcode(_) => "BARCODE",
            Self::WebAtm => "WebATM",
            Self::ApplePay => "ApplePay",
            Self::Twqr => "TWQR",
            Self::Bnpl => "BNPL",
            Self::WeiXin => "WeiXin",
            Self::DigitalPayment => "DigitalPayment",
        }
    }

    /// The method of a `ChoosePayment` value, with default options.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Some(match code {
            "Credit" => Self::Credit,
            "ALL" => Self::All,
            "ATM" => Self::Atm(CodeOptions::default()),
            "CVS" => Self::Cvs(CodeOptions::default()),
            "BARCODE" => Self::Barcode(CodeOptions::default()),
            "WebATM" => Self::WebAtm,
            "ApplePay" => Self::ApplePay,
            "TWQR" => Self::Twqr,
            "BNPL" => Self::Bnpl,
            "WeiXin" => Self::WeiXin,
            "DigitalPayment" => Self::DigitalPayment,
            _ => return None,
        })
    }

    /// The options, the expiry's field and its largest value, for the methods with a code. CVS: the new
    /// document's 43 200 minutes, not the old one's 86 400 (§3).
    const fn code_options(&self) -> Option<(&CodeOptions, &'static str, u32)> {
        match self {
            Self::Atm(options) => Some((options, "ExpireDate", 60)),
            Self::Cvs(options) => Some((options, "StoreExpireDate", 43_200)),
            Self::Barcode(options) => Some((options, "StoreExpireDate", 30)),
            Self::Credit
            | Self::All
            | Self::WebAtm
            | Self::ApplePay
            | Self::Twqr
            | Self::Bnpl
            | Self::WeiXin
            | Self::DigitalPayment => None,
        }
    }
}

impl PeriodType {
    const fn code(self) -> &'static str {
        match self {
            Self::Day => "D",
            Self::Month => "M",
            Self::Year => "Y",
        }
    }

    const fn frequency_max(self) -> u32 {
        match self {
            Self::Day => 365,
            Self::Month => 12,
            Self::Year => 1,
        }
    }

    const fn exec_times_max(self, limit: ExecTimesLimit) -> u32 {
        match (self, limit) {
            (Self::Day, _) | (Self::Month, ExecTimesLimit::Wide) => 999,
            (Self::Month, ExecTimesLimit::Conservative) | (Self::Year, ExecTimesLimit::Wide) => 99,
            (Self::Year, ExecTimesLimit::Conservative) => 9,
        }
    }
}

/// The signed form. `base_url` is `https://payment-stage.ecpay.com.tw` or its like, without a path.
///
/// Asks for `NeedExtraPaidInfo=Y`, so that notices and queries of periodic orders tell the period.
pub fn form(ecpay: &Ecpay, base_url: &str, order: &Order) -> Result<CheckoutForm, CheckoutError> {
    let mut fields = Fields(Vec::with_capacity(24));
    base_fields(ecpay, order, &mut fields)?;
    optional_fields(order, &mut fields)?;
    if let Some((options, expiry_field, expiry_max)) = order.method.code_options() {
        code_fields(order, options, expiry_field, expiry_max, &mut fields)?;
    }
    if let Some(period) = &order.period {
        period_fields(ecpay.exec_times, order, period, &mut fields)?;
    }
    Ok(CheckoutForm {
        action: format!("{}/Cashier/AioCheckOut/V5", base_url.trim_end_matches('/')),
        method: "POST".to_owned(),
        fields: ecpay.sign(fields.0),
    })
}

struct Fields(Vec<(String, String)>);

impl Fields {
    fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }
}

fn base_fields(ecpay: &Ecpay, order: &Order, fields: &mut Fields) -> Result<(), CheckoutError> {
    let placed_at = order
        .placed_at
        .to_taipei(ECPAY_FORMAT)
        .ok_or(CheckoutError::Unrepresentable {
            field: "MerchantTradeDate",
        })?;
    fields.add("MerchantID", ecpay.merchant.as_str());
    fields.add("MerchantTradeNo", order_number(&order.number)?);
    fields.add("MerchantTradeDate", placed_at);
    fields.add("PaymentType", "aio");
    fields.add("TotalAmount", amount("TotalAmount", order.money, 1, AMOUNT_MAX)?);
    fields.add(
        "TradeDesc",
        text("TradeDesc", &order.description, TRADE_DESC_LENGTH_MAX, BANNED)?,
    );
    fields.add(
        "ItemName",
        text("ItemName", &order.item_name, ITEM_NAME_LENGTH_MAX, BANNED)?,
    );
    fields.add("ReturnURL", url("ReturnURL", &order.return_url, URL_LENGTH_MAX)?);
    fields.add("ChoosePayment", order.method.code());
    fields.add("EncryptType", "1");
    fields.add("NeedExtraPaidInfo", "Y");
    Ok(())
}

/// ECPay's own rule; the id type also allows `_` and `-`.
fn order_number(number: &OrderNumber) -> Result<&str, CheckoutError> {
    let text = number.as_str();
    if text.len() <= ORDER_NUMBER_LENGTH_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(text)
    } else {
        let rule = "1 to 20 letters or digits";
        Err(CheckoutError::OrderNumber {
            field: "MerchantTradeNo",
            rule,
        })
    }
}

fn optional_fields(order: &Order, fields: &mut Fields) -> Result<(), CheckoutError> {
    for (name, value) in [
        ("ClientBackURL", &order.client_back_url),
        ("OrderResultURL", &order.order_result_url),
    ] {
        let Some(value) = value else { continue };
        if *value == order.return_url {
            return Err(CheckoutError::SameUrl {
                field: name,
                other: "ReturnURL",
            });
        }
        fields.add(name, url(name, value, URL_LENGTH_MAX)?);
    }
    for (name, value) in ["CustomField1", "CustomField2", "CustomField3", "CustomField4"]
        .into_iter()
        .zip(&order.custom_fields)
    {
        if !value.is_empty() {
            fields.add(name, text(name, value, CUSTOM_FIELD_LENGTH_MAX, BANNED)?);
        }
    }
    if let Some(language) = order.language {
        fields.add("Language", language.code());
    }
    Ok(())
}

fn code_fields(
    order: &Order,
    options: &CodeOptions,
    expiry_field: &'static str,
    expiry_max: u32,
    fields: &mut Fields,
) -> Result<(), CheckoutError> {
    if order.order_result_url.is_some() {
        return Err(CheckoutError::Conflict {
            field: "OrderResultURL",
            other: order.method.code(),
        });
    }
    if let Some(expires_after) = options.expires_after {
        fields.add(expiry_field, number(expiry_field, expires_after, 1, expiry_max)?);
    }
    for (name, value) in [
        ("PaymentInfoURL", &options.payment_info_url),
        ("ClientRedirectURL", &options.client_redirect_url),
    ] {
        if let Some(value) = value {
            fields.add(name, url(name, value, URL_LENGTH_MAX)?);
        }
    }
    Ok(())
}

fn period_fields(
    limit: ExecTimesLimit,
    order: &Order,
    period: &Period,
    fields: &mut Fields,
) -> Result<(), CheckoutError> {
    if order.method != Method::Credit {
        return Err(CheckoutError::Conflict {
            field: "PeriodType",
            other: order.method.code(),
        });
    }
    let (kind, exec_times_max) = (period.period_type, period.period_type.exec_times_max(limit));
    fields.add("PeriodAmount", order.money.amount_minor.to_string());
    fields.add("PeriodType", kind.code());
    fields.add(
        "Frequency",
        number("Frequency", period.frequency, 1, kind.frequency_max())?,
    );
    fields.add(
        "ExecTimes",
        number("ExecTimes", period.exec_times, 2, exec_times_max)?,
    );
    if let Some(return_url) = &period.return_url {
        fields.add(
            "PeriodReturnURL",
            url("PeriodReturnURL", return_url, URL_LENGTH_MAX)?,
        );
    }
    Ok(())
}
