//! A server that follows a script, one for each connection, and what it says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::barcode::{self, Stamp};
use common::wire::mjpeg;
use common::wire::tcp::{Goodbye, GoodbyeCode, Hello, Message, Sender, Welcome, append};
use common::{DecodeError, Flags, Format, Frame, Head, Identity, Image, Shutdown, Timestamp};
use receiver::ingress::{Ingress, Options};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// Long enough for a slow machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The smallest thing with the shape of a JPEG: 3 x 2 pixels.
pub(crate) const JPEG: &[u8] = &[
    0xff, 0xd8, 0xff, 0xc0, 0, 8, 8, 0, 2, 0, 3, 1, 0xff, 0xda, 0, 3, 0, 1, 2, 3, 0xff, 0xd9,
];

/// One accepted connection.
pub(crate) type Script = Box<dyn FnOnce(&mut Peer) + Send>;

/// A connection from the server's side.
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Clone for Peer {
    /// Another hand on the same connection; only one of them may listen.
    fn clone(&self) -> Self {
        Self {
            stream: self.stream.try_clone().unwrap(),
            buffer: BytesMut::new(),
        }
    }
}

impl Peer {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // The receiver may be gone already; its own state tells what it made of it.
        drop(self.stream.write_all(bytes));
    }

    pub(crate) fn say(&mut self, message: Message) {
        self.send(&message.encode());
    }

    /// The viewer's next message.
    pub(crate) fn hear(&mut self) -> Option<Message> {
        loop {
            match Message::decode(&mut self.buffer, Sender::Viewer) {
                Ok(message) => return Some(message),
                Err(DecodeError::Incomplete { .. }) => {
                    let mut piece = [0; 4096];
                    match self.stream.read(&mut piece) {
                        Ok(count @ 1..) => append(&mut self.buffer, &piece[..count]),
                        _ => return None,
                    }
                }
                Err(error) => panic!("not understood: {error}"),
            }
        }
    }

    /// Takes HELLO and answers WELCOME.
    pub(crate) fn welcome(&mut self) -> Hello {
        let Some(Message::Hello(hello)) = self.hear() else {
            panic!("no HELLO");
        };
        self.say(Message::Welcome(Welcome {
            version: 1,
            feedback_every: Duration::from_millis(100),
            epoch: 1,
        }));
        hello
    }

    pub(crate) fn goodbye(&mut self, code: GoodbyeCode, text: &str) {
        self.say(Message::Goodbye(Goodbye {
            code,
            retry_after: Duration::ZERO,
            text: text.to_owned(),
        }));
    }

    /// The request's head.
    pub(crate) fn request(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && self.stream.read(&mut byte).is_ok_and(|n| n > 0) {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Takes the request and answers with a head.
    pub(crate) fn answer(&mut self, status: &str, fields: &str) -> String {
        let request = self.request();
        self.send(format!("HTTP/1.1 {status}\r\n{fields}\r\n").as_bytes());
        request
    }

    /// Takes the request and begins a stream of parts.
    pub(crate) fn begin_stream(&mut self) {
        self.answer("200 OK", &content_type(""));
        self.send(&mjpeg::encode_start());
    }

    /// Holds the connection until the receiver leaves.
    pub(crate) fn hold(&mut self) {
        let mut piece = [0; 4096];
        while self.stream.read(&mut piece).is_ok_and(|count| count > 0) {}
    }
}

/// Starts a server that runs one script a connection and then stops listening; its port.
pub(crate) fn serve(scripts: Vec<Script>) -> u16 {
    if scripts.is_empty() {
        return kept_port();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for script in scripts {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let buffer = BytesMut::new();
            thread::spawn(move || script(&mut Peer { stream, buffer }));
        }
    });
    port
}

/// A port at which nobody listens; a socket that does not listen holds it until the test's process ends,
/// so that nobody else is given it, neither to listen nor to connect from.
fn kept_port() -> u16 {
    let holder = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&holder, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = SocketAddrV4::try_from(getsockname(&holder).unwrap()).unwrap();
    std::mem::forget(holder);
    addr.port()
}

/// A server for one connection.
pub(crate) fn serve_one(script: impl FnOnce(&mut Peer) + Send + 'static) -> u16 {
    serve(vec![Box::new(script)])
}

pub(crate) fn open(url: &str) -> Ingress {
    Ingress::open(
        url.parse().unwrap(),
        Options::default(),
        Shutdown::default(),
    )
}

pub(crate) fn frame(epoch: u64, seq: u64) -> Frame {
    let head = Head {
        identity: Identity { epoch, seq },
        captured_at: Timestamp::from_nanos(1_700_000_000_000_000_000 + seq),
        format: Format::Jpeg,
        width: 3,
        height: 2,
        flags: Flags::KEY,
        hops: 0,
    };
    Frame::new(head, Bytes::from_static(JPEG))
}

pub(crate) fn part(epoch: u64, seq: u64) -> Vec<u8> {
    mjpeg::encode_parts(&[frame(epoch, seq)]).concat()
}

pub(crate) fn content_type(more: &str) -> String {
    format!("Content-Type: {}\r\n{more}", mjpeg::CONTENT_TYPE)
}

/// A picture that bears its number as a bar code, captured in November 2023.
pub(crate) fn picture(epoch: u64, seq: u64, (width, height): (u16, u16)) -> Frame {
    let mut image = Image::filled(width, height, [90, 120, 40]);
    let mut head = frame(epoch, seq).head;
    (head.width, head.height) = (width, height);
    let captured_at = head.captured_at;
    assert!(barcode::draw(&mut image, Stamp { seq, captured_at }));
    let (width, height) = (width.into(), height.into());
    let pixels = turbojpeg::Image {
        pixels: &image.pixels[..],
        width,
        pitch: 3 * width,
        height,
        format: turbojpeg::PixelFormat::RGB,
    };
    let jpeg = turbojpeg::compress(pixels, 90, turbojpeg::Subsamp::None).unwrap();
    Frame::new(head, Bytes::from(jpeg.to_vec()))
}
