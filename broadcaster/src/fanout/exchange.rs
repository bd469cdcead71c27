//! The model `rabbitmq`: payloads go out through a fanout exchange, one for each channel.
//!
//! Capture puts a payload into the connection itself while that is free (`outlet.rs`), else it leaves it
//! in a place of one (`handoff.rs`), and never waits. A thread of its own takes it from there, and keeps the
//! connection (`link.rs`), for all channels together. A broker that is slow, blocked, or gone costs frames
//! of this model, which are counted, and nothing else.
//!
//! The message's body is the PAYLOAD of the wire format; its head tells the newest frame's identity,
//! time and flags once more, for programs that do not read that (`common/wire.md`).

mod flight;
mod handoff;
mod latency;
mod link;
mod outlet;

use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use common::{Clock, Payload, Shutdown, SystemClock};
use receiver::broker::Addresses;
use tokio::runtime::Builder;
use tokio::task::{JoinError, JoinSet};

use self::handoff::Handoff;
pub use self::latency::Latency;
use self::outlet::Outlet;
use super::Publish;
use crate::vital;

/// A channel's exchange: what is handed over to it, and what is known of it.
#[derive(Debug)]
pub struct Exchange {
    /// Its name at the broker.
    pub name: String,
    /// Where it is.
    pub brokers: Addresses,
    /// What happened so far.
    pub counters: Counters,
    health: Mutex<Health>,
    handoff: Handoff,
    /// There while there is a connection.
    outlet: Mutex<Option<Outlet>>,
}

/// What happened to payloads: handed over = published + dropped + those on their way, of which one
/// waits to be sent.
#[derive(Debug, Default)]
pub struct Counters {
    /// Payloads that capture has handed over.
    pub handed_over: AtomicU64,
    /// Payloads that the broker has taken, as far as it has said so.
    pub published: AtomicU64,
    /// Payloads that it has not: overtaken by newer ones while it took none, refused by it, or on
    /// their way when a connection was lost.
    pub dropped: AtomicU64,
    /// Times a lost connection was had again.
    pub reconnects: AtomicU64,
    /// Times the broker took nothing for lack of memory or disk.
    pub blocks: AtomicU64,
    /// From capture's hand to the broker's answer; not of each, since not each is asked for.
    pub latency: Latency,
}

/// Whether payloads get to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// No connection yet.
    Connecting,
    /// They do.
    Publishing {
        /// To which one.
        broker: String,
    },
    /// The broker is there and takes none.
    Blocked {
        /// Which one.
        broker: String,
        /// What it says: what it is short of.
        reason: String,
    },
    /// No connection.
    Away {
        /// Why.
        reason: String,
    },
}

impl Exchange {
    /// An exchange that nothing was handed over to.
    #[must_use]
    pub fn new(name: String, brokers: Addresses) -> Self {
        Self {
            name,
            brokers,
            counters: Counters::default(),
            health: Mutex::new(Health::Connecting),
            handoff: Handoff::default(),
            outlet: Mutex::default(),
        }
    }

    /// Whether payloads get to the broker now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.lock().clone()
    }

    fn set_health(&self, health: Health) {
        *self.lock() = health;
    }

    /// Sends a payload if the line is free, nobody else is at it, and no older one waits. Whether it did;
    /// never blocks.
    fn send_at_once(&self, payload: &Payload) -> bool {
        let outlet = self.outlet.try_lock();
        let (Ok(mut outlet), true) = (outlet, self.handoff.is_empty()) else {
            return false;
        };
        let now = SystemClock.monotonic();
        (outlet.as_mut()).is_some_and(|outlet| outlet.send_at_once(payload, now))
    }

    /// For those who may wait for the other one at it.
    fn outlet(&self) -> MutexGuard<'_, Option<Outlet>> {
        self.outlet
            .lock()
            .expect("no thread panics while holding this")
    }

    /// `None` while there is no connection.
    fn with_outlet<T>(&self, act: impl FnOnce(&mut Outlet) -> T) -> Option<T> {
        self.outlet().as_mut().map(act)
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health
            .lock()
            .expect("no thread panics while holding this")
    }
}

/// The writing end. There is one for each exchange.
#[derive(Debug)]
pub struct Publisher(Arc<Exchange>);

impl Publisher {
    /// The end through which capture hands over to `exchange`.
    #[must_use]
    pub const fn new(exchange: Arc<Exchange>) -> Self {
        Self(exchange)
    }
}

impl Publish for Publisher {
    fn publish(&mut self, payload: Arc<Payload>) {
        let counters = &self.0.counters;
        counters.handed_over.fetch_add(1, Ordering::Relaxed);
        if self.0.send_at_once(&payload) {
            return;
        }
        if self.0.handoff.put(payload).is_some() {
            counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Starts the thread `exchange`, which publishes what is handed over until the word to end; none if
/// there is nothing to publish to.
///
/// # Errors
/// If the system gives no thread or no readiness queue.
pub fn spawn(
    exchanges: Vec<Arc<Exchange>>,
    shutdown: &Shutdown,
) -> io::Result<Option<JoinHandle<()>>> {
    if exchanges.is_empty() {
        return Ok(None);
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let until = shutdown.clone();
    let publish_all = async move {
        let mut links = JoinSet::new();
        for exchange in exchanges {
            links.spawn(link::run(exchange, until.clone()));
        }
        while let Some(ended) = links.join_next().await {
            if let Err(Ok(panic)) = ended.map_err(JoinError::try_into_panic) {
                resume_unwind(panic);
            }
        }
    };
    let run = move || {
        runtime.block_on(publish_all);
        // A name that is still being resolved is not waited for.
        runtime.shutdown_background();
    };
    vital::spawn("exchange".to_owned(), shutdown, run).map(Some)
}
