//! The driver of the ring's viewers: a few event loops, each with its share of them.
//!
//! Each worker is one thread with one readiness loop. It is woken once per payload, however many
//! viewers it has, and then sends to all that can take it with plain non-blocking writes. There is
//! no task, no thread and no timer per viewer.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{Clock, Monotonic, Shutdown, SystemClock};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::SockRef;
use tracing::{debug, info, warn};

use super::framing::{Framer, MAX_SLICES};
use super::viewer::{Next, Reason, Viewer};
use crate::channel::{Attendance, Channel};

/// How often viewers are looked over for stalls.
const SWEEP: Duration = Duration::from_secs(1);
/// How long viewers may take to finish what was begun when the broadcaster ends.
const FAREWELL: Duration = Duration::from_secs(1);
const EVENTS: usize = 1024;
const SCRATCH_BYTES: usize = 16 << 10;
/// Most bytes one viewer may send in one go; there is nothing that long to be said.
const MAX_INPUT: usize = 256 << 10;
/// Unsent bytes the kernel may hold per viewer before a connection counts as full. They are delay
/// that `max_age` cannot see, so there should be few; below one typical frame they cost wake-ups.
const UNSENT_BYTES: u32 = 128 << 10;
const WAKE: Token = Token(usize::MAX);

/// A viewer with its connection, on its way to a worker.
#[derive(Debug)]
pub struct Newcomer {
    /// The connection.
    pub stream: TcpStream,
    /// Who is there.
    pub peer: SocketAddr,
    /// What it is sent.
    pub viewer: Viewer,
    /// Counts it as present.
    pub attendance: Attendance,
}

/// Hands viewers to the workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Multiplex {
    gates: Arc<[Arc<Gate>]>,
}

/// The threads of the workers.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
}

/// Where a worker is reached from other threads.
#[derive(Debug)]
struct Gate {
    newcomers: Mutex<Vec<Newcomer>>,
    /// Viewers here or on their way.
    load: AtomicUsize,
    waker: mio::Waker,
}

impl Gate {
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
            warn!(%error, "worker not woken");
        }
    }
}

/// Starts `count` workers that are woken by each payload of `channel`. They end on `shutdown`.
///
/// # Errors
/// When the system gives no thread or no readiness queue.
pub fn start(
    count: usize,
    channel: &Arc<Channel>,
    shutdown: &Shutdown,
) -> io::Result<(Multiplex, Workers)> {
    let (mut gates, mut threads) = (Vec::new(), Vec::new());
    for number in 0..count {
        let (gate, thread) = start_worker(number, channel.clone(), shutdown.clone())?;
        gates.push(gate);
        threads.push(thread);
    }
    let gates = gates.into();
    Ok((Multiplex { gates }, Workers { threads }))
}

fn start_worker(
    number: usize,
    channel: Arc<Channel>,
    shutdown: Shutdown,
) -> io::Result<(Arc<Gate>, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let gate = Arc::new(Gate {
        newcomers: Mutex::default(),
        load: AtomicUsize::new(0),
        waker: mio::Waker::new(poll.registry(), WAKE)?,
    });
    let mut event_loop = EventLoop {
        poll,
        gate: gate.clone(),
        connections: Slab::new(),
        framer: Framer::default(),
        scratch: vec![0; SCRATCH_BYTES].into(),
    };
    let waker = Waker::from(gate.clone());
    let thread = thread::Builder::new()
        .name(format!("viewers-{number}"))
        .spawn(move || {
            let registration = channel.ring.wake_by(waker.clone());
            shutdown.wake_by(&waker);
            event_loop.run(&shutdown);
            drop(registration);
        })?;
    Ok((gate, thread))
}

impl Multiplex {
    /// Hands a viewer to the worker that has the fewest.
    pub fn adopt(&self, newcomer: Newcomer) {
        let load = |gate: &&Arc<Gate>| gate.load.load(Ordering::Relaxed);
        let gate = self.gates.iter().min_by_key(load);
        let gate = gate.expect("there is at least one worker");
        gate.load.fetch_add(1, Ordering::Relaxed);
        gate.newcomers().push(newcomer);
        gate.wake_by_ref();
    }
}

impl Workers {
    /// Waits until all have ended.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                warn!("a viewers thread panicked");
            }
        }
    }
}

#[derive(Debug)]
struct Connection {
    stream: mio::net::TcpStream,
    peer: SocketAddr,
    viewer: Viewer,
    attendance: Attendance,
    since: Monotonic,
    /// Whether the kernel may take more; false from a full queue until it says so.
    is_writable: bool,
}

struct EventLoop {
    poll: Poll,
    gate: Arc<Gate>,
    connections: Slab<Connection>,
    framer: Framer,
    scratch: Box<[u8]>,
}

impl EventLoop {
    fn run(&mut self, shutdown: &Shutdown) {
        let mut events = Events::with_capacity(EVENTS);
        let mut swept_at = SystemClock.monotonic();
        while !shutdown.is_triggered() {
            self.turn(&mut events, SWEEP);
            let now = SystemClock.monotonic();
            if now.since(swept_at) >= SWEEP {
                swept_at = now;
                self.sweep(now);
            }
        }
        self.farewell(&mut events);
    }

    /// Waits for something to happen, up to `timeout`, and does what is to be done.
    fn turn(&mut self, events: &mut Events, timeout: Duration) {
        match self.poll.poll(events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => panic!("the readiness queue is broken: {error}"),
        }
        let mut is_woken = false;
        for event in &*events {
            let Token(key) = event.token();
            if event.token() == WAKE {
                is_woken = true;
            } else if self.connections.contains(key) {
                self.serve(key, event);
            }
        }
        if is_woken {
            self.adopt_newcomers();
            self.pump_all();
        }
    }

