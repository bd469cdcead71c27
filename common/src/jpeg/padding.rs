//! Pictures made longer without a change to what they show.

use bytes::{BufMut, Bytes, BytesMut};

/// Most bytes a comment segment carries: its length field counts itself.
const COMMENT_BYTES: usize = 65_533;
/// Marker and length of a comment segment.
const COMMENT_HEAD: usize = 4;
/// Bytes of the start marker.
const START: usize = 2;

/// Puts comment segments behind the start marker until the picture has `bytes` bytes; one that is
/// longer stays as it is. One to three missing bytes, too few for a segment, become fill bytes
/// (T.81, B.1.1.2).
#[must_use]
pub fn pad(jpeg: &[u8], bytes: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes);
    let (start, rest) = jpeg.split_at(START.min(jpeg.len()));
    out.put_slice(start);
    let mut missing = bytes.saturating_sub(jpeg.len());
    while missing >= COMMENT_HEAD {
        let comment = (missing - COMMENT_HEAD).min(COMMENT_BYTES);
        out.put_slice(&[0xff, 0xfe]);
        out.put_u16(u16::try_from(comment + 2).expect("at most 65535"));
        out.put_bytes(0, comment);
        missing -= COMMENT_HEAD + comment;
    }
    out.put_bytes(0xff, missing);
    out.put_slice(rest);
    out.freeze()
}
