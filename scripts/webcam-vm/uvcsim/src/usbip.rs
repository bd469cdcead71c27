//! USB/IP as the kernel speaks it to a device: requests in, replies out.
//!
//! Every message begins with 48 bytes, big endian, described in the kernel's
//! Documentation/usb/usbip_protocol.rst. Only the two requests exist that the kernel sends.

use std::io::{self, Read};

/// Most bytes the host asks for at once on a bulk endpoint: what `uvcvideo` takes as one transfer.
pub(crate) const TRANSFER_BYTES: usize = 16 << 10;
/// Most bytes the host sends with a request; the longest control is far shorter.
const MAX_OUT_BYTES: u32 = 4096;
/// Most bytes the host may ask for.
const MAX_IN_BYTES: u32 = 1 << 20;
const WORDS_BEFORE_SETUP: usize = 10;

const CMD_SUBMIT: u32 = 1;
const CMD_UNLINK: u32 = 2;
const RET_SUBMIT: u32 = 3;
const RET_UNLINK: u32 = 4;
const DIRECTION_IN: u32 = 1;

/// How a transfer ended, as the errno that the kernel gives its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// As it should.
    Done,
    /// Refused: EPIPE.
    Refused,
    /// Taken back by the host before it was answered: ECONNRESET.
    TakenBack,
}

impl Status {
    const fn errno(self) -> i32 {
        match self {
            Self::Done => 0,
            Self::Refused => -32,
            Self::TakenBack => -104,
        }
    }
}

/// What the kernel asks of the device.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The host writes `data`, or waits for an answer; `setup` means something on endpoint 0 only.
    Submit {
        /// The request's number, to be given back with the reply.
        number: u32,
        /// Which endpoint.
        endpoint: u32,
        /// Most bytes of an answer; none if the host writes.
        answer_bytes: Option<usize>,
        /// The eight bytes that begin a control request.
        setup: [u8; 8],
        /// What the host wrote.
        data: Vec<u8>,
    },
    /// The host no longer waits for an answer to `victim`.
    Unlink {
        /// The request's number.
        number: u32,
        /// The number of the request it takes back.
        victim: u32,
    },
}

/// Reads the next request.
///
/// # Errors
/// At the end of the connection, and for what is no request.
pub(crate) fn read(from: &mut impl Read) -> io::Result<Request> {
    let mut words = [0; WORDS_BEFORE_SETUP];
    for word in &mut words {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes)?;
        *word = u32::from_be_bytes(bytes);
    }
    let mut setup = [0; 8];
    from.read_exact(&mut setup)?;
    let [command, number, _, direction, endpoint, victim, length, ..] = words;
    match command {
        CMD_SUBMIT if direction == DIRECTION_IN && length <= MAX_IN_BYTES => Ok(Request::Submit {
            number,
            endpoint,
            answer_bytes: Some(length as usize),
            setup,
            data: Vec::new(),
        }),
        CMD_SUBMIT if direction != DIRECTION_IN && length <= MAX_OUT_BYTES => {
            let mut data = vec![0; length as usize];
            from.read_exact(&mut data)?;
            Ok(Request::Submit {
                number,
                endpoint,
                answer_bytes: None,
                setup,
                data,
            })
        }
        CMD_UNLINK => Ok(Request::Unlink { number, victim }),
        _ => Err(invalid(format!("request {command} of {length} bytes"))),
    }
}

/// The reply to a request for an answer, or to one that was refused.
pub(crate) fn answer(number: u32, status: Status, data: &[u8]) -> Vec<u8> {
    let mut reply = submit_reply(number, status, data.len());
    reply.extend_from_slice(data);
    reply
}

/// The reply to a host that wrote `bytes` bytes.
pub(crate) fn written(number: u32, bytes: usize) -> Vec<u8> {
    submit_reply(number, Status::Done, bytes)
}

/// The reply to [`Request::Unlink`].
pub(crate) fn unlinked(number: u32, status: Status) -> Vec<u8> {
    head(RET_UNLINK, number, status, 0)
}

fn submit_reply(number: u32, status: Status, bytes: usize) -> Vec<u8> {
    let bytes = u32::try_from(bytes).expect("no longer than was asked for");
    head(RET_SUBMIT, number, status, bytes)
}

fn head(command: u32, number: u32, status: Status, bytes: u32) -> Vec<u8> {
    let words = [
        command,
        number,
        0,
        0,
        0,
        status.errno().cast_unsigned(),
        bytes,
        0,
        0,
        0,
        0,
        0,
    ];
    words.into_iter().flat_map(u32::to_be_bytes).collect()
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(words: [u32; WORDS_BEFORE_SETUP], setup: [u8; 8], data: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
        bytes.extend(setup);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn a_request_is_read_with_what_the_host_wrote() {
        let setup = [0x21, 1, 0, 1, 1, 0, 3, 0];
        let bytes = message([1, 7, 65538, 0, 0, 0, 3, 0, 0, 0], setup, b"abc");
        let expected = Request::Submit {
            number: 7,
            endpoint: 0,
            answer_bytes: None,
            setup,
            data: b"abc".to_vec(),
        };
        assert_eq!(read(&mut &bytes[..]).unwrap(), expected);
        for end in 0..bytes.len() {
            let error = read(&mut &bytes[..end]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_wish_to_read_carries_no_data_and_can_be_taken_back() {
        let mut bytes = message([1, 8, 65538, 1, 1, 0, 16384, 0, 0, 0], [0; 8], b"");
        bytes.extend(message([2, 9, 65538, 0, 0, 8, 0, 0, 0, 0], [0; 8], b""));
        let mut from = &bytes[..];
        let expected = Request::Submit {
            number: 8,
            endpoint: 1,
            answer_bytes: Some(16384),
            setup: [0; 8],
            data: vec![],
        };
        assert_eq!(read(&mut from).unwrap(), expected);
        let expected = Request::Unlink {
            number: 9,
            victim: 8,
        };
        assert_eq!(read(&mut from).unwrap(), expected);
    }

    #[test]
    fn lengths_are_bounded_and_unknown_requests_are_refused() {
        for words in [
            [1, 1, 0, 0, 0, 0, 4097, 0, 0, 0],
            [1, 1, 0, 1, 1, 0, u32::MAX, 0, 0, 0],
            [5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let error = read(&mut &message(words, [0; 8], b"")[..]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn replies_are_48_bytes_and_the_data() {
        let reply = answer(7, Status::Done, b"ab");
        let expected = message([3, 7, 0, 0, 0, 0, 2, 0, 0, 0], [0; 8], b"ab");
        assert_eq!(reply, expected);
        let reply = unlinked(9, Status::TakenBack);
        let expected = message([4, 9, 0, 0, 0, 0xffff_ff98, 0, 0, 0, 0], [0; 8], b"");
        assert_eq!(reply, expected);
        assert_eq!(written(1, 26)[24..28], [0, 0, 0, 26]);
    }
}
