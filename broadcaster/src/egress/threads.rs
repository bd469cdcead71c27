//! The driver with a thread for each viewer: the model that `multiplex` is compared with.
//!
//! Each viewer's thread sends with blocking writes and sleeps in between. One more thread, the
//! herald, is the only one the writer wakes: it wakes the viewers' threads for each payload, and
//! the one whose peer has said something, so that pings are answered while a thread sleeps.

use std::io::{self, Read};
use std::net::{Shutdown as Close, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{Budget, Clock, Monotonic, Shutdown, SystemClock};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::{PollFd, PollFlags};
use rustix::net::RecvFlags;
use rustix::time::Timespec;
use slab::Slab;
use socket2::SockRef;
use tracing::warn;

use super::framing::Framer;
use super::guest::{self, Gate, Guest, Newcomer, WAKE};
use super::news::{Ear, News};
use super::viewer::{Next, Reason};
use super::{LEAST_STALL, Protocol, SCRATCH_BYTES, SWEEP};
use crate::channel::Channels;
use crate::vital;

const EVENTS: usize = 1024;
/// Deepest call is a log line; frames are not on the stack.
const STACK_BYTES: usize = 128 << 10;
/// Viewers cut off for each payload while memory is tight.
const CUTS_AT_ONCE: usize = 16;
/// A write that took longer has waited for the peer: before the next payload is chosen the thread
/// then waits for room, so that the choice is not made too early.
const PROMPT_WRITE: Duration = Duration::from_millis(5);

/// Hands viewers to the herald. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Threads {
    gate: Arc<Gate>,
}

impl Threads {
    /// Has a thread started for a viewer.
    pub fn adopt(&self, newcomer: Newcomer) {
        self.gate.push(newcomer);
    }
}

/// Starts the herald, which is woken by each payload of the channels and ends on `shutdown`, after the
/// viewers' threads. While `budget` is tight it cuts off the viewers that have stalled longest.
///
/// # Errors
/// When the system gives no thread or no readiness queue.
pub fn start(
    channels: &Channels,
    budget: &Budget,
    shutdown: &Shutdown,
) -> io::Result<(Threads, JoinHandle<()>)> {
    let (poll, gate) = Gate::open()?;
    let mut herald = Herald {
        poll,
        gate: gate.clone(),
        news: News::new(channels.len(), &gate),
        posts: Slab::new(),
        framers: (0..channels.len())
            .map(|place| Mutex::new(Framer::new(place, budget.clone())))
            .collect(),
        budget: budget.clone(),
        shutdown: shutdown.clone(),
    };
    let waker = Waker::from(gate.clone());
    let channels = channels.clone();
    let thread = vital::spawn("herald".to_owned(), shutdown, move || {
        herald.shutdown.wake_by(&waker);
        herald.run(&channels);
    })?;
    Ok((Threads { gate }, thread))
}

/// A viewer's thread, seen from the herald.
struct Post {
    thread: JoinHandle<()>,
    line: Arc<Line>,
    /// The place of its channel; `None` if what it watches changes as it likes.
    channel: Option<usize>,
}

impl Post {
    fn join(self) {
        if self.thread.join().is_err() {
            warn!("a viewer's thread panicked");
        }
    }
}

/// What a viewer's thread and the herald share.
struct Line {
    stream: Arc<TcpStream>,
    has_input: AtomicBool,
    /// When the peer last took a byte of the payload it is being sent, or that was begun; `None`
    /// between payloads.
    writing_since: Mutex<Option<Monotonic>>,
    /// Set by the herald when it has closed the connection to free memory.
    is_cut: AtomicBool,
    /// Set by the viewer's thread when nothing is left to do but to end.
    is_over: AtomicBool,
}

impl Line {
    fn writing_since(&self) -> MutexGuard<'_, Option<Monotonic>> {
        (self.writing_since.lock()).expect("no thread panics while holding this")
    }
}

struct Herald {
    poll: Poll,
    gate: Arc<Gate>,
    news: News,
    posts: Slab<Post>,
    /// One for each channel, shared by its viewers.
    framers: Arc<[Mutex<Framer>]>,
    budget: Budget,
    shutdown: Shutdown,
}

impl Herald {
    fn run(&mut self, channels: &Channels) {
        let mut events = Events::with_capacity(EVENTS);
        let mut ear = Ear::new(channels);
        let mut swept_at = SystemClock.monotonic();
        while !self.shutdown.is_triggered() {
            self.turn(&mut events, SWEEP);
            if ear.listen(&self.news, self.posts.len()) {
                self.wake_where(|_| true);
            }
            let now = SystemClock.monotonic();
            if now.since(swept_at) >= SWEEP {
                swept_at = now;
                (self.framers.iter()).for_each(|framer| lock(framer).forget_old(now));
            }
        }
        self.farewell(&mut events);
    }

