//! Streams from the network, whatever the protocol, as payloads.
//!
//! Policy: a lost connection is a pause, not an end. It is opened again, with growing waits, for as
//! long as somebody asks for payloads; one warning says that it is lost and one line that it is
//! back. Only what the server refuses for good before it was ever connected ends the stream, and
//! not even that if it is to be passed on ([`Purpose::Relay`]).
//!
//! Names are resolved and connections opened on a thread of their own, so that [`Ingress::recv`]
//! keeps its timeout even when the network does not answer.

mod attend;
pub mod backoff;
mod connection;
mod damage;
mod error;
mod exchange;
pub mod http;
mod offset;
mod socket;
mod source;
mod tcp;
mod ws;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, mpsc};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use common::wire::{MAX_HOPS, MAX_PAYLOAD};
use common::{
    Clock, DecodeError, Frame, Head, Monotonic, Payload, RecvError, Shutdown, Subscribe,
    SystemClock, Timestamp,
};
use tracing::{debug, info, warn};

use self::attend::Forward;
pub use self::attend::Work;
use self::backoff::Backoff;
use self::connection::{Connection, Memory};
pub use self::error::Error;
pub use self::offset::ClockOffset;
pub(crate) use self::source::host_of;
pub use self::source::{Amqp, Error as SourceError, Source, Tcp};

/// Longest wait before the word to end is looked for.
const SLICE: Duration = Duration::from_millis(250);
/// Most payloads taken in at once on the way to the newest key frame.
const MAX_RESUME: usize = 1_024;
/// Brokers have many readers, but few that try again: those behind one host come one by one.
const LONGEST_WAIT_FOR_BROKERS: Duration = Duration::from_secs(1);
const DIALLER_STACK_BYTES: usize = 256 << 10;

/// What to ask the server for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Payloads older than this are skipped by the server when there is a newer one; `None`: the
    /// server's default. Whole milliseconds, at least one.
    pub max_age: Option<Duration>,
    /// What the frames are wanted for.
    pub purpose: Purpose,
}

/// What frames are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// To be looked at: what the server refuses for good at first is final.
    #[default]
    Watch,
    /// To be passed on. No refusal is final, for nobody stands by to try again. Frames that have
    /// passed more than [`MAX_HOPS`] relays are refused, and with them the connection.
    Relay,
}

impl Options {
    /// Gives back frames that may be used as they are meant to be.
    fn check(&self, frames: Option<Vec<Frame>>) -> Result<Option<Vec<Frame>>, Error> {
        let hops = frames.iter().flatten().map(|frame| frame.head.hops).max();
        match (self.purpose, hops) {
            (Purpose::Relay, Some(hops)) if hops > MAX_HOPS => Err(Error::Circle(hops)),
            _ => Ok(frames),
        }
    }
}

/// A stream from the network.
///
/// `recv` says `Closed` after the word to end and after an error that is final, which
/// [`Ingress::last_error`] then tells. While there is no connection it waits and times out.
/// Frames and their identities are those of the server; `index` counts the payloads that arrived
/// here, and `published_at` is when the last byte did. Placeholders are payloads like any other.
///
/// ```no_run
/// use common::{Shutdown, Subscribe};
/// use receiver::ingress::{Ingress, Options, Source};
/// use std::time::Duration;
///
/// let source: Source = "tcp://127.0.0.1:7400".parse()?;
/// let mut ingress = Ingress::open(source, Options::default(), Shutdown::default());
/// if let Ok(payload) = ingress.recv(Duration::from_secs(1)) {
///     println!("{} frames", payload.frames.len());
/// }
/// # Ok::<(), receiver::ingress::SourceError>(())
/// ```
#[derive(Debug)]
pub struct Ingress {
    source: Arc<Source>,
    options: Options,
    shutdown: Shutdown,
    state: State,
    backoff: Backoff,
    outage: Outage,
    last_error: Option<Error>,
    was_connected: bool,
    index: u64,
    /// Taken in on the way to the newest key frame, not handed out yet.
    pending: VecDeque<Arc<Payload>>,
    memory: Memory,
    /// Whom to wake, if it is attended by a task.
    forward: Arc<Forward>,
    /// Connections whose messages were not what they should be.
    damaged: u64,
    dials: usize,
}

