//! What was measured with a broker, as it is kept: every cell of every round, with what each role cost.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use common::sampler::{Interval, Sample};
use serde::{Deserialize, Serialize};

use crate::load::Figures;
use crate::machine::Machine;
use crate::result::{VALID_SHARE, save_as};

/// Below this share of frames delivered a way has failed.
pub const LIMIT_SHARE: f64 = 0.99;

/// How frames get to viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The least that publishes to an exchange, and the least that reads from it.
    Floor,
    /// Our broadcaster publishes and the least reads, so that a difference to ours is the reader's own.
    Crossed,
    /// Our broadcaster and our readers at the two sides of an exchange.
    Exchange,
    /// One broadcaster, viewers over tcp.
    Ring,
    /// One broadcaster, an exchange, two edges, viewers over tcp.
    Edges,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// How frames get to viewers.
    pub way: Way,
    /// How many watch: readers of the exchange, or viewers over tcp.
    pub viewers: usize,
    /// Bytes of a frame.
    pub bytes: usize,
    /// Frames a second.
    pub fps: u32,
    /// Messages on their way to a reader unacknowledged: 0 for none wanted, `None` for what readers
    /// do by themselves (the floor then takes as many as they do at most).
    pub prefetch: Option<u16>,
    /// Largest frame of AMQP in bytes, which is also what each of a reader's buffers has; `None` for
    /// what readers do by themselves, 32 KiB; the floor takes what the broker suggests, 128 KiB.
    #[serde(default)]
    pub frame_max: Option<u32>,
}

/// A broadcaster with a ring and without viewers, beside our publisher: what making frames costs.
pub const MAKING: &str = "making";

/// A whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Which scenario.
    pub scenario: String,
    /// Whether it was cut short and is not for quoting.
    pub is_quick: bool,
    /// Where it was measured.
    pub machine: Machine,
    /// Version of the broker.
    pub broker: String,
    /// All cells so far.
    pub cells: Vec<Cell>,
}

/// One case in one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// From 1.
    pub round: u32,
    /// What was asked for.
    pub case: Case,
    /// What the viewers got.
    pub figures: Figures,
    /// What it cost, by role.
    pub roles: Vec<RoleCost>,
}

/// What a role (processes with all they start) cost in the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleCost {
    /// Who: `publisher`, `broker`, `readers`, `edges`, `viewers` or [`MAKING`].
    pub name: String,
    /// Cores busy.
    pub cpu: f64,
    /// Memory that would be free without them, at the end of the window.
    pub pss_bytes: Option<u64>,
    /// Memory with shared pages counted several times, for where the other is not told.
    pub rss_bytes: u64,
    /// Bytes to disks each second.
    pub written_bps: Option<f64>,
    /// Processes at the end of the window.
    pub processes: u64,
    /// Their threads.
    pub threads: u64,
}

impl RoleCost {
    /// What the window between two samples cost.
    #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
    #[must_use]
    pub fn of(name: &str, interval: &Interval, last: &Sample) -> Self {
        let seconds = interval.elapsed.as_secs_f64();
        let written = interval.written_bytes.filter(|_| seconds > 0.0);
        Self {
            name: name.to_owned(),
            cpu: interval.cpu_share,
            pss_bytes: last.pss_bytes,
            rss_bytes: last.rss_bytes,
            written_bps: written.map(|bytes| bytes as f64 / seconds),
            processes: last.processes,
            threads: last.threads,
        }
    }
}

impl Cell {
    /// Whether enough was delivered for the cost to mean something.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.figures.delivered >= VALID_SHARE && self.figures.lost == 0
    }

    /// Whether this many viewers can be carried at all.
    #[must_use]
    pub fn is_carried(&self) -> bool {
        self.figures.delivered >= LIMIT_SHARE
    }

    /// The cost of a role, if it takes part.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&RoleCost> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// Frames published a second, as the viewers saw them numbered.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    #[must_use]
    pub fn fps(&self) -> f64 {
        self.figures.published as f64 / self.figures.seconds.max(f64::MIN_POSITIVE)
    }

    /// Microseconds of processor time of a role for each frame published.
    #[must_use]
    pub fn us_a_frame(&self, name: &str) -> Option<f64> {
        let fps = self.fps();
        let cpu = self.role(name)?.cpu;
        (fps > 0.0).then(|| cpu * 1e6 / fps)
    }

    /// What our publisher takes for a frame beyond making it; nothing is made by the floor.
    #[must_use]
    pub fn us_of_publishing(&self) -> Option<f64> {
        let making = self.us_a_frame(MAKING).unwrap_or(0.0);
        Some(self.us_a_frame("publisher")? - making)
    }

    /// Microseconds of processor time of a role for each frame that reached a viewer.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    #[must_use]
    pub fn us_a_delivery(&self, name: &str) -> Option<f64> {
        let deliveries = self.figures.viewers as f64 * self.figures.delivered;
        let us = self.us_a_frame(name)?;
        (deliveries > 0.0).then(|| us / deliveries)
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

    /// The cell of another case beside this one, in the same round.
    #[must_use]
    pub fn beside(&self, cell: &Cell, case: Case) -> Option<&Cell> {
        let is_it = |other: &&Cell| other.round == cell.round && other.case == case;
        self.cells.iter().find(is_it)
    }
}
