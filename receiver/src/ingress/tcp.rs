//! The native protocol from the viewer's side, on one connection.
//!
//! Besides receiving, a viewer asks for the server's time once a second (several times at first,
//! so that ages are known early) and says how it fares as often as the server wants to hear it.

use std::time::Duration;

use bytes::BytesMut;
use common::wire::tcp::{Feedback, Hello, Message, OLDEST_VERSION, Sender, VERSION, Welcome};
use common::{Clock, DecodeError, Frame, Monotonic, SystemClock, Timestamp};

use super::offset::{ClockOffset, Estimator};
use super::socket::{ANSWER_TIMEOUT, Socket};
use super::source::Tcp;
use super::{Error, Options};
use crate::account::Account;

const PING_EVERY: Duration = Duration::from_secs(1);
/// Pings that follow each other faster, right after the beginning.
const EARLY_PINGS: u32 = 4;
const EARLY_PING_EVERY: Duration = Duration::from_millis(250);
/// However often the server wants feedback, it gets it no more often than this.
const LEAST_FEEDBACK_EVERY: Duration = Duration::from_millis(100);
/// Ages kept for one FEEDBACK; later ones are left out.
const MAX_AGES: usize = 4_096;

/// A connection on which the server has said WELCOME.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    buffer: BytesMut,
    offset: Estimator,
    pings: Pings,
    fares: Fares,
}

impl Connection {
    /// Connects and agrees with the server; blocks for at most some seconds.
    pub(super) fn open(tcp: &Tcp, options: &Options) -> Result<Self, Error> {
        let mut socket = Socket::connect(&tcp.host, tcp.port)?;
        let hello = Hello {
            min_version: OLDEST_VERSION,
            max_version: VERSION,
            max_age: options.max_age,
            channel: tcp.channel.clone(),
        };
        socket.send(&Message::Hello(hello).encode())?;
        let mut buffer = BytesMut::new();
        let welcome = await_welcome(&mut socket, &mut buffer)?;
        let now = SystemClock.monotonic();
        Ok(Self {
            socket,
            buffer,
            offset: Estimator::default(),
            pings: Pings::new(now),
            fares: Fares::new(welcome.feedback_every, now),
        })
    }

    /// The frames of the next payload, `None` if it is not there by the deadline.
    pub(super) fn poll(&mut self, deadline: Monotonic) -> Result<Option<Vec<Frame>>, Error> {
        loop {
            let message = Message::decode(&mut self.buffer, Sender::Server);
            if message.is_ok() {
                self.socket.note_whole();
            }
            match message {
                Ok(Message::Payload(frames)) => {
                    self.fares.add(&frames, self.offset.best());
                    return Ok(Some(frames));
                }
                Ok(Message::Pong(pong)) => {
                    let now = SystemClock.monotonic();
                    self.offset.add(&pong, SystemClock.wall());
                    // A flood of these must not keep us beyond the deadline.
                    if now >= deadline {
                        return Ok(None);
                    }
                }
                Ok(Message::Goodbye(goodbye)) => return Err(Error::Goodbye(goodbye)),
                Ok(_) => return Err(Error::Unexpected("a second WELCOME")),
                Err(DecodeError::Incomplete { needed }) => {
                    self.speak()?;
                    let until = deadline.min(self.pings.next).min(self.fares.next);
                    let is_filled = self.socket.fill(&mut self.buffer, needed, until)?;
                    if !is_filled && SystemClock.monotonic() >= deadline {
                        return Ok(None);
                    }
                }
                Err(broken) => return Err(broken.into()),
            }
        }
    }

    /// How far the server's clock is ahead, once the first PONG is here.
    pub(super) fn clock_offset(&self) -> Option<ClockOffset> {
        self.offset.best()
    }

    /// Sends what is due.
    fn speak(&mut self) -> Result<(), Error> {
        let now = SystemClock.monotonic();
        if self.pings.is_due(now) {
            let ping = Message::Ping(SystemClock.wall());
            self.socket.send(&ping.encode())?;
        }
        if let Some(feedback) = self.fares.due(now) {
            self.socket.send(&Message::Feedback(feedback).encode())?;
        }
        Ok(())
    }
}

fn await_welcome(socket: &mut Socket, buffer: &mut BytesMut) -> Result<Welcome, Error> {
    let deadline = SystemClock.monotonic() + ANSWER_TIMEOUT;
    loop {
        match Message::decode(buffer, Sender::Server) {
            Ok(Message::Welcome(welcome)) => {
                return match welcome.version {
                    OLDEST_VERSION..=VERSION => Ok(welcome),
                    other => Err(Error::Version(other)),
                };
            }
            Ok(Message::Goodbye(goodbye)) => return Err(Error::Goodbye(goodbye)),
            Ok(_) => return Err(Error::Unexpected("a message before WELCOME")),
            Err(DecodeError::Incomplete { needed }) => {
                if SystemClock.monotonic() >= deadline {
                    return Err(Error::NoAnswer(ANSWER_TIMEOUT));
                }
                socket.fill(buffer, needed, deadline)?;
            }
            Err(broken) => return Err(broken.into()),
        }
    }
}

