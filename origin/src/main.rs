//! The program `tollgate`: one binary, a role a command.
//!
//! Command line and environment → **main** → `tollgate_origin::commands`.
//!
//! Exit codes: 0 done, 1 the work failed, 2 the configuration is wrong (every fault named, one JSON line each on
//! standard error, never a value). SIGTERM and SIGINT end `serve` and `work` gracefully.

mod plan_arguments;
mod reconcile_arguments;
mod subscription_arguments;

use std::process::ExitCode;

use clap::{ArgGroup, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tollgate_origin::client::{Ask, Settings};
use tollgate_origin::commands::refunds::RefundArguments;
use tollgate_origin::commands::{self, CommandError, jobs, outbox, upkeep};
use tollgate_origin::config::{self, Config};
use tollgate_origin::db::tokens::{ArticleId, CompanyId, TokenAmount, TokenKey};
use tollgate_origin::service_keys::{Scope, manage};
use tollgate_origin::telemetry;
use tollgate_origin::work::schedule::ScheduledJob;
use tollgate_shared::config::Fault;
use tollgate_shared::id::{PaymentId, UserId};
use tollgate_shared::secret::Secret;
use uuid::Uuid;

use self::plan_arguments::PlanPut;
use self::reconcile_arguments::ReconcileCommand;
use self::subscription_arguments::SubscriptionCommand;

/// Applies payment events exactly once to a double-entry ledger in Postgres. Settings: see .env.example.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer the edge, and work on the queues.
    Serve {
        /// Leave the queues to `tollgate work`.
        #[arg(long)]
        no_work: bool,
    },
    /// Work on the queues: retries, outbound events, timeouts.
    Work,
    /// Bring the database to this version's schema.
    Migrate,
    /// What is sold.
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Keys of the backends that call the service API.
    #[command(subcommand)]
    ServiceKey(ServiceKeyCommand),
    /// What was booked.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Who belongs to which company.
    #[command(subcommand)]
    Company(CompanyCommand),
    /// Ask the origin's service API, from a shell or a CI job: `TOLLGATE_URL`, `TOLLGATE_SERVICE_KEY`.
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Decide what has been pending for an hour; compare payments with their providers.
    #[command(subcommand)]
    Reconcile(ReconcileCommand),
    /// What is to be sent: events, mail.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Pay money back.
    #[command(subcommand)]
    Refund(RefundCommand),
    /// Charges of stored cards that wait for a person.
    #[command(subcommand)]
    Subscription(SubscriptionCommand),
    /// What runs at fixed times.
    #[command(subcommand)]
    Job(JobCommand),
}

#[derive(Subcommand)]
enum PlanCommand {
    /// Write a plan, or change it.
    Put(PlanPut),
}

#[derive(Subcommand)]
enum ServiceKeyCommand {
    /// Make a key and print it, this once. A caller has two valid ones at most.
    Create {
        /// Who calls: 1 to 64 of a-z 0-9 -
        #[arg(long)]
        caller: String,
        /// What the key may do; repeat for more: tokens:read, tokens:deduct, tokens:compensate, tokens:grant, jobs:report,
        /// notices, subscriptions:read, subscriptions:write, refunds:write.
        #[arg(long = "scope", required = true)]
        scopes: Vec<Scope>,
    },
    /// End a key; it is refused everywhere five seconds later.
    Revoke {
        /// The key's id.
        #[arg(long)]
        id: Uuid,
    },
    /// Print every key without its secret.
    List,
}

#[derive(Subcommand)]
enum CompanyCommand {
    /// Put a user into a company, and out of the one before.
    Put {
        /// The session's sub.
        #[arg(long)]
        user: UserId,
        /// 1 to 64 of A-Z a-z 0-9 . _ -
        #[arg(long)]
        company: CompanyId,
    },
}

