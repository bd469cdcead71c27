//! A crowd of viewers in one process, cheap enough not to be the bottleneck.
//!
//! Most of them ([`crowd`]) never look at what they get: the kernel throws it away and only the
//! bytes are counted. A few ([`sample`]) parse every frame and say how many there were, how large
//! they are on the wire and how old at arrival. Together that gives what each viewer was delivered.
//! The same crowd watches the broadcaster, the bare loop, and any other MJPEG server.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::wire::tcp::{Hello, Message, VERSION};
use common::{Clock, Monotonic, Shutdown, SystemClock};
use hdrhistogram::Histogram;

pub mod arrival;
pub mod crowd;
mod figures;
pub mod hindering;
pub mod joining;
mod readiness;
pub mod sample;

use crate::contender::Hindrance;
use crowd::Crowd;
pub use figures::Figures;
use hindering::Hindering;
use joining::Joining;
use sample::Samples;

/// Viewers of every load that parse what they get.
pub const SAMPLES: usize = 8;
/// A moment between two frames is waited for so long at most.
const LONGEST_BEAT: Duration = Duration::from_secs(1);
/// Such a moment: so many tenths of the time between frames after the first viewer had the last one, ...
const BETWEEN: std::ops::Range<u32> = 3..9;
/// ... and nobody has received anything for one of so many parts of that time.
const QUIET: u32 = 10;
/// Looking for it more often than this would be felt.
const SHORTEST_PAUSE: Duration = Duration::from_micros(50);

/// What viewers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The native protocol.
    Tcp,
    /// Motion JPEG over HTTP.
    Http,
}

/// What to watch.
#[derive(Debug, Clone)]
pub struct Target {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it is.
    pub addr: SocketAddr,
    /// Path and query over HTTP, channel over tcp.
    pub path: String,
}

/// Why there is no load.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that is none.
    #[error("{0}: right would be tcp://HOST:PORT[/CHANNEL] or http://HOST:PORT/PATH")]
    Url(String),
    /// A connection that was not made.
    #[error("viewer {number} of {count} not connected to {addr}: {error}")]
    Connect {
        /// Which viewer, from 1.
        number: usize,
        /// How many there should be.
        count: usize,
        /// Where to.
        addr: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system gives no thread or no readiness queue.
    #[error("no load: {0}")]
    System(#[from] io::Error),
}

impl Target {
    /// Reads `tcp://…` or `http://…`.
    ///
    /// # Errors
    /// Anything else, or a name without an address.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let wrong = || Error::Url(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (protocol, path) = match scheme {
            "tcp" => (Protocol::Tcp, path.to_owned()),
            "http" => (Protocol::Http, format!("/{path}")),
            _ => return Err(wrong()),
        };
        let mut addrs = host.to_socket_addrs().map_err(|_| wrong())?;
        let addr = addrs.next().ok_or_else(wrong)?;
        Ok(Self {
            protocol,
            addr,
            path,
        })
    }

    /// Connects one viewer and says what it wants.
    fn connect(&self) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.addr)?;
        let request = match self.protocol {
            Protocol::Tcp => Message::Hello(Hello {
                min_version: VERSION,
                max_version: VERSION,
                max_age: None,
                channel: self.path.clone(),
            })
            .encode()
            .to_vec(),
            Protocol::Http => {
                let (path, addr) = (&self.path, self.addr);
                format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").into_bytes()
            }
        };
        stream.write_all(&request)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// Connects viewers to the targets in turn.
    fn connect_to(targets: &[Self], count: usize) -> Result<Vec<TcpStream>, Error> {
        let in_turn = targets.iter().cycle();
        let connect = |(number, target): (usize, &Self)| {
            target.connect().map_err(|error| Error::Connect {
                number,
                count,
                addr: target.addr,
                error,
            })
        };
        (1..=count).zip(in_turn).map(connect).collect()
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { addr, path, .. } = self;
        match self.protocol {
            Protocol::Tcp => write!(f, "tcp://{addr}/{path}"),
            Protocol::Http => write!(f, "http://{addr}{path}"),
        }
    }
}

