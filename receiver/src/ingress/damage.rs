//! What comes in broken and is left out: counted each time, told now and then.

use std::time::Duration;

use common::{Clock, Monotonic, SystemClock};
use tracing::warn;

/// It is logged no more often than this.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// How much was broken so far.
#[derive(Debug, Default)]
pub(super) struct Damage {
    count: u64,
    next_log: Monotonic,
}

impl Damage {
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// One more, `what` of which is wrong because of `why`.
    pub(super) fn note(&mut self, what: &str, why: &str) {
        self.count += 1;
        let now = SystemClock.monotonic();
        if now >= self.next_log {
            self.next_log = now + LOG_EVERY;
            warn!(damaged = self.count, "{what} was left out: {why}");
        }
    }
}
