//! `tollgate reconcile`: what is compared with what, as it is written on the command line.
//!
//! the command line → **arguments** → `commands::reconcile`, `commands::upkeep`.
//!
//! Part of the program, not of the library. Invariant: days are whole days of Asia/Taipei, the last one included, and the first
//! is not after the last. Not here: comparing.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tollgate_origin::commands::{CommandError, reconcile, upkeep};
use tollgate_origin::config::{self, Config};
use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};

use super::Failure;

#[derive(Subcommand)]
pub(super) enum ReconcileCommand {
    /// Token records and article jobs.
    Tokens,
    /// Ask the providers about every payment that was ordered on some days, or compare ECPay's settlement file with the
    /// ledger; exit code 1 if anything differs.
    Payments(PaymentArguments),
}

#[derive(Args)]
pub(super) struct PaymentArguments {
    /// The first day, such as 2026-11-01, in Asia/Taipei.
    #[arg(long, value_parser = start_of_day, required_unless_present = "settlement_file", requires = "to")]
    from: Option<Timestamp>,
    /// The last day.
    #[arg(long, value_parser = start_of_day, requires = "from")]
    to: Option<Timestamp>,
    /// A settlement file of ECPay's, by day of payment; the days are its own unless they are said.
    #[arg(long)]
    settlement_file: Option<PathBuf>,
}

impl PaymentArguments {
    fn days(&self) -> Result<Option<Range<Timestamp>>, CommandError> {
        match self.from.zip(self.to) {
            Some((from, to)) if to < from => Err(CommandError::Days),
            days => Ok(days.map(|(from, to)| from..to.plus(Duration::from_hours(24)))),
        }
    }
}

pub(super) async fn run(command: ReconcileCommand) -> Result<(), Failure> {
    let config = Config::from_lookup(&config::environment)?;
    match command {
        ReconcileCommand::Tokens => Box::pin(upkeep::reconcile_tokens(config)).await?,
        ReconcileCommand::Payments(arguments) => match (&arguments.settlement_file, arguments.days()?) {
            (Some(path), days) => Box::pin(reconcile::settlement_file(config, path, days)).await?,
            (None, Some(days)) => Box::pin(reconcile::payments(config, (days.start, days.end))).await?,
            // The command line asks for one of the two.
            (None, None) => {}
        },
    }
    Ok(())
}

fn start_of_day(text: &str) -> Result<Timestamp, &'static str> {
    let start = format!("{} 00:00:00", text.replace('-', "/"));
    Timestamp::from_taipei(ECPAY_FORMAT, &start).ok_or("not a day, such as 2026-11-01")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command};
    use super::ReconcileCommand;

    #[test]
    fn op_5_days_a_file_or_both_are_said_and_never_half_of_the_days() {
        let parse = |arguments: &str| {
            let words = ["tollgate", "reconcile", "payments"].into_iter();
            let cli = Cli::try_parse_from(words.chain(arguments.split_whitespace())).ok()?;
            let Command::Reconcile(ReconcileCommand::Payments(arguments)) = cli.command else {
                return None;
            };
            let days = arguments.days().ok()?;
            let days = days.map(|days| format!("{} {}", days.start, days.end));
            Some((days.unwrap_or_default(), arguments.settlement_file.is_some()))
        };
        let both = "2026-10-31T16:00:00Z 2026-11-02T16:00:00Z";
        for (arguments, expected) in [
            ("--from 2026-11-01 --to 2026-11-02", Some((both, false))),
            (
                "--from 2026-11-01 --to 2026-11-02 --settlement-file f.csv",
                Some((both, true)),
            ),
            ("--settlement-file f.csv", Some(("", true))),
            ("", None),
            ("--from 2026-11-01", None),
            ("--from 2026-11-01 --settlement-file f.csv", None),
            ("--to 2026-11-01 --settlement-file f.csv", None),
            ("--from 2026-11-02 --to 2026-11-01", None),
            ("--from 2026-11-31 --to 2026-12-01", None),
        ] {
            let expected = expected.map(|(days, file)| (days.to_owned(), file));
            assert_eq!(parse(arguments), expected, "{arguments}");
        }
    }
}
