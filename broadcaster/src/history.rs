//! The last seconds of a channel, for stills of a moment that has passed (`?at=`).
//!
//! The thread `history-CHANNEL` reads the ring like any other subscriber and keeps each frame for
//! the configured time, counted by the clock that never jumps. The frames are the ring's own, so
//! they are charged to the one memory budget already; a bound in bytes of its own keeps a long
//! history from taking the room of viewers. Placeholders are not kept.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{
    Clock, Frame, Monotonic, Payload, RecvError, Shutdown, Subscribe, SystemClock, Timestamp,
};
use tracing::{debug, warn};

use crate::channel::Channel;
use crate::vital;

/// How often frames are let go of while no new ones come.
const TICK: Duration = Duration::from_millis(500);

/// Frames of the last seconds, shared by the thread that keeps them and those who ask.
#[derive(Debug)]
pub struct History {
    span: Duration,
    max_bytes: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Oldest first, each with the time it was published.
    frames: VecDeque<(Monotonic, Frame)>,
    bytes: u64,
}

/// There is no frame of that time, or none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No frame at all is kept.
    #[error("no frame is kept at present")]
    Empty,
    /// The time lies before all that is kept.
    #[error("nothing that old is kept, the oldest there is was captured at {}", .oldest.as_seconds())]
    TooOld {
        /// When the oldest one that is kept was captured.
        oldest: Timestamp,
    },
}

impl History {
    /// An empty history of the last `span`, of at most `max_bytes` bytes or one frame.
    #[must_use]
    pub fn new(span: Duration, max_bytes: u64) -> Self {
        Self {
            span,
            max_bytes,
            kept: Mutex::default(),
        }
    }

    /// How much of the past it keeps at most.
    #[must_use]
    pub const fn span(&self) -> Duration {
        self.span
    }

    /// Keeps the frames of a payload and lets go of old ones. Returned is how long the history is,
    /// if its bound in bytes made it shorter than its time.
    pub fn keep(&self, payload: &Payload, now: Monotonic) -> Option<Duration> {
        let mut kept = self.kept();
        let frames = payload.frames.iter();
        for frame in frames.filter(|frame| !frame.head.is_placeholder()) {
            kept.bytes += frame.data().len() as u64;
            kept.frames.push_back((payload.published_at, frame.clone()));
        }
        kept.forget_old(now, self.span);
        let mut is_cut = false;
        while kept.bytes > self.max_bytes && kept.frames.len() > 1 {
            kept.forget_oldest();
            is_cut = true;
        }
        let oldest = kept.frames.front().filter(|_| is_cut);
        oldest.map(|(published_at, _)| now.since(*published_at))
    }

    /// Lets go of frames that have grown too old.
    pub fn forget_old(&self, now: Monotonic) {
        self.kept().forget_old(now, self.span);
    }

    /// The newest frame captured at this time or before.
    ///
    /// # Errors
    /// If the time lies before all that is kept.
    pub fn at(&self, time: Timestamp) -> Result<Frame, Missing> {
        let kept = self.kept();
        // From the newest on, one by one: capture times need not be in order, the wall clock jumps.
        let mut frames = kept.frames.iter().rev().map(|(_, frame)| frame);
        let found = frames.find(|frame| frame.head.captured_at <= time);
        found.cloned().ok_or_else(|| match kept.frames.front() {
            None => Missing::Empty,
            Some((_, oldest)) => Missing::TooOld {
                oldest: oldest.head.captured_at,
            },
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        (self.kept.lock()).expect("no thread panics while holding this")
    }
}

impl Kept {
    fn forget_old(&mut self, now: Monotonic, span: Duration) {
        while (self.frames.front()).is_some_and(|(at, _)| now.since(*at) > span) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, frame)) = self.frames.pop_front() {
            self.bytes -= frame.data().len() as u64;
        }
    }
}

/// Starts the thread that keeps the channel's history, if it has one. It ends with the channel or
/// on `shutdown`.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(channel: &Arc<Channel>, shutdown: &Shutdown) -> io::Result<Option<JoinHandle<()>>> {
    if channel.history.is_none() {
        return Ok(None);
    }
    let (channel, until) = (channel.clone(), shutdown.clone());
    let name = format!("history-{}", channel.name);
    let thread = vital::spawn(name, shutdown, move || {
        if let Some(history) = &channel.history {
            follow(&channel, history, &until);
        }
    })?;
    Ok(Some(thread))
}

