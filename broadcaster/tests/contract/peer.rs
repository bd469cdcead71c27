//! One who watches over a plain socket, so that a test decides when it reads and how much.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use broadcaster::egress::Protocol;
use bytes::{Bytes, BytesMut};
use common::DecodeError;
use common::wire::mjpeg::{self, Parser};
use common::wire::tcp::{Hello, Message, Sender};
use socket2::{Domain, SockRef, Socket, Type};

use crate::frames::picture;
use crate::hall::{Hall, PATIENCE};

const REQUEST: &[u8] = b"GET /live/main.mjpeg HTTP/1.1\r\nHost: x\r\n\r\n";
/// What an MJPEG stream has behind each picture.
const BOUNDARY: &[u8] = b"\r\n--framecast\r\n";
/// Room for what a peer has not read: little, so that little is on its way to it.
const NARROW_BYTES: usize = 64 << 10;

/// How a peer takes what comes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Appetite {
    /// As fast as it comes.
    All,
    /// Through a narrow socket, `bytes` at a time and then a pause.
    Bites { bytes: usize, pause: Duration },
}

impl Appetite {
    /// Takes everything, through a narrow socket.
    pub(crate) const NARROW: Self = Self::Bites {
        bytes: usize::MAX,
        pause: Duration::ZERO,
    };
}

/// Something whole that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The next frame.
    Frame(u64),
    /// A message that is no payload.
    Message(Message),
    /// The connection was closed behind something whole.
    End,
    /// The connection was thrown away.
    Reset,
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    protocol: Protocol,
    appetite: Appetite,
    buffer: BytesMut,
    parser: Parser,
    /// The last few bytes that came.
    tail: Vec<u8>,
}

impl Peer {
    /// A peer that has been taken in.
    pub(crate) fn join(hall: &Hall, protocol: Protocol, appetite: Appetite) -> Self {
        let addr = match protocol {
            Protocol::Tcp => hall.tcp,
            Protocol::Http => hall.http,
        };
        let mut peer = Self {
            stream: connect(addr, appetite),
            protocol,
            appetite,
            buffer: BytesMut::new(),
            parser: Parser::new(mjpeg::CONTENT_TYPE).unwrap(),
            tail: Vec::new(),
        };
        match protocol {
            Protocol::Tcp => peer.greet(),
            Protocol::Http => peer.ask(),
        }
        peer
    }

    /// How the other side knows it.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    fn greet(&mut self) {
        let hello = Message::Hello(Hello {
            min_version: 1,
            max_version: 1,
            max_age: None,
            channel: String::new(),
        });
        self.say(&hello.encode());
        let heard = self.hear();
        assert!(
            matches!(heard, Heard::Message(Message::Welcome(_))),
            "{heard:?}"
        );
    }

    fn ask(&mut self) {
        self.say(REQUEST);
        let end = b"\r\n\r\n";
        let head = loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|part| part == end) {
                break self.buffer.split_to(at + end.len());
            }
            assert!(self.fill().unwrap() > 0, "closed in the head");
        };
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{head:?}");
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The number of the next frame, which must be what comes next.
    pub(crate) fn seq(&mut self) -> u64 {
        match self.hear() {
            Heard::Frame(seq) => seq,
            other => panic!("not a frame: {other:?}"),
        }
    }

    /// The next message that is no frame, or the end.
    pub(crate) fn hear_no_frame(&mut self) -> Heard {
        loop {
            let heard = self.hear();
            if !matches!(heard, Heard::Frame(_)) {
                return heard;
            }
        }
    }

    /// What comes next; panics if nothing does, or something broken.
    pub(crate) fn hear(&mut self) -> Heard {
        loop {
            match self.decode() {
                Ok(heard) => return heard,
                Err(DecodeError::Incomplete { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            match self.fill() {
                Ok(0) => {
                    assert!(self.is_between(), "closed in the middle");
                    return Heard::End;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Heard::Reset;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn decode(&mut self) -> Result<Heard, DecodeError> {
        let (seq, data): (u64, Bytes) = match self.protocol {
            Protocol::Tcp => match Message::decode(&mut self.buffer, Sender::Server)? {
                Message::Payload(frames) => {
                    let [frame] = &frames[..] else {
                        panic!("{} frames at once", frames.len());
                    };
                    (frame.head.identity.seq, frame.data().clone())
                }
                message => return Ok(Heard::Message(message)),
            },
            Protocol::Http => {
                let part = self.parser.decode(&mut self.buffer)?;
                let part = part.expect("a stream has no last part");
                (part.head.seq.unwrap(), part.data)
            }
        };
        assert_eq!(data, picture(seq, data.len()), "of {seq}");
        Ok(Heard::Frame(seq))
    }

    /// Whether everything that came was whole, up to the boundary behind the last part.
    fn is_between(&self) -> bool {
        self.buffer.is_empty() && (self.protocol == Protocol::Tcp || self.tail == BOUNDARY)
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut scratch = [0; 64 << 10];
        let most = match self.appetite {
            Appetite::All => scratch.len(),
            Appetite::Bites { bytes, pause } => {
                thread::sleep(pause);
                bytes.min(scratch.len())
            }
        };
        let count = self.stream.read(&mut scratch[..most])?;
        self.buffer.extend_from_slice(&scratch[..count]);
        self.tail.extend_from_slice(&scratch[..count]);
        self.tail
            .drain(..self.tail.len().saturating_sub(BOUNDARY.len()));
        Ok(count)
    }
}

/// A connection whose reads fail rather than wait for ever.
fn connect(addr: SocketAddr, appetite: Appetite) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
    if let Appetite::Bites { .. } = appetite {
        // Before connecting: the window is agreed on then.
        SockRef::from(&socket)
            .set_recv_buffer_size(NARROW_BYTES)
            .unwrap();
    }
    socket.connect(&addr.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}
