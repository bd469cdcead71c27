//! Keeps sources to their frame rate: those that could run at any speed wait, those that are faster
//! than was asked for are thinned.

use std::time::Duration;

use common::{Clock, Monotonic, SystemClock};

use crate::beat::{Beat, Place};

/// A beat that does not drift: moments are counted from the first one, not from the last.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    due: Option<Monotonic>,
}

impl Pace {
    /// One beat every `interval`; the first one at once.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            due: None,
        }
    }

    /// Sleeps until the next beat; false if `timeout` ended first.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        let now = SystemClock.monotonic();
        let left = self.left(now);
        std::thread::sleep(left.min(timeout));
        if left > timeout {
            return false;
        }
        self.beat(now + left);
        true
    }

    /// How long until the next beat is due.
    fn left(&self, now: Monotonic) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.since(now))
    }

    /// Counts a beat at `now`. After a delay of more than an interval the missed beats are not
    /// made up for: the beat starts afresh.
    fn beat(&mut self, now: Monotonic) {
        let due = self.due.unwrap_or(now);
        let is_late = now.since(due) > self.interval;
        self.due = Some(if is_late { now } else { due } + self.interval);
    }
}

/// Leaves out pictures of a source that is faster than was asked for.
#[derive(Debug)]
pub(super) struct Thinner {
    beat: Beat,
    seen: u64,
}

impl Thinner {
    /// Keeps one picture each `interval`, beginning with the first.
    pub(super) const fn new(interval: Duration) -> Self {
        Self {
            beat: Beat::new(interval),
            seen: 0,
        }
    }

    /// Whether the picture taken at this moment is kept. To be asked about each picture once, in
    /// their order.
    pub(super) fn keeps(&mut self, at: Monotonic) -> bool {
        let place = Place {
            index: self.seen,
            at,
        };
        self.seen += 1;
        let is_turn = self.beat.is_turn(place);
        if is_turn {
            self.beat.take(place);
        }
        is_turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Monotonic {
        Monotonic::default() + ms * MS
    }

    #[test]
    fn small_delays_do_not_add_up_and_large_ones_are_not_made_up_for() {
        let mut pace = Pace::new(100 * MS);
        assert_eq!(pace.left(at(1000)), Duration::ZERO);
        pace.beat(at(1000));
        assert_eq!(pace.left(at(1030)), 70 * MS);
        pace.beat(at(1130));
        assert_eq!(pace.left(at(1150)), 50 * MS);
        pace.beat(at(1450));
        assert_eq!(pace.left(at(1450)), 100 * MS);
    }

    #[test]
    fn a_source_three_times_too_fast_is_thinned_to_every_third_picture() {
        let mut thinner = Thinner::new(100 * MS);
        let kept = (0..10).map(|number| thinner.keeps(at(1000 + 33 * number)));
        let kept: Vec<_> = kept.map(u8::from).collect();
        assert_eq!(kept, [1, 0, 0, 1, 0, 0, 1, 0, 0, 1]);
    }
}
