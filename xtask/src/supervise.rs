//! Every program we start: its own process group, its log, and its certain end.
//!
//! A step builds a command → **`start` or `run`** → a `Supervised` that ends the group when dropped.
//!
//! Invariant: nothing we started outlives us. Dropping kills the group; and if we are killed ourselves (Ctrl-C,
//! a panic, SIGKILL) the watchdog reads the end of its standard input and kills the groups still on its list.
//! Groups are known by the id we were given at the start, never by a name. A parent-death signal would need
//! unsafe code and Linux; a pipe needs neither.
//! Failure: a program that ends early is an error with the tail of its log.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// Lines of a log that an error quotes.
const TAIL_LINES: usize = 25;

/// Reads `add group`, `del group`, `dir path` a line; at the end of input kills the groups, removes the folders.
const WATCHDOG: &str = r#"trap '' INT TERM HUP
live=
while IFS=' ' read -r verb subject; do
  case $verb in
    add) live="$live $subject" ;;
    del) rest=; for id in $live; do [ "$id" = "$subject" ] || rest="$rest $id"; done; live=$rest ;;
    dir) dirs="$dirs$subject
" ;;
  esac
done
for id in $live; do kill -s KILL -- "-$id" 2>/dev/null; done
printf %s "$dirs" | while IFS= read -r dir; do [ -d "$dir" ] && rm -rf -- "$dir"; done"#;

static WATCHDOG_INPUT: OnceLock<Mutex<ChildStdin>> = OnceLock::new();

