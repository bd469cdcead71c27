//! Viewers that parse every frame and say how old it is.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use common::wire::mjpeg;
use common::wire::tcp::{Message, Sender};
use common::{Clock, DecodeError, Shutdown, SystemClock, Timestamp};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use super::{LoopWaker, Protocol, read_some};

const EVENTS: usize = 64;
const WAKE: Token = Token(usize::MAX);
const SCRATCH_BYTES: usize = 256 << 10;
/// A response head longer than this is none.
const MAX_RESPONSE_HEAD: usize = 8 << 10;

/// What all samples have received, from their beginning.
#[derive(Debug, Clone)]
pub struct Totals {
    /// Frames, by viewer.
    pub each: Vec<u64>,
    /// Frames, together.
    pub frames: u64,
    /// Bytes on the wire that belonged to frames.
    pub bytes: u64,
    /// The highest sequence number seen.
    pub newest_seq: u64,
    /// Ages at arrival in microseconds, since the totals were last asked for.
    pub ages: Histogram<u64>,
    /// Connections that have ended or broken.
    pub lost: u64,
}

/// No age yet; ages from 1 µs to 60 s with three digits.
#[must_use]
pub fn empty_ages() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}

/// The thread that parses for all samples.
#[derive(Debug)]
pub struct Samples {
    totals: Arc<Mutex<Totals>>,
    thread: Option<JoinHandle<()>>,
}

impl Samples {
    /// Starts parsing what comes from all streams, which must not block.
    ///
    /// # Errors
    /// When the system gives no thread or no readiness queue.
    pub fn start(
        streams: Vec<TcpStream>,
        protocol: Protocol,
        shutdown: &Shutdown,
    ) -> io::Result<Self> {
        let totals = Arc::new(Mutex::new(Totals {
            each: vec![0; streams.len()],
            frames: 0,
            bytes: 0,
            newest_seq: 0,
            ages: empty_ages(),
            lost: 0,
        }));
        let poll = Poll::new()?;
        let waker = Waker::from(Arc::new(LoopWaker(mio::Waker::new(poll.registry(), WAKE)?)));
        shutdown.wake_by(&waker);
        let mut viewers = Vec::with_capacity(streams.len());
        for (key, stream) in streams.into_iter().enumerate() {
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(key), Interest::READABLE)?;
            viewers.push(Viewer {
                stream,
                buffer: BytesMut::new(),
                parser: Parser::new(protocol),
            });
        }
        let (shared, shutdown) = (totals.clone(), shutdown.clone());
        let thread = thread::Builder::new()
            .name("samples".to_owned())
            .spawn(move || parse(poll, viewers, &shared, &shutdown))?;
        Ok(Self {
            totals,
            thread: Some(thread),
        })
    }

    /// The totals up to now; ages begin anew.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = lock(&self.totals);
        let taken = totals.clone();
        totals.ages.reset();
        taken
    }

    /// Waits for the end, which the word to end brings about.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("parsing does not panic");
        }
    }
}

fn lock(totals: &Mutex<Totals>) -> MutexGuard<'_, Totals> {
    totals.lock().expect("no thread panics while holding this")
}

struct Viewer {
    stream: mio::net::TcpStream,
    buffer: BytesMut,
    parser: Parser,
}

/// What is expected next on a connection.
enum Parser {
    Native,
    ResponseHead,
    Parts(mjpeg::Parser),
}

/// A frame that has arrived whole.
struct Arrived {
    seq: Option<u64>,
    captured_at: Option<Timestamp>,
}

