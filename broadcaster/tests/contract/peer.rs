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
use common::wire::ws;
use common::wire::ws::text::Request;
use socket2::{Domain, SockRef, Socket, Type};

use crate::frames::picture;
use crate::hall::{Hall, PATIENCE};

const REQUEST: &[u8] = b"GET /live/main.mjpeg HTTP/1.1\r\nHost: x\r\n\r\n";
const UPGRADE: &[u8] = b"GET /live/main.ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// Any will do.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
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
    /// A text over WebSocket.
    Notice(String),
    /// The last message of a WebSocket.
    Close(String),
    /// The connection was closed behind something whole.
    End,
    /// The connection was thrown away.
    Reset,
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    protocol: Protocol,
    appetite: Appetite,
    /// Whether payloads are acknowledged, where that is done.
    is_silent: bool,
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
            Protocol::Http | Protocol::Ws => hall.http,
        };
        let mut peer = Self {
            stream: connect(addr, appetite),
            protocol,
            appetite,
            is_silent: false,
            buffer: BytesMut::new(),
            parser: Parser::new(mjpeg::CONTENT_TYPE).unwrap(),
            tail: Vec::new(),
        };
        match protocol {
            Protocol::Tcp => peer.greet(),
            Protocol::Http => peer.ask(REQUEST, b"HTTP/1.1 200 "),
            Protocol::Ws => {
                peer.ask(UPGRADE, b"HTTP/1.1 101 ");
                for kind in ["channels", "subscribed"] {
                    let heard = peer.hear();
                    let is_kind = matches!(&heard, Heard::Notice(text) if text.contains(kind));
                    assert!(is_kind, "{heard:?}");
                }
            }
        }
        peer
    }

    /// The same peer, which acknowledges nothing from now on.
    pub(crate) fn silent(mut self) -> Self {
        self.is_silent = true;
        self
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

    fn ask(&mut self, request: &[u8], answer: &[u8]) {
        self.say(request);
        let end = b"\r\n\r\n";
        let head = loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|part| part == end) {
                break self.buffer.split_to(at + end.len());
            }
            assert!(self.fill().unwrap() > 0, "closed in the head");
        };
        assert!(head.starts_with(answer), "{head:?}");
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Says something over WebSocket; nobody need be there to hear it.
    pub(crate) fn request(&mut self, request: &Request) {
        let message = ws::Message::Text(request.to_text());
        drop(self.stream.write_all(&message.encode_masked(MASK)));
    }

    /// The number of the next frame, which must be what comes next but for words about skips.
    pub(crate) fn seq(&mut self) -> u64 {
        loop {
            match self.hear() {
                Heard::Frame(seq) => return seq,
                Heard::Notice(text) if text.contains("skipped") => {}
                other => panic!("not a frame: {other:?}"),
            }
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

    /// Waits until there is something to be read, and leaves it there.
    pub(crate) fn wait_for_bytes(&self) {
        assert!(self.stream.peek(&mut [0]).unwrap() > 0, "closed");
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
            Protocol::Ws => match ws::Message::decode(&mut self.buffer, Sender::Server)? {
                ws::Message::Binary(body) => {
                    let (ch, frames) = ws::decode_payload(&body)?;
                    let [frame] = &frames[..] else {
                        panic!("{} frames at once", frames.len());
                    };
                    let (seq, took_ms) = (frame.head.identity.seq, None);
                    if !self.is_silent {
                        self.request(&Request::Ack { ch, seq, took_ms });
                    }
                    (seq, frame.data().clone())
                }
                ws::Message::Text(text) => return Ok(Heard::Notice(text)),
                ws::Message::Close(reason) => {
                    let (_, text) = reason.expect("there is always a reason");
                    // Both sides say so.
                    let close = ws::Message::Close(None).encode_masked(MASK);
                    drop(self.stream.write_all(&close));
                    return Ok(Heard::Close(text));
                }
                other => panic!("not expected: {other:?}"),
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
        self.buffer.is_empty() && (self.protocol != Protocol::Http || self.tail == BOUNDARY)
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
