//! A viewer together with its connection's story: what both drivers do alike.
//!
//! Drivers differ in how they send. Reading all a peer has said, writing once what its viewer wants
//! to send, the one line about its life, and how an event loop is woken and ended are the same and
//! stand here.

use std::io::{self, IoSlice, Read, Write};
use std::iter;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Wake;
use std::time::Duration;

use common::{Clock, Monotonic, SystemClock};
use mio::{Events, Poll, Token};
use socket2::SockRef;
use tracing::{debug, info, warn};

use super::FAREWELL;
use super::admission::Attendance;
use super::framing::MAX_SLICES;
use super::register::Registration;
use super::viewer::{Reason, Viewer};

/// What the loop behind a [`Gate`] is told when it is woken.
pub(super) const WAKE: Token = Token(usize::MAX);
/// Most bytes one viewer may send in one go; there is nothing that long to be said.
const MAX_INPUT: usize = 256 << 10;

/// A viewer on its way from the door to a driver.
#[derive(Debug)]
pub struct Newcomer {
    /// The connection, which is closed when the driver lets go of it.
    pub stream: Arc<TcpStream>,
    /// Who is there.
    pub guest: Guest,
}

/// Sets the options that every connection with frames has. `unsent_limit` is how many unsent bytes
/// the kernel may hold before the connection counts as full: they are delay that `max_age` cannot
/// see.
///
/// # Errors
/// If the connection is already gone.
pub fn prepare(stream: &TcpStream, unsent_limit: u32) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(unsent_limit)?;
    #[cfg(not(target_os = "linux"))]
    let _ = unsent_limit;
    Ok(())
}

/// Who is there, and since when.
#[derive(Debug)]
pub struct Guest {
    /// The other end.
    pub peer: SocketAddr,
    /// What it is sent.
    pub viewer: Viewer,
    /// Its place, given back when it goes.
    attendance: Attendance,
    registration: Registration,
    since: Monotonic,
}

impl Guest {
    /// A guest from now on.
    #[must_use]
    pub fn new(
        peer: SocketAddr,
        viewer: Viewer,
        mut attendance: Attendance,
        registration: Registration,
    ) -> Self {
        let id = registration.id;
        debug!(id, %peer, protocol = %viewer.protocol(), "viewer joined");
        attendance.taken_in(viewer.protocol());
        Self {
            peer,
            viewer,
            attendance,
            registration,
            since: SystemClock.monotonic(),
        }
    }

    /// Reads until the connection has no more to give, which edge-triggered readiness demands.
    ///
    /// # Errors
    /// The reason to close the connection at once.
    pub fn read(&mut self, mut stream: impl Read, scratch: &mut [u8]) -> Result<(), Reason> {
        let mut total = 0;
        loop {
            match stream.read(scratch) {
                Ok(0) => return Err(self.viewer.reason_to_leave()),
                Ok(count) => {
                    total += count;
                    if total > MAX_INPUT {
                        return Err(Reason::Floods);
                    }
                    self.viewer.receive(&scratch[..count], &SystemClock);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.reason_for(&error)),
            }
        }
    }

    /// Writes once what the viewer wants to send; false if the connection took less than all.
    ///
    /// # Errors
    /// The reason to close the connection at once.
    pub fn write(&mut self, mut stream: impl Write, now: Monotonic) -> Result<bool, Reason> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let filled = self.viewer.unsent(&mut slices);
        let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        let outcome = match &slices[..filled] {
            [only] => stream.write(only),
            several => stream.write_vectored(several),
        };
        match outcome {
            Ok(sent) => {
                self.viewer.advance(sent, now);
                Ok(sent == offered)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(self.reason_for(&error)),
        }
    }

    /// Tells how the other side hangs up from what is really an error.
    fn reason_for(&self, error: &io::Error) -> Reason {
        match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset => self.viewer.reason_to_leave(),
            _ => Reason::Io(error.to_string()),
        }
    }

    /// The one line about a viewer's life, when it is over.
    pub fn farewell(&mut self, reason: &Reason) {
        self.attendance.gone(reason);
        let counters = self.viewer.counters();
        let watches = self.viewer.watches().iter();
        let channels: Vec<_> = watches.map(|watch| &*watch.channel().name).collect();
        info!(
            id = self.registration.id,
            peer = %self.peer,
            protocol = %self.viewer.protocol(),
            channel = channels.join(","),
            sent = counters.sent,
            skipped = counters.skipped,
            thinned = counters.thinned,
            bytes = counters.bytes,
            age_p50 = ?counters.ages.quantile(0.5),
            age_p99 = ?counters.ages.quantile(0.99),
            seconds = SystemClock.monotonic().since(self.since).as_secs(),
            %reason,
            "viewer gone",
        );
    }
}

/// Waits until something is ready or the time is over.
///
/// # Panics
/// When the readiness queue is broken, which is a bug of ours.
pub(super) fn wait(poll: &mut Poll, events: &mut Events, timeout: Duration) {
    match poll.poll(events, Some(timeout)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
        Err(error) => panic!("the readiness queue is broken: {error}"),
    }
}

/// What is left of [`FAREWELL`], from now on and until nothing is.
pub(super) fn time_to_leave() -> impl Iterator<Item = Duration> {
    let deadline = SystemClock.monotonic() + FAREWELL;
    iter::repeat_with(move || deadline.since(SystemClock.monotonic()))
        .take_while(|left| !left.is_zero())
}

/// Where an event loop takes in viewers from other threads, and is woken by them.
#[derive(Debug)]
pub struct Gate {
    newcomers: Mutex<Vec<Newcomer>>,
    waker: mio::Waker,
}

impl Gate {
    /// What a loop waits on, and the gate to it, which wakes it with [`WAKE`].
    ///
    /// # Errors
    /// When the system gives no readiness queue.
    pub(super) fn open() -> io::Result<(Poll, Arc<Self>)> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        Ok((poll, Arc::new(Self::new(waker))))
    }

    /// A gate to the loop that `waker` wakes.
    #[must_use]
    pub fn new(waker: mio::Waker) -> Self {
        Self {
            newcomers: Mutex::default(),
            waker,
        }
    }

    /// Hands a viewer to the loop.
    pub fn push(self: &Arc<Self>, newcomer: Newcomer) {
        self.newcomers().push(newcomer);
        self.wake_by_ref();
    }

    /// All viewers handed in since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Newcomer> {
        std::mem::take(&mut *self.newcomers())
    }

    fn newcomers(&self) -> MutexGuard<'_, Vec<Newcomer>> {
        (self.newcomers.lock()).expect("no thread panics while holding this")
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.waker.wake() {
            warn!(%error, "event loop not woken");
        }
    }
}
