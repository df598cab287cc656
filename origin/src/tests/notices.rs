//! Notices as the providers send them, signed with the test shop's keys.

use tollgate_shared::form::encode;
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::provider::payuni::cipher;

/// ECPay's public test shop (reference §1.0).
pub(crate) const ECPAY: [&str; 3] = ["3002607", "pwFHCqoQZGmho4w6", "EkRm7iFT261dpevs"];
/// A made-up PAYUNi shop with the documentation's key.
pub(crate) const PAYUNI: [&str; 3] = ["ABC1", "12345678901234567890123456789012", "1234567890123456"];

/// A notice: source, notice, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) source: &'static str,
    pub(crate) name: &'static str,
    pub(crate) body: Vec<u8>,
}

/// The fields of an ECPay notice, to be changed by a test before they are signed.
#[derive(Debug, Clone)]
pub(crate) struct Ecpay {
    name: &'static str,
    fields: Vec<(String, String)>,
}

impl Ecpay {
    fn new(name: &'static str, fields: &[(&str, &str)]) -> Self {
        let own = |(field, value): &(&str, &str)| ((*field).to_owned(), (*value).to_owned());
        Self {
            name,
            fields: fields.iter().map(own).collect(),
        }
    }

    /// ReturnURL: paid by card (§1.4.2).
    pub(crate) fn paid(order: &str, amount: i64) -> Self {
        let (amount, trade) = (amount.to_string(), trade_no(order));
        Self::new(
            "payment",
            &[
                ("MerchantID", ECPAY[0]),
                ("MerchantTradeNo", order),
                ("StoreID", ""),
                ("RtnCode", "1"),
                ("RtnMsg", "交易成功"),
                ("TradeNo", &trade),
                ("TradeAmt", &amount),
                ("PaymentDate", "2026/11/21 10:05:00"),
                ("PaymentType", "Credit_CreditCard"),
                ("PaymentTypeChargeFee", "6.5"),
                ("TradeDate", "2026/11/21 10:00:00"),
                ("SimulatePaid", "0"),
            ],
        )
    }

    /// ReturnURL: refused.
    pub(crate) fn failed(order: &str, code: &str, words: &str, at: &str) -> Self {
        Self::paid(order, 300)
            .with("RtnCode", code)
            .with("RtnMsg", words)
            .with("PaymentDate", at)
    }

    /// PaymentInfoURL: a transfer account was issued (§1.4.4).
    pub(crate) fn atm_code(order: &str, amount: i64) -> Self {
        let notice = Self::paid(order, amount)
            .with("RtnCode", "2")
            .with("RtnMsg", "Get VirtualAccount Succeeded");
        let notice = notice.with("PaymentType", "ATM_TAISHIN").with("BankCode", "812");
        let notice = notice
            .with("vAccount", "9103522175887271")
            .with("ExpireDate", "2026/11/24");
        Self {
            name: "code",
            ..notice
        }
    }

    /// PeriodReturnURL: a later period was charged (§1.4.3).
    pub(crate) fn period(order: &str, amount: i64, gwsr: &str, at: &str, times: u32) -> Self {
        let (amount, times) = (amount.to_string(), times.to_string());
        Self::new(
            "period",
            &[
                ("MerchantID", ECPAY[0]),
                ("MerchantTradeNo", order),
                ("StoreID", ""),
                ("RtnCode", "1"),
                ("RtnMsg", "交易成功"),
                ("PeriodType", "M"),
                ("Frequency", "1"),
                ("ExecTimes", "12"),
                ("Amount", &amount),
                ("Gwsr", gwsr),
                ("ProcessDate", at),
                ("AuthCode", "777777"),
                ("FirstAuthAmount", &amount),
                ("TotalSuccessTimes", &times),
            ],
        )
    }

    /// Sets a field.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Signs it.
    pub(crate) fn signed(&self) -> Notice {
        let pairs = || {
            self.fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
        };
        let mac = check_mac_value(pairs(), ECPAY[1], ECPAY[2], Algorithm::Sha256);
        let body = encode(pairs().chain([("CheckMacValue", mac.as_str())])).into_bytes();
        Notice {
            source: "ecpay",
            name: self.name,
            body,
        }
    }
}