    fn turn(&mut self, events: &mut Events, timeout: Duration) {
        guest::wait(&mut self.poll, events, timeout);
        let mut is_woken = false;
        for event in &*events {
            let Token(key) = event.token();
            if event.token() == WAKE {
                is_woken = true;
            } else if let Some(post) = self.posts.get(key) {
                // Release: pairs with the Acquire in Desk::run.
                post.line.has_input.store(true, Ordering::Release);
                post.thread.thread().unpark();
            }
        }
        if is_woken {
            self.adopt_newcomers();
            self.make_room(SystemClock.monotonic());
            if self.news.gather() {
                self.wake_where(|post| post.channel.is_none_or(|place| self.news.is_fresh(place)));
            }
        }
        self.clear_ended();
    }

    /// Has viewers look for something new.
    fn wake_where(&self, is_meant: impl Fn(&Post) -> bool) {
        let posts = self.posts.iter().map(|(_, post)| post);
        let meant = posts.filter(|post| is_meant(post));
        meant.for_each(|post| post.thread.thread().unpark());
    }

    fn adopt_newcomers(&mut self) {
        for newcomer in self.gate.take() {
            let peer = newcomer.guest.peer;
            if let Err(error) = self.adopt(newcomer) {
                warn!(%peer, %error, "viewer not taken in");
            }
        }
    }

