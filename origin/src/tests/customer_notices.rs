//! What customers are told of a subscription (EC-8, PU-6): decided once, sent once, visible.

use std::sync::Arc;
use std::time::Duration;

use mailparse::MailHeaderMap as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tollgate_shared::money::Money;
use uuid::Uuid;

use super::smtp::MailServer;
use super::stage::{Stage, settings};
use super::user_core::{Receiver, SECRET};
use crate::clock::Clock as _;
use crate::db::{DbError, Tx, look, notices as rows, outbox};
use crate::gateway::user_core::Client;
use crate::notices::{self, Locale, Notice, NoticeFacts, NoticeKind, Preferences};
use crate::work::outbox::Lane;

/// The step that most tests tell of.
fn first_failure(stage: &Stage) -> Notice {
    let now = stage.clock.now();
    Notice {
        user: "user-1".parse().unwrap(),
        subscription: Some(Uuid::from_u128(1)),
        operation_key: "subscription-1:first_failure:2".to_owned(),
        kind: NoticeKind::FirstFailure,
        facts: NoticeFacts {
            plan_name: "Pro".to_owned(),
            money: Some(Money::twd(1_234)),
            period_number: Some(2),
            period_total: Some(12),
            next_retry_at: Some(now.plus(Duration::from_hours(24))),
            grace_period_ends_at: Some(now.plus(Duration::from_hours(168))),
            reason: Some("餘額不足".to_owned()),
            reference: Some("T0001".to_owned()),
            ..NoticeFacts::default()
        },
        delivery: None,
        occurred_at: now,
    }
}

/// Tells of a step as the subscription code does.
async fn tell(stage: &Stage, notice: &Notice) {
    let (config, now) = (&stage.origin.config.notices, stage.clock.now());
    let write = |tx: Tx| async move { notices::enqueue(&tx, notice, config, now).await };
    stage
        .origin
        .database
        .run_tx::<_, DbError, _>("notice", write)
        .await
        .unwrap();
}

async fn stage_with_receiver() -> (Stage, Receiver) {
    let (receiver, url) = Receiver::start().await;
    let mut settings = settings();
    settings.insert("SUBSCRIPTION_WEBHOOK_URL".into(), url);
    settings.insert("SUBSCRIPTION_WEBHOOK_SECRET".into(), format!("whsec_{SECRET}"));
    (Stage::start_with(settings).await, receiver)
}

#[tokio::test]
async fn ec_8_a_step_that_is_decided_twice_is_told_once() {
    let (stage, receiver) = stage_with_receiver().await;
    let notice = first_failure(&stage);
    tell(&stage, &notice).await;
    tell(&stage, &notice).await;
    stage.drain().await;
    let got = receiver.checked();
    assert_eq!(got.len(), 1);
    assert_eq!(
        got[0].1,
        json!({
            "type": "subscription.first_failure",
            "timestamp": "2026-11-21T02:00:00Z",
            "data": {
                "userId": "user-1",
                "subscriptionId": Uuid::from_u128(1),
                "urgency": "medium",
                "planName": "Pro",
                "amount": 1_234,
                "currency": "TWD",
                "periodNumber": 2,
                "periodTotal": 12,
                "nextChargeAt": null,
                "nextRetryAt": "2026-11-22T02:00:00Z",
                "gracePeriodEndsAt": "2026-11-28T02:00:00Z",
                "accessUntil": null,
                "reason": "餘額不足",
                "declineReason": null,
                "reference": "T0001",
            },
        })
    );
    let seen = look::rows(&stage.admin, "notice_outcomes").await;
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (&seen[0]["kind"], &seen[0]["urgency"], &seen[0]["event"]),
        (&json!("first_failure"), &json!("medium"), &json!("done"))
    );
}

#[tokio::test]
async fn ec_8_without_a_receiver_the_notice_is_still_on_record() {
    let stage = Stage::start().await;
    tell(&stage, &first_failure(&stage)).await;
    let seen = look::rows(&stage.admin, "notice_outcomes").await;
    assert_eq!(
        (&seen[0]["mail"], &seen[0]["event"]),
        (&json!("not_configured"), &json!("not_configured"))
    );
    assert_eq!(stage.count("outbox pending").await, 0);
}

