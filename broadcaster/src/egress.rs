//! Payloads leave: from the ring over the network to each viewer.
//!
//! ```text
//! accept   takes connections, reads who wants what ──► a Viewer ──► multiplex or threads   move its bytes
//!                                                 └─► pages       everything that is not a stream
//! ```
//!
//! A [`viewer::Viewer`] is one peer as a state machine without any I/O; [`framing`] makes the bytes
//! that all viewers of a protocol share; a driver moves bytes between viewers and sockets.

pub mod accept;
pub mod admission;
pub mod ages;
pub mod assets;
pub mod drop_in;
pub mod framing;
pub mod guest;
pub mod kernel;
pub mod metrics;
pub mod multiplex;
pub mod news;
pub mod pages;
pub mod register;
pub mod still;
pub mod threads;
pub mod traffic;
pub mod verdict;
pub mod viewer;

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Budget, Shutdown};

use crate::channel::Channels;
use crate::config::DriverConfig;
use guest::Newcomer;
use multiplex::Multiplex;
use threads::Threads;

/// How often viewers are looked over for stalls.
const SWEEP: Duration = Duration::from_secs(1);
/// How long viewers may take to finish what was begun when the broadcaster ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// A viewer without progress for less than this is not held against the memory budget.
const LEAST_STALL: Duration = Duration::from_millis(250);
/// Bytes read from a viewer at once.
const SCRATCH_BYTES: usize = 16 << 10;

/// What a viewer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The native protocol.
    Tcp,
    /// Motion JPEG over HTTP.
    Http,
    /// Payloads of any channels over WebSocket.
    Ws,
}

impl Protocol {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Http, Self::Ws];

    /// Its name, as in addresses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Ws => "ws",
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What moves bytes between viewers and their connections.
#[derive(Debug)]
pub enum Driver {
    /// A few event loops, each with its share of the viewers.
    Multiplex(Multiplex),
    /// A thread for each viewer.
    Threads(Threads),
}

impl Driver {
    /// Starts the driver for the viewers of all channels; it ends on `shutdown`. While `budget` is
    /// tight it closes the viewer that has stalled longest. Returned are also the threads to join.
    ///
    /// # Errors
    /// When the system gives no thread or no readiness queue.
    pub fn start(
        config: DriverConfig,
        channels: &Channels,
        budget: &Budget,
        shutdown: &Shutdown,
    ) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        match config {
            DriverConfig::Multiplex { workers } => {
                let (driver, threads) = multiplex::start(workers, channels, budget, shutdown)?;
                Ok((Self::Multiplex(driver), threads))
            }
            DriverConfig::Threads => {
                let (driver, herald) = threads::start(channels, budget, shutdown)?;
                Ok((Self::Threads(driver), vec![herald]))
            }
        }
    }

    /// Takes over a viewer and its connection.
    pub fn adopt(&self, newcomer: Newcomer) {
        match self {
            Self::Multiplex(driver) => driver.adopt(newcomer),
            Self::Threads(driver) => driver.adopt(newcomer),
        }
    }
}