/// A running program, alone in its process group.
#[derive(Debug)]
pub struct Supervised {
    name: String,
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl Supervised {
    /// The program's process id, which is also its group's.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// An error with the tail of the log if the program has ended.
    pub fn still_running(&mut self) -> Result<()> {
        match self
            .child
            .try_wait()
            .with_context(|| format!("look at {}", self.name))?
        {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// SIGKILL to the group, as a crash would; returns when the program is gone.
    pub async fn kill(mut self) -> Result<()> {
        signal_group(self.group, Signal::KILL);
        self.child
            .wait()
            .await
            .with_context(|| format!("wait for {}", self.name))?;
        Ok(())
    }

    /// Asks the program itself to stop with `signal`, and kills the group if it has not after `limit`.
    pub async fn stop(mut self, signal: Signal, limit: Duration) -> Result<()> {
        rustix::process::kill_process(self.group, signal).ok();
        if tokio::time::timeout(limit, self.child.wait()).await.is_err() {
            return self.kill().await;
        }
        Ok(())
    }

    fn ended(&self, status: ExitStatus) -> anyhow::Error {
        anyhow!(
            "{} ended early ({status}); its log {} ends:\n{}",
            self.name,
            self.log.display(),
            tail(&self.log)
        )
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        signal_group(self.group, Signal::KILL);
        tell_watchdog("del", &self.pid().to_string());
    }
}

/// Starts a program that stays; its output goes to `log`.
pub fn start(name: &str, mut command: Command, log: PathBuf) -> Result<Supervised> {
    let out = create_log(&log)?;
    let also = out.try_clone().context("share the log between both outputs")?;
    command.stdin(Stdio::null()).stdout(out).stderr(also);
    spawn(name, command, log)
}

/// Runs a program to its end within `limit`; its output goes to `log`, whose tail an error quotes.
pub async fn run(name: &str, command: Command, log: PathBuf, limit: Duration) -> Result<()> {
    let mut program = start(name, command, log)?;
    let Ok(status) = tokio::time::timeout(limit, program.child.wait()).await else {
        bail!(
            "{name} did not end within {} s; its log ends:\n{}",
            limit.as_secs(),
            tail(&program.log)
        );
    };
    let status = status.with_context(|| format!("wait for {name}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(program.ended(status))
    }
}

/// Runs a program to its end with our own outputs, for output meant to be read.
pub async fn run_visible(name: &str, mut command: Command) -> Result<()> {
    command.stdin(Stdio::null());
    let mut program = spawn(name, command, PathBuf::new())?;
    let status = program
        .child
        .wait()
        .await
        .with_context(|| format!("wait for {name}"))?;
    if status.success() {
        Ok(())
    } else {
        bail!("{name} failed ({status})")
    }
}

/// Runs a short query and returns its standard output.
pub async fn output(mut command: Command, limit: Duration) -> Result<String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let run = tokio::time::timeout(limit, command.output()).await;
    let result = run
        .with_context(|| format!("{name} took too long"))?
        .with_context(|| format!("run {name}"))?;
    if !result.status.success() {
        bail!(
            "{name} failed ({}): {}",
            result.status,
            String::from_utf8_lossy(&result.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

/// A folder that is removed when the value is dropped, and by the watchdog if we are killed first.
pub fn scratch_dir(prefix: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new()
        .prefix(prefix)
        .tempdir()
        .context("create a scratch folder")?;
    tell_watchdog("dir", &folder.path().display().to_string());
    Ok(folder)
}

/// The last lines of a log, for an error.
#[must_use]
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

fn spawn(name: &str, mut command: Command, log: PathBuf) -> Result<Supervised> {
    start_watchdog()?;
    command.process_group(0).kill_on_drop(true);
    let child = command
        .spawn()
        .with_context(|| format!("start {name} ({})", command.as_std().get_program().display()))?;
    let id = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let group = id.with_context(|| format!("{name} ended before it began"))?;
    tell_watchdog("add", &group.as_raw_nonzero().to_string());
    Ok(Supervised {
        name: name.to_owned(),
        child,
        group,
        log,
    })
}

fn create_log(log: &Path) -> Result<File> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open the log {}", log.display()))
}

/// A group that is gone already is no error: the aim is that it is gone.
fn signal_group(group: Pid, signal: Signal) {
    kill_process_group(group, signal).ok();
}

/// The watchdog is not waited for: it outlives us on purpose, and ends when our end of the pipe closes.
fn start_watchdog() -> Result<()> {
    if WATCHDOG_INPUT.get().is_some() {
        return Ok(());
    }
    let mut command = std::process::Command::new("sh");
    command.args(["-c", WATCHDOG]).process_group(0);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().context("start the watchdog (sh)")?;
    let input = child.stdin.take().context("the watchdog has no input")?;
    // Of two threads that come here at once one watchdog loses, reads end of input with an empty list, and ends.
    drop(WATCHDOG_INPUT.set(Mutex::new(input)));
    Ok(())
}

fn tell_watchdog(verb: &str, subject: &str) {
    if start_watchdog().is_err() {
        return; // `spawn` reports it; without a child there is nothing to watch
    }
    if let Some(input) = WATCHDOG_INPUT.get() {
        let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
        drop(input.write_all(format!("{verb} {subject}\n").as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::poll_until;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    async fn wait_gone(pid: i32) {
        let pid = Pid::from_raw(pid).unwrap();
        poll_until("the end of the process", Duration::from_secs(20), || async move {
            Ok(rustix::process::test_kill_process(pid).is_err().then_some(()))
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_failing_program_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let error = run(
            "demo",
            shell("echo because; exit 3"),
            log,
            Duration::from_secs(20),
        )
        .await
        .unwrap_err();
        assert!(error.to_string().contains("because"), "{error}");
    }

    #[tokio::test]
    async fn dropping_ends_the_grandchildren_too() {
        let folder = tempfile::tempdir().unwrap();
        let (log, note) = (folder.path().join("log"), folder.path().join("pid"));
        let script = format!(
            "sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait",
            note.display()
        );
        let program = start("demo", shell(&script), log).unwrap();
        let grandchild = poll_until("the note", Duration::from_secs(20), || async {
            Ok(std::fs::read_to_string(&note)
                .ok()
                .and_then(|text| text.trim().parse::<i32>().ok()))
        })
        .await
        .unwrap();
        drop(program);
        wait_gone(grandchild).await;
    }

    #[tokio::test]
    async fn the_watchdog_kills_what_is_on_its_list_and_spares_what_was_taken_off() {
        let mut on_list = shell("exec sleep 600")
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut taken_off = shell("exec sleep 600")
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (killed, spared) = (on_list.id().unwrap(), taken_off.id().unwrap());
        let mut watchdog = shell(WATCHDOG).stdin(Stdio::piped()).spawn().unwrap();
        let orders = format!("add {killed}\nadd {spared}\ndel {spared}\n");
        let mut input = watchdog.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut input, orders.as_bytes())
            .await
            .unwrap();
        drop(input);
        assert!(watchdog.wait().await.unwrap().success());
        let ended = tokio::time::timeout(Duration::from_secs(20), on_list.wait()).await;
        assert!(
            !ended
                .expect("the one on the list must be killed")
                .unwrap()
                .success()
        );
        assert!(
            taken_off.try_wait().unwrap().is_none(),
            "the one taken off the list must live"
        );
        taken_off.kill().await.unwrap();
    }
}
