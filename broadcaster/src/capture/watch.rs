//! When a source counts as gone, how long to wait before it is opened again, and how often to speak
//! of a trouble that lasts: plain arithmetic on times that are handed in.

use std::time::Duration;

use common::Monotonic;

/// No source is gone before this much silence, however fast its pictures came.
const LEAST_PATIENCE: Duration = Duration::from_millis(700);
/// A source that was just opened has this long for its first picture: cameras measure the light
/// first.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// Silence of more than this many intervals is no jitter.
const INTERVALS: u32 = 3;
/// Intervals looked at: their median follows a camera that slows down in the dark, and takes no
/// notice of one outage.
const REMEMBERED: usize = 5;

/// Tells silence from slowness.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// The newest intervals, at first only the one that was promised.
    recent: [Duration; REMEMBERED],
    known: usize,
    next: usize,
    /// Least wait for the first picture.
    start: Duration,
    opened: Monotonic,
    fed: Option<Monotonic>,
}

impl Watchdog {
    /// For a source opened `now` that promises a picture every `interval`.
    pub(super) const fn new(interval: Duration, now: Monotonic) -> Self {
        Self {
            recent: [interval; REMEMBERED],
            known: 1,
            next: 1,
            start: START_PATIENCE,
            opened: now,
            fed: None,
        }
    }

    /// The same for a source that says by itself whether it is worth waiting for: it counts as gone
    /// until its first picture.
    pub(super) const fn doubtful(mut self) -> Self {
        self.start = Duration::ZERO;
        self
    }

    /// A picture came.
    pub(super) fn feed(&mut self, now: Monotonic) {
        if let Some(before) = self.fed.replace(now) {
            self.recent[self.next] = now.since(before);
            self.next = (self.next + 1) % REMEMBERED;
            self.known = (self.known + 1).min(REMEMBERED);
        }
    }

    /// Whether no picture has come for too long.
    pub(super) fn is_starved(&self, now: Monotonic) -> bool {
        match self.fed {
            Some(fed) => now.since(fed) > self.patience(),
            None if self.start.is_zero() => true,
            None => now.since(self.opened) > self.patience().max(self.start),
        }
    }

    /// The longest silence that is none.
    pub(super) fn patience(&self) -> Duration {
        let mut recent = self.recent;
        let known = &mut recent[..self.known];
        known.sort_unstable();
        (known[(self.known - 1) / 2] * INTERVALS).max(LEAST_PATIENCE)
    }
}

/// Tells of what happens again and again, but not each time.
#[derive(Debug, Default)]
pub(super) struct Report {
    told: u64,
    told_at: Option<Monotonic>,
}

impl Report {
    /// Between two lines in the log.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Of so many together, those not told of yet, if it is time to tell.
    pub(super) fn due(&mut self, total: u64, now: Monotonic) -> Option<u64> {
        let is_time = self
            .told_at
            .is_none_or(|at| now.since(at) >= Self::INTERVAL);
        let new = total.saturating_sub(self.told);
        if new == 0 || !is_time {
            return None;
        }
        self.told = total;
        self.told_at = Some(now);
        Some(new)
    }
}

/// The waits between tries to open a source.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(10);

    /// The wait before the next try.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(Self::LONGEST);
        wait
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            next: Self::SHORTEST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{Clock, ManualClock};

    const MS: Duration = Duration::from_millis(1);

    /// Feeds the dog `count` pictures, one each `interval`.
    fn feed(dog: &mut Watchdog, clock: &ManualClock, count: u32, interval: Duration) {
        for _ in 0..count {
            clock.advance(interval);
            dog.feed(clock.monotonic());
        }
    }

    #[test]
    fn a_fast_source_is_gone_after_700_ms_of_silence() {
        let clock = ManualClock::default();
        let mut dog = Watchdog::new(33 * MS, clock.monotonic());
        feed(&mut dog, &clock, 10, 33 * MS);
        clock.advance(700 * MS);
        assert!(!dog.is_starved(clock.monotonic()));
        clock.advance(MS);
        assert!(dog.is_starved(clock.monotonic()));
        dog.feed(clock.monotonic());
        assert!(!dog.is_starved(clock.monotonic()));
    }

    #[test]
    fn patience_follows_the_measured_rate_and_not_one_outage() {
        let clock = ManualClock::default();
        let mut dog = Watchdog::new(33 * MS, clock.monotonic());
        feed(&mut dog, &clock, 5, 33 * MS);
        feed(&mut dog, &clock, 1, 60_000 * MS);
        assert_eq!(dog.patience(), 700 * MS);
        feed(&mut dog, &clock, 3, 2_000 * MS);
        assert_eq!(dog.patience(), 6_000 * MS);
        feed(&mut dog, &clock, 3, 33 * MS);
        assert_eq!(dog.patience(), 700 * MS);
    }

    #[test]
    fn two_intervals_tell_that_a_source_is_slower_than_was_promised_and_one_does_not() {
        let clock = ManualClock::default();
        let mut dog = Watchdog::new(1_000 * MS, clock.monotonic());
        feed(&mut dog, &clock, 2, 5_000 * MS);
        assert_eq!(dog.patience(), 3_000 * MS);
        feed(&mut dog, &clock, 1, 5_000 * MS);
        assert_eq!(dog.patience(), 15_000 * MS);
    }

    #[test]
    fn the_first_picture_may_take_longer() {
        let clock = ManualClock::default();
        let dog = Watchdog::new(33 * MS, clock.monotonic());
        clock.advance(5_000 * MS);
        assert!(!dog.is_starved(clock.monotonic()));
        clock.advance(MS);
        assert!(dog.is_starved(clock.monotonic()));
        let slow = Watchdog::new(10_000 * MS, clock.monotonic());
        clock.advance(30_000 * MS);
        assert!(!slow.is_starved(clock.monotonic()));
    }

    #[test]
    fn a_doubtful_source_is_gone_until_its_first_picture() {
        let clock = ManualClock::default();
        let mut dog = Watchdog::new(1_000 * MS, clock.monotonic()).doubtful();
        assert!(dog.is_starved(clock.monotonic()));
        dog.feed(clock.monotonic());
        clock.advance(3_000 * MS);
        assert!(!dog.is_starved(clock.monotonic()));
    }

    #[test]
    fn what_happens_often_is_told_once_a_second() {
        let mut report = Report::default();
        let at = |ms: u32| Monotonic::default() + ms * MS;
        assert_eq!(report.due(0, at(0)), None);
        assert_eq!(report.due(1, at(10)), Some(1));
        assert_eq!(report.due(5, at(1_009)), None);
        assert_eq!(report.due(7, at(1_010)), Some(6));
        assert_eq!(report.due(7, at(9_000)), None);
        assert_eq!(report.due(8, at(9_001)), Some(1));
    }

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..7).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    }
}
