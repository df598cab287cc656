//! wrangler.toml as far as workerd must know it, so that tests bind what a deployment binds.
//!
//! The repository's wrangler.toml → **`read`** → `run::workerd` writes it as workerd's own configuration.
//!
//! Invariant: a binding named here exists once, in wrangler.toml.
//! Failure: the parser's error with line and column.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::config::Config;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct WranglerToml {
    pub(super) compatibility_date: String,
    #[serde(default)]
    pub(super) vars: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) ratelimits: Vec<RateLimit>,
    pub(super) durable_objects: DurableObjects,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct RateLimit {
    pub(super) name: String,
    pub(super) simple: Simple,
}

/// So many calls a key in so many seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Simple {
    pub(super) limit: u32,
    pub(super) period: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct DurableObjects {
    pub(super) bindings: Vec<DurableObject>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct DurableObject {
    pub(super) name: String,
    pub(super) class_name: String,
}

pub(super) fn read(config: &Config) -> Result<WranglerToml> {
    let text = std::fs::read_to_string(config.in_repo("wrangler.toml")).context("read wrangler.toml")?;
    toml::from_str(&text).context("read wrangler.toml")
}
