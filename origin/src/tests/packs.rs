//! Token packs: plans that sell tokens, from `tollgate plan put` to the company's balance (TB-1, PM-4).

use serde_json::json;
use tollgate_shared::secret::Secret;

use super::stage::Stage;
use crate::commands::{self, CommandError, PlanArguments, PlanArgumentsKind};
use crate::db::look;
use crate::domain::tokens::TokenAmount;

/// What `tollgate plan put --tokens …` does.
async fn put(
    stage: &Stage,
    id: &str,
    (tokens, subscription_type): (Option<i64>, Option<&str>),
    kind: PlanArgumentsKind,
) -> Result<(), CommandError> {
    let arguments = PlanArguments {
        id: id.parse().unwrap(),
        name: "A thousand tokens".into(),
        amount_minor: 300,
        subscription_type: subscription_type.map(str::to_owned),
        tokens: tokens.map(|tokens| TokenAmount::new(tokens).unwrap()),
        kind,
    };
    commands::plan_put(&Secret::new(stage.database_url()), arguments).await
}

fn once(duration_days: Option<u16>) -> PlanArgumentsKind {
    PlanArgumentsKind::OneTime { duration_days }
}

fn monthly() -> PlanArgumentsKind {
    PlanArgumentsKind::Subscription {
        period_type: "month".into(),
        frequency: 1,
        times: 12,
        first_charge: "build".into(),
    }
}

#[tokio::test]
async fn tb_1_a_plan_sells_tokens_or_a_subscription_and_never_both() {
    let stage = Stage::start().await;
    put(&stage, "ten", (Some(10), None), once(None)).await.unwrap();
    let row = look::row(&stage.admin, "plans", "id", "ten").await;
    assert_eq!(
        (&row["kind"], &row["tokens"], &row["subscription_type"]),
        (&json!("one_time"), &json!(10), &json!(null))
    );
    for (tokens, subscription_type, kind) in [
        (Some(10), Some("pro"), once(None)),
        (Some(10), None, once(Some(30))),
        (Some(10), Some("pro"), monthly()),
        (Some(10), None, monthly()),
        (None, None, monthly()),
        (None, None, once(Some(0))),
    ] {
        let refused = put(&stage, "none", (tokens, subscription_type), kind)
            .await
            .unwrap_err();
        assert!(matches!(refused, CommandError::Plan(_)), "{refused}");
    }
    let plans = look::rows(&stage.admin, "plans").await;
    assert!(plans.iter().all(|plan| plan["id"] != "none"), "{plans:?}");
}

#[tokio::test]
async fn tb_1_the_tokens_of_a_pack_with_payments_stay() {
    let stage = Stage::start().await;
    put(&stage, "pack", (Some(999), None), once(None)).await.unwrap();
    stage.buy("user-1", json!({ "planId": "pack" })).await;
    for (tokens, subscription_type) in [(Some(1_000), None), (None, None), (None, Some("pro"))] {
        let refused = put(&stage, "pack", (tokens, subscription_type), once(None)).await;
        assert!(matches!(refused, Err(CommandError::PlanInUse(_))), "{tokens:?}");
    }
    put(&stage, "pack", (Some(999), None), once(None)).await.unwrap();
    assert_eq!(
        look::row(&stage.admin, "plans", "id", "pack").await["tokens"],
        999
    );
}

/// The table refuses what the types cannot hold (a pair assertion).
#[tokio::test]
async fn tb_1_the_table_holds_no_unsound_pack() {
    let stage = Stage::start().await;
    for (set, constraint) in [
        ("tokens = 0", "plans_tokens_range"),
        ("tokens = 1000000000000001", "plans_tokens_range"),
        ("subscription_type = 'pro'", "plans_tokens_alone"),
        ("duration_days = 30", "plans_tokens_alone"),
    ] {
        let sql = format!("update tollgate.plans set {set} where id = 'pack'");
        let refused = stage.admin.execute(&sql, &[]).await.unwrap_err();
        let refused = refused.as_db_error().unwrap();
        assert_eq!(refused.constraint(), Some(constraint), "{set}");
    }
}
