//! What the fuzz targets share: how one input becomes a stream that arrives in pieces, and how a
//! payload's checksums are made right.
//!
//! `scripts/fuzz` runs the targets. A target states what must hold for any bytes and panics where
//! it does not. Seeds are in `corpus/TARGET`, from golden bytes and from streams of real servers.

use bytes::Bytes;
use common::wire::{DecodeError, Fault, payload, tcp};

/// Bytes of an input before those of the stream.
const HEAD_BYTES: usize = 8;
/// One step of stretching: enough of them go beyond every bound on heads and lines.
const STRETCH_BYTES: usize = 128;
/// Pieces before the rest arrives at once, so that one input stays cheap.
const MAX_PIECES: usize = 256;
/// Where in a frame's head the checksum stands, counted back from the data.
const CHECKSUM_BEFORE_DATA: usize = 12;

/// An input read as a stream.
///
/// ```text
/// control u8, stretch u8, stretch_at u16, sizes 4 x u8, then the stream     big endian
/// ```
/// The byte at `stretch_at` is repeated `stretch` times [`STRETCH_BYTES`], so that bounds of some
/// kilobytes are within reach of small inputs. The stream arrives in pieces of the four sizes, over
/// and over, at most [`MAX_PIECES`] of them and the rest in one.
#[derive(Debug)]
pub struct Stream {
    /// What the target makes of it.
    pub control: u8,
    /// All bytes of the stream.
    pub bytes: Vec<u8>,
    sizes: [u8; 4],
}

impl Stream {
    /// The stream of an input, `None` if the input is too short for one.
    #[must_use]
    pub fn new(input: &[u8]) -> Option<Self> {
        let (&[control, stretch, high, low, ref sizes @ ..], stream) =
            input.split_first_chunk::<HEAD_BYTES>()?;
        let mut bytes = stream.to_vec();
        let at = usize::from(u16::from_be_bytes([high, low]));
        if let Some(&byte) = stream.get(at) {
            let more = std::iter::repeat_n(byte, usize::from(stretch) * STRETCH_BYTES);
            bytes.splice(at..at, more);
        }
        Some(Self {
            control,
            bytes,
            sizes: *sizes,
        })
    }

    /// The stream as it arrives.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        let mut sizes = self.sizes.iter().cycle().take(MAX_PIECES);
        std::iter::from_fn(move || {
            let size = match sizes.next().map(|&size| usize::from(size)) {
                Some(small @ 0..128) => small + 1,
                Some(large) => (large - 127) * STRETCH_BYTES,
                None => rest.len(),
            };
            let (piece, behind) = rest.split_at(size.min(rest.len()));
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// Writes the right checksums into a PAYLOAD body, as far as it is one: no mutation would hit upon
/// them.
pub fn mend_payload(body: &mut [u8]) {
    while let Err(DecodeError::Invalid { at, fault }) =
        payload::decode(&Bytes::copy_from_slice(body))
    {
        let Fault::Checksum { found, .. } = fault else {
            return;
        };
        let checksum = at - CHECKSUM_BEFORE_DATA;
        body[checksum..checksum + 4].copy_from_slice(&found.to_be_bytes());
    }
}

/// The same for every PAYLOAD message in a stream of the native protocol.
pub fn mend_messages(mut stream: &mut [u8]) {
    while let Some((head, rest)) = stream.split_first_chunk_mut::<{ tcp::HEAD_BYTES }>() {
        let [kind, _, _, _, length @ ..] = *head;
        let length = u32::from_be_bytes(length);
        let Some((body, behind)) =
            (usize::try_from(length).ok()).and_then(|length| rest.split_at_mut_checked(length))
        else {
            return;
        };
        if kind == 3 {
            mend_payload(body);
        }
        stream = behind;
    }
}
