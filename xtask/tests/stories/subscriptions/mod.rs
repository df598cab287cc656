//! Subscriptions over the whole stack on the test clock: a shop, its subscribers, their cards and their notices.
//!
//! A story → **`Shop`** → the cashier and the bank (sandbox), time (`Shop::pass_to`), then what a customer, a mailbox and an
//! accountant see.
//!
//! Invariants: a story bends the sandbox before a period falls due, never afterwards; every instant is counted from the
//! contract's own due day, so a story plays alike on whichever day it runs. [`Shop::provider_agrees`] compares charge by
//! charge: what the provider says that it took is what our ledger has, once each.
//! Not here: rules (`origin::domain::subscription`), what a single notice means (the origin's own tests).

mod chosen_day;
mod dunning;
mod merchant_run;
mod payuni;
mod plan_changes;
mod twins;
mod wishes;
mod year;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::stack::purchase::Buyer;
use xtask::stack::{MONTHLY, Stack, StackOptions};

use crate::books::Books;

/// What a period of [`MONTHLY`] costs.
const PRICE: i64 = 300;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A stack that sends mail, and whose provider answers as fast as it is asked.
struct Shop {
    stack: Stack,
    books: Books,
    service_key: String,
}

/// A customer with a running subscription.
struct Subscriber {
    user: &'static str,
    provider: &'static str,
    order: String,
    payment: String,
}

impl Shop {
    /// Opens a shop; `settings` go over the origin's usual ones.
    async fn open(settings: &[(&str, &str)]) -> Result<Self> {
        let mail_port = xtask::ports::free()?;
        let mut origin_settings = texts(&[
            ("SMTP_URL", &format!("smtp://127.0.0.1:{mail_port}")),
            ("MAIL_FROM", "Tollgate <billing@example.tw>"),
            ("MANAGE_URL", "https://app.example.tw/billing"),
            // The turns themselves are proved in the origin; here they would only take time.
            ("ECPAY_QUERY_SPACING_MS", "0"),
        ]);
        origin_settings.extend(texts(settings));
        let stack = Stack::start(StackOptions {
            origin_settings,
            sandbox_settings: texts(&[("SANDBOX_SMTP_ADDR", &format!("127.0.0.1:{mail_port}"))]),
            ..StackOptions::default()
        })
        .await?;
        let (books, service_key) = (Books::of(&stack).await?, stack.service_key("backend").await?);
        Ok(Self {
            stack,
            books,
            service_key,
        })
    }

    async fn close(self) -> Result<()> {
        drop(self.books);
        self.stack.stop().await
    }

    /// A customer who wants mails in English, and pays the first period at the provider's page.
    async fn subscribe(&self, provider: &'static str, user: &'static str) -> Result<Subscriber> {
        self.put_address(user, "en").await?;
        let buyer: Buyer = self.stack.buyer(user).await?;
        let checkout = buyer.buy(provider, MONTHLY, "first", |_| ()).await?;
        Ok(Subscriber {
            user,
            provider,
            order: checkout.order_number,
            payment: checkout.payment_id,
        })
    }

    async fn put_address(&self, user: &str, locale: &str) -> Result<()> {
        let url = format!(
            "{}/api/service/v1/users/{user}/notice-preferences",
            self.stack.origin.base_url()
        );
        let wanted = json!({ "email": address(user), "locale": locale, "muted": [] });
        let asked = self
            .stack
            .http
            .put(url)
            .bearer_auth(&self.service_key)
            .json(&wanted);
        let answer = asked.send().await.context("tell an address")?;
        ensure!(
            answer.status().is_success(),
            "tell an address: {}",
            answer.text().await?
        );
        Ok(())
    }