/// Viewers at work, until dropped.
#[derive(Debug)]
pub struct Load {
    crowd: Crowd,
    samples: Samples,
    hindering: Hindering,
    joining: Option<Joining>,
    shutdown: Shutdown,
}

/// What a load had received at one moment, counted from its beginning.
#[derive(Debug, Clone)]
pub struct Mark {
    at: Monotonic,
    crowd: Vec<u64>,
    samples: sample::Totals,
    first_frames: Option<Histogram<u64>>,
}

impl Load {
    /// Connects `viewers` viewers, of whom [`SAMPLES`] parse, and those that hinder them.
    ///
    /// # Errors
    /// If one of them cannot be connected, or the system gives no thread.
    pub fn start(target: &Target, viewers: usize, hindrance: Hindrance) -> Result<Self, Error> {
        let streams = Target::connect_to(std::slice::from_ref(target), viewers)?;
        let hindering = match hindrance {
            Hindrance::None | Hindrance::Joining => Vec::new(),
            Hindrance::Stopped(count) | Hindrance::Throttled(count) => {
                Target::connect_to(std::slice::from_ref(target), count)?
            }
        };
        let mut load = Self::of(streams, target.protocol)?;
        load.hindering = Hindering::start(hindering, hindrance, &load.shutdown)?;
        if hindrance == Hindrance::Joining {
            load.joining = Some(Joining::start(target, &load.shutdown)?);
        }
        Ok(load)
    }

    /// Connects `viewers` viewers to several servers in turn that have the same frames, of whom the
    /// [`SAMPLES`] parse.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(targets: &[Target], viewers: usize) -> Result<Self, Error> {
        let protocol = targets
            .first()
            .map_or(Protocol::Tcp, |target| target.protocol);
        Self::of(Target::connect_to(targets, viewers)?, protocol)
    }

    fn of(streams: Vec<TcpStream>, protocol: Protocol) -> Result<Self, Error> {
        let (samples, crowd) = evenly(streams, SAMPLES);
        let shutdown = Shutdown::default();
        Ok(Self {
            samples: Samples::start(samples, protocol, &shutdown)?,
            crowd: Crowd::start(crowd, &shutdown)?,
            hindering: Hindering::start(Vec::new(), Hindrance::None, &shutdown)?,
            joining: None,
            shutdown,
        })
    }

    /// What has been received up to now. Ages are counted from the last mark on.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            at: SystemClock.monotonic(),
            crowd: self.crowd.bytes(),
            samples: self.samples.totals(),
            first_frames: self.joining.as_ref().map(Joining::times),
        }
    }

    /// Waits until a frame is with everybody and the next one with nobody, so that none is on its way at
    /// the edge of a window. False where there is no such moment for long, because some are still served
    /// when others get the next one.
    fn wait_between_frames(&self) -> bool {
        let begun = SystemClock.monotonic();
        let (mut received, mut since) = (self.received(), begun);
        loop {
            let now = SystemClock.monotonic();
            if now.since(begun) >= LONGEST_BEAT {
                return false;
            }
            let latest = self.received();
            if latest != received {
                (received, since) = (latest, now);
            }
            let beat = self.samples.beat();
            let is_between = beat.is_some_and(|(at, interval)| {
                let tenths = (BETWEEN.start * interval / 10)..(BETWEEN.end * interval / 10);
                tenths.contains(&now.since(at)) && now.since(since) >= interval / QUIET
            });
            if is_between {
                return true;
            }
            let pause = beat.map_or(Duration::from_millis(1), |(_, interval)| interval / 50);
            thread::sleep(pause.max(SHORTEST_PAUSE));
        }
    }

    /// Everything that anybody has received, in no unit.
    fn received(&self) -> u64 {
        self.crowd.bytes().iter().sum::<u64>() + self.samples.bytes()
    }

    /// Watches for `window`, or until `shutdown`; `at_edges` is called at its begin and at its end.
    pub fn watch<T>(
        &self,
        window: Duration,
        shutdown: &Shutdown,
        mut at_edges: impl FnMut() -> T,
    ) -> (Figures, T, T) {
        let is_begin_cut = !self.wait_between_frames();
        let (from, first) = (self.mark(), at_edges());
        let is_end_cut = !shutdown.wait(window) && !self.wait_between_frames();
        let (to, last) = (self.mark(), at_edges());
        let figures = Figures {
            edges_cut: u32::from(is_begin_cut) + u32::from(is_end_cut),
            ..Figures::between(&from, &to)
        };
        (figures, first, last)
    }
}