/// ECPay's number for an order's trade.
pub(crate) fn trade_no(order: &str) -> String {
    format!("26{order}")
}

/// PAYUNi's notice of a one-time payment, by TradeStatus (reference A.9).
pub(crate) fn payuni(order: &str, amount: i64, status: &str, trade_status: &str) -> Notice {
    payuni_with(order, amount, [status, trade_status], &[])
}

/// The same with more fields.
pub(crate) fn payuni_with(
    order: &str,
    amount: i64,
    [status, trade_status]: [&str; 2],
    more: &[(&str, &str)],
) -> Notice {
    payuni_of(order, (amount, &trade_no(order)), [status, trade_status], more)
}

/// The same of a charge with its own number.
pub(crate) fn payuni_of(
    order: &str,
    (amount, trade): (i64, &str),
    [status, trade_status]: [&str; 2],
    more: &[(&str, &str)],
) -> Notice {
    let amount = amount.to_string();
    let usual = [
        ("Status", status),
        ("Message", "words"),
        ("MerID", PAYUNI[0]),
        ("MerTradeNo", order),
        ("TradeNo", trade),
        ("TradeAmt", &amount),
        ("TradeStatus", trade_status),
        ("PaymentType", "1"),
        ("Gateway", "2"),
        ("AuthDay", "20261121"),
        ("AuthTime", "100500"),
    ];
    let inner: Vec<_> = usual.iter().chain(more).copied().collect();
    payuni_sealed("payment", "2.0", &inner)
}

/// PAYUNi's notice of a period (A.6): its number, amount, the number of the charge, and when it was made.
pub(crate) fn payuni_period(
    order: &str,
    (number, amount): (u32, i64),
    (status, trade): (&str, &str),
    [day, time]: [&str; 2],
) -> Notice {
    let inner = [
        ("Status", status),
        ("Message", "words"),
        ("MerchantId", PAYUNI[0]),
        ("AuthTime", time),
        ("AuthDay", day),
        ("ProdDesc", "Plan"),
        ("MerTradeNo", order),
        ("PeriodTradeNo", &format!("P{order}")),
        ("TradeNo", trade),
        ("PeriodOrderNo", &format!("{order}_{number}")),
        ("AuthAmt", &amount.to_string()),
        ("TotalTimes", "12"),
        ("ThisPeriod", &number.to_string()),
        ("ResCode", if status == "SUCCESS" { "00" } else { "51" }),
        ("NextAuthDate", ""),
    ];
    payuni_sealed("period", "1.0", &inner)
}

/// The result of PAYUNi's order page as the browser carries it (A.5): a card was bound, or a first charge was made.
pub(crate) fn payuni_page(order: &str, status: &str, authorised: i64, more: &[(&str, &str)]) -> Notice {
    let usual = [
        ("Status", status),
        ("Message", "words"),
        ("MerID", PAYUNI[0]),
        ("AuthTime", "100500"),
        ("AuthDay", "20261121"),
        ("PeriodAmt", "300"),
        ("MerTradeNo", order),
        ("PeriodTradeNo", &format!("P{order}")),
        ("TradeNo", &trade_no(order)),
        ("FAmt", "99"),
        ("AuthAmt", &authorised.to_string()),
        ("ResCode", "00"),
        ("Card4No", "0001"),
    ];
    let inner: Vec<_> = usual.iter().chain(more).copied().collect();
    payuni_sealed("return", "1.0", &inner)
}

fn payuni_sealed(name: &'static str, version: &str, inner: &[(&str, &str)]) -> Notice {
    let sealed = cipher::seal(&encode(inner.iter().copied()), PAYUNI[1], PAYUNI[2]).unwrap();
    let hash = cipher::hash_info(&sealed, PAYUNI[1], PAYUNI[2]);
    let outer = [
        ("Status", inner[0].1),
        ("MerID", PAYUNI[0]),
        ("Version", version),
        ("EncryptInfo", &sealed),
        ("HashInfo", &hash),
    ];
    Notice {
        source: "payuni",
        name,
        body: encode(outer).into_bytes(),
    }
}
