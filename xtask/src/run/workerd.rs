//! The built worker under `workerd serve`, as tests and benchmarks measure it: no proxy, no Node.
//!
//! `build_edge::BuiltWorker` + wrangler.toml + settings → **`Workerd::start`** → a base URL.
//!
//! Invariant: Durable Objects live on disk in this value's folder, so `kill` and `restart` lose only what the worker
//! had not made durable. The modules are copied at the start: a later build does not change a running worker.
//! Not here: what Cloudflare adds in production (routing, several machines, `request.cf`).
//! Failure: the tail of workerd's log.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::process::Command;

use super::wrangler_toml::{self, WranglerToml};
use crate::build_edge::BuiltWorker;
use crate::clock::poll_until;
use crate::config::Config;
use crate::ports;
use crate::supervise::{self, Supervised};

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const RATE_LIMIT_MODULE: &str = include_str!("ratelimit.mjs");

/// What a worker is told.
#[derive(Debug, Clone)]
pub struct WorkerdOptions {
    /// Folder of the modules; `index.js` is the entry.
    pub worker: BuiltWorker,
    /// `host:port` behind the service binding `ORIGIN`; without it there is no such binding.
    pub origin: Option<String>,
    /// Variables and secrets, over those of wrangler.toml.
    pub settings: BTreeMap<String, String>,
    /// Calls a key in the window of every rate limit, instead of wrangler.toml's.
    pub rate_limit: Option<u32>,
    /// Where to listen; any free port if it is `None`.
    pub port: Option<u16>,
    /// File of its output.
    pub log: PathBuf,
}

/// A worker under workerd.
#[derive(Debug)]
pub struct Workerd {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    log: PathBuf,
    process: Option<Supervised>,
}

impl Workerd {
    /// Starts the worker and returns when it answers.
    pub async fn start(config: &Config, options: &WorkerdOptions) -> Result<Self> {
        let folder = supervise::scratch_dir("tollgate-workerd-")?;
        let port = options.port.map_or_else(ports::free, Ok)?;
        let modules = copy_modules(&options.worker.folder, folder.path())?;
        fs::create_dir(folder.path().join("disk")).context("create the worker's disk")?;
        fs::write(folder.path().join("ratelimit.mjs"), RATE_LIMIT_MODULE)
            .context("write the rate limiter")?;
        let text = render(
            &wrangler_toml::read(config)?,
            options,
            &modules,
            folder.path(),
            port,
        );
        fs::write(folder.path().join("config.capnp"), text).context("write workerd's configuration")?;
        let program = find_workerd(config)?;
        let mut worker = Self {
            program,
            folder,
            port,
            log: options.log.clone(),
            process: None,
        };
        worker.run().await?;
        Ok(worker)
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process id, for measuring; `None` after `kill`.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(Supervised::pid)
    }

