//! An own Postgres server in a scratch folder, or the one that `DATABASE_URL` names.
//!
//! `commands` and `stack` → **`Postgres::start`** → a superuser URL.
//!
//! Invariant: the server listens on the loopback address and a socket folder that only its user enters, with a
//! password made for this run. `crash` leaves no process of it behind, so that the same folder can be started again.
//! A server from `DATABASE_URL` is never stopped, killed or changed by us.
//! Failure: the tail of the server's log.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};
use tokio::process::Command;

use super::postgres_files::{ServerUser, prepare, server_user};
use crate::clock::poll_until;
use crate::config::Config;
use crate::ports;
use crate::supervise::{self, Supervised};

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How careful the server is with its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As in production: for benchmarks, and for tests that kill it.
    Full,
    /// Nothing is flushed: for tests that only need its answers.
    None,
}

/// A server to test against.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    user: Option<ServerUser>,
    durability: Durability,
    log: PathBuf,
    server: Option<Supervised>,
}

impl Postgres {
    /// Starts a server, unless the environment names one.
    pub async fn start(config: &Config, durability: Durability, log: PathBuf) -> Result<Self> {
        match &config.database_url {
            Some(url) => Ok(Self::shared(url)),
            None => Self::start_own(config, durability, log).await,
        }
    }

    /// Starts a server of our own whatever the environment says: for tests that kill it.
    pub async fn start_own(config: &Config, durability: Durability, log: PathBuf) -> Result<Self> {
        let user = server_user()?;
        let programs = prepare(config, user).await?;
        let folder = supervise::scratch_dir("tollgate-postgres-")?;
        let password = random_password()?;
        let port = ports::free()?;
        let mut own = Own {
            programs,
            folder,
            port,
            user,
            durability,
            log,
            server: None,
        };
        own.initialise(&password).await?;
        own.run().await?;
        let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
        Ok(Self { url, own: Some(own) })
    }

    /// A server that somebody else started and stops.
    #[must_use]
    pub fn shared(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            own: None,
        }
    }

    /// The URL of its superuser.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is ours to stop.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// SIGKILL to the server and all its backends, as when the machine's memory runs out.
    pub async fn kill(&mut self) -> Result<()> {
        let own = self
            .own
            .as_mut()
            .context("the server of DATABASE_URL is not ours to kill")?;
        let Some(server) = own.server.take() else {
            bail!("Postgres is not running");
        };
        // The server first, so that it starts no further backend; those have left its process group by themselves.
        let of_server = |row: &Row| row.parent == server.pid();
        let backends: Vec<Pid> = processes()
            .await?
            .into_iter()
            .filter(of_server)
            .map(|row| row.pid)
            .collect();
        server.kill().await?;
        for backend in &backends {
            rustix::process::kill_process(*backend, Signal::KILL).ok();
        }
        poll_until("the end of Postgres' backends", STOP_LIMIT, || async {
            let any = processes()
                .await?
                .iter()
                .any(|row| !row.zombie && backends.contains(&row.pid));
            Ok((!any).then_some(()))
        })
        .await
    }

    /// Starts it again on the same files and port, after `kill`.
    pub async fn restart(&mut self) -> Result<()> {
        let own = self
            .own
            .as_mut()
            .context("the server of DATABASE_URL is not ours to start")?;
        if own.server.is_some() {
            bail!("Postgres is running")
        }
        own.run().await
    }

    /// Stops it, rolling back what is open; a server that is not ours is left alone.
    pub async fn stop(self) -> Result<()> {
        match self
            .own
            .and_then(|own| own.server.map(|server| (server, own.folder)))
        {
            Some((server, _folder)) => server.stop(Signal::INT, STOP_LIMIT).await, // SIGINT is its "fast" shutdown
            None => Ok(()),
        }
    }
}

