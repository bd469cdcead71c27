//! Keeps sources that could run at any speed to their frame rate.

use std::time::Duration;

use common::{Clock, Monotonic, SystemClock};

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
}
