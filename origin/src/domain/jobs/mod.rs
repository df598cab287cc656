//! Metered jobs: what a report or a look at the work means for the tokens that a job holds (TB-7, TB-8).
//!
//! `jobs` loads a job → **these decisions** → `jobs` charges, releases or refuses.
//!
//! Invariants: a job is charged at most what was reserved, whatever it reports; an ended job stays as it is; what nobody
//! ever reports ends too. Each rule is held by the tables below.
//! Not here: whether the balance suffices (`token_settle`, under the company's lock).

use std::time::Duration;

use tollgate_shared::id::UserId;

use super::tokens::{ArticleId, CompanyId, TokenAmount};

/// Tokens held for an article (TB-7).
pub(crate) const ESTIMATE: i64 = 15_000;
/// How long they are held; what is settled later comes from what can be spent then.
pub(crate) const HOLD: Duration = Duration::from_hours(24);
/// How long a pending record is left alone before reconciliation asks about it (TB-8).
pub(crate) const LEFT_ALONE: Duration = Duration::from_hours(1);
/// With nobody to ask, a record is given up this long after its hold ended.
pub(crate) const GIVEN_UP_AFTER: Duration = Duration::from_hours(24);
/// An article whose tokens are still not there after so long is given up. By time and not by tries: every report that
/// is sent again, every process and every `reconcile tokens` is a try.
pub(crate) const OWED_AT_MOST: Duration = Duration::from_hours(72);

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobStatus {
    /// The generator has it.
    Generating,
    /// The article is there and its tokens are deducted.
    Completed,
    /// There is no article, or its tokens never came; nothing is held.
    Failed,
    /// The article is there, its tokens are not deducted yet.
    PendingTokenDeduction,
}

impl JobStatus {
    /// Every status.
    pub(crate) const ALL: [Self; 4] = [
        Self::Generating,
        Self::Completed,
        Self::Failed,
        Self::PendingTokenDeduction,
    ];

    /// As the table and the API write it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Generating => "generating",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::PendingTokenDeduction => "pending_token_deduction",
        }
    }
}

/// How a job ended, as its generator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The article is there.
    Succeeded {
        /// What it cost, from zero.
        used_tokens: i64,
        /// Its name, if it has one by now.
        article: Option<ArticleId>,
    },
    /// There will be no article.
    Failed {
        /// For people.
        reason: String,
    },
}

/// What a report does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: it was reported before.
    Repeat,
    /// Deduct so many; `None`: nothing was used, so give all back.
    Charge(Option<TokenAmount>),
    /// Give all back.
    Release,
    /// The job ended the other way.
    RefuseEnded,
    /// It was reported with another number of tokens.
    RefuseDiffers,
}

/// Decides on a report about a job of a status, with `reserved` tokens and those reported before.
pub(crate) fn on_report(status: JobStatus, reserved: i64, used_before: Option<i64>, report: &Report) -> Step {
    match (status, report) {
        (JobStatus::Generating, Report::Succeeded { used_tokens, .. }) => charge(*used_tokens, reserved),
        (JobStatus::Generating, Report::Failed { .. }) => Step::Release,
        (JobStatus::PendingTokenDeduction | JobStatus::Completed, Report::Succeeded { used_tokens, .. })
            if used_before != Some(*used_tokens) =>
        {
            Step::RefuseDiffers
        }
        (JobStatus::PendingTokenDeduction, Report::Succeeded { used_tokens, .. }) => {
            charge(*used_tokens, reserved)
        }
        (JobStatus::Completed, Report::Succeeded { .. }) | (JobStatus::Failed, Report::Failed { .. }) => {
            Step::Repeat
        }
        (JobStatus::Failed, Report::Succeeded { .. })
        | (JobStatus::PendingTokenDeduction | JobStatus::Completed, Report::Failed { .. }) => {
            Step::RefuseEnded
        }
    }
}

fn charge(used_tokens: i64, reserved: i64) -> Step {
    Step::Charge(TokenAmount::new(used_tokens.min(reserved)).ok())
}

/// Where a job stands after its charge was refused; `owed_for`: how long its tokens have been owed, if they were already.
pub(crate) fn after_refusal(owed_for: Option<Duration>) -> JobStatus {
    match owed_for {
        Some(owed_for) if owed_for >= OWED_AT_MOST => JobStatus::Failed,
        Some(_) | None => JobStatus::PendingTokenDeduction,
    }
}

/// The key of a job's charge after `refused` refusals, each of which is final for its key.
pub(crate) fn charge_key(job: uuid::Uuid, refused: i32) -> String {
    if refused == 0 {
        job.to_string()
    } else {
        format!("{job}:{refused}")
    }
}

/// What is known of the work that a pending record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// It is there, and cost so many, if that is known.
    Exists(Option<i64>),
    /// Not yet.
    Running,
    /// It is not there and will not be.
    Missing,
}

/// What reconciliation does with a pending record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Deduct so many (at most what was reserved).
    Charge(i64),
    /// Mark it failed, for this reason.
    Fail(&'static str),
    /// Look again in an hour.
    Wait,
}

/// Decides. `work`: the answer, if there is somebody to ask; `ended_for`: how long ago the hold ended, if it has.
pub(crate) fn verdict(work: Option<Work>, reserved: i64, ended_for: Option<Duration>) -> Verdict {
    match work {
        Some(Work::Exists(used)) => Verdict::Charge(used.unwrap_or(reserved)),
        Some(Work::Missing) => Verdict::Fail("the work does not exist"),
        None if ended_for.is_some_and(|ended| ended >= GIVEN_UP_AFTER) => {
            Verdict::Fail("nobody reported the work")
        }
        Some(Work::Running) | None => Verdict::Wait,
    }
}

/// The company of a user who is in none: their own, of the same id, if the id can name a company.
pub(crate) fn own_company(user: &UserId) -> Option<CompanyId> {
    user.as_str().parse().ok()
}

#[cfg(test)]
mod tests;
