//! Purchases from checkout to ledger: PM-1 to PM-8.

use std::time::Duration;

use serde_json::json;
use tollgate_shared::form::encode;
use tollgate_shared::secret::Secret;

use super::notices::{Ecpay, payuni, trade_no};
use super::stage::{Call, Stage, settings, taipei};
use crate::commands::{self, CommandError, PlanArguments, PlanArgumentsKind};
use crate::db::look;
use crate::domain::tokens::TokenAmount;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn pm_3_checkout_gives_ecpays_form_and_a_pending_payment() {
    let stage = Stage::start().await;
    let answer = stage
        .checkout("user-1", "key-1", json!({ "planId": "pro-month" }))
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let body = &answer.body;
    assert_eq!(body["provider"], "ecpay");
    assert_eq!(
        (&body["amount"], &body["currency"], &body["status"]),
        (&json!(300), &json!("TWD"), &json!("pending"))
    );
    assert_eq!(
        body["form"]["action"],
        "http://127.0.0.1:1/ecpay/Cashier/AioCheckOut/V5"
    );
    let order = body["orderNumber"].as_str().unwrap();
    let payment = body["paymentId"].as_str().unwrap();
    let fields = body["form"]["fields"].as_array().unwrap();
    for (name, value) in [
        ("MerchantTradeNo", order.to_owned()),
        ("TotalAmount", "300".to_owned()),
        ("MerchantTradeDate", "2026/11/21 10:00:00".to_owned()),
        ("ChoosePayment", "Credit".to_owned()),
        (
            "ReturnURL",
            "https://pay.example.tw/api/webhooks/ecpay/payment".to_owned(),
        ),
        (
            "ClientBackURL",
            format!("https://app.example.tw/paid?paymentId={payment}"),
        ),
    ] {
        assert!(fields.contains(&json!([name, value])), "{name}: {fields:?}");
    }
    let row = stage.payment(payment).await;
    assert_eq!(
        (&row["status"], &row["order_number"], &row["user_id"]),
        (&json!("pending"), &json!(order), &json!("user-1"))
    );
    assert_eq!(stage.user("user-1").await["payment_status"], "pending");
    assert_eq!(stage.count("log purchase_initiated").await, 1);
}

