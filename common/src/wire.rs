//! Bytes on a wire, without any socket: what is written, what is read, what is refused.
//!
//! Each protocol has its file; [`payload`] is the part they share. Decoders are given what has
//! arrived so far and either take a whole message or say why not: [`DecodeError::Incomplete`]
//! (read on) is never confused with [`DecodeError::Invalid`] (give up). Every announced length has
//! a bound, and nothing is allocated for bytes that were only announced.

pub mod base64;
pub mod mjpeg;
pub mod payload;
pub mod tcp;
pub mod ws;

/// Most bytes of one PAYLOAD body; also the most a reader has to hold for one message.
pub const MAX_PAYLOAD: usize = 64 << 20;
/// Longest channel name in bytes.
pub const MAX_CHANNEL: usize = 64;
/// Longest head of text: an HTTP request or response head, a multipart part head.
pub const MAX_HEAD: usize = 8 << 10;
/// Longest text in a GOODBYE, in bytes.
pub const MAX_TEXT: usize = 512;
/// A frame that has passed more relays than this is refused: it goes round in circles.
pub const MAX_HOPS: u8 = 8;

/// Why no message could be taken from the bytes at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// All right so far. At least this many more bytes are needed before it is worth another look.
    #[error("{needed} more bytes needed")]
    Incomplete {
        /// At least 1.
        needed: usize,
    },
    /// Will never become a message.
    #[error("broken at byte {at}: {fault}")]
    Invalid {
        /// Offset of the offending byte from the start of the message.
        at: usize,
        /// What is wrong there.
        fault: Fault,
    },
}

impl DecodeError {
    pub(crate) const fn incomplete(needed: usize) -> Self {
        Self::Incomplete { needed }
    }

    pub(crate) const fn invalid(at: usize, fault: Fault) -> Self {
        Self::Invalid { at, fault }
    }

    /// The same error in a message that begins `offset` bytes earlier.
    pub(crate) fn shifted(self, offset: usize) -> Self {
        match self {
            Self::Invalid { at, fault } => Self::invalid(at + offset, fault),
            incomplete @ Self::Incomplete { .. } => incomplete,
        }
    }
}

/// What can be wrong with bytes from a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A message type that does not exist or that this side never sends.
    #[error("message type {0} is not expected here")]
    Type(u8),
    /// A reserved field that must be zero.
    #[error("a reserved field is {0}, not 0")]
    Reserved(u64),
    /// An announced length above its bound.
    #[error("{announced} bytes announced, at most {limit} are allowed")]
    TooLong {
        /// What the peer said.
        announced: u64,
        /// What is allowed.
        limit: usize,
    },
    /// A length that does not fit the message.
    #[error("{found} bytes where {expected} belong")]
    Length {
        /// What the message has.
        found: usize,
        /// What it should have.
        expected: usize,
    },
    /// A HELLO that does not say FRMC.
    #[error("not the magic word FRMC")]
    Magic,
    /// A version range without any version.
    #[error("version range {min} to {max} is empty")]
    Versions {
        /// Lowest version.
        min: u8,
        /// Highest version.
        max: u8,
    },
    /// A number of frames outside 1 to 64.
    #[error("{0} frames in a payload, 1 to 64 are allowed")]
    Count(u16),
    /// An unknown picture format.
    #[error("unknown format {0}")]
    Format(u8),
    /// An unknown flag.
    #[error("unknown flags {0:#04x}")]
    Flags(u8),
    /// The bytes are not those that were sent.
    #[error("checksum {found:08x} where the head says {expected:08x}")]
    Checksum {
        /// CRC-32C of what arrived.
        found: u32,
        /// CRC-32C that was announced.
        expected: u32,
    },
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Text,
    /// A head of text that cannot be parsed.
    #[error("head cannot be parsed: {0}")]
    Head(String),
    /// A stream that is not made of parts.
    #[error("no part boundary within {0} bytes")]
    Boundary(usize),
    /// A message in parts, or a part without a beginning.
    #[error("a message in fragments, which are not taken here")]
    Fragment,
    /// A client that does not mask what it sends, or a server that does.
    #[error("masked by the wrong side")]
    Mask,
    /// A length written with more bytes than it needs.
    #[error("a length of {0} written with more bytes than it needs")]
    Padded(u64),
    /// A reason to close that nobody may send.
    #[error("{0} is no reason to close")]
    Close(u16),
    /// Text that is not the JSON that is expected.
    #[error("not a message: {0}")]
    Json(String),
    /// A picture that is not a JPEG.
    #[error("{0}")]
    Jpeg(&'static str),
}

/// Reads big-endian numbers from the front of a slice, with the offset for error messages.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// The next `count` bytes, or how many are missing.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..count) else {
            return Err(DecodeError::incomplete(count - rest.len()));
        };
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("N bytes were taken"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads `N` reserved bytes, which must be zero.
    pub(crate) fn zero<const N: usize>(&mut self) -> Result<(), DecodeError> {
        let at = self.at;
        let value = (self.array::<N>()?.iter()).fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        if value == 0 {
            Ok(())
        } else {
            Err(DecodeError::invalid(at, Fault::Reserved(value)))
        }
    }

    /// A length whose bound is checked before anything is done with it.
    pub(crate) fn length(&mut self, limit: usize) -> Result<usize, DecodeError> {
        let at = self.at;
        let announced = self.u32()?;
        match usize::try_from(announced) {
            Ok(length) if length <= limit => Ok(length),
            _ => {
                let announced = announced.into();
                Err(DecodeError::invalid(
                    at,
                    Fault::TooLong { announced, limit },
                ))
            }
        }
    }
}
