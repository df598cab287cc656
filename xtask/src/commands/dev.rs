//! `cargo xtask dev`: everything runs, one purchase goes through all of it, and the addresses stay up.
//!
//! setup → programs → Postgres → migrate → sandbox → origin → worker under `wrangler dev` → **one purchase**.
//!
//! Invariant: `--once` ends with success only if the ledger holds the purchase in balance. Default ports are taken
//! if they are free, others if not.
//! Failure: the step's name and the tail of its log; everything that had been started ends with us.

use std::path::PathBuf;

use anyhow::Result;

use super::clock::REACH;
use crate::build_edge::{self, Variant};
use crate::clock;
use crate::config::Config;
use crate::ports;
use crate::progress::{Progress, say};
use crate::run::postgres::{Durability, Postgres};
use crate::run::program::{self, Program, Programs};
use crate::run::wrangler::Wrangler;
use crate::setup::{self, Tools};
use crate::stack::advance::Reach;
use crate::stack::purchase::{Buyer, balanced_entries};
use crate::stack::settings::{self, Addresses, Keys};
use crate::stack::{PLAN, http_client, prepare_database};

/// The running parts, in the order in which they must end.
struct Parts {
    worker: Wrangler,
    origin: Program,
    sandbox: Program,
    postgres: Postgres,
    programs: Programs,
    keys: Keys,
}

/// Starts everything, buys once, and stays up unless `once`.
pub(super) async fn run(config: &Config, once: bool) -> Result<()> {
    let progress = Progress::new(setup::STEPS.saturating_add(7));
    let tools = setup::prepare(config, &progress).await?;
    // wrangler would build it too, but silently.
    progress
        .step("worker", build_edge::build(config, &tools, Variant::Deployed))
        .await?;
    let mut parts = start(config, &tools, &progress).await?;
    say("one purchase:");
    purchase(&parts).await?;
    say(&format!(
        "The ledger holds the purchase ({} s).",
        progress.seconds()
    ));
    if !once {
        Reach::new(parts.origin.base_url(), &parts.keys).write(&config.in_repo(REACH))?;
        print_addresses(&parts);
        return Err(watch(&mut parts).await);
    }
    parts.stop().await
}

async fn start(config: &Config, tools: &Tools, progress: &Progress) -> Result<Parts> {
    let logs = config
        .in_repo("target/xtask")
        .join(format!("dev-{}", std::process::id()));
    let programs = progress
        .step("origin and sandbox", program::build(config))
        .await?;
    let postgres = progress
        .step("Postgres", start_postgres(config, logs.join("postgres.log")))
        .await?;
    let migrate = async {
        prepare_database(&programs, postgres.url())
            .await
            .map(|()| ((), "done"))
    };
    progress.step("migrations and plans", migrate).await?;
    let keys = Keys::random()?;
    let addresses = Addresses {
        edge: ports::prefer(ports::EDGE)?,
        origin: ports::prefer(ports::ORIGIN)?,
        sandbox: ports::prefer(ports::SANDBOX)?,
    };
    let settings = settings::sandbox(addresses, &keys);
    let sandbox = Program::start(
        "sandbox",
        &programs.sandbox,
        &[],
        settings,
        logs.join("sandbox.log"),
    );
    let sandbox = progress.step("sandbox", with_address(sandbox)).await?;
    let settings = settings::origin(addresses, &keys, postgres.url());
    let origin = Program::start(
        "origin",
        &programs.origin,
        &["serve"],
        settings,
        logs.join("origin.log"),
    );
    let origin = progress.step("origin", with_address(origin)).await?;
    let settings = settings::edge(addresses, &keys);
    let worker = async {
        let log = logs.join("wrangler.log");
        let worker = Wrangler::start(config, &tools.edge, addresses.edge, &settings, log).await?;
        let remark = worker.base_url();
        Ok((worker, remark))
    };
    let worker = progress.step("worker (wrangler dev)", worker).await?;
    Ok(Parts {
        worker,
        origin,
        sandbox,
        postgres,
        programs,
        keys,
    })
}

async fn start_postgres(config: &Config, log: PathBuf) -> Result<(Postgres, &'static str)> {
    let postgres = Postgres::start(config, Durability::Full, log).await?;
    let remark = if postgres.is_own() {
        "embedded"
    } else {
        "DATABASE_URL"
    };
    Ok((postgres, remark))
}

async fn with_address(start: impl Future<Output = Result<Program>>) -> Result<(Program, String)> {
    let program = start.await?;
    let remark = program.base_url();
    Ok((program, remark))
}

async fn purchase(parts: &Parts) -> Result<()> {
    let http = http_client()?;
    let (edge, sandbox) = (parts.worker.base_url(), parts.sandbox.base_url());
    let buyer = Buyer::sign_in(&http, &edge, &sandbox, "dev-customer").await?;
    say("  signed in as dev-customer");
    let key = format!("dev-{}", std::process::id());
    let checkout = buyer
        .buy("ecpay", PLAN, &key, |step| say(&format!("  {step}")))
        .await?;
    say("  ledger:");
    for entry in balanced_entries(&parts.programs, parts.postgres.url(), &checkout.payment_id).await? {
        say(&format!("    {entry}"));
    }
    Ok(())
}

fn print_addresses(parts: &Parts) {
    say(&format!(
        "  worker    {}  (try /api/webhooks/health)",
        parts.worker.base_url()
    ));
    say(&format!("  origin    {}", parts.origin.base_url()));
    say(&format!("  sandbox   {}", parts.sandbox.base_url()));
    say(&format!("  Postgres  {}", parts.postgres.url()));
    say(
        "  time      cargo xtask clock 30d  (in another terminal: renewals, retries and mails of 30 days happen now)",
    );
    say("Ctrl-C stops everything.");
}

/// Returns only when a part has ended, with its log. Ctrl-C is `main`'s.
async fn watch(parts: &mut Parts) -> anyhow::Error {
    clock::watch(|| {
        parts.worker.still_running()?;
        parts.origin.still_running()?;
        parts.sandbox.still_running()
    })
    .await
}

impl Parts {
    async fn stop(mut self) -> Result<()> {
        self.worker.stop().await?;
        self.origin.stop().await?;
        self.sandbox.stop().await?;
        self.postgres.stop().await
    }
}
