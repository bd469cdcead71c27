//! The model `rabbitmq` as a pair: a publisher, a real broker, and the receiver at the other end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use broadcaster::fanout::Publish;
use broadcaster::fanout::exchange::{self, Exchange, Health, Publisher};
use common::{Payload, Shutdown};

use crate::broker;
use crate::hall::PATIENCE;
use crate::pairs::{Bundles, End, Keys, Model, Pair, Skips, Start, Traits, connected};

/// A fanout exchange that no other test has.
pub(crate) struct ThroughExchange;

impl Pair for ThroughExchange {
    fn traits(&self) -> Traits {
        Traits {
            skips: Skips::Gaps,
            // The formats there are have no others, and a queue could not tell them apart.
            keys: Keys::Every,
            bundles: Bundles::Kept,
            end: End::Pause,
            start: Start::Next,
        }
    }

    fn open(&self) -> Option<Model> {
        if !broker::is_here() {
            return None;
        }
        let (url, broker) = broker::shared();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let name = format!("framecast.test-{}-{now}", std::process::id());
        let exchange = Arc::new(Exchange::new(name.clone(), url.parse().unwrap()));
        let shutdown = Shutdown::default();
        let thread = exchange::spawn(vec![exchange.clone()], &shutdown).unwrap();
        wait_until(|| matches!(exchange.health(), Health::Publishing { .. }));
        let publisher = Writing {
            publisher: Publisher::new(exchange.clone()),
            exchange: exchange.clone(),
            shutdown,
            thread,
        };
        Some(Model {
            publisher: Box::new(publisher),
            join: Box::new(move || {
                // The broker lives as long as somebody can join.
                let _ = &broker;
                Box::new(connected(&format!("{url}?exchange={name}")))
            }),
            settle: Box::new(move || settle(&exchange)),
        })
    }
}

/// A publisher whose thread ends with it.
struct Writing {
    publisher: Publisher,
    exchange: Arc<Exchange>,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Publish for Writing {
    fn publish(&mut self, payload: Arc<Payload>) {
        self.publisher.publish(payload);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !thread::panicking() {
            settle(&self.exchange);
        }
        self.shutdown.trigger();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || thread::panicking());
    }
}

/// Waits until what was handed over is confirmed or dropped.
fn settle(exchange: &Exchange) {
    let counters = &exchange.counters;
    wait_until(|| {
        let ended = counters.published.load(Ordering::Relaxed);
        let ended = ended + counters.dropped.load(Ordering::Relaxed);
        ended == counters.handed_over.load(Ordering::Relaxed)
    });
}

fn wait_until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "the broker takes too long");
        thread::sleep(Duration::from_micros(200));
    }
}