/// When to ask for the time.
#[derive(Debug)]
pub(super) struct Pings {
    next: Monotonic,
    sent: u32,
}

impl Pings {
    /// The first is due at once.
    pub(super) const fn new(now: Monotonic) -> Self {
        Self { next: now, sent: 0 }
    }

    /// When the next one is due.
    pub(super) const fn next(&self) -> Monotonic {
        self.next
    }

    /// Whether to ask now; if so, the next time is set.
    pub(super) fn is_due(&mut self, now: Monotonic) -> bool {
        if now < self.next {
            return false;
        }
        self.sent = self.sent.saturating_add(1);
        let wait = if self.sent < EARLY_PINGS {
            EARLY_PING_EVERY
        } else {
            PING_EVERY
        };
        self.next = now + wait;
        true
    }
}

/// How this viewer fares, for the server to know.
#[derive(Debug)]
struct Fares {
    every: Duration,
    next: Monotonic,
    account: Account,
    /// Since the last FEEDBACK, in microseconds.
    ages_us: Vec<u32>,
}

impl Fares {
    fn new(every: Duration, now: Monotonic) -> Self {
        let every = every.max(LEAST_FEEDBACK_EVERY);
        Self {
            every,
            next: now + every,
            account: Account::default(),
            ages_us: Vec::new(),
        }
    }

    fn add(&mut self, frames: &[Frame], offset: Option<ClockOffset>) {
        let arrived_at = SystemClock.wall();
        for frame in frames {
            self.account.add(&frame.head, frame.data().len());
            if !frame.head.is_placeholder() {
                self.add_age(offset, frame.head.captured_at, arrived_at);
            }
        }
    }

    fn add_age(&mut self, offset: Option<ClockOffset>, captured_at: Timestamp, at: Timestamp) {
        let Some(offset) = offset.filter(|_| self.ages_us.len() < MAX_AGES) else {
            return;
        };
        let micros = offset.age(captured_at, at).as_micros();
        self.ages_us.push(u32::try_from(micros).unwrap_or(u32::MAX));
    }

    /// What to say now, if it is time; the next time is set.
    fn due(&mut self, now: Monotonic) -> Option<Feedback> {
        if now < self.next {
            return None;
        }
        self.next = now + self.every;
        self.ages_us.sort_unstable();
        let counts = self.account.counts();
        let feedback = Feedback {
            received: counts.frames,
            skipped: counts.skipped,
            age_p50_us: percentile(&self.ages_us, 50),
            age_p99_us: percentile(&self.ages_us, 99),
        };
        self.ages_us.clear();
        Some(feedback)
    }
}

/// The value that `percent` of the sorted values do not exceed; 0 if there are none.
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::{Format, Head, Identity};

    const SECOND: Duration = Duration::from_secs(1);

    fn frame(seq: u64, captured_at: u64) -> Frame {
        let head = Head::new(
            Identity { epoch: 1, seq },
            Timestamp::from_nanos(captured_at),
            Format::Opaque,
        );
        Frame::new(head, Bytes::new())
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let hundred: Vec<_> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), 50);
        assert_eq!(percentile(&hundred, 99), 99);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn four_pings_in_the_first_second_then_one_a_second() {
        let start = Monotonic::from_nanos(0);
        let mut pings = Pings::new(start);
        let sent: Vec<_> = (0..300_u64)
            .filter(|&tick| pings.is_due(start + Duration::from_millis(10 * tick)))
            .collect();
        assert_eq!(sent, [0, 25, 50, 75, 175, 275]);
    }

    #[test]
    fn feedback_comes_when_due_and_ages_begin_anew() {
        let start = Monotonic::from_nanos(0);
        let mut fares = Fares::new(SECOND, start);
        let offset = ClockOffset {
            nanos: 0,
            round_trip: Duration::ZERO,
        };
        let just_now = SystemClock.wall().as_nanos() - 1_000_000_000;
        fares.add(&[frame(1, just_now), frame(5, just_now)], Some(offset));
        assert_eq!(fares.due(start + SECOND / 2), None);
        let feedback = fares.due(start + SECOND).unwrap();
        assert_eq!((feedback.received, feedback.skipped), (2, 3));
        assert!(feedback.age_p50_us >= 1_000_000);
        assert_eq!(fares.due(start + SECOND), None);
        assert_eq!(fares.due(start + 2 * SECOND).unwrap().age_p50_us, 0);
    }

    #[test]
    fn a_server_cannot_ask_for_a_flood_of_feedback() {
        let fares = Fares::new(Duration::ZERO, Monotonic::from_nanos(0));
        assert_eq!(fares.every, LEAST_FEEDBACK_EVERY);
    }
}
