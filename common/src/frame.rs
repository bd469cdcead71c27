//! What travels: images, frames, payloads, and how they are told apart.
//!
//! A [`Frame`] is encoded once and immutable from then on; its bytes are shared, never copied. A
//! [`Payload`] is what the fan-out models hand on: one or more consecutive frames. Two numbers must
//! not be confused: a frame's `seq` says what the camera saw and survives relays; a payload's
//! `index` addresses the ring of this one process.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::budget::Budget;

/// Wall clock time: nanoseconds since 1970-01-01 00:00 UTC. For reports, never for decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A time from nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is, zero if it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since the Unix epoch, as people and HTTP heads write it: `1700000000.123456`.
    #[must_use]
    pub fn as_seconds(self) -> impl fmt::Display {
        Seconds(self)
    }
}

struct Seconds(Timestamp);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_nanos() / 1_000;
        write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// Nanoseconds since an arbitrary moment in this process: never jumps, means nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(u64);

impl Monotonic {
    /// A time from nanoseconds since the clock's origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// How long after `earlier` this is, zero if it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl std::ops::Sub<Duration> for Monotonic {
    type Output = Self;

    /// This much earlier; the clock's origin at the earliest.
    fn sub(self, by: Duration) -> Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

/// A raw picture: 8-bit RGB, rows from top to bottom without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// `3 * width * height` bytes, red first.
    pub pixels: Vec<u8>,
}

impl Image {
    /// An image of one colour.
    #[must_use]
    pub fn filled(width: u16, height: u16, colour: [u8; 3]) -> Self {
        let count = usize::from(width) * usize::from(height);
        Self {
            width,
            height,
            pixels: colour.repeat(count),
        }
    }

    /// The bytes of `count` pixels of row `y` from column `x` on. Panics outside the picture.
    #[must_use]
    pub fn span_mut(&mut self, x: usize, y: usize, count: usize) -> &mut [u8] {
        let start = 3 * (y * usize::from(self.width) + x);
        &mut self.pixels[start..start + 3 * count]
    }

    /// Fills a rectangle, cut off at the picture's edges.
    pub fn fill(
        &mut self,
        columns: std::ops::Range<usize>,
        rows: std::ops::Range<usize>,
        colour: [u8; 3],
    ) {
        let right = columns.end.min(usize::from(self.width));
        let bottom = rows.end.min(usize::from(self.height));
        let Some(count) = right.checked_sub(columns.start).filter(|&count| count > 0) else {
            return;
        };
        for y in rows.start..bottom {
            for pixel in self.span_mut(columns.start, y, count).chunks_exact_mut(3) {
                pixel.copy_from_slice(&colour);
            }
        }
    }
}

/// How a frame's bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JPEG picture, SOI to EOI.
    Jpeg,
    /// Bytes without a meaning, for benchmarks. Never leaves over HTTP.
    Opaque,
}

/// Yes-or-no facts about a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Can be decoded without any earlier frame. Every JPEG is a key frame.
    pub const KEY: Self = Self(1);
    /// Stands in while the source is gone; bears the identity of the last real frame and is never
    /// counted as frame, gap, duplicate or age.
    pub const PLACEHOLDER: Self = Self(2);

    /// The flags of one byte, `None` if a bit is unknown.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !(Self::KEY.0 | Self::PLACEHOLDER.0) == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// All flags as one byte.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Which frame this is, everywhere and for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Wall clock ns when the origin process opened the channel. Another epoch is a restart.
    pub epoch: u64,
    /// Counts up by one per frame within the epoch. A jump is a gap.
    pub seq: u64,
}

/// All that is known of a frame besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which frame this is.
    pub identity: Identity,
    /// When the source took the picture.
    pub captured_at: Timestamp,
    /// How the bytes are to be read.
    pub format: Format,
    /// Pixels in a row, 0 for opaque frames.
    pub width: u16,
    /// Rows, 0 for opaque frames.
    pub height: u16,
    /// Yes-or-no facts.
    pub flags: Flags,
    /// Relays passed since the origin.
    pub hops: u8,
}