#[tokio::test]
async fn ec_8_an_event_is_tried_again_as_promised_under_the_same_id_and_ends_dead() {
    let (stage, receiver) = stage_with_receiver().await;
    receiver.will_answer(&[500; 8]);
    tell(&stage, &first_failure(&stage)).await;
    stage.drain().await;
    let minute = Duration::from_mins(1);
    for (attempts, wait) in (1_usize..).zip([
        Duration::from_secs(5),
        5 * minute,
        30 * minute,
        120 * minute,
        300 * minute,
        600 * minute,
        600 * minute,
    ]) {
        let just_before = wait.saturating_sub(Duration::from_millis(1));
        stage.after(just_before).await;
        assert_eq!(receiver.checked().len(), attempts, "not before {wait:?}");
        stage.after(Duration::from_millis(1) + wait / 64).await;
        assert_eq!(receiver.checked().len(), attempts + 1, "after {wait:?}");
        let sent_at = stage.clock.now().unix_seconds();
        assert_eq!(
            receiver.timestamps().last(),
            Some(&sent_at),
            "of the attempt, or receivers refuse it as stale"
        );
    }
    let got = receiver.checked();
    assert!(got.iter().all(|(id, _)| *id == got[0].0));
    let seen = &look::rows(&stage.admin, "notice_outcomes").await[0];
    assert_eq!(
        (&seen["event"], &seen["event_attempts"], &seen["event_error"]),
        (&json!("dead"), &json!(8), &json!("the receiver answered 500"))
    );
}

#[tokio::test]
async fn ec_8_a_receiver_of_events_that_is_gone_is_not_asked_again() {
    let (stage, receiver) = stage_with_receiver().await;
    receiver.will_answer(&[410]);
    tell(&stage, &first_failure(&stage)).await;
    stage.drain().await;
    let seen = &look::rows(&stage.admin, "notice_outcomes").await[0];
    assert_eq!(
        (&seen["event"], &seen["event_error"]),
        (&json!("dead"), &json!("the receiver answered 410 Gone"))
    );
}

async fn stage_with_mail(more: &[(&str, &str)]) -> (Stage, MailServer) {
    let (server, url) = MailServer::start().await;
    let mut settings = settings();
    let mail = [
        ("SMTP_URL", url.as_str()),
        ("MAIL_FROM", "訂閱服務 <billing@example.tw>"),
        ("MANAGE_URL", "https://app.example.tw/billing"),
    ];
    for (name, value) in mail.iter().chain(more) {
        settings.insert((*name).to_owned(), (*value).to_owned());
    }
    (Stage::start_with(settings).await, server)
}

/// Puts what a user wants.
async fn prefer(stage: &Stage, locale: Locale, muted: &[NoticeKind]) {
    let preferences = &Preferences {
        email: Some("lin@example.tw".parse().unwrap()),
        locale,
        muted: muted.iter().copied().collect(),
    };
    let (user, now) = (&"user-1".parse().unwrap(), stage.clock.now());
    let put = |tx: Tx| async move { rows::put_preferences(&tx, user, preferences, now).await };
    stage
        .origin
        .database
        .run_tx::<_, DbError, _>("prefer", put)
        .await
        .unwrap();
}

async fn outcome(stage: &Stage) -> Value {
    let seen = look::rows(&stage.admin, "notice_outcomes").await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen[0].clone()
}

