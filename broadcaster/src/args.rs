//! What was typed, unchecked: every value is optional here. Defaults and checks are in `config`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Sends one camera to any number of viewers.
#[derive(Debug, Clone, Default, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Args {
    /// Where frames come from: auto, pattern, pattern?bytes=N, a .mjpeg or .jpg file, or a folder
    /// of JPEGs [default: auto]
    ///
    /// auto takes the first webcam, else the test pattern, and says which. The test pattern shows
    /// its sequence number and capture time as digits and as a bar code; with ?bytes=N every frame
    /// has exactly N bytes. Files are read once and looped at --fps.
    #[arg(long, value_name = "SRC", env = "FRAMECAST_SOURCE")]
    pub source: Option<String>,

    /// Size of the test pattern [default: 640x480]
    #[arg(long, value_name = "WxH", env = "FRAMECAST_SIZE")]
    pub size: Option<String>,

    /// Frames a second, fractions allowed [default: 30]
    #[arg(long, value_name = "N", env = "FRAMECAST_FPS")]
    pub fps: Option<f64>,

    /// JPEG quality of encoded pictures, 1 to 100 [default: 80]
    #[arg(long, value_name = "Q", env = "FRAMECAST_QUALITY")]
    pub quality: Option<u8>,

    /// How frames are handed to viewers [default: ring]
    #[arg(long, value_name = "MODEL", env = "FRAMECAST_MODEL")]
    pub model: Option<Model>,

    /// What moves the bytes of the ring's viewers [default: multiplex]
    #[arg(long, value_name = "DRIVER", env = "FRAMECAST_DRIVER")]
    pub driver: Option<Driver>,

    /// Event loops of the multiplex driver [default: one for each core]
    #[arg(long, value_name = "N", env = "FRAMECAST_WORKERS")]
    pub workers: Option<usize>,

    /// Address for browsers and MJPEG clients; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "FRAMECAST_HTTP")]
    pub http: Option<SocketAddr>,

    /// Address for native receivers; port 0 takes a free one [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR", env = "FRAMECAST_TCP")]
    pub tcp: Option<SocketAddr>,

    /// Allow addresses off loopback: whoever reaches them can watch
    #[arg(long, env = "FRAMECAST_OPEN", value_parser = clap::builder::FalseyValueParser::new())]
    pub open: bool,

    /// Channel name: a-z, 0-9, _ and -, at most 64 [default: main]
    #[arg(long, value_name = "NAME", env = "FRAMECAST_CHANNEL")]
    pub channel: Option<String>,

    /// Frames handed on together, 1 to 64 [default: 1]
    #[arg(long, value_name = "N", env = "FRAMECAST_FRAMES_PER_PAYLOAD")]
    pub frames_per_payload: Option<usize>,

    /// Payloads the ring holds, rounded up to a power of two [default: 64]
    #[arg(long, value_name = "N", env = "FRAMECAST_RING_CAPACITY")]
    pub ring_capacity: Option<usize>,

    /// Older frames are skipped for a slow viewer if there is a newer one [default: 250ms]
    #[arg(long, value_name = "D", env = "FRAMECAST_MAX_AGE", value_parser = crate::config::parse_duration)]
    pub max_age: Option<Duration>,

    /// Memory that frames may hold, in the ring and by slow viewers [default: 256MB]
    ///
    /// Above it newcomers are turned away for a while and the viewer that has stalled longest is
    /// closed.
    #[arg(long, value_name = "SIZE", env = "FRAMECAST_MEMORY_BUDGET")]
    pub memory_budget: Option<String>,

    /// Unsent bytes the kernel may hold for a viewer, for measuring [default: 16KiB]
    #[arg(long, value_name = "SIZE", hide = true)]
    pub unsent_limit: Option<String>,

    /// Most viewers at once [default: what the limit of open files allows]
    #[arg(long, value_name = "N", env = "FRAMECAST_MAX_VIEWERS")]
    pub max_viewers: Option<usize>,

    /// Most viewers at once from one address [default: no limit of its own]
    #[arg(long, value_name = "N", env = "FRAMECAST_MAX_VIEWERS_PER_ADDRESS")]
    pub max_viewers_per_address: Option<usize>,

    /// Origin whose pages may read the streams (* for any): sent as Access-Control-Allow-Origin
    #[arg(long, value_name = "ORIGIN", env = "FRAMECAST_ALLOW_ORIGIN")]
    pub allow_origin: Option<String>,

    /// error, warn, info, debug or trace; or per module as in tracing's filters [default: info]
    #[arg(long, value_name = "LEVEL", env = "FRAMECAST_LOG")]
    pub log: Option<String>,

    /// How log lines look [default: human]
    #[arg(long, value_name = "FORMAT", env = "FRAMECAST_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl Args {
    /// What this process was started with. Ends the process after `--help` or a typing error.
    #[must_use]
    pub fn from_command_line() -> Self {
        Self::parse()
    }
}

/// How frames are handed to viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// A lock-free ring inside this process
    Ring,
}

/// What moves the bytes of the ring's viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Driver {
    /// A few event loops, each with its share of the viewers
    #[default]
    Multiplex,
    /// A thread for each viewer
    Threads,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Human,
    /// One JSON object a line
    Json,
}

const EXAMPLES: &str = "\
Examples:
  broadcaster                                   the first webcam, else the test pattern
  broadcaster --source pattern --size 1280x720 --fps 60
  broadcaster --source footage.mjpeg --fps 25
  broadcaster --http 0.0.0.0:8080 --open        for everybody who can reach this machine

Watch it: open the printed page in a browser, or run: receiver tcp://127.0.0.1:7400";
