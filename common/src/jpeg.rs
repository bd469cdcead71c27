//! Where a JPEG picture ends and how large it is, found without decoding it.
//!
//! The scan walks forward from marker to marker (ITU-T T.81, annex B) and stops at the first end
//! marker of its own picture. Searching backwards for an end would be wrong: camera buffers carry
//! stale bytes with end markers of older pictures. What the scan cannot see is damage inside the
//! entropy-coded data; only decoding shows that.

use crate::wire::{DecodeError, Fault};

mod huffman;
mod padding;

pub use huffman::with_tables;
pub use padding::pad;

/// Start of image.
const SOI: [u8; 2] = [0xff, 0xd8];
/// The shortest segment length: the two length bytes alone.
const SHORTEST_SEGMENT: usize = 2;

/// What a scan finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Bytes from the start marker to the end marker, both included.
    pub length: usize,
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Scans the picture at the front of `bytes`; what follows it is not looked at.
///
/// # Errors
/// `Incomplete` if the bytes end before the picture does, `Invalid` if this is no JPEG picture or
/// another one begins inside it.
pub fn scan(bytes: &[u8]) -> Result<Picture, DecodeError> {
    let mut at = 0;
    expect_start(bytes)?;
    at += SOI.len();
    let mut size = None;
    loop {
        let marker = marker_at(bytes, &mut at)?;
        match marker {
            0xd9 => {
                let (width, height) = size.ok_or_else(|| broken(at - 2, "no picture in it"))?;
                let length = at;
                return Ok(Picture {
                    length,
                    width,
                    height,
                });
            }
            0xd8 => return Err(broken(at - 2, "another picture begins inside it")),
            // Stand-alone markers: TEM and restarts.
            0x01 | 0xd0..=0xd7 => continue,
            0x00 => return Err(broken(at - 2, "an escaped byte outside a scan")),
            _ => {}
        }
        let segment = segment_at(bytes, &mut at)?;
        match marker {
            // Start of frame, all processes; C4, C8 and CC are other things.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                size = Some(frame_size(segment).ok_or_else(|| {
                    broken(at - segment.len(), "a picture without width or height")
                })?);
            }
            0xda => skip_entropy(bytes, &mut at)?,
            _ => {}
        }
    }
}

/// Offset of the next start marker at or behind `from`.
#[must_use]
pub fn find_start(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(bytes.get(from..)?, &SOI).map(|at| from + at)
}

fn expect_start(bytes: &[u8]) -> Result<(), DecodeError> {
    match (bytes.first(), bytes.get(1)) {
        (None, _) => Err(DecodeError::incomplete(SOI.len())),
        (Some(0xff), None) => Err(DecodeError::incomplete(1)),
        (Some(0xff), Some(0xd8)) => Ok(()),
        _ => Err(broken(0, "not a JPEG picture")),
    }
}

/// The marker at `at`, behind any fill bytes; `at` moves behind it.
fn marker_at(bytes: &[u8], at: &mut usize) -> Result<u8, DecodeError> {
    match bytes.get(*at) {
        None => return Err(DecodeError::incomplete(2)),
        Some(0xff) => {}
        Some(_) => return Err(broken(*at, "no marker where one belongs")),
    }
    while bytes.get(*at) == Some(&0xff) {
        *at += 1;
    }
    let marker = *bytes.get(*at).ok_or(DecodeError::incomplete(1))?;
    *at += 1;
    Ok(marker)
}

/// What the segment at `at` holds, without its length; `at` moves behind it.
fn segment_at<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], DecodeError> {
    let rest = &bytes[*at..];
    let Some(&[high, low]) = rest.first_chunk() else {
        return Err(DecodeError::incomplete(SHORTEST_SEGMENT - rest.len()));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < SHORTEST_SEGMENT {
        return Err(broken(*at, "a segment shorter than its length"));
    }
    let Some(segment) = rest.get(SHORTEST_SEGMENT..length) else {
        return Err(DecodeError::incomplete(length - rest.len()));
    };
    *at += length;
    Ok(segment)
}

/// Width and height from a start-of-frame segment: precision, height, width, components.
fn frame_size(segment: &[u8]) -> Option<(u16, u16)> {
    let &[_, h1, h0, w1, w0] = segment.first_chunk()?;
    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
    (width > 0 && height > 0).then_some((width, height))
}

/// Moves `at` to the marker that ends the entropy-coded data.
fn skip_entropy(bytes: &[u8], at: &mut usize) -> Result<(), DecodeError> {
    loop {
        let Some(found) = memchr::memchr(0xff, &bytes[*at..]) else {
            return Err(DecodeError::incomplete(2));
        };
        *at += found;
        match bytes.get(*at + 1) {
            None => return Err(DecodeError::incomplete(1)),
            // An escaped FF or a restart marker belongs to the data.
            Some(0x00 | 0xd0..=0xd7) => *at += 2,
            // A fill byte: the next one may begin the marker.
            Some(0xff) => *at += 1,
            Some(_) => return Ok(()),
        }
    }
}

const fn broken(at: usize, what: &'static str) -> DecodeError {
    DecodeError::invalid(at, Fault::Jpeg(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The smallest thing with the shape of a JPEG: 3 x 2 pixels, escapes and a restart inside.
    const TINY: &[u8] = &[
        0xff, 0xd8, // SOI
        0xff, 0xfe, 0, 4, 0xff, 0xd9, // COM that holds an end marker
        0xff, 0xff, 0xc0, 0, 8, 8, 0, 2, 0, 3, 1, // fill byte, SOF0
        0xff, 0xda, 0, 3, 0, // SOS
        1, 2, 0xff, 0, 3, 0xff, 0xd0, 4, 0xff, // entropy, escape, restart, fill byte
        0xff, 0xd9, // EOI
    ];

    #[test]
    fn the_end_is_found_and_what_follows_is_left_alone() {
        let stale = [TINY, &[0, 1, 2, 0xff, 0xd9]].concat();
        let picture = scan(&stale).unwrap();
        assert_eq!(picture.length, TINY.len());
        assert_eq!((picture.width, picture.height), (3, 2));
    }

    #[test]
    fn a_cut_at_every_byte_is_incomplete() {
        for cut in 0..TINY.len() {
            let Err(DecodeError::Incomplete { needed }) = scan(&TINY[..cut]) else {
                panic!("cut at {cut}");
            };
            assert!(needed >= 1 && cut + needed <= TINY.len(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_broken_is_named() {
        let text = |bytes: &[u8]| scan(bytes).unwrap_err().to_string();
        assert_eq!(text(b"GIF89a"), "broken at byte 0: not a JPEG picture");
        let cut_short = [&TINY[..30], TINY].concat();
        assert!(text(&cut_short).ends_with("another picture begins inside it"));
        assert!(text(&[0xff, 0xd8, 0xff, 0xd9]).ends_with("no picture in it"));
        assert!(text(&[0xff, 0xd8, 1]).ends_with("no marker where one belongs"));
        assert!(text(&[0xff, 0xd8, 0xff, 0xe0, 0, 1]).ends_with("shorter than its length"));
        let no_height = [0xff, 0xd8, 0xff, 0xc0, 0, 8, 8, 0, 0, 0, 3, 1];
        assert!(text(&no_height).ends_with("without width or height"));
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(scan(&noise));
            drop(scan(&[&TINY[..19], &noise].concat()));
        }
    }
}