#[tokio::test]
async fn pu_6_a_notice_decided_twice_is_one_mail_in_the_users_language() {
    let (stage, server) = stage_with_mail(&[]).await;
    prefer(&stage, Locale::ZhTw, &[]).await;
    let notice = first_failure(&stage);
    tell(&stage, &notice).await;
    tell(&stage, &notice).await;
    stage.drain().await;
    let taken = server.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        (taken[0].from.as_str(), taken[0].to.as_str()),
        ("billing@example.tw", "lin@example.tw")
    );
    let mail = mailparse::parse_mail(&taken[0].data).unwrap();
    let header = |name: &str| mail.headers.get_first_value(name).unwrap();
    assert_eq!(header("Subject"), "【提醒】「Pro」扣款未成功");
    assert_eq!(header("From"), "訂閱服務 <billing@example.tw>");
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    assert_eq!(header("Date"), "Sat, 21 Nov 2026 02:00:00 +0000");
    let manage = format!(
        "https://app.example.tw/billing?subscription={}",
        Uuid::from_u128(1)
    );
    assert_eq!(header("List-Unsubscribe"), format!("<{manage}>"));
    let id = outcome(&stage).await["id"].clone();
    let row = look::row(&stage.admin, "notices", "id", id.as_str().unwrap()).await;
    let outbox: Uuid = row["mail_outbox_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(header("Message-ID"), format!("<{}@example.tw>", outbox.simple()));
    assert_eq!(mail.ctype.mimetype, "multipart/alternative");
    let types: Vec<&str> = mail
        .subparts
        .iter()
        .map(|part| part.ctype.mimetype.as_str())
        .collect();
    assert_eq!(types, ["text/plain", "text/html"]);
    for part in &mail.subparts {
        let body = part.get_body().unwrap();
        assert!(
            body.contains("NT$1,234") && body.contains("2026年11月28日") && body.contains(&manage),
            "{body}"
        );
    }
    let seen = outcome(&stage).await;
    assert_eq!(
        (&seen["mail"], &seen["locale"], &seen["subject"]),
        (
            &json!("done"),
            &json!("zh-TW"),
            &json!("【提醒】「Pro」扣款未成功")
        )
    );
}

#[tokio::test]
async fn ec_8_an_urgent_notice_in_english_is_marked_and_a_hostile_name_begins_no_header() {
    let (stage, server) = stage_with_mail(&[]).await;
    prefer(&stage, Locale::En, &[]).await;
    let mut notice = first_failure(&stage);
    notice.kind = NoticeKind::FinalWarning;
    notice.facts.plan_name = "Pro\r\nBcc: all@example.tw\r\n\r\n<script>".to_owned();
    tell(&stage, &notice).await;
    stage.drain().await;
    let taken = server.taken();
    let mail = mailparse::parse_mail(&taken[0].data).unwrap();
    assert_eq!(mail.headers.get_first_value("Importance").unwrap(), "high");
    assert_eq!(mail.headers.get_all_values("Bcc"), Vec::<String>::new());
    assert_eq!(
        mail.headers.get_first_value("Subject").unwrap(),
        "Urgent: Pro Bcc: all@example.tw <script> will be downgraded to FREE on 28 November 2026"
    );
    assert!(!mail.subparts[1].get_body().unwrap().contains("<script>"));
}

#[tokio::test]
async fn ec_8_a_muted_kind_is_not_mailed_and_its_event_goes_all_the_same() {
    let (receiver, url) = Receiver::start().await;
    let secret = format!("whsec_{SECRET}");
    let more = [
        ("SUBSCRIPTION_WEBHOOK_URL", url.as_str()),
        ("SUBSCRIPTION_WEBHOOK_SECRET", &secret),
    ];
    let (stage, server) = stage_with_mail(&more).await;
    prefer(&stage, Locale::En, &[NoticeKind::FirstFailure]).await;
    tell(&stage, &first_failure(&stage)).await;
    stage.drain().await;
    assert_eq!((server.taken().len(), receiver.checked().len()), (0, 1));
    let seen = outcome(&stage).await;
    assert_eq!((&seen["mail"], &seen["event"]), (&json!("muted"), &json!("done")));
}

