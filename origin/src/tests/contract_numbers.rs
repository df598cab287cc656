//! A contract at PAYUNi whose first notice was lost: charged, booked, and without the number that everything else goes by, until
//! an operator tells it (OP-4, OP-5).

use std::time::Duration;

use serde_json::json;
use tollgate_shared::id::ProviderPaymentId;

use super::counterpart::{Bought, Counterpart, Wish};
use crate::commands::subscriptions::{GiveError, give};
use crate::db::look;
use crate::gateway::user_core::Client;
use crate::subscriptions::number::{Given, NumberError};
use crate::subscriptions::{CancelWhen, SubscriptionId};

const DAY: Duration = Duration::from_hours(24);

async fn number(world: &Counterpart, bought: &Bought) -> ProviderPaymentId {
    let contract = world.contract(&bought.order).await;
    contract["periodTradeNo"].as_str().unwrap().parse().unwrap()
}

async fn stored(world: &Counterpart, bought: &Bought) -> serde_json::Value {
    let row = world.row(bought.order.split('/').nth(1).unwrap()).await;
    row["contract_number"].clone()
}

async fn tell(
    world: &Counterpart,
    id: SubscriptionId,
    number: &ProviderPaymentId,
) -> Result<bool, GiveError> {
    let given = &Given {
        subscription: id,
        number,
        actor: "admin:test",
        note: "console",
    };
    give(&world.stage.origin, &Client::new().unwrap(), given).await
}

#[tokio::test]
async fn op_5_a_contract_without_its_number_is_told_and_goes_on_once_somebody_tells_it() {
    let world = Counterpart::start().await;
    let bought = world.subscribe_untold("u1", "payuni").await;
    assert_eq!(
        world.view(bought.id).await.status,
        "active",
        "the charge was found"
    );
    assert_eq!(stored(&world, &bought).await, json!(null));
    assert_eq!(world.stage.count("log subscription_number_missing").await, 1);
    let number = number(&world, &bought).await;
    // The second period is charged; without the number nobody can ask about it.
    world.after(DAY * 32).await;
    assert_eq!(world.view(bought.id).await.periods_paid, 1);
    assert!(tell(&world, bought.id, &number).await.unwrap());
    assert_eq!(stored(&world, &bought).await, json!(number));
    assert_eq!(
        world.view(bought.id).await.periods_paid,
        2,
        "told by the same answer"
    );
    assert!(!tell(&world, bought.id, &number).await.unwrap(), "told twice");
    world
        .ask(bought.id, Wish::Cancel(CancelWhen::Now), "k1")
        .await
        .unwrap();
    // Behind the question that was asked in vain, and is asked again first.
    world.after(DAY).await;
    assert_eq!(world.effects("subscription_poll").await[0], "done");
    assert_eq!(world.effects("subscription_cancel").await, ["done"]);
    let actions = look::rows(&world.stage.admin, "admin_actions").await;
    assert_eq!(actions.len(), 2);
    assert_eq!(actions[0]["action"], "contract_number");
    assert_eq!(
        world.stage.count("log subscription_number_missing").await,
        1,
        "once"
    );
    assert_eq!(world.stage.count("ledger faults").await, 0);
}

#[tokio::test]
async fn op_4_a_number_that_is_not_of_this_order_is_not_stored() {
    let world = Counterpart::start().await;
    let bought = world.subscribe_untold("u1", "payuni").await;
    let other = world.subscribe_untold("u2", "payuni").await;
    let (number, of_other) = (number(&world, &bought).await, number(&world, &other).await);
    let before = world.stage.count("inbox applied").await;
    let refused = tell(&world, bought.id, &of_other).await.unwrap_err();
    assert!(
        matches!(&refused, GiveError::Number(NumberError::OtherOrder(order)) if other.order.ends_with(order.as_str())),
        "{refused}"
    );
    let unknown = "99999999".parse().unwrap();
    let refused = tell(&world, bought.id, &unknown).await.unwrap_err();
    assert!(matches!(refused, GiveError::NotTold(_)), "{refused}");
    let nobody = "01997c5e-0000-7000-8000-00000000abcd".parse().unwrap();
    let refused = tell(&world, nobody, &number).await.unwrap_err();
    assert!(
        matches!(refused, GiveError::Number(NumberError::Unknown)),
        "{refused}"
    );
    assert_eq!(stored(&world, &bought).await, json!(null));
    assert_eq!(world.stage.count("inbox applied").await, before, "nothing is fed");
    assert!(tell(&world, bought.id, &number).await.unwrap());
    let refused = tell(&world, bought.id, &of_other).await.unwrap_err();
    assert!(
        matches!(&refused, GiveError::Number(NumberError::Known(known)) if *known == *number.as_str()),
        "{refused}"
    );
    let actions = look::rows(&world.stage.admin, "admin_actions").await;
    assert_eq!(actions.len(), 5, "every word is on record");
}

#[tokio::test]
async fn op_4_a_contract_at_ecpay_has_no_number_of_its_own() {
    let world = Counterpart::start().await;
    let bought = world.subscribe("ecpay").await;
    assert_eq!(world.stage.count("log subscription_number_missing").await, 0);
    let refused = tell(&world, bought.id, &"12345".parse().unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, GiveError::Number(NumberError::NoContract)),
        "{refused}"
    );
}
