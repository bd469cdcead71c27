//! An open camera on a thread of its own, which hands over its newest picture.
//!
//! The thread is needed twice over: nokhwa's cameras cannot move between threads, and on systems
//! where its own backend serves, a capture may block for ever. Then the thread is left alone; it
//! is waited for before the device is opened again, so there is never more than one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use common::{Clock, SystemClock, Timestamp};
use nokhwa::{Buffer, Camera, NokhwaError};

use super::control::Setting;
use super::device::Device;
use super::mode::{Choice, Rate};
use super::raw::Range;
use super::{Error, system};

/// How long a camera may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a camera may take to close before it is left to itself.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// A driver's time further than this from now is no time of this clock.
const PLAUSIBLE: Duration = Duration::from_secs(10);

/// What our own backend answers when no picture came within its time.
pub(super) const NOTHING_YET: &str = "no picture yet";

/// A camera that streams, with what is known of its pictures.
pub(super) struct Ready {
    /// The camera itself.
    pub(super) camera: Camera,
    /// The rate it agreed to.
    pub(super) rate: Option<Rate>,
    /// What its values mean.
    pub(super) range: Range,
    /// Pictures that the driver lost or marked as damaged.
    pub(super) lost: Arc<AtomicU64>,
}

/// What to open and how.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) device: Device,
    pub(super) choice: Choice,
    pub(super) settings: Vec<Setting>,
}

/// What the camera agreed to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) rate: Option<Rate>,
    pub(super) range: Range,
}

/// A picture as it came.
#[derive(Debug)]
pub(super) struct Shot {
    pub(super) captured_at: Timestamp,
    pub(super) data: Bytes,
}

/// The near end of a camera's thread. Dropping it closes the camera.
#[derive(Debug)]
pub(super) struct Running {
    shared: Arc<Shared>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    /// The newest picture that was not taken yet.
    shot: Option<Shot>,
    failure: Option<String>,
    is_over: bool,
    is_asked_to_stop: bool,
    /// Pictures that were replaced before they were taken.
    overtaken: u64,
}

impl Slot {
    fn put(&mut self, shot: Shot) {
        let untaken = self.shot.replace(shot);
        self.overtaken += u64::from(untaken.is_some());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        let slot = self.slot.lock();
        slot.expect("no thread panics while holding this")
    }

    fn change(&self, change: impl FnOnce(&mut Slot)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait(&self, timeout: Duration, until: impl Fn(&Slot) -> bool) -> MutexGuard<'_, Slot> {
        let slot = self.lock();
        let waited = (self.changed).wait_timeout_while(slot, timeout, |slot| !until(slot));
        waited.expect("no thread panics while holding this").0
    }
}

impl Running {
    /// Opens a camera and lets it stream. Its thread is left in `thread`, to be joined before the
    /// next try.
    ///
    /// # Errors
    /// If it cannot be opened, or does not answer in time.
    pub(super) fn start(
        order: Order,
        thread: &mut Option<JoinHandle<()>>,
    ) -> Result<(Self, Terms), Error> {
        let shared = Arc::new(Shared::default());
        let device = order.device.to_string();
        let failed = |what, error: String| Error::Device {
            device: device.clone(),
            what,
            error,
        };
        let (sender, answer) = mpsc::sync_channel(1);
        let on_thread = shared.clone();
        let spawned = thread::Builder::new()
            .name("camera".to_owned())
            .spawn(move || run(&order, &on_thread, &sender));
        *thread = Some(spawned.map_err(|error| failed("has no thread", error.to_string()))?);
        match answer.recv_timeout(OPEN_TIMEOUT) {
            Ok(Ok((terms, lost))) => Ok((Self { shared, lost }, terms)),
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Timeout) => {
                shared.change(|slot| slot.is_asked_to_stop = true);
                let waited = format!("no answer in {OPEN_TIMEOUT:?}");
                Err(failed("does not open", waited))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let panicked = "what reads it panicked".to_owned();
                Err(failed("does not open", panicked))
            }
        }
    }

    /// The newest picture not yet taken, waiting for it up to `timeout`.
    ///
    /// # Errors
    /// When the camera has failed.
    pub(super) fn next(&self, timeout: Duration) -> Result<Option<Shot>, String> {
        let mut slot = (self.shared).wait(timeout, |slot| slot.shot.is_some() || slot.is_over);
        if let Some(shot) = slot.shot.take() {
            return Ok(Some(shot));
        }
        if slot.is_over {
            let failure = slot.failure.take();
            return Err(failure.unwrap_or_else(|| "its thread has ended".to_owned()));
        }
        Ok(None)
    }

    /// Pictures lost or damaged so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Pictures so far that a newer one replaced before they were taken.
    pub(super) fn overtaken(&self) -> u64 {
        self.shared.lock().overtaken
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.change(|slot| slot.is_asked_to_stop = true);
        drop(self.shared.wait(CLOSE_TIMEOUT, |slot| slot.is_over));
    }
}

/// Says that the thread is over, also when it panics.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.change(|slot| slot.is_over = true);
    }
}

type Answer = Result<(Terms, Arc<AtomicU64>), Error>;

fn run(order: &Order, shared: &Shared, answer: &mpsc::SyncSender<Answer>) {
    let _over = Over(shared);
    let ready = system::open(&order.device, &order.choice, &order.settings);
    let mut camera = match ready {
        Ok(ready) => {
            let (rate, range) = (ready.rate, ready.range);
            // Nobody listens any more if it took too long; then it is told to stop as well.
            let _ = answer.send(Ok((Terms { rate, range }, ready.lost)));
            ready.camera
        }
        Err(error) => {
            let _ = answer.send(Err(error));
            return;
        }
    };
    while !shared.lock().is_asked_to_stop {
        match camera.frame() {
            Ok(buffer) => {
                let shot = shot(&buffer);
                shared.change(|slot| slot.put(shot));
            }
            Err(NokhwaError::ReadFrameError(text)) if text == NOTHING_YET => {}
            Err(error) => {
                shared.change(|slot| slot.failure = Some(error.to_string()));
                break;
            }
        }
    }
    close(camera);
}

fn shot(buffer: &Buffer) -> Shot {
    let now = SystemClock.wall();
    let stamped = (buffer.capture_timestamp())
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .map(Timestamp::from_nanos)
        .filter(|&stamp| stamp <= now && now.since(stamp) < PLAUSIBLE);
    Shot {
        captured_at: stamped.unwrap_or(now),
        data: buffer.buffer_bytes(),
    }
}

/// Closes the camera. nokhwa's `Camera` panics when it is dropped and does not stop well, as after
/// an unplug; here that is nobody's concern any more.
fn close(camera: Camera) {
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
        || drop(camera),
    )));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_picture_is_handed_over_and_those_it_replaced_are_counted() {
        let running = Running {
            shared: Arc::default(),
            lost: Arc::default(),
        };
        for number in 0..3 {
            let shot = Shot {
                captured_at: Timestamp::from_nanos(number),
                data: Bytes::new(),
            };
            running.shared.change(|slot| slot.put(shot));
        }
        let newest = running.next(Duration::ZERO).unwrap().unwrap();
        assert_eq!(newest.captured_at, Timestamp::from_nanos(2));
        assert!(running.next(Duration::ZERO).unwrap().is_none());
        assert_eq!((running.overtaken(), running.lost()), (2, 0));
        running.shared.change(|slot| slot.is_over = true);
    }
}
