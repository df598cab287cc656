//! ECPay's notices as the stories send them, signed with the stage merchant's published keys.
//!
//! A story → **`Notice`** → bytes for the worker's webhook route.
//!
//! Invariant: every field is signed unless a story breaks it on purpose after signing.
//! Not here: what the sandbox sends by itself; stories that need a provider's own behaviour ask the sandbox.

use anyhow::{Context, Result, ensure};
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use xtask::stack::Stack;
use xtask::stack::settings::{ECPAY_HASH_IV, ECPAY_HASH_KEY, ECPAY_MERCHANT_ID};

/// What ECPay must read to stop repeating itself.
pub(crate) const ACKNOWLEDGED: &str = "1|OK";

/// Fields of a `ReturnURL` body, in no special order.
#[derive(Debug, Clone)]
pub(crate) struct Notice(Vec<(&'static str, String)>);

impl Notice {
    /// A card payment of NT$300 that succeeded.
    pub(crate) fn paid(order_number: &str, trade_no: &str) -> Self {
        let fields = [
            ("MerchantID", ECPAY_MERCHANT_ID),
            ("MerchantTradeNo", order_number),
            ("StoreID", ""),
            ("RtnCode", "1"),
            ("RtnMsg", "交易成功"),
            ("TradeNo", trade_no),
            ("TradeAmt", "300"),
            ("PaymentDate", "2026/11/20 17:45:12"),
            ("PaymentType", "Credit_CreditCard"),
            ("PaymentTypeChargeFee", "8"),
            ("TradeDate", "2026/11/20 17:44:01"),
            ("SimulatePaid", "0"),
            ("CustomField1", ""),
            ("CustomField2", ""),
            ("CustomField3", ""),
            ("CustomField4", ""),
        ];
        Self(fields.map(|(name, value)| (name, value.to_owned())).into())
    }

    /// The card was refused.
    pub(crate) fn declined(order_number: &str, trade_no: &str) -> Self {
        Self::paid(order_number, trade_no)
            .with("RtnCode", "10100058")
            .with("RtnMsg", "Pay Fail.")
    }

    /// Replaces a field, or adds it.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.to_owned()));
        self
    }

    /// Takes a field away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self
    }

    /// The form body, CheckMacValue included.
    pub(crate) fn body(&self) -> String {
        self.body_signed_with(ECPAY_HASH_KEY, ECPAY_HASH_IV)
    }

    /// The form body with the CheckMacValue of other keys.
    pub(crate) fn body_signed_with(&self, key: &str, iv: &str) -> String {
        let fields = self.0.iter().map(|(name, value)| (*name, value.as_str()));
        let mac = check_mac_value(fields.clone(), key, iv, Algorithm::Sha256);
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields)
            .append_pair("CheckMacValue", &mac)
            .finish()
    }
}

/// Posts a body to a path of the worker; the answer's status and text.
pub(crate) async fn post(stack: &Stack, path: &str, body: impl Into<reqwest::Body>) -> Result<(u16, String)> {
    let url = format!("{}{path}", stack.worker.base_url());
    let asked = stack
        .http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = asked.send().await.context("post a notice")?;
    let status = answer.status().as_u16();
    Ok((status, answer.text().await.context("read the answer")?))
}

/// Posts a payment notice and insists on ECPay's exact acknowledgement.
pub(crate) async fn acknowledged(stack: &Stack, notice: &Notice) -> Result<()> {
    let answer = post(stack, "/api/webhooks/ecpay/payment", notice.body()).await?;
    ensure!(
        answer == (200, ACKNOWLEDGED.to_owned()),
        "not acknowledged: {answer:?}"
    );
    Ok(())
}
