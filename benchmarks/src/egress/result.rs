//! What was measured of the way out, as it is kept: every cell of every round.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use common::sampler::{Interval, Sample};
use serde::{Deserialize, Serialize};

use crate::contender::{Contender, Workload};
use crate::load::Figures;
use crate::machine::Machine;
use crate::result::{VALID_SHARE, save_as};

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

    /// Whether frames were on their way at an edge of the window, so that what was counted in it was not
    /// all published in it.
    #[expect(clippy::cast_precision_loss, reason = "at most 64 frames")]
    #[must_use]
    pub fn is_cut(&self) -> bool {
        let Workload {
            fps,
            frames_per_payload,
            ..
        } = self.workload;
        let interval_ms = 1_000.0 * frames_per_payload as f64 / f64::from(fps);
        self.figures.edges_cut > 0 || self.figures.age_p99_ms > interval_ms
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
