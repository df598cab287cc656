//! What only the inside of checkout shows: a taken order number, and PAYUNi's schedules.

use serde_json::json;
use tollgate_shared::id::OrderNumber;

use super::{Call, PlaceError, place_as};
use crate::clock::Clock as _;
use crate::tests::stage::{DELIVERY, Stage};

fn call(stage: &Stage, user: &str) -> Call {
    Call {
        user: user.parse().unwrap(),
        key: "key-1".to_owned(),
        request: serde_json::from_value(json!({ "planId": "pro-month" })).unwrap(),
        delivery: DELIVERY.parse().unwrap(),
        now: stage.clock.now(),
    }
}

#[tokio::test]
async fn pm_3_an_order_number_is_given_once() {
    let stage = Stage::start().await;
    let number: OrderNumber = "T01TAKEN".parse().unwrap();
    place_as(&stage.origin, &call(&stage, "user-1"), number.clone())
        .await
        .unwrap();
    let before = stage.tally().await;
    let taken = place_as(&stage.origin, &call(&stage, "user-2"), number).await;
    assert!(matches!(taken, Err(PlaceError::OrderNumberTaken)), "{taken:?}");
    assert_eq!(stage.tally().await, before);
    place_as(&stage.origin, &call(&stage, "user-2"), "T02FREE".parse().unwrap())
        .await
        .unwrap();
}
