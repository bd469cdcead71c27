//! How long to wait before the next try: doubling, bounded, and not all at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// The waits between tries.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Backoff {
    /// Waits that grow up to this one.
    #[must_use]
    pub const fn up_to(longest: Duration) -> Self {
        Self {
            next: SHORTEST,
            longest,
        }
    }

    /// The wait before the next try. Those who lost the same server together come back apart.
    #[expect(clippy::should_implement_trait, reason = "there is always one more")]
    pub fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait * 3 / 4 + wait.mul_f64(random()) / 2
    }

    /// The last try brought something.
    pub fn reset(&mut self) {
        *self = Self::up_to(self.longest);
    }
}

/// A number from 0 to 1; the hasher's random keys are all the randomness needed here.
fn random() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0) >> 32).expect("32 bits are left");
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::default();
        for expected in [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000] {
            let expected = Duration::from_millis(expected);
            let wait = backoff.next();
            assert!(
                (expected * 3 / 4..=expected * 5 / 4).contains(&wait),
                "{wait:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next() < SHORTEST * 2);
    }
}