impl Parser {
    const fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Native,
            Protocol::Http => Self::ResponseHead,
        }
    }

    /// Takes the next frames off the buffer, none while they are not whole; an error: give up.
    fn take(&mut self, buffer: &mut BytesMut) -> Result<Vec<Arrived>, DecodeError> {
        match self {
            Self::Native => match Message::decode(buffer, Sender::Server)? {
                Message::Payload(frames) => Ok((frames.iter().map(|frame| &frame.head))
                    .map(|head| Arrived {
                        seq: Some(head.identity.seq),
                        captured_at: Some(head.captured_at),
                    })
                    .collect()),
                _ => Ok(Vec::new()),
            },
            Self::ResponseHead => {
                *self = Self::Parts(take_response_head(buffer)?);
                Ok(Vec::new())
            }
            Self::Parts(parser) => Ok((parser.decode(buffer)?.into_iter())
                .map(|part| Arrived {
                    seq: part.head.seq,
                    captured_at: part.head.captured_at,
                })
                .collect()),
        }
    }
}

fn take_response_head(buffer: &mut BytesMut) -> Result<mjpeg::Parser, DecodeError> {
    let invalid = |text: &str| DecodeError::Invalid {
        at: 0,
        fault: common::wire::Fault::Head(text.to_owned()),
    };
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => {
            let is_type = |h: &&httparse::Header<'_>| h.name.eq_ignore_ascii_case("content-type");
            let content_type = response
                .headers
                .iter()
                .find(is_type)
                .map(|header| header.value);
            let content_type = content_type.and_then(|value| std::str::from_utf8(value).ok());
            let parser = content_type.and_then(mjpeg::Parser::new);
            buffer.advance(length);
            parser.ok_or_else(|| invalid("not a stream of parts"))
        }
        Ok(httparse::Status::Partial) if buffer.len() < MAX_RESPONSE_HEAD => {
            Err(DecodeError::Incomplete { needed: 1 })
        }
        _ => Err(invalid("not an HTTP response")),
    }
}

fn parse(mut poll: Poll, mut viewers: Vec<Viewer>, totals: &Mutex<Totals>, shutdown: &Shutdown) {
    let mut events = Events::with_capacity(EVENTS);
    let mut scratch = vec![0; SCRATCH_BYTES];
    while !shutdown.is_triggered() {
        if poll
            .poll(&mut events, Some(Duration::from_secs(1)))
            .is_err()
        {
            continue;
        }
        for event in &events {
            let Token(key) = event.token();
            if let Some(viewer) = viewers.get_mut(key)
                && !viewer.read(key, &mut scratch, totals)
            {
                // Fails only if it is not registered, which is what is wanted.
                drop(poll.registry().deregister(&mut viewer.stream));
                lock(totals).lost += 1;
            }
        }
    }
}

impl Viewer {
    /// Reads all there is and counts the frames in it; false at the end of the connection.
    fn read(&mut self, key: usize, scratch: &mut [u8], totals: &Mutex<Totals>) -> bool {
        loop {
            match read_some(&mut self.stream, scratch) {
                None => return false,
                Some(0) => return true,
                Some(count) => self.buffer.extend_from_slice(&scratch[..count]),
            }
            if !self.count_frames(key, totals) {
                return false;
            }
        }
    }

    fn count_frames(&mut self, key: usize, totals: &Mutex<Totals>) -> bool {
        let now = SystemClock.wall();
        loop {
            let before = self.buffer.len();
            match self.parser.take(&mut self.buffer) {
                Ok(arrived) => {
                    let mut totals = lock(totals);
                    if !arrived.is_empty() {
                        totals.bytes += (before - self.buffer.len()) as u64;
                    }
                    for frame in arrived {
                        totals.count(key, &frame, now);
                    }
                }
                // Bytes between parts are dropped while the next part is incomplete: they belong to
                // frames all the same.
                Err(DecodeError::Incomplete { .. }) => {
                    lock(totals).bytes += (before - self.buffer.len()) as u64;
                    return true;
                }
                Err(_) => return false,
            }
        }
    }
}

impl Totals {
    fn count(&mut self, key: usize, frame: &Arrived, now: Timestamp) {
        self.frames += 1;
        self.each[key] += 1;
        self.newest_seq = self.newest_seq.max(frame.seq.unwrap_or(self.each[key]));
        if let Some(captured_at) = frame.captured_at {
            let micros = now.since(captured_at).as_micros();
            self.ages
                .saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
        }
    }
}
