//! A browser's token balance and a metered job, through the built worker.
//!
//! Proves TB-5 and TB-7 from outside: a session is needed, the figures are apart, a job holds its estimate, the generator
//! is triggered by a signed message, and its report settles or gives back; a job that cannot be paid is told where to
//! upgrade. The generator is the sandbox's sink, which checks signatures by its own code.
//! Not here: reports that cannot be charged, reconciliation (the origin's own tests).

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::clock::poll_until;
use xtask::stack::{Stack, StackOptions};

use crate::books::Books;
use crate::callers::token;

const SECRET: &str = "whsec_dG9sbGdhdGUtc3RvcnktdXNlci1jb3JlLXNlY3JldA==";
const LIMIT: Duration = Duration::from_secs(30);
const FAULTS: &str =
    "select (select count(*) from tollgate.token_faults()) + (select count(*) from tollgate.ledger_faults())";
const WRITER: &str = "writer";

/// A stack with a generator, and a writer with a session and 20,000 tokens.
struct Shop {
    stack: Stack,
    /// Of the generator and of who grants.
    service_key: String,
    session: String,
}

impl Shop {
    async fn open() -> Result<Self> {
        let port = xtask::ports::free()?;
        let sandbox = format!("http://127.0.0.1:{port}");
        let stack = Stack::start(StackOptions {
            sandbox_settings: settings([("LISTEN_ADDR", &format!("127.0.0.1:{port}"))]),
            origin_settings: settings([
                ("ECPAY_BASE_URL", &format!("{sandbox}/ecpay")),
                ("GENERATOR_WEBHOOK_URL", &format!("{sandbox}/sink/generator")),
                ("GENERATOR_WEBHOOK_SECRET", SECRET),
            ]),
            ..StackOptions::default()
        })
        .await?;
        let set = stack.http.put(sink(&stack)).json(&json!({ "secret": SECRET }));
        ensure!(set.send().await?.status().is_success(), "set the sink's secret");
        let (service_key, session) = (
            stack.service_key("generator").await?,
            token(&stack, WRITER).await?,
        );
        let shop = Self {
            stack,
            service_key,
            session,
        };
        let grant = json!({
            "company_id": WRITER, "kind": "purchased", "amount": 20_000, "idempotency_key": "pack-1",
        });
        let granted = shop.serve("tokens/grant", &grant).await?;
        ensure!(
            granted.get("success") == Some(&Value::Bool(true)),
            "the grant: {granted}"
        );
        Ok(shop)
    }

    /// A call of the service API.
    async fn serve(&self, route: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/api/service/v1/{route}", self.stack.origin.base_url());
        let asked = self.stack.http.post(url).bearer_auth(&self.service_key);
        Ok(asked.json(body).send().await?.json().await?)
    }

    /// Begins an article as the browser does and returns the job's id; a repeat of the key must be the same job.
    async fn begin(&self) -> Result<String> {
        let (status, first) = generate(&self.stack, &self.session, "article-1").await?;
        assert_eq!(status, 202, "{first}");
        assert_eq!(
            (first.get("status"), first.get("tokensReserved")),
            (Some(&json!("generating")), Some(&json!(15_000))),
            "{first}"
        );
        let (status, again) = generate(&self.stack, &self.session, "article-1").await?;
        assert_eq!((status, &again), (202, &first), "a repeat is the same job");
        let job = first.get("jobId").and_then(Value::as_str).context("no jobId")?;
        Ok(job.to_owned())
    }

    /// What came to the generator.
    async fn triggers(&self) -> Result<Vec<Value>> {
        let heard: Value = self
            .stack
            .http
            .get(sink(&self.stack))
            .send()
            .await?
            .json()
            .await?;
        let messages = heard.get("messages").and_then(Value::as_array);
        Ok(messages.context("no messages")?.clone())
    }

    /// Total and reserved, as the browser sees them.
    async fn balance(&self) -> Result<(i64, i64)> {
        let url = format!("{}/api/billing/balance", self.stack.worker.base_url());
        let asked = self.stack.http.get(url).bearer_auth(&self.session);
        let shown: Value = asked.send().await?.json().await?;
        let figure = |name: &str| {
            let figure = shown.get(name).and_then(Value::as_i64);
            figure.with_context(|| format!("{name} of {shown}"))
        };
        Ok((figure("total")?, figure("reserved")?))
    }

    /// One trigger in all, and books without a contradiction.
    async fn close(self) -> Result<()> {
        assert_eq!(self.triggers().await?.len(), 1, "triggered once");
        let books = Books::of(&self.stack).await?;
        assert_eq!(books.count(FAULTS).await?, 0);
        drop(books);
        self.stack.stop().await
    }
}

fn settings<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    pairs.map(owned).into()
}

fn sink(stack: &Stack) -> String {
    format!("{}/control/v1/sink/generator", stack.sandbox.base_url())
}