    fn adopt_newcomers(&mut self) {
        let newcomers = std::mem::take(&mut *self.gate.newcomers());
        for newcomer in newcomers {
            let peer = newcomer.peer;
            if let Err(error) = self.adopt(newcomer) {
                self.gate.load.fetch_sub(1, Ordering::Relaxed);
                warn!(%peer, %error, "viewer not taken in");
            }
        }
    }

    fn adopt(&mut self, newcomer: Newcomer) -> io::Result<()> {
        let socket = SockRef::from(&newcomer.stream);
        socket.set_tcp_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
        newcomer.stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(newcomer.stream);
        let entry = self.connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        (self.poll.registry()).register(&mut stream, Token(entry.key()), interest)?;
        debug!(peer = %newcomer.peer, protocol = %newcomer.viewer.protocol(), "viewer joined");
        entry.insert(Connection {
            stream,
            peer: newcomer.peer,
            viewer: newcomer.viewer,
            attendance: newcomer.attendance,
            since: SystemClock.monotonic(),
            is_writable: true,
        });
        Ok(())
    }

    fn pump_all(&mut self) {
        let mut gone = Vec::new();
        for (key, connection) in &mut self.connections {
            if let Err(reason) = connection.pump(&mut self.framer) {
                gone.push((key, reason));
            }
        }
        for (key, reason) in gone {
            self.close(key, &reason);
        }
    }

    /// Takes in what a viewer says and sends what it can take.
    fn serve(&mut self, key: usize, event: &Event) {
        let connection = &mut self.connections[key];
        connection.is_writable |= event.is_writable();
        let outcome = if event.is_readable() {
            connection.read(&mut self.scratch)
        } else {
            Ok(())
        };
        if let Err(reason) = outcome.and_then(|()| connection.pump(&mut self.framer)) {
            self.close(key, &reason);
        }
    }

    /// Closes the viewers that have taken nothing for too long.
    fn sweep(&mut self, now: Monotonic) {
        let stalled = |(key, connection): (usize, &Connection)| {
            connection.viewer.is_stalled(now).then_some(key)
        };
        let stalled: Vec<_> = self.connections.iter().filter_map(stalled).collect();
        for key in stalled {
            // A stuck peer takes no GOODBYE either: what is queued is thrown away with a reset.
            let socket = SockRef::from(&self.connections[key].stream);
            drop(socket.set_linger(Some(Duration::ZERO)));
            self.close(key, &Reason::Stalled);
        }
    }

    /// Lets every viewer finish what was begun and says goodbye, for at most [`FAREWELL`].
    fn farewell(&mut self, events: &mut Events) {
        self.adopt_newcomers();
        for (_, connection) in &mut self.connections {
            connection.viewer.end(Reason::Ended);
        }
        self.pump_all();
        let deadline = SystemClock.monotonic() + FAREWELL;
        while !self.connections.is_empty() {
            let left = deadline.since(SystemClock.monotonic());
            if left.is_zero() {
                break;
            }
            self.turn(events, left);
        }
        for connection in self.connections.drain() {
            connection.log_end(&Reason::Ended);
        }
    }

    fn close(&mut self, key: usize, reason: &Reason) {
        let mut connection = self.connections.remove(key);
        self.gate.load.fetch_sub(1, Ordering::Relaxed);
        // Fails only for a descriptor that is not registered, which then needs nothing.
        drop(self.poll.registry().deregister(&mut connection.stream));
        connection.log_end(reason);
    }
}

impl Connection {
    /// Sends until there is nothing to send or the kernel takes no more. An error: close.
    fn pump(&mut self, framer: &mut Framer) -> Result<(), Reason> {
        while self.is_writable {
            let now = SystemClock.monotonic();
            match self.viewer.next(now, framer) {
                Next::Send => {}
                Next::Wait => return Ok(()),
                Next::Close(reason) => return Err(reason),
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = self.viewer.unsent(&mut slices);
            let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            match self.stream.write_vectored(&slices[..filled]) {
                Ok(sent) => {
                    // A short write means a full queue: the kernel will tell when it has room.
                    self.is_writable = sent == offered;
                    self.viewer.advance(sent, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(reason_for(&error)),
            }
        }
        Ok(())
    }

    /// Reads all there is, as edge-triggered readiness demands.
    fn read(&mut self, scratch: &mut [u8]) -> Result<(), Reason> {
        let mut total = 0;
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(Reason::Left),
                Ok(count) => {
                    total += count;
                    if total > MAX_INPUT {
                        return Err(Reason::Floods);
                    }
                    self.viewer.receive(&scratch[..count], &SystemClock);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(reason_for(&error)),
            }
        }
    }

    /// The one line about a viewer's life.
    fn log_end(&self, reason: &Reason) {
        let counters = self.viewer.counters();
        info!(
            peer = %self.peer,
            protocol = %self.viewer.protocol(),
            channel = self.attendance.channel().name,
            sent = counters.sent,
            skipped = counters.skipped,
            bytes = counters.bytes,
            age_p50 = ?counters.ages.quantile(0.5),
            age_p99 = ?counters.ages.quantile(0.99),
            seconds = SystemClock.monotonic().since(self.since).as_secs(),
            %reason,
            "viewer gone",
        );
    }
}

/// Tells how the other side hangs up from what is really an error.
fn reason_for(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset => Reason::Left,
        _ => Reason::Io(error.to_string()),
    }
}
