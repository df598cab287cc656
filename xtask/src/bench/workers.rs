//! The measured workers: which modules, which bindings, and workerd itself serving them.
//!
//! `edge` → **`Subject::start`** (a generated capnp file, `workerd serve`) → an address for `load`.
//!
//! Invariant: one template for all, so that hello, peer and ours have the same bindings, the same two Durable
//! Object namespaces, the same number of shards and a disk of the same kind. Only the modules differ.
//! Not here: the tests' runtime (`run::workerd`) with its limiting rate limiter and its restarts.
//! Failure: workerd's own words, from the tail of its log.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use super::load::Connection;
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::ports;
use crate::run::workerd::find_workerd;
use crate::supervise::{self, Supervised};

/// Short, because the cold start is measured with it.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
const START_LIMIT: Duration = Duration::from_secs(20);
/// As in wrangler.toml.
const COMPATIBILITY_DATE: &str = "2026-04-20";

/// The key by which the workers sign what they hand to the stub origin.
pub(super) const HANDOFF_KEY_ID: &str = "bench";
pub(super) const HANDOFF_KEY: &str = "a-key-of-the-benchmark-that-signs-the-hop";

/// Settings that both the peer and ours read. The keys are ECPay's public staging ones.
const SETTINGS: [(&str, &str); 9] = [
    ("PAYMENT_PROVIDER", "ecpay"),
    ("ECPAY_MERCHANT_ID", super::notices::MERCHANT_ID),
    ("ECPAY_HASH_KEY", super::notices::HASH_KEY),
    ("ECPAY_HASH_IV", super::notices::HASH_IV),
    ("INBOX_SHARDS", "16"),
    ("HANDOFF_KEY_ID", HANDOFF_KEY_ID),
    ("HANDOFF_KEY", HANDOFF_KEY),
    ("SESSION_HS256_SECRET", "a-secret-of-the-benchmark-for-sessions"),
    ("SESSION_ISSUER", "bench"),
];

/// A worker to be measured.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// As it stands in the results.
    pub(super) name: &'static str,
    /// Its modules, each under its file name; the first is the entry. `.wasm` files become wasm modules.
    pub(super) modules: Vec<PathBuf>,
    /// Its Durable Object classes; each is bound under its name in capitals.
    pub(super) classes: &'static [&'static str],
}

/// A subject under workerd; ends when dropped.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) pid: i32,
    _workerd: Supervised,
    _folder: TempDir,
}

impl Subject {
    /// Starts workerd and returns as soon as the worker has answered one request.
    pub(super) async fn start(&self, config: &Config, origin: SocketAddr) -> Result<Running> {
        let folder = supervise::scratch_dir("tollgate-bench-")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let disk = folder.path().join("disk");
        fs::create_dir(&disk).context("create the Durable Objects' disk")?;
        let file = folder.path().join("worker.capnp");
        fs::write(&file, self.capnp(config, address, origin, &disk)).context("write the capnp file")?;
        let mut command = Command::new(find_workerd(config)?);
        command
            .arg("serve")
            .arg(&file)
            .arg("--import-path=/")
            .current_dir(folder.path());
        // One line a request: removed with the folder. An error quotes its tail.
        let log = folder.path().join("workerd.log");
        let mut workerd = supervise::start("workerd", command, log)?;
        answer_once(address, &mut workerd).await?;
        Ok(Running {
            name: self.name,
            address,
            pid: workerd.pid(),
            _workerd: workerd,
            _folder: folder,
        })
    }

    fn capnp(&self, config: &Config, address: SocketAddr, origin: SocketAddr, disk: &Path) -> String {
        let mut text = String::from("using Workerd = import \"/workerd/workerd.capnp\";\n");
        let _infallible = write!(
            text,
            "const config :Workerd.Config = (
  services = [
    (name = \"main\", worker = .subject),
    (name = \"origin\", external = (address = \"{origin}\", http = ())),
    (name = \"disk\", disk = (path = \"{disk}\", writable = true)),
  ],
  sockets = [(name = \"http\", address = \"{address}\", http = (), service = \"main\")],
  extensions = [(modules = [(name = \"bench:ratelimit\", internal = true, esModule = embed \"{ratelimit}\")])],
);
const subject :Workerd.Worker = (
  compatibilityDate = \"{COMPATIBILITY_DATE}\",
  modules = [{modules}],
  bindings = [
    (name = \"ORIGIN\", service = \"origin\"),
    (name = \"RL_ADDRESS\", wrapped = (moduleName = \"bench:ratelimit\")),
    {settings}
    {namespaces_bound}
  ],
  durableObjectNamespaces = [{namespaces}],
  durableObjectStorage = (localDisk = \"disk\"),
);
",
            disk = disk.display(),
            ratelimit = config.in_repo("xtask/bench/ratelimit.mjs").display(),
            modules = self.modules_text(),
            settings = SETTINGS.map(|(name, value)| format!("(name = \"{name}\", text = \"{value}\"),")).join("\n    "),
            namespaces_bound = self.each_class(|class, name| {
                format!("(name = \"{name}\", durableObjectNamespace = \"{class}\"),")
            }),
            namespaces = self.each_class(|class, _| {
                format!("(className = \"{class}\", uniqueKey = \"{class}\", enableSql = true),")
            }),
        );
        text
    }

    fn modules_text(&self) -> String {
        let module = |path: &PathBuf| {
            let kind = if path.extension().is_some_and(|extension| extension == "wasm") {
                "wasm"
            } else {
                "esModule"
            };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!("(name = \"{name}\", {kind} = embed \"{}\"),", path.display())
        };
        self.modules.iter().map(module).collect()
    }

    fn each_class(&self, text: impl Fn(&str, &str) -> String) -> String {
        self.classes
            .iter()
            .map(|class| text(class, &class.to_ascii_uppercase()))
            .collect()
    }
}

/// Asks until the worker answers anything at all.
async fn answer_once(address: SocketAddr, workerd: &mut Supervised) -> Result<()> {
    let probe = format!("GET /bench/ready HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let watch = Stopwatch::start();
    loop {
        workerd.still_running()?;
        if let Ok(mut connection) = Connection::open(address).await {
            return connection.ask(probe.as_bytes()).await.map(drop);
        }
        ensure!(
            watch.elapsed() < START_LIMIT,
            "workerd does not listen after {} s",
            START_LIMIT.as_secs()
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
