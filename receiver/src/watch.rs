//! One receiver: takes payloads, counts them, and hands frames to its outputs.
//!
//! What it has seen lies in a [`Slot`], from which whoever reports takes it once a second. The lock
//! is taken once a payload and is held for moments.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use common::{Clock, Identity, Monotonic, Payload, RecvError, Shutdown, SystemClock};

use crate::account::{Account, Counts, Kind};
use crate::ingress::Ingress;
use crate::output::{self, Outputs, Stage, Tally};

/// Most arrivals, and most showings, that wait to be taken; further ones have no age.
const MAX_ARRIVALS: usize = 1 << 16;

/// When a frame arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Which frame.
    pub identity: Identity,
    /// When its payload was whole.
    pub at: Monotonic,
    /// How old it was then, if that is known.
    pub age: Option<Duration>,
}

/// When a frame was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// Which frame.
    pub identity: Identity,
    /// When it was on the screen.
    pub at: Monotonic,
    /// How long after its time in the schedule that was; `None` without a schedule, or if the
    /// frame's age was not known.
    pub off: Option<Duration>,
}

/// Whether a receiver gets on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// No connection yet, or no longer, and why.
    Waiting(Option<String>),
    /// There is a connection.
    Connected,
    /// Nothing more will come, because of this.
    Failed(String),
}

/// What one receiver has seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Whether it gets on.
    pub health: Health,
    /// Counts from the beginning.
    pub counts: Counts,
    /// Pictures from the beginning.
    pub tally: Tally,
    /// Arrivals since they were last taken.
    pub arrivals: Vec<Arrival>,
    /// Frames shown since they were last taken.
    pub presented: Vec<Presented>,
    /// Frames from the beginning that came after their time in the schedule.
    pub late: u64,
}

/// Where a receiver leaves what it has seen.
#[derive(Debug)]
pub struct Slot(Mutex<Seen>);

impl Default for Slot {
    fn default() -> Self {
        Self(Mutex::new(Seen {
            health: Health::Waiting(None),
            counts: Counts::default(),
            tally: Tally::default(),
            arrivals: Vec::new(),
            presented: Vec::new(),
            late: 0,
        }))
    }
}

impl Slot {
    /// What was seen; arrivals and showings are handed out once.
    #[must_use]
    pub fn take(&self) -> Seen {
        let mut seen = self.lock();
        let arrivals = std::mem::take(&mut seen.arrivals);
        let presented = std::mem::take(&mut seen.presented);
        Seen {
            arrivals,
            presented,
            ..seen.clone()
        }
    }

    /// Notes that a frame was shown.
    pub fn note_shown(&self, presented: Presented) {
        let mut seen = self.lock();
        if seen.presented.len() < MAX_ARRIVALS {
            seen.presented.push(presented);
        }
    }

    /// Notes how many frames came after their time so far.
    pub fn note_late(&self, late: u64) {
        self.lock().late = late;
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("no thread panics while holding this")
    }
}

/// A receiver, ready to start.
#[derive(Debug)]
pub struct Watcher {
    /// What becomes of frames.
    pub outputs: Outputs,
    /// Where to leave frames to be shown, if somebody looks.
    pub stage: Option<Arc<Stage>>,
    /// Where to leave what was seen.
    pub slot: Arc<Slot>,
    /// Triggered by a receiver that fails for good.
    pub shutdown: Shutdown,
    /// Dropped when the receiver has ended.
    pub alive: Sender<()>,
}

impl Watcher {
    /// Starts it, as the thread `receiver-INDEX` if it needs one.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn start(mut self, ingress: Ingress, index: u16) -> io::Result<()> {
        let mut account = Account::default();
        let work = self.outputs.work();
        ingress.attend(
            format!("receiver-{index}"),
            work,
            move |ingress, outcome| self.see(ingress, outcome, &mut account),
        )
    }

    fn see(
        &mut self,
        ingress: &Ingress,
        outcome: Result<Arc<Payload>, RecvError>,
        account: &mut Account,
    ) -> ControlFlow<()> {
        let taken = match outcome {
            Ok(payload) => self.take(&payload, ingress, account),
            Err(RecvError::TimedOut | RecvError::Lagged { .. }) => Ok(()),
            Err(RecvError::Closed) => {
                if !self.shutdown.is_triggered() {
                    let reason = ingress.last_error().map(ToString::to_string);
                    self.fail(reason.unwrap_or_else(|| "the stream has ended".to_owned()));
                }
                return ControlFlow::Break(());
            }
        };
        self.update(ingress, account);
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.fail(error.to_string());
                ControlFlow::Break(())
            }
        }
    }

    fn take(
        &mut self,
        payload: &Payload,
        ingress: &Ingress,
        account: &mut Account,
    ) -> Result<(), output::Error> {
        let arrived_at = SystemClock.wall();
        let mut frames = Vec::with_capacity(payload.frames.len());
        for frame in &payload.frames {
            let kind = account.add(&frame.head, frame.data().len());
            if let Some(stage) = self.stage.as_ref().filter(|_| kind != Kind::Duplicate) {
                stage.put(frame.clone(), ingress.age(&frame.head, arrived_at));
            }
            if kind == Kind::New {
                frames.push(frame);
            }
        }
        {
            let mut seen = self.slot.lock();
            let room = MAX_ARRIVALS.saturating_sub(seen.arrivals.len());
            seen.arrivals
                .extend(frames.iter().take(room).map(|frame| Arrival {
                    identity: frame.head.identity,
                    at: payload.published_at,
                    age: ingress.age(&frame.head, arrived_at),
                }));
        }
        (frames.into_iter()).try_for_each(|frame| self.outputs.take(frame))
    }

    fn update(&self, ingress: &Ingress, account: &Account) {
        let mut seen = self.slot.lock();
        seen.counts = Counts {
            damaged: ingress.damaged(),
            ..account.counts()
        };
        seen.tally = self.outputs.tally();
        seen.health = if ingress.is_connected() {
            Health::Connected
        } else {
            Health::Waiting(ingress.last_error().map(ToString::to_string))
        };
    }

    fn fail(&self, reason: String) {
        self.slot.lock().health = Health::Failed(reason);
        self.shutdown.trigger();
    }
}