#[tokio::test]
async fn pm_3_checkout_gives_the_other_forms() {
    let stage = Stage::start().await;
    let monthly = stage
        .checkout(
            "user-1",
            "k1",
            json!({ "planId": "pro-monthly", "kind": "subscription" }),
        )
        .await;
    let fields = monthly.body["form"]["fields"].as_array().unwrap().clone();
    for field in [
        json!(["PeriodType", "M"]),
        json!(["Frequency", "1"]),
        json!(["ExecTimes", "12"]),
    ] {
        assert!(fields.contains(&field), "{fields:?}");
    }
    let period_url = json!([
        "PeriodReturnURL",
        "https://pay.example.tw/api/webhooks/ecpay/period"
    ]);
    assert!(fields.contains(&period_url), "{fields:?}");
    let atm = stage
        .checkout("user-2", "k1", json!({ "planId": "pro-month", "method": "ATM" }))
        .await;
    let info_url = json!(["PaymentInfoURL", "https://pay.example.tw/api/webhooks/ecpay/code"]);
    assert!(
        atm.body["form"]["fields"].as_array().unwrap().contains(&info_url),
        "{atm:?}"
    );
    for (user, plan, path) in [
        ("user-3", "pro-month", "/api/upp"),
        ("user-4", "pro-monthly", "/api/period/Page"),
    ] {
        let answer = stage
            .checkout(user, "k1", json!({ "planId": plan, "provider": "payuni" }))
            .await;
        assert_eq!(
            answer.body["form"]["action"],
            format!("http://127.0.0.1:1/payuni{path}"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn pm_7_the_mock_is_offered_only_where_no_real_provider_is_configured() {
    let stage = Stage::start().await;
    let answer = stage
        .checkout(
            "user-1",
            "k1",
            json!({ "planId": "pro-month", "provider": "mock" }),
        )
        .await;
    assert_eq!(
        (answer.status, answer.problem()),
        (422, "provider-not-configured")
    );
    let mut alone = settings();
    alone.retain(|name, _| !name.starts_with("ECPAY") && !name.starts_with("PAYUNI"));
    for (name, value) in [
        ("PAYMENT_PROVIDER", "mock"),
        ("PAYMENT_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("MOCK_BASE_URL", "http://127.0.0.1:1/mock"),
    ] {
        alone.insert(name.into(), value.into());
    }
    let stage = Stage::start_with(alone).await;
    let answer = stage
        .checkout("user-1", "k1", json!({ "planId": "pro-month" }))
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let url = answer.body["checkoutUrl"].as_str().unwrap();
    assert!(
        url.starts_with("http://127.0.0.1:1/mock/checkout?orderNumber="),
        "{url}"
    );
    let notify = encode([("notifyUrl", "https://pay.example.tw/api/webhooks/mock/payment")]);
    assert!(url.contains(&notify), "{url}");
}

#[tokio::test]
async fn pm_4_a_paid_notice_reaches_payment_user_and_ledger() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let row = stage.payment(&payment).await;
    assert_eq!(
        (&row["status"], &row["provider_payment_id"]),
        (&json!("active"), &json!(trade_no(&order)))
    );
    assert_eq!(row["raw_payload"]["providerPaymentId"], trade_no(&order));
    let user = stage.user("user-1").await;
    assert_eq!(
        (&user["payment_status"], &user["subscription_type"]),
        (&json!("active"), &json!("pro"))
    );
    assert_eq!(
        (&user["last_payment_provider"], &user["last_payment_reference"]),
        (&json!("ecpay"), &json!(trade_no(&order)))
    );
    assert_eq!(
        user["subscription_expires_at"], "2026-12-21T16:00:00+00:00",
        "30 days, to the end of the day in Taiwan"
    );
    assert_eq!(user["auto_renew"], false);
    let mut entries: Vec<(String, i64)> = look::rows(&stage.admin, "ledger_entry")
        .await
        .iter()
        .map(|entry| {
            (
                entry["account_kind"].as_str().unwrap().to_owned(),
                entry["amount"].as_i64().unwrap(),
            )
        })
        .collect();
    entries.sort();
    assert_eq!(
        entries,
        [
            ("provider_clearing:ecpay".to_owned(), 300),
            ("sales".to_owned(), -300)
        ]
    );
    let transaction = &look::rows(&stage.admin, "ledger_transaction").await[0];
    assert_eq!(
        transaction["delivery_id"],
        super::stage::DELIVERY,
        "op_2: one id from edge to entry"
    );
    assert_eq!(stage.count("log purchase_success").await, 1);
}

#[tokio::test]
async fn pm_2_a_payments_row_has_the_columns_that_the_plans_named() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage
        .apply(&Ecpay::failed(&order, "10100058", "no", "2026/11/21 10:01:00").signed())
        .await;
    let row = stage.payment(&payment).await;
    let expected = json!({
        "id": payment, "user_id": "user-1", "plan_id": "pro-month", "amount": 300, "currency": "TWD",
        "provider": "ecpay", "provider_payment_id": trade_no(&order), "status": "failed",
        "error_message": "10100058: no", "created_at": "2026-11-21T02:00:00+00:00", "updated_at": "2026-11-21T02:00:00+00:00",
    });
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(&row[column], value, "{column}");
    }
    assert!(
        row["raw_payload"].is_object() && row["metadata"].is_object(),
        "{row}"
    );
}

#[tokio::test]
async fn pm_5_only_the_owner_reads_a_payments_status() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let pending = stage.status("user-1", &payment).await;
    assert_eq!(
        (pending.status, &pending.body["status"]),
        (200, &json!("pending")),
        "{pending:?}"
    );
    assert_eq!(pending.headers["cache-control"], "no-store");
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let paid = stage.status("user-1", &payment).await;
    assert_eq!(
        (&paid.body["status"], &paid.body["providerPaymentId"]),
        (&json!("active"), &json!(trade_no(&order)))
    );
    assert_eq!(
        (&paid.body["planId"], &paid.body["amount"]),
        (&json!("pro-month"), &json!(300))
    );
    for (user, id) in [
        ("user-2", payment.as_str()),
        ("user-1", super::stage::DELIVERY),
        ("user-1", "none"),
    ] {
        let other = stage.status(user, id).await;
        assert_eq!(
            (other.status, other.problem()),
            (404, "unknown-payment"),
            "{user} {id}"
        );
    }
    let nobody = stage.status("", &payment).await;
    assert_eq!((nobody.status, nobody.problem()), (401, "session-required"));
}

#[tokio::test]
async fn pm_8_the_browser_closed_but_the_notice_came() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    stage.after(Duration::from_hours(3)).await;
    assert_eq!(stage.status("user-1", &payment).await.body["status"], "active");
}

