//! The door: takes connections, reads who wants what, and sends each to where it belongs.
//!
//! Streams become [`Viewer`]s and go to the driver; everything else over HTTP goes to the pages.
//! Whoever does not say what it wants within five seconds, or says it in a way nobody
//! understands, gets one line of answer and is closed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::wire::tcp::{Goodbye, GoodbyeCode, Hello, Message, Sender, Welcome};
use common::wire::{DecodeError, MAX_HEAD, mjpeg};
use common::{Clock, Format, Monotonic, Shutdown, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::admission::{Admission, Attendance, RETRY_AFTER};
use super::guest::{self, Guest, Newcomer};
use super::pages::{self, Pages};
use super::register::Register;
use super::viewer::socket::Lobby;
use super::viewer::watch::{Watch, Wish};
use super::viewer::{Terms, Viewer};
use super::{Driver, Protocol};
use crate::channel::{Channel, Unknown};

pub mod request;
mod upgrade;

use request::{Reply, Request, Route};

/// How long a peer may take to say what it wants.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Peers that may be saying what they want, or be answered, at the same time.
const MAX_HANDSHAKES: usize = 4096;
/// How long a newcomer waits for others to finish before it is turned away. Those who speak need
/// far less, so a rush of viewers only queues; those who are silent do not keep others for long.
const DOOR_PATIENCE: Duration = Duration::from_millis(100);
/// A fault that goes on is logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(1);
/// How long the door rests when the system has no descriptor left for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// After a refusal: how long, and for how many bytes, a peer's last words are read, so that
/// closing does not destroy the answer on its way.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// What the door needs to know.
#[derive(Debug)]
pub struct Door {
    /// Who may come in.
    pub admission: Arc<Admission>,
    /// Who is there.
    pub register: Arc<Register>,
    /// Who sends it.
    pub driver: Driver,
    /// What is not a stream.
    pub pages: Pages,
    /// What viewers may ask for over WebSocket, and how they are served who do not say.
    pub lobby: Arc<Lobby>,
    /// How long viewers may take no byte before they are closed.
    pub stall_limit: Duration,
    /// Unsent bytes the kernel may hold for a viewer.
    pub unsent_limit: u32,
    /// Sent as `Access-Control-Allow-Origin`.
    pub allow_origin: Option<String>,
}

/// Serves one listener until `shutdown`. What is in progress then is dropped.
pub async fn serve(listener: TcpListener, door: Arc<Door>, protocol: Protocol, shutdown: Shutdown) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let mut complaint = Complaint::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.triggered() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let permit = timeout(DOOR_PATIENCE, handshakes.clone().acquire_owned()).await;
                if let Ok(Ok(permit)) = permit {
                    let welcome = door.clone().welcome(stream, peer, protocol);
                    tokio::spawn(async {
                        welcome.await;
                        drop(permit);
                    });
                } else {
                    door.admission.turned_away_at_door();
                    turn_away(&stream, protocol);
                    complaint.log("too many peers have not said what they want");
                }
            }
            // No descriptor is left, or the system is out of memory. Trying at once would spin.
            Err(error) => {
                complaint.log(&format!("connection not accepted: {error}"));
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// The last thing complained about, so that a fault that goes on does not fill the log.
#[derive(Debug, Default)]
struct Complaint {
    logged_at: Option<Monotonic>,
}

impl Complaint {
    fn log(&mut self, text: &str) {
        let now = SystemClock.monotonic();
        if self.logged_at.is_none_or(|at| now.since(at) >= LOG_EVERY) {
            self.logged_at = Some(now);
            warn!("{text}");
        }
    }
}

/// Says, if that is possible without waiting, that there is no time to listen.
fn turn_away(stream: &TcpStream, protocol: Protocol) {
    let text = "too many peers at the door";
    let answer = match protocol {
        Protocol::Http | Protocol::Ws => Reply::busy(text).encode(),
        Protocol::Tcp => goodbye(GoodbyeCode::Busy, text.to_owned()),
    };
    // A peer that cannot be told is closed all the same.
    let _ = stream.try_write(&answer);
}

impl Door {
    async fn welcome(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, protocol: Protocol) {
        let outcome = match protocol {
            Protocol::Http | Protocol::Ws => self.welcome_http(stream, peer).await,
            Protocol::Tcp => self.welcome_tcp(stream, peer).await,
        };
        if let Err(error) = outcome {
            debug!(%peer, %protocol, %error, "connection ended before it became a viewer");
        }
    }

    async fn welcome_http(&self, mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let mut head = BytesMut::new();
        let request = match timeout(HANDSHAKE_TIMEOUT, read_request(&mut stream, &mut head)).await {
            Ok(Ok(Some(request))) => request,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(reply)) => return self.refuse_http(stream, peer, &reply).await,
            Err(_) => {
                let reply = Reply::new(408, "no request within 5 s");
                return self.refuse_http(stream, peer, &reply).await;
            }
        };
        match request.route(&self.lobby.channels, self.lobby.max_age) {
            Ok(Route::Pages) => {
                pages::serve(&self.pages, stream, head.freeze()).await;
                Ok(())
            }
            Ok(Route::Stream { channel, wish }) => {
                let greeting = request::stream_head(self.allow_origin.as_deref());
                let terms = self.terms(Protocol::Http, greeting);
                match self.admission.admit(peer.ip()) {
                    Ok(attendance) => {
                        let watches = vec![self.watch(channel, Protocol::Http, wish)];
                        let viewer = Viewer::new(terms, watches, SystemClock.monotonic());
                        self.seat(stream, Arrival { peer, attendance }, viewer)
                    }
                    Err(refusal) => self.refuse_http(stream, peer, &Reply::busy(refusal)).await,
                }
            }
            Ok(Route::Socket { channel }) => {
                let early = &head[request.length..];
                self.welcome_socket(stream, peer, &request.upgrade, channel, early)
                    .await
            }
            Ok(Route::StreamHead) => {
                let head = request::stream_head(self.allow_origin.as_deref());
                let only_head = head.len() - mjpeg::encode_start().len();
                say_and_close(stream, &head[..only_head]).await
            }
            Err(reply) => self.refuse_http(stream, peer, &reply).await,
        }
    }

    async fn refuse_http(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        reply: &Reply,
    ) -> io::Result<()> {
        debug!(%peer, status = reply.status, text = reply.text, "refused");
        say_and_close(stream, &reply.encode()).await
    }

    async fn welcome_tcp(&self, mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        let hello = match timeout(HANDSHAKE_TIMEOUT, read_hello(&mut stream, &mut buffer)).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(ReadError::Io(error))) => return Err(error),
            Ok(Err(ReadError::Decode(error))) => {
                let text = format!("this is the native port and that was no HELLO: {error}");
                return refuse_tcp(stream, GoodbyeCode::Protocol, text).await;
            }
            Ok(Err(ReadError::OutOfTurn)) => {
                let text = "HELLO has to come first".to_owned();
                return refuse_tcp(stream, GoodbyeCode::Protocol, text).await;
            }
            Err(_) => {
                let text = "no HELLO within 5 s".to_owned();
                return refuse_tcp(stream, GoodbyeCode::Protocol, text).await;
            }
        };
        let Some(version) = hello.agreed_version() else {
            let (min, max) = (hello.min_version, hello.max_version);
            let text = format!("versions {min} to {max} offered, version 1 is spoken here");
            return refuse_tcp(stream, GoodbyeCode::Version, text).await;
        };
        let channel = match self.channel_of(&hello) {
            Ok(channel) => channel,
            Err(unknown) => {
                let text = unknown.to_string();
                return refuse_tcp(stream, GoodbyeCode::UnknownChannel, text).await;
            }
        };
        let epoch = self.lobby.channels[channel].current_epoch();
        let attendance = match self.admission.admit(peer.ip()) {
            Ok(attendance) => attendance,
            Err(refusal) => {
                return refuse_tcp(stream, GoodbyeCode::Busy, refusal.to_string()).await;
            }
        };
        let welcome = Message::Welcome(Welcome {
            version,
            feedback_every: self.feedback_every(),
            epoch,
        });
        let wish = Wish {
            max_age: hello.max_age.unwrap_or(self.lobby.max_age),
            interval: None,
        };
        let terms = self.terms(Protocol::Tcp, welcome.encode());
        let watches = vec![self.watch(channel, Protocol::Tcp, wish)];
        let mut viewer = Viewer::new(terms, watches, SystemClock.monotonic());
        viewer.receive(&buffer, &SystemClock);
        self.seat(stream, Arrival { peer, attendance }, viewer)
    }

    fn terms(&self, protocol: Protocol, greeting: Bytes) -> Terms {
        Terms {
            protocol,
            stall_limit: self.stall_limit,
            greeting,
            lobby: (protocol == Protocol::Ws).then(|| self.lobby.clone()),
        }
    }

    fn watch(&self, place: usize, protocol: Protocol, wish: Wish) -> Watch {
        Watch::new(place, &self.lobby.channels[place], protocol, wish)
    }

    /// The place of the channel that is asked for; the default one if none is named.
    fn channel_of(&self, hello: &Hello) -> Result<usize, Unknown> {
        match &*hello.channel {
            "" => Ok(0),
            name => self.lobby.channels.find(name),
        }
    }

    /// How often native viewers report, so that all of them together make at most 100 reports a
    /// second.
    fn feedback_every(&self) -> Duration {
        use std::sync::atomic::Ordering;
        let viewers = |channel: &Arc<Channel>| channel.counters.viewers.load(Ordering::Relaxed);
        let viewers = u32::try_from(self.lobby.channels.iter().map(viewers).sum::<usize>())
            .unwrap_or(u32::MAX);
        (viewers * Duration::from_millis(10)).max(Duration::from_secs(1))
    }

    /// Hands a connection and its viewer to the driver.
    fn seat(&self, stream: TcpStream, arrival: Arrival, viewer: Viewer) -> io::Result<()> {
        let stream = stream.into_std()?;
        guest::prepare(&stream, self.unsent_limit)?;
        let (stream, Arrival { peer, attendance }) = (Arc::new(stream), arrival);
        let registration = self.register.enter(peer, &viewer, &stream);
        let guest = Guest::new(peer, viewer, attendance, registration);
        self.driver.adopt(Newcomer { stream, guest });
        Ok(())
    }
}