#[derive(Debug)]
enum State {
    Waiting { until: Monotonic },
    Dialling(mpsc::Receiver<Result<Connection, Error>>),
    Connected(Box<Connection>),
    Ended,
}

/// Whether people know that nothing comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    None,
    Announced { since: Monotonic, cause: Cause },
}

/// What people know about why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Something that may well pass.
    Passing,
    /// Something that nobody but they can mend, so they are told even when they know of an outage.
    Circle,
}

impl Ingress {
    /// A stream from `source`, which is connected to as soon as somebody asks for payloads.
    #[must_use]
    pub fn open(source: Source, options: Options, shutdown: Shutdown) -> Self {
        let until = Monotonic::default();
        let backoff = match source {
            Source::Amqp(_) => Backoff::up_to(LONGEST_WAIT_FOR_BROKERS),
            _ => Backoff::default(),
        };
        Self {
            source: Arc::new(source),
            options,
            shutdown,
            state: State::Waiting { until },
            backoff,
            outage: Outage::None,
            last_error: None,
            was_connected: false,
            index: 0,
            pending: VecDeque::new(),
            memory: Memory::default(),
            forward: Arc::default(),
            damaged: 0,
            dials: 0,
        }
    }

    /// Whether there is a connection at this moment.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Why the last connection failed or was lost; the final error once `recv` says `Closed`.
    #[must_use]
    pub const fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// How far the server's clock is ahead of ours; `None` while unknown, and always on HTTP and AMQP.
    #[must_use]
    pub fn clock_offset(&self) -> Option<ClockOffset> {
        self.connection()?.clock_offset()
    }

    /// How old a frame was that arrived just now, at `arrived_at` of our wall clock; `None` if that
    /// cannot be known. On HTTP and AMQP both clocks are taken to agree.
    #[must_use]
    pub fn age(&self, head: &Head, arrived_at: Timestamp) -> Option<Duration> {
        self.connection()?.age(head, arrived_at)
    }

    /// Messages and parts so far that were not what they should be.
    #[must_use]
    pub const fn damaged(&self) -> u64 {
        self.damaged + self.memory.damage.count()
    }

    fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Connected(connection) => Some(connection),
            _ => None,
        }
    }

    /// Whether too much waits to be handed out: without a key frame nothing is passed over.
    fn is_pending_full(&self) -> bool {
        let bytes: u64 = self.pending.iter().map(|one| one.data_bytes()).sum();
        self.pending.len() >= MAX_RESUME || bytes > MAX_PAYLOAD as u64
    }

    /// The next payload from the network.
    fn arrive(&mut self, timeout: Duration) -> Result<Arc<Payload>, RecvError> {
        let deadline = SystemClock.monotonic() + timeout;
        loop {
            if self.shutdown.is_triggered() || matches!(self.state, State::Ended) {
                return Err(RecvError::Closed);
            }
            if let Some(payload) = self.step(deadline) {
                return Ok(payload);
            }
            if SystemClock.monotonic() >= deadline && !matches!(self.state, State::Ended) {
                return Err(RecvError::TimedOut);
            }
        }
    }

    /// Goes on for a while, up to the deadline; a payload, if one is there.
    fn step(&mut self, deadline: Monotonic) -> Option<Arc<Payload>> {
        let now = SystemClock.monotonic();
        let deadline = deadline.min(now + SLICE);
        match &mut self.state {
            State::Waiting { until } if *until <= now => self.dial(),
            State::Waiting { until } => {
                // Whether the word was said is looked up by the caller.
                let _ = self.shutdown.wait(deadline.min(*until).since(now));
            }
            State::Dialling(answer) => match answer.recv_timeout(deadline.since(now)) {
                Ok(Ok(connection)) => self.connected(connection),
                Ok(Err(error)) => self.failed(error),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    self.failed(io::Error::other("the connecting thread is gone").into());
                }
            },
            State::Connected(connection) => {
                let polled = connection.poll(&mut self.memory, deadline);
                match polled.and_then(|frames| self.options.check(frames)) {
                    Ok(frames) => return frames.map(|frames| self.payload(frames)),
                    Err(error) => self.failed(error),
                }
            }
            State::Ended => {}
        }
        None
    }

    /// Begins to connect, elsewhere.
    fn dial(&mut self) {
        let (answer, answered) = mpsc::channel();
        let (source, options, dial) = (self.source.clone(), self.options, self.dials);
        let task = self.memory.task.clone();
        self.dials += 1;
        let spawned = thread::Builder::new()
            .name("dial".to_owned())
            .stack_size(DIALLER_STACK_BYTES)
            .spawn(move || {
                // Nobody may be waiting any more: then the connection is closed again.
                drop(answer.send(Connection::open(&source, &options, dial)));
                task.inspect(Waker::wake_by_ref);
            });
        match spawned {
            Ok(_) => self.state = State::Dialling(answered),
            Err(error) => self.failed(error.into()),
        }
    }

    fn connected(&mut self, connection: Connection) {
        debug!("connected to {}", self.source);
        self.was_connected = true;
        self.memory.numbering.reconnect();
        self.state = State::Connected(Box::new(connection));
    }

    fn failed(&mut self, error: Error) {
        if matches!(error, Error::Wire(DecodeError::Invalid { .. })) {
            self.damaged += 1;
        }
        let now = SystemClock.monotonic();
        let is_final = self.options.purpose == Purpose::Watch && !self.was_connected;
        if is_final && error.is_permanent() {
            self.state = State::Ended;
        } else {
            let wait = self.backoff.next().max(error.retry_after());
            self.state = State::Waiting { until: now + wait };
            self.announce_outage(&error, now);
        }
        self.last_error = Some(error);
    }

    fn announce_outage(&mut self, error: &Error, now: Monotonic) {
        let cause = match error {
            Error::Circle(_) => Cause::Circle,
            _ => Cause::Passing,
        };
        let since = match self.outage {
            Outage::Announced {
                since,
                cause: known,
            } => {
                if known == Cause::Circle || cause == known {
                    return debug!("still nothing from {}: {error}", self.source);
                }
                since
            }
            Outage::None => now,
        };
        self.outage = Outage::Announced { since, cause };
        warn!("nothing comes from {}: {error}; trying again", self.source);
    }

    fn end_outage(&mut self, now: Monotonic) {
        if let Outage::Announced { since, .. } = self.outage {
            let seconds = now.since(since).as_secs_f64();
            info!("{} is back after {seconds:.1} s", self.source);
            self.outage = Outage::None;
        }
        self.backoff.reset();
    }

    fn payload(&mut self, frames: Vec<Frame>) -> Arc<Payload> {
        let now = SystemClock.monotonic();
        // A placeholder shows that somebody is there, not that anything is to be had.
        if frames.iter().any(|frame| !frame.head.is_placeholder()) {
            self.end_outage(now);
        }
        let index = self.index;
        self.index += 1;
        Arc::new(Payload {
            index,
            published_at: now,
            frames,
        })
    }
}

impl Subscribe for Ingress {
    fn recv(&mut self, timeout: Duration) -> Result<Arc<Payload>, RecvError> {
        match self.pending.pop_front() {
            Some(payload) => Ok(payload),
            None => self.arrive(timeout),
        }
    }

    fn resume_newest(&mut self) -> u64 {
        let mut skipped = 0;
        for _ in 0..MAX_RESUME {
            if self.is_pending_full() {
                break;
            }
            let Ok(payload) = self.arrive(Duration::ZERO) else {
                break;
            };
            if payload.starts_with_key() {
                skipped += self.pending.len() as u64;
                self.pending.clear();
            }
            self.pending.push_back(payload);
        }
        skipped
    }
}