#[tokio::test]
async fn pm_8_a_refusal_shows_and_a_later_payment_wins() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage
        .apply(&Ecpay::failed(&order, "10100058", "授權失敗", "2026/11/21 10:01:00").signed())
        .await;
    let failed = stage.status("user-1", &payment).await;
    assert_eq!(
        (&failed.body["status"], &failed.body["message"]),
        (&json!("failed"), &json!("10100058: 授權失敗"))
    );
    assert_eq!(stage.user("user-1").await["payment_status"], "failed");
    assert_eq!(stage.count("log purchase_failed").await, 1);
    assert_eq!(stage.count("ledger entries").await, 0);
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let paid = stage.status("user-1", &payment).await;
    assert_eq!(
        (&paid.body["status"], paid.body.get("message")),
        (&json!("active"), None)
    );
}

#[tokio::test]
async fn pm_8_a_code_issued_is_not_paid_and_then_is() {
    let stage = Stage::start().await;
    let (payment, order) = stage
        .buy("user-1", json!({ "planId": "pro-month", "method": "ATM" }))
        .await;
    stage.apply(&Ecpay::atm_code(&order, 300).signed()).await;
    let issued = stage.status("user-1", &payment).await;
    assert_eq!(issued.body["status"], "pending");
    assert_eq!(
        issued.body["instructions"]["codeParts"],
        json!(["812", "9103522175887271"])
    );
    assert_eq!(issued.body["instructions"]["expiresAt"], "2026-11-24T15:59:59Z");
    assert_eq!(stage.count("ledger entries").await, 0);
    stage.after(3 * DAY).await;
    assert_eq!(
        stage.status("user-1", &payment).await.body["status"],
        "pending",
        "the code can still be paid"
    );
    stage
        .apply(
            &Ecpay::paid(&order, 300)
                .with("PaymentType", "ATM_TAISHIN")
                .signed(),
        )
        .await;
    assert_eq!(stage.status("user-1", &payment).await.body["status"], "active");
    assert_eq!(stage.count("ledger transactions").await, 1);
}

#[tokio::test]
async fn pm_8_a_simulated_payment_moves_no_money() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let before = stage.payment(&payment).await;
    stage
        .apply(&Ecpay::paid(&order, 300).with("SimulatePaid", "1").signed())
        .await;
    assert_eq!(stage.payment(&payment).await, before);
    assert_eq!(
        (
            stage.count("log test_event").await,
            stage.count("ledger entries").await
        ),
        (1, 0)
    );
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    assert_eq!(
        stage.count("ledger transactions").await,
        1,
        "the real payment of the same order still counts"
    );
}

#[tokio::test]
async fn pm_8_a_refund_reverses_the_entries_and_takes_back_what_was_given() {
    let stage = Stage::start().await;
    let (payment, order) = stage
        .buy("user-1", json!({ "planId": "pro-month", "provider": "payuni" }))
        .await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "1")).await;
    assert_eq!(stage.user("user-1").await["subscription_type"], "pro");
    stage.apply(&payuni(&order, 300, "SUCCESS", "5")).await;
    assert_eq!(stage.payment(&payment).await["status"], "refunded");
    let user = stage.user("user-1").await;
    assert_eq!(
        (&user["payment_status"], &user["subscription_type"]),
        (&json!("refunded"), &json!(null))
    );
    let tally = stage.tally().await;
    assert_eq!(
        (
            tally["ledger transactions"],
            tally["ledger entries"],
            tally["ledger sum"]
        ),
        (2, 4, 0)
    );
    assert_eq!(tally["log purchase_refunded"], 1);
    let balances: Vec<_> = look::rows(&stage.admin, "ledger_account")
        .await
        .iter()
        .map(|row| row["balance"].clone())
        .collect();
    assert_eq!(balances, [json!(0), json!(0)]);
}

