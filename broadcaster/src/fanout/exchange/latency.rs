//! How long things take, counted in classes that double.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The first class holds all that is no longer than this.
const FIRST: Duration = Duration::from_micros(250);
/// 0.25 ms to 8 s; the last class has no end.
const CLASSES: usize = 17;

/// Counts of durations. Recording never waits.
#[derive(Debug, Default)]
pub struct Latency {
    counts: [AtomicU64; CLASSES],
    sum_ns: AtomicU64,
}

impl Latency {
    /// Counts one.
    pub fn record(&self, duration: Duration) {
        let fits = |class: &usize| duration <= bound(*class);
        let class = (0..CLASSES - 1).find(fits).unwrap_or(CLASSES - 1);
        self.counts[class].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many there are in each class, and what none in it exceeds; `None` for the last.
    pub fn classes(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let counts = self.counts.iter().enumerate();
        counts.map(|(class, count)| {
            let bound = (class < CLASSES - 1).then(|| bound(class));
            (bound, count.load(Ordering::Relaxed))
        })
    }

    /// All of them added up.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed))
    }

    /// The upper bound of the class in which the `percent`-th of all lies, from below; `None` before
    /// there are any, and the last bound for those above it.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let counts = self
            .counts
            .each_ref()
            .map(|one| one.load(Ordering::Relaxed));
        let all: u64 = counts.iter().sum();
        let rank = (all * percent).div_ceil(100).max(1);
        let mut below = 0;
        let class = counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        class.map(|class| bound(class.min(CLASSES - 2)))
    }
}

fn bound(class: usize) -> Duration {
    FIRST * (1 << class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_bounds_of_their_classes() {
        let latency = Latency::default();
        assert_eq!(latency.percentile(50), None);
        (0..98).for_each(|_| latency.record(Duration::from_micros(900)));
        latency.record(Duration::from_micros(250));
        latency.record(Duration::from_secs(3_600));
        assert_eq!(latency.percentile(0), Some(FIRST));
        assert_eq!(latency.percentile(50), Some(Duration::from_millis(1)));
        assert_eq!(latency.percentile(99), Some(Duration::from_millis(1)));
        assert_eq!(latency.percentile(100), Some(Duration::from_millis(8_192)));
    }
}
