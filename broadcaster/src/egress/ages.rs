//! How old payloads were when they were handed to the kernel: a histogram small enough for every
//! viewer to have one.

use std::time::Duration;

/// Two buckets for every doubling, from 128 µs to 4 s.
pub(super) const BUCKETS: usize = 32;
const FIRST_DOUBLING: u32 = 7;

/// Counts of ages, each in a bucket half again as wide as the one before; 128 bytes.
#[derive(Debug, Clone, Default)]
pub struct Ages {
    counts: [u32; BUCKETS],
}

impl Ages {
    /// Counts one age; returns its bucket.
    pub fn record(&mut self, age: Duration) -> usize {
        let micros = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket(micros);
        let count = &mut self.counts[bucket];
        *count = count.saturating_add(1);
        bucket
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    /// The age that a share of all ages, 0 to 1, does not exceed, rounded up to its bucket's end.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let total = self.total();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among fewer than 2^53"
        )]
        let rank = (share * total as f64).ceil() as u64;
        let mut passed = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            passed += u64::from(count);
            if passed >= rank.max(1) {
                return Duration::from_micros(upper_end(bucket));
            }
        }
        Duration::ZERO
    }
}

/// Counts, bucket by bucket.
impl FromIterator<u32> for Ages {
    fn from_iter<I: IntoIterator<Item = u32>>(counts: I) -> Self {
        let mut ages = Self::default();
        for (kept, count) in ages.counts.iter_mut().zip(counts) {
            *kept = count;
        }
        ages
    }
}

/// Bucket 0 takes all below 128 µs, the last one all from 4 s on.
fn bucket(micros: u64) -> usize {
    let doubling = micros.max(1).ilog2();
    if doubling < FIRST_DOUBLING {
        return 0;
    }
    let is_upper_half = micros >> (doubling - 1) & 1 == 1;
    let bucket = 1 + 2 * (doubling - FIRST_DOUBLING) as usize + usize::from(is_upper_half);
    bucket.min(BUCKETS - 1)
}

const fn upper_end(bucket: usize) -> u64 {
    let Some(half) = bucket.checked_sub(1) else {
        return 1 << FIRST_DOUBLING;
    };
    let start = 1_u64 << (FIRST_DOUBLING as usize + half / 2);
    if half % 2 == 0 {
        start + start / 2
    } else {
        2 * start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_age_lies_below_the_end_of_its_bucket_and_above_the_end_of_the_one_before() {
        for micros in (0..20).flat_map(|shift| [1_u64 << shift, 3 << shift, (5 << shift) - 1]) {
            let bucket = bucket(micros);
            assert!(
                micros < upper_end(bucket) || bucket == BUCKETS - 1,
                "{micros}"
            );
            assert!(bucket == 0 || micros >= upper_end(bucket - 1), "{micros}");
        }
    }

    #[test]
    fn quantiles_follow_the_ranks() {
        let mut ages = Ages::default();
        assert_eq!(ages.quantile(0.5), Duration::ZERO);
        for _ in 0..99 {
            ages.record(Duration::from_millis(1));
        }
        ages.record(Duration::from_secs(3600));
        assert_eq!(ages.quantile(0.5), Duration::from_micros(1024));
        assert_eq!(ages.quantile(0.99), Duration::from_micros(1024));
        assert!(ages.quantile(1.0) > Duration::from_secs(4));
    }
}
