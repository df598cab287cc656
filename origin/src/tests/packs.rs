//! Token packs: plans that sell tokens, from `tollgate plan put` to the company's balance (TB-1, PM-4).

use serde_json::{Value, json};
use tollgate_shared::secret::Secret;

use super::notices::{Ecpay, PAYUNI, payuni, trade_no};
use super::purchases::join_all;
use super::stage::Stage;
use crate::clock::Clock as _;
use crate::commands::{self, CommandError, PlanArguments, PlanArgumentsKind, upkeep};
use crate::db::tokens::{self, BucketKind, Deduction, Grant};
use crate::db::{Tx, ledger, look, payments};
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
        limits: std::collections::BTreeMap::new(),
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
        period_date: None,
        first_amount_minor: None,
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

/// Purchased tokens of a company; null where it never had any.
async fn purchased(stage: &Stage, company: &str) -> Value {
    let rows = look::rows(&stage.admin, "company_subscriptions").await;
    let found = rows.iter().find(|row| row["company_id"] == company);
    found.map_or(Value::Null, |row| row["purchased_balance"].clone())
}

async fn put_into(stage: &Stage, user: &str, company: &str) {
    let url = Secret::new(stage.database_url());
    upkeep::company_put(&url, &user.parse().unwrap(), &company.parse().unwrap())
        .await
        .unwrap();
}

async fn deduct(stage: &Stage, company: &str, amount: i64) {
    let now = stage.clock.now();
    let deduction = &Deduction {
        key: format!("article-of-{company}").parse().unwrap(),
        company: company.parse().unwrap(),
        article: "article-1".parse().unwrap(),
        amount: TokenAmount::new(amount).unwrap(),
        metadata: None,
    };
    let run = |tx: Tx| async move { tokens::deduct(&tx, deduction, now).await };
    assert!(stage.origin.database.run_tx("test", run).await.unwrap().success);
}

/// As a team's backend grants by the service API.
async fn grant(stage: &Stage, key: String, company: &str, amount: i64) {
    let now = stage.clock.now();
    let grant = &Grant {
        key: key.parse().unwrap(),
        company: company.parse().unwrap(),
        kind: BucketKind::Purchased,
        amount: TokenAmount::new(amount).unwrap(),
        priority: 100,
        expires_at: None,
    };
    let run = |tx: Tx| async move { tokens::grant(&tx, grant, now).await };
    stage.origin.database.run_tx("test", run).await.unwrap();
}

/// The pack of a user, bought at PAYUNi, which tells of refunds; its order number.
async fn bought(stage: &Stage, user: &str) -> String {
    let (_, order) = stage
        .buy(user, json!({ "planId": "pack", "provider": "payuni" }))
        .await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "1")).await;
    order
}

#[tokio::test]
async fn tb_1_pm_4_a_paid_pack_gives_its_tokens_once_and_may_be_bought_again_at_once() {
    let stage = Stage::start().await;
    let (_, plan) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&plan, 300).signed()).await;
    let before = stage.user("user-1").await;
    for (round, tokens) in [(1, 1_000), (2, 2_000)] {
        let (payment, order) = stage.buy("user-1", json!({ "planId": "pack" })).await;
        let paid = Ecpay::paid(&order, 300).with("PaymentDate", "2026/11/21 10:06:00");
        stage.apply(&paid.signed()).await;
        assert_eq!(purchased(&stage, "user-1").await, tokens, "round {round}");
        let told = Ecpay::paid(&order, 300).with("RtnMsg", "paid, once more");
        stage.apply(&told.signed()).await;
        assert_eq!(
            purchased(&stage, "user-1").await,
            tokens,
            "told again in round {round}"
        );
        assert_eq!(stage.payment(&payment).await["status"], "active");
        assert_eq!(stage.count("log tokens_granted").await, round);
    }
    let after = stage.user("user-1").await;
    for column in [
        "payment_status",
        "subscription_type",
        "subscription_expires_at",
        "auto_renew",
    ] {
        assert_eq!(after[column], before[column], "{column}");
    }
    let tally = stage.tally().await;
    assert_eq!(
        (
            tally["ledger faults"],
            tally["token faults"],
            tally["buckets open"]
        ),
        (0, 0, 2)
    );
    let logged = look::rows(&stage.admin, "event_log").await;
    let line = logged
        .iter()
        .find(|line| line["event_type"] == "tokens_granted")
        .unwrap();
    assert_eq!(line["details"], json!({ "companyId": "user-1", "tokens": 1_000 }));
    assert_eq!(
        (&line["plan_id"], &line["delivery_id"]),
        (&json!("pack"), &json!(super::stage::DELIVERY))
    );
}