fn follow(channel: &Channel, history: &History, shutdown: &Shutdown) {
    let mut subscriber = channel.ring.subscribe();
    let mut is_told = false;
    while !shutdown.is_triggered() {
        match subscriber.recv(TICK) {
            Ok(payload) => {
                let cut = history.keep(&payload, SystemClock.monotonic());
                if let Some(length) = cut.filter(|_| !is_told) {
                    is_told = true;
                    tell_cut(channel, history, length);
                }
            }
            Err(RecvError::TimedOut) => history.forget_old(SystemClock.monotonic()),
            Err(RecvError::Lagged { skipped }) => {
                debug!(channel = channel.name, skipped, "history has a gap");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn tell_cut(channel: &Channel, history: &History, length: Duration) {
    warn!(
        channel = channel.name,
        wanted = ?history.span,
        kept_seconds = format!("{:.1}", length.as_secs_f64()),
        max_bytes = history.max_bytes,
        "history is shorter than asked for: its share of the memory budget is full",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::{Flags, Format, Head, Identity, ManualClock};

    const SECOND: Duration = Duration::from_secs(1);

    /// A frame of `bytes` bytes each second, captured half a second before it is published.
    struct Bench {
        clock: ManualClock,
        history: History,
        published: u64,
    }

    impl Bench {
        fn new(max_bytes: u64) -> Self {
            let clock = ManualClock::default();
            clock.advance(100 * SECOND);
            Self {
                clock,
                history: History::new(10 * SECOND, max_bytes),
                published: 0,
            }
        }

        fn keep(&mut self, bytes: usize, flags: Flags) -> Option<Duration> {
            self.clock.advance(SECOND);
            let identity = Identity {
                epoch: 1,
                seq: self.published,
            };
            let captured_at = self.clock.wall().as_nanos() - 500_000_000;
            let mut head = Head::new(identity, Timestamp::from_nanos(captured_at), Format::Jpeg);
            head.flags = flags;
            let payload = Payload {
                index: self.published,
                published_at: self.clock.monotonic(),
                frames: vec![Frame::new(head, Bytes::from(vec![0; bytes]))],
            };
            self.published += 1;
            self.history.keep(&payload, self.clock.monotonic())
        }

        fn at(&self, seconds: f64) -> Result<u64, Missing> {
            let time = Duration::from_secs_f64(seconds).as_nanos();
            let time = Timestamp::from_nanos(time.try_into().unwrap());
            self.history.at(time).map(|frame| frame.head.identity.seq)
        }
    }

    fn too_old(seconds: f64) -> Result<u64, Missing> {
        let nanos = Duration::from_secs_f64(seconds).as_nanos();
        let oldest = Timestamp::from_nanos(nanos.try_into().unwrap());
        Err(Missing::TooOld { oldest })
    }

    #[test]
    fn the_newest_frame_at_or_before_a_time_is_found() {
        let mut bench = Bench::new(u64::MAX);
        assert_eq!(bench.at(100.0), Err(Missing::Empty));
        for _ in 0..3 {
            assert_eq!(bench.keep(10, Flags::KEY), None);
        }
        assert_eq!(bench.at(1000.0), Ok(2));
        assert_eq!(bench.at(102.5), Ok(2));
        assert_eq!(bench.at(102.4), Ok(1));
        assert_eq!(bench.at(100.5), Ok(0));
        assert_eq!(bench.at(100.4), too_old(100.5));
        let text = bench.at(0.0).unwrap_err().to_string();
        assert!(text.ends_with("captured at 100.500000"), "{text}");
    }

    #[test]
    fn frames_are_kept_for_the_time_asked_and_go_even_if_none_follow() {
        let mut bench = Bench::new(u64::MAX);
        for _ in 0..20 {
            assert_eq!(bench.keep(10, Flags::KEY), None);
        }
        assert_eq!(bench.at(109.5), Ok(9));
        assert_eq!(bench.at(109.4), too_old(109.5));
        bench.clock.advance(10 * SECOND);
        bench.history.forget_old(bench.clock.monotonic());
        assert_eq!(bench.at(200.0), Ok(19));
        bench.clock.advance(Duration::from_nanos(1));
        bench.history.forget_old(bench.clock.monotonic());
        assert_eq!(bench.at(200.0), Err(Missing::Empty));
        assert_eq!(bench.history.kept().bytes, 0);
    }

    #[test]
    fn too_many_bytes_shorten_it_which_is_told_but_one_frame_always_stays() {
        let mut bench = Bench::new(100);
        for _ in 0..5 {
            assert_eq!(bench.keep(20, Flags::KEY), None);
        }
        assert_eq!(bench.keep(20, Flags::KEY), Some(4 * SECOND));
        assert_eq!(bench.at(101.4), too_old(101.5));
        assert_eq!(bench.keep(500, Flags::KEY), Some(Duration::ZERO));
        assert_eq!(bench.at(200.0), Ok(6));
        assert_eq!(bench.history.kept().bytes, 500);
    }

    #[test]
    fn placeholders_are_not_kept() {
        let mut bench = Bench::new(u64::MAX);
        bench.keep(10, Flags::KEY);
        bench.keep(10, Flags::KEY.with(Flags::PLACEHOLDER));
        assert_eq!(bench.at(200.0), Ok(0));
    }
}
