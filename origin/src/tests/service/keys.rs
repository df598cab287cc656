//! Service keys: who is let in, for what, and until when.

use std::time::Duration;

use serde_json::json;

use super::{Service, deduction, make_key};
use crate::clock::Clock as _;
use crate::service_keys::manage::{self, ManageError};
use crate::service_keys::{FRESH, Scope};

const ROUTES: [(&str, &str, Scope); 12] = [
    ("POST", "tokens/deduct", Scope::Deduct),
    ("POST", "tokens/reserve", Scope::Deduct),
    ("POST", "tokens/settle", Scope::Deduct),
    ("POST", "tokens/release", Scope::Deduct),
    ("POST", "tokens/compensate", Scope::Compensate),
    ("POST", "tokens/grant", Scope::Grant),
    ("GET", "tokens/balance?company_id=acme", Scope::Read),
    ("GET", "tokens/history?company_id=acme", Scope::Read),
    ("GET", "tokens/records/k?company_id=acme", Scope::Read),
    ("GET", "users/user-1/notice-preferences", Scope::Notices),
    ("PUT", "users/user-1/notice-preferences", Scope::Notices),
    ("DELETE", "users/user-1/notice-preferences", Scope::Notices),
];

async fn ask(service: &Service, route: (&str, &str, Scope), authorization: &[&str]) -> super::Answer {
    let path = format!("/api/service/v1/{}", route.1);
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(authorization.iter().map(|value| ("authorization", *value)));
    service.stage.send(route.0, &path, &headers, b"{}".to_vec()).await
}

