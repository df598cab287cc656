//! `cargo xtask`: parses the command line and hands over to `xtask::commands`.
//!
//! Invariant: Ctrl-C or SIGTERM drops the command, which ends everything it started, before we exit.
//! Failure: the chain of causes on standard error, exit code 1 (130 after a signal).

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use xtask::commands::{self, Command};
use xtask::config::Config;

/// Set-up and commands of the Tollgate repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let work = async {
        let config = Config::from_env()?;
        commands::run(&config, arguments.command).await
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = stop_signal() => return ExitCode::from(130),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Ends at the first SIGINT or SIGTERM; never, if neither can be listened for (the default action then ends us).
async fn stop_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
