//! What the program's commands do, without the command line.
//!
//! `main` parses → **commands** → http, work, db.
//!
//! Invariants: `serve` and `work` start only with a whole configuration; a stop signal ends them after the calls and
//! rounds that are under way. Standard output carries answers and ready lines only.
//! Failure: one [`CommandError`], printed once by `main`.

pub mod jobs;
pub mod outbox;
pub mod reconcile;
pub mod refunds;
pub mod subscriptions;
pub mod upkeep;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tollgate_shared::id::{PaymentId, PlanId};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::secret::Secret;

use crate::Origin;
use crate::client::ClientError;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::db::migrate::{MigrateError, migrate as migrate_database};
use crate::db::{Database, DbError, PoolSettings, Tx, ledger, payments, plans};
use crate::domain::plan::{FirstCharge, PeriodDate, PeriodUnit, Plan, PlanKind, Schedule};
use crate::domain::tokens::TokenAmount;
use crate::service_keys::manage::ManageError;
use crate::{http, work};

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The database could not be migrated.
    #[error("the database was not migrated")]
    Migrate(#[from] MigrateError),
    /// The database did not do its work.
    #[error("the database did not do its work")]
    Db(#[from] DbError),
    /// The address cannot be listened on, or standard output is closed.
    #[error("input or output failed")]
    Io(#[from] std::io::Error),
    /// The client of outbound calls cannot be made.
    #[error("outbound calls cannot be made")]
    Client(#[from] reqwest::Error),
    /// A service key was not made, ended or listed.
    #[error(transparent)]
    ServiceKey(#[from] ManageError),
    /// The service API refused, or gave no answer.
    #[error("the origin was not asked with success")]
    Call(#[from] ClientError),
    /// The books contradict themselves; each contradiction was printed.
    #[error("the books contradict themselves in {0} places")]
    Faults(usize),
    /// There is no such row of the outbox, or it is pending or done.
    #[error("no dead effect has the id {0}")]
    NotDead(uuid::Uuid),
    /// Payments differ from what their providers say; each difference was printed.
    #[error("{0} payments differ from what their providers say")]
    Differences(usize),
    /// The first day to compare is after the last.
    #[error("--from is after --to")]
    Days,
    /// A settlement file was refused; nothing was compared.
    #[error("the settlement file was refused")]
    SettlementFile(#[from] reconcile::SettlementRefusal),
    /// A refund was not begun or not ended.
    #[error("{0}")]
    Refund(String),
    /// A charge was not ended.
    #[error("{0}")]
    Settle(String),
    /// The number of a contract was not stored.
    #[error("{0}")]
    ContractNumber(String),
    /// Another instance runs the job.
    #[error("job {0} is being run by another instance")]
    JobRunning(&'static str),
    /// The job failed; the row and the log say why.
    #[error("job {0} failed")]
    JobFailed(&'static str),
    /// The arguments make no plan.
    #[error("not a plan: {0}")]
    Plan(&'static str),
    /// The plan's terms are those of payments.
    #[error(
        "payments refer to plan {0}, so its kind, subscription type, duration, periods and tokens stay; \
         its name and amount may change. Make a plan of another id for other terms"
    )]
    PlanInUse(PlanId),
}

/// `tollgate serve`: answers the edge, and works unless told not to.
pub async fn serve(
    config: Config,
    work_too: bool,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), CommandError> {
    let listener = TcpListener::bind(&config.listen).await?;
    let address = listener.local_addr()?;
    let origin = Arc::new(Origin::new(config)?);
    let (stopping, stopped) = watch::channel(false);
    print_line(&json!({ "event": "listening", "address": address.to_string() }))?;
    let serving = async {
        let result = http::serve(Arc::clone(&origin), listener, stop).await;
        stopping.send_replace(true);
        result
    };
    if work_too {
        let (served, worked) = tokio::join!(serving, work::run(Arc::clone(&origin), stopped));
        served?;
        worked?;
    } else {
        serving.await?;
    }
    Ok(())
}

/// `tollgate work`: the loops alone.
pub async fn work(config: Config, stop: impl Future<Output = ()> + Send) -> Result<(), CommandError> {
    let origin = Arc::new(Origin::new(config)?);
    let (stopping, stopped) = watch::channel(false);
    print_line(&json!({ "event": "working" }))?;
    let until_stopped = async {
        stop.await;
        stopping.send_replace(true);
    };
    let ((), worked) = tokio::join!(until_stopped, work::run(origin, stopped));
    Ok(worked?)
}

/// `tollgate migrate`.
pub async fn migrate(database_url: &Secret) -> Result<(), CommandError> {
    let migrated = migrate_database(database_url.expose()).await?;
    print_line(&json!({ "event": "migrated", "applied": migrated.applied, "version": migrated.version }))?;
    Ok(())
}

/// A plan as it is written on the command line.
#[derive(Debug, Clone)]
pub struct PlanArguments {
    /// `plans.id`.
    pub id: PlanId,
    /// What the customer reads.
    pub name: String,
    /// Whole TWD of one charge.
    pub amount_minor: i64,
    /// The subscription that a charge gives.
    pub subscription_type: Option<String>,
    /// The tokens that a charge gives.
    pub tokens: Option<TokenAmount>,
    /// What the plan allows, by name; carried, never interpreted.
    pub limits: BTreeMap<String, i64>,
    /// One charge, or many.
    pub kind: PlanArgumentsKind,
}

/// The arguments of a kind of plan.
#[derive(Debug, Clone)]
pub enum PlanArgumentsKind {
    /// One charge, for some days or for ever.
    OneTime {
        /// Calendar days.
        duration_days: Option<u16>,
    },
    /// Charges on a schedule.
    Subscription {
        /// `day`, `week`, `month` or `year`.
        period_type: String,
        /// Units in a period.
        frequency: u16,
        /// Charges in all.
        times: u16,
        /// `build` or `date`.
        first_charge: String,
        /// The day of every charge after the first, in the words of its period.
        period_date: Option<String>,
        /// Whole TWD of the first charge.
        first_amount_minor: Option<i64>,
    },
    /// No charge at all: the plan of those whose payments failed (EC-3).
    Free,
}

/// `tollgate plan put`: writes a plan or changes it.
pub async fn plan_put(database_url: &Secret, arguments: PlanArguments) -> Result<(), CommandError> {
    let plan = plan(arguments)?;
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let (plan, now) = (&plan, SystemClock.now());
    let put = database
        .run_tx(
            "plan_put",
            |tx: Tx| async move { plans::put(&tx, plan, now).await },
        )
        .await?;
    if put == plans::Put::TermsInUse {
        return Err(CommandError::PlanInUse(plan.id.clone()));
    }
    print_line(&json!({ "event": "plan", "id": plan.id.as_str() }))?;
    Ok(())
}

fn plan(arguments: PlanArguments) -> Result<Plan, CommandError> {
    let is_free = matches!(arguments.kind, PlanArgumentsKind::Free);
    if is_free && arguments.amount_minor != 0 {
        return Err(CommandError::Plan("the amount of a free plan is zero"));
    }
    if !is_free && arguments.amount_minor <= 0 {
        return Err(CommandError::Plan("the amount must be above zero"));
    }
    if arguments.name.is_empty() {
        return Err(CommandError::Plan("the name must not be empty"));
    }
    Ok(Plan {
        id: arguments.id,
        name: arguments.name,
        price: Money::twd(arguments.amount_minor),
        kind: kind(arguments.kind, arguments.subscription_type, arguments.tokens)?,
        limits: arguments.limits,
    })
}

fn kind(
    kind: PlanArgumentsKind,
    subscription_type: Option<String>,
    tokens: Option<TokenAmount>,
) -> Result<PlanKind, CommandError> {
    match (kind, tokens) {
        (PlanArgumentsKind::OneTime { duration_days: None }, Some(tokens)) if subscription_type.is_none() => {
            Ok(PlanKind::TokenPack(tokens))
        }
        (_, Some(_)) => Err(CommandError::Plan(
            "a plan that sells tokens is one_time, without subscription type and duration",
        )),
        (
            PlanArgumentsKind::OneTime {
                duration_days: Some(0),
            },
            None,
        ) => Err(CommandError::Plan("the duration must be above zero")),
        (PlanArgumentsKind::OneTime { duration_days }, None) => Ok(PlanKind::OneTime {
            subscription_type,
            duration_days,
        }),
        (
            PlanArgumentsKind::Subscription {
                period_type,
                frequency,
                times,
                first_charge,
                period_date,
                first_amount_minor,
            },
            None,
        ) => {
            let unit = unit(&period_type)?;
            let schedule = Schedule {
                unit,
                frequency,
                times,
                first_charge: first(&first_charge)?,
                period_date: period_date.map(|text| on_day(unit, &text)).transpose()?,
                first_amount: first_amount_minor.map(Minor::new),
            };
            Ok(PlanKind::Subscription {
                subscription_type: subscription_type
                    .ok_or(CommandError::Plan("a subscription needs a subscription type"))?,
                schedule: possible(schedule)?,
            })
        }
        (PlanArgumentsKind::Free, None) => Ok(PlanKind::Free {
            subscription_type: subscription_type
                .ok_or(CommandError::Plan("a free plan needs a subscription type"))?,
        }),
    }
}

fn unit(label: &str) -> Result<PeriodUnit, CommandError> {
    let unit = PeriodUnit::ALL.into_iter().find(|unit| unit.label() == label);
    unit.ok_or(CommandError::Plan(
        "the period type must be day, week, month or year",
    ))
}

fn first(label: &str) -> Result<FirstCharge, CommandError> {
    let first = [FirstCharge::Build, FirstCharge::Date]
        .into_iter()
        .find(|first| first.label() == label);
    first.ok_or(CommandError::Plan("the first charge must be build or date"))
}

fn on_day(unit: PeriodUnit, text: &str) -> Result<PeriodDate, CommandError> {
    PeriodDate::parse(unit, text).ok_or(CommandError::Plan(
        "the period date must be 1 (Monday) to 7 of a week, 1 to 31 of a month, or MM-DD of a year (not 02-29)",
    ))
}

/// Refuses a schedule that no provider could keep.
fn possible(schedule: Schedule) -> Result<Schedule, CommandError> {
    if schedule.frequency == 0 || schedule.times == 0 {
        return Err(CommandError::Plan("frequency and times must be above zero"));
    }
    if schedule.period_date.is_some() && schedule.frequency != 1 {
        return Err(CommandError::Plan("a period date needs a period frequency of 1"));
    }
    // PAYUNi takes nothing below (reference A.5), and NT$1 is how it binds a card (PU-7).
    if schedule.first_amount.is_some_and(|first| first < Minor::new(2)) {
        return Err(CommandError::Plan("the first amount must be 2 or more"));
    }
    Ok(schedule)
}

/// `tollgate ledger show`: the entries of a payment, one JSON line each.
pub async fn ledger_show(database_url: &Secret, payment: PaymentId) -> Result<(), CommandError> {
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let read = |tx: Tx| async move {
        let keys = payments::operation_keys(&tx, payment).await?;
        ledger::entries_of(&tx, &keys).await
    };
    for entry in database.run_tx("ledger_show", read).await? {
        print_line(&json!({
            "owner": entry.owner,
            "account": entry.account_kind,
            "unit": entry.unit,
            "amount": entry.amount.get(),
            "balanceAfter": entry.balance_after.get(),
            "accountVersion": entry.account_version,
            "transactionId": entry.transaction_id.to_string(),
            "kind": entry.transaction_kind,
            "operationKey": entry.operation_key,
            "occurredAt": entry.occurred_at.to_string(),
            "recordedAt": entry.recorded_at.to_string(),
            "deliveryId": entry.delivery_id.map(|id| id.to_string()),
        }))?;
    }
    Ok(())
}

fn print_line(line: &serde_json::Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