/// Somebody who has a place.
#[derive(Debug)]
struct Arrival {
    peer: SocketAddr,
    attendance: Attendance,
}

/// Whether the stream can go over HTTP, as it is now.
fn is_http_stream(channel: &Channel) -> bool {
    channel.current_format() == Format::Jpeg
}

/// Reads until the head is whole; `None` if the peer left without a word.
async fn read_request(
    stream: &mut TcpStream,
    head: &mut BytesMut,
) -> Result<Option<Request>, Reply> {
    loop {
        match stream.read_buf(head).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
        if let Some(request) = Request::parse(head)? {
            return Ok(Some(request));
        }
        if head.len() >= MAX_HEAD {
            return Err(Reply::new(431, "request head above 8 KiB"));
        }
    }
}

#[derive(Debug)]
enum ReadError {
    Io(io::Error),
    Decode(DecodeError),
    OutOfTurn,
}

async fn read_hello(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<Hello, ReadError> {
    loop {
        match stream.read_buf(buffer).await {
            Ok(0) => return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(ReadError::Io(error)),
        }
        match Message::decode(buffer, Sender::Viewer) {
            Ok(Message::Hello(hello)) => return Ok(hello),
            Ok(_) => return Err(ReadError::OutOfTurn),
            Err(DecodeError::Incomplete { .. }) => {}
            Err(error) => return Err(ReadError::Decode(error)),
        }
    }
}

async fn refuse_tcp(stream: TcpStream, code: GoodbyeCode, text: String) -> io::Result<()> {
    say_and_close(stream, &goodbye(code, text)).await
}

fn goodbye(code: GoodbyeCode, text: String) -> Bytes {
    let retry_after = match code {
        GoodbyeCode::Busy => RETRY_AFTER,
        _ => Duration::ZERO,
    };
    Message::Goodbye(Goodbye {
        code,
        retry_after,
        text,
    })
    .encode()
}

/// Writes, says that this was all, and listens a little longer: closing a connection with unread
/// input would reset it and could take the answer away.
async fn say_and_close(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    let farewell = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(LINGER_BYTES as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    match timeout(LINGER_TIMEOUT, farewell).await {
        Ok(done) => done.map(drop),
        Err(_) => Ok(()),
    }
}
