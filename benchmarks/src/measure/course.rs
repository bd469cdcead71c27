//! Samples of all roles over a window, as costs and as curves; and the file they all go to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::sampler::{Sample, Sampler};
use common::{Clock, Shutdown, SystemClock};
use serde_json::Value;

use crate::result::{Curve, RoleCost, memory};
use crate::sample::Round;
use crate::sample::show::json_of_round;

/// The file of a scenario's samples, as JSON lines.
#[derive(Debug)]
pub struct Raw {
    path: PathBuf,
    file: File,
    /// Which cell the lines are of.
    cell: Value,
}

/// The file does not take what it should keep.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct Unwritten {
    path: PathBuf,
    error: io::Error,
}

/// What a window was seen to cost.
#[derive(Debug)]
pub(super) struct Course {
    names: Vec<String>,
    rounds: Vec<Round>,
    missed: u32,
}

impl Raw {
    /// Opens the file of a scenario below `folder`; what it has is kept.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(folder: &Path, scenario: &str) -> Result<Self, Unwritten> {
        let folder = folder.join("raw");
        let path = folder.join(format!("{scenario}.jsonl"));
        let open = || {
            fs::create_dir_all(&folder)?;
            OpenOptions::new().create(true).append(true).open(&path)
        };
        match open() {
            Ok(file) => Ok(Self {
                path,
                file,
                cell: Value::Null,
            }),
            Err(error) => Err(Unwritten { path, error }),
        }
    }

    /// Says which cell the lines that follow are of.
    pub fn begin(&mut self, cell: Value) {
        self.cell = cell;
    }

    fn write(&mut self, mut line: Value) -> Result<(), Unwritten> {
        if let Some(fields) = line.as_object_mut() {
            fields.insert("cell".to_owned(), self.cell.clone());
        }
        let text = format!("{line}\n");
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| Unwritten {
                path: self.path.clone(),
                error,
            })
    }
}

/// Samples at once, at each whole number of intervals from then on, and when it is over.
pub(super) fn take(
    sampler: &mut Sampler,
    interval: Duration,
    is_over: &Shutdown,
    raw: &mut Raw,
) -> anyhow::Result<Course> {
    let names = sampler.roles().iter().map(|role| role.name.clone());
    let mut course = Course {
        names: names.collect(),
        rounds: Vec::new(),
        missed: 0,
    };
    let begun = SystemClock.monotonic();
    let mut due = Duration::ZERO;
    loop {
        let round = Round::take(sampler)?;
        raw.write(json_of_round(&course.names, begun, &round))?;
        course.rounds.push(round);
        if is_over.is_triggered() {
            return Ok(course);
        }
        due += interval;
        let elapsed = SystemClock.monotonic().since(begun);
        while due < elapsed {
            course.missed += 1;
            due += interval;
        }
        let _ = is_over.wait(due - elapsed);
    }
}

impl Course {
    fn first(&self) -> &[Sample] {
        self.rounds.first().map_or(&[], |round| &round.samples)
    }

    fn last(&self) -> &[Sample] {
        self.rounds.last().map_or(&[], |round| &round.samples)
    }

    /// A role that serves and has no processes left. The last role watches, and may have ended.
    pub(super) fn dead(&self) -> Option<&str> {
        let serving = self.names.iter().zip(self.last());
        let mut dead = serving
            .rev()
            .skip(1)
            .filter(|(_, sample)| sample.processes == 0);
        dead.next_back().map(|(name, _)| name.as_str())
    }

    /// What each role took from the first sample to the last.
    pub(super) fn costs(&self) -> Vec<RoleCost> {
        let pairs = self.first().iter().zip(self.last()).enumerate();
        let cost = |(role, (first, last)): (usize, (&Sample, &Sample))| {
            let seen = self.rounds.iter().map(|round| memory(&round.samples[role]));
            let most = seen.max().unwrap_or(0);
            RoleCost::of(&self.names[role], &last.since(first), last, most)
        };
        pairs.map(cost).collect()
    }

    /// The same from each sample to the next.
    #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
    pub(super) fn curves(&self) -> Vec<Curve> {
        let curve = |(role, name): (usize, &String)| {
            let mut curve = Curve {
                role: name.clone(),
                at_s: Vec::new(),
                cpu_percent: Vec::new(),
                memory_mb: Vec::new(),
            };
            for pair in self.rounds.windows(2) {
                let [earlier, later] = [&pair[0].samples[role], &pair[1].samples[role]];
                let at = later.taken_at.since(self.first()[role].taken_at);
                curve.at_s.push(rounded(at.as_secs_f64(), 100.0));
                curve
                    .cpu_percent
                    .push(rounded(100.0 * later.since(earlier).cpu_share, 10.0));
                curve
                    .memory_mb
                    .push(rounded(memory(later) as f64 / 1e6, 10.0));
            }
            curve
        };
        self.names.iter().enumerate().map(curve).collect()
    }

    /// Cores that sampling took.
    pub(super) fn sampler_cpu(&self) -> f64 {
        // The first round was before the window.
        let cost: Duration = self.rounds.iter().skip(1).map(|round| round.cost).sum();
        let ends = self.first().first().zip(self.last().first());
        let elapsed = ends.map_or(Duration::ZERO, |(first, last)| {
            last.taken_at.since(first.taken_at)
        });
        cost.as_secs_f64() / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Samples that were not taken in time, of all.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    pub(super) fn missed_share(&self) -> f64 {
        let all = self.rounds.len() as f64 + f64::from(self.missed);
        f64::from(self.missed) / all.max(1.0)
    }
}

/// As many digits as can be seen: files would be thrice as large.
fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}
