//! Frames that can be recognised: the one numbered n bears the number and bytes of its own.

use std::sync::Arc;

use broadcaster::fanout::Publish;
use bytes::Bytes;
use common::{Budget, Clock, Flags, Format, Frame, Head, Identity, Payload, SystemClock};

/// The smallest thing with the shape of a JPEG: 3 x 2 pixels.
const JPEG: &[u8] = &[
    0xff, 0xd8, 0xff, 0xc0, 0, 8, 8, 0, 2, 0, 3, 1, 0xff, 0xda, 0, 3, 0, 1, 2, 3, 0xff, 0xd9,
];
/// Marker and length of a comment segment, and the most it holds.
const COMMENT_HEAD: usize = 4;
const COMMENT_BYTES: usize = 65_533;
/// What frames have whose size does not matter.
pub(crate) const SMALL: usize = 100;
/// What frames have of which no socket takes many.
pub(crate) const BIG: usize = 200_000;
/// So many big frames are more than any socket takes.
pub(crate) const FLOOD: u64 = 320;

/// A picture of about `bytes` bytes that no other number has.
pub(crate) fn picture(seq: u64, bytes: usize) -> Bytes {
    let (start, rest) = JPEG.split_at(2);
    let mut out = start.to_vec();
    while out.len() + rest.len() + COMMENT_HEAD < bytes {
        let length = (bytes - out.len() - rest.len() - COMMENT_HEAD).min(COMMENT_BYTES);
        let announced = u16::try_from(length + 2).unwrap();
        out.extend_from_slice(&[0xff, 0xfe]);
        out.extend_from_slice(&announced.to_be_bytes());
        out.extend(seq.to_be_bytes().iter().cycle().take(length));
    }
    out.extend_from_slice(rest);
    out.into()
}

/// Publishes frames, numbered from 0.
pub(crate) struct Writer {
    out: Box<dyn Publish>,
    budget: Budget,
    payloads: u64,
    frames: u64,
}

impl Writer {
    /// A writer whose frames are charged to `budget`.
    pub(crate) fn new(out: Box<dyn Publish>, budget: Budget) -> Self {
        Self {
            out,
            budget,
            payloads: 0,
            frames: 0,
        }
    }

    /// Publishes the next frame, a key frame of `bytes` bytes; its number.
    pub(crate) fn publish(&mut self, bytes: usize) -> u64 {
        self.publish_as(Flags::KEY, bytes)
    }

    /// Publishes the next frame with these flags; its number.
    pub(crate) fn publish_as(&mut self, flags: Flags, bytes: usize) -> u64 {
        let frame = self.frame(flags, bytes);
        self.send(vec![frame]);
        self.frames - 1
    }

    /// Publishes the next `count` frames as one payload.
    pub(crate) fn publish_together(&mut self, count: usize) {
        let frames = (0..count).map(|_| self.frame(Flags::KEY, SMALL)).collect();
        self.send(frames);
    }

    fn frame(&mut self, flags: Flags, bytes: usize) -> Frame {
        let seq = self.frames;
        self.frames += 1;
        let identity = Identity { epoch: 1, seq };
        let mut head = Head::new(identity, SystemClock.wall(), Format::Jpeg);
        head.flags = flags;
        Frame::new(head, self.budget.charge(picture(seq, bytes)))
    }

    fn send(&mut self, frames: Vec<Frame>) {
        self.out.publish(Arc::new(Payload {
            index: self.payloads,
            published_at: SystemClock.monotonic(),
            frames,
        }));
        self.payloads += 1;
    }
}
