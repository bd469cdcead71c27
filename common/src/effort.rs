//! What a piece of work takes of the thread that does it: time, and for how much of that it had a
//! processor. They differ when it waits, and when those whom it wakes push it off its processor.

use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::frame::Monotonic;

/// Work that goes on, on the thread that has begun it.
#[derive(Debug)]
pub struct Effort {
    begun: Monotonic,
    cpu: Duration,
}

/// What work took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// From its begin to its end.
    pub time: Duration,
    /// Processor time of the thread.
    pub cpu: Duration,
}

impl Effort {
    /// Begins.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            begun: SystemClock.monotonic(),
            cpu: SystemClock.thread_cpu(),
        }
    }

    /// What it has taken up to now.
    #[must_use]
    pub fn spent(&self) -> Spent {
        Spent {
            cpu: SystemClock.thread_cpu().saturating_sub(self.cpu),
            time: SystemClock.monotonic().since(self.begun),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thread_that_sleeps_takes_time_and_no_processor() {
        let effort = Effort::begin();
        thread::sleep(Duration::from_millis(50));
        let spent = effort.spent();
        assert!(spent.time >= Duration::from_millis(50), "{spent:?}");
        assert!(spent.cpu < spent.time / 2, "{spent:?}");
    }

    #[test]
    fn a_thread_that_works_takes_its_processor() {
        let effort = Effort::begin();
        let mut sum = 0_u64;
        while effort.spent().cpu < Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let spent = effort.spent();
        // Both clocks are read one after the other.
        assert!(
            spent.time + Duration::from_millis(1) >= spent.cpu,
            "{spent:?}"
        );
    }
}
