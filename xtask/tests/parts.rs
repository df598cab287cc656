//! The harness itself: that its crashes are crashes, and that what should survive them does.
//!
//! Real Postgres, real workerd with a small JavaScript worker → **these tests** → trust in the stories built on them.
//!
//! Failure: run `cargo xtask setup` first if `node_modules` is missing.
#![expect(clippy::unwrap_used, reason = "a test panics when it fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tokio_postgres::NoTls;
use xtask::build_edge::BuiltWorker;
use xtask::config::Config;
use xtask::run::postgres::{Durability, Postgres};
use xtask::run::workerd::{Workerd, WorkerdOptions};

const WORKER: &str = r#"
export class Inbox {
  constructor(state) { this.sql = state.storage.sql; this.sql.exec("CREATE TABLE IF NOT EXISTS t (n INTEGER)"); }
  async fetch() {
    this.sql.exec("INSERT INTO t VALUES (1)");
    return new Response(String(this.sql.exec("SELECT count(*) AS n FROM t").one().n));
  }
}
export class Caller { async fetch() { return new Response("caller"); } }
export default {
  async fetch(request, env) {
    const path = new URL(request.url).pathname;
    if (path === "/count") return env.INBOX.get(env.INBOX.idFromName("a")).fetch(request);
    if (path === "/limit") return new Response(`${env.RL_ADDRESS.constructor.name} ${(await env.RL_ADDRESS.limit({ key: "k" })).success}`);
    if (path === "/setting") return new Response(env.GREETING);
    return new Response("here");
  },
};
"#;

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn get(worker: &Workerd, path: &str) -> String {
    reqwest::get(format!("{}{path}", worker.base_url()))
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
}

fn options(folder: &Path) -> WorkerdOptions {
    fs::write(folder.join("index.js"), WORKER).unwrap();
    WorkerdOptions {
        worker: BuiltWorker {
            folder: folder.to_owned(),
        },
        origin: None,
        settings: BTreeMap::from([("GREETING".to_owned(), "a \"quoted\"\nline \\".to_owned())]),
        rate_limit: Some(2),
        port: None,
        log: folder.join("workerd.log"),
    }
}

#[tokio::test]
async fn a_killed_postgres_keeps_what_was_committed() {
    let config = Config::from_env().unwrap();
    let logs = tempfile::tempdir().unwrap();
    let mut postgres = Postgres::start_own(&config, Durability::Full, logs.path().join("log"))
        .await
        .unwrap();
    let client = connect(postgres.url()).await;
    client
        .batch_execute("CREATE TABLE kept (n INT); INSERT INTO kept VALUES (7)")
        .await
        .unwrap();
    postgres.kill().await.unwrap();
    assert!(
        client.simple_query("SELECT 1").await.is_err(),
        "the old connection must be dead"
    );
    postgres.restart().await.unwrap();
    let row = connect(postgres.url())
        .await
        .query_one("SELECT n FROM kept", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_worker_keeps_its_durable_objects_and_its_address() {
    let config = Config::from_env().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Workerd::start(&config, &options(folder.path())).await.unwrap();
    let before = worker.base_url();
    assert_eq!(get(&worker, "/count").await, "1");
    worker.kill().await.unwrap();
    assert!(
        reqwest::get(&before).await.is_err(),
        "nobody may answer after the kill"
    );
    worker.restart().await.unwrap();
    assert_eq!(
        (get(&worker, "/count").await.as_str(), worker.base_url()),
        ("2", before)
    );
}

#[tokio::test]
async fn the_worker_is_limited_and_told_its_settings_exactly() {
    let config = Config::from_env().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let worker = Workerd::start(&config, &options(folder.path())).await.unwrap();
    assert_eq!(get(&worker, "/setting").await, "a \"quoted\"\nline \\");
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(get(&worker, "/limit").await);
    }
    assert_eq!(answers, ["Ratelimit true", "Ratelimit true", "Ratelimit false"]);
}
