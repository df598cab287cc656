//! The routes of a change of plan: the browser's over the hop, a backend's with a service key.

use serde_json::{Value, json};

use super::{DAY, at_ecpay, everything, put_plans};
use crate::tests::stage::{Answer, Call, Stage};

async fn stage() -> (Stage, String) {
    let stage = Stage::start().await;
    put_plans(&stage).await;
    let id = at_ecpay(&stage, "u1").await;
    stage.clock.advance(DAY * 15);
    (stage, id)
}

async fn post(stage: &Stage, user: &str, path: &str, body: &Value) -> Answer {
    stage
        .call(Call {
            method: "POST",
            path: &format!("/internal/v1/subscriptions/{path}"),
            subject: user,
            headers: vec![("content-type", "application/json")],
            body: body.to_string().into_bytes(),
        })
        .await
}

#[tokio::test]
async fn pm_8_a_browser_previews_and_changes_its_own_subscription() {
    let (stage, id) = stage().await;
    let path = format!("{id}/change-plan/preview");
    let told = post(&stage, "u1", &path, &json!({ "planId": "max-monthly" })).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(told.body["way"], "new_contract");
    assert_eq!(
        (&told.body["creditMinor"], &told.body["dueMinor"]),
        (&json!(140), &json!(900))
    );
    assert_eq!(
        (&told.body["refundMinor"], &told.body["currency"]),
        (&json!(140), &json!("TWD"))
    );
    let change = format!("{id}/change-plan");
    let wish = json!({ "planId": "basic-monthly", "idempotencyKey": "k-1", "dueMinor": 0 });
    let changed = post(&stage, "u1", &change, &wish).await;
    assert_eq!(
        (changed.status, &changed.body["nextPlanId"]),
        (200, &json!("basic-monthly"))
    );
    let before = everything(&stage).await;
    let again = post(&stage, "u1", &change, &wish).await;
    assert_eq!(
        (again.status, &again.body["nextPlanId"]),
        (200, &json!("basic-monthly"))
    );
    assert_eq!(everything(&stage).await, before);
}

/// Path after the subscription, body, status and problem. ID in a path is the subscription's.
const REFUSED: &str = r#"
u1 | ID/change-plan/preview | {} | 400 malformed-body
u1 | ID/change-plan/preview | {"planId":7} | 400 malformed-body
u1 | ID/change-plan/preview | {"planId":"max-monthly","userId":"u2"} | 400 malformed-body
u1 | ID/change-plan/preview | {"planId":"nowhere"} | 404 unknown-plan
u1 | ID/change-plan/preview | {"planId":"pro-monthly"} | 409 plan-not-possible
u1 | ID/change-plan/preview | {"planId":"pack"} | 409 plan-not-possible
u1 | x/change-plan/preview  | {"planId":"max-monthly"} | 404 unknown-subscription
u2 | ID/change-plan/preview | {"planId":"max-monthly"} | 404 unknown-subscription
u1 | ID/change-plan         | {"planId":"max-monthly"} | 400 malformed-body
u1 | ID/change-plan         | {"planId":"max-monthly","idempotencyKey":"k","due":1} | 400 malformed-body
u1 | ID/change-plan         | {"planId":"max-monthly","idempotencyKey":"k"} | 409 new-contract-needed
u1 | ID/change-plan         | {"planId":"basic-monthly","idempotencyKey":"k","dueMinor":1} | 409 due-changed
u2 | ID/change-plan         | {"planId":"basic-monthly","idempotencyKey":"k"} | 404 unknown-subscription
 - | ID/change-plan         | {"planId":"basic-monthly","idempotencyKey":"k"} | 401 session-required
"#;

#[tokio::test]
async fn pm_8_bad_wishes_are_refused_and_write_nothing() {
    let (stage, id) = stage().await;
    let before = everything(&stage).await;
    let mut count = 0;
    for line in REFUSED.lines().filter(|line| !line.is_empty()) {
        let cells: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let [user, path, body, expected] = cells[..] else {
            panic!("{line}")
        };
        let user = if user == "-" { "" } else { user };
        let body = serde_json::from_str(body).unwrap();
        let refused = post(&stage, user, &path.replace("ID", &id), &body).await;
        assert_eq!(
            format!("{} {}", refused.status, refused.problem()),
            expected,
            "{line}"
        );
        count += 1;
    }
    assert_eq!(count, 14);
    assert_eq!(everything(&stage).await, before);
}
