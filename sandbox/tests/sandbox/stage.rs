//! What every test stands on: a sandbox, a receiver, and forms signed as a merchant signs them.
//!
//! Invariant: forms are lists of raw fields, signed here; a test changes a field before or after signing, as it needs.
//! Not here: expectations. Failure: a helper panics with the answer it got.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tollgate_sandbox::{Config, ECPAY_HASH_IV, ECPAY_HASH_KEY, PAYUNI_HASH_IV, PAYUNI_HASH_KEY, Sandbox};
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::provider::payuni::cipher;

use crate::receiver::Receiver;

pub(crate) type Fields = Vec<(String, String)>;

pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) shop: Receiver,
    pub(crate) http: reqwest::Client,
}

/// An answer with its body.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The provider's code on an error page.
    pub(crate) fn error_code(&self) -> Option<&str> {
        self.body
            .split_once(r#"data-code=""#)?
            .1
            .split_once('"')
            .map(|(code, _)| code)
    }
}

/// Re-sends a long time apart: a test moves the clock instead of waiting.
pub(crate) fn patient() -> Config {
    Config {
        resend_interval: Duration::from_hours(1),
        ..Config::default()
    }
}

impl Stage {
    pub(crate) async fn ecpay() -> Self {
        Self::with(patient(), "1|OK").await
    }

    pub(crate) async fn with(config: Config, acknowledgement: &'static str) -> Self {
        let sandbox = Sandbox::start(config).await.unwrap();
        let shop = Receiver::start(acknowledgement).await;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { sandbox, shop, http }
    }

    /// A one-off card order whose notices come to the shop's `/notice`, `/code` and `/period`.
    pub(crate) fn order(&self, number: &str) -> Fields {
        let shop = &self.shop.base_url;
        fields(&[
            ("MerchantID", "3002607"),
            ("MerchantTradeNo", number),
            ("MerchantTradeDate", "2026/11/21 10:00:00"),
            ("PaymentType", "aio"),
            ("TotalAmount", "300"),
            ("TradeDesc", "月訂閱方案"),
            ("ItemName", "專業版 (月繳) x1"),
            ("ReturnURL", &format!("{shop}/notice")),
            ("ChoosePayment", "Credit"),
            ("EncryptType", "1"),
        ])
    }

    pub(crate) fn periodic_order(&self, number: &str) -> Fields {
        let period_url = format!("{}/period", self.shop.base_url);
        let more = [
            ("PeriodAmount", "300"),
            ("PeriodType", "M"),
            ("Frequency", "1"),
            ("ExecTimes", "3"),
            ("PeriodReturnURL", period_url.as_str()),
            ("NeedExtraPaidInfo", "Y"),
        ];
        with(self.order(number), &more)
    }

    pub(crate) fn code_order(&self, number: &str, method: &str) -> Fields {
        let code_url = format!("{}/code", self.shop.base_url);
        with(
            self.order(number),
            &[("ChoosePayment", method), ("PaymentInfoURL", &code_url)],
        )
    }

    pub(crate) async fn post(&self, path: &str, body: String) -> Answered {
        let url = format!("{}{path}", self.sandbox.base_url());
        let request = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded");
        read(request.body(body).send().await.unwrap()).await
    }

    /// Posts a signed ECPay checkout form.
    pub(crate) async fn checkout(&self, order: Fields) -> Answered {
        self.post("/ecpay/Cashier/AioCheckOut/V5", encode(&signed(order)))
            .await
    }

    /// Opens a trade and insists on the cashier.
    pub(crate) async fn open(&self, order: Fields) -> Answered {
        let page = self.checkout(order).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        page
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        read(
            self.http
                .get(format!("{}{path}", self.sandbox.base_url()))
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn control(&self, path: &str, body: Value) -> Answered {
        let url = format!("{}/control/v1/{path}", self.sandbox.base_url());
        read(self.http.post(url).json(&body).send().await.unwrap()).await
    }

    /// A move that must be possible.
    pub(crate) async fn act(&self, order: &str, action: &str, body: Value) -> Value {
        let answered = self.control(&format!("trades/{order}/{action}"), body).await;
        assert_eq!(
            answered.status,
            StatusCode::OK,
            "{action} {order}: {}",
            answered.body
        );
        answered.json()
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        let answered = self.control("clock", json!({ "advanceSeconds": seconds })).await;
        assert_eq!(answered.status, StatusCode::OK);
    }

    /// Waits until the sandbox's own record of an order's deliveries satisfies `done`.
    pub(crate) async fn recorded(&self, order: &str, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let recorded = async {
            loop {
                let notices = self
                    .get(&format!("/control/v1/notices?order={order}"))
                    .await
                    .json();
                let notices = notices["notices"].as_array().unwrap().clone();
                if done(&notices) {
                    return notices;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), recorded)
            .await
            .unwrap()
    }
}

pub(crate) async fn read(response: reqwest::Response) -> Answered {
    let content_type = response
        .headers()
        .get("content-type")
        .map(|value| value.to_str().unwrap().to_owned());
    Answered {
        status: response.status(),
        content_type: content_type.unwrap_or_default(),
        body: response.text().await.unwrap(),
    }
}

pub(crate) fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Replaces or adds fields.
pub(crate) fn with(mut fields: Fields, changes: &[(&str, &str)]) -> Fields {
    for (name, value) in changes {
        match fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => (*value).clone_into(old),
            None => fields.push(((*name).to_owned(), (*value).to_owned())),
        }
    }
    fields
}

pub(crate) fn without(mut fields: Fields, name: &str) -> Fields {
    fields.retain(|(known, _)| known != name);
    fields
}

pub(crate) fn mac(fields: &Fields) -> String {
    let pairs = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    check_mac_value(pairs, ECPAY_HASH_KEY, ECPAY_HASH_IV, Algorithm::Sha256)
}

/// Adds the MAC.
pub(crate) fn signed(mut fields: Fields) -> Fields {
    fields.push(("CheckMacValue".into(), mac(&fields)));
    fields
}

pub(crate) fn encode(fields: &Fields) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// Whether the MAC of a notice is right.
pub(crate) fn is_genuine(notice: &BTreeMap<String, String>) -> bool {
    let signed: Fields = notice
        .iter()
        .filter(|(name, _)| *name != "CheckMacValue")
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    notice.get("CheckMacValue") == Some(&mac(&signed))
}

/// Seals inner fields as a PAYUNi merchant does.
pub(crate) fn sealed(version: &str, inner: &Fields) -> Fields {
    let encrypt_info = cipher::seal(&encode(inner), PAYUNI_HASH_KEY, PAYUNI_HASH_IV).unwrap();
    let hash_info = cipher::hash_info(&encrypt_info, PAYUNI_HASH_KEY, PAYUNI_HASH_IV);
    fields(&[
        ("MerID", "KAT0001"),
        ("Version", version),
        ("EncryptInfo", &encrypt_info),
        ("HashInfo", &hash_info),
    ])
}

/// Opens what PAYUNi sent.
pub(crate) fn unsealed(encrypt_info: &str) -> BTreeMap<String, String> {
    let plain = cipher::open(encrypt_info, PAYUNI_HASH_KEY, PAYUNI_HASH_IV).unwrap();
    form_urlencoded::parse(&plain).into_owned().collect()
}
