//! What must not move money: each wrong or harmless notice gets the answer that DESIGN.md names.
//!
//! Proves ED-1, ED-4 and PM-4 over the built worker: forged and unreadable notices are refused with a problem
//! document and leave nothing; genuine ones that do not fit are acknowledged, recorded, and move nothing.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask::stack::{Stack, StackOptions};

use crate::books::{Books, orders};
use crate::notices::{ACKNOWLEDGED, Notice, post};

const PAYMENT: &str = "/api/webhooks/ecpay/payment";
const CODE: &str = "/api/webhooks/ecpay/code";

/// Refused bodies: path, body, status, last word of the problem's type.
fn refused(order: &str) -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let good = Notice::paid(order, "2611201744000001").body();
    let forged = good.replace("TradeAmt=300", "TradeAmt=301");
    let lower_mac = good.replace("RtnCode=1", "RtnCode=2");
    let duplicate = format!("{good}&TradeAmt=300");
    let mut not_utf8 = good.clone().into_bytes();
    not_utf8.extend_from_slice(b"&Extra=\xff\xfe");
    let big5 = format!("{good}&Extra=%A5%E6%A9%F6");
    vec![
        (PAYMENT, forged.into_bytes(), 403, "signature-mismatch"),
        (PAYMENT, lower_mac.into_bytes(), 403, "signature-mismatch"),
        (PAYMENT, duplicate.into_bytes(), 400, "malformed-body"),
        (PAYMENT, not_utf8, 400, "malformed-body"),
        (PAYMENT, big5.into_bytes(), 400, "malformed-body"),
        (PAYMENT, Vec::new(), 400, "malformed-body"),
        (PAYMENT, b"{\"RtnCode\":1}".to_vec(), 400, "malformed-body"),
        (PAYMENT, b"RtnCode=1".to_vec(), 400, "missing-field"),
        (
            PAYMENT,
            Notice::paid(order, "1").without("TradeNo").body().into_bytes(),
            400,
            "missing-field",
        ),
        (
            PAYMENT,
            Notice::paid(order, "1")
                .with("TradeAmt", "3e2")
                .body()
                .into_bytes(),
            400,
            "missing-field",
        ),
        (
            "/api/webhooks/ecpay/refund",
            good.clone().into_bytes(),
            404,
            "unknown-notice",
        ),
        (
            "/api/webhooks/newebpay/payment",
            good.clone().into_bytes(),
            404,
            "unknown-source",
        ),
        (
            "/api/webhooks/mock/payment",
            good.clone().into_bytes(),
            503,
            "source-not-configured",
        ),
        (
            "/api/webhooks/payuni/payment",
            good.into_bytes(),
            400,
            "missing-field",
        ),
    ]
}

fn problem_word(body: &str) -> Result<String> {
    let problem: Value = serde_json::from_str(body).with_context(|| format!("not a problem: {body}"))?;
    let type_urn = problem
        .pointer("/type")
        .and_then(Value::as_str)
        .context("no type")?;
    Ok(type_urn.rsplit(':').next().unwrap_or_default().to_owned())
}

async fn assert_refusals(stack: &Stack, order: &str) -> Result<()> {
    for (path, body, status, word) in refused(order) {
        let start = String::from_utf8_lossy(body.get(..40.min(body.len())).unwrap_or_default()).into_owned();
        let answer = post(stack, path, body).await?;
        ensure!(
            answer.0 == status,
            "{path} {start}: {answer:?}, expected {status}"
        );
        ensure!(
            problem_word(&answer.1)? == word,
            "{path} {start}: {answer:?}, expected {word}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_1_forged_and_unreadable_notices_are_refused_and_leave_nothing() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let order = orders(&stack, 1).await?.pop().context("one order")?;
    assert_refusals(&stack, &order).await?;

    for method in [
        reqwest::Method::GET,
        reqwest::Method::PUT,
        reqwest::Method::from_bytes(b"PURGE")?,
    ] {
        let url = format!("{}{PAYMENT}", stack.worker.base_url());
        let answer = stack.http.request(method.clone(), url).send().await?;
        assert_eq!(answer.status().as_u16(), 405, "{method}");
        assert_eq!(
            answer
                .headers()
                .get("allow")
                .map(reqwest::header::HeaderValue::as_bytes),
            Some(&b"POST"[..])
        );
    }

    // ED-4: the origin itself takes no unsigned event, however genuine the notice in it.
    let url = format!("{}/internal/v1/events", stack.origin.base_url());
    let unsigned = stack.http.post(url).body("{}").send().await?;
    assert_eq!(unsigned.status().as_u16(), 401);

    let books = Books::of(&stack).await?;
    assert_eq!(
        books.count("select count(*) from tollgate.inbox_events").await?,
        0
    );
    books.settled(0).await?;
    drop(books);
    stack.stop().await
}

/// Genuine notices that must not move money, and what they leave behind.
fn harmless(order: &str) -> Vec<(&'static str, Notice)> {
    let paid = Notice::paid(order, "2611201744000001");
    let issued = paid
        .clone()
        .with("RtnCode", "2")
        .with("RtnMsg", "Get VirtualAccount Succeeded")
        .with("PaymentType", "ATM_TAISHIN")
        .with("BankCode", "812")
        .with("vAccount", "9103522175887271")
        .with("ExpireDate", "2026/11/30");
    vec![
        (CODE, issued),
        (PAYMENT, paid.clone().with("SimulatePaid", "1")),
        (
            PAYMENT,
            Notice::paid(order, "2611201744000002").with("TradeAmt", "1"),
        ),
        (PAYMENT, Notice::paid("T0000000000000000000", "2611201744000003")),
        (
            PAYMENT,
            Notice::paid(order, "2611201744000004").with("MerchantID", "2000132"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_4_genuine_notices_that_do_not_fit_are_recorded_and_move_no_money() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let order = orders(&stack, 1).await?.pop().context("one order")?;
    for (path, notice) in harmless(&order) {
        let answer = post(&stack, path, notice.body()).await?;
        assert_eq!(answer, (200, ACKNOWLEDGED.to_owned()), "{path} {notice:?}");
    }
    // Paid is not "code issued": ECPay never says 1 on that URL (reference §1.4.4).
    let (status, body) = post(&stack, CODE, Notice::paid(&order, "2611201744000005").body()).await?;
    assert_eq!((status, problem_word(&body)?.as_str()), (400, "malformed-body"));

    let books = Books::of(&stack).await?;
    books.wait_applied(5).await?;
    books.settled(0).await?;
    assert_eq!(
        books
            .texts("select kind from tollgate.disputes order by kind")
            .await?,
        ["amount_mismatch", "merchant_mismatch", "unknown_order"]
    );
    assert_eq!(
        books.texts("select status::text from tollgate.payments").await?,
        ["pending"],
        "a code and a simulation leave the payment waiting"
    );

    // And then the customer pays the code: the same order, the same trade number, this time money.
    let paid = post(&stack, PAYMENT, Notice::paid(&order, "2611201744000001").body()).await?;
    assert_eq!(paid, (200, ACKNOWLEDGED.to_owned()));
    books.wait_applied(6).await?;
    books.settled(1).await?;
    drop(books);
    stack.stop().await
}
