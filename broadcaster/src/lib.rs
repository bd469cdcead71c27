//! The broadcaster: a camera for each channel in, any number of viewers out.
//!
//! The modules stand in the order in which a frame passes them:
//! [`capture`] → [`encode`] → [`fanout`] → ring → [`egress`].

pub mod args;
pub mod beat;
pub mod capture;
pub mod channel;
pub mod config;
pub mod egress;
pub mod encode;
pub mod fanout;
pub mod history;
pub mod journal;
pub mod vital;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use common::{Budget, Clock, Shutdown, SystemClock, ring};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::capture::Feed;
use crate::channel::{Channel, Channels, Sources};
use crate::config::{ChannelConfig, Config};
use crate::egress::accept::{self, Door};
use crate::egress::admission::{Admission, Limits};
use crate::egress::metrics::{Counted, Metrics};
use crate::egress::pages::{Backstage, Pages};
use crate::egress::register::Register;
use crate::egress::viewer::STALL_LIMIT;
use crate::egress::viewer::socket::Lobby;
use crate::egress::{Driver, Protocol};
use crate::fanout::exchange::{self, Exchange};
use crate::fanout::{Models, Payloader};
use crate::history::History;
use crate::journal::Journal;

/// Connections the kernel keeps for the door while it is busy.
const LISTEN_BACKLOG: u32 = 4096;

/// Descriptors kept free for listeners, sources, handshakes and pages.
const OWN_DESCRIPTORS: usize = 64;

/// Payloads in a ring that has no viewers: what is said about the channel needs no more.
const NEWEST_ONLY: usize = 2;

/// Why the broadcaster does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Arguments that cannot be carried out.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// An address that cannot be listened on.
    #[error("{what} {addr}: {error}{}", hint(error))]
    Bind {
        /// The argument's name.
        what: &'static str,
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system gives no thread or no readiness queue.
    #[error("not started: {0}")]
    System(#[from] io::Error),
    /// A bug of ours has ended what nothing goes on without.
    #[error("ended by a bug in thread {thread}; what it said stands above")]
    Panicked {
        /// Its name.
        thread: String,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there, choose another port or 0",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges",
        _ => "",
    }
}

impl Error {
    /// What the program exits with: 2 for what the user has to mend, 1 for what may pass.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Bind { .. } | Self::System(_) | Self::Panicked { .. } => 1,
        }
    }
}

/// A broadcaster whose sources are open and whose sockets are bound, ready to run.
#[derive(Debug)]
pub struct Broadcaster {
    config: Config,
    /// What each channel shows, in the order of the configuration.
    feeds: Vec<Feed>,
    runtime: Runtime,
    http: TcpListener,
    /// `None` if there are no viewers here.
    tcp: Option<TcpListener>,
    /// Descriptors left for viewers.
    descriptors: usize,
    /// The log's last lines.
    journal: Journal,
}

impl Broadcaster {
    /// Opens the sources and binds all sockets, so that whatever can fail has failed.
    ///
    /// # Errors
    /// A source that cannot work, or an address that cannot be bound.
    pub fn bind(config: Config) -> Result<Self, Error> {
        let descriptors = raise_descriptor_limit().saturating_sub(OWN_DESCRIPTORS);
        let feeds = config.channels.iter().enumerate().map(|(place, channel)| {
            let feed = capture::open(channel);
            feed.map_err(|error| config.place(error.into(), place))
        });
        let feeds = feeds.collect::<Result<_, _>>()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("door")
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let http = listen("--http", config.http)?;
        let tcp = config.has_ring.then(|| listen("--tcp", config.tcp));
        let tcp = tcp.transpose()?;
        drop(guard);
        warn_if_open([&http].into_iter().chain(&tcp));
        Ok(Self {
            config,
            feeds,
            runtime,
            http,
            tcp,
            descriptors,
            journal: Journal::default(),
        })
    }

    /// Has the status tell the log lines that are kept there.
    #[must_use]
    pub fn with_journal(self, journal: Journal) -> Self {
        Self { journal, ..self }
    }

