//! Where something was measured.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{broker, contender};

/// Above this share of its processors busy a machine is not quiet.
const QUIET_SHARE: f64 = 0.25;
/// Read once: later on it would be our own load.
static LOAD_BEFORE: OnceLock<String> = OnceLock::new();

/// Where something was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor.
    pub cpu: String,
    /// How many of them.
    pub cores: usize,
    /// Operating system kernel.
    pub kernel: String,
    /// The project's commit.
    pub commit: String,
    /// Load of the last minute before the start of the run: what came before, not an earlier scenario of
    /// the same run.
    pub load_before: String,
    /// Bytes of memory.
    #[serde(default)]
    pub memory_bytes: u64,
    /// The operating system by its own name.
    #[serde(default)]
    pub system: String,
    /// Programs that take part, with their versions.
    #[serde(default)]
    pub versions: Vec<String>,
    /// When it began, as date and time in UTC.
    #[serde(default)]
    pub begun: String,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn here() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = text("/proc/cpuinfo");
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let model = model
            .unwrap_or("unknown")
            .trim_start_matches([' ', '\t', ':']);
        Self {
            cpu: model.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: commit(),
            load_before: LOAD_BEFORE
                .get_or_init(|| {
                    let load = text("/proc/loadavg");
                    load.split(' ').next().unwrap_or_default().to_owned()
                })
                .clone(),
            memory_bytes: memory_bytes(&text("/proc/meminfo")),
            system: named(&text("/etc/os-release"), "PRETTY_NAME="),
            versions: vec![
                format!("Framecast {}", env!("CARGO_PKG_VERSION")),
                broker::version(),
                contender::ustreamer_version(),
            ],
            begun: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        }
    }
    /// What was amiss before anything began.
    #[expect(clippy::cast_precision_loss, reason = "a number of processors")]
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let load: f64 = self.load_before.parse().ok()?;
        let is_quiet = load <= QUIET_SHARE * self.cores as f64;
        (!is_quiet).then(|| {
            format!(
                "the machine was not quiet before the start: load {load} on {} cores",
                self.cores
            )
        })
    }
}

/// The project's commit, and whether its files are otherwise than there. Results do not count: those of
/// an earlier scenario change nothing of what is measured.
fn commit() -> String {
    let git = |words: &[&str]| Command::new("git").args(words).output().ok();
    let name = git(&["describe", "--always"]).map(|output| output.stdout);
    let name = String::from_utf8_lossy(&name.unwrap_or_default())
        .trim()
        .to_owned();
    let but_results = ":(top,exclude)benchmarks/results";
    let compared = git(&["diff", "--quiet", "HEAD", "--", ":/", but_results]);
    match compared.and_then(|output| output.status.code()) {
        Some(1) => name + "-dirty",
        _ => name,
    }
}

/// The whole of it, as proc(5) tells it.
fn memory_bytes(meminfo: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse().ok())
        .map_or(0, |kib: u64| kib << 10)
}

/// The value of a line of os-release(5).
fn named(release: &str, name: &str) -> String {
    let value = release.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or("unknown").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_knows_itself() {
        let here = Machine::here();
        assert!(here.cores > 0 && here.memory_bytes > 1 << 20, "{here:?}");
        assert!(
            !here.kernel.is_empty() && here.begun.ends_with('Z'),
            "{here:?}"
        );
        assert_eq!(here.versions.len(), 3);
    }

    #[test]
    fn what_was_amiss_is_told() {
        let doubt = |load: &str| {
            let machine = Machine {
                cores: 2,
                load_before: load.to_owned(),
                ..Machine::here()
            };
            machine.doubt()
        };
        assert_eq!(doubt("0.50"), None);
        assert_eq!(doubt(""), None);
        assert!(doubt("0.51").is_some_and(|doubt| doubt.contains("load 0.51 on 2 cores")));
    }
}
