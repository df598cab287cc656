//! Reconciliation: pending records that nobody decided are decided (TB-8).
//!
//! `work::schedule` (hourly), `tollgate reconcile tokens` → **reconcile** → `work_lookup` asks → `report` or `db::tokens` decides.
//!
//! A pass reads what has been pending for an hour, oldest first, and deals with each in a transaction of its own, after
//! asking and never while asking. Invariants: an error about one leaves the others their turn; no answer decides
//! nothing. Several passes at once are harmless: settling and releasing are compare-and-set.
//! Not here: which answer means what (`domain::jobs`).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::report::{self, charge_and_note, report};
use crate::Origin;
use crate::db::article_jobs::{self, PendingRecord};
use crate::db::tokens::{self, TokenAmount, TokenError};
use crate::db::{DbError, Tx};
use crate::domain::jobs::{JobStatus, LEFT_ALONE, Report, Verdict, verdict};
use crate::gateway::user_core::Client;
use crate::gateway::work_lookup;
use crate::telemetry::Chain;

const PAGE: i64 = 200;

/// What a pass did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pass {
    /// Records and jobs looked at.
    pub(crate) found: u64,
    /// Whose tokens were taken.
    pub(crate) deducted: u64,
    /// Marked failed.
    pub(crate) failed: u64,
    /// Left for the next pass.
    pub(crate) left: u64,
    /// What went wrong, by its words.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Pass {
    /// The figures, as commands and jobs show them.
    pub(crate) fn shown(&self) -> Value {
        json!({
            "found": self.found,
            "deducted": self.deducted,
            "failed": self.failed,
            "left": self.left,
            "errors": self.errors,
        })
    }
}

/// What became of one.
enum Done {
    Deducted,
    Failed,
    Left,
}

