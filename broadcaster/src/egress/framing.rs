//! The bytes that viewers share: a payload is framed once per worker and protocol.
//!
//! Framing adds only heads; the pictures are the payload's own [`Bytes`], except that small messages
//! are copied into one piece, which is charged to the memory budget as frames are. Viewers hold a [`Framed`]
//! while they send it, each at its own place. Each channel has a [`Framer`] of its own, so that
//! channels do not push out each other's payloads.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::wire::{mjpeg, tcp, ws};
use common::{Budget, Frame, Monotonic, Payload};

use super::Protocol;

/// How many framed payloads a worker keeps for viewers that are a little behind.
const RECENT: usize = 8;
/// Framed payloads older than this are not kept: where nobody watches, they would only hold memory.
const KEPT: Duration = Duration::from_secs(1);
/// Messages up to this size are made one piece: copying them once per worker costs less than handing
/// several pieces to the kernel for every viewer.
const JOINED_BYTES: usize = 16 << 10;
/// Most pieces handed to the kernel in one call.
pub const MAX_SLICES: usize = 16;

/// A message in pieces, shared by all who send it.
#[derive(Debug, Clone)]
pub struct Framed {
    pieces: Arc<[Bytes]>,
}

impl Framed {
    /// A message of one piece.
    #[must_use]
    pub fn single(piece: Bytes) -> Self {
        Self {
            pieces: Arc::new([piece]),
        }
    }

    fn of(frames: &[Frame], protocol: Protocol, channel: u16, budget: &Budget) -> Self {
        let pieces = match protocol {
            Protocol::Ws => ws::encode_payload(channel, frames),
            Protocol::Tcp => tcp::encode_payload(frames),
            Protocol::Http => mjpeg::encode_parts(frames),
        };
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if bytes <= JOINED_BYTES {
            return Self::single(budget.charge(pieces.concat().into()));
        }
        Self {
            pieces: pieces.into(),
        }
    }
}

/// How much of a message has been sent.
#[derive(Debug, Clone)]
pub struct Progress {
    framed: Framed,
    /// The piece that comes next, and how much of it is done.
    piece: usize,
    offset: usize,
}

impl Progress {
    /// Nothing of it yet.
    #[must_use]
    pub const fn new(framed: Framed) -> Self {
        Self {
            framed,
            piece: 0,
            offset: 0,
        }
    }

    /// Whether the first byte is still to be sent.
    #[must_use]
    pub const fn is_unbegun(&self) -> bool {
        self.piece == 0 && self.offset == 0
    }

    /// Whether the last byte has been sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.piece == self.framed.pieces.len()
    }

    /// Puts what is left into `slices`; returns how many were filled.
    pub fn unsent<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut offset = self.offset;
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.framed.pieces[self.piece..]) {
            *slice = IoSlice::new(&piece[offset..]);
            offset = 0;
            filled += 1;
        }
        filled
    }

    /// Moves on by `bytes`, which must be at most what is left.
    pub fn advance(&mut self, bytes: usize) {
        let mut left = self.offset + bytes;
        while let Some(piece) = self.framed.pieces.get(self.piece) {
            if left < piece.len() {
                break;
            }
            left -= piece.len();
            self.piece += 1;
        }
        self.offset = left;
    }
}

/// How much of each payload a viewer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// All its frames.
    Whole,
    /// The last frame.
    Newest,
}

impl Portion {
    /// What it comes to: of one frame the newest is the whole.
    fn of(self, payload: &Payload) -> (Self, &[Frame]) {
        match (self, &*payload.frames) {
            (Self::Newest, [_, .., newest]) => (self, std::slice::from_ref(newest)),
            (_, frames) => (Self::Whole, frames),
        }
    }
}

/// Frames the payloads of one channel and remembers the last few.
#[derive(Debug)]
pub struct Framer {
    budget: Budget,
    /// The channel's number, where messages bear it.
    channel: u16,
    recent: VecDeque<(Arc<Payload>, Manner, Framed)>,
}

/// How a payload is sent.
type Manner = (Protocol, Portion);

impl Framer {
    /// A framer for the channel at `place` that charges what it copies to `budget`.
    ///
    /// # Panics
    /// If there are more than 65,536 channels.
    #[must_use]
    pub fn new(place: usize, budget: Budget) -> Self {
        Self {
            budget,
            channel: u16::try_from(place).expect("configurations have fewer channels"),
            recent: VecDeque::new(),
        }
    }

    /// As much of the payload as is wanted, as this protocol sends it.
    pub fn frame(
        &mut self,
        payload: &Arc<Payload>,
        protocol: Protocol,
        portion: Portion,
    ) -> Framed {
        let (portion, frames) = portion.of(payload);
        let manner = (protocol, portion);
        let known = self
            .recent
            .iter()
            .find(|(known, spoken, _)| *spoken == manner && Arc::ptr_eq(known, payload));
        if let Some((_, _, framed)) = known {
            return framed.clone();
        }
        let framed = Framed::of(frames, protocol, self.channel, &self.budget);
        if self.recent.len() == RECENT {
            self.recent.pop_back();
        }
        self.recent
            .push_front((payload.clone(), manner, framed.clone()));
        framed
    }

    /// Lets go of payloads that hardly a viewer still wants. To be called now and then.
    pub fn forget_old(&mut self, now: Monotonic) {
        (self.recent).retain(|(payload, ..)| now.since(payload.published_at) < KEPT);
    }
}

