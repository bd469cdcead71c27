//! The driver of the ring's viewers: a few event loops, each with its share of them.
//!
//! Each worker is one thread with one readiness loop. It is woken once per payload, however many
//! viewers it has, and then sends to all that can take it with plain non-blocking writes. There is
//! no task, no thread and no timer per viewer.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Budget, Clock, Monotonic, Shutdown, SystemClock};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::SockRef;
use tracing::warn;

use super::framing::Framer;
use super::guest::{self, Gate, Guest, Newcomer, WAKE};
use super::news::{Ear, News};
use super::viewer::{Next, Reason};
use super::{LEAST_STALL, SCRATCH_BYTES, SWEEP};
use crate::channel::Channels;
use crate::vital;

const EVENTS: usize = 1024;

/// Hands viewers to the workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Multiplex {
    workers: Arc<[Worker]>,
}

/// One worker, seen from outside.
#[derive(Debug)]
struct Worker {
    gate: Arc<Gate>,
    /// Viewers there or on their way.
    load: Arc<AtomicUsize>,
}

/// Starts `count` workers that are woken by each payload of the channels; they end on `shutdown`.
/// Returned are the driver and the threads to join.
///
/// # Errors
/// When the system gives no thread or no readiness queue.
pub fn start(
    count: usize,
    channels: &Channels,
    budget: &Budget,
    shutdown: &Shutdown,
) -> io::Result<(Multiplex, Vec<JoinHandle<()>>)> {
    let (mut workers, mut threads) = (Vec::new(), Vec::new());
    for number in 0..count {
        let (worker, thread) = start_worker(number, channels.clone(), budget.clone(), shutdown)?;
        workers.push(worker);
        threads.push(thread);
    }
    let workers = workers.into();
    Ok((Multiplex { workers }, threads))
}

fn start_worker(
    number: usize,
    channels: Channels,
    budget: Budget,
    shutdown: &Shutdown,
) -> io::Result<(Worker, JoinHandle<()>)> {
    let (poll, gate) = Gate::open()?;
    let load = Arc::new(AtomicUsize::new(0));
    let mut event_loop = EventLoop {
        number,
        poll,
        gate: gate.clone(),
        load: load.clone(),
        connections: Slab::new(),
        framers: (0..channels.len())
            .map(|place| Framer::new(place, budget.clone()))
            .collect(),
        budget,
        news: News::new(channels.len(), &gate),
        channels,
        scratch: vec![0; SCRATCH_BYTES].into(),
    };
    let waker = Waker::from(gate.clone());
    let (name, until) = (format!("viewers-{number}"), shutdown.clone());
    let thread = vital::spawn(name, shutdown, move || {
        until.wake_by(&waker);
        event_loop.run(&until);
    })?;
    Ok((Worker { gate, load }, thread))
}

impl Multiplex {
    /// Hands a viewer to the worker that has the fewest.
    pub fn adopt(&self, newcomer: Newcomer) {
        let load = |worker: &&Worker| worker.load.load(Ordering::Relaxed);
        let worker = self.workers.iter().min_by_key(load);
        let worker = worker.expect("there is at least one worker");
        worker.load.fetch_add(1, Ordering::Relaxed);
        worker.gate.push(newcomer);
    }
}

#[derive(Debug)]
struct Connection {
    stream: Arc<TcpStream>,
    guest: Guest,
    /// Whether the kernel may take more; false from a full queue until it says so.
    is_writable: bool,
}

struct EventLoop {
    number: usize,
    poll: Poll,
    gate: Arc<Gate>,
    load: Arc<AtomicUsize>,
    budget: Budget,
    channels: Channels,
    news: News,
    connections: Slab<Connection>,
    /// One for each channel.
    framers: Box<[Framer]>,
    scratch: Box<[u8]>,
}

impl EventLoop {
    fn run(&mut self, shutdown: &Shutdown) {
        let mut events = Events::with_capacity(EVENTS);
        let channels = self.channels.clone();
        let mut ear = Ear::new(&channels);
        let mut swept_at = SystemClock.monotonic();
        while !shutdown.is_triggered() {
            self.turn(&mut events, SWEEP);
            if ear.listen(&self.news, self.connections.len()) {
                self.pump_where(|_, _| true);
            }
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
        guest::wait(&mut self.poll, events, timeout);
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
            if self.news.gather() {
                self.pump_where(|news, connection| news.concern(&connection.guest.viewer));
            }
            self.make_room(SystemClock.monotonic());
        }
    }

