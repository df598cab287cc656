//! The program `tollgate-sandbox`: a sandbox that listens until it is told to end.
//!
//! environment → `Config` → **`Sandbox::start`** → one JSON line on stdout when ready → Ctrl-C or SIGTERM.
//!
//! Invariant: stdout carries the ready line and nothing else; logs go to stderr as JSON, without bodies or keys.
//! Failure: a line on stderr with the reason, exit code 1.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use tollgate_sandbox::{Config, Sandbox};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the sandbox does not run: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start(Config::from_env()?).await?;
    writeln!(
        std::io::stdout(),
        r#"{{"event":"listening","address":"{}"}}"#,
        sandbox.address()
    )?;
    std::io::stdout().flush()?;
    told_to_end().await?;
    sandbox.stop().await;
    Ok(())
}

async fn told_to_end() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}
