//! The PAYLOAD body: frames with their heads, the same bytes over tcp, AMQP and WebSocket.
//!
//! ```text
//! count u16                                     1 to 64
//! count times:
//!   epoch u64, seq u64, captured_at_ns u64      40 bytes of head, big endian
//!   length u32, crc32c u32                      of the data; at most 16 MiB
//!   width u16, height u16
//!   format u8 (1 JPEG, 2 OPAQUE), flags u8 (1 KEY, 2 PLACEHOLDER), hops u8, zero u8
//!   data
//! ```
//!
//! The data is never copied: encoding yields heads and shared [`Bytes`] in turn, decoding yields
//! frames whose data are slices of the body.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Cursor, DecodeError, Fault, MAX_PAYLOAD};
use crate::frame::{Flags, Format, Frame, Head, Identity, Payload, Timestamp};

/// Bytes of a frame's head.
pub const HEAD_BYTES: usize = 40;
/// Bytes of the count before the first head.
pub const COUNT_BYTES: usize = 2;

/// Length of the body that these frames make.
#[must_use]
pub fn encoded_len(frames: &[Frame]) -> usize {
    let data = frames.iter().map(|frame| frame.data().len());
    COUNT_BYTES + frames.len() * HEAD_BYTES + data.sum::<usize>()
}

/// The body as pieces to be written one after the other; `prefix` goes in front of the count.
///
/// # Panics
/// If there are no frames, more than [`Payload::MAX_FRAMES`], or more than [`MAX_PAYLOAD`] bytes.
#[must_use]
pub fn encode(prefix: &[u8], frames: &[Frame]) -> Vec<Bytes> {
    assert!((1..=Payload::MAX_FRAMES).contains(&frames.len()));
    assert!(
        encoded_len(frames) <= MAX_PAYLOAD,
        "payload above its bound"
    );
    let mut heads = BytesMut::with_capacity(prefix.len() + 2 + frames.len() * HEAD_BYTES);
    heads.put_slice(prefix);
    heads.put_u16(u16::try_from(frames.len()).expect("at most 64"));
    let mut pieces = Vec::with_capacity(2 * frames.len());
    for frame in frames {
        put_head(&mut heads, frame);
        pieces.push(heads.split().freeze());
        if !frame.data().is_empty() {
            pieces.push(frame.data().clone());
        }
    }
    pieces
}

fn put_head(out: &mut BytesMut, frame: &Frame) {
    let head = &frame.head;
    out.put_u64(head.identity.epoch);
    out.put_u64(head.identity.seq);
    out.put_u64(head.captured_at.as_nanos());
    out.put_u32(u32::try_from(frame.data().len()).expect("at most 16 MiB"));
    out.put_u32(frame.crc32c());
    out.put_u16(head.width);
    out.put_u16(head.height);
    out.put_u8(match head.format {
        Format::Jpeg => 1,
        Format::Opaque => 2,
    });
    out.put_u8(head.flags.bits());
    out.put_u8(head.hops);
    out.put_u8(0);
}

/// The frames of a body, whose bytes they share.
///
/// # Errors
/// `Incomplete` if the body is cut off, `Invalid` if it is longer than its frames or broken.
pub fn decode(body: &Bytes) -> Result<Vec<Frame>, DecodeError> {
    let mut cursor = Cursor::new(body);
    let count = cursor.u16()?;
    if !(1..=Payload::MAX_FRAMES).contains(&usize::from(count)) {
        return Err(DecodeError::invalid(0, Fault::Count(count)));
    }
    let mut frames = Vec::with_capacity(count.into());
    for _ in 0..count {
        frames.push(decode_frame(&mut cursor, body)?);
    }
    if cursor.at() != body.len() {
        let (found, expected) = (body.len(), cursor.at());
        return Err(DecodeError::invalid(
            expected,
            Fault::Length { found, expected },
        ));
    }
    Ok(frames)
}