#[tokio::test]
async fn ec_8_what_cannot_be_muted_is_mailed_whatever_the_row_says_and_offers_no_muting() {
    let (stage, server) = stage_with_mail(&[]).await;
    prefer(&stage, Locale::En, &[NoticeKind::FinalWarning]).await;
    let mut notice = first_failure(&stage);
    notice.kind = NoticeKind::FinalWarning;
    tell(&stage, &notice).await;
    stage.drain().await;
    let taken = server.taken();
    assert_eq!(taken.len(), 1);
    let mail = mailparse::parse_mail(&taken[0].data).unwrap();
    assert_eq!(mail.headers.get_first_value("List-Unsubscribe"), None);
}

#[tokio::test]
async fn ec_8_a_kind_that_is_muted_before_the_mail_left_is_not_sent() {
    let (stage, server) = stage_with_mail(&[]).await;
    prefer(&stage, Locale::En, &[]).await;
    tell(&stage, &first_failure(&stage)).await;
    prefer(&stage, Locale::En, &[NoticeKind::FirstFailure]).await;
    stage.drain().await;
    assert_eq!(server.taken().len(), 0);
    let seen = outcome(&stage).await;
    assert_eq!(
        (&seen["mail"], &seen["mail_error"]),
        (&json!("dead"), &json!("the user has muted this kind meanwhile"))
    );
}

#[tokio::test]
async fn ec_8_without_an_address_nothing_is_lost() {
    let (receiver, url) = Receiver::start().await;
    let secret = format!("whsec_{SECRET}");
    let more = [
        ("SUBSCRIPTION_WEBHOOK_URL", url.as_str()),
        ("SUBSCRIPTION_WEBHOOK_SECRET", &secret),
    ];
    let (stage, server) = stage_with_mail(&more).await;
    tell(&stage, &first_failure(&stage)).await;
    stage.drain().await;
    assert_eq!((server.taken().len(), receiver.checked().len()), (0, 1));
    let seen = outcome(&stage).await;
    assert_eq!(
        (&seen["mail"], &seen["event"]),
        (&json!("no_address"), &json!("done"))
    );
    assert_eq!(seen["subject"], "【提醒】「Pro」扣款未成功");
}

#[tokio::test]
async fn pu_6_a_mail_server_that_is_down_or_busy_is_tried_again_and_the_mail_arrives_once() {
    let (stage, server) = stage_with_mail(&[]).await;
    prefer(&stage, Locale::En, &[]).await;
    server.will_answer(&[
        ("CONNECT", ""),
        ("RCPT", "450 4.2.1 <lin@example.tw> is busy"),
        ("AUTH", "535 5.7.8 who is user?"),
        ("DATA", ""),
    ]);
    tell(&stage, &first_failure(&stage)).await;
    stage.drain().await;
    let errors = [
        "the mail server did not answer: no whole SMTP answer",
        "the mail server put it off: 450 4.2.1",
        "the mail server refused our login: 535 5.7.8",
        "the mail server did not answer: no whole SMTP answer",
    ];
    for (attempts, error) in (1..).zip(errors) {
        let seen = outcome(&stage).await;
        assert_eq!(
            (&seen["mail"], &seen["mail_attempts"]),
            (&json!("pending"), &json!(attempts))
        );
        assert_eq!(seen["mail_error"], error);
        assert_eq!(server.taken().len(), 0);
        stage.after(Duration::from_secs(30 << (attempts - 1))).await;
    }
    assert_eq!(outcome(&stage).await["mail"], "done");
    stage.after(Duration::from_hours(48)).await;
    assert_eq!(server.taken().len(), 1);
}

#[tokio::test]
async fn invariant_7_a_mail_that_is_refused_for_good_ends_dead_with_a_reason_without_the_address() {
    let (stage, server) = stage_with_mail(&[]).await;
    prefer(&stage, Locale::En, &[]).await;
    server.will_answer(&[("RCPT", "550 5.1.1 <lin@example.tw> unknown here")]);
    tell(&stage, &first_failure(&stage)).await;
    stage.drain().await;
    let seen = outcome(&stage).await;
    assert_eq!(
        (&seen["mail"], &seen["mail_error"]),
        (
            &json!("dead"),
            &json!("the mail server refused it for good: 550 5.1.1")
        )
    );
    for table in ["outbox", "notices", "notice_outcomes"] {
        let rows = look::rows(&stage.admin, table).await;
        assert!(
            !format!("{rows:?}").contains("lin@"),
            "invariant_8: {table} {rows:?}"
        );
    }
}

