//! Decoding, to see whether pictures are whole and whether they are the ones they claim to be.
//!
//! The test pattern bears its sequence number as a bar code. A picture without one, as from a real
//! camera, is only decoded.

use std::fmt;

use common::{Format, Frame, Image, barcode};
use turbojpeg::{Decompressor, PixelFormat};

/// A picture with more pixels is refused before room is made for it: 200 MB of them.
const MAX_PIXELS: usize = 1 << 26;
/// The bits of a sequence number that a bar code has room for.
const BARCODE_SEQ: u64 = (1 << 40) - 1;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Pictures decoded whole.
    pub decoded: u64,
    /// Pictures that could not be decoded.
    pub errors: u64,
    /// Decoded pictures that show another sequence number than their frame has.
    pub mislabelled: u64,
}

/// Why there is no decoder.
#[derive(Debug, thiserror::Error)]
#[error("no JPEG decoder: {0}")]
pub struct Unavailable(#[from] turbojpeg::Error);

/// Decodes the pictures of one receiver, in one buffer.
pub struct Decoder {
    decompressor: Decompressor,
    image: Image,
    tally: Tally,
}

impl Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new() -> Result<Self, Unavailable> {
        Ok(Self {
            decompressor: Decompressor::new()?,
            image: Image::filled(0, 0, [0; 3]),
            tally: Tally::default(),
        })
    }

    /// Decodes a picture and counts what comes of it; opaque frames are left alone.
    pub fn take(&mut self, frame: &Frame) {
        if frame.head.format != Format::Jpeg {
            return;
        }
        if self.decode(frame.data()).is_none() {
            self.tally.errors += 1;
            return;
        }
        self.tally.decoded += 1;
        let shown = barcode::read(&self.image).map(|stamp| stamp.seq);
        if shown.is_some_and(|seq| seq != frame.head.identity.seq & BARCODE_SEQ) {
            self.tally.mislabelled += 1;
        }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    fn decode(&mut self, jpeg: &[u8]) -> Option<()> {
        let header = self.decompressor.read_header(jpeg).ok()?;
        let (width, height) = (header.width, header.height);
        if width.saturating_mul(height) > MAX_PIXELS {
            return None;
        }
        self.image.width = width.try_into().ok()?;
        self.image.height = height.try_into().ok()?;
        self.image.pixels.resize(3 * width * height, 0);
        let output = turbojpeg::Image {
            pixels: &mut self.image.pixels[..],
            width,
            pitch: 3 * width,
            height,
            format: PixelFormat::RGB,
        };
        self.decompressor.decompress(jpeg, output).ok()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Decoder").field("tally", &self.tally)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::barcode::Stamp;
    use common::{Flags, Head, Identity, Timestamp};

    fn jpeg(seq: Option<u64>) -> Vec<u8> {
        let mut image = Image::filled(160, 120, [90, 120, 40]);
        if let Some(seq) = seq {
            let captured_at = Timestamp::from_nanos(1_000);
            assert!(barcode::draw(&mut image, Stamp { seq, captured_at }));
        }
        let picture = turbojpeg::Image {
            pixels: &image.pixels[..],
            width: 160,
            pitch: 480,
            height: 120,
            format: PixelFormat::RGB,
        };
        let subsamp = turbojpeg::Subsamp::Sub2x2;
        turbojpeg::compress(picture, 80, subsamp).unwrap().to_vec()
    }

    fn tally(seq: u64, format: Format, data: Vec<u8>) -> Tally {
        let head = Head {
            identity: Identity { epoch: 1, seq },
            captured_at: Timestamp::default(),
            format,
            width: 160,
            height: 120,
            flags: Flags::KEY,
            hops: 0,
        };
        let mut decoder = Decoder::new().unwrap();
        decoder.take(&Frame::new(head, Bytes::from(data)));
        decoder.tally()
    }

    fn counted(decoded: u64, errors: u64, mislabelled: u64) -> Tally {
        Tally {
            decoded,
            errors,
            mislabelled,
        }
    }

    #[test]
    fn the_picture_must_be_the_one_its_frame_claims() {
        let seq = (1 << 40) + 7;
        assert_eq!(tally(seq, Format::Jpeg, jpeg(Some(7))), counted(1, 0, 0));
        assert_eq!(tally(seq, Format::Jpeg, jpeg(Some(8))), counted(1, 0, 1));
        assert_eq!(tally(seq, Format::Jpeg, jpeg(None)), counted(1, 0, 0));
    }

    #[test]
    fn damage_is_counted() {
        let mut cut = jpeg(Some(7));
        cut.truncate(cut.len() / 2);
        assert_eq!(tally(7, Format::Jpeg, cut), counted(0, 1, 0));
        assert_eq!(tally(7, Format::Jpeg, b"GIF89a".to_vec()), counted(0, 1, 0));
        assert_eq!(
            tally(7, Format::Opaque, b"anything".to_vec()),
            counted(0, 0, 0)
        );
    }

    #[test]
    fn a_huge_picture_is_refused_before_room_is_made() {
        let mut huge = jpeg(None);
        let at = huge
            .windows(2)
            .position(|pair| pair == [0xff, 0xc0])
            .unwrap();
        huge[at + 5..at + 9].fill(0xff);
        let mut decoder = Decoder::new().unwrap();
        assert_eq!(decoder.decode(&huge), None);
        assert!(decoder.image.pixels.is_empty());
    }
}
