//! What `ps` tells: processor time divided by the whole life of a process, summed over processes.
//!
//! Two curves: what the installed one prints, and what versions before 4 would: those divide by the
//! seconds of life as whole numbers, so that the quotient falls whenever one more is complete.

use std::fs;
use std::process::Command;
use std::time::Duration;

use common::{Clock, Shutdown, SystemClock};
use rustix::param::clock_ticks_per_second;

use crate::result::Curve;

/// The curve of the installed program.
pub(crate) const INSTALLED: &str = "ps, as installed";
/// The curve of its older versions.
pub(crate) const OLDER: &str = "ps before version 4";

/// Asks at each whole number of intervals until it is over. Without `ps` both curves are empty.
pub(super) fn take(pids: &[u32], every: Duration, is_over: &Shutdown) -> Vec<Curve> {
    let mut curves = [INSTALLED, OLDER].map(|name| Curve {
        role: name.to_owned(),
        at_s: Vec::new(),
        cpu_percent: Vec::new(),
        memory_mb: Vec::new(),
    });
    let begun = SystemClock.monotonic();
    let mut due = Duration::ZERO;
    while !is_over.is_triggered() {
        let at = SystemClock.monotonic().since(begun).as_secs_f64();
        let ticks = clock_ticks_per_second();
        let older = pids
            .iter()
            .filter_map(|pid| Life::of(*pid)?.percent_of_whole_seconds(ticks));
        let older = (older.sum::<f64>(), 0.0);
        if let Some(installed) = ask(pids) {
            for (curve, (cpu, memory)) in curves.iter_mut().zip([installed, older]) {
                curve.at_s.push(at);
                curve.cpu_percent.push(cpu);
                curve.memory_mb.push(memory);
            }
        }
        due += every;
        let _ = is_over.wait(due.saturating_sub(SystemClock.monotonic().since(begun)));
    }
    curves.into()
}

/// Percent of a core and megabytes, as the installed `ps` tells them.
fn ask(pids: &[u32]) -> Option<(f64, f64)> {
    let list: Vec<_> = pids.iter().map(u32::to_string).collect();
    let words = ["-o", "%cpu=,rss=", "-p", &list.join(",")];
    let output = Command::new("ps").args(words).output().ok()?;
    read(&String::from_utf8(output.stdout).ok()?)
}

fn read(table: &str) -> Option<(f64, f64)> {
    let row = |line: &str| {
        let (cpu, kib) = line.trim().split_once(' ')?;
        let bytes = 1024.0 * kib.trim().parse::<f64>().ok()?;
        Some((cpu.parse::<f64>().ok()?, bytes / 1e6))
    };
    let rows: Option<Vec<_>> = table.lines().map(row).collect();
    let rows = rows.filter(|rows| !rows.is_empty())?;
    let sum = |of: fn(&(f64, f64)) -> f64| rows.iter().map(of).sum();
    Some((sum(|row| row.0), sum(|row| row.1)))
}

/// Of a process: processor time and age, in clock ticks.
#[derive(Debug, PartialEq, Eq)]
struct Life {
    used: u64,
    started: u64,
    now_s: u64,
}

impl Life {
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::read(&stat, &fs::read_to_string("/proc/uptime").ok()?)
    }

    /// proc(5): the 14th, 15th and 22nd field, counted from behind the name.
    fn read(stat: &str, uptime: &str) -> Option<Self> {
        let (_, behind_name) = stat.rsplit_once(')')?;
        let fields: Vec<_> = behind_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let (seconds, _) = uptime.split_once('.')?;
        Some(Self {
            used: field(14)? + field(15)?,
            started: field(22)?,
            now_s: seconds.parse().ok()?,
        })
    }

    /// Tenths of a percent as a whole number, as those versions count.
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    fn percent_of_whole_seconds(&self, ticks: u64) -> Option<f64> {
        let seconds = self.now_s.checked_sub(self.started / ticks)?;
        let tenths = (self.used * 1000 / ticks).checked_div(seconds)?;
        Some(tenths as f64 / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_summed() {
        assert_eq!(read(" 1.5  1000\n10.0 2000\n"), Some((11.5, 3.072)));
        assert_eq!(read(""), None);
        assert_eq!(read("error: no\n"), None);
    }

    #[test]
    fn older_versions_fall_with_each_second_that_is_complete() {
        let behind = "S 1 1 1 0 -1 0 0 0 0 0 60 40 0 0 20 0 1 0 1050 0 0";
        let stat = format!("7 (a (b) c) {behind}");
        // One second of processor time; started at 10.5 s, which counts as 10.
        let percent = |uptime: &str| {
            let life = Life::read(&stat, uptime).unwrap();
            life.percent_of_whole_seconds(100).unwrap()
        };
        assert_eq!(percent("13.99 0.0"), 33.3);
        assert_eq!(percent("14.00 0.0"), 25.0);
        assert_eq!(
            Life::read(&stat, "10.60 0.0")
                .unwrap()
                .percent_of_whole_seconds(100),
            None
        );
        assert_eq!(Life::read("7 (a) S 1", "1.0 0.0"), None);
    }

    #[test]
    fn a_process_that_is_there_is_told_of() {
        let over = Shutdown::default();
        let own = std::process::id();
        let curves = std::thread::scope(|scope| {
            let taking = scope.spawn(|| take(&[own], Duration::from_millis(20), &over));
            // In the time that takes, whoever does nothing else has asked more than once too.
            (0..20).for_each(|_| assert!(ask(&[own]).is_some()));
            over.trigger();
            taking.join().unwrap()
        });
        assert_eq!(curves.len(), 2);
        assert!(curves[0].at_s.len() >= 2, "{curves:?}");
        assert!(curves[0].memory_mb[0] > 0.5, "{curves:?}");
    }
}