#[derive(Subcommand)]
enum TokensCommand {
    /// Deduct tokens; safe to run again with the same key.
    Deduct {
        /// Names the effect: 1 to 160 visible ASCII characters.
        #[arg(long)]
        key: TokenKey,
        /// Whose tokens.
        #[arg(long)]
        company: CompanyId,
        /// What they are spent on.
        #[arg(long)]
        article: ArticleId,
        /// How many.
        #[arg(long, value_parser = token_amount)]
        amount: TokenAmount,
    },
    /// Report how a metered job ended.
    #[command(group(ArgGroup::new("outcome").required(true).args(["tokens", "failed"])))]
    Report {
        /// The job's id.
        #[arg(long)]
        job: Uuid,
        /// It has its article, which cost so many tokens.
        #[arg(long)]
        tokens: Option<u32>,
        /// The article's name.
        #[arg(long, conflicts_with = "failed")]
        article: Option<ArticleId>,
        /// It ended without an article, for this reason.
        #[arg(long)]
        failed: Option<String>,
    },
}

#[derive(Subcommand)]
enum RefundCommand {
    /// Ask for a refund; safe to run again with the same key.
    Request {
        /// The payment's id.
        #[arg(long)]
        payment: PaymentId,
        /// The provider's number of the charge; needed where there are several.
        #[arg(long)]
        charge: Option<String>,
        /// Whole TWD; absent: what is left.
        #[arg(long)]
        amount: Option<i64>,
        /// Why, for people.
        #[arg(long)]
        reason: String,
        /// Names the request.
        #[arg(long)]
        key: String,
    },
    /// Print the refunds of a payment, or those that wait for an operator.
    List {
        /// The payment's id.
        #[arg(long)]
        payment: Option<PaymentId>,
    },
    /// The money of a refund that waits for an operator went back: book it.
    Confirm {
        /// The refund's id.
        #[arg(long)]
        id: Uuid,
    },
    /// It did not, and will not.
    Reject {
        /// The refund's id.
        #[arg(long)]
        id: Uuid,
    },
}

#[derive(Subcommand)]
enum JobCommand {
    /// Print every job: when it ran, what it did, when it runs again.
    List,
    /// Run one now; exit code 1 if it fails or is being run elsewhere.
    Run {
        /// Its name, as `list` prints it.
        name: ScheduledJob,
    },
}

fn token_amount(text: &str) -> Result<TokenAmount, String> {
    let tokens = text.parse().map_err(|_| "not a whole number".to_owned())?;
    TokenAmount::new(tokens).map_err(|error| error.to_string())
}

impl TokensCommand {
    fn ask(self) -> Ask {
        match self {
            Self::Deduct {
                key,
                company,
                article,
                amount,
            } => Ask::Deduct {
                key,
                company,
                article,
                amount,
            },
            Self::Report {
                job,
                failed: Some(reason),
                ..
            } => Ask::Failed { job, reason },
            Self::Report {
                job,
                tokens,
                article,
                failed: None,
            } => Ask::Succeeded {
                job,
                tokens_used: tokens.unwrap_or_default(),
                article,
            },
        }
    }
}

#[derive(Subcommand)]
enum OutboxCommand {
    /// Print what is pending or dead, one JSON line each.
    List {
        /// Only what nobody tries any more.
        #[arg(long)]
        dead: bool,
    },
    /// Try a dead one again, from its first attempt.
    Retry {
        /// The row's id, as `list` prints it.
        id: Uuid,
    },
}

#[derive(Subcommand)]
enum LedgerCommand {
    /// Rebuild every balance from entries and print what differs; exit code 1 if anything does.
    Verify,
    /// Print the entries of a payment, one JSON line each.
    Show {
        /// The payment's id.
        #[arg(long)]
        payment: PaymentId,
    },
}

/// Why the program ends without success.
enum Failure {
    Configuration(Vec<Fault>),
    Command(CommandError),
}