    /// Asks the sandbox's control API; without a body it only looks.
    async fn control(&self, path: &str, body: Option<Value>) -> Result<Value> {
        let url = format!("{}/control/v1/{path}", self.stack.sandbox.base_url());
        let asked = match &body {
            Some(body) => self.stack.http.post(url).json(body),
            None => self.stack.http.get(url),
        };
        let answer = asked.send().await.with_context(|| path.to_owned())?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))
    }

    /// The contract, as the provider has it.
    async fn contract(&self, of: &Subscriber) -> Result<Value> {
        self.control(&format!("contracts/{}/{}", of.provider, of.order), None)
            .await
    }

    /// Tells the bank when to decline.
    async fn bank(&self, of: &Subscriber, rules: Value) -> Result<()> {
        let path = format!("contracts/{}/{}/declines", of.provider, of.order);
        self.control(&path, Some(rules)).await.map(drop)
    }

    /// Lets the provider's notices go wrong.
    async fn notices(&self, of: &Subscriber, faults: Value) -> Result<()> {
        let path = format!("contracts/{}/{}/notices", of.provider, of.order);
        self.control(&path, Some(faults)).await.map(drop)
    }

    /// Day and instant of the next period.
    async fn next_due(&self, of: &Subscriber) -> Result<(String, i64)> {
        let contract = self.contract(of).await?;
        let day = contract.get("nextPeriodOn").and_then(Value::as_str);
        let at = contract.get("nextPeriodUnixMs").and_then(Value::as_i64);
        let due = day.map(str::to_owned).zip(at);
        due.with_context(|| format!("no next period in {contract}"))
    }

    /// Lets time pass up to an instant.
    async fn pass_to(&self, unix_ms: i64) -> Result<()> {
        let clock = self.control("clock", None).await?;
        let now = clock.get("unixMs").and_then(Value::as_i64);
        let now = now.with_context(|| format!("no time in {clock}"))?;
        let span = u64::try_from(unix_ms.saturating_sub(now));
        let span = span.with_context(|| format!("{unix_ms} has passed: it is {now}"))?;
        let span = Duration::from_secs(span.div_ceil(1_000));
        self.stack.advance(span).await.map(drop)
    }

    /// Every step of the history: days since `due_on` in Taiwan, kind, period.
    async fn history(&self, of: &Subscriber, due_on: &str) -> Result<Vec<String>> {
        let sql = format!(
            "select concat_ws(' ', (step.occurred_at at time zone 'Asia/Taipei')::date - date '{due_on}', \
                 step.kind, step.details->>'period') \
             from tollgate.subscription_history step {} order by step.occurred_at, step.recorded_at, step.step_key",
            of.joined("step")
        );
        self.books.texts(&sql).await
    }

    /// The kinds and periods of the history alone.
    async fn steps(&self, of: &Subscriber) -> Result<Vec<String>> {
        let sql = format!(
            "select concat_ws(' ', step.kind, step.details->>'period') \
             from tollgate.subscription_history step {} order by step.occurred_at, step.recorded_at, step.step_key",
            of.joined("step")
        );
        self.books.texts(&sql).await
    }

    /// Status, refusals since the last success, whether downgraded, and the user's plan.
    async fn standing(&self, of: &Subscriber) -> Result<String> {
        let sql = format!(
            "select concat_ws(' ', subscription.status, subscription.failure_count, \
                 subscription.downgrade_reason, buyer.subscription_type) \
             from tollgate.saas_subscriptions subscription join tollgate.users buyer on buyer.id = subscription.user_id \
             where subscription.order_number = '{}'",
            of.order
        );
        let rows = self.books.texts(&sql).await?;
        rows.into_iter().next().context("no subscription")
    }

    /// Days from the due day to the end of grace.
    async fn grace_days(&self, of: &Subscriber, due_on: &str) -> Result<i64> {
        let sql = format!(
            "select ((grace_period_ends_at at time zone 'Asia/Taipei')::date - date '{due_on}')::bigint \
             from tollgate.saas_subscriptions where order_number = '{}'",
            of.order
        );
        self.books.count(&sql).await
    }

    /// Who told of each attempt, and what became of it, oldest first.
    async fn attempts(&self, of: &Subscriber) -> Result<Vec<String>> {
        let sql = format!(
            "select concat_ws(' ', attempt.status, attempt.found_by) \
             from tollgate.subscription_payments attempt {} order by attempt.occurred_at, attempt.attempt_key",
            of.joined("attempt")
        );
        self.books.texts(&sql).await
    }

    /// Subjects of the customer's mails, oldest first.
    async fn mails(&self, of: &Subscriber) -> Result<Vec<String>> {
        let listed = self.control("mails", None).await?;
        let mails = listed.get("mails").and_then(Value::as_array);
        let mails = mails.with_context(|| format!("no mails in {listed}"))?;
        let to = json!([address(of.user)]);
        let of_user = mails.iter().filter(|mail| mail.get("to") == Some(&to));
        let subjects = of_user.map(|mail| mail.pointer("/headers/subject").and_then(Value::as_str));
        subjects
            .map(|subject| subject.map(str::to_owned).context("a mail without a subject"))
            .collect()
    }

    /// What our ledger has of a subscription is what the provider took: charge by charge, by its numbers and amounts.
    async fn provider_agrees(&self, of: &Subscriber) -> Result<()> {
        let contract = self.contract(of).await?;
        let taken = charges(&contract, of.provider)?;
        let ours = self.charged(of).await?;
        ensure!(ours == taken, "our charges {ours:?}, the provider's {taken:?}");
        self.books_balance(of, ours.len()).await?;
        let attempts = contract.get("charges").and_then(Value::as_array).map(Vec::len);
        let known = self.attempts_by_minute(of).await?;
        ensure!(
            Some(known.len()) == attempts,
            "{known:#?} of {attempts:?} attempts: {contract}"
        );
        Ok(())
    }

    /// The attempts by their minute; two tellings of one that ECPay gave no number share it.
    async fn attempts_by_minute(&self, of: &Subscriber) -> Result<Vec<String>> {
        let sql = format!(
            "select date_trunc('minute', attempt.occurred_at)::text || ' ' || string_agg(attempt.attempt_key, ' ') \
             from tollgate.subscription_payments attempt {} group by date_trunc('minute', attempt.occurred_at) order by 1",
            of.joined("attempt")
        );
        self.books.texts(&sql).await
    }

    /// Provider numbers and amounts of our charges, sorted.
    async fn charged(&self, of: &Subscriber) -> Result<Vec<String>> {
        let sql = format!(
            "select concat_ws(' ', provider_payment_id, amount) from tollgate.payment_charges \
             where payment_id = '{}' and status = 'settled'",
            of.payment
        );
        let mut charged = self.books.texts(&sql).await?;
        charged.sort();
        Ok(charged)
    }

    /// Sales of so many charges stand in the ledger, and it has no fault.
    async fn books_balance(&self, of: &Subscriber, charges: usize) -> Result<()> {
        let entries = self.stack.balanced_entries(&of.payment).await?;
        let sales = entries
            .iter()
            .filter(|entry| entry.get("account") == Some(&json!("sales")))
            .filter_map(|entry| entry.get("amount").and_then(Value::as_i64))
            .fold(0_i64, i64::saturating_sub);
        let expected = i64::try_from(charges)?.saturating_mul(PRICE);
        ensure!(
            sales == expected,
            "sales of {sales}, expected {expected}: {entries:?}"
        );
        let faults = "select (select count(*) from tollgate.token_faults()) + (select count(*) from tollgate.ledger_faults())";
        let found = self.books.count(faults).await?;
        ensure!(found == 0, "{found} faults of the ledger");
        Ok(())
    }

    /// Nothing waits, nothing was given up and nothing is in dispute.
    async fn nothing_is_left(&self) -> Result<()> {
        self.nothing_waits().await?;
        let dead = self.dead_effects().await?;
        ensure!(dead.is_empty(), "given up: {dead:?}");
        Ok(())
    }

    /// Every event is applied, and none is in dispute.
    async fn nothing_waits(&self) -> Result<()> {
        for (what, sql) in [
            (
                "events",
                "select count(*) from tollgate.inbox_events where status <> 'applied'",
            ),
            ("disputes", "select count(*) from tollgate.disputes"),
        ] {
            let left = self.books.count(sql).await?;
            ensure!(left == 0, "{left} {what} are left");
        }
        Ok(())
    }

    /// Effects that were given up: kind and reason.
    async fn dead_effects(&self) -> Result<Vec<String>> {
        let sql =
            "select concat_ws(' ', kind, last_error) from tollgate.outbox where status = 'dead' order by 1";
        self.books.texts(sql).await
    }
}