#[tokio::test]
async fn pm_8_an_undecided_payment_waits_a_day() {
    let stage = Stage::start().await;
    let (payment, order) = stage
        .buy("user-1", json!({ "planId": "pro-month", "provider": "payuni" }))
        .await;
    stage.apply(&payuni(&order, 300, "UNKNOWN", "8")).await;
    stage.after(Duration::from_hours(23)).await;
    assert_eq!(stage.payment(&payment).await["status"], "pending");
    stage.after(Duration::from_hours(2)).await;
    assert_eq!(stage.payment(&payment).await["status"], "canceled");
}

#[tokio::test]
async fn pm_8_buying_twice_is_refused_until_the_last_seven_days_and_then_extends() {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let refused = stage
        .checkout("user-1", "again", json!({ "planId": "pro-month" }))
        .await;
    assert_eq!((refused.status, refused.problem()), (409, "plan-covered"));
    assert_eq!(refused.body["renewAfter"], "2026-12-14T16:00:00Z");
    assert_eq!(refused.body["expiresAt"], "2026-12-21T16:00:00Z");
    assert!(
        refused.body["detail"].as_str().unwrap().contains("2026-12-15"),
        "{refused:?}"
    );
    stage.buy("user-1", json!({ "planId": "basic-month" })).await;
    stage.clock.advance(25 * DAY);
    let (_, second) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage
        .apply(
            &Ecpay::paid(&second, 300)
                .with("PaymentDate", "2026/12/16 10:05:00")
                .signed(),
        )
        .await;
    assert_eq!(
        stage.user("user-1").await["subscription_expires_at"],
        "2027-01-20T16:00:00+00:00"
    );
}

#[tokio::test]
async fn pm_8_two_checkouts_that_are_both_paid_both_count() {
    let stage = Stage::start().await;
    let (_, first) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let (_, second) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let notices = [
        Ecpay::paid(&second, 300).signed(),
        Ecpay::paid(&first, 300).signed(),
    ];
    tokio::join!(stage.apply(&notices[0]), stage.apply(&notices[1]));
    assert_eq!(
        stage.user("user-1").await["subscription_expires_at"],
        "2027-01-20T16:00:00+00:00"
    );
    assert_eq!(stage.count("ledger transactions").await, 2);
}

#[tokio::test]
async fn pm_4_every_period_of_a_subscription_extends_it_by_a_month() {
    let stage = Stage::start().await;
    stage
        .clock
        .advance(taipei("2027/01/31 10:00:00").distance(taipei("2026/11/21 10:00:00")));
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-monthly" })).await;
    stage
        .apply(
            &Ecpay::paid(&order, 300)
                .with("PaymentDate", "2027/01/31 10:05:00")
                .signed(),
        )
        .await;
    let user = stage.user("user-1").await;
    assert_eq!(
        (&user["subscription_expires_at"], &user["auto_renew"]),
        (&json!("2027-02-28T16:00:00+00:00"), &json!(true))
    );
    let refused = stage
        .checkout("user-1", "again", json!({ "planId": "pro-month" }))
        .await;
    assert_eq!(
        refused.body["renewAfter"], "2027-02-28T16:00:00Z",
        "it renews itself"
    );
    stage
        .apply(&Ecpay::period(&order, 300, "11944679", "2027/02/28 04:00:00", 2).signed())
        .await;
    assert_eq!(
        stage.user("user-1").await["subscription_expires_at"],
        "2027-03-31T16:00:00+00:00"
    );
    let refusal = Ecpay::period(&order, 300, "0", "2027/03/31 04:00:00", 2)
        .with("RtnCode", "10100058")
        .signed();
    stage.apply(&refusal).await;
    assert_eq!(
        stage.payment(&payment).await["status"],
        "active",
        "a refused period does not undo the paid ones"
    );
    assert_eq!(
        (
            stage.count("charges settled").await,
            stage.count("log purchase_failed").await
        ),
        (2, 1)
    );
}

#[tokio::test]
async fn pm_3_a_plan_held_for_ever_is_not_sold_again() {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "forever" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let user = stage.user("user-1").await;
    assert_eq!(
        (&user["subscription_type"], &user["subscription_expires_at"]),
        (&json!("patron"), &json!(null))
    );
    let refused = stage
        .checkout("user-1", "again", json!({ "planId": "forever" }))
        .await;
    assert_eq!(
        (refused.status, refused.body.get("renewAfter")),
        (409, None),
        "{refused:?}"
    );
}