#[tokio::test]
async fn no_route_answers_without_a_key_or_with_a_wrong_one() {
    let service = Service::start().await;
    let key = service.key.clone();
    let other_secret = format!(
        "{}{}",
        &key[..key.len() - 1],
        if key.ends_with('0') { '1' } else { '0' }
    );
    let unknown = format!("tgk_{}_{}", "0".repeat(32), "0".repeat(64));
    let (good, basic) = (format!("Bearer {key}"), format!("Basic {key}"));
    for route in ROUTES {
        let missing = ask(&service, route, &[]).await;
        assert_eq!(
            (missing.status, missing.problem()),
            (401, "service-key-required"),
            "{route:?}"
        );
        assert_eq!(missing.headers["www-authenticate"], "Bearer");
        let wrong = [
            vec![format!("Bearer {other_secret}")],
            vec![format!("Bearer {unknown}")],
            vec!["Bearer".to_owned()],
            vec![format!("Bearer  {key}")],
            vec![basic.clone()],
            vec![key.clone()],
            vec![good.clone(), good.clone()],
        ];
        for authorization in wrong {
            let authorization: Vec<&str> = authorization.iter().map(String::as_str).collect();
            let refused = ask(&service, route, &authorization).await;
            assert_eq!(
                (refused.status, refused.problem()),
                (401, "service-key-refused"),
                "{route:?} {authorization:?}"
            );
        }
    }
    assert_eq!(service.written().await, 0);
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_nothing_else() {
    let service = Service::start().await;
    for (number, scope) in Scope::ALL.iter().enumerate() {
        let key = make_key(&service.stage, &format!("caller-{number}"), &[*scope]).await;
        let bearer = format!("Bearer {key}");
        for route in ROUTES {
            let answer = ask(&service, route, &[&bearer]).await;
            if route.2 == *scope {
                assert_ne!(answer.status, 403, "{route:?} {scope:?}");
            } else {
                assert_eq!(
                    (answer.status, answer.problem()),
                    (403, "scope-missing"),
                    "{route:?} {scope:?}"
                );
                assert_eq!(answer.body["scope"], route.2.label());
            }
        }
    }
}

#[tokio::test]
async fn a_caller_has_two_valid_keys_and_a_revoked_one_ends_within_five_seconds() {
    let service = Service::start().await;
    let database = &service.stage.origin.database;
    let now = service.stage.clock.now();
    let (first, first_key) = manage::create_on(database, "ci", &[Scope::Read], now)
        .await
        .unwrap();
    let second_key = make_key(&service.stage, "ci", &[Scope::Read]).await;
    let third = manage::create_on(database, "ci", &[Scope::Read], now).await;
    assert!(matches!(third, Err(ManageError::TwoValid { .. })), "{third:?}");

    let read = ROUTES[6];
    let (first_bearer, second_bearer) = (format!("Bearer {first_key}"), format!("Bearer {second_key}"));
    assert_eq!(ask(&service, read, &[&first_bearer]).await.status, 200);
    assert_eq!(ask(&service, read, &[&second_bearer]).await.status, 200);
    manage::revoke_on(database, first, now).await.unwrap();
    assert!(matches!(
        manage::revoke_on(database, first, now).await,
        Err(ManageError::NotFound)
    ));
    service.stage.clock.advance(FRESH);
    assert_eq!(
        ask(&service, read, &[&first_bearer]).await.problem(),
        "service-key-refused"
    );
    assert_eq!(ask(&service, read, &[&second_bearer]).await.status, 200);
    // The slot is free again.
    make_key(&service.stage, "ci", &[Scope::Read]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_keys_made_at_once_two_are_valid() {
    let service = Service::start().await;
    let mut making = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (database, now) = (service.stage.origin.database.clone(), service.stage.clock.now());
        making.spawn(async move {
            manage::create_on(&database, "ci", &[Scope::Read], now)
                .await
                .is_ok()
        });
    }
    let made = making.join_all().await;
    assert!(made.iter().filter(|made| **made).count() <= 2, "{made:?}");
    let valid = "select count(*) from tollgate.service_keys where caller = 'ci' and revoked_at is null";
    assert!((1..=2).contains(&service.count(valid).await));
}

#[tokio::test]
async fn the_table_holds_no_key_and_the_service_cannot_change_one() {
    let service = Service::start().await;
    let text = "select string_agg(key::text, ' ') from tollgate.service_keys as key";
    let rows: String = service.stage.admin.query_one(text, &[]).await.unwrap().get(0);
    let secret = service.key.rsplit('_').next().unwrap();
    assert!(!rows.contains(secret) && rows.contains("backend"), "{rows}");
    let connection = service.stage.origin.database.connection().await.unwrap();
    for sql in [
        "update tollgate.service_keys set scopes = '{tokens:grant}'",
        "update tollgate.service_keys set key_hash = sha256('x')",
        "delete from tollgate.service_keys",
    ] {
        let refused = connection.batch_execute(sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{sql}");
    }
}

#[tokio::test]
async fn names_and_scopes_of_keys_are_checked() {
    let service = Service::start().await;
    let (database, now) = (&service.stage.origin.database, service.stage.clock.now());
    for caller in ["", "A", "a b", "a_b", "\u{6587}", &"a".repeat(65)] {
        let refused = manage::create_on(database, caller, &[Scope::Read], now).await;
        assert!(matches!(refused, Err(ManageError::Caller)), "{caller:?}");
    }
    assert!(matches!(
        manage::create_on(database, "a", &[], now).await,
        Err(ManageError::NoScope)
    ));
}

/// The database goes away: a key that was read a moment ago still counts, afterwards nothing is let in.
#[tokio::test]
async fn without_a_database_nobody_is_let_in_for_long() {
    let service = Service::start().await;
    service.buy("acme", 10).await;
    service.stage.origin.database.close();
    let body = deduction("job-1", "acme", 1);
    let soon = service.post("deduct", body.clone()).await;
    assert_eq!((soon.status, soon.problem()), (503, "unavailable"));
    assert_eq!(soon.headers["retry-after"], "1");
    service.stage.clock.advance(FRESH + Duration::from_secs(1));
    let later = service.post("deduct", body).await;
    assert_eq!(
        (later.status, &later.body["title"]),
        (503, &json!("The service cannot answer right now"))
    );
}
