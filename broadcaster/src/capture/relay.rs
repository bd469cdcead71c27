//! Another server's stream: this broadcaster is one of its viewers, and passes on what it gets.
//!
//! * `tcp://` is another broadcaster. Its frames stay what they are: identity, capture time, flags,
//!   format, bytes and checksum; `hops` grows by one. What was skipped on the way here is a gap to
//!   all who come behind, and another epoch is a restart. Placeholders are passed on too.
//! * `amqp://` is an exchange that another broadcaster publishes to: the same frames, so this is an
//!   edge of that one.
//! * `http://` is any MJPEG server. Its pictures are numbered here, dated here unless it dates them
//!   itself, and given the standard Huffman tables if they have none.
//!
//! Connecting, the wait between two tries and the word about it are the ingress's. A server that is
//! away is a source without pictures, not one that has failed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use common::{Clock, Frame, Head, Identity, Shutdown, Subscribe, SystemClock, Timestamp, jpeg};
use receiver::ingress::{Ingress, Options, Purpose};

use super::{Captured, Picture, Source};

pub use receiver::ingress::{Source as Upstream, SourceError as UpstreamError};

/// Time between pictures as long as it was not measured: nobody says how fast an upstream is.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// How old payloads may grow before another broadcaster skips them for us. Twice what viewers have
/// by default: what is skipped here is missing for all who come behind, so a pause of one lost
/// packet on a long line is waited for, while a line that is too thin stays half a second behind.
const MAX_AGE: Duration = Duration::from_millis(500);
/// 2001-09-09. What is dated before it was dated by a clock that counts from the machine's start,
/// as mjpg-streamer does.
const EARLIEST_DATE: Timestamp = Timestamp::from_nanos(1_000_000_000_000_000_000);

/// A stream that is passed on.
#[derive(Debug)]
pub struct Relay {
    ingress: Ingress,
    origin: Origin,
    /// Frames of the last payload that were not asked for yet.
    waiting: VecDeque<Frame>,
}

/// Who numbers the frames.
#[derive(Debug)]
enum Origin {
    /// The server, or one before it. The last frame passed on is kept: a server sends its newest
    /// frame to whoever connects, also to who had it before.
    There { last: Option<Identity> },
    /// This broadcaster.
    Here,
}

impl Relay {
    /// A relay of `upstream`, which is connected to when the first picture is asked for.
    #[must_use]
    pub fn new(upstream: Upstream) -> Self {
        let (origin, max_age) = match upstream {
            Upstream::Tcp(_) | Upstream::Ws(_) => (Origin::There { last: None }, Some(MAX_AGE)),
            // The queue's bounds see to it that payloads are young.
            Upstream::Amqp(_) => (Origin::There { last: None }, None),
            // Not every server takes a query it does not know.
            Upstream::Http(_) => (Origin::Here, None),
        };
        let options = Options {
            max_age,
            purpose: Purpose::Relay,
        };
        Self {
            // The capture thread asks for one short wait after the other, and ends between them.
            ingress: Ingress::open(upstream, options, Shutdown::default()),
            origin,
            waiting: VecDeque::new(),
        }
    }
}

impl Source for Relay {
    fn grab(&mut self, timeout: Duration) -> Result<Option<Captured>, super::Error> {
        if self.waiting.is_empty()
            && let Ok(payload) = self.ingress.recv(timeout)
        {
            let frames = Arc::unwrap_or_clone(payload).frames;
            let is_new = |frame: &Frame| self.origin.is_new(&frame.head);
            self.waiting.extend(frames.into_iter().filter(is_new));
        }
        let frame = self.waiting.pop_front();
        Ok(frame.map(|frame| self.origin.pass_on(frame, SystemClock.wall())))
    }

    fn damaged(&self) -> u64 {
        self.ingress.damaged()
    }

    fn reconnects(&self) -> bool {
        true
    }
}

impl Origin {
    /// Whether a frame with this head was not passed on before.
    fn is_new(&mut self, head: &Head) -> bool {
        let Self::There { last } = self else {
            return true;
        };
        if head.is_placeholder() {
            return true;
        }
        let Identity { epoch, seq } = head.identity;
        let is_new = last.is_none_or(|last| last.epoch != epoch || last.seq < seq);
        if is_new {
            *last = Some(head.identity);
        }
        is_new
    }