/// Why one could not be dealt with.
#[derive(Debug, thiserror::Error)]
enum OneError {
    #[error(transparent)]
    Lookup(#[from] work_lookup::LookupError),
    #[error(transparent)]
    Report(#[from] report::ReportError),
    #[error(transparent)]
    Tokens(#[from] TokenError),
}

/// One pass over everything that is older than an hour.
pub(crate) async fn reconcile(origin: &Origin, client: &Client) -> Result<Pass, DbError> {
    let before = earlier(origin.clock.now());
    let mut pass = Pass::default();
    // Jobs first: they wait for nobody's answer.
    jobs(origin, &mut pass, before).await?;
    records(origin, client, &mut pass, before).await?;
    tracing::info!(
        found = pass.found,
        deducted = pass.deducted,
        failed = pass.failed,
        left = pass.left,
        errors = ?pass.errors,
        "reconciled token records that were pending for an hour"
    );
    origin
        .metrics
        .reconciled(pass.deducted, pass.failed, pass.errors.values().sum());
    Ok(pass)
}

fn earlier(now: Timestamp) -> Timestamp {
    let hour_ms = i64::try_from(LEFT_ALONE.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_ms(now.unix_ms().saturating_sub(hour_ms))
}

async fn records(
    origin: &Origin,
    client: &Client,
    pass: &mut Pass,
    before: Timestamp,
) -> Result<(), DbError> {
    let mut after = (Timestamp::from_unix_ms(0), Uuid::nil());
    loop {
        let read = |tx: Tx| async move { article_jobs::pending_records(&tx, before, after, PAGE).await };
        let page = origin.database.run_tx("reconcile_records", read).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = (last.created_at, last.id);
        for record in &page {
            let result = one_record(origin, client, record).await;
            pass.count(record.id, result);
        }
    }
}

async fn one_record(origin: &Origin, client: &Client, record: &PendingRecord) -> Result<Done, OneError> {
    let work = match &origin.config.jobs.work_lookup {
        Some(receiver) => Some(work_lookup::ask(client, receiver, record, origin.clock.now()).await?),
        None => None,
    };
    // Read after the answer: a pass may take hours, and what it books must not be dated back.
    let now = origin.clock.now();
    let ended_for = (record.hold_ends_at <= now).then(|| record.hold_ends_at.distance(now));
    match (verdict(work, record.reserved_tokens, ended_for), record.job) {
        (Verdict::Wait, _) => Ok(Done::Left),
        (Verdict::Charge(used_tokens), Some(job)) => {
            let succeeded = Report::Succeeded {
                used_tokens,
                article: None,
            };
            let job = report(origin, job, &succeeded, now).await?;
            Ok(done(job.status))
        }
        (Verdict::Fail(reason), Some(job)) => {
            let failed = Report::Failed {
                reason: reason.to_owned(),
            };
            let job = report(origin, job, &failed, now).await?;
            Ok(done(job.status))
        }
        (Verdict::Charge(used_tokens), None) => settle(origin, record, used_tokens, now).await,
        (Verdict::Fail(reason), None) => release(origin, record, reason, now).await,
    }
}

fn done(status: JobStatus) -> Done {
    match status {
        JobStatus::Completed => Done::Deducted,
        JobStatus::Failed => Done::Failed,
        JobStatus::Generating | JobStatus::PendingTokenDeduction => Done::Left,
    }
}

/// A reservation of the service API.
async fn settle(
    origin: &Origin,
    record: &PendingRecord,
    used_tokens: i64,
    now: Timestamp,
) -> Result<Done, OneError> {
    let Ok(amount) = TokenAmount::new(used_tokens.min(record.reserved_tokens)) else {
        return release(origin, record, "nothing was used", now).await;
    };
    let settle = |tx: Tx| async move { tokens::settle(&tx, &record.key, &record.company, amount, now).await };
    let settled = origin.database.run_tx("reconcile_settle", settle).await?;
    Ok(if settled.outcome.success {
        Done::Deducted
    } else {
        Done::Failed
    })
}

async fn release(
    origin: &Origin,
    record: &PendingRecord,
    reason: &str,
    now: Timestamp,
) -> Result<Done, OneError> {
    let release =
        |tx: Tx| async move { tokens::release(&tx, &record.key, &record.company, Some(reason), now).await };
    origin.database.run_tx("reconcile_release", release).await?;
    Ok(Done::Failed)
}

async fn jobs(origin: &Origin, pass: &mut Pass, before: Timestamp) -> Result<(), DbError> {
    let mut after = Uuid::nil();
    loop {
        let read = |tx: Tx| async move { article_jobs::undecided(&tx, before, after, PAGE).await };
        let page = origin.database.run_tx("reconcile_jobs", read).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = *last;
        for id in &page {
            let now = origin.clock.now();
            let charge = |tx: Tx| async move { charge_again(&tx, *id, now).await };
            let result = origin.database.run_tx("reconcile_charge", charge).await;
            pass.count(*id, result.map_err(OneError::from));
        }
    }
}

/// The article is there, as its generator said: only its tokens are missing.
async fn charge_again(tx: &Tx, id: Uuid, now: Timestamp) -> Result<Done, TokenError> {
    let job = article_jobs::lock(tx, id).await?;
    let owed = job.filter(|job| job.status == JobStatus::PendingTokenDeduction);
    let Some(mut job) = owed else {
        return Ok(Done::Left);
    };
    let used_tokens = job.used_tokens.unwrap_or_default().min(job.reserved_tokens);
    charge_and_note(tx, &mut job, TokenAmount::new(used_tokens).ok(), now).await?;
    article_jobs::update(tx, &job, now).await?;
    Ok(done(job.status))
}

impl Pass {
    fn count(&mut self, id: Uuid, result: Result<Done, OneError>) {
        self.found = self.found.saturating_add(1);
        let counter = match result {
            Ok(Done::Deducted) => &mut self.deducted,
            Ok(Done::Failed) => &mut self.failed,
            Ok(Done::Left) => &mut self.left,
            Err(error) => {
                let chain = Chain(&error).to_string();
                tracing::warn!(record.id = %id, error = chain, "{id} was not reconciled");
                self.errors.entry(chain).or_default()
            }
        };
        *counter = counter.saturating_add(1);
    }
}