    /// Where its output goes: one JSON line a request, and what workerd says.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the worker is not running")?
            .kill()
            .await
    }

    /// Starts it again on the same disk and port, after `kill` or `stop`.
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the worker is running")
        }
        self.run().await
    }

    /// SIGTERM.
    pub async fn stop(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the worker is not running")?
            .stop(Signal::TERM, STOP_LIMIT)
            .await
    }

    async fn run(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .arg("serve")
            .arg(self.folder.path().join("config.capnp"))
            .current_dir(self.folder.path());
        let mut process = supervise::start("workerd", command, self.log.clone())?;
        let url = self.base_url();
        poll_until("workerd's start", START_LIMIT, || {
            let alive = process.still_running();
            let url = url.clone();
            async move {
                alive?;
                Ok(answers(&url).await.then_some(()))
            }
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }
}

/// Whether anything speaks HTTP there.
pub(super) async fn answers(url: &str) -> bool {
    reqwest::Client::new()
        .get(url)
        .timeout(Duration::from_secs(5))
        .send()
        .await
        .is_ok()
}

/// The binary itself: npm's wrapper would put a Node process between us and it.
pub(crate) fn find_workerd(config: &Config) -> Result<PathBuf> {
    let packages = fs::read_dir(config.in_repo("node_modules/@cloudflare")).context("look for workerd")?;
    let names = packages.flatten().map(|entry| entry.path());
    let found = names
        .filter(|path| path.to_string_lossy().contains("/workerd-"))
        .map(|path| path.join("bin/workerd"));
    found
        .into_iter()
        .find(|path| path.is_file())
        .context("npm has no workerd for this platform")
}

fn copy_modules(from: &Path, to: &Path) -> Result<Vec<String>> {
    let mut modules = Vec::new();
    for entry in fs::read_dir(from).with_context(|| format!("read the worker in {}", from.display()))? {
        let path = entry.context("read the worker")?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.is_file()
            && path
                .extension()
                .is_some_and(|kind| kind == "js" || kind == "wasm")
        {
            fs::copy(&path, to.join(&name)).with_context(|| format!("copy {name}"))?;
            modules.push(name);
        }
    }
    modules.sort_by_key(|name| (name != "index.js", name.clone())); // workerd runs the first
    Ok(modules)
}

/// The configuration, in Cap'n Proto's text form.
fn render(
    toml: &WranglerToml,
    options: &WorkerdOptions,
    modules: &[String],
    folder: &Path,
    port: u16,
) -> String {
    let modules: String = modules.iter().map(|name| module(name)).collect();
    let classes: String = toml
        .durable_objects
        .bindings
        .iter()
        .map(|object| class(&object.class_name))
        .collect();
    let disk = quote(&folder.join("disk").display().to_string());
    let origin = options.origin.as_ref().map(|address| {
        format!(
            "    (name = \"origin\", external = (address = {}, http = ())),\n",
            quote(address)
        )
    });
    format!(
        "using Workerd = import \"/workerd/workerd.capnp\";\n\
         const config :Workerd.Config = (\n  services = [\n    (name = \"main\", worker = .main),\n    \
         (name = \"disk\", disk = (path = {disk}, writable = true)),\n    \
         (name = \"internet\", network = (allow = [\"public\", \"private\"])),\n{}  ],\n  \
         sockets = [(name = \"http\", address = \"127.0.0.1:{port}\", http = (), service = \"main\")],\n  \
         extensions = [(modules = [(name = \"tollgate:ratelimit\", internal = true, esModule = embed \"ratelimit.mjs\")])],\n);\n\
         const main :Workerd.Worker = (\n  modules = [\n{modules}  ],\n  compatibilityDate = {},\n  \
         durableObjectNamespaces = [\n{classes}  ],\n  durableObjectStorage = (localDisk = \"disk\"),\n  \
         bindings = [\n{}  ],\n);\n",
        origin.unwrap_or_default(),
        quote(&toml.compatibility_date),
        bindings(toml, options),
    )
}

fn bindings(toml: &WranglerToml, options: &WorkerdOptions) -> String {
    let mut lines = Vec::new();
    let mut add = |name: &str, value: &str| lines.push(format!("    (name = {}, {value}),\n", quote(name)));
    let mut settings = toml.vars.clone();
    settings.extend(options.settings.clone());
    for (name, value) in &settings {
        add(name, &format!("text = {}", quote(value)));
    }
    for object in &toml.durable_objects.bindings {
        add(
            &object.name,
            &format!("durableObjectNamespace = {}", quote(&object.class_name)),
        );
    }
    for limiter in &toml.ratelimits {
        let limit = options.rate_limit.unwrap_or(limiter.simple.limit);
        let inner = format!(
            "(name = \"limit\", json = \"{limit}\"), (name = \"period\", json = \"{}\")",
            limiter.simple.period
        );
        add(
            &limiter.name,
            &format!("wrapped = (moduleName = \"tollgate:ratelimit\", innerBindings = [{inner}])"),
        );
    }
    if options.origin.is_some() {
        add("ORIGIN", "service = \"origin\"");
    }
    lines.concat()
}

fn module(name: &str) -> String {
    let is_wasm = Path::new(name).extension().is_some_and(|kind| kind == "wasm");
    let kind = if is_wasm { "wasm" } else { "esModule" };
    format!("    (name = {0}, {kind} = embed {0}),\n", quote(name))
}

fn class(name: &str) -> String {
    format!(
        "    (className = {}, uniqueKey = {}, enableSql = true),\n",
        quote(name),
        quote(&format!("tollgate-{name}"))
    )
}

fn quote(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_so_that_it_cannot_end_early() {
        assert_eq!(quote("a\"b\\c\nd"), r#""a\"b\\c\nd""#);
    }
}
