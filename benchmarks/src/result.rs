//! What was measured, as it is kept: one JSON file for each scenario, written anew after every cell.
//!
//! Everything that people read is made of these files alone. The samples they come from are beside
//! them, in `raw/SCENARIO.jsonl`.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use common::sampler::{Interval, Sample};
use serde::{Deserialize, Serialize};

use crate::load;
use crate::machine::Machine;
use crate::scenario::{Load, Scenario};

mod file;

pub(crate) use file::replace;
pub use file::save_as;

/// Below this share of frames delivered a cell is no valid measurement of cost.
pub const VALID_SHARE: f64 = 0.999;
/// Below this share of frames delivered an arm has failed.
pub const CARRIED_SHARE: f64 = 0.99;
/// Above this share of a core the load generator may have been what was measured.
pub(crate) const BUSY_LOAD: f64 = 0.95;

/// What a scenario has given so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// What was run.
    pub scenario: Scenario,
    /// Whether it was cut short and is not for quoting.
    pub is_quick: bool,
    /// Where.
    pub machine: Machine,
    /// Arms that could not be measured at all.
    pub skipped: Vec<Skipped>,
    /// All cells so far.
    pub cells: Vec<Cell>,
}

/// An arm that could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub arm: String,
    /// What is missing.
    pub why: String,
}

/// One arm under one load in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// From 1.
    pub round: u32,
    /// Name of the arm.
    pub arm: String,
    /// What was asked of it.
    pub load: Load,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Figures.
    Measured(Box<Measured>),
    /// None, and why.
    Failed(String),
}

/// What a cell has given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What viewers got.
    pub figures: Figures,
    /// What it cost, role by role.
    pub roles: Vec<RoleCost>,
    /// The same over time.
    pub curves: Vec<Curve>,
    /// What `ps` told of the same processes, if it was asked.
    #[serde(default)]
    pub ps: Vec<Curve>,
    /// What the sampler took, in cores.
    pub sampler_cpu: f64,
    /// What makes the figures less certain.
    pub doubts: Vec<String>,
}

/// What viewers got in the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Seconds.
    pub window_s: f64,
    /// Frames a second that were published, as numbered in the stream.
    pub published_fps: f64,
    /// Frames a second at a viewer, the mean.
    pub fps: f64,
    /// The same of the viewer that got least.
    pub fps_least: f64,
    /// Whole frames at the viewers ÷ (published × viewers), 0 to 1.
    pub delivered: f64,
    /// Age at arrival in milliseconds.
    pub age_p50_ms: f64,
    /// 99th percentile of it.
    pub age_p99_ms: f64,
    /// The oldest.
    pub age_max_ms: f64,
    /// 99th percentile of last minus first arrival of a frame, over those that all got (of a crowd: all
    /// of its samples).
    pub synchrony_ms: Option<f64>,
    /// Connections that ended.
    pub lost: u64,
    /// How many of the window's two edges frames were on their way across: each makes what was delivered
    /// uncertain by up to a frame.
    #[serde(default)]
    pub edges_cut: u32,
    /// How long the one who writes was held up by handing a frame on, the mean in microseconds; only of
    /// our own broadcaster.
    #[serde(default)]
    pub writer_us: Option<f64>,
    /// For how much of that it had a processor, likewise.
    #[serde(default)]
    pub writer_cpu_us: Option<f64>,
}

/// What a role (processes with all they start) took in the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleCost {
    /// Who: `broadcaster`, `broker`, `edge`, `receivers`, …
    pub name: String,
    /// Cores busy.
    pub cpu: f64,
    /// The part of them in the kernel.
    pub system: f64,
    /// Memory that would be free without it, at the end of the window; with shared pages counted in
    /// full where the kernel does not tell (`memory_is_rss`).
    pub memory_bytes: u64,
    /// The most it was seen to have.
    pub memory_most_bytes: u64,
    /// See `memory_bytes`.
    pub memory_is_rss: bool,
    /// Bytes from disks each second, if the kernel tells.
    pub read_bps: Option<f64>,
    /// Bytes to disks each second, if the kernel tells.
    pub written_bps: Option<f64>,
    /// Processes at the end of the window.
    pub processes: u64,
    /// Their threads.
    pub threads: u64,
    /// How often a second a thread began or stopped waiting.
    pub switches_per_s: f64,
}

/// What a role took over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Which role.
    pub role: String,
    /// Seconds from the begin of the window to the end of each interval.
    pub at_s: Vec<f64>,
    /// Percent of a core in the interval.
    pub cpu_percent: Vec<f64>,
    /// Megabytes at its end.
    pub memory_mb: Vec<f64>,
}

impl RoleCost {
    /// What it took between two samples, having been seen with `most_bytes` of memory.
    #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
    #[must_use]
    pub fn of(name: &str, interval: &Interval, last: &Sample, most_bytes: u64) -> Self {
        let seconds = interval.elapsed.as_secs_f64();
        let rate = |bytes: Option<u64>| {
            let told = bytes.filter(|_| seconds > 0.0);
            told.map(|bytes| bytes as f64 / seconds)
        };
        Self {
            name: name.to_owned(),
            cpu: interval.cpu_share,
            system: interval.system_share,
            memory_bytes: memory(last),
            memory_most_bytes: most_bytes,
            memory_is_rss: last.pss_bytes.is_none(),
            read_bps: rate(interval.read_bytes),
            written_bps: rate(interval.written_bytes),
            processes: last.processes,
            threads: last.threads,
            switches_per_s: interval.voluntary_switches_per_s + interval.involuntary_switches_per_s,
        }
    }
}

