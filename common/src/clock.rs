//! The only place where time is read.
//!
//! Two times are told apart by type. [`Monotonic`] never jumps and decides everything (skipping,
//! stalls, back-off); [`Timestamp`] is the wall clock, which people and other machines understand,
//! and only ends up in reports.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::frame::{Monotonic, Timestamp};

/// A source of both times. All code that needs time takes one of these.
pub trait Clock: Send + Sync {
    /// Wall clock time. May jump, for reports only.
    fn wall(&self) -> Timestamp;
    /// Time since an arbitrary moment in this process. Never goes back.
    fn monotonic(&self) -> Monotonic;
}

/// The clocks of the operating system. All values in one process share one origin.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_nanos(whole_nanos(since))
    }

    fn monotonic(&self) -> Monotonic {
        let origin = *ORIGIN.get_or_init(Instant::now);
        Monotonic::from_nanos(whole_nanos(origin.elapsed()))
    }
}

impl SystemClock {
    /// Processor time that the calling thread has used so far; none where the system does not tell.
    #[cfg(unix)]
    #[must_use]
    pub fn thread_cpu(self) -> Duration {
        use rustix::time::{ClockId, clock_gettime};
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
    }

    /// Processor time that the calling thread has used so far; none where the system does not tell.
    #[cfg(not(unix))]
    #[must_use]
    pub const fn thread_cpu(self) -> Duration {
        Duration::ZERO
    }
}

#[cfg(target_os = "linux")]
impl SystemClock {
    /// Wall clock time of a moment on the kernel's monotonic clock, which drivers stamp their
    /// pictures with. A moment that is still to come is now.
    #[must_use]
    pub fn wall_at(self, moment: Duration) -> Timestamp {
        use rustix::time::{ClockId, clock_gettime};
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        let age = whole_nanos(now.saturating_sub(moment));
        Timestamp::from_nanos(self.wall().as_nanos().saturating_sub(age))
    }
}

/// A clock that stands still until it is moved: for tests of rules about time.
///
/// ```
/// use common::{Clock, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::default();
/// let before = clock.monotonic();
/// clock.advance(Duration::from_millis(250));
/// assert_eq!(clock.monotonic().since(before), Duration::from_millis(250));
/// ```
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// Moves both times forward. All clones of this clock move together.
    pub fn advance(&self, by: Duration) {
        self.nanos.fetch_add(whole_nanos(by), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// Nanoseconds of a duration; u64 holds 584 years of them.
fn whole_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_goes_forward_and_agrees_with_itself() {
        let earlier = SystemClock.monotonic();
        let later = SystemClock.monotonic();
        assert!(later >= earlier);
        assert!(SystemClock.wall() > Timestamp::from_nanos(1_600_000_000_000_000_000));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn moments_of_the_kernel_are_told_by_the_wall() {
        use rustix::time::{ClockId, clock_gettime};
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap();
        let minute = Duration::from_secs(60);
        let wall = SystemClock.wall();
        let ago = wall.since(SystemClock.wall_at(now.saturating_sub(minute)));
        assert!(ago.abs_diff(minute) < Duration::from_secs(5), "{ago:?}");
        assert!(
            SystemClock.wall_at(now + minute) >= wall,
            "the future is now"
        );
    }
}