#[tokio::test]
async fn pm_3_a_repeated_checkout_gives_the_first_answer_and_a_changed_one_is_named() {
    let stage = Stage::start().await;
    let body = json!({ "planId": "pro-month", "provider": "ecpay", "method": "Credit" });
    let first = stage.checkout("user-1", "key-1", body.clone()).await;
    stage.clock.advance(Duration::from_mins(1));
    let again = stage.checkout("user-1", "key-1", body.clone()).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let mut keyed = body.clone();
    keyed["idempotencyKey"] = json!("key-1");
    let swapped = stage
        .call(Call {
            method: "POST",
            path: "/internal/v1/payments/checkout",
            subject: "user-1",
            headers: vec![("content-type", "application/json"), ("idempotency-key", "key-2")],
            body: keyed.to_string().into_bytes(),
        })
        .await;
    assert_eq!(
        (swapped.status, &swapped.body),
        (200, &first.body),
        "a header that nobody signed names no other effect"
    );
    for (field, changed) in [
        (
            "planId",
            json!({ "planId": "basic-month", "provider": "ecpay", "method": "Credit" }),
        ),
        (
            "provider",
            json!({ "planId": "pro-month", "provider": "payuni", "method": "Credit" }),
        ),
        ("provider", json!({ "planId": "pro-month", "method": "Credit" })),
        (
            "method",
            json!({ "planId": "pro-month", "provider": "ecpay", "method": "ATM" }),
        ),
        (
            "kind",
            json!({ "planId": "pro-month", "provider": "ecpay", "method": "Credit", "kind": "one_time" }),
        ),
    ] {
        let refused = stage.checkout("user-1", "key-1", changed).await;
        assert_eq!((refused.status, refused.problem()), (422, "idempotency-mismatch"));
        assert_eq!(refused.body["field"], field);
    }
    let other_user = stage.checkout("user-2", "key-1", body).await;
    assert_eq!(other_user.status, 201, "keys belong to their user");
    assert_eq!(stage.count("payments pending").await, 2);
}

