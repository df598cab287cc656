//! The text table, and the guards that keep it complete.

use tokio_postgres::Client;

use super::{Raw, faults};
use crate::db::sqlstate::Refusal;
use crate::testing::TestDatabase;

const TABLE: &str = include_str!("../posting_table.txt");

fn rows() -> impl Iterator<Item = (usize, &'static str)> {
    let numbered = TABLE
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn text(token: &str) -> Option<String> {
    (token != "-").then(|| token.to_owned())
}

fn number(token: &str) -> Option<i64> {
    (token != "-").then(|| token.parse().expect("an amount"))
}

fn parse_post(tokens: &[&str]) -> Raw {
    let mut raw = Raw {
        owner: text(tokens[0]),
        key: text(tokens[1]),
        kind: text(tokens[2]),
        ..Raw::default()
    };
    for entry in &tokens[3..] {
        let parts: Vec<&str> = entry.split('/').collect();
        match parts.as_slice() {
            ["amount", amount] => raw.amounts.push(number(amount)),
            ["many", count] => {
                let count = count.parse().expect("a count");
                raw.accounts = vec![text("sales"); count];
                raw.units = vec![text("TWD"); count];
                raw.amounts = vec![Some(0); count];
            }
            [account, unit, amount] => {
                raw.accounts.push(text(account));
                raw.units.push(text(unit));
                raw.amounts.push(number(amount));
            }
            other => panic!("no entry: {other:?}"),
        }
    }
    raw
}

fn refusal(error: &tokio_postgres::Error) -> String {
    let error = error.as_db_error().expect("an error of the server");
    let named = error.column().or(error.constraint()).unwrap_or_default();
    format!("{} {named}", error.code().code()).trim().to_owned()
}

async fn post(client: &Client, raw: &Raw) -> String {
    let row = match raw.post(client).await {
        Ok(row) => row,
        Err(error) => return refusal(&error),
    };
    let (balances, versions): (Vec<i64>, Vec<i64>) = (row.get("balances_after"), row.get("account_versions"));
    let accounts: Vec<String> = balances
        .iter()
        .zip(&versions)
        .map(|(b, v)| format!("{b}@{v}"))
        .collect();
    format!(
        "{} {}",
        if row.get("replayed") { "replayed" } else { "posted" },
        accounts.join(" ")
    )
}

async fn open(client: &Client, owner: &str, account: &str) -> String {
    let (kind, unit) = account.split_once('/').expect("ACCOUNT/UNIT");
    let call = "select tollgate.ledger_account_open($1, $2, $3, true, 'epoch')";
    match client.query_one(call, &[&text(owner), &kind, &unit]).await {
        Ok(row) => if row.get(0) { "opened" } else { "there" }.to_owned(),
        Err(error) => refusal(&error),
    }
}

async fn force(admin: &Client, owner: &str, account: &str, balance: &str) {
    let (kind, unit) = account.split_once('/').expect("ACCOUNT/UNIT");
    let balance: i64 = balance.parse().expect("a balance");
    let insert = "insert into tollgate.ledger_account (owner, kind, unit, balance, created_at, updated_at)
        values ($1::text, $2::text, $3::text, $4, 'epoch', 'epoch')";
    admin
        .execute(insert, &[&owner, &kind, &unit, &balance])
        .await
        .unwrap();
}

#[tokio::test]
async fn ledger_post_does_what_the_table_says() {
    let test = TestDatabase::create().await;
    let (admin, app) = (test.admin().await, test.admin().await);
    app.batch_execute("set role tollgate_app").await.unwrap();
    let mut wrong = Vec::new();
    for (line, row) in rows() {
        let (command, expected) = row.split_once("->").unwrap_or((row, ""));
        let tokens: Vec<&str> = command.split_whitespace().collect();
        let seen = match tokens.as_slice() {
            ["post", arguments @ ..] => post(&app, &parse_post(arguments)).await,
            ["open", owner, account] => open(&app, owner, account).await,
            ["force", owner, account, balance] => {
                force(&admin, owner, account, balance).await;
                String::new()
            }
            other => panic!("line {line}: {other:?}"),
        };
        if seen != expected.trim() {
            wrong.push(format!("line {line}: {row}\n    seen: {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What was forced is all that is wrong with the books: two balances, and the entries that follow them.
    let faults = faults(&test.database()).await;
    let forced = |fault: &String| fault.contains("user:c clearing TWD") || fault.contains("user:d sales TWD");
    assert!(faults.len() == 4 && faults.iter().all(forced), "{faults:#?}");
}

#[test]
fn every_refusal_is_in_the_table_in_order_of_precedence() {
    let expectations = rows()
        .filter_map(|(_, row)| row.split_once("->"))
        .map(|(_, expected)| expected.trim());
    let mut codes: Vec<&str> = Vec::new();
    for code in expectations
        .filter(|expected| expected.starts_with("LG"))
        .map(|expected| &expected[..5])
    {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    let declared: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
    assert_eq!(codes, declared);
}
