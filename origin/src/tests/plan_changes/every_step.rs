//! A change of plan, made to fail at each of its statements in turn: whole or nothing, and a repeat completes it.

use serde_json::json;

use super::{DAY, at_ecpay, change_on, put_plans};
use crate::Origin;
use crate::tests::every_step;
use crate::tests::every_step_subscriptions::{stored, whole_or_nothing};
use crate::tests::notices::Ecpay;
use crate::tests::provider::FakeProvider;
use crate::tests::stage::Stage;
use crate::tests::stored_cards;

#[tokio::test]
async fn pm_8_the_first_charge_of_a_contract_that_replaces_is_whole_or_nothing_at_every_step() {
    let stage = Stage::start().await;
    put_plans(&stage).await;
    let ready = async |user: String| {
        let old = at_ecpay(&stage, &user).await;
        let body = json!({ "planId": "max-monthly", "replaces": old });
        let (_, order) = stage.buy(&user, body).await;
        Ecpay::paid(&order, 900).signed()
    };
    let whole = every_step::whole_or_nothing(&stage, ready, 45).await;
    for (kind, count) in [
        ("facts replaced", 1),
        ("steps replaced", 1),
        ("refunds requested", 1),
        ("ledger transactions", 1),
        ("subscriptions canceled", 1),
        ("subscriptions pending", -1),
    ] {
        assert_eq!(whole[kind], count, "{kind} of {whole:?}");
    }
}

#[tokio::test]
async fn pm_8_a_wish_for_another_plan_is_whole_or_nothing_at_every_step() {
    for (plan, fact) in [
        ("max-monthly", "facts plan_change_asked"),
        ("basic-monthly", "facts plan_change_scheduled"),
    ] {
        let fake = FakeProvider::start().await;
        let stage = stored_cards::stage(&fake).await;
        put_plans(&stage).await;
        stage.clock.advance(DAY / 24);
        let ready = async |user: String| stored(&stage, &user).await;
        let act =
            async |origin: &Origin, id: &String| change_on(&stage, origin, (id, plan), "wish").await.is_ok();
        let whole = whole_or_nothing(&stage, ready, act, 15).await;
        assert_eq!(whole[fact], 1, "{whole:?}");
        assert!(fake.seen().is_empty(), "a wish calls nobody");
    }
}
