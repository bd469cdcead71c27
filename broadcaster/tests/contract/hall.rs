//! A driver with its door and a hand that publishes: all of the broadcaster but its source.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use broadcaster::channel::{Channel, Channels};
use broadcaster::config::DriverConfig;
use broadcaster::egress::accept::{self, Door};
use broadcaster::egress::admission::{Admission, Limits};
use broadcaster::egress::metrics::{Counted, Metrics};
use broadcaster::egress::pages::{Backstage, Pages};
use broadcaster::egress::register::Register;
use broadcaster::egress::viewer::STALL_LIMIT;
use broadcaster::egress::viewer::socket::Lobby;
use broadcaster::egress::{Driver, Protocol};
use broadcaster::journal::Journal;
use common::{Budget, Clock, Shutdown, SystemClock, ring};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// Longer than anything here takes unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Never reached.
const PLACES: usize = 10_000;
const BUDGET: u64 = 1 << 30;

/// How viewers are served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) driver: DriverConfig,
    pub(crate) protocol: Protocol,
}

/// What a hall is opened with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) way: Way,
    /// Payloads in the ring.
    pub(crate) capacity: usize,
    pub(crate) max_age: Duration,
    pub(crate) stall_limit: Duration,
}

impl Rules {
    /// A ring that nobody is overtaken in, and the usual times.
    pub(crate) const fn new(way: Way) -> Self {
        Self {
            way,
            capacity: 1024,
            max_age: Duration::from_millis(250),
            stall_limit: STALL_LIMIT,
        }
    }
}

/// One channel with its viewers, ended when dropped.
pub(crate) struct Hall {
    pub(crate) http: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) budget: Budget,
    channel: Arc<Channel>,
    shutdown: Shutdown,
    runtime: Option<Runtime>,
    threads: Vec<JoinHandle<()>>,
}

impl Hall {
    /// A hall on free ports, and what is published there.
    pub(crate) fn open(rules: &Rules) -> (Self, ring::Publisher) {
        let (publisher, ring) = ring::new(rules.capacity);
        let channel = Arc::new(Channel::new("main", 1, ring));
        let channels = Channels::new(vec![channel.clone()]);
        let (budget, shutdown) = (Budget::new(BUDGET), Shutdown::default());
        let (driver, threads) =
            Driver::start(rules.way.driver, &channels, &budget, &shutdown).unwrap();
        let limits = Limits {
            viewers: PLACES,
            per_address: PLACES,
        };
        let admission = Arc::new(Admission::new(limits, budget.clone()));
        let metrics = Metrics::new(Counted {
            channels: channels.clone(),
            budget: budget.clone(),
            admission: admission.clone(),
            model: "ring",
            driver: rules.way.driver.name(),
        });
        let register = Arc::new(Register::default());
        let backstage = Backstage {
            budget: budget.clone(),
            register: register.clone(),
            journal: Journal::default(),
            model: "ring",
            driver: rules.way.driver.name(),
            started: SystemClock.monotonic(),
        };
        let door = Arc::new(Door {
            pages: Pages::new(channels.clone(), backstage, None).with_metrics(metrics),
            register,
            admission,
            lobby: Arc::new(Lobby {
                channels,
                max_age: rules.max_age,
                model: "ring",
                driver: rules.way.driver.name(),
            }),
            driver,
            stall_limit: rules.stall_limit,
            unsent_limit: 16 << 10,
            allow_origin: None,
        });
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let serve = |protocol| {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            let addr = listener.local_addr().unwrap();
            let (door, shutdown) = (door.clone(), shutdown.clone());
            runtime.spawn(accept::serve(listener, door, protocol, shutdown));
            addr
        };
        let hall = Self {
            http: serve(Protocol::Http),
            tcp: serve(Protocol::Tcp),
            budget,
            channel,
            shutdown,
            runtime: Some(runtime),
            threads,
        };
        (hall, publisher)
    }

    /// Viewers there are now.
    pub(crate) fn viewers(&self) -> usize {
        self.channel.counters.viewers.load(Ordering::Relaxed)
    }

    /// What `/metrics` says.
    pub(crate) fn metrics(&self) -> Figures {
        let mut stream = TcpStream::connect(self.http).unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        let figures = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Figures(figures.collect())
    }

    /// Says that it is over, without waiting.
    pub(crate) fn begin_to_end(&self) {
        self.shutdown.trigger();
    }

    /// Ends it; returns how long that took.
    pub(crate) fn end(mut self) -> Duration {
        self.stop()
    }

    fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        self.shutdown.trigger();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        begun.elapsed()
    }
}

/// Metrics with their labels, as they stand in the text, and their values.
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// All of a name whose labels have each of these in them, added up.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let is_meant = |text: &str| {
            let (found, rest) = text.split_once('{').unwrap_or((text, ""));
            found == name && labels.iter().all(|label| rest.contains(label))
        };
        let mut meant = self.0.iter().filter(|(text, _)| is_meant(text)).peekable();
        assert!(meant.peek().is_some(), "no {name} with {labels:?}");
        meant.map(|(_, value)| value).sum()
    }

    /// The names with their labels.
    pub(crate) fn names(&self) -> Vec<&String> {
        self.0.keys().collect()
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        self.stop();
    }
}
