//! A sweep meets what it cannot work on: it is put off, and holds up nobody else (invariant 7).

use serde_json::json;

use super::notices::Ecpay;
use super::stage::Stage;
use crate::subscriptions::sweep;

/// Lets every change of this user's row fail.
const BREAK_U1: &str = "
    create function tollgate.refuse_u1() returns trigger language plpgsql as $$ begin raise exception 'broken'; end $$;
    create trigger refuse_u1 before update on tollgate.users for each row when (old.id = 'u1')
        execute function tollgate.refuse_u1();";

#[tokio::test]
async fn ec_4_a_user_who_cannot_be_recomputed_holds_up_no_other() {
    let stage = Stage::start().await;
    for user in ["u1", "u2"] {
        let (_, order) = stage.buy(user, json!({ "planId": "pro-monthly" })).await;
        stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    }
    // Both were paid back, and both are due.
    let due = "update tollgate.subscription_payments set status = 'refunded'; \
               update tollgate.saas_subscriptions set next_due_at = 'epoch'";
    stage.admin.batch_execute(due).await.unwrap();
    stage.admin.batch_execute(BREAK_U1).await.unwrap();
    let swept = sweep(&stage.origin, 10).await.unwrap();
    assert_eq!(swept.claimed, 2);
    assert!(stage.user("u2").await["subscription_type"].is_null());
    assert_eq!(stage.user("u1").await["subscription_type"], "pro");
    let mended = "drop trigger refuse_u1 on tollgate.users";
    stage.admin.batch_execute(mended).await.unwrap();
    assert_eq!(
        sweep(&stage.origin, 10).await.unwrap().claimed,
        0,
        "it is put off"
    );
    stage.clock.advance(std::time::Duration::from_mins(15));
    assert_eq!(sweep(&stage.origin, 10).await.unwrap().claimed, 1);
    assert!(stage.user("u1").await["subscription_type"].is_null());
}