#[tokio::test]
async fn tb_1_a_pack_alone_makes_its_buyer_active_without_a_subscription() {
    let stage = Stage::start().await;
    let order = bought(&stage, "user-1").await;
    let user = stage.user("user-1").await;
    assert_eq!(
        (
            &user["payment_status"],
            &user["subscription_type"],
            &user["subscription_expires_at"]
        ),
        (&json!("active"), &json!(null), &json!(null))
    );
    assert_eq!(user["last_payment_reference"], trade_no(&order));
}

#[tokio::test]
async fn tb_1_a_member_buys_for_the_company_and_leaving_it_does_not_move_the_tokens() {
    let stage = Stage::start().await;
    put_into(&stage, "auth0|17", "acme").await;
    let order = bought(&stage, "auth0|17").await;
    assert_eq!(purchased(&stage, "acme").await, 1_000);
    put_into(&stage, "auth0|17", "other").await;
    bought(&stage, "auth0|17").await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "5")).await;
    assert_eq!(
        (purchased(&stage, "acme").await, purchased(&stage, "other").await),
        (json!(0), json!(1_000))
    );
    assert_eq!(stage.count("token faults").await, 0);
}

#[tokio::test]
async fn tb_1_pm_8_an_unspent_pack_that_is_paid_back_takes_its_tokens_back() {
    let stage = Stage::start().await;
    let first = bought(&stage, "user-1").await;
    bought(&stage, "user-1").await;
    stage.apply(&payuni(&first, 300, "SUCCESS", "5")).await;
    assert_eq!(purchased(&stage, "user-1").await, 1_000, "the other pack stays");
    let tally = stage.tally().await;
    assert_eq!(
        (
            tally["buckets open"],
            tally["buckets revoked"],
            tally["log tokens_revoked"]
        ),
        (1, 1, 1)
    );
    assert_eq!(
        (tally["ledger faults"], tally["token faults"], tally["ledger sum"]),
        (0, 0, 0)
    );
    assert!(look::rows(&stage.admin, "disputes").await.is_empty());
    // The same charge told as paid once more, and as paid back once more, in other words.
    for notice in [
        Ecpay::paid(&first, 300).signed(),
        payuni(&first, 300, "SUCCESS", "1"),
        payuni(&first, 300, "SUCCESS", "5"),
    ] {
        stage.apply(&notice).await;
        assert_eq!(purchased(&stage, "user-1").await, 1_000, "{notice:?}");
    }
}

#[tokio::test]
async fn tb_1_pm_8_what_was_spent_of_a_pack_that_is_paid_back_is_for_a_person() {
    let stage = Stage::start().await;
    let order = bought(&stage, "user-1").await;
    deduct(&stage, "user-1", 300).await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "5")).await;
    assert_eq!(purchased(&stage, "user-1").await, 0);
    let told = json!({ "companyId": "user-1", "tokens": 1_000, "takenBack": 700, "spent": 300, "held": 0 });
    let dispute = look::row(&stage.admin, "disputes", "kind", "refunded_tokens_spent").await;
    assert_eq!(
        (&dispute["received"], &dispute["expected"]["tokens"]),
        (&told, &json!(1_000))
    );
    let line = look::row(&stage.admin, "event_log", "event_type", "tokens_revoked").await;
    assert_eq!(line["details"], told);
    let tally = stage.tally().await;
    assert_eq!(
        (tally["charges refunded"], tally["payments refunded"]),
        (1, 1),
        "money is booked"
    );
    assert_eq!((tally["ledger faults"], tally["token faults"]), (0, 0));
}