#[tokio::test]
async fn ec_8_a_refusal_that_is_not_about_the_mailbox_loses_no_mail() {
    let (stage, server) = stage_with_mail(&[]).await;
    prefer(&stage, Locale::En, &[]).await;
    server.will_answer(&[
        ("CONNECT", "554 no service for you"),
        ("MAIL", "550 5.1.8 <billing@example.tw> is no sender"),
        ("RCPT", "550 5.7.1 lin@example.tw: relaying denied"),
        ("RCPT", "550 lin@example.tw is over today's quota"),
    ]);
    tell(&stage, &first_failure(&stage)).await;
    stage.drain().await;
    for (attempts, code) in (1..).zip(["554", "550 5.1.8", "550 5.7.1", "550"]) {
        let seen = outcome(&stage).await;
        assert_eq!(
            (&seen["mail"], &seen["mail_attempts"], &seen["mail_error"]),
            (
                &json!("pending"),
                &json!(attempts),
                &json!(format!("the mail server refused it: {code}"))
            )
        );
        stage.after(Duration::from_secs(30 << (attempts - 1))).await;
    }
    assert_eq!(
        (outcome(&stage).await["mail"].clone(), server.taken().len()),
        (json!("done"), 1)
    );
}

#[tokio::test]
async fn invariant_8_an_address_that_is_erased_before_sending_is_not_used() {
    let (stage, server) = stage_with_mail(&[]).await;
    prefer(&stage, Locale::En, &[]).await;
    tell(&stage, &first_failure(&stage)).await;
    let (user, now) = (&"user-1".parse().unwrap(), stage.clock.now());
    let erase = |tx: Tx| async move { rows::erase_address(&tx, user, now).await };
    let erased: Result<bool, DbError> = stage.origin.database.run_tx("erase", erase).await;
    assert!(erased.unwrap());
    stage.drain().await;
    assert_eq!(server.taken().len(), 0);
    let seen = outcome(&stage).await;
    assert_eq!(
        (&seen["mail"], &seen["mail_error"]),
        (&json!("dead"), &json!("the user has no address any more"))
    );
}

#[tokio::test]
async fn ec_8_a_fact_that_postgres_cannot_hold_does_not_break_the_step_that_is_told() {
    let (stage, server) = stage_with_mail(&[]).await;
    prefer(&stage, Locale::En, &[]).await;
    let mut notice = first_failure(&stage);
    notice.facts.reason = Some("bad\u{0}byte".to_owned());
    tell(&stage, &notice).await;
    stage.drain().await;
    assert_eq!(server.taken().len(), 1);
}

#[tokio::test]
async fn op_4_a_dead_effect_is_listed_and_goes_out_once_it_is_revived() {
    let (stage, receiver) = stage_with_receiver().await;
    receiver.will_answer(&[410]);
    tell(&stage, &first_failure(&stage)).await;
    stage.drain().await;
    let database = &stage.origin.database;
    let dead: Result<_, DbError> = database
        .run_tx("list", |tx: Tx| async move { outbox::list(&tx, true).await })
        .await;
    let dead = dead.unwrap();
    let (id, now) = (dead[0].id, stage.clock.now());
    assert_eq!(
        (dead.len(), dead[0].kind.as_str(), dead[0].last_error.as_deref()),
        (1, "subscription_event", Some("the receiver answered 410 Gone"))
    );
    for expected in [true, false] {
        let revive = |tx: Tx| async move { outbox::revive(&tx, id, now).await };
        let revived: Result<bool, DbError> = database.run_tx("revive", revive).await;
        assert_eq!(revived.unwrap(), expected, "only a dead one is revived");
    }
    stage.drain().await;
    assert_eq!(receiver.checked().len(), 2);
    assert_eq!(outcome(&stage).await["event"], "done");
}