/// The roles of viewers that stand for others: they count what they get and do nothing with it, so what
/// they take is nobody's cost.
pub(crate) const VIEWERS: &str = "viewers";
/// The same for readers of an exchange.
pub(crate) const READERS: &str = "readers";

/// Whether a role is only there to load the others.
#[must_use]
pub fn is_load(role: &str) -> bool {
    matches!(role, VIEWERS | READERS)
}

/// Memory of a role: what would be free without it, else what it has.
#[must_use]
pub fn memory(sample: &Sample) -> u64 {
    sample.pss_bytes.unwrap_or(sample.rss_bytes)
}

impl Figures {
    /// Those of a crowd.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    #[must_use]
    pub fn of_crowd(figures: &load::Figures) -> Self {
        let published_fps = figures.published as f64 / figures.seconds.max(f64::MIN_POSITIVE);
        Self {
            window_s: figures.seconds,
            published_fps,
            fps: published_fps * figures.delivered,
            fps_least: published_fps * figures.delivered_least,
            delivered: figures.delivered,
            age_p50_ms: figures.age_p50_ms,
            age_p99_ms: figures.age_p99_ms,
            age_max_ms: figures.age_max_ms,
            synchrony_ms: Some(figures.synchrony_ms),
            lost: figures.lost,
            edges_cut: figures.edges_cut,
            writer_us: None,
            writer_cpu_us: None,
        }
    }

    /// Bytes of frames that arrive each second at all viewers.
    #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
    #[must_use]
    pub fn throughput(&self, load: &Load) -> f64 {
        self.fps * (load.bytes * load.viewers) as f64
    }
}

impl Measured {
    /// Whether enough was delivered for the cost to mean something.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.figures.delivered >= VALID_SHARE && self.figures.lost == 0
    }

    /// Whether so many viewers can be carried at all.
    #[must_use]
    pub fn is_carried(&self) -> bool {
        self.figures.delivered >= CARRIED_SHARE
    }

    /// Cores busy, all roles together but for a load that only counts.
    #[must_use]
    pub fn cpu(&self) -> f64 {
        self.costing().map(|role| role.cpu).sum()
    }

    /// Memory of the same.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.costing().map(|role| role.memory_bytes).sum()
    }

    fn costing(&self) -> impl Iterator<Item = &RoleCost> {
        self.roles.iter().filter(|role| !is_load(&role.name))
    }

    /// One of the roles.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&RoleCost> {
        self.roles.iter().find(|role| role.name == name)
    }
}

impl Cell {
    /// What it has given, if it has.
    #[must_use]
    pub fn measured(&self) -> Option<&Measured> {
        match &self.outcome {
            Outcome::Measured(measured) => Some(measured),
            Outcome::Failed(_) => None,
        }
    }
}

impl Results {
    /// Those of an arm under a load, round by round.
    #[must_use]
    pub fn of(&self, arm: &str, load: &Load) -> Vec<&Measured> {
        let is_it = |cell: &&Cell| cell.arm == arm && cell.load == *load;
        self.cells
            .iter()
            .filter(is_it)
            .filter_map(Cell::measured)
            .collect()
    }

    /// Whether this cell has figures already.
    #[must_use]
    pub fn has(&self, round: u32, arm: &str, load: &Load) -> bool {
        let is_it = |cell: &&Cell| cell.round == round && cell.arm == arm && cell.load == *load;
        self.cells
            .iter()
            .filter(is_it)
            .any(|cell| cell.measured().is_some())
    }

    /// Cells that failed. Where an arm is driven until it fails that is how it should end.
    #[must_use]
    pub fn failures(&self) -> usize {
        let failed = self.cells.iter().filter(|cell| cell.measured().is_none());
        if self.scenario.until_failure {
            0
        } else {
            failed.count()
        }
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// If the file cannot be read or is no result.
    pub fn load(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?)
    }

    /// Where they are kept in a folder.
    #[must_use]
    pub fn path(folder: &Path, scenario: &str) -> PathBuf {
        folder.join(format!("{scenario}.json"))
    }

    /// Writes everything measured so far, replacing the file as a whole.
    ///
    /// # Errors
    /// If the folder or file cannot be written.
    pub fn save(&self, folder: &Path) -> io::Result<PathBuf> {
        let path = Self::path(folder, &self.scenario.name);
        replace(&path, |file| self.write(file))?;
        Ok(path)
    }

    /// As JSON with a line for each cell: curves are long, and what changed can be seen.
    fn write(&self, file: &mut impl Write) -> io::Result<()> {
        let Self {
            scenario,
            is_quick,
            machine,
            skipped,
            cells,
        } = self;
        writeln!(
            file,
            "{{\"scenario\": {},",
            serde_json::to_string(scenario)?
        )?;
        writeln!(file, "\"is_quick\": {is_quick},")?;
        writeln!(file, "\"machine\": {},", serde_json::to_string(machine)?)?;
        writeln!(file, "\"skipped\": {},", serde_json::to_string(skipped)?)?;
        write!(file, "\"cells\": [")?;
        for (number, cell) in cells.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(file, "{comma}\n{}", serde_json::to_string(cell)?)?;
        }
        writeln!(file, "\n]}}")
    }
}