/// Where a viewer gets payloads framed: one framer for each channel, by its place.
pub trait Framers {
    /// As [`Framer::frame`], of the channel at `place`.
    fn frame(
        &mut self,
        place: usize,
        payload: &Arc<Payload>,
        protocol: Protocol,
        portion: Portion,
    ) -> Framed;
}

/// Framers of one thread.
impl Framers for [Framer] {
    fn frame(
        &mut self,
        place: usize,
        payload: &Arc<Payload>,
        protocol: Protocol,
        portion: Portion,
    ) -> Framed {
        self[place].frame(payload, protocol, portion)
    }
}

/// Framers that threads share.
impl Framers for Arc<[Mutex<Framer>]> {
    fn frame(
        &mut self,
        place: usize,
        payload: &Arc<Payload>,
        protocol: Protocol,
        portion: Portion,
    ) -> Framed {
        let framer = self[place].lock();
        let mut framer = framer.expect("no thread panics while holding this");
        framer.frame(payload, protocol, portion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{Format, Head, Identity, Timestamp};

    fn framed(pieces: &[&'static str]) -> Framed {
        Framed {
            pieces: pieces.iter().map(|piece| Bytes::from(*piece)).collect(),
        }
    }

    #[test]
    fn any_sequence_of_short_writes_sends_every_byte_once() {
        let whole = "onetwothree!";
        for step in 1..=whole.len() {
            let mut progress = Progress::new(framed(&["one", "two", "three", "!"]));
            assert!(progress.is_unbegun());
            let mut sent = String::new();
            while !progress.is_done() {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let filled = progress.unsent(&mut slices);
                let left: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                let taken = &left[..step.min(left.len())];
                sent += std::str::from_utf8(taken).unwrap();
                progress.advance(taken.len());
                assert!(!progress.is_unbegun());
            }
            assert_eq!(sent, whole);
        }
    }

    #[test]
    fn viewers_of_one_protocol_share_their_bytes() {
        let payload = || {
            Arc::new(Payload {
                index: 0,
                published_at: Default::default(),
                frames: Vec::new(),
            })
        };
        let mut framer = Framer::new(0, Budget::new(u64::MAX));
        let (one, other) = (payload(), payload());
        let mut frame = |payload| framer.frame(payload, Protocol::Http, Portion::Whole);
        let first = frame(&one);
        let again = frame(&one);
        let elsewhere = frame(&other);
        assert!(Arc::ptr_eq(&first.pieces, &again.pieces));
        assert!(!Arc::ptr_eq(&first.pieces, &elsewhere.pieces));
    }

    #[test]
    fn of_several_frames_the_newest_alone_can_be_sent_and_of_one_it_is_the_same() {
        let frame = |seq| {
            let identity = Identity { epoch: 1, seq };
            let head = Head::new(identity, Timestamp::default(), Format::Jpeg);
            Frame::new(head, Bytes::from_static(b"jpeg"))
        };
        let payload = |frames| {
            Arc::new(Payload {
                index: 0,
                published_at: Monotonic::default(),
                frames,
            })
        };
        let (three, one) = (
            payload(vec![frame(7), frame(8), frame(9)]),
            payload(vec![frame(9)]),
        );
        let mut framer = Framer::new(0, Budget::new(u64::MAX));
        let mut frame = |payload, portion| framer.frame(payload, Protocol::Http, portion).pieces;
        let whole = frame(&three, Portion::Whole);
        let newest = frame(&three, Portion::Newest);
        assert_eq!(newest, frame(&one, Portion::Whole));
        assert!(whole[0].len() > 2 * newest[0].len());
        assert!(Arc::ptr_eq(
            &frame(&one, Portion::Newest),
            &frame(&one, Portion::Whole)
        ));
    }

    #[test]
    fn copies_of_small_messages_are_charged_once_until_the_last_viewer_has_sent_them() {
        let payload = |bytes| {
            let identity = Identity { epoch: 1, seq: 0 };
            let head = Head::new(identity, Default::default(), Format::Jpeg);
            Arc::new(Payload {
                index: 0,
                published_at: Monotonic::default(),
                frames: vec![Frame::new(head, vec![0; bytes].into())],
            })
        };
        let budget = Budget::new(1 << 20);
        let mut framer = Framer::new(0, budget.clone());
        let small = payload(1_000);
        let viewers: Vec<_> = (0..3)
            .map(|_| framer.frame(&small, Protocol::Tcp, Portion::Whole))
            .collect();
        let copied = viewers[0].pieces[0].len() as u64;
        assert_eq!((viewers[0].pieces.len(), budget.used()), (1, copied));
        assert!(copied > 1_000);
        let large = framer.frame(&payload(JOINED_BYTES), Protocol::Tcp, Portion::Whole);
        assert!(large.pieces.len() > 1, "sent in pieces that nobody copied");
        assert_eq!(budget.used(), copied);
        drop(framer);
        assert_eq!(budget.used(), copied);
        drop(viewers);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn payloads_are_not_held_where_nobody_watches() {
        let payload = Arc::new(Payload {
            index: 0,
            published_at: Monotonic::default(),
            frames: Vec::new(),
        });
        let mut framer = Framer::new(0, Budget::new(u64::MAX));
        framer.frame(&payload, Protocol::Http, Portion::Whole);
        framer.forget_old(Monotonic::default() + KEPT / 2);
        assert_eq!(Arc::strong_count(&payload), 2);
        framer.forget_old(Monotonic::default() + KEPT);
        assert_eq!(Arc::strong_count(&payload), 1);
    }
}
