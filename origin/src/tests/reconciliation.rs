//! `reconcile payments --from --to` over contracts and stored cards: every period on both sides (OP-5).

use std::time::Duration;

use serde_json::json;
use tollgate_shared::time::Timestamp;

use super::counterpart::{Bought, Counterpart};
use super::notices::{Ecpay, trade_no};
use super::provider::FakeProvider;
use super::stage::Stage;
use super::stored_cards::{answer, card, charge_status, due, found, not_found};
use crate::clock::Clock as _;
use crate::commands::reconcile::{Difference, Found, Tally, compare, compare_days};
use crate::db::{Tx, look, polls};
use crate::gateway::user_core::Client;

const DAY: Duration = Duration::from_hours(24);

async fn reconcile(world: &Counterpart, bought: &Bought) -> Vec<Found> {
    let row = world.row(bought.order.split('/').nth(1).unwrap()).await;
    let id = row["payment_id"].as_str().unwrap().parse().unwrap();
    let find = |tx: Tx| async move { polls::find(&tx, id).await };
    let origin = &world.stage.origin;
    let payment = origin.database.run_tx("find", find).await.unwrap().unwrap();
    compare(origin, &Client::new().unwrap(), &payment).await.unwrap()
}

/// The day that began so many days ago, and no other.
async fn day(stage: &Stage, days_ago: i64) -> Tally {
    let now = stage.clock.now().unix_ms();
    let end = Timestamp::from_unix_ms(now - days_ago * 86_400_000);
    let start = Timestamp::from_unix_ms(end.unix_ms() - 86_400_000);
    let client = Client::new().unwrap();
    compare_days(&stage.origin, &client, (start, end)).await.unwrap()
}

fn told(found: &[Found]) -> Vec<(Difference, Option<&str>)> {
    found
        .iter()
        .map(|found| (found.difference, found.charge.as_deref()))
        .collect()
}

#[tokio::test]
async fn op_5_a_period_of_which_nobody_told_is_recovered_by_reconciling() {
    for provider in ["ecpay", "payuni"] {
        let world = Counterpart::start().await;
        let bought = world.subscribe(provider).await;
        assert_eq!(told(&reconcile(&world, &bought).await), []);
        world.pass(DAY * 32).await;
        assert_eq!(world.view(bought.id).await.periods_paid, 1);
        let found = reconcile(&world, &bought).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].difference, Difference::Recovered);
        let number = found[0].charge.clone().unwrap();
        let row = look::row(
            &world.stage.admin,
            "payment_charges",
            "provider_payment_id",
            &number,
        )
        .await;
        assert_eq!(row["period_number"], 2, "{provider}");
        assert_eq!(world.view(bought.id).await.periods_paid, 2);
        assert_eq!(told(&reconcile(&world, &bought).await), [], "{provider}");
        assert_eq!(world.stage.count("ledger faults").await, 0);
    }
}

#[tokio::test]
async fn op_5_a_period_that_only_we_know_of_is_told_and_left_to_a_person() {
    let world = Counterpart::start().await;
    let bought = world.subscribe("ecpay").await;
    let number = bought.order.split('/').nth(1).unwrap();
    let at = world.stage.clock.now().to_taipei("%Y/%m/%d %H:%M:%S").unwrap();
    let only_here = Ecpay::period(number, 300, "424242", &at, 2);
    world.stage.apply(&only_here.signed()).await;
    let before = world.stage.tally().await;
    let found = reconcile(&world, &bought).await;
    assert_eq!(told(&found), [(Difference::NotPaidThere, Some("424242"))]);
    assert_eq!(world.stage.tally().await, before, "nothing is written");
}

#[tokio::test]
async fn op_5_a_contract_whose_number_is_not_known_is_told() {
    let world = Counterpart::start().await;
    let bought = world.subscribe("payuni").await;
    let forget = "update tollgate.saas_subscriptions set contract_number = null";
    world.stage.admin.execute(forget, &[]).await.unwrap();
    let found = reconcile(&world, &bought).await;
    assert_eq!(told(&found), [(Difference::NotAsked, None)]);
    let reason = found[0].reason.clone().unwrap();
    assert!(reason.contains("number of the contract is not known"), "{reason}");
}

#[tokio::test]
async fn op_5_a_day_takes_in_the_periods_of_contracts_that_are_older() {
    let world = Counterpart::start().await;
    world.subscribe("ecpay").await;
    world.pass(DAY * 5).await;
    let of = |asked, differences| Tally { asked, differences };
    assert_eq!(day(&world.stage, 0).await, of(1, 0), "retries may lie on the day");
    world.pass(DAY * 10).await;
    assert_eq!(day(&world.stage, 0).await, of(0, 0), "nothing was due");
    world.pass(DAY * 16).await;
    assert_eq!(day(&world.stage, 0).await, of(1, 1), "the second period");
    assert_eq!(day(&world.stage, 0).await, of(1, 0));
    assert_eq!(day(&world.stage, 30).await, of(1, 0), "the day of the order");
}

#[tokio::test]
async fn op_5_a_charge_of_a_stored_card_is_compared_by_its_own_number() {
    let fake = FakeProvider::start().await;
    let stage = super::stored_cards::stage(&fake).await;
    let order = due(&stage, &card()).await;
    fake.will([answer(&order, "UNKNOWN", "0")]);
    stage.drain().await;
    assert_eq!(charge_status(&stage, &order).await, "unknown");
    let of = |asked, differences| Tally { asked, differences };
    fake.will([not_found()]);
    assert_eq!(day(&stage, -1).await, of(1, 0), "neither side knows of money");
    fake.will([found(&order)]);
    assert_eq!(day(&stage, -1).await, of(1, 1), "recovered");
    assert_eq!(charge_status(&stage, &order).await, "paid");
    fake.will([found(&order)]);
    assert_eq!(day(&stage, -1).await, of(1, 0));
    fake.will([not_found()]);
    assert_eq!(day(&stage, -1).await, of(1, 1), "paid here only");
    let asked: Vec<_> = fake
        .seen()
        .into_iter()
        .filter(|seen| seen.path == "/api/trade/query")
        .collect();
    assert!(
        asked.iter().all(|seen| seen.fields["MerTradeNo"] == order),
        "{asked:?}"
    );
    assert_eq!(stage.count("ledger faults").await, 0);
    assert_eq!(
        json!(trade_no(&order)),
        look::rows(&stage.admin, "payment_charges").await[1]["provider_payment_id"]
    );
}
