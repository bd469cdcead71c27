//! A broker for measuring: `scripts/rabbitmq` starts one of its own, which is gone at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, ensure};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/rabbitmq");
/// What Debian's package brings.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Where the package keeps what it runs, in a folder named for its version.
const LIBRARY: &str = "/usr/lib/rabbitmq/lib";

/// What is missing for a broker, if anything is. Nothing is installed behind anybody's back.
#[must_use]
pub fn missing() -> Option<String> {
    missing_but_for(Path::new(SERVER))
}

fn missing_but_for(server: &Path) -> Option<String> {
    let what =
        "rabbitmq-server is not installed (Debian's package, or once: scripts/rabbitmq start)";
    (!server.exists()).then(|| what.to_owned())
}

/// The installed version.
#[must_use]
pub fn version() -> String {
    let folders = fs::read_dir(LIBRARY).into_iter().flatten().flatten();
    let names = folders.map(|folder| folder.file_name().to_string_lossy().into_owned());
    let version = |name: String| Some(name.strip_prefix("rabbitmq_server-")?.to_owned());
    let version = names.filter_map(version).max();
    format!(
        "RabbitMQ {}",
        version.as_deref().unwrap_or("of unknown version")
    )
}

/// A running broker. Ended and forgotten when dropped.
#[derive(Debug)]
pub struct Broker {
    folder: PathBuf,
    /// `amqp://…`, virtual host included.
    pub url: String,
    exchanges: AtomicU32,
}

impl Broker {
    /// Starts one and waits until it answers, which takes some seconds.
    ///
    /// # Errors
    /// What the script says.
    pub fn start() -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("framecast-broker-{}-{number}", std::process::id());
        let mut broker = Self {
            folder: std::env::temp_dir().join(name),
            url: String::new(),
            exchanges: AtomicU32::new(0),
        };
        let told = broker.does("start")?;
        let url = told
            .lines()
            .next()
            .context("scripts/rabbitmq told no URL")?;
        url.clone_into(&mut broker.url);
        Ok(broker)
    }

    /// The name of an exchange that nobody has used yet.
    #[must_use]
    pub fn new_exchange(&self) -> String {
        let number = self.exchanges.fetch_add(1, Ordering::Relaxed);
        format!("benchmark-{number}")
    }

    /// The processes from which all others of the broker come, its epmd among them.
    ///
    /// # Errors
    /// What the script says.
    pub fn roots(&self) -> anyhow::Result<Vec<u32>> {
        let told = self.does("pids")?;
        let pids: Vec<u32> = told.lines().filter_map(|line| line.parse().ok()).collect();
        let roots = roots(&pids, parent);
        ensure!(!roots.is_empty(), "the broker has no processes");
        Ok(roots)
    }

    fn does(&self, command: &str) -> anyhow::Result<String> {
        let mut script = Command::new(SCRIPT);
        script.arg(command).arg("--data").arg(&self.folder);
        let output = script.stdin(Stdio::null()).output().context(SCRIPT)?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "scripts/rabbitmq {command}: {}",
            told.trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What is left of it after this is in the system's folder for temporary files.
        let _ = self.does("down");
    }
}

/// Those whose parent is not one of them. Helpers come and go; these stay.
fn roots(pids: &[u32], parent: impl Fn(u32) -> Option<u32>) -> Vec<u32> {
    let is_root = |pid: &&u32| parent(**pid).is_some_and(|parent| !pids.contains(&parent));
    pids.iter().filter(is_root).copied().collect()
}

/// The parent of a process that is still there (proc(5): the fourth field of stat, behind a name that
/// may have spaces and parentheses).
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_and_the_dead_are_no_roots() {
        let parents = [(10, 1), (11, 10), (12, 11), (20, 1)];
        let parent = |pid| {
            let known = parents.iter().find(|(child, _)| *child == pid);
            known.map(|(_, parent)| *parent)
        };
        assert_eq!(roots(&[10, 11, 12, 13, 20], parent), [10, 20]);
    }

    #[test]
    fn the_parent_of_a_process_is_found() {
        assert_eq!(
            parent(std::process::id()),
            Some(std::os::unix::process::parent_id())
        );
        assert_eq!(parent(u32::MAX), None);
    }

    #[test]
    fn a_missing_broker_is_named() {
        let missing = missing_but_for(Path::new("/nowhere/rabbitmq-server")).unwrap();
        assert!(missing.contains("rabbitmq-server is not installed"));
        assert_eq!(missing_but_for(Path::new("/")), None);
    }
}