/// So many of them from all over, and the others. A server may serve in the order in which viewers came:
/// the first ones would tell of the shortest wait only.
fn evenly<T>(all: Vec<T>, count: usize) -> (Vec<T>, Vec<T>) {
    let whole = all.len();
    let mut taken = 0;
    let is_sample = |(at, _): &(usize, T)| {
        // The middle of each of `count` stretches of the same length.
        let is_it = taken < count && *at >= (2 * taken + 1) * whole / (2 * count);
        taken += usize::from(is_it);
        is_it
    };
    let (samples, others): (Vec<_>, Vec<_>) = all.into_iter().enumerate().partition(is_sample);
    let plain = |numbered: Vec<(usize, T)>| numbered.into_iter().map(|(_, one)| one).collect();
    (plain(samples), plain(others))
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shutdown.trigger();
        self.crowd.join();
        self.samples.join();
        self.hindering.join();
        self.joining.iter_mut().for_each(Joining::join);
    }
}

/// Reads once; 0 for "nothing yet", `None` for the end.
pub(crate) fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> Option<usize> {
    match stream.read(buffer) {
        Ok(0) => None,
        Ok(count) => Some(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
        Err(_) => None,
    }
}

/// A waker of a readiness loop for the word to end.
pub(crate) struct LoopWaker(pub(crate) mio::Waker);

impl std::task::Wake for LoopWaker {
    fn wake(self: Arc<Self>) {
        // The loop looks by itself once a second, should this ever fail.
        drop(self.0.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let tcp = Target::parse("tcp://127.0.0.1:7400/main").unwrap();
        assert_eq!((tcp.protocol, &*tcp.path), (Protocol::Tcp, "main"));
        let http = Target::parse("http://127.0.0.1:8080/live/main.mjpeg?x=1").unwrap();
        assert_eq!(http.path, "/live/main.mjpeg?x=1");
        assert_eq!(http.addr.port(), 8080);
        for target in [tcp, http] {
            let again = Target::parse(&target.to_string()).unwrap();
            assert_eq!((again.addr, again.path), (target.addr, target.path));
        }
        for wrong in ["127.0.0.1:80", "ws://127.0.0.1:80/", "tcp://127.0.0.1"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn samples_are_taken_from_all_over() {
        let (samples, crowd) = evenly((0..100).collect(), 4);
        assert_eq!(samples, [12, 37, 62, 87]);
        assert_eq!(crowd.len(), 96);
        for whole in 0..20_usize {
            let (samples, crowd) = evenly((0..whole).collect(), 8);
            assert_eq!(
                (samples.len(), crowd.len()),
                (whole.min(8), whole.saturating_sub(8))
            );
        }
    }

    #[test]
    fn viewers_of_several_servers_go_to_them_in_turn() {
        let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let servers = [listen(), listen()];
        let targets = servers.each_ref().map(|server| Target {
            protocol: Protocol::Tcp,
            addr: server.local_addr().unwrap(),
            path: String::new(),
        });
        let viewers = Target::connect_to(&targets, 5).unwrap();
        let peers = viewers.iter().map(|viewer| viewer.peer_addr().unwrap());
        let [one, other] = targets.map(|target| target.addr);
        assert_eq!(peers.collect::<Vec<_>>(), [one, other, one, other, one]);
    }
}
