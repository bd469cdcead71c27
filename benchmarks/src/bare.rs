//! The least a server can do: one thread, one readiness loop, one non-blocking send of a ready-made
//! frame to each viewer. No request is read, nobody is judged, nothing can be configured.
//!
//! It is what the broadcaster is measured against: whatever the broadcaster costs more is the price
//! of being one.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use common::wire::tcp::{Message, Welcome};
use common::wire::{mjpeg, tcp};
use common::{Clock, Format, Frame, Head, Identity, Monotonic, Shutdown, SystemClock};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::load::{LoopWaker, Protocol, read_some};

const EVENTS: usize = 1024;
const LISTENER: Token = Token(usize::MAX);
const WAKE: Token = Token(usize::MAX - 1);
const BACKLOG: i32 = 4096;

/// What the loop sends.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// How frames are wrapped.
    pub protocol: Protocol,
    /// Data bytes of a frame.
    pub bytes: usize,
    /// Time between frames.
    pub interval: Duration,
    /// Frames sent together.
    pub frames_per_payload: usize,
}

/// A bound bare loop.
#[derive(Debug)]
pub struct Bare {
    listener: TcpListener,
    config: Config,
}

struct Viewer {
    stream: mio::net::TcpStream,
    /// Greeted, and so to be sent frames.
    is_active: bool,
    /// What is left of a frame that the kernel did not take whole.
    rest: Option<(Bytes, usize)>,
}

impl Bare {
    /// Binds a free port on loopback.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn bind(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        SockRef::from(&listener).listen(BACKLOG)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, config })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// If the readiness queue fails.
    pub fn run(self, shutdown: &Shutdown) -> io::Result<()> {
        let mut poll = Poll::new()?;
        let waker = Waker::from(Arc::new(LoopWaker(mio::Waker::new(poll.registry(), WAKE)?)));
        shutdown.wake_by(&waker);
        let mut listener = mio::net::TcpListener::from_std(self.listener);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let mut events = Events::with_capacity(EVENTS);
        let mut viewers: Vec<Viewer> = Vec::new();
        let mut frames = Frames::new(self.config);
        while !shutdown.is_triggered() {
            let left = frames.due.since(SystemClock.monotonic());
            match poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => accept(&listener, &poll, &mut viewers)?,
                    Token(key) => {
                        if let Some(viewer) = viewers.get_mut(key) {
                            viewer.ready(event, self.config.protocol);
                        }
                    }
                }
            }
            if let Some(frame) = frames.next(SystemClock.monotonic()) {
                for viewer in viewers.iter_mut().filter(|viewer| viewer.is_active) {
                    viewer.send(&frame);
                }
            }
        }
        Ok(())
    }
}

fn accept(
    listener: &mio::net::TcpListener,
    poll: &Poll,
    viewers: &mut Vec<Viewer>,
) -> io::Result<()> {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut stream, Token(viewers.len()), interest)?;
        viewers.push(Viewer {
            stream,
            is_active: false,
            rest: None,
        });
    }
    Ok(())
}

impl Viewer {
    fn ready(&mut self, event: &mio::event::Event, protocol: Protocol) {
        if event.is_readable() && !self.is_active {
            // Whatever was asked: there is only one thing to be had.
            if read_some(&mut self.stream, &mut [0; 1024]).is_some_and(|count| count > 0) {
                self.is_active = true;
                self.send(&greeting(protocol));
            }
        }
        if event.is_writable()
            && let Some((bytes, sent)) = self.rest.take()
        {
            self.send_from(&bytes, sent);
        }
    }

    /// Sends a frame, unless the last one is still on its way: then this one is skipped.
    fn send(&mut self, frame: &Bytes) {
        if self.rest.is_none() {
            self.send_from(frame, 0);
        }
    }

    fn send_from(&mut self, bytes: &Bytes, mut sent: usize) {
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.rest = Some((bytes.clone(), sent));
                    return;
                }
                Err(_) => {
                    self.is_active = false;
                    return;
                }
            }
        }
    }
}

fn greeting(protocol: Protocol) -> Bytes {
    match protocol {
        Protocol::Tcp => Message::Welcome(Welcome {
            version: tcp::VERSION,
            feedback_every: Duration::from_secs(3600),
            epoch: 1,
        })
        .encode(),
        Protocol::Http => {
            let kind = mjpeg::CONTENT_TYPE;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n");
            Bytes::from([head.as_bytes(), &mjpeg::encode_start()].concat())
        }
    }
}

/// Frames of constant content, each with its number and time, on an even beat.
struct Frames {
    config: Config,
    data: Bytes,
    seq: u64,
    due: Monotonic,
    /// Frames that wait until there are enough to be sent.
    gathered: Vec<Frame>,
}

impl Frames {
    fn new(config: Config) -> Self {
        Self {
            config,
            data: Bytes::from(vec![0x55; config.bytes]),
            seq: 0,
            due: SystemClock.monotonic(),
            gathered: Vec::new(),
        }
    }

    /// What is to be sent now, as one piece.
    fn next(&mut self, now: Monotonic) -> Option<Bytes> {
        if now < self.due {
            return None;
        }
        self.due = (self.due + self.config.interval).max(now);
        let head = Head::new(
            Identity {
                epoch: 1,
                seq: self.seq,
            },
            SystemClock.wall(),
            Format::Opaque,
        );
        self.seq += 1;
        self.gathered.push(Frame::new(head, self.data.clone()));
        if self.gathered.len() < self.config.frames_per_payload {
            return None;
        }
        let frames = std::mem::take(&mut self.gathered);
        let pieces = match self.config.protocol {
            Protocol::Tcp => tcp::encode_payload(&frames),
            Protocol::Http => mjpeg::encode_parts(&frames),
        };
        Some(pieces.concat().into())
    }
}