    fn adopt(&mut self, mut newcomer: Newcomer) -> io::Result<()> {
        newcomer.guest.viewer.set_lane(self.posts.vacant_key());
        let viewer = &newcomer.guest.viewer;
        let channel = match (viewer.protocol(), viewer.watches()) {
            (Protocol::Tcp | Protocol::Http, [only]) => Some(only.place()),
            _ => None,
        };
        newcomer.stream.set_nonblocking(false)?;
        // So that a write which goes on for long tells of its progress.
        newcomer.stream.set_write_timeout(Some(SWEEP))?;
        let line = Arc::new(Line {
            stream: newcomer.stream,
            has_input: AtomicBool::new(false),
            writing_since: Mutex::default(),
            is_cut: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let desk = Desk {
            guest: newcomer.guest,
            line: line.clone(),
            framers: self.framers.clone(),
            gate: self.gate.clone(),
            shutdown: self.shutdown.clone(),
        };
        let entry = self.posts.vacant_entry();
        let fd = line.stream.as_raw_fd();
        (self.poll.registry()).register(
            &mut SourceFd(&fd),
            Token(entry.key()),
            Interest::READABLE,
        )?;
        let thread = thread::Builder::new()
            .name(format!("viewer-{}", entry.key()))
            .stack_size(STACK_BYTES)
            .spawn(move || desk.run())?;
        entry.insert(Post {
            thread,
            line,
            channel,
        });
        Ok(())
    }

    /// While memory is tight, cuts off the viewers that have held their frames for longest. Their
    /// threads let go a little later, so it is a few at a time.
    fn make_room(&self, now: Monotonic) {
        if !self.budget.is_tight() {
            return;
        }
        let held = |(_, post): (usize, &Post)| {
            let since = (*post.line.writing_since())?;
            let is_held = now.since(since) >= LEAST_STALL;
            let is_cut = post.line.is_cut.load(Ordering::Relaxed);
            (is_held && !is_cut).then(|| (since, post.line.clone()))
        };
        let mut held: Vec<_> = self.posts.iter().filter_map(held).collect();
        held.sort_by_key(|(since, _)| *since);
        for (_, line) in held.into_iter().take(CUTS_AT_ONCE) {
            line.is_cut.store(true, Ordering::Relaxed);
            // Fails only for a connection that is already gone; the blocked write ends.
            let _ = line.stream.shutdown(Close::Both);
        }
    }

    /// Forgets viewers whose threads end. Closing the last handle of a connection deregisters it.
    fn clear_ended(&mut self) {
        let ended = |(key, post): (usize, &Post)| {
            // Acquire: pairs with the Release in the drop of a Desk.
            post.line.is_over.load(Ordering::Acquire).then_some(key)
        };
        let ended: Vec<_> = self.posts.iter().filter_map(ended).collect();
        for key in ended {
            self.posts.remove(key).join();
        }
    }

    /// Lets every thread finish what it has begun; cuts the connections of those that cannot.
    fn farewell(&mut self, events: &mut Events) {
        self.adopt_newcomers();
        self.posts
            .iter()
            .for_each(|(_, post)| post.thread.thread().unpark());
        for left in guest::time_to_leave() {
            if self.posts.is_empty() {
                break;
            }
            self.turn(events, left);
        }
        for post in self.posts.drain() {
            // Fails only for a connection that is already gone; a blocked write ends with an error.
            let _ = post.line.stream.shutdown(Close::Both);
            post.thread.thread().unpark();
            post.join();
        }
    }
}

/// A viewer's thread, seen from inside.
struct Desk {
    guest: Guest,
    line: Arc<Line>,
    framers: Arc<[Mutex<Framer>]>,
    gate: Arc<Gate>,
    shutdown: Shutdown,
}

impl Drop for Desk {
    /// Has the herald give the connection's descriptor back.
    fn drop(&mut self) {
        // Release: pairs with the Acquire in Herald::clear_ended.
        self.line.is_over.store(true, Ordering::Release);
        self.gate.wake_by_ref();
    }
}

impl Desk {
    fn run(mut self) {
        let reason = match self.serve() {
            _ if self.line.is_cut.load(Ordering::Relaxed) => Reason::Memory,
            Ok(reason) | Err(reason) => reason,
        };
        if matches!(reason, Reason::Stalled(_) | Reason::Memory) {
            // A stuck peer takes no GOODBYE either: what is queued is thrown away with a reset.
            let _ = SockRef::from(&*self.line.stream).set_linger(Some(Duration::ZERO));
        }
        self.guest.farewell(&reason);
    }

    fn serve(&mut self) -> Result<Reason, Reason> {
        let mut slow_since = None;
        loop {
            // Acquire: pairs with the Release in Herald::turn.
            if self.line.has_input.swap(false, Ordering::Acquire) {
                self.guest
                    .read(Glance(&self.line.stream), &mut [0; SCRATCH_BYTES])?;
            }
            if self.shutdown.is_triggered() {
                self.guest.viewer.end(Reason::Ended);
            }
            if let Some(since) = slow_since {
                if !self.has_room(since)? {
                    continue;
                }
                slow_since = None;
                self.guest.viewer.waited(since, SystemClock.monotonic());
            }
            match self.next() {
                Next::Send => slow_since = self.write()?,
                Next::Wait => thread::park_timeout(SWEEP),
                Next::Close(reason) => return Ok(reason),
            }
        }
    }

    fn next(&mut self) -> Next {
        let now = SystemClock.monotonic();
        self.guest.viewer.next(now, &mut self.framers)
    }

    /// Writes until the message is out or [`SWEEP`] is over; if the peer made it wait, the time
    /// since when there may be no room.
    fn write(&mut self) -> Result<Option<Monotonic>, Reason> {
        let begun = SystemClock.monotonic();
        self.line.writing_since().get_or_insert(begun);
        let sent = self.guest.viewer.counters().bytes;
        let outcome = self.guest.write(&*self.line.stream, begun);
        let now = SystemClock.monotonic();
        if self.guest.viewer.counters().bytes > sent {
            // The last of these bytes may have gone only now.
            self.guest.viewer.progressed(now);
            *self.line.writing_since() = self.guest.viewer.held_for(now).map(|_| now);
        }
        outcome?;
        match self.guest.viewer.stall(now) {
            Some(reason) => Err(reason),
            None => Ok((now.since(begun) >= PROMPT_WRITE).then_some(now)),
        }
    }

    /// Waits for room up to [`SWEEP`]; an error if there has been none for too long.
    fn has_room(&self, since: Monotonic) -> Result<bool, Reason> {
        let mut room = [PollFd::new(&*self.line.stream, PollFlags::OUT)];
        let timeout = Timespec::try_from(SWEEP).expect("a second is not too long");
        if rustix::event::poll(&mut room, Some(&timeout)) != Ok(0) {
            return Ok(true);
        }
        let viewer = &self.guest.viewer;
        let limit = viewer.stall_limit();
        let now = SystemClock.monotonic();
        if now.since(since) >= limit {
            return Err(Reason::Stalled(limit));
        }
        viewer.stall(now).map_or(Ok(false), Err)
    }
}

fn lock(framer: &Mutex<Framer>) -> MutexGuard<'_, Framer> {
    framer.lock().expect("no thread panics while holding this")
}

/// Reads what has arrived on a blocking connection, without waiting for more.
struct Glance<'a>(&'a TcpStream);

impl Read for Glance<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = rustix::net::recv(self.0, buffer, RecvFlags::DONTWAIT)?;
        Ok(count)
    }
}