    fn adopt_newcomers(&mut self) {
        for newcomer in self.gate.take() {
            let peer = newcomer.guest.peer;
            match self.adopt(newcomer) {
                Ok(key) => self.pump(key),
                Err(error) => {
                    self.load.fetch_sub(1, Ordering::Relaxed);
                    warn!(%peer, %error, "viewer not taken in");
                }
            }
        }
    }

    fn adopt(&mut self, mut newcomer: Newcomer) -> io::Result<usize> {
        newcomer.guest.viewer.set_lane(self.number);
        newcomer.stream.set_nonblocking(true)?;
        let stream = newcomer.stream;
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let fd = stream.as_raw_fd();
        (self.poll.registry()).register(&mut SourceFd(&fd), Token(key), interest)?;
        entry.insert(Connection {
            stream,
            guest: newcomer.guest,
            is_writable: true,
        });
        Ok(key)
    }

    fn pump(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if let Err(reason) = connection.pump(&mut self.framers) {
            self.close(key, &reason);
        }
    }

    fn pump_where(&mut self, is_meant: impl Fn(&News, &Connection) -> bool) {
        let mut gone = Vec::new();
        for (key, connection) in &mut self.connections {
            if !is_meant(&self.news, connection) {
                continue;
            }
            if let Err(reason) = connection.pump(&mut self.framers) {
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
            connection
                .guest
                .read(&*connection.stream, &mut self.scratch)
        } else {
            Ok(())
        };
        if let Err(reason) = outcome.and_then(|()| connection.pump(&mut self.framers)) {
            self.close(key, &reason);
        }
    }

    /// Closes the viewers that have taken nothing for too long, forgets what was framed long ago.
    fn sweep(&mut self, now: Monotonic) {
        (self.framers.iter_mut()).for_each(|framer| framer.forget_old(now));
        let stalled = |(key, connection): (usize, &Connection)| {
            Some((key, connection.guest.viewer.stall(now)?))
        };
        let stalled: Vec<_> = self.connections.iter().filter_map(stalled).collect();
        for (key, reason) in stalled {
            self.cut(key, &reason);
        }
        // Who is to be sent away learns it with the next frame, or now if there is none.
        self.pump_where(|_, connection| connection.guest.viewer.figures().is_dismissed());
    }

    /// While memory is tight, closes the viewer that has held its frame for longest.
    fn make_room(&mut self, now: Monotonic) {
        while self.budget.is_tight() {
            let held = |(key, connection): (usize, &Connection)| {
                let held_for = connection.guest.viewer.held_for(now)?;
                (held_for >= LEAST_STALL).then_some((held_for, key))
            };
            let Some((_, key)) = self.connections.iter().filter_map(held).max() else {
                return;
            };
            self.cut(key, &Reason::Memory);
        }
    }

    /// Closes a viewer that is stuck. It would take no GOODBYE either: what is queued is thrown
    /// away with a reset.
    fn cut(&mut self, key: usize, reason: &Reason) {
        let socket = SockRef::from(&*self.connections[key].stream);
        // Without it the kernel would go on trying for a while, which is all that is lost.
        drop(socket.set_linger(Some(Duration::ZERO)));
        self.close(key, reason);
    }

    /// Lets every viewer finish what was begun and says goodbye, for at most [`FAREWELL`](super::FAREWELL).
    fn farewell(&mut self, events: &mut Events) {
        self.adopt_newcomers();
        for (_, connection) in &mut self.connections {
            connection.guest.viewer.end(Reason::Ended);
        }
        self.pump_where(|_, _| true);
        for left in guest::time_to_leave() {
            if self.connections.is_empty() {
                break;
            }
            self.turn(events, left);
        }
        for mut connection in self.connections.drain() {
            connection.guest.farewell(&Reason::Ended);
        }
    }

    fn close(&mut self, key: usize, reason: &Reason) {
        let mut connection = self.connections.remove(key);
        self.load.fetch_sub(1, Ordering::Relaxed);
        // Fails only for a descriptor that is not registered, which then needs nothing.
        let fd = connection.stream.as_raw_fd();
        drop(self.poll.registry().deregister(&mut SourceFd(&fd)));
        connection.guest.farewell(reason);
    }
}

impl Connection {
    /// Sends until there is nothing to send or the kernel takes no more. An error: close.
    fn pump(&mut self, framers: &mut [Framer]) -> Result<(), Reason> {
        while self.is_writable {
            let now = SystemClock.monotonic();
            match self.guest.viewer.next(now, framers) {
                // A short write means a full queue: the kernel will tell when it has room.
                Next::Send => self.is_writable = self.guest.write(&*self.stream, now)?,
                Next::Wait => return Ok(()),
                Next::Close(reason) => return Err(reason),
            }
        }
        Ok(())
    }
}
