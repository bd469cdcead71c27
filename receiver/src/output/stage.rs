//! Where a receiver leaves frames for whoever shows them, and how that one is woken.
//!
//! One thread shows, for all receivers of the program. It sleeps until the next frame's time and is
//! woken only for a frame whose time is earlier than that.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use common::{Clock, Frame, Monotonic, Shutdown, SystemClock};

use super::schedule::{Due, Schedule, Timing};
use crate::watch::{Presented, Slot};

/// Longest wait before the word to end is looked for.
const SLICE: Duration = Duration::from_millis(100);
/// Later than anything.
const NEVER: Monotonic = Monotonic::from_nanos(u64::MAX);

/// Wakes the thread that shows.
#[derive(Debug, Clone)]
pub struct Bell(Arc<Rung>);

#[derive(Debug)]
struct Rung {
    /// The earliest time that was rung for since the bell was silenced.
    earliest: Mutex<Monotonic>,
    changed: Condvar,
}

impl Default for Bell {
    fn default() -> Self {
        Self(Arc::new(Rung {
            earliest: Mutex::new(NEVER),
            changed: Condvar::new(),
        }))
    }
}

impl Bell {
    /// Forgets what was rung for. To be called before stages are asked for their next time: what
    /// comes after that is not missed.
    pub fn silence(&self) {
        *self.lock() = NEVER;
    }

    /// Sleeps until a time, or until a frame's time if that comes earlier.
    pub fn wait(&self, until: Monotonic) {
        let mut earliest = self.lock();
        loop {
            let left = until.min(*earliest).since(SystemClock.monotonic());
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(earliest, left);
            earliest = waited.expect("no thread panics while holding this").0;
        }
    }

    fn ring(&self, at: Monotonic) {
        let mut earliest = self.lock();
        if at < *earliest {
            *earliest = at;
            self.0.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Monotonic> {
        let earliest = self.0.earliest.lock();
        earliest.expect("no thread panics while holding this")
    }
}

/// The frames of one receiver that wait to be shown.
#[derive(Debug)]
pub struct Stage {
    schedule: Mutex<Schedule>,
    bell: Bell,
    slot: Arc<Slot>,
}

impl Stage {
    /// A stage whose frames are shown `delay` after their capture, or as soon as can be; what was
    /// shown is noted in `slot`.
    #[must_use]
    pub fn new(delay: Option<Duration>, bell: Bell, slot: Arc<Slot>) -> Self {
        Self {
            schedule: Mutex::new(Schedule::new(delay)),
            bell,
            slot,
        }
    }

    /// Takes a frame that arrives now, `age` after its capture.
    pub fn put(&self, frame: Frame, age: Option<Duration>) {
        let (at, late) = {
            let mut schedule = self.lock();
            let at = schedule.push(frame, age, SystemClock.monotonic());
            (at, schedule.late())
        };
        self.slot.note_late(late);
        self.bell.ring(at);
    }

    /// The newest frame whose time has come by `now`.
    #[must_use]
    pub fn take(&self, now: Monotonic) -> Option<Due> {
        self.lock().take(now)
    }

    /// When the next frame's time comes.
    #[must_use]
    pub fn next_time(&self) -> Option<Monotonic> {
        self.lock().next_time()
    }

    /// Notes that a frame has just been shown. Placeholders are not counted.
    pub fn note_shown(&self, due: &Due) {
        let head = &due.frame.head;
        if head.is_placeholder() {
            return;
        }
        let at = SystemClock.monotonic();
        let off = match due.timing {
            Timing::Free => None,
            Timing::Bound { late_by } => Some(late_by + at.since(due.at)),
        };
        tracing::trace!(
            epoch = head.identity.epoch,
            seq = head.identity.seq,
            wall_ns = SystemClock.wall().as_nanos(),
            "shown"
        );
        let identity = head.identity;
        self.slot.note_shown(Presented { identity, at, off });
    }

    /// Waits for the first frame and tells its size in pixels; `None` if there is none in time.
    #[must_use]
    pub fn first_size(&self, within: Duration, shutdown: &Shutdown) -> Option<(u16, u16)> {
        let end = SystemClock.monotonic() + within;
        loop {
            self.bell.silence();
            let size = (self.lock().newest()).map(|frame| (frame.head.width, frame.head.height));
            let now = SystemClock.monotonic();
            if size.is_some() || now >= end || shutdown.is_triggered() {
                return size.filter(|&(width, height)| width > 0 && height > 0);
            }
            self.bell.wait(end.min(now + SLICE));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        let schedule = self.schedule.lock();
        schedule.expect("no thread panics while holding this")
    }
}