/// The browser's call, and what it is answered.
async fn generate(stack: &Stack, session: &str, key: &str) -> Result<(u16, Value)> {
    let url = format!("{}/api/articles/generate", stack.worker.base_url());
    let asked = stack.http.post(url).bearer_auth(session);
    let asked = asked.header("idempotency-key", key);
    let answer = asked.json(&json!({ "input": { "topic": "tea" } })).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_5_a_browser_sees_its_balance_and_nobody_else_does() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let url = format!("{}/api/billing/balance", stack.worker.base_url());
    let denied = stack.http.get(&url).send().await?;
    assert_eq!(denied.status().as_u16(), 401);

    let token = token(&stack, "reader").await?;
    let balance: Value = stack
        .http
        .get(&url)
        .bearer_auth(&token)
        .send()
        .await?
        .json()
        .await?;
    for figure in ["monthly", "purchased", "total"] {
        assert_eq!(
            balance.get(figure).and_then(Value::as_i64),
            Some(0),
            "{figure}: {balance}"
        );
    }
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_7_an_article_is_triggered_signed_and_its_report_settles_once() -> Result<()> {
    let shop = Shop::open().await?;
    let job = shop.begin().await?;
    assert_eq!(shop.balance().await?, (20_000, 15_000), "the estimate is held");

    let trigger = poll_until("the generator being triggered", LIMIT, || async {
        Ok(shop.triggers().await?.pop())
    })
    .await?;
    assert_eq!(trigger["verified"], true, "{trigger}");
    let body: Value = serde_json::from_str(trigger["body"].as_str().context("no body")?)?;
    assert_eq!(body["type"], "article.requested");
    assert_eq!(
        body["data"],
        json!({
            "jobId": job, "companyId": WRITER, "input": { "topic": "tea" }, "tokensReserved": 15_000,
        })
    );

    let route = format!("articles/{job}/report");
    let report = json!({ "outcome": "succeeded", "tokens_used": 1_200, "article_id": "tea-1" });
    let first = shop.serve(&route, &report).await?;
    assert_eq!(
        (&first["status"], &first["tokens_charged"]),
        (&json!("completed"), &json!(1_200)),
        "{first}"
    );
    assert_eq!(
        shop.balance().await?,
        (18_800, 0),
        "settled, and the rest is back"
    );
    assert_eq!(
        shop.serve(&route, &report).await?,
        first,
        "a second report is answered alike"
    );
    let other = json!({ "outcome": "failed", "reason": "changed its mind" });
    let refused = shop.serve(&route, &other).await?;
    assert_eq!(refused["type"], "urn:tollgate:problem:job-ended", "{refused}");
    assert_eq!(shop.balance().await?, (18_800, 0), "and changes nothing");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_7_an_article_that_fails_gives_its_tokens_back() -> Result<()> {
    let shop = Shop::open().await?;
    let job = shop.begin().await?;
    assert_eq!(shop.balance().await?, (20_000, 15_000), "the estimate is held");
    poll_until("the generator being triggered", LIMIT, || async {
        Ok(shop.triggers().await?.pop())
    })
    .await?;
    let report = json!({ "outcome": "failed", "reason": "the model refused" });
    for _ in 0..2 {
        let answer = shop.serve(&format!("articles/{job}/report"), &report).await?;
        assert_eq!(
            (&answer["status"], &answer["tokens_charged"]),
            (&json!("failed"), &json!(0)),
            "{answer}"
        );
        assert_eq!(shop.balance().await?, (20_000, 0), "nothing is held or spent");
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_7_a_job_that_cannot_be_paid_is_told_where_to_upgrade() -> Result<()> {
    let stack = Stack::start(StackOptions {
        origin_settings: settings([
            ("GENERATOR_WEBHOOK_URL", "http://127.0.0.1:9/generate"),
            ("GENERATOR_WEBHOOK_SECRET", SECRET),
        ]),
        ..StackOptions::default()
    })
    .await?;
    let session = token(&stack, WRITER).await?;
    let (status, problem) = generate(&stack, &session, "article-1").await?;
    assert_eq!(status, 402, "{problem}");
    problem
        .get("upgradeUrl")
        .with_context(|| format!("no upgradeUrl in {problem}"))?;
    assert_eq!(jobs(&stack).await?, 0, "a refused job is not recorded");
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_7_without_a_generator_the_browser_is_told_so() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let session = token(&stack, WRITER).await?;
    for _ in 0..2 {
        let (status, problem) = generate(&stack, &session, "article-1").await?;
        assert_eq!(
            (status, problem["type"].as_str()),
            (501, Some("urn:tollgate:problem:generator-not-configured")),
            "{problem}"
        );
    }
    assert_eq!(jobs(&stack).await?, 0);
    for part in ["worker.log", "origin.log"] {
        let log = std::fs::read_to_string(stack.logs.join(part))?;
        let reason = if part == "worker.log" {
            "generator-not-configured"
        } else {
            "GENERATOR_WEBHOOK_URL is not set"
        };
        assert_eq!(
            log.matches(reason).count(),
            2,
            "asked twice, because nothing is pinned; {part}: {log}"
        );
    }
    stack.stop().await
}

async fn jobs(stack: &Stack) -> Result<i64> {
    let books = Books::of(stack).await?;
    books.count("select count(*) from tollgate.article_jobs").await
}
