//! What the tests stand on: a broadcaster in this process, and the native protocol by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Child;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use broadcaster::Broadcaster;
use broadcaster::args::keys::Typed;
use broadcaster::config::Config;
use bytes::BytesMut;
use common::wire::DecodeError;
use common::wire::tcp::{Hello, Message, Sender};
use common::wire::ws;
use common::wire::ws::text::Request;
use common::{Head, Shutdown};
use socket2::{Domain, SockAddr, Socket as Holder, Type};

/// Longer than anything here takes unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A broadcaster on free ports, ended when dropped.
pub(crate) struct Stage {
    pub(crate) http: SocketAddr,
    pub(crate) tcp: SocketAddr,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Stage {
    /// Starts one with these arguments beside the free ports.
    pub(crate) fn with(line: &str) -> Self {
        let words = "broadcaster --http 127.0.0.1:0 --tcp 127.0.0.1:0".split_whitespace();
        let typed = Typed::from_words(words.chain(line.split_whitespace())).unwrap();
        let broadcaster = Broadcaster::bind(Config::load(typed).unwrap()).unwrap();
        let (http, tcp) = (broadcaster.http_addr(), broadcaster.tcp_addr());
        let shutdown = Shutdown::default();
        let ending = shutdown.clone();
        let thread = thread::spawn(move || broadcaster.run(&ending).unwrap());
        Self {
            http,
            // Of no use where nothing is bound.
            tcp: tcp.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()),
            shutdown,
            thread: Some(thread),
        }
    }

    /// One after the other, a broadcaster with each driver.
    pub(crate) fn with_each_driver(line: &str) -> impl Iterator<Item = Self> {
        ["multiplex", "threads"]
            .into_iter()
            .map(move |driver| Self::with(&format!("{line} --driver {driver}")))
    }

    /// Ends it; returns how long that took.
    pub(crate) fn end(mut self) -> Duration {
        self.stop()
    }

    fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        begun.elapsed()
    }

    /// The address of a page, a still or a stream.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// A native viewer of the default channel.
    pub(crate) fn native(&self) -> Native {
        self.native_of("")
    }

    /// A native viewer of a channel.
    pub(crate) fn native_of(&self, channel: &str) -> Native {
        let mut native = Native::connect(self.tcp);
        native.hello(channel);
        assert!(matches!(native.next(), Message::Welcome(_)));
        native
    }

    /// The answer to a GET.
    pub(crate) fn get(&self, path: &str) -> String {
        self.http_says(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
    }

    /// Sends raw bytes to the HTTP port and returns all that comes back until it is closed.
    pub(crate) fn http_says(&self, request: &[u8]) -> String {
        says(self.http, request)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An address at which nobody listens, kept for whoever is told of it: a socket that does not listen
/// holds it, so that the system gives it to nobody else, neither to listen nor to connect from.
pub(crate) struct Kept {
    pub(crate) addr: SocketAddr,
    _holder: Holder,
}

impl Kept {
    pub(crate) fn new() -> Self {
        let holder = Holder::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // So that a server can have it beside this one, as servers have who ask for the same.
        holder.set_reuse_address(true).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        holder.bind(&SockAddr::from(any)).unwrap();
        Self {
            addr: holder.local_addr().unwrap().as_socket().unwrap(),
            _holder: holder,
        }
    }
}

/// A child that is ended when the test is over, however that comes.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Neither fails for a child that has not been waited for; otherwise there is nothing to do.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Sends raw bytes and returns all that comes back until the other side closes.
pub(crate) fn says(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = patient(addr);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A connection whose reads fail rather than wait for ever.
pub(crate) fn patient(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The viewer's side of a WebSocket, message by message; payloads are acknowledged.
pub(crate) struct Socket {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Socket {
    /// Any will do.
    const MASK: [u8; 4] = [1, 2, 3, 4];

    /// Shakes hands; what else the request says goes into `fields`.
    pub(crate) fn connect(addr: SocketAddr, path: &str, fields: &str) -> Self {
        let mut stream = patient(addr);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut socket = Self {
            stream,
            buffer: BytesMut::new(),
        };
        let end = b"\r\n\r\n";
        let head = loop {
            let found = socket
                .buffer
                .windows(end.len())
                .position(|part| part == end);
            if let Some(at) = found {
                break socket.buffer.split_to(at + end.len());
            }
            socket.fill();
        };
        let head = str::from_utf8(&head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        socket
    }

    pub(crate) fn say(&mut self, request: &Request) {
        let message = ws::Message::Text(request.to_text());
        let bytes = message.encode_masked(Self::MASK);
        self.stream.write_all(&bytes).unwrap();
    }

    /// The channel and the numbers of the next payload.
    pub(crate) fn seqs(&mut self) -> (u16, Vec<u64>) {
        let (ch, seqs) = self.unacknowledged();
        let (seq, took_ms) = (*seqs.last().unwrap(), None);
        self.say(&Request::Ack { ch, seq, took_ms });
        (ch, seqs)
    }

    /// The same, not acknowledged.
    pub(crate) fn unacknowledged(&mut self) -> (u16, Vec<u64>) {
        loop {
            match ws::Message::decode(&mut self.buffer, Sender::Server) {
                Ok(ws::Message::Binary(body)) => {
                    let (ch, frames) = ws::decode_payload(&body).unwrap();
                    let seqs = frames.iter().map(|f| f.head.identity.seq).collect();
                    return (ch, seqs);
                }
                Ok(_) => {}
                Err(DecodeError::Incomplete { .. }) => self.fill(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn fill(&mut self) {
        let mut scratch = [0; 64 << 10];
        let count = self.stream.read(&mut scratch).unwrap();
        assert!(count > 0, "closed in the middle");
        self.buffer.extend_from_slice(&scratch[..count]);
    }
}

/// The viewer's side of the native protocol, message by message.
pub(crate) struct Native {
    pub(crate) stream: TcpStream,
    buffer: BytesMut,
}

impl Native {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self {
            stream: patient(addr),
            buffer: BytesMut::new(),
        }
    }

    pub(crate) fn hello(&mut self, channel: &str) {
        self.say(&Message::Hello(Hello {
            min_version: 1,
            max_version: 1,
            max_age: None,
            channel: channel.to_owned(),
        }));
    }

    pub(crate) fn say(&mut self, message: &Message) {
        self.stream.write_all(&message.encode()).unwrap();
    }

    /// The next message; panics if none comes.
    pub(crate) fn next(&mut self) -> Message {
        let mut scratch = [0; 64 << 10];
        loop {
            match Message::decode(&mut self.buffer, Sender::Server) {
                Ok(message) => return message,
                Err(DecodeError::Incomplete { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            let count = self.stream.read(&mut scratch).unwrap();
            assert!(count > 0, "closed in the middle");
            self.buffer.extend_from_slice(&scratch[..count]);
        }
    }

    /// The heads of the next payload.
    pub(crate) fn heads(&mut self) -> Vec<Head> {
        match self.next() {
            Message::Payload(frames) => frames.iter().map(|frame| frame.head).collect(),
            other => panic!("not a payload: {other:?}"),
        }
    }

    /// The sequence numbers of the next payload.
    pub(crate) fn seqs(&mut self) -> Vec<u64> {
        self.heads().iter().map(|head| head.identity.seq).collect()
    }
}
