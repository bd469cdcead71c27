//! Samples as JSON lines, as a table that grows or stays in place, and as a summary.

use std::io::{self, Write};

use common::Monotonic;
use common::sampler::{Interval, Sample};
use serde_json::{Value, json};

use super::{Course, Round};

const MIB: f64 = (1 << 20) as f64;
const HEAD: &str = "CPU %  memory MiB  processes  threads  read MB/s  written MB/s";

/// A process's number with its program's name.
pub(super) fn name_of(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{}[{pid}]", name.trim_end())
}

/// Counters of a round, as read.
pub(crate) fn json_of_round(names: &[String], begun: Monotonic, round: &Round) -> Value {
    let role = |(name, sample): (&String, &Sample)| {
        json!({
            "role": name,
            "processes": sample.processes,
            "threads": sample.threads,
            "cpu_s": sample.cpu.as_secs_f64(),
            "user_s": sample.user.as_secs_f64(),
            "system_s": sample.system.as_secs_f64(),
            "rss_bytes": sample.rss_bytes,
            "pss_bytes": sample.pss_bytes,
            "read_bytes": sample.read_bytes,
            "written_bytes": sample.written_bytes,
            "voluntary_switches": sample.voluntary_switches,
            "involuntary_switches": sample.involuntary_switches,
            "minor_faults": sample.minor_faults,
            "major_faults": sample.major_faults,
        })
    };
    let taken_at = round
        .samples
        .first()
        .map_or(begun, |sample| sample.taken_at);
    json!({
        "kind": "sample",
        "elapsed_s": taken_at.since(begun).as_secs_f64(),
        "sampler_cpu_s": round.cost.as_secs_f64(),
        "roles": names.iter().zip(&round.samples).map(role).collect::<Vec<_>>(),
    })
}

/// What all came to.
pub(super) fn json_of_course(course: &Course) -> Value {
    let roles = course.roles().map(|(role, interval)| {
        json!({
            "role": course.names[role],
            "cpu_share": interval.cpu_share,
            "user_share": interval.user_share,
            "system_share": interval.system_share,
            "most_memory_bytes": course.most_bytes[role],
            "memory_is_rss": course.is_rss[role],
            "read_bytes": interval.read_bytes,
            "written_bytes": interval.written_bytes,
        })
    });
    let roles: Vec<_> = roles.collect();
    let elapsed = course.elapsed();
    json!({
        "kind": "summary",
        "elapsed_s": elapsed,
        "samples": course.rounds,
        "missed": course.missed,
        "sampler_cpu_s": course.cost.as_secs_f64(),
        "roles": roles,
    })
}

/// The same for people.
pub(super) fn summary(out: &mut impl Write, course: &Course) -> io::Result<()> {
    writeln!(
        out,
        "{} samples in {:.1} s, {} missed because the one before took too long",
        course.rounds,
        course.elapsed(),
        course.missed,
    )?;
    for (role, interval) in course.roles() {
        let megabytes = |bytes: Option<u64>| {
            bytes.map_or("not told".to_owned(), |bytes| {
                format!("{:.1} MB", bytes as f64 / 1e6)
            })
        };
        writeln!(
            out,
            "  {}: CPU {:.1} % of a core (user {:.1}, system {:.1}), at most {:.1} MiB{}, \
             read {}, written {}",
            course.names[role],
            100.0 * interval.cpu_share,
            100.0 * interval.user_share,
            100.0 * interval.system_share,
            course.most_bytes[role] as f64 / MIB,
            if course.is_rss[role] {
                " RSS, shared pages counted in full"
            } else {
                ""
            },
            megabytes(interval.read_bytes),
            megabytes(interval.written_bytes),
        )?;
    }
    let cost = course.cost.as_secs_f64();
    writeln!(
        out,
        "  the sampler itself: {:.2} ms of CPU a sample, {:.2} % of a core",
        1e3 * cost / f64::from(course.rounds),
        100.0 * cost / course.elapsed().max(f64::MIN_POSITIVE),
    )
}

impl Course {
    fn roles(&self) -> impl Iterator<Item = (usize, Interval)> + '_ {
        let pairs = self.last.iter().zip(&self.first);
        pairs.map(|(last, first)| last.since(first)).enumerate()
    }

    /// Seconds from the first round to the last.
    fn elapsed(&self) -> f64 {
        let pair = self.last.first().zip(self.first.first());
        pair.map_or(0.0, |(last, first)| {
            last.taken_at.since(first.taken_at).as_secs_f64()
        })
    }
}

/// Where a table goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// There is a file instead.
    Nowhere,
    /// Each round replaces the one before.
    Terminal,
    /// Each round adds a line for each role.
    Stream,
}

/// Rates of every role, round by round.
#[derive(Debug)]
pub(super) struct Table {
    names: Vec<String>,
    width: usize,
    place: Place,
    is_begun: bool,
}

impl Table {
    pub(super) fn new(names: &[String], place: Place) -> Self {
        let width = names.iter().map(|name| name.chars().count()).max();
        Self {
            names: names.to_vec(),
            width: width.unwrap_or(0).max("role".len()),
            place,
            is_begun: false,
        }
    }

    pub(super) fn begin(&self, out: &mut impl Write) -> io::Result<()> {
        if self.place == Place::Nowhere {
            return Ok(());
        }
        writeln!(
            out,
            "{:>9}  {:width$}  {HEAD}",
            "time s",
            "role",
            width = self.width
        )?;
        out.flush()
    }

    /// What happened between two rounds.
    pub(super) fn row(
        &mut self,
        out: &mut impl Write,
        begun: Monotonic,
        (earlier, later): (&Round, &Round),
    ) -> io::Result<()> {
        if self.place == Place::Nowhere {
            return Ok(());
        }
        if self.place == Place::Terminal && self.is_begun {
            // Up to the first role, and away with all below.
            write!(out, "\x1b[{}A\x1b[J", self.names.len())?;
        }
        self.is_begun = true;
        let samples = later.samples.iter().zip(&earlier.samples);
        for (name, (sample, before)) in self.names.iter().zip(samples) {
            let at = sample.taken_at.since(begun).as_secs_f64();
            let cells = cells(sample, &sample.since(before));
            writeln!(out, "{at:>9.2}  {name:width$}  {cells}", width = self.width)?;
        }
        out.flush()
    }
}

/// One line below [`HEAD`]. A size with a star is RSS.
fn cells(sample: &Sample, interval: &Interval) -> String {
    let (bytes, mark) = match sample.pss_bytes {
        Some(bytes) => (bytes, ' '),
        None => (sample.rss_bytes, '*'),
    };
    let rate = |bytes: Option<u64>| {
        let seconds = interval.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        bytes.map_or("?".to_owned(), |bytes| {
            format!("{:.2}", bytes as f64 / 1e6 / seconds)
        })
    };
    format!(
        "{:>5.1}  {:>9.1}{mark}  {:>9}  {:>7}  {:>9}  {:>12}",
        100.0 * interval.cpu_share,
        bytes as f64 / MIB,
        sample.processes,
        sample.threads,
        rate(interval.read_bytes),
        rate(interval.written_bytes),
    )
}