#[tokio::test]
async fn tb_1_pm_8_a_pack_paid_back_before_it_was_paid_gives_nothing() {
    let stage = Stage::start().await;
    let (payment, order) = stage
        .buy("user-1", json!({ "planId": "pack", "provider": "payuni" }))
        .await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "5")).await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "1")).await;
    assert_eq!(purchased(&stage, "user-1").await, 0);
    assert_eq!(stage.payment(&payment).await["status"], "refunded");
    let tally = stage.tally().await;
    assert_eq!((tally["log tokens_granted"], tally["log tokens_revoked"]), (1, 1));
    assert_eq!(
        (
            tally["buckets revoked"],
            tally["token faults"],
            tally["ledger faults"]
        ),
        (1, 0, 0)
    );
    assert!(look::rows(&stage.admin, "disputes").await.is_empty());
}

#[tokio::test]
async fn tb_1_pm_3_a_pack_is_not_sold_to_a_user_without_a_company() {
    let stage = Stage::start().await;
    let before = stage.tally().await;
    let refused = stage
        .checkout("auth0|17", "key-1", json!({ "planId": "pack" }))
        .await;
    assert_eq!((refused.status, refused.problem()), (409, "no-company"));
    assert_eq!(stage.tally().await, before, "nothing is written");
    let other = stage
        .checkout("auth0|17", "key-1", json!({ "planId": "pro-month" }))
        .await;
    assert_eq!(other.status, 201, "what is no pack needs no company");
    put_into(&stage, "auth0|17", "acme").await;
    let sold = stage
        .checkout("auth0|17", "key-2", json!({ "planId": "pack" }))
        .await;
    assert_eq!(sold.status, 201, "{sold:?}");
}

#[tokio::test]
async fn tb_1_pm_4_money_is_booked_although_the_tokens_have_nowhere_to_go() {
    let stage = Stage::start().await;
    put_into(&stage, "auth0|17", "acme").await;
    let (payment, order) = stage
        .buy("auth0|17", json!({ "planId": "pack", "provider": "payuni" }))
        .await;
    stage
        .admin
        .execute("delete from tollgate.company_members", &[])
        .await
        .unwrap();
    stage.apply(&payuni(&order, 300, "SUCCESS", "1")).await;
    assert_eq!(stage.payment(&payment).await["status"], "active");
    let dispute = look::row(&stage.admin, "disputes", "kind", "tokens_not_granted").await;
    assert_eq!(
        (&dispute["payment_id"], &dispute["received"]["reason"]),
        (&json!(payment), &json!("the user is in no company"))
    );
    stage.apply(&payuni(&order, 300, "SUCCESS", "5")).await;
    let tally = stage.tally().await;
    assert_eq!(
        (
            tally["payments refunded"],
            tally["ledger entries"],
            tally["ledger sum"]
        ),
        (1, 4, 0)
    );
    assert_eq!(
        look::rows(&stage.admin, "disputes").await.len(),
        1,
        "there is nothing to take back"
    );
}

#[tokio::test]
async fn tb_1_a_grant_that_took_the_charges_key_is_replayed_or_for_a_person() {
    let stage = Stage::start().await;
    for (user, tokens_before, disputed) in [("user-1", 1_000, 0), ("user-2", 5, 1)] {
        let (payment, order) = stage
            .buy(user, json!({ "planId": "pack", "provider": "payuni" }))
            .await;
        let key = format!("settle:payuni:{}:{}", PAYUNI[0], trade_no(&order));
        grant(&stage, key, user, tokens_before).await;
        stage.apply(&payuni(&order, 300, "SUCCESS", "1")).await;
        assert_eq!(purchased(&stage, user).await, tokens_before, "{user}");
        assert_eq!(stage.payment(&payment).await["status"], "active");
        assert_eq!(
            stage.count("disputes tokens_not_granted").await,
            disputed,
            "{user}"
        );
    }
    assert_eq!(stage.count("ledger faults").await, 0);
}

