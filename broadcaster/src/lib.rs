//! The broadcaster: one camera in, any number of viewers out.
//!
//! The modules stand in the order in which a frame passes them:
//! [`capture`] → [`encode`] → [`fanout`] → ring → [`egress`].

pub mod args;
pub mod capture;
pub mod channel;
pub mod config;
pub mod egress;
pub mod encode;
pub mod fanout;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use common::{Budget, Clock, Shutdown, SystemClock, ring};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tracing::{info, warn};

use crate::capture::Opened;
use crate::channel::{Channel, Counters};
use crate::config::Config;
use crate::egress::accept::{self, Door};
use crate::egress::admission::{Admission, Limits};
use crate::egress::pages::Pages;
use crate::egress::{Driver, Protocol};
use crate::fanout::Payloader;

/// Connections the kernel keeps for the door while it is busy.
const LISTEN_BACKLOG: u32 = 4096;

/// Descriptors kept free for listeners, sources, handshakes and pages.
const OWN_DESCRIPTORS: usize = 64;

/// Why the broadcaster does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Arguments that cannot be carried out.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// A source that will never work.
    #[error("--source {0}")]
    Source(#[from] capture::Error),
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
            Self::Config(_) | Self::Source(_) => 2,
            Self::Bind { .. } | Self::System(_) => 1,
        }
    }
}

/// A broadcaster whose source is open and whose sockets are bound, ready to run.
#[derive(Debug)]
pub struct Broadcaster {
    config: Config,
    opened: Opened,
    runtime: Runtime,
    http: TcpListener,
    tcp: TcpListener,
    /// Descriptors left for viewers.
    descriptors: usize,
}

impl Broadcaster {
    /// Opens the source and binds all sockets, so that whatever can fail has failed.
    ///
    /// # Errors
    /// A source that cannot work, or an address that cannot be bound.
    pub fn bind(config: Config) -> Result<Self, Error> {
        let descriptors = raise_descriptor_limit().saturating_sub(OWN_DESCRIPTORS);
        let opened = capture::open(&config.channel)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("door")
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let http = listen("--http", config.http)?;
        let tcp = listen("--tcp", config.tcp)?;
        drop(guard);
        Ok(Self {
            config,
            opened,
            runtime,
            http,
            tcp,
            descriptors,
        })
    }

    /// Where browsers and MJPEG clients connect: the real address, also if port 0 was asked for.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
            .local_addr()
            .expect("a bound socket has an address")
    }

    /// Where native receivers connect.
    #[must_use]
    pub fn tcp_addr(&self) -> SocketAddr {
        self.tcp
            .local_addr()
            .expect("a bound socket has an address")
    }

    /// What is served and where, one line each, for people and scripts.
    #[must_use]
    pub fn summary(&self) -> String {
        let (name, http, tcp) = (&self.config.channel.name, self.http_addr(), self.tcp_addr());
        format!(
            "source  {}\npage    http://{http}/\nstream  http://{http}/live/{name}.mjpeg\n\
             native  tcp://{tcp}/{name}\n",
            self.opened.description
        )
    }

    /// Runs until `shutdown`, then ends everything it started.
    ///
    /// # Errors
    /// When the system gives no thread or no readiness queue.
    pub fn run(self, shutdown: &Shutdown) -> Result<(), Error> {
        let channel_config = &self.config.channel;
        let budget = Budget::new(self.config.memory_budget);
        // The other half is for viewers that hold frames the ring has let go of.
        let ring_bytes = budget.limit() / 2;
        let (publisher, ring) = ring::bounded(channel_config.ring_capacity, ring_bytes);
        let channel = Arc::new(Channel {
            name: channel_config.name.clone(),
            epoch: SystemClock.wall().as_nanos(),
            format: self.opened.format(),
            interval: channel_config.interval,
            ring,
            counters: Counters::default(),
        });
        let (driver, workers) = Driver::start(self.config.driver, &channel, &budget, shutdown)?;
        let payloader = Payloader::new(publisher, channel_config.frames_per_payload);
        let capture = capture::spawn(
            self.opened,
            channel.clone(),
            budget.clone(),
            payloader,
            shutdown,
        )?;
        let allow_origin = self.config.allow_origin;
        let limits = Limits {
            viewers: self.config.max_viewers.unwrap_or(self.descriptors),
            per_address: self.config.max_viewers_per_address,
        };
        let door = Arc::new(Door {
            pages: Pages::new(channel.clone(), budget.clone(), allow_origin.as_deref()),
            admission: Arc::new(Admission::new(limits, budget)),
            channel,
            driver,
            max_age: self.config.max_age,
            unsent_limit: self.config.unsent_limit,
            allow_origin,
        });
        let http = accept::serve(self.http, door.clone(), Protocol::Http, shutdown.clone());
        let tcp = accept::serve(self.tcp, door, Protocol::Tcp, shutdown.clone());
        self.runtime.spawn(http);
        self.runtime.spawn(tcp);
        self.runtime.block_on(shutdown.triggered());
        info!("ending");
        self.runtime.shutdown_background();
        if capture.join().is_err() {
            warn!("the capture thread panicked");
        }
        for worker in workers {
            if worker.join().is_err() {
                warn!("a thread of the driver panicked");
            }
        }
        Ok(())
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
