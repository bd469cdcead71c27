//! What will be done: arguments checked, defaults filled in, units attached.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::wire::MAX_CHANNEL;
use common::{Frame, Payload};

use crate::args::{Args, Driver, LogFormat};

mod units;

pub use units::parse_duration;

/// Widest and highest picture.
const MAX_SIDE: u16 = 16_384;
const MAX_FPS: f64 = 1_000.0;
const MAX_RING: usize = 1 << 16;
const MAX_WORKERS: usize = 256;
/// Unsent bytes the kernel may hold for a viewer. On a link of 1.2 Mbit/s frames were 0.4 s old with
/// this, 0.9 s with 128 KiB, and the CPU was the same (`scripts/measure-unsent`).
const UNSENT_LIMIT: &str = "16KiB";
/// Below this not even a few frames of a small camera fit.
const MIN_BUDGET: u64 = 1_000_000;

/// Everything the broadcaster needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The channels, at least one, with names that differ; the first is the default one.
    pub channels: Vec<ChannelConfig>,
    /// Where browsers and MJPEG clients connect.
    pub http: SocketAddr,
    /// Where native receivers connect.
    pub tcp: SocketAddr,
    /// What moves the bytes of the ring's viewers.
    pub driver: DriverConfig,
    /// Payloads older than this are skipped for a viewer if there is a newer one.
    pub max_age: Duration,
    /// Unsent bytes the kernel may hold for a viewer (`TCP_NOTSENT_LOWAT`).
    pub unsent_limit: u32,
    /// Bytes that frames may hold.
    pub memory_budget: u64,
    /// Most viewers together; `None`: as many as there can be descriptors.
    pub max_viewers: Option<usize>,
    /// Most viewers from one address.
    pub max_viewers_per_address: usize,
    /// Sent as `Access-Control-Allow-Origin` with streams and stills.
    pub allow_origin: Option<String>,
    /// What is logged, as a tracing filter.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// What moves the bytes of the ring's viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverConfig {
    /// Event loops that share the viewers.
    Multiplex {
        /// How many.
        workers: usize,
    },
    /// A thread for each viewer.
    Threads,
}

/// What a channel shows and how.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// `[a-z0-9][a-z0-9_-]{0,63}`.
    pub name: String,
    /// Where frames come from.
    pub source: SourceConfig,
    /// Width and height in pixels, for sources that can choose.
    pub size: (u16, u16),
    /// Time between frames.
    pub interval: Duration,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Frames in a payload, 1 to 64.
    pub frames_per_payload: usize,
    /// Payloads in the ring.
    pub ring_capacity: usize,
}

/// Where frames come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceConfig {
    /// The best there is on this machine.
    Auto,
    /// The test pattern, padded to a fixed number of bytes if one is given.
    Pattern {
        /// Exact bytes of every frame.
        bytes: Option<usize>,
    },
    /// A file of JPEGs, or a folder of such files.
    File(PathBuf),
}

/// Why the arguments cannot be carried out. All of these are for the user to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value outside what it may be.
    #[error("{what} {value}: {right}")]
    Value {
        /// The argument's name.
        what: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        right: String,
    },
    /// A file that is not there.
    #[error(
        "--source {0}: no such file or folder; sources are auto, pattern[?bytes=N], \
         a .mjpeg or .jpg file, or a folder of JPEGs"
    )]
    NoSuchSource(String),
    /// A kind of source that belongs to the design but not to this version.
    #[error("--source {0}: this version cannot do that yet; use auto, pattern, a file or a folder")]
    SourceNotYet(String),
    /// An address that others could reach, without saying so.
    #[error(
        "{what} {addr}: others can reach this address and watch; add --open to allow that, \
         or use 127.0.0.1"
    )]
    NotOpen {
        /// The argument's name.
        what: &'static str,
        /// What was given.
        addr: SocketAddr,
    },
}

fn wrong(what: &'static str, value: impl ToString, right: impl Into<String>) -> Error {
    Error::Value {
        what,
        value: value.to_string(),
        right: right.into(),
    }
}

