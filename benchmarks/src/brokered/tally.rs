//! What readers of an exchange get, counted by the frames' numbers.
//!
//! A window is a range of numbers: those after the newest that anybody had when it began, up to the
//! newest that anybody has when it ends. Whatever the readers' ages, a frame belongs to the window or
//! not, so nothing is cut off at its edges; and its length is the time between the first arrivals of
//! the two frames at its ends. Times come from outside.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use common::synchrony::Synchrony;
use common::{Identity, Monotonic};

use crate::load::Figures;
use crate::load::sample::{empty_times, record};

/// A frame at a reader.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its number.
    pub seq: u64,
    /// How old it is.
    pub age: Duration,
    /// When it came.
    pub at: Monotonic,
}

/// Arrivals kept of one reader; later ones are not counted.
const MAX_ARRIVALS: usize = 1 << 16;

/// Shared by all readers. Each writes into a log of its own, so that readers do not wait for one
/// another: that would cost them more than what is measured.
#[derive(Debug)]
pub struct Tally {
    logs: Box<[Mutex<Log>]>,
    window: Mutex<Option<Window>>,
}

/// What one reader got.
#[derive(Debug, Default)]
struct Log {
    /// The last frame.
    last: Option<(u64, Monotonic)>,
    /// Whether a window has begun.
    keeps: bool,
    /// All since then.
    arrivals: Vec<Arrival>,
}

/// Two numbers, each with when somebody had it first.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: (u64, Monotonic),
    to: Option<(u64, Monotonic)>,
}

impl Tally {
    /// For so many readers.
    #[must_use]
    pub fn new(readers: usize) -> Self {
        Self {
            logs: (0..readers).map(|_| Mutex::default()).collect(),
            window: Mutex::default(),
        }
    }

    fn logs(&self) -> impl Iterator<Item = MutexGuard<'_, Log>> {
        self.logs.iter().map(lock)
    }

    /// A reader has got a frame. Nobody gets one twice.
    pub fn note(&self, reader: usize, arrival: Arrival) {
        let mut log = lock(&self.logs[reader]);
        if log.last.is_none_or(|(last, _)| arrival.seq > last) {
            log.last = Some((arrival.seq, arrival.at));
        }
        if log.keeps && log.arrivals.len() < MAX_ARRIVALS {
            log.arrivals.push(arrival);
        }
    }

    /// How many readers have had a frame.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.logs().filter(|log| log.last.is_some()).count()
    }

    /// Begins a window, in place of an earlier one; false if nobody has had a frame yet.
    #[must_use]
    pub fn begin(&self) -> bool {
        // Kept from before the window, so that nothing of it is missed.
        for mut log in self.logs() {
            log.keeps = true;
            log.arrivals.clear();
        }
        let from = self.newest();
        *lock(&self.window) = from.map(|from| Window { from, to: None });
        from.is_some()
    }

    /// Ends the window: no newer frame belongs to it. Those on their way still count.
    pub fn end(&self) {
        let newest = self.newest();
        if let Some(window) = &mut *lock(&self.window) {
            window.to = newest;
        }
    }

    /// The highest number that anybody has, and when it was had first, of those that had nothing later.
    fn newest(&self) -> Option<(u64, Monotonic)> {
        let last: Vec<_> = self.logs().filter_map(|log| log.last).collect();
        let newest = last.iter().map(|(seq, _)| *seq).max()?;
        let first = last.iter().filter(|(seq, _)| *seq == newest);
        first.map(|(_, at)| *at).min().map(|at| (newest, at))
    }

    /// Whether everybody has all frames of the window.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let window = *lock(&self.window);
        window.is_some_and(|window| {
            let mut logs = self.logs();
            logs.all(|log| window.of(&log).count() as u64 == window.published())
        })
    }

    /// What the readers got in the window, each frame of so many `wire_bytes`; `None` before its end.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    #[must_use]
    pub fn figures(&self, wire_bytes: f64) -> Option<Figures> {
        let window = (*lock(&self.window))?;
        let (_, ended_at) = window.to?;
        let published = window.published();
        let (mut shares, mut ages, mut apart) = (Vec::new(), empty_times(), empty_times());
        let readers = u16::try_from(self.logs.len()).unwrap_or(u16::MAX);
        let mut synchrony = Synchrony::new(readers);
        for log in self.logs() {
            let mut got = 0_u64;
            for arrival in window.of(&log) {
                got += 1;
                record(&mut ages, arrival.age);
                let identity = Identity {
                    epoch: 0,
                    seq: arrival.seq,
                };
                if let Some(time) = synchrony.add(identity, arrival.at) {
                    record(&mut apart, time);
                }
            }
            shares.push(got as f64 / published.max(1) as f64);
        }
        let ms = |micros: u64| micros as f64 / 1e3;
        let age = |share| ms(ages.value_at_quantile(share));
        Some(Figures {
            viewers: shares.len(),
            seconds: ended_at.since(window.from.1).as_secs_f64(),
            published,
            delivered: shares.iter().sum::<f64>() / shares.len().max(1) as f64,
            delivered_least: shares.iter().copied().fold(f64::INFINITY, f64::min),
            wire_bytes,
            age_p50_ms: age(0.5),
            age_p99_ms: age(0.99),
            age_max_ms: ms(ages.max()),
            synchrony_ms: ms(apart.value_at_quantile(0.99)),
            first_frame_ms: None,
            lost: 0,
            edges_cut: 0,
        })
    }
}