impl Head {
    /// A key frame straight from its origin, its size not known.
    #[must_use]
    pub const fn new(identity: Identity, captured_at: Timestamp, format: Format) -> Self {
        Self {
            identity,
            captured_at,
            format,
            width: 0,
            height: 0,
            flags: Flags::KEY,
            hops: 0,
        }
    }

    /// Whether this stands in for a missing picture.
    #[must_use]
    pub const fn is_placeholder(&self) -> bool {
        self.flags.contains(Flags::PLACEHOLDER)
    }
}

/// An encoded picture with its identity: immutable, cheap to clone (the bytes are shared).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// All but the bytes.
    pub head: Head,
    data: Bytes,
    crc32c: u32,
}

impl Frame {
    /// Most bytes of one frame: 16 MiB.
    pub const MAX_BYTES: usize = 16 << 20;

    /// A frame of these bytes; their checksum is computed here, once.
    ///
    /// # Panics
    /// If there are more than [`Frame::MAX_BYTES`] bytes.
    #[must_use]
    pub fn new(head: Head, data: Bytes) -> Self {
        assert!(data.len() <= Self::MAX_BYTES, "frame above 16 MiB");
        let crc32c = crc32c::crc32c(&data);
        Self { head, data, crc32c }
    }

    /// The same frame, its bytes charged to `budget`; the checksum is not computed again.
    #[must_use]
    pub fn charged_to(self, budget: &Budget) -> Self {
        Self {
            data: budget.charge(self.data),
            ..self
        }
    }

    /// The encoded bytes.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// CRC-32C (Castagnoli, RFC 3720) of the encoded bytes.
    #[must_use]
    pub const fn crc32c(&self) -> u32 {
        self.crc32c
    }
}

/// What the fan-out models hand on: consecutive frames, with their place in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Counts up by one per payload in this process; addresses the ring.
    pub index: u64,
    /// When it was handed to the fan-out. Its age, and thereby every skip, is counted from here.
    pub published_at: Monotonic,
    /// At least one, at most [`Payload::MAX_FRAMES`], of consecutive `seq`.
    pub frames: Vec<Frame>,
}

impl Payload {
    /// Most frames in one payload.
    pub const MAX_FRAMES: usize = 64;

    /// The last frame, the one whose age counts.
    #[must_use]
    pub fn newest(&self) -> Option<&Frame> {
        self.frames.last()
    }

    /// Encoded bytes of all frames together.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        (self.frames.iter())
            .map(|frame| frame.data().len() as u64)
            .sum()
    }

    /// Whether a viewer who knows nothing yet can begin here.
    #[must_use]
    pub fn starts_with_key(&self) -> bool {
        self.frames
            .first()
            .is_some_and(|frame| frame.head.flags.contains(Flags::KEY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_as_seconds() {
        let time = Timestamp::from_nanos(1_700_000_000_000_123_999);
        assert_eq!(time.as_seconds().to_string(), "1700000000.000123");
    }

    #[test]
    fn filling_is_cut_at_the_edges() {
        let mut image = Image::filled(4, 2, [0, 0, 0]);
        image.fill(3..9, 1..9, [255, 0, 0]);
        image.fill(7..9, 0..1, [255, 0, 0]);
        let reds: Vec<_> = (image.pixels.chunks(3).map(|pixel| pixel[0])).collect();
        assert_eq!(reds, [0, 0, 0, 0, 0, 0, 0, 255]);
    }

    #[test]
    fn a_charged_frame_is_the_same_frame() {
        let identity = Identity { epoch: 1, seq: 2 };
        let head = Head::new(identity, Timestamp::default(), Format::Opaque);
        let frame = Frame::new(head, Bytes::from_static(b"data"));
        let budget = Budget::new(100);
        let charged = frame.clone().charged_to(&budget);
        assert_eq!(charged, frame);
        assert_eq!(charged.data().as_ptr(), frame.data().as_ptr());
        assert_eq!(budget.used(), 4);
        drop(charged);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn unknown_flags_are_refused() {
        assert_eq!(Flags::from_bits(4), None);
        let both = Flags::KEY.with(Flags::PLACEHOLDER);
        assert_eq!(Flags::from_bits(3), Some(both));
    }
}