    /// Where browsers and MJPEG clients connect: the real address, also if port 0 was asked for.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
            .local_addr()
            .expect("a bound socket has an address")
    }

    /// Where native receivers connect, if they can.
    #[must_use]
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        let addr = self.tcp.as_ref()?.local_addr();
        Some(addr.expect("a bound socket has an address"))
    }

    /// What is served and where, for people and scripts: some lines a channel, the default one first.
    #[must_use]
    pub fn summary(&self) -> String {
        let (http, tcp) = (self.http_addr(), self.tcp_addr());
        let mut page = "/".to_owned();
        let mut summary = String::new();
        for (channel, feed) in self.config.channels.iter().zip(&self.feeds) {
            let (name, source) = (&channel.name, feed.description());
            if !summary.is_empty() {
                page = format!("/watch/{name}");
            }
            summary += &format!("source  {source}\npage    http://{http}{page}\n");
            if let Some(tcp) = tcp {
                summary += &format!("stream  http://{http}/live/{name}.mjpeg\n");
                summary += &format!("native  tcp://{tcp}/{name}\n");
            }
            if let Some(brokers) = &self.config.brokers {
                summary += &format!("amqp    {brokers}?exchange={}\n", channel.exchange);
            }
        }
        summary
    }

    /// Runs until `shutdown`, then ends everything it started.
    ///
    /// # Errors
    /// When the system gives no thread or no readiness queue.
    pub fn run(self, shutdown: &Shutdown) -> Result<(), Error> {
        let budget = Budget::new(self.config.memory_budget);
        // The other half is for viewers that hold frames the rings have let go of.
        let share = budget.limit() / self.feeds.len() as u64;
        let starts = self.config.channels.iter().zip(self.feeds);
        let starts: Vec<_> = starts
            .map(|(channel, feed)| Start::new(channel, feed, share, &self.config))
            .collect();
        let channels = starts.iter().map(|start| start.channel.clone());
        let channels = Channels::new(channels.collect());
        let (driver, workers) = Driver::start(self.config.driver, &channels, &budget, shutdown)?;
        let histories = channels.iter().map(|one| history::spawn(one, shutdown));
        let histories = histories.collect::<io::Result<Vec<_>>>()?;
        let exchanges = channels.iter().filter_map(|one| one.exchange.clone());
        let exchanges = exchange::spawn(exchanges.collect(), shutdown)?;
        let captures = starts.into_iter().map(|start| start.run(&budget, shutdown));
        let captures = captures.collect::<io::Result<Vec<_>>>()?;
        let limits = Limits {
            viewers: self.config.max_viewers.unwrap_or(self.descriptors),
            per_address: self.config.max_viewers_per_address,
        };
        let lobby = Arc::new(Lobby {
            channels: channels.clone(),
            max_age: self.config.max_age,
            model: self.config.model_name(),
            driver: self.config.driver.name(),
        });
        let allow_origin = self.config.allow_origin;
        let admission = Arc::new(Admission::new(limits, budget.clone()));
        let register = Arc::new(Register::default());
        let backstage = Backstage {
            budget,
            register: register.clone(),
            journal: self.journal,
            model: lobby.model,
            driver: lobby.driver,
            started: SystemClock.monotonic(),
        };
        let door = Arc::new(Door {
            pages: pages(channels, backstage, &admission, allow_origin.as_deref()),
            register,
            admission,
            lobby,
            driver,
            stall_limit: STALL_LIMIT,
            unsent_limit: self.config.unsent_limit,
            allow_origin,
        });
        let mut doors = JoinSet::new();
        let http = accept::serve(self.http, door.clone(), Protocol::Http, shutdown.clone());
        doors.spawn_on(http, self.runtime.handle());
        if let Some(tcp) = self.tcp {
            let tcp = accept::serve(tcp, door, Protocol::Tcp, shutdown.clone());
            doors.spawn_on(tcp, self.runtime.handle());
        }
        let is_door_broken = self.runtime.block_on(vital::attend(doors, shutdown));
        info!("ending");
        self.runtime.shutdown_background();
        let histories = histories.into_iter().flatten();
        let threads = captures.into_iter().chain(exchanges).chain(workers);
        let door = is_door_broken.then(|| "door".to_owned());
        match vital::join(threads.chain(histories)).or(door) {
            Some(thread) => Err(Error::Panicked { thread }),
            None => Ok(()),
        }
    }
}

/// The pages, with the metrics of what they tell about.
fn pages(
    channels: Channels,
    backstage: Backstage,
    admission: &Arc<Admission>,
    allow_origin: Option<&str>,
) -> Pages {
    let metrics = Metrics::new(Counted {
        channels: channels.clone(),
        budget: backstage.budget.clone(),
        admission: admission.clone(),
        model: backstage.model,
        driver: backstage.driver,
    });
    Pages::new(channels, backstage, allow_origin).with_metrics(metrics)
}

/// A channel about to start: its ring is there, and nobody writes yet.
struct Start {
    channel: Arc<Channel>,
    feed: Feed,
    payloader: Payloader<Models>,
}

impl Start {
    /// `share` is the channel's part of the memory budget: half of it for the ring, a quarter for
    /// the history, though both mostly hold the same frames.
    fn new(config: &ChannelConfig, feed: Feed, share: u64, program: &Config) -> Self {
        let capacity = if program.has_ring {
            config.ring_capacity
        } else {
            NEWEST_ONLY
        };
        let (ring_publisher, ring) = ring::bounded(capacity, share / 2);
        let exchange = program.brokers.clone().map(|brokers| {
            let exchange = Exchange::new(config.exchange.clone(), brokers);
            Arc::new(exchange)
        });
        let models = Models {
            ring: ring_publisher,
            exchange: exchange.clone().map(exchange::Publisher::new),
        };
        let channel = Channel {
            format: feed.format(),
            interval: config.interval,
            on_demand: config.on_demand,
            history: config.history.map(|span| History::new(span, share / 4)),
            exchange,
            has_viewers: program.has_ring,
            sources: Sources::new(config.source_names.clone()),
            ..Channel::new(&config.name, SystemClock.wall().as_nanos(), ring)
        };
        Self {
            channel: Arc::new(channel),
            feed,
            payloader: Payloader::new(models, config.frames_per_payload),
        }
    }

    /// Starts the capture thread.
    fn run(self, budget: &Budget, shutdown: &Shutdown) -> io::Result<JoinHandle<()>> {
        let Self {
            channel,
            feed,
            payloader,
        } = self;
        capture::spawn(feed, channel, budget.clone(), payloader, shutdown)
    }
}

/// Whoever opens the program to others shall know it.
fn warn_if_open<'a>(listeners: impl Iterator<Item = &'a TcpListener>) {
    for addr in listeners.filter_map(|listener| listener.local_addr().ok()) {
        if !addr.ip().is_loopback() {
            warn!("--open: everybody who can reach {addr} can watch");
        }
    }
}

fn listen(what: &'static str, addr: SocketAddr) -> Result<TcpListener, Error> {
    let bind = || {
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(LISTEN_BACKLOG)
    };
    bind().map_err(|error| Error::Bind { what, addr, error })
}

/// Every viewer is a descriptor, and the soft limit is often 1024. Returns the limit now in force.
fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            warn!(%error, limit = current, "descriptor limit not raised");
            current
        }
    };
    in_force
        .and_then(|limit| limit.try_into().ok())
        .unwrap_or(usize::MAX)
}