impl Window {
    fn published(&self) -> u64 {
        self.to.map_or(0, |(to, _)| to - self.from.0)
    }

    /// What a reader got of it.
    fn of<'a>(&self, log: &'a Log) -> impl Iterator<Item = &'a Arrival> {
        let (from, to) = (self.from.0, self.to.map_or(u64::MAX, |(to, _)| to));
        (log.arrivals.iter()).filter(move |arrival| arrival.seq > from && arrival.seq <= to)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while holding this")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(100);

    fn arrival(seq: u64, late: Duration) -> Arrival {
        let published = Monotonic::default() + EVERY * u32::try_from(seq).unwrap();
        Arrival {
            seq,
            age: late,
            at: published + late,
        }
    }

    #[test]
    fn a_window_counts_what_was_published_in_it_however_late_it_comes() {
        let tally = Tally::new(2);
        assert!(!tally.begin());
        let late = Duration::from_millis(20);
        (1..=5).for_each(|seq| tally.note(0, arrival(seq, Duration::ZERO)));
        assert_eq!(tally.begun(), 1);
        assert!(tally.begin());
        // Of before the window, at the slower reader.
        tally.note(1, arrival(5, late));
        for seq in 6..=15 {
            tally.note(0, arrival(seq, Duration::ZERO));
            if seq < 15 {
                tally.note(1, arrival(seq, late));
            }
        }
        assert_eq!(tally.figures(1.0).map(|figures| figures.viewers), None);
        tally.end();
        assert!(!tally.is_complete());
        tally.note(1, arrival(15, late));
        assert!(tally.is_complete());
        // Of after it.
        tally.note(0, arrival(16, Duration::from_secs(9)));

        let figures = tally.figures(90.0).unwrap();
        assert_eq!((figures.viewers, figures.published), (2, 10));
        assert!((figures.seconds - 1.0).abs() < 1e-9, "{figures:?}");
        assert!((figures.delivered - 1.0).abs() < 1e-9, "{figures:?}");
        assert!(figures.age_max_ms < 21.0, "{figures:?}");
        assert!((figures.synchrony_ms - 20.0).abs() < 0.1, "{figures:?}");
    }

    #[test]
    fn what_nobody_got_and_what_one_missed_is_not_delivered() {
        let tally = Tally::new(2);
        tally.note(0, arrival(0, Duration::ZERO));
        assert!(tally.begin());
        for seq in [1, 2, 3, 4, 6, 7, 8, 9, 10] {
            tally.note(0, arrival(seq, Duration::ZERO));
            if seq > 4 {
                tally.note(1, arrival(seq, Duration::ZERO));
            }
        }
        tally.end();
        assert!(!tally.is_complete());
        let figures = tally.figures(1.0).unwrap();
        assert!((figures.delivered - 0.7).abs() < 1e-9, "{figures:?}");
        assert!((figures.delivered_least - 0.5).abs() < 1e-9, "{figures:?}");
    }
}
