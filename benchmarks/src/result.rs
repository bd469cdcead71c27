//! What was measured, as it is kept: every cell of every round, with where it was measured.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::sampler::{Interval, Sample};
use serde::{Deserialize, Serialize};

use crate::contender::{Contender, Workload};
use crate::load::Figures;

/// Below this share of frames delivered a cell is no valid measurement of cost.
pub const VALID_SHARE: f64 = 0.999;

/// A whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Which scenario.
    pub scenario: String,
    /// Whether it was cut short and is not for quoting.
    pub is_quick: bool,
    /// Where it was measured.
    pub machine: Machine,
    /// All cells so far.
    pub cells: Vec<Cell>,
}

/// Where something was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Processor.
    pub cpu: String,
    /// How many of them.
    pub cores: usize,
    /// Operating system kernel.
    pub kernel: String,
    /// The project's commit.
    pub commit: String,
    /// Load of the last minute before the start.
    pub load_before: String,
}

/// One contender under one load in one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// From 1.
    pub round: u32,
    /// Who.
    pub contender: Contender,
    /// Under which load.
    pub workload: Workload,
    /// What the viewers got.
    pub figures: Figures,
    /// What it cost the server.
    pub cost: Cost,
}

/// What a window cost.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Cost {
    /// Server: cores busy.
    pub cpu: f64,
    /// Server: microseconds of CPU for one frame to one viewer.
    pub cpu_us: f64,
    /// Server: share of its CPU spent in the kernel.
    pub system_share: f64,
    /// Server: memory that would be freed if it ended, at the end of the window.
    pub pss_bytes: Option<u64>,
    /// Kernel: TCP memory of the whole machine at the end of the window.
    pub socket_bytes: u64,
    /// Server: threads.
    pub threads: u64,
    /// Load generator: cores busy.
    pub load_cpu: f64,
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
        let describe = ["describe", "--always", "--dirty"];
        let commit = Command::new("git").args(describe).output();
        let commit = commit.map(|output| output.stdout).unwrap_or_default();
        Self {
            cpu: model.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: String::from_utf8_lossy(&commit).trim().to_owned(),
            load_before: text("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

impl Cost {
    /// What the window between two samples cost, for the frames that were delivered in it.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    #[must_use]
    pub fn of(server: &Interval, last: &Sample, load: &Interval, figures: &Figures) -> Self {
        let frames = figures.published as f64 * figures.viewers as f64 * figures.delivered;
        Self {
            cpu: server.cpu_share,
            cpu_us: server.cpu_share * server.elapsed.as_secs_f64() * 1e6 / frames.max(1.0),
            system_share: server.system_share / server.cpu_share.max(f64::MIN_POSITIVE),
            pss_bytes: last.pss_bytes,
            socket_bytes: common::sampler::socket_memory().map_or(0, |memory| memory.bytes),
            threads: last.threads,
            load_cpu: load.cpu_share,
        }
    }
}

impl Cell {
    /// Whether enough was delivered for the cost to mean something.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.figures.delivered >= VALID_SHARE && self.figures.lost == 0
    }
}

impl Run {
    /// Reads what was written.
    ///
    /// # Errors
    /// If the file cannot be read or is no result.
    pub fn load(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?)
    }

    /// Writes everything measured so far, replacing the file as a whole.
    ///
    /// # Errors
    /// If the folder or file cannot be written.
    pub fn save(&self, folder: &Path) -> io::Result<PathBuf> {
        save_as(&self.scenario, self, folder)
    }
}

/// Writes the result of a scenario, replacing the file as a whole.
///
/// # Errors
/// If the folder or file cannot be written.
pub fn save_as(scenario: &str, run: &impl Serialize, folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{scenario}.json"));
    let draft = path.with_extension("json.part");
    let mut file = BufWriter::new(File::create(&draft)?);
    serde_json::to_writer_pretty(&mut file, run)?;
    file.write_all(b"\n")?;
    file.into_inner()?.sync_all()?;
    fs::rename(&draft, &path)?;
    Ok(path)
}
