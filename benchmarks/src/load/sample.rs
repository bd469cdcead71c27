//! Viewers that parse every frame and say how old it is.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use common::synchrony::Synchrony;
use common::{Clock, DecodeError, Identity, Monotonic, Shutdown, SystemClock, Timestamp};
use hdrhistogram::Histogram;

use super::arrival::{Arrived, Parser};
use super::readiness::{Connection, Readiness};
use super::{Protocol, read_some};

const SCRATCH_BYTES: usize = 256 << 10;

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
    /// Last minus first arrival in microseconds, of the frames that all samples got since then.
    pub apart: Histogram<u64>,
    /// Connections that have ended or broken.
    pub lost: u64,
}

/// No time yet; times from 1 µs to 60 s with three digits.
#[must_use]
pub fn empty_times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}

/// The thread that parses for all samples.
#[derive(Debug)]
pub struct Samples {
    tally: Arc<Mutex<Tally>>,
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
        let tally = Arc::new(Mutex::new(Tally::new(streams.len())));
        let viewer = |number| Viewer {
            number,
            buffer: BytesMut::new(),
            parser: Parser::new(protocol),
        };
        let mut viewers: Vec<_> = (0..streams.len()).map(viewer).collect();
        let (shared, mut scratch) = (tally.clone(), vec![0; SCRATCH_BYTES]);
        let read = move |key: usize, stream: &mut mio::net::TcpStream| {
            let connection = viewers[key].read(stream, &mut scratch, &shared);
            if connection == Connection::Over {
                lock(&shared).totals.lost += 1;
            }
            connection
        };
        let thread = Readiness::of(streams, shutdown)?.spawn("samples", read)?;
        Ok(Self {
            tally,
            thread: Some(thread),
        })
    }

    /// The totals up to now; times begin anew.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let totals = &mut lock(&self.tally).totals;
        let taken = totals.clone();
        totals.ages.reset();
        totals.apart.reset();
        taken
    }

    /// Bytes of frames so far.
    pub(super) fn bytes(&self) -> u64 {
        lock(&self.tally).totals.bytes
    }

    /// When the newest frame arrived first, and how long after the one before; `None` before the
    /// second one.
    #[must_use]
    pub fn beat(&self) -> Option<(Monotonic, Duration)> {
        lock(&self.tally).beat
    }

    /// Waits for the end, which the word to end brings about.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("parsing does not panic");
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().expect("no thread panics while holding this")
}

struct Viewer {
    /// Its place among the samples.
    number: usize,
    buffer: BytesMut,
    parser: Parser,
}

impl Viewer {
    /// Reads all there is and counts the frames in it.
    fn read(
        &mut self,
        stream: &mut mio::net::TcpStream,
        scratch: &mut [u8],
        tally: &Mutex<Tally>,
    ) -> Connection {
        loop {
            match read_some(stream, scratch) {
                None => return Connection::Over,
                Some(0) => return Connection::Open,
                Some(count) => self.buffer.extend_from_slice(&scratch[..count]),
            }
            if !self.count_frames(tally) {
                return Connection::Over;
            }
        }
    }

    fn count_frames(&mut self, tally: &Mutex<Tally>) -> bool {
        let now = Now {
            wall: SystemClock.wall(),
            monotonic: SystemClock.monotonic(),
        };
        loop {
            let before = self.buffer.len();
            match self.parser.take(&mut self.buffer) {
                Ok(arrived) => {
                    if !arrived.is_empty() {
                        let taken = (before - self.buffer.len()) as u64;
                        lock(tally).count(self.number, &arrived, taken, now);
                    }
                }
                // Bytes between parts are dropped while the next part is incomplete: they belong to
                // frames all the same.
                Err(DecodeError::Incomplete { .. }) => {
                    lock(tally).totals.bytes += (before - self.buffer.len()) as u64;
                    return true;
                }
                Err(_) => return false,
            }
        }
    }
}

/// The totals, and what is needed to go on with them.
#[derive(Debug)]
struct Tally {
    totals: Totals,
    synchrony: Synchrony,
    /// Whether frames say their number; else they are counted.
    is_numbered: bool,
    newest_at: Option<Monotonic>,
    beat: Option<(Monotonic, Duration)>,
}

/// One moment by both clocks.
#[derive(Clone, Copy)]
struct Now {
    wall: Timestamp,
    monotonic: Monotonic,
}

impl Tally {
    fn new(viewers: usize) -> Self {
        Self {
            totals: Totals {
                each: vec![0; viewers],
                frames: 0,
                bytes: 0,
                newest_seq: 0,
                ages: empty_times(),
                apart: empty_times(),
                lost: 0,
            },
            synchrony: Synchrony::new(u16::try_from(viewers).unwrap_or(u16::MAX)),
            is_numbered: false,
            newest_at: None,
            beat: None,
        }
    }

    /// Counts frames that arrived together as `bytes` on the wire.
    fn count(&mut self, key: usize, arrived: &[Arrived], bytes: u64, now: Now) {
        let newest_before = self.totals.newest_seq;
        self.totals.bytes += bytes;
        for frame in arrived {
            self.count_frame(key, frame, now);
        }
        if self.totals.newest_seq > newest_before {
            let before = self.newest_at.replace(now.monotonic);
            self.beat = before.map(|before| (now.monotonic, now.monotonic.since(before)));
            self.synchrony.expire(now.monotonic);
        }
    }

    fn count_frame(&mut self, key: usize, frame: &Arrived, now: Now) {
        let totals = &mut self.totals;
        let counted = totals.each[key] + 1;
        let seq = match (frame.seq, self.is_numbered) {
            (Some(seq), _) => seq,
            (None, false) => counted,
            // Among numbered frames one without a number stands for no frame: "no signal", say.
            (None, true) => return,
        };
        totals.frames += 1;
        totals.each[key] = counted;
        if frame.seq.is_some() && !self.is_numbered {
            // What was counted so far has nothing to do with the numbers.
            self.is_numbered = true;
            totals.newest_seq = seq;
        }
        totals.newest_seq = totals.newest_seq.max(seq);
        if let Some(captured_at) = frame.captured_at {
            record(&mut totals.ages, now.wall.since(captured_at));
        }
        // Every load watches one epoch; a restart shows as connections lost.
        let identity = Identity { epoch: 0, seq };
        if let Some(apart) = self.synchrony.add(identity, now.monotonic) {
            record(&mut totals.apart, apart);
        }
    }
}

/// Adds a time to a histogram of microseconds.
pub fn record(times: &mut Histogram<u64>, time: Duration) {
    times.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_until_one_says_its_number() {
        let mut tally = Tally::new(1);
        let now = Now {
            wall: Timestamp::default(),
            monotonic: Monotonic::default(),
        };
        let mut newest_after = |seq| {
            let captured_at = None;
            tally.count(0, &[Arrived { seq, captured_at }], 1, now);
            tally.totals.newest_seq
        };
        assert_eq!((newest_after(None), newest_after(None)), (1, 2));
        assert_eq!((newest_after(None), newest_after(Some(0))), (3, 0));
        assert_eq!((newest_after(None), newest_after(Some(1))), (0, 1));
    }
}
