//! `cargo xtask clock 30d`: time passes in a running `cargo xtask dev`, and with it everything that it brings about.
//!
//! the file that `dev` wrote → **`run`** → the origin moves its clock and the sandbox's, step by step → what happened.
//!
//! Invariant: it starts nothing and stops nothing. The file lies in `target`, and its key opens the local stack of one
//! run only. Failure: `dev` is not running, or the origin's own words.

use anyhow::Result;

use crate::config::Config;
use crate::progress::say;
use crate::stack::advance::{Reach, Wish};

/// Where `dev` writes down how to reach its origin.
pub(super) const REACH: &str = "target/xtask/dev.json";

/// Moves it and says what happened.
pub(super) async fn run(config: &Config, to: &Wish) -> Result<()> {
    let reach = Reach::read(&config.in_repo(REACH))?;
    say(&reach.advance(to).await?.to_string());
    Ok(())
}