    /// The frame as it leaves, at `now`.
    fn pass_on(&self, mut frame: Frame, now: Timestamp) -> Captured {
        frame.head.hops = frame.head.hops.saturating_add(1);
        let identity = match self {
            Self::There { .. } => Some(frame.head.identity),
            Self::Here => {
                frame = completed(frame, now);
                None
            }
        };
        Captured {
            captured_at: frame.head.captured_at,
            identity,
            picture: Picture::Framed(frame),
        }
    }
}

/// The frame with what its server has left out: a date, Huffman tables.
fn completed(mut frame: Frame, now: Timestamp) -> Frame {
    if frame.head.captured_at < EARLIEST_DATE {
        frame.head.captured_at = now;
    }
    let whole = jpeg::with_tables(frame.data());
    match whole.filter(|whole| whole.len() <= Frame::MAX_BYTES) {
        Some(whole) => Frame::new(frame.head, whole.into()),
        None => frame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::{Flags, Format};

    fn frame((epoch, seq): (u64, u64), captured_at: u64) -> Frame {
        let head = Head {
            hops: 3,
            ..Head::new(
                Identity { epoch, seq },
                Timestamp::from_nanos(captured_at),
                Format::Opaque,
            )
        };
        Frame::new(head, Bytes::from_static(b"data"))
    }

    fn passed_on(origin: &Origin, frame: Frame) -> (Option<Identity>, Frame) {
        let now = Timestamp::from_nanos(u64::MAX);
        let captured = origin.pass_on(frame, now);
        let Picture::Framed(frame) = captured.picture else {
            panic!("relays have frames");
        };
        assert_eq!(captured.captured_at, frame.head.captured_at);
        (captured.identity, frame)
    }

    #[test]
    fn frames_of_a_broadcaster_stay_what_they_are_but_for_their_hops() {
        let origin = Origin::There { last: None };
        let sent = frame((5, 7), 9);
        let (identity, mut left) = passed_on(&origin, sent.clone());
        assert_eq!(identity, Some(Identity { epoch: 5, seq: 7 }));
        assert_eq!(left.head.hops, 4);
        left.head.hops = 3;
        assert_eq!(left, sent);
    }

    #[test]
    fn pictures_of_other_servers_are_numbered_here_and_dated_if_they_are_not() {
        let dated = EARLIEST_DATE.as_nanos();
        for (sent, left) in [(dated, dated), (dated - 1, u64::MAX)] {
            let (identity, frame) = passed_on(&Origin::Here, frame((5, 7), sent));
            assert_eq!(identity, None);
            assert_eq!(frame.head.captured_at.as_nanos(), left);
        }
    }

    #[test]
    fn pictures_without_tables_are_given_them() {
        // Start, quantisation, scan, end: all that is looked at.
        let bare = b"\xff\xd8\xff\xdb\0\x03\x07\xff\xda\0\x03\0\x01\xff\xd9";
        let sent = Frame::new(frame((5, 7), 0).head, Bytes::from_static(bare));
        let (_, here) = passed_on(&Origin::Here, sent.clone());
        assert_eq!(
            here,
            Frame::new(here.head, jpeg::with_tables(bare).unwrap().into())
        );
        let (_, there) = passed_on(&Origin::There { last: None }, sent);
        assert_eq!(there.data(), &bare[..]);
    }

    #[test]
    fn only_what_was_not_passed_on_yet_is_new() {
        let mut origin = Origin::There { last: None };
        let mut placeholder = frame((1, 7), 0);
        placeholder.head.flags = Flags::KEY.with(Flags::PLACEHOLDER);
        let mut is_new = |frame: &Frame| origin.is_new(&frame.head);
        assert!(is_new(&placeholder));
        for identity in [(1, 7), (1, 9), (2, 0)] {
            assert!(is_new(&frame(identity, 0)), "{identity:?}");
            assert!(!is_new(&frame(identity, 0)), "{identity:?}");
            assert!(is_new(&placeholder));
        }
    }
}