fn decode_frame(cursor: &mut Cursor<'_>, body: &Bytes) -> Result<Frame, DecodeError> {
    let identity = Identity {
        epoch: cursor.u64()?,
        seq: cursor.u64()?,
    };
    let captured_at = Timestamp::from_nanos(cursor.u64()?);
    let length = cursor.length(Frame::MAX_BYTES)?;
    let expected = cursor.u32()?;
    let (width, height) = (cursor.u16()?, cursor.u16()?);
    let format = match cursor.u8()? {
        1 => Format::Jpeg,
        2 => Format::Opaque,
        other => return Err(DecodeError::invalid(cursor.at() - 1, Fault::Format(other))),
    };
    let bits = cursor.u8()?;
    let flags = Flags::from_bits(bits)
        .ok_or_else(|| DecodeError::invalid(cursor.at() - 1, Fault::Flags(bits)))?;
    let hops = cursor.u8()?;
    cursor.zero::<1>()?;
    let start = cursor.at();
    cursor.take(length)?;
    let head = Head {
        identity,
        captured_at,
        format,
        width,
        height,
        flags,
        hops,
    };
    let frame = Frame::new(head, body.slice(start..start + length));
    let found = frame.crc32c();
    if found != expected {
        return Err(DecodeError::invalid(
            start,
            Fault::Checksum { found, expected },
        ));
    }
    Ok(frame)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::wire) fn frame(seq: u64, data: &'static [u8]) -> Frame {
        let head = Head {
            identity: Identity {
                epoch: 0x0102_0304_0506_0708,
                seq,
            },
            captured_at: Timestamp::from_nanos(0x1112_1314_1516_1718),
            format: Format::Jpeg,
            width: 640,
            height: 480,
            flags: Flags::KEY,
            hops: 2,
        };
        Frame::new(head, Bytes::from_static(data))
    }

    pub(in crate::wire) fn joined(pieces: &[Bytes]) -> Bytes {
        Bytes::from(pieces.concat())
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
        let shape = (
            any::<u16>(),
            any::<u16>(),
            any::<bool>(),
            0_u8..4,
            any::<u8>(),
        );
        let data = proptest::collection::vec(any::<u8>(), 0..40);
        (numbers, shape, data).prop_map(|((epoch, seq, time), shape, data)| {
            let (width, height, jpeg, flags, hops) = shape;
            let head = Head {
                identity: Identity { epoch, seq },
                captured_at: Timestamp::from_nanos(time),
                format: if jpeg { Format::Jpeg } else { Format::Opaque },
                width,
                height,
                flags: Flags::from_bits(flags).expect("two known bits"),
                hops,
            };
            Frame::new(head, data.into())
        })
    }

    #[test]
    fn golden_bytes() {
        let body = joined(&encode(b"", &[frame(7, b"data")]));
        let golden = [
            0, 1, // count
            1, 2, 3, 4, 5, 6, 7, 8, // epoch
            0, 0, 0, 0, 0, 0, 0, 7, // seq
            0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, // captured_at
            0, 0, 0, 4, // length
            0xae, 0xd8, 0x7d, 0xd1, // crc32c
            2, 0x80, 1, 0xe0, // width, height
            1, 1, 2, 0, // format, flags, hops, zero
            b'd', b'a', b't', b'a',
        ];
        assert_eq!(&body[..], &golden[..]);
    }

    #[test]
    fn data_is_shared_both_ways() {
        let sent = frame(1, b"shared");
        let pieces = encode(b"", std::slice::from_ref(&sent));
        assert_eq!(pieces[1].as_ptr(), sent.data().as_ptr());
        let body = joined(&pieces);
        let received = decode(&body).unwrap();
        assert_eq!(received[0].data().as_ptr(), body[42..].as_ptr());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let good = joined(&encode(b"", &[frame(7, b"data")])).to_vec();
        let broken = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[at] = value;
            decode(&bad.into()).unwrap_err().to_string()
        };
        assert!(broken(1, 65).starts_with("broken at byte 0: 65 frames"));
        assert!(broken(26, 0xff).starts_with("broken at byte 26: 4278190084 bytes announced"));
        assert_eq!(broken(38, 9), "broken at byte 38: unknown format 9");
        assert_eq!(broken(39, 8), "broken at byte 39: unknown flags 0x08");
        assert!(broken(41, 1).starts_with("broken at byte 41: a reserved field"));
        assert!(broken(44, b'!').starts_with("broken at byte 42: checksum"));
    }

    proptest! {
        #[test]
        fn what_was_sent_arrives(frames in proptest::collection::vec(any_frame(), 1..5)) {
            let body = joined(&encode(b"", &frames));
            prop_assert_eq!(body.len(), encoded_len(&frames));
            prop_assert_eq!(decode(&body).unwrap(), frames);
        }

        #[test]
        fn a_cut_at_any_byte_is_incomplete_and_never_asks_for_too_much(
            frames in proptest::collection::vec(any_frame(), 1..4),
        ) {
            let body = joined(&encode(b"", &frames));
            for cut in 0..body.len() {
                match decode(&body.slice(..cut)) {
                    Err(DecodeError::Incomplete { needed }) => {
                        prop_assert!(needed >= 1 && cut + needed <= body.len());
                    }
                    other => prop_assert!(false, "cut at {cut}: {other:?}"),
                }
            }
        }

        #[test]
        fn a_flipped_bit_is_refused_or_seen(
            frames in proptest::collection::vec(any_frame(), 1..4),
        ) {
            let body = joined(&encode(b"", &frames));
            for bit in 0..body.len() * 8 {
                let mut bad = body.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = decode(&bad.into()) {
                    prop_assert_ne!(&read, &frames);
                    for (read, sent) in read.iter().zip(&frames) {
                        prop_assert_eq!(read.data(), sent.data());
                    }
                }
            }
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(decode(&noise.into()));
        }
    }
}
