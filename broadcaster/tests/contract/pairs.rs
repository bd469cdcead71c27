//! The pairs of a writing and a reading end. A new one is a type with [`Pair`] and a line in
//! `main.rs`.

use std::thread;
use std::time::{Duration, Instant};

use broadcaster::egress::Protocol;
use broadcaster::fanout::Publish;
use common::{Shutdown, Subscribe, ring};
use receiver::ingress::{Ingress, Options};

use crate::hall::{Hall, PATIENCE, Rules, Way};

/// Payloads that every pair's writing end keeps for its readers.
pub(crate) const CAPACITY: usize = 8;

/// A fan-out model from end to end.
pub(crate) trait Pair {
    /// What it promises beyond what all promise.
    fn traits(&self) -> Traits;

    /// The model, without a reader yet; `None` if what it needs is not installed.
    fn open(&self) -> Option<Model>;
}

/// Both ends of a model that runs.
pub(crate) struct Model {
    /// Dropped when the stream is to end.
    pub(crate) publisher: Box<dyn Publish>,
    /// Gives readers that have begun: what is published from now on is for them too.
    pub(crate) join: Box<dyn Fn() -> Reader>,
    /// Waits until all that was published has left the writer; only where the next could overtake it.
    pub(crate) settle: Box<dyn Fn()>,
}

/// A reading end.
pub(crate) type Reader = Box<dyn Subscribe + Send>;

/// Where models differ, and may.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    pub(crate) skips: Skips,
    pub(crate) keys: Keys,
    pub(crate) bundles: Bundles,
    pub(crate) end: End,
    pub(crate) start: Start,
}

/// What a reader begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// The newest key frame that was published.
    Newest,
    /// The first that is published after it came: an exchange keeps nothing.
    Next,
}

/// How a reader learns that it missed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skips {
    /// By `Lagged`, with the exact number, before the next payload.
    Told,
    /// By the jump in the frames' numbers. Wire protocols have no other word for it.
    Gaps,
}

/// Which frames a reader can begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Those marked as key frames.
    Marked,
    /// Every frame: MJPEG parts bear no mark.
    Every,
}

/// What becomes of frames that were published together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bundles {
    /// They arrive together.
    Kept,
    /// They arrive one by one: a part is one picture.
    Split,
}

/// What follows the last payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// `Closed`.
    Closed,
    /// Nothing new: to a receiver a lost stream is a pause, which only the word to end closes.
    Pause,
}

/// The ring by itself.
pub(crate) struct InRing;

impl Pair for InRing {
    fn traits(&self) -> Traits {
        Traits {
            skips: Skips::Told,
            keys: Keys::Marked,
            bundles: Bundles::Kept,
            end: End::Closed,
            start: Start::Newest,
        }
    }

    fn open(&self) -> Option<Model> {
        let (publisher, ring) = ring::new(CAPACITY);
        Some(Model {
            publisher: Box::new(publisher),
            join: Box::new(move || Box::new(ring.subscribe())),
            settle: Box::new(|| {}),
        })
    }
}

/// The ring, a driver, a protocol, and the receiver at the other end.
pub(crate) struct OverSockets(pub(crate) Way);

impl Pair for OverSockets {
    fn traits(&self) -> Traits {
        let (keys, bundles) = match self.0.protocol {
            Protocol::Tcp | Protocol::Ws => (Keys::Marked, Bundles::Kept),
            Protocol::Http => (Keys::Every, Bundles::Split),
        };
        Traits {
            skips: Skips::Gaps,
            keys,
            bundles,
            end: End::Pause,
            start: Start::Newest,
        }
    }

    fn open(&self) -> Option<Model> {
        let rules = Rules {
            capacity: CAPACITY,
            // Only what was overwritten is skipped, as in the ring itself.
            max_age: Duration::from_secs(60),
            ..Rules::new(self.0)
        };
        let (hall, publisher) = Hall::open(&rules);
        let url = match self.0.protocol {
            Protocol::Tcp => format!("tcp://{}", hall.tcp),
            Protocol::Http => format!("http://{}/live/main.mjpeg", hall.http),
            Protocol::Ws => format!("ws://{}/live/main.ws", hall.http),
        };
        Some(Model {
            publisher: Box::new(publisher),
            join: Box::new(move || {
                // The model lives as long as somebody can join it.
                let _ = &hall;
                Box::new(connected(&url))
            }),
            settle: Box::new(|| {}),
        })
    }
}

/// An ingress that the server has taken in, and so has given its place.
pub(crate) fn connected(url: &str) -> Ingress {
    let source = url.parse().unwrap();
    let mut ingress = Ingress::open(source, Options::default(), Shutdown::default());
    let begun = Instant::now();
    while !ingress.is_connected() {
        // One step towards a connection; nothing is read before there is one.
        assert!(ingress.recv(Duration::ZERO).is_err());
        assert!(begun.elapsed() < PATIENCE, "{:?}", ingress.last_error());
        thread::sleep(Duration::from_millis(1));
    }
    ingress
}
