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
use hdrhistogram::Histogram;

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

/// Shared by all readers.
#[derive(Debug)]
pub struct Tally(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Who has had a frame.
    has_begun: Vec<bool>,
    /// The highest number, and when it was first seen.
    newest: Option<(u64, Monotonic)>,
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    from: (u64, Monotonic),
    to: Option<(u64, Monotonic)>,
    each: Vec<u64>,
    ages: Histogram<u64>,
    apart: Histogram<u64>,
    synchrony: Synchrony,
}

impl Tally {
    /// For so many readers.
    #[must_use]
    pub fn new(readers: usize) -> Self {
        Self(Mutex::new(State {
            has_begun: vec![false; readers],
            newest: None,
            window: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no thread panics while holding this")
    }

    /// A reader has got a frame. Nobody gets one twice.
    pub fn note(&self, reader: usize, arrival: Arrival) {
        let mut state = self.lock();
        state.has_begun[reader] = true;
        let Arrival { seq, age, at } = arrival;
        if state.newest.is_none_or(|(newest, _)| seq > newest) {
            state.newest = Some((seq, at));
        }
        let Some(window) = &mut state.window else {
            return;
        };
        if seq <= window.from.0 || window.to.is_some_and(|(to, _)| seq > to) {
            return;
        }
        window.each[reader] += 1;
        record(&mut window.ages, age);
        if let Some(apart) = window.synchrony.add(Identity { epoch: 0, seq }, at) {
            record(&mut window.apart, apart);
        }
    }

    /// How many readers have had a frame.
    #[must_use]
    pub fn begun(&self) -> usize {
        let state = self.lock();
        state.has_begun.iter().filter(|begun| **begun).count()
    }

    /// Begins a window, in place of an earlier one; false if nobody has had a frame yet.
    #[must_use]
    pub fn begin(&self) -> bool {
        let mut state = self.lock();
        let Some(from) = state.newest else {
            return false;
        };
        let readers = state.has_begun.len();
        state.window = Some(Window {
            from,
            to: None,
            each: vec![0; readers],
            ages: empty_times(),
            apart: empty_times(),
            synchrony: Synchrony::new(u16::try_from(readers).unwrap_or(u16::MAX)),
        });
        true
    }

    /// Ends the window: no newer frame belongs to it. Those on their way still count.
    pub fn end(&self) {
        let mut state = self.lock();
        let newest = state.newest;
        if let Some(window) = &mut state.window {
            window.to = newest;
        }
    }

    /// Whether everybody has all frames of the window.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let state = self.lock();
        let Some(window) = &state.window else {
            return false;
        };
        window.each.iter().all(|got| *got == window.published())
    }

    /// What the readers got in the window, each frame of so many `wire_bytes`; `None` before its end.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    #[must_use]
    pub fn figures(&self, wire_bytes: f64) -> Option<Figures> {
        let state = self.lock();
        let window = state.window.as_ref()?;
        let (_, ended_at) = window.to?;
        let published = window.published();
        let share = |got: &u64| *got as f64 / published.max(1) as f64;
        let shares: Vec<f64> = window.each.iter().map(share).collect();
        let ms = |micros: u64| micros as f64 / 1e3;
        let age = |share| ms(window.ages.value_at_quantile(share));
        Some(Figures {
            viewers: shares.len(),
            seconds: ended_at.since(window.from.1).as_secs_f64(),
            published,
            delivered: shares.iter().sum::<f64>() / shares.len().max(1) as f64,
            delivered_least: shares.iter().copied().fold(f64::INFINITY, f64::min),
            wire_bytes,
            age_p50_ms: age(0.5),
            age_p99_ms: age(0.99),
            age_max_ms: ms(window.ages.max()),
            synchrony_ms: ms(window.apart.value_at_quantile(0.99)),
            first_frame_ms: None,
            lost: 0,
        })
    }
}

impl Window {
    fn published(&self) -> u64 {
        self.to.map_or(0, |(to, _)| to - self.from.0)
    }
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