impl Config {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first argument that is wrong, with what would be right.
    pub fn from_args(args: Args) -> Result<Self, Error> {
        let http = args.http.unwrap_or(([127, 0, 0, 1], 8080).into());
        let tcp = args.tcp.unwrap_or(([127, 0, 0, 1], 7400).into());
        for (what, addr) in [("--http", http), ("--tcp", tcp)] {
            if !addr.ip().is_loopback() && !args.open {
                return Err(Error::NotOpen { what, addr });
            }
        }
        let budget = args.memory_budget.as_deref().unwrap_or("256MB");
        let memory_budget = units::parse_bytes(budget).filter(|&bytes| bytes >= MIN_BUDGET);
        let Some(memory_budget) = memory_budget else {
            let right = format!("a size such as 256MB or 64MiB, at least {MIN_BUDGET} bytes");
            return Err(wrong("--memory-budget", budget, right));
        };
        let unsent = args.unsent_limit.as_deref().unwrap_or(UNSENT_LIMIT);
        let unsent_limit = units::parse_bytes(unsent).and_then(|bytes| bytes.try_into().ok());
        let Some(unsent_limit) = unsent_limit else {
            let right = "a size such as 128KiB, below 4 GiB";
            return Err(wrong("--unsent-limit", unsent, right));
        };
        let origin = args.allow_origin.as_deref().unwrap_or_default();
        if !origin.chars().all(|char| char.is_ascii_graphic()) {
            let right = "an origin like https://example.org, or *";
            return Err(wrong("--allow-origin", origin, right));
        }
        Ok(Self {
            channels: vec![ChannelConfig::from_args(&args)?],
            http,
            tcp,
            driver: DriverConfig::from_args(&args)?,
            max_age: args.max_age.unwrap_or(Duration::from_millis(250)),
            unsent_limit,
            memory_budget,
            max_viewers: args.max_viewers,
            max_viewers_per_address: args.max_viewers_per_address.unwrap_or(usize::MAX),
            allow_origin: args.allow_origin,
            log: args.log.unwrap_or_else(|| "info".to_owned()),
            log_format: args.log_format.unwrap_or_default(),
        })
    }
}

impl DriverConfig {
    fn from_args(args: &Args) -> Result<Self, Error> {
        match (args.driver.unwrap_or_default(), args.workers) {
            (Driver::Threads, None) => Ok(Self::Threads),
            (Driver::Threads, Some(workers)) => {
                let right = "the threads driver has no workers; leave it out";
                Err(wrong("--workers", workers, right))
            }
            (Driver::Multiplex, workers) => {
                let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
                let workers = workers.unwrap_or_else(cores);
                within("--workers", workers, 1, MAX_WORKERS)?;
                Ok(Self::Multiplex { workers })
            }
        }
    }
}

impl ChannelConfig {
    fn from_args(args: &Args) -> Result<Self, Error> {
        let name = args.channel.clone().unwrap_or_else(|| "main".to_owned());
        if !is_channel_name(&name) {
            let right = "a name of a-z, 0-9, _ and -, beginning with a letter or digit, at most 64";
            return Err(wrong("--channel", name, right));
        }
        let fps = args.fps.unwrap_or(30.0);
        if !(fps > 0.0 && fps <= MAX_FPS) {
            return Err(wrong("--fps", fps, format!("above 0, at most {MAX_FPS}")));
        }
        let quality = args.quality.unwrap_or(80);
        within("--quality", quality.into(), 1, 100)?;
        let frames_per_payload = args.frames_per_payload.unwrap_or(1);
        within(
            "--frames-per-payload",
            frames_per_payload,
            1,
            Payload::MAX_FRAMES,
        )?;
        let ring_capacity = args.ring_capacity.unwrap_or(64);
        within("--ring-capacity", ring_capacity, 2, MAX_RING)?;
        Ok(Self {
            name,
            source: SourceConfig::parse(args.source.as_deref().unwrap_or("auto"))?,
            size: args.size.as_deref().map_or(Ok((640, 480)), parse_size)?,
            interval: Duration::from_secs_f64(1.0 / fps),
            quality,
            frames_per_payload,
            ring_capacity,
        })
    }

    /// Frames a second.
    #[must_use]
    pub fn fps(&self) -> f64 {
        1.0 / self.interval.as_secs_f64()
    }
}

impl SourceConfig {
    fn parse(text: &str) -> Result<Self, Error> {
        let (kind, query) = text.split_once('?').unwrap_or((text, ""));
        match kind {
            "auto" if query.is_empty() => Ok(Self::Auto),
            "pattern" => Ok(Self::Pattern {
                bytes: parse_pattern_query(text, query)?,
            }),
            _ if Path::new(text).exists() => Ok(Self::File(text.into())),
            _ if is_future_source(text) => Err(Error::SourceNotYet(text.to_owned())),
            _ => Err(Error::NoSuchSource(text.to_owned())),
        }
    }
}

