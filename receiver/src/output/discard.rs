//! Shows nothing: a frame whose time has come counts as shown.
//!
//! This is what `--sync` without a display does, to see how well the schedule is kept.

use std::sync::Arc;
use std::time::Duration;

use common::{Clock, Monotonic, Shutdown, SystemClock};

use super::Next;
use super::stage::{Bell, Stage};

/// Longest wait before the word to end is looked for.
const SLICE: Duration = Duration::from_millis(100);

/// The stages of all receivers; none if nothing is scheduled.
#[derive(Debug)]
pub struct Discard {
    stages: Vec<Arc<Stage>>,
    bell: Bell,
}

impl Discard {
    /// Takes what is put on these stages.
    #[must_use]
    pub const fn new(stages: Vec<Arc<Stage>>, bell: Bell) -> Self {
        Self { stages, bell }
    }

    /// Goes on until a time or the word to end.
    pub fn show_until(&mut self, until: Monotonic, shutdown: &Shutdown) -> Next {
        if self.stages.is_empty() {
            let left = until.since(SystemClock.monotonic());
            return if shutdown.wait(left) {
                Next::Told
            } else {
                Next::Elapsed
            };
        }
        loop {
            let now = SystemClock.monotonic();
            if shutdown.is_triggered() {
                return Next::Told;
            }
            if now >= until {
                return Next::Elapsed;
            }
            self.bell.silence();
            let mut wake = until.min(now + SLICE);
            for stage in &self.stages {
                if let Some(due) = stage.take(SystemClock.monotonic()) {
                    stage.note_shown(&due);
                }
                wake = stage.next_time().map_or(wake, |time| time.min(wake));
            }
            self.bell.wait(wake);
        }
    }
}
