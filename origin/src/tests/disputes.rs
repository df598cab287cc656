//! Genuine notices that do not match what we ordered: recorded, acknowledged, no money moved.

use serde_json::json;

use super::notices::{Ecpay, Notice, payuni, trade_no};
use super::stage::Stage;
use crate::db::look;

#[tokio::test]
async fn pm_4_what_was_not_ordered_is_a_dispute_and_moves_no_money() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let before = (stage.payment(&payment).await, stage.user("user-1").await);
    let other_shop = |notice: Ecpay| notice.with("MerchantID", "2000132").signed();
    let cases: [(&str, Notice); 10] = [
        ("unknown_order", Ecpay::paid("T0NOTOURS", 300).signed()),
        (
            "unknown_order",
            Ecpay::failed("T0NOTOURS", "10100058", "no", "2026/11/21 10:01:00").signed(),
        ),
        ("unknown_order", Ecpay::atm_code("T0NOTOURS", 300).signed()),
        ("unknown_order", payuni(&order, 300, "SUCCESS", "1")),
        ("merchant_mismatch", other_shop(Ecpay::paid(&order, 300))),
        (
            "merchant_mismatch",
            other_shop(Ecpay::failed(&order, "10100058", "no", "2026/11/21 10:01:00")),
        ),
        ("merchant_mismatch", other_shop(Ecpay::atm_code(&order, 300))),
        (
            "unexpected_period",
            Ecpay::period(&order, 300, "11944679", "2026/12/21 04:00:00", 2).signed(),
        ),
        ("amount_mismatch", Ecpay::paid(&order, 299).signed()),
        (
            "amount_mismatch",
            Ecpay::atm_code(&order, 1).with("TradeNo", "26OTHER").signed(),
        ),
    ];
    let mut expected = std::collections::BTreeMap::new();
    for (kind, notice) in &cases {
        stage.apply(notice).await;
        *expected.entry(format!("disputes {kind}")).or_insert(0) += 1;
        for (kind, count) in &expected {
            assert_eq!(stage.count(kind).await, *count, "{notice:?}");
        }
    }
    let tally = stage.tally().await;
    assert_eq!((tally["ledger entries"], tally.get("charges settled")), (0, None));
    assert_eq!(
        (stage.payment(&payment).await, stage.user("user-1").await),
        before
    );
    let amount = look::row(&stage.admin, "disputes", "received->>'amount'", "299").await;
    assert_eq!(
        (&amount["expected"]["amount"], &amount["payment_id"]),
        (&json!(300), &json!(payment))
    );
    assert_eq!(amount["received"]["providerPaymentId"], trade_no(&order));
    stage
        .apply(&Ecpay::paid(&order, 300).with("TradeNo", "26RIGHT").signed())
        .await;
    assert_eq!(
        stage.payment(&payment).await["status"],
        "active",
        "a dispute does not stand in the way"
    );
}

#[tokio::test]
async fn pm_4_a_charge_that_belongs_to_another_order_is_a_dispute() {
    let stage = Stage::start().await;
    let (_, first) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let (second_payment, second) = stage.buy("user-2", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&first, 300).signed()).await;
    stage
        .apply(
            &Ecpay::paid(&second, 300)
                .with("TradeNo", &trade_no(&first))
                .signed(),
        )
        .await;
    assert_eq!(stage.count("disputes charge_of_another_order").await, 1);
    assert_eq!(stage.payment(&second_payment).await["status"], "pending");
    assert_eq!(stage.count("ledger transactions").await, 1);
}

#[tokio::test]
async fn pm_8_a_refund_of_another_amount_is_a_dispute() {
    let stage = Stage::start().await;
    let (payment, order) = stage
        .buy("user-1", json!({ "planId": "pro-month", "provider": "payuni" }))
        .await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "1")).await;
    stage.apply(&payuni(&order, 100, "SUCCESS", "5")).await;
    assert_eq!(stage.count("disputes amount_mismatch").await, 1);
    assert_eq!(stage.payment(&payment).await["status"], "active");
}

#[tokio::test]
async fn pm_4_a_provider_that_folds_case_still_finds_the_order() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage
        .apply(
            &Ecpay::paid(&order.to_lowercase(), 300)
                .with("TradeNo", &trade_no(&order))
                .signed(),
        )
        .await;
    assert_eq!(stage.payment(&payment).await["status"], "active");
}

#[tokio::test]
async fn pm_8_a_cancelled_authorisation_of_a_settled_charge_is_for_a_person() {
    let stage = Stage::start().await;
    let (payment, order) = stage
        .buy("user-1", json!({ "planId": "pro-month", "provider": "payuni" }))
        .await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "1")).await;
    let before = (stage.payment(&payment).await, stage.user("user-1").await);
    stage.apply(&payuni(&order, 300, "SUCCESS", "3")).await;
    let dispute = look::row(&stage.admin, "disputes", "kind", "charge_reversed").await;
    assert_eq!(
        (&dispute["payment_id"], &dispute["received"]["providerPaymentId"]),
        (&json!(payment), &json!(trade_no(&order)))
    );
    assert_eq!(
        (stage.payment(&payment).await, stage.user("user-1").await),
        before
    );
    assert_eq!(
        (
            stage.count("ledger transactions").await,
            stage.count("log purchase_failed").await
        ),
        (1, 0)
    );
}

#[tokio::test]
async fn pm_8_a_payment_cancelled_before_it_was_paid_has_failed() {
    let stage = Stage::start().await;
    let (payment, order) = stage
        .buy("user-1", json!({ "planId": "pro-month", "provider": "payuni" }))
        .await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "3")).await;
    assert_eq!(stage.payment(&payment).await["status"], "failed");
    assert_eq!(
        (
            stage.count("disputes charge_reversed").await,
            stage.count("log purchase_failed").await
        ),
        (0, 1)
    );
}

#[tokio::test]
async fn pm_8_a_refusal_after_the_charge_is_for_a_person_and_one_before_it_is_history() {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let refused = |code, at| Ecpay::failed(&order, code, "no", at).signed();
    stage.apply(&refused("10100058", "2026/11/21 10:04:59")).await;
    assert_eq!(
        (
            stage.count("disputes charge_reversed").await,
            stage.count("log purchase_failed").await
        ),
        (0, 1)
    );
    stage.apply(&refused("10100248", "2026/11/21 10:05:01")).await;
    assert_eq!(
        (
            stage.count("disputes charge_reversed").await,
            stage.count("log purchase_failed").await
        ),
        (1, 1)
    );
}