fn is_future_source(text: &str) -> bool {
    let kind = text.split([':', '?']).next().unwrap_or_default();
    matches!(kind, "webcam" | "http" | "tcp" | "amqp" | "amqps")
}

fn parse_pattern_query(text: &str, query: &str) -> Result<Option<usize>, Error> {
    if query.is_empty() {
        return Ok(None);
    }
    let bytes = query.strip_prefix("bytes=").and_then(|n| n.parse().ok());
    match bytes {
        Some(bytes) if (1..=Frame::MAX_BYTES).contains(&bytes) => Ok(Some(bytes)),
        _ => {
            let right = format!("pattern?bytes=N with N from 1 to {}", Frame::MAX_BYTES);
            Err(wrong("--source", text, right))
        }
    }
}

fn parse_size(text: &str) -> Result<(u16, u16), Error> {
    let sides = text.split_once(['x', 'X']);
    let parsed = sides.and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match parsed {
        Some((width, height))
            if (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height) =>
        {
            Ok((width, height))
        }
        _ => {
            let right = format!("WIDTHxHEIGHT such as 1280x720, each from 1 to {MAX_SIDE}");
            Err(wrong("--size", text, right))
        }
    }
}

fn within(what: &'static str, value: usize, least: usize, most: usize) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(wrong(what, value, format!("from {least} to {most}")))
    }
}

fn is_channel_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let begins_well = name.bytes().next().is_some_and(is_plain);
    begins_well
        && name.len() <= MAX_CHANNEL
        && name
            .bytes()
            .all(|byte| is_plain(byte) || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn config(line: &str) -> Result<Config, Error> {
        let words = std::iter::once("broadcaster").chain(line.split_whitespace());
        Config::from_args(Args::try_parse_from(words).unwrap())
    }

    fn complaint(line: &str) -> String {
        config(line).unwrap_err().to_string()
    }

    #[test]
    fn nothing_typed_gives_the_documented_defaults() {
        let config = config("").unwrap();
        assert_eq!(config.http.to_string(), "127.0.0.1:8080");
        assert_eq!(config.tcp.to_string(), "127.0.0.1:7400");
        let [main] = &*config.channels else {
            panic!("not one channel");
        };
        assert_eq!(main.name, "main");
        assert_eq!(main.size, (640, 480));
        assert_eq!(main.source, SourceConfig::Auto);
        assert_eq!(config.max_age, Duration::from_millis(250));
    }

    #[test]
    fn every_complaint_says_what_would_be_right() {
        for (line, part) in [
            ("--size 640", "--size 640: WIDTHxHEIGHT"),
            ("--size 0x480", "each from 1 to 16384"),
            ("--fps 0", "--fps 0: above 0"),
            ("--fps NaN", "--fps NaN: above 0"),
            ("--quality 101", "--quality 101: from 1 to 100"),
            ("--workers 0", "--workers 0: from 1 to 256"),
            ("--memory-budget lots", "a size such as 256MB"),
            ("--memory-budget 10", "at least 1000000 bytes"),
            ("--driver threads --workers 2", "has no workers"),
            ("--channel Main", "--channel Main: a name of a-z"),
            ("--frames-per-payload 65", "from 1 to 64"),
            ("--ring-capacity 1", "from 2 to 65536"),
            ("--source nowhere.mjpeg", "no such file or folder"),
            ("--source webcam:0", "cannot do that yet"),
            ("--source pattern?bytes=0", "pattern?bytes=N with N from 1"),
            ("--source pattern?size=9", "pattern?bytes=N with N from 1"),
            ("--http 0.0.0.0:80", "add --open"),
            ("--tcp [::]:7400", "add --open"),
        ] {
            let complaint = complaint(line);
            assert!(complaint.contains(part), "{line}: {complaint}");
        }
    }

    #[test]
    fn sources_are_told_apart() {
        let source = |text: &str| SourceConfig::parse(text).unwrap();
        assert_eq!(source("pattern"), SourceConfig::Pattern { bytes: None });
        let padded = SourceConfig::Pattern { bytes: Some(8000) };
        assert_eq!(source("pattern?bytes=8000"), padded);
        assert_eq!(source("src"), SourceConfig::File("src".into()));
    }

    #[test]
    fn the_open_flag_opens() {
        assert!(config("--http 0.0.0.0:80 --open").is_ok());
        assert!(config("--http [::1]:80").is_ok());
    }
}