#[tokio::test]
async fn ec_8_an_address_that_was_written_by_hand_does_not_break_the_step_that_is_told() {
    let (stage, _server) = stage_with_mail(&[]).await;
    prefer(&stage, Locale::En, &[]).await;
    let by_hand = "update tollgate.notice_preferences set email = '林@example.tw', muted = '{of_the_future}'";
    stage.admin.batch_execute(by_hand).await.unwrap();
    tell(&stage, &first_failure(&stage)).await;
    assert_eq!(outcome(&stage).await["mail"], "no_address");
}

/// The loops, a mail server that takes connections and says nothing, and a receiver that works.
#[tokio::test]
async fn a_mail_server_that_hangs_holds_up_no_other_lane() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let smtp_url = format!("smtp://{}", silent.local_addr().unwrap());
    let (receiver, url) = Receiver::start().await;
    let secret = format!("whsec_{SECRET}");
    let more = [
        ("SMTP_URL", smtp_url.as_str()),
        ("SUBSCRIPTION_WEBHOOK_URL", &url),
        ("SUBSCRIPTION_WEBHOOK_SECRET", &secret),
    ];
    let (stage, _server) = stage_with_mail(&more).await;
    prefer(&stage, Locale::En, &[]).await;
    let (stop, stopped) = watch::channel(false);
    let working = tokio::spawn(crate::work::run(Arc::clone(&stage.origin), stopped));
    tell(&stage, &first_failure(&stage)).await;
    let (hanging, _) = silent.accept().await.unwrap();
    let delivered = tokio::time::timeout(Duration::from_secs(30), async {
        while outcome(&stage).await["event"] != "done" {
            tokio::task::yield_now().await;
        }
    });
    delivered.await.unwrap();
    assert_eq!(receiver.checked().len(), 1);
    let seen = outcome(&stage).await;
    assert_eq!(
        (&seen["mail"], &seen["mail_attempts"]),
        (&json!("pending"), &json!(1))
    );
    drop((hanging, silent));
    stop.send_replace(true);
    let ended = tokio::time::timeout(Duration::from_secs(30), working).await;
    ended.unwrap().unwrap().unwrap();
    assert_ne!(
        outcome(&stage).await["mail_error"],
        Value::Null,
        "the round was finished"
    );
}

#[tokio::test]
async fn invariant_6_no_transaction_is_open_while_a_mail_server_hangs() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let smtp_url = format!("smtp://{}", silent.local_addr().unwrap());
    let (stage, _server) = stage_with_mail(&[("SMTP_URL", &smtp_url)]).await;
    prefer(&stage, Locale::En, &[]).await;
    tell(&stage, &first_failure(&stage)).await;
    let origin = Arc::clone(&stage.origin);
    let sending = tokio::spawn(async move {
        let client = Client::new().unwrap();
        crate::work::outbox::round(&origin, &client, Lane::Mail).await
    });
    let (hanging, _) = silent.accept().await.unwrap();
    assert_eq!(look::open_transactions(&stage.admin).await, 0);
    drop((hanging, silent));
    sending.await.unwrap().unwrap();
    assert_eq!(outcome(&stage).await["mail"], "pending");
}

#[tokio::test]
async fn a_login_that_wants_tls_is_not_sent_without_it() {
    let (server, url) = MailServer::start().await;
    for (wanted, error) in [
        (
            format!("{url}?tls=required"),
            "the mail server did not answer: it cannot do what we need",
        ),
        (
            url.replace("smtp://", "smtps://"),
            "the mail server did not answer: no connection, or it broke",
        ),
    ] {
        let (stage, _other) = stage_with_mail(&[("SMTP_URL", &wanted)]).await;
        prefer(&stage, Locale::En, &[]).await;
        tell(&stage, &first_failure(&stage)).await;
        stage.drain().await;
        let seen = outcome(&stage).await;
        assert_eq!(
            (&seen["mail"], &seen["mail_error"]),
            (&json!("pending"), &json!(error))
        );
    }
    assert_eq!((server.taken().len(), server.logins()), (0, 0));
}
