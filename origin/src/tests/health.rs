//! Configuration faults, liveness, readiness and the figures.

use std::collections::BTreeMap;

use serde_json::json;

use super::notices::Ecpay;
use super::stage::{Call, Stage, settings};
use crate::config::Config;
use crate::db::migrate::migrate;
use crate::testing::TestDatabase;

fn faults(settings: &BTreeMap<String, String>) -> Vec<String> {
    match Config::from_lookup(&|name| settings.get(name).cloned()) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn op_1_every_missing_setting_is_named_at_once() {
    let named = faults(&BTreeMap::new()).join("\n");
    for setting in [
        "DATABASE_URL",
        "HANDOFF_KEY_ID",
        "HANDOFF_KEY",
        "PAYMENT_PROVIDER",
        "PUBLIC_EDGE_URL",
        "APP_RETURN_URL",
    ] {
        assert!(
            named.contains(&format!("{setting}: is not set")),
            "{setting} in {named}"
        );
    }
}

#[test]
fn invariant_8_op_1_every_unusable_setting_is_named_at_once_and_no_value_shown() {
    let mut broken = settings();
    let unusable = [
        ("DATABASE_URL", "secret-mysql://x"),
        ("LISTEN_ADDR", "secret-nowhere"),
        ("HANDOFF_KEY", "secret-short"),
        ("HANDOFF_KEY_PREVIOUS", "secret-previous"),
        ("PAYMENT_PROVIDER", "secret-bank"),
        ("PUBLIC_EDGE_URL", "secret-edge"),
        ("APP_RETURN_URL", "https://user:secret@app.example.tw"),
        ("ECPAY_HASH_KEY", "secret-key"),
        ("ECPAY_BASE_URL", "ftp://secret"),
        ("PAYUNI_HASH_IV", "secret-iv"),
        ("PAYMENT_PENDING_MINUTES", "0"),
        ("USER_CORE_WEBHOOK_URL", "https://core.example.tw/?secret"),
        ("USER_CORE_WEBHOOK_SECRET", "whsec_secret"),
        ("TEST_CLOCK", "secret-maybe"),
        ("SANDBOX_CONTROL_URL", "secret-sandbox"),
        ("RETENTION_DAYS", "6"),
        ("LOG_LEVEL", "secret-loud"),
    ];
    for (name, value) in unusable {
        broken.insert(name.into(), value.into());
    }
    let named = faults(&broken);
    for (name, _) in unusable {
        let expected = if name == "HANDOFF_KEY_PREVIOUS" {
            "HANDOFF_KEY_ID_PREVIOUS"
        } else {
            name
        };
        assert!(
            named
                .iter()
                .any(|fault| fault.starts_with(&format!("{expected}: "))),
            "{name} in {named:?}"
        );
    }
    assert!(!named.concat().contains("secret"), "{named:?}");
    let unique: std::collections::BTreeSet<&String> = named.iter().collect();
    assert_eq!(unique.len(), named.len(), "each once: {named:?}");
}

#[test]
fn ed_4_the_previous_key_of_the_hop_is_as_long_as_the_current_one_must_be() {
    let mut rotating = settings();
    rotating.insert("HANDOFF_KEY_ID_PREVIOUS".into(), "k0".into());
    rotating.insert("HANDOFF_KEY_PREVIOUS".into(), "k".repeat(31));
    assert_eq!(
        faults(&rotating),
        ["HANDOFF_KEY_PREVIOUS: must be at least 32 characters"]
    );
}

#[test]
fn pm_7_the_mock_beside_a_real_provider_is_a_fault() {
    let mut both = settings();
    both.insert("PAYMENT_PROVIDER".into(), "mock".into());
    both.insert(
        "PAYMENT_WEBHOOK_SECRET".into(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
    );
    both.insert("MOCK_BASE_URL".into(), "http://127.0.0.1:1/mock".into());
    let named = faults(&both);
    assert!(
        named.iter().any(|fault| fault.starts_with("PAYMENT_PROVIDER: ")),
        "{named:?}"
    );
}

#[test]
fn op_1_a_previous_secret_of_a_receiver_is_checked_like_the_current_one() {
    let mut rotating = settings();
    rotating.insert("USER_CORE_WEBHOOK_URL".into(), "http://127.0.0.1:1/hook".into());
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    rotating.insert("USER_CORE_WEBHOOK_SECRET".into(), secret.into());
    rotating.insert("USER_CORE_WEBHOOK_SECRET_PREVIOUS".into(), secret.into());
    let receiver = super::stage::config(&rotating).user_core.unwrap();
    assert!(receiver.key_base64_previous.is_some());
    rotating.insert("USER_CORE_WEBHOOK_SECRET_PREVIOUS".into(), "whsec_short".into());
    assert_eq!(
        faults(&rotating),
        ["USER_CORE_WEBHOOK_SECRET_PREVIOUS: must be whsec_ and the base64 of 24 to 64 bytes"]
    );
}

#[test]
fn op_1_the_example_settings_name_every_setting_that_is_read() {
    let example = include_str!("../../../.env.example");
    for name in settings().keys().chain(&[
        "TEST_CLOCK".to_owned(),
        "SANDBOX_CONTROL_URL".into(),
        "RETENTION_DAYS".into(),
        "LOG_LEVEL".into(),
        "USER_CORE_WEBHOOK_SECRET".into(),
        "SUBSCRIPTION_WEBHOOK_URL".into(),
        "SUBSCRIPTION_WEBHOOK_SECRET".into(),
        "SUBSCRIPTION_WEBHOOK_SECRET_PREVIOUS".into(),
        "SMTP_URL".into(),
        "MAIL_FROM".into(),
        "MANAGE_URL".into(),
    ]) {
        assert!(
            example.contains(&format!("{name}=")),
            "{name} is not in .env.example"
        );
    }
}

#[tokio::test]
async fn op_1_ready_only_once_the_database_is_migrated() {
    let empty = TestDatabase::create_empty().await;
    let mut settings = settings();
    settings.insert("DATABASE_URL".into(), empty.url());
    migrate_roles(&empty).await;
    let stage = Stage::on(empty, settings).await;
    let not_ready = stage.send("GET", "/health/ready", &[], Vec::new()).await;
    assert_eq!((not_ready.status, not_ready.problem()), (503, "not-ready"));
    assert!(
        not_ready.body["detail"]
            .as_str()
            .unwrap()
            .contains("tollgate migrate"),
        "{not_ready:?}"
    );
    assert_eq!(
        stage.send("GET", "/health/live", &[], Vec::new()).await.status,
        200
    );
    migrate(&stage.database_url()).await.unwrap();
    assert_eq!(
        stage.send("GET", "/health/ready", &[], Vec::new()).await.status,
        200
    );
}

/// Roles belong to the server: another database's migration makes them, so that connecting works at all.
async fn migrate_roles(_empty: &TestDatabase) {
    let elsewhere = TestDatabase::create().await;
    migrate(&elsewhere.url()).await.unwrap();
}

#[tokio::test]
async fn op_1_alive_but_not_ready_without_a_database() {
    let test_database = TestDatabase::create().await;
    let mut unreachable = settings();
    unreachable.insert("DATABASE_URL".into(), test_database.url());
    let stage = Stage::on(test_database, unreachable).await;
    stage.origin.database.close();
    assert_eq!(
        stage.send("GET", "/health/live", &[], Vec::new()).await.status,
        200
    );
    let not_ready = stage.send("GET", "/health/ready", &[], Vec::new()).await;
    assert_eq!(
        (not_ready.status, &not_ready.body["detail"]),
        (503, &json!("The database is not reachable."))
    );
    let kept_at_the_edge = stage.forward(&Ecpay::paid("T1", 300).signed()).await;
    assert_eq!(
        (kept_at_the_edge.status, kept_at_the_edge.problem()),
        (503, "unavailable"),
        "ed_5"
    );
    let status = stage.status("user-1", super::stage::DELIVERY).await;
    assert_eq!((status.status, status.problem()), (503, "unavailable"));
}

#[tokio::test]
async fn ec_7_health_counts_the_last_24_hours() {
    let stage = Stage::start().await;
    let health = async || {
        let path = "/internal/v1/webhooks/health";
        stage
            .call(Call {
                method: "GET",
                path,
                subject: "",
                headers: Vec::new(),
                body: Vec::new(),
            })
            .await
            .body
    };
    assert_eq!(health().await["total_webhooks_24h"], 0);
    for (kind, figures) in [("mail", (0, 1, "ok")), ("user_core", (1, 1, "degraded"))] {
        let dead = format!(
            "insert into tollgate.outbox (id, operation_key, kind, payload, attempts_max, created_at, status, last_error, \
             dead_at) values (gen_random_uuid(), '{kind}', '{kind}', '{{}}', 1, '2026-01-01', 'dead', 'no', '2026-01-01')"
        );
        stage.admin.batch_execute(&dead).await.unwrap();
        let told = health().await;
        let (outbox, mail, status) = figures;
        assert_eq!(
            (&told["outbox_dead"], &told["mail_dead"], &told["status"]),
            (&json!(outbox), &json!(mail), &json!(status))
        );
    }
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    crate::db::look::break_table(&stage.admin, "disputes").await;
    stage.forward(&Ecpay::paid("T0NOTOURS", 300).signed()).await;
    let figures = health().await;
    assert_eq!(
        (&figures["total_webhooks_24h"], &figures["failed_webhooks_24h"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        (&figures["success_rate_24h"], &figures["status"]),
        (&json!(50.0), &json!("degraded"))
    );
    assert_eq!((&figures["pending"], &figures["dead"]), (&json!(1), &json!(0)));
    stage.clock.advance(std::time::Duration::from_secs(24 * 3600 + 1));
    let later = health().await;
    assert_eq!(
        (&later["total_webhooks_24h"], &later["pending"]),
        (&json!(0), &json!(1))
    );
}