impl Subscriber {
    /// Joins rows of a subscription, called `name`, to this one's.
    fn joined(&self, name: &str) -> String {
        format!(
            "join tollgate.saas_subscriptions subscription on subscription.id = {name}.subscription_id \
             where subscription.order_number = '{}'",
            self.order
        )
    }
}

/// Numbers and amounts of the charges that succeeded, sorted. ECPay tells the first by its trade number, later ones by
/// their authorisation.
fn charges(contract: &Value, provider: &str) -> Result<Vec<String>> {
    let made = contract.get("charges").and_then(Value::as_array);
    let made = made.with_context(|| format!("no charges in {contract}"))?;
    let succeeded = made
        .iter()
        .filter(|charge| charge.get("succeeded") == Some(&json!(true)));
    let numbers = succeeded.map(|charge| {
        let is_later = charge.get("number") != Some(&json!(1));
        let name = if provider == "ecpay" && is_later {
            "gwsr"
        } else {
            "tradeNo"
        };
        let number = charge.get(name).and_then(Value::as_str).context("no number")?;
        let amount = charge
            .get("amount")
            .and_then(Value::as_i64)
            .context("no amount")?;
        Ok(format!("{number} {amount}"))
    });
    let mut numbers = numbers.collect::<Result<Vec<String>>>()?;
    numbers.sort();
    Ok(numbers)
}

fn address(user: &str) -> String {
    format!("{user}@example.tw")
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// Each mail's subject begins as expected, and there is no other.
#[track_caller]
fn assert_begin(subjects: &[String], expected: &[&str]) {
    assert_eq!(subjects.len(), expected.len(), "{subjects:?}");
    for (subject, begin) in subjects.iter().zip(expected) {
        assert!(
            subject.starts_with(begin),
            "{subject:?} does not begin with {begin:?}"
        );
    }
}