impl Own {
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    async fn initialise(&self, password: &str) -> Result<()> {
        let password_file = self.folder.path().join("password");
        fs::write(&password_file, password).context("write the password file")?;
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600))
            .context("close the password file")?;
        self.give(self.folder.path())?;
        self.give(&password_file)?;
        let mut initdb = self.command("initdb");
        initdb.args([
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]);
        initdb.arg(self.data()).arg("--pwfile").arg(&password_file);
        supervise::run("initdb", initdb, self.log.clone(), START_LIMIT).await?;
        fs::remove_file(&password_file).context("remove the password file")
    }

    fn give(&self, path: &Path) -> Result<()> {
        match self.user {
            Some(user) => chown(path, Some(user.uid), Some(user.gid))
                .with_context(|| format!("give {}", path.display())),
            None => Ok(()),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join("bin").join(program));
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    async fn run(&mut self) -> Result<()> {
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path());
        command.args([
            "-p",
            &self.port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "max_connections=200",
        ]);
        if self.durability == Durability::None {
            command.args([
                "-c",
                "fsync=off",
                "-c",
                "synchronous_commit=off",
                "-c",
                "full_page_writes=off",
            ]);
        }
        let mut server = supervise::start("Postgres", command, self.log.clone())?;
        let status = self.data().join("postmaster.pid");
        let pid = server.pid().to_string();
        poll_until("Postgres' start", START_LIMIT, || {
            let state = server
                .still_running()
                .map(|()| is_ready(&status, &pid).then_some(()));
            async { state }
        })
        .await?;
        self.server = Some(server);
        Ok(())
    }
}

/// The server's own status file: its process id on the first line, `ready` on the eighth (as `pg_ctl -w` reads it).
fn is_ready(status: &Path, pid: &str) -> bool {
    let text = fs::read_to_string(status).unwrap_or_default();
    text.lines().next() == Some(pid) && text.lines().nth(7).is_some_and(|state| state.trim() == "ready")
}

/// A row of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    pid: Pid,
    parent: i32,
    /// Ended, and only waiting for its parent to ask how.
    zombie: bool,
}

async fn processes() -> Result<Vec<Row>> {
    let Ok(entries) = fs::read_dir("/proc") else {
        let mut ps = Command::new("ps");
        ps.args(["-A", "-o", "pid=,ppid=,stat="]);
        let table = supervise::output(ps, STOP_LIMIT)
            .await
            .context("list Postgres' backends")?;
        return Ok(table.lines().filter_map(parse_ps).collect());
    };
    let stats = entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    Ok(stats.filter_map(|stat| parse_stat(&stat)).collect())
}

fn parse_ps(line: &str) -> Option<Row> {
    let mut fields = line.split_whitespace();
    let pid = Pid::from_raw(fields.next()?.parse().ok()?)?;
    Some(Row {
        pid,
        parent: fields.next()?.parse().ok()?,
        zombie: fields.next()?.starts_with('Z'),
    })
}

/// `pid (name) state parent …`; the name may hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<Row> {
    let (pid, rest) = stat.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let zombie = fields.next()? == "Z";
    Some(Row {
        pid: Pid::from_raw(pid.parse().ok()?)?,
        parent: fields.next()?.parse().ok()?,
        zombie,
    })
}

fn random_password() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).context("ask the system for randomness")?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_process_tables_are_read() {
        let row = Row {
            pid: Pid::from_raw(40).unwrap(),
            parent: 7,
            zombie: true,
        };
        assert_eq!(parse_ps("   40     7 Z+"), Some(row));
        assert_eq!(parse_stat("40 (a) b (c) Z 7 40 40 0"), Some(row));
        assert!(!parse_stat("40 (postgres) S 7 40").unwrap().zombie);
    }

    #[test]
    fn ready_means_this_server_and_this_state() {
        let folder = tempfile::tempdir().unwrap();
        let status = folder.path().join("postmaster.pid");
        fs::write(&status, "77\nd\n1\n5\n/s\n127.0.0.1\n 1 2\nready   \n").unwrap();
        assert!(is_ready(&status, "77"));
        assert!(
            !is_ready(&status, "78"),
            "a file left by a killed server must not count"
        );
    }
}