impl From<Vec<Fault>> for Failure {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Configuration(faults)
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start(config::log_level(&config::environment));
    match Box::pin(run(cli.command)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(faults)) => {
            for fault in faults {
                tracing::error!(setting = fault.setting, "configuration: {fault}");
            }
            ExitCode::from(2)
        }
        Err(Failure::Command(error)) => {
            tracing::error!(error = %telemetry::Chain(&error), "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { no_work } => {
            let config = Config::from_lookup(&config::environment)?;
            Box::pin(commands::serve(config, !no_work, stop_signal())).await?;
        }
        Command::Work => {
            let config = Config::from_lookup(&config::environment)?;
            Box::pin(commands::work(config, stop_signal())).await?;
        }
        Command::Migrate => commands::migrate(&database_url()?).await?,
        Command::Plan(PlanCommand::Put(put)) => {
            let arguments = put.arguments().unwrap_or_else(|error| error.exit());
            commands::plan_put(&database_url()?, arguments).await?;
        }
        Command::ServiceKey(command) => service_key(command).await?,
        Command::Ledger(LedgerCommand::Show { payment }) => {
            commands::ledger_show(&database_url()?, payment).await?;
        }
        Command::Ledger(LedgerCommand::Verify) => upkeep::ledger_verify(&database_url()?).await?,
        Command::Company(CompanyCommand::Put { user, company }) => {
            upkeep::company_put(&database_url()?, &user, &company).await?;
        }
        Command::Outbox(OutboxCommand::List { dead }) => outbox::list(&database_url()?, dead).await?,
        Command::Outbox(OutboxCommand::Retry { id }) => outbox::retry(&database_url()?, id).await?,
        Command::Tokens(command) => {
            let settings = Settings::from_lookup(&config::environment)?;
            Box::pin(upkeep::tokens(&settings, &command.ask())).await?;
        }
        Command::Reconcile(command) => reconcile_arguments::run(command).await?,
        Command::Refund(command) => refund(command).await?,
        Command::Subscription(command) => subscription_arguments::run(command).await?,
        Command::Job(JobCommand::List) => jobs::list(&database_url()?).await?,
        Command::Job(JobCommand::Run { name }) => {
            let config = Config::from_lookup(&config::environment)?;
            Box::pin(jobs::run(config, name)).await?;
        }
    }
    Ok(())
}

async fn service_key(command: ServiceKeyCommand) -> Result<(), Failure> {
    let url = database_url()?;
    let done = match command {
        ServiceKeyCommand::Create { caller, scopes } => manage::create(&url, &caller, &scopes).await,
        ServiceKeyCommand::Revoke { id } => manage::revoke(&url, id).await,
        ServiceKeyCommand::List => manage::list(&url).await,
    };
    Ok(done.map_err(CommandError::from)?)
}

async fn refund(command: RefundCommand) -> Result<(), Failure> {
    let url = database_url()?;
    match command {
        RefundCommand::Request {
            payment,
            charge,
            amount,
            reason,
            key,
        } => {
            let arguments = RefundArguments {
                payment,
                charge,
                amount_minor: amount,
                reason,
                key,
            };
            commands::refunds::request(&url, &arguments).await?;
        }
        RefundCommand::List { payment } => commands::refunds::list(&url, payment).await?,
        RefundCommand::Confirm { id } => commands::refunds::settle(&url, id, true, has_user_core()).await?,
        RefundCommand::Reject { id } => commands::refunds::settle(&url, id, false, has_user_core()).await?,
    }
    Ok(())
}

/// Whether news go to user-core: the commands that need no more of the configuration ask for this only.
fn has_user_core() -> bool {
    config::environment("USER_CORE_WEBHOOK_URL").is_some_and(|url| !url.trim().is_empty())
}

fn database_url() -> Result<Secret, Vec<Fault>> {
    config::database_url(&config::environment)
}

/// Ends at the first SIGTERM or SIGINT. Where signals cannot be had, it never ends: the process is killed then.
/// Listens from the call on, not from the first poll: a signal right after the ready line would kill the process.
fn stop_signal() -> impl Future<Output = ()> + Send + 'static {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new calls, those under way are finished");
    }
}
