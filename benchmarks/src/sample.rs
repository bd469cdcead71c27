//! `benchmarks sample`: what running programs cost, over time, together with all they start.
//!
//! In here: whom to sample, when, and until when. [`show`] makes lines of what was read. The file
//! has the counters themselves, one line a sample, so that any rate can be made of them later; what
//! people see are rates.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use common::sampler::{self, Role, Sample, Sampler};
use common::{Clock, Monotonic, Shutdown, SystemClock};
use rustix::time::{ClockId, clock_gettime};

use crate::args;

pub mod show;

use show::{Place, Table};

/// Why there are no samples.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody who cannot be sampled was named.
    #[error("{0}; --pid and --role take processes that run now, each once")]
    Nobody(sampler::Error),
    /// The system does not tell what it should.
    #[error("not sampled: {0}")]
    Sampler(#[from] sampler::Error),
    /// The file cannot be written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The table cannot be shown.
    #[error("nobody takes the output: {0}")]
    Output(#[from] io::Error),
}

/// A role as it is typed: `NAME=PID,PID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named(Role);

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RIGHT: &str = "right would be NAME=PID,PID";
        let (name, pids) = text.split_once('=').ok_or(RIGHT)?;
        let roots: Result<_, _> = pids.split(',').map(str::parse).collect();
        match roots {
            Ok(roots) if !name.is_empty() => Ok(Self(Role {
                name: name.to_owned(),
                roots,
            })),
            _ => Err(RIGHT),
        }
    }
}

/// One sample of all roles.
#[derive(Debug, Clone)]
pub struct Round {
    /// One for each role.
    pub samples: Vec<Sample>,
    /// Processor time that taking it cost.
    pub cost: Duration,
}

/// The rounds from the first to the last, as far as a summary needs them.
#[derive(Debug, Clone)]
pub struct Course {
    /// Names of the roles.
    pub names: Vec<String>,
    /// The first samples.
    pub first: Vec<Sample>,
    /// The last ones.
    pub last: Vec<Sample>,
    /// The most memory each role was seen to hold.
    pub most_bytes: Vec<u64>,
    /// Whether that is without knowledge of shared pages, for each role.
    pub is_rss: Vec<bool>,
    /// How many rounds there were.
    pub rounds: u32,
    /// Moments for a round that had passed before the last one was over.
    pub missed: u32,
    /// Processor time of all rounds.
    pub cost: Duration,
}

/// Samples until the time is over, all processes have ended, or `shutdown`. Then says what it came
/// to, on `out` and in the file.
///
/// # Errors
/// If a process is not there at the start, or something cannot be written.
pub fn run(args: &args::Sample, shutdown: &Shutdown, out: &mut impl Write) -> Result<(), Error> {
    let roles = roles_of(args);
    let names: Vec<String> = roles.iter().map(|role| role.name.clone()).collect();
    let mut sampler = Sampler::new(roles).map_err(|error| match error {
        sampler::Error::Gone { .. } | sampler::Error::Twice { .. } => Error::Nobody(error),
        other => Error::Sampler(other),
    })?;
    let mut file = args.out.as_ref().map(Lines::create).transpose()?;
    let place = match (&file, io::stdout().is_terminal()) {
        (Some(_), _) => Place::Nowhere,
        (None, true) => Place::Terminal,
        (None, false) => Place::Stream,
    };
    let mut table = Table::new(&names, place);
    table.begin(out)?;

    let first = Round::take(&mut sampler)?;
    let mut course = Course::new(names, &first);
    let begun = first
        .samples
        .first()
        .map_or_else(Monotonic::default, |sample| sample.taken_at);
    let mut latest = first;
    loop {
        if let Some(file) = &mut file {
            file.write(&show::json_of_round(&course.names, begun, &latest))?;
        }
        let is_over = latest.samples.iter().all(|sample| sample.processes == 0)
            || args
                .duration
                .is_some_and(|duration| SystemClock.monotonic().since(begun) >= duration);
        if is_over || shutdown.wait(course.pause(begun, args)) {
            break;
        }
        let next = Round::take(&mut sampler)?;
        course.take_in(&next);
        table.row(out, begun, (&latest, &next))?;
        latest = next;
    }
    if let Some(mut file) = file {
        file.write(&show::json_of_course(&course))?;
        file.finish()?;
    }
    show::summary(out, &course)?;
    Ok(out.flush()?)
}

/// The roles that were typed; those of one name are one.
fn roles_of(args: &args::Sample) -> Vec<Role> {
    let alone = |pid: &u32| Role {
        name: show::name_of(*pid),
        roots: vec![*pid],
    };
    let mut roles: Vec<Role> = Vec::new();
    let typed = args.roles.iter().map(|named| named.0.clone());
    for role in typed.chain(args.pids.iter().map(alone)) {
        match roles.iter_mut().find(|known| known.name == role.name) {
            Some(known) => known.roots.extend(role.roots),
            None => roles.push(role),
        }
    }
    roles
}

impl Round {
    /// Samples now.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn take(sampler: &mut Sampler) -> Result<Self, sampler::Error> {
        let own = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
        let before = own();
        let samples = sampler.sample(&SystemClock)?;
        Ok(Self {
            samples,
            cost: own().saturating_sub(before),
        })
    }
}

impl Course {
    fn new(names: Vec<String>, first: &Round) -> Self {
        let mut course = Self {
            most_bytes: vec![0; names.len()],
            is_rss: vec![false; names.len()],
            names,
            first: first.samples.clone(),
            last: first.samples.clone(),
            rounds: 0,
            missed: 0,
            cost: Duration::ZERO,
        };
        course.take_in(first);
        course
    }

    fn take_in(&mut self, round: &Round) {
        self.last.clone_from(&round.samples);
        self.rounds += 1;
        self.cost += round.cost;
        for (role, sample) in round.samples.iter().enumerate() {
            let bytes = sample.pss_bytes.unwrap_or(sample.rss_bytes);
            self.most_bytes[role] = self.most_bytes[role].max(bytes);
            self.is_rss[role] |= sample.pss_bytes.is_none();
        }
    }

    /// How long until the next round, which is at a whole number of intervals from the first.
    fn pause(&mut self, begun: Monotonic, args: &args::Sample) -> Duration {
        let elapsed = SystemClock.monotonic().since(begun);
        let mut due = args.interval * (self.rounds + self.missed);
        while due < elapsed {
            self.missed += 1;
            due += args.interval;
        }
        // Not beyond the end: the last round is taken there.
        let due = args.duration.map_or(due, |duration| due.min(duration));
        due.saturating_sub(elapsed)
    }
}

/// The file, line by line: whatever happens later, what was sampled is in it.
struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    fn create(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(Error::File { path, error }),
        }
    }

    fn write(&mut self, line: &serde_json::Value) -> Result<(), Error> {
        let text = format!("{line}\n");
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|error| self.failed(error))
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        let path = self.path.clone();
        Error::File { path, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_and_those_of_one_name_joined() {
        let named = |text: &str| text.parse::<Named>();
        let args = args::Sample {
            pids: vec![std::process::id()],
            roles: ["a=1,2", "b=3", "a=4"]
                .map(|text| named(text).unwrap())
                .to_vec(),
            interval: Duration::from_millis(200),
            duration: None,
            out: None,
        };
        let roles = roles_of(&args);
        let roots: Vec<_> = roles.iter().map(|role| role.roots.clone()).collect();
        assert_eq!(roots, [vec![1, 2, 4], vec![3], args.pids]);
        for wrong in ["a", "=1", "a=", "a=1,", "a=x", "a=-1"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