#[tokio::test]
async fn tb_1_the_entries_of_a_payment_show_its_tokens_coming_and_going() {
    let stage = Stage::start().await;
    let order = bought(&stage, "user-1").await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "5")).await;
    let id = look::row(&stage.admin, "payments", "order_number", &order).await["id"].clone();
    let payment = id.as_str().unwrap().parse().unwrap();
    let read = |tx: Tx| async move {
        let keys = payments::operation_keys(&tx, payment).await?;
        ledger::entries_of(&tx, &keys).await
    };
    let entries = stage.origin.database.run_tx("test", read).await.unwrap();
    let mut kinds: Vec<(String, i64)> = entries
        .iter()
        .map(|entry| {
            (
                format!("{} {}", entry.transaction_kind, entry.account_kind),
                entry.amount.get(),
            )
        })
        .collect();
    kinds.sort();
    let expected = [
        ("refund provider_clearing:payuni", -300),
        ("refund sales", 300),
        ("settle provider_clearing:payuni", 300),
        ("settle sales", -300),
        ("token_grant token_issued", -1_000),
        ("token_grant token_purchased", 1_000),
        ("token_revoke token_issued", 1_000),
        ("token_revoke token_purchased", -1_000),
    ];
    assert_eq!(kinds, expected.map(|(kind, amount)| (kind.to_owned(), amount)));
}

/// Two colleagues buy, refund and spend at once: locks are taken in one order, so everything ends, and ends right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_1_colleagues_who_buy_and_spend_at_once_keep_the_books() {
    let stage = Stage::start().await;
    let mut notices = Vec::new();
    for number in 0..6 {
        let user = format!("user-{}", number % 2);
        put_into(&stage, &user, "acme").await;
        let (_, order) = stage
            .buy(&user, json!({ "planId": "pack", "provider": "payuni" }))
            .await;
        notices.push(payuni(&order, 300, "SUCCESS", "1"));
        if number < 3 {
            notices.push(payuni(&order, 300, "SUCCESS", "5"));
        }
    }
    grant(&stage, "before".to_owned(), "acme", 500).await;
    let applying = join_all(notices.iter().map(|notice| stage.forward(notice)));
    let (answers, ()) = tokio::join!(applying, deduct(&stage, "acme", 400));
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    stage.drain().await;
    let tally = stage.tally().await;
    assert_eq!((tally["charges settled"], tally["charges refunded"]), (3, 3));
    assert_eq!((tally["token faults"], tally["ledger faults"]), (0, 0));
    let issued = "select -balance from tollgate.ledger_account where kind = 'token_issued'";
    let used = "select balance from tollgate.ledger_account where kind = 'token_used'";
    let figure = async |sql: &str| -> i64 { stage.admin.query_one(sql, &[]).await.unwrap().get(0) };
    assert_eq!(figure(used).await, 400);
    assert_eq!(purchased(&stage, "acme").await, figure(issued).await - 400);
}

/// As `OPERATIONS.md` says to settle the dispute.
#[tokio::test]
async fn tb_1_tokens_that_a_person_gives_later_are_taken_back_by_the_refund() {
    let stage = Stage::start().await;
    put_into(&stage, "auth0|17", "acme").await;
    let (_, order) = stage
        .buy("auth0|17", json!({ "planId": "pack", "provider": "payuni" }))
        .await;
    let leave = "delete from tollgate.company_members";
    stage.admin.execute(leave, &[]).await.unwrap();
    stage.apply(&payuni(&order, 300, "SUCCESS", "1")).await;
    let dispute = look::row(&stage.admin, "disputes", "kind", "tokens_not_granted").await;
    let key = dispute["received"]["idempotencyKey"].as_str().unwrap();
    grant(&stage, key.to_owned(), "acme", 1_000).await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "5")).await;
    assert_eq!(purchased(&stage, "acme").await, 0);
    assert_eq!(stage.count("log tokens_revoked").await, 1);
}