#[tokio::test]
async fn pm_3_twenty_checkouts_of_one_key_at_once_make_one_payment() {
    let stage = Stage::start().await;
    let calls = (0..20).map(|_| stage.checkout("user-1", "key-1", json!({ "planId": "pro-month" })));
    let answers = join_all(calls).await;
    let first = &answers[0].body["paymentId"];
    assert!(
        answers.iter().all(|answer| answer.body["paymentId"] == *first),
        "{answers:?}"
    );
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(
        (
            stage.count("payments pending").await,
            stage.count("log purchase_initiated").await
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn pm_3_refusals_of_checkout_write_nothing() {
    let stage = Stage::start().await;
    let before = stage.tally().await;
    for (body, status, problem) in [
        (json!({ "planId": "none" }), 404, "unknown-plan"),
        (
            json!({ "planId": "pro-month", "kind": "subscription" }),
            409,
            "plan-kind",
        ),
        (
            json!({ "planId": "pro-monthly", "kind": "one_time" }),
            409,
            "plan-kind",
        ),
        (
            json!({ "planId": "pro-month", "provider": "stripe" }),
            422,
            "unknown-provider",
        ),
        (
            json!({ "planId": "pro-month", "method": "Cheque" }),
            422,
            "unknown-method",
        ),
        (
            json!({ "planId": "pro-month", "method": "ALL" }),
            422,
            "unknown-method",
        ),
        (
            json!({ "planId": "pro-month", "provider": "payuni", "method": "Cheque" }),
            422,
            "unknown-method",
        ),
        (
            json!({ "planId": "pro-monthly", "method": "ATM" }),
            422,
            "plan-not-payable",
        ),
        (json!({ "planId": "PRO" }), 400, "malformed-body"),
        (json!({}), 400, "malformed-body"),
        (
            json!({ "planId": "pro-month", "amount": 1 }),
            400,
            "malformed-body",
        ),
        (
            json!({ "planId": "pro-month", "kind": "free" }),
            400,
            "malformed-body",
        ),
        (json!({ "planId": 7 }), 400, "malformed-body"),
        (json!([]), 400, "malformed-body"),
        (json!(null), 400, "malformed-body"),
    ] {
        let refused = stage.checkout("user-1", "key-1", body.clone()).await;
        assert_eq!((refused.status, refused.problem()), (status, problem), "{body}");
    }
    assert_eq!(stage.tally().await, before);
    assert_eq!(
        stage
            .checkout("user-1", "key-1", json!({ "planId": "pro-month" }))
            .await
            .status,
        201,
        "no key is pinned"
    );
}

/// All at once, on this task.
pub(super) async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in waiting.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// What `tollgate plan put` does with a plan's arguments.
async fn put_plan(
    stage: &Stage,
    (amount_minor, subscription_type): (i64, &str),
    kind: PlanArgumentsKind,
) -> Result<(), CommandError> {
    let arguments = PlanArguments {
        id: "pro-month".parse().unwrap(),
        name: "Pro, a month".into(),
        amount_minor,
        subscription_type: Some(subscription_type.into()),
        tokens: None,
        limits: std::collections::BTreeMap::new(),
        kind,
    };
    commands::plan_put(&Secret::new(stage.database_url()), arguments).await
}

#[tokio::test]
async fn pm_2_terms_of_a_plan_with_payments_stay_and_its_price_may_change() {
    let stage = Stage::start().await;
    let days = |duration_days| PlanArgumentsKind::OneTime { duration_days };
    let monthly = || PlanArgumentsKind::Subscription {
        period_type: "month".into(),
        frequency: 1,
        times: 12,
        first_charge: "build".into(),
        period_date: None,
        first_amount_minor: None,
    };
    put_plan(&stage, (300, "pro"), days(Some(31))).await.unwrap();
    put_plan(&stage, (300, "pro"), days(Some(30))).await.unwrap();
    stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let before = look::row(&stage.admin, "plans", "id", "pro-month").await;
    for (subscription_type, kind) in [
        ("pro", days(Some(31))),
        ("pro", days(None)),
        ("basic", days(Some(30))),
        ("pro", monthly()),
    ] {
        let refused = put_plan(&stage, (300, subscription_type), kind)
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("Make a plan of another id"),
            "{refused}"
        );
    }
    assert_eq!(look::row(&stage.admin, "plans", "id", "pro-month").await, before);
    put_plan(&stage, (330, "pro"), days(Some(30))).await.unwrap();
    let after = look::row(&stage.admin, "plans", "id", "pro-month").await;
    assert_eq!(
        (&after["amount"], &after["duration_days"]),
        (&json!(330), &json!(30))
    );
}

/// EC-3: the plan of those whose payments failed is put like any other, allows what it says, and is not for sale.
#[tokio::test]
async fn ec_3_a_free_plan_has_limits_and_no_price_and_is_not_sold() {
    let stage = Stage::start().await;
    let free = |amount_minor, subscription_type: Option<&str>, tokens| PlanArguments {
        id: "free".parse().unwrap(),
        name: "FREE".into(),
        amount_minor,
        subscription_type: subscription_type.map(str::to_owned),
        tokens,
        limits: [("articles".to_owned(), 3), ("seats".to_owned(), 1)].into(),
        kind: PlanArgumentsKind::Free,
    };
    let url = Secret::new(stage.database_url());
    let before = look::row(&stage.admin, "plans", "id", "free").await;
    assert_eq!(before["limits"], json!({}));
    let tokens = TokenAmount::new(10).unwrap();
    for refused in [
        free(1, Some("free"), None),
        free(0, None, None),
        free(0, Some("free"), Some(tokens)),
    ] {
        let error = commands::plan_put(&url, refused).await.unwrap_err();
        assert!(matches!(error, CommandError::Plan(_)), "{error}");
    }
    assert_eq!(look::row(&stage.admin, "plans", "id", "free").await, before);
    commands::plan_put(&url, free(0, Some("free"), None))
        .await
        .unwrap();
    let after = look::row(&stage.admin, "plans", "id", "free").await;
    assert_eq!(
        (&after["limits"], &after["amount"], &after["kind"]),
        (&json!({ "articles": 3, "seats": 1 }), &json!(0), &json!("free"))
    );
    let refused = stage
        .checkout("user-1", "key-1", json!({ "planId": "free" }))
        .await;
    assert_eq!((refused.status, refused.problem()), (404, "unknown-plan"));
}
