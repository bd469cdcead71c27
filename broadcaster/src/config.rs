//! What will be done: all that was said is joined, checked, and given units.
//!
//! [`mod@file`] reads the configuration file, [`layers`] decides who goes before whom, [`origin`] keeps
//! where each setting comes from, [`mod@print`] writes what is in force.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use common::secrets;
use receiver::broker::{AddressError, Addresses};

use crate::args::keys::{self, Typed};
use crate::args::{Args, Driver, LogFormat, Model};
use crate::capture::relay::UpstreamError;

mod channel;
pub mod file;
pub mod layers;
pub mod origin;
pub mod print;
mod source;
mod units;

pub use channel::ChannelConfig;
use file::File;
use origin::{Origin, Settings};
pub use source::SourceConfig;
pub use units::{parse_duration, parse_hold};

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
    /// Whether viewers are served from the ring.
    pub has_ring: bool,
    /// Where the exchanges are, if there are any.
    pub brokers: Option<Addresses>,
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
    /// What was said and where, for each channel with what is about all.
    pub settings: Vec<Settings>,
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

/// Why the arguments cannot be carried out. All of these are for the user to mend.
/// Each text about a value begins with the flag and the value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file is not there or is wrong.
    #[error(transparent)]
    File(#[from] file::Error),
    /// Flags and file do not go together.
    #[error(transparent)]
    Layers(#[from] layers::Error),
    /// A source that will never work.
    #[error("--source {0}")]
    Source(#[from] crate::capture::Error),
    /// A wrong value together with the place where it was said, passwords masked.
    #[error("{0}")]
    Placed(String),
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
        "--source {0}: no such file or folder; sources are auto, \
         webcam[:INDEX or :NAME], pattern[?bytes=N], \
         a .mjpeg or .jpg file, a folder of JPEGs, http://HOST[:PORT]/path, \
         tcp://HOST:PORT[/CHANNEL], or amqp://HOST?channel=NAME"
    )]
    NoSuchSource(String),
    /// An address that leads to no stream.
    #[error("--source {0}")]
    Upstream(#[from] UpstreamError),
    /// Brokers that lead nowhere.
    #[error("--amqp {0}")]
    Brokers(#[from] AddressError),
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
    /// The models that frames are handed on by, as they are typed.
    #[must_use]
    pub const fn model_name(&self) -> &'static str {
        match (self.has_ring, self.brokers.is_some()) {
            (true, false) => "ring",
            (true, true) => "ring,rabbitmq",
            (false, _) => "rabbitmq",
        }
    }

    /// Reads the configuration file, if there is one, and checks all that was said.
    ///
    /// # Errors
    /// The first thing that is wrong, with what would be right.
    pub fn load(typed: Typed) -> Result<Self, Error> {
        let file = match &typed.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        Self::join(typed.settings, file)
    }

    fn join(typed: Settings, file: File) -> Result<Self, Error> {
        let settings = layers::join(typed, file)?;
        let mut channels = Vec::new();
        let mut program = None;
        for said in &settings {
            let args = arguments(said)?;
            let channel = ChannelConfig::from_args(&args, said);
            channels.push(channel.map_err(|error| placed(error, said))?);
            program.get_or_insert((args, said));
        }
        channel::differ(&channels)?;
        let (args, said) = program.expect("there is at least one channel");
        let config = Self::from_args(args, channels).map_err(|error| placed(error, said))?;
        Ok(Self { settings, ..config })
    }

    /// The error about a value with the place where the value was said; `channel` is the place of the
    /// channel it is about.
    #[must_use]
    pub fn place(&self, error: Error, channel: usize) -> Error {
        placed(error, &self.settings[channel])
    }

    fn from_args(args: Args, channels: Vec<ChannelConfig>) -> Result<Self, Error> {
        let (http, tcp) = (args.http, args.tcp);
        for (what, addr) in [("--http", http), ("--tcp", tcp)] {
            if !addr.ip().is_loopback() && !args.open {
                return Err(Error::NotOpen { what, addr });
            }
        }
        let has_ring = args.model.contains(&Model::Ring);
        let has_exchange = args.model.contains(&Model::Rabbitmq);
        let brokers = has_exchange.then(|| args.amqp.parse()).transpose()?;
        if let Some(brokers) = &brokers {
            channel::are_no_circles(&channels, brokers)?;
        }
        if let Some(channel) = channels
            .iter()
            .find(|one| !has_ring && one.history.is_some())
        {
            let history = humantime::format_duration(channel.history.unwrap_or_default());
            let right = "stills of the past are served from the ring: --model ring,rabbitmq";
            return Err(wrong("--history", history, right));
        }
        if brokers.is_some()
            && let Some(hold) = channels.iter().find_map(|one| one.on_demand)
        {
            let right = "an exchange does not know who reads it: --model ring, or --on-demand=off";
            return Err(wrong(
                "--on-demand",
                humantime::format_duration(hold),
                right,
            ));
        }
        let budget = &args.memory_budget;
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
            channels,
            http,
            tcp,
            has_ring,
            brokers,
            driver: DriverConfig::from_args(&args)?,
            max_age: args.max_age,
            unsent_limit,
            memory_budget,
            max_viewers: args.max_viewers,
            max_viewers_per_address: args.max_viewers_per_address.unwrap_or(usize::MAX),
            allow_origin: args.allow_origin,
            log: args.log,
            log_format: args.log_format,
            settings: Vec::new(),
        })
    }
}

/// What was said, as arguments. Each value that comes here has been understood alone before.
fn arguments(said: &Settings) -> Result<Args, Error> {
    let pairs = said.iter().map(|(id, setting)| (&**id, setting));
    Args::from_settings(pairs).map_err(Error::Placed)
}

/// The error with the place where its value was said. For the command line the flag says enough.
fn placed(error: Error, said: &Settings) -> Error {
    let text = secrets::mask(&error.to_string());
    let key = keys::keys().into_iter().find_map(|key| {
        let rest = text.strip_prefix(&key.flag)?.strip_prefix(' ')?;
        Some((rest, said.get(&key.id)?, key.name))
    });
    match key.map(|(rest, setting, name)| (rest, &setting.origin, name)) {
        Some((rest, Origin::File(place), name)) => {
            Error::Placed(format!("{place}: {name} = {rest}"))
        }
        Some((rest, Origin::Variable(name), _)) => Error::Placed(format!("{name}={rest}")),
        _ => Error::Placed(text),
    }
}

impl DriverConfig {
    /// Its name, as it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Multiplex { .. } => "multiplex",
            Self::Threads => "threads",
        }
    }

    fn from_args(args: &Args) -> Result<Self, Error> {
        match (args.driver, args.workers) {
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

fn within(what: &'static str, value: usize, least: usize, most: usize) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(wrong(what, value, format!("from {least} to {most}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::capture::webcam::Wish;
    use crate::capture::webcam::device::Selector;

    fn config(line: &str) -> Result<Config, Error> {
        let words = std::iter::once("broadcaster").chain(line.split_whitespace());
        Config::load(Typed::from_words(words).unwrap())
    }

    fn complaint(line: &str) -> String {
        config(line).unwrap_err().to_string()
    }

    /// The configuration for flags beside what a file says.
    fn beside(text: &str, line: &str) -> Result<Config, Error> {
        let words = std::iter::once("broadcaster").chain(line.split_whitespace());
        let file = File::parse(Path::new("f.toml"), text).unwrap();
        Config::join(Typed::from_words(words).unwrap().settings, file)
    }

    const TWO: &str = "[[channel]]\nname = 'yard'\nfps = 5\n[[channel]]\nname = 'lab'\nfps = 6\n";

    fn rates(config: &Config) -> Vec<(&str, f64)> {
        let rate = |channel: &ChannelConfig| channel.fps().round();
        (config.channels.iter())
            .map(|one| (&*one.name, rate(one)))
            .collect()
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
            ("--fps 0", "--fps 0: from 0.00001 to"),
            ("--fps 1e-300", "0001: from 0.00001 to 1000"),
            ("--fps NaN", "--fps NaN: from 0.00001 to"),
            ("--quality 101", "--quality 101: from 1 to 100"),
            ("--workers 0", "--workers 0: from 1 to 256"),
            ("--memory-budget lots", "a size such as 256MB"),
            ("--memory-budget 10", "at least 1000000 bytes"),
            ("--driver threads --workers 2", "has no workers"),
            ("--channel Main", "--channel Main: a name of a-z"),
            ("--frames-per-payload 65", "from 1 to 64"),
            ("--ring-capacity 1", "from 2 to 65536"),
            ("--source nowhere.mjpeg", "no such file or folder"),
            (
                "--source amqp://cam?x=1",
                "x= is not known; known are heartbeat",
            ),
            (
                "--source amqp://cam?channel=A",
                "\"A\" in \"amqp://cam:5672/%2F\" is not a channel",
            ),
            (
                "--model rabbitmq --amqp http://x",
                "--amqp http:// is not a broker's scheme",
            ),
            (
                "--model rabbitmq --history 5s",
                "--history 5s: stills of the past",
            ),
            (
                "--model rabbitmq --exchange=",
                "--exchange : a name of 1 to 200",
            ),
            ("--source webcam:", "webcam:INDEX, webcam:NAME"),
            ("--control brightness", "NAME=VALUE such as brightness=128"),
            ("--control =3", "NAME=VALUE such as brightness=128"),
            ("--source tcp://cam", "names no port; right would be tcp"),
            ("--source tcp://cam:0", "right would be a port from 1 to"),
            ("--source tcp://cam:1/a/b", "not a channel; right would be"),
            ("--source http://", "right would be tcp://HOST:PORT"),
            ("--source http://cam:0/", "right would be a port from 1 to"),
            ("--source http:", "right would be tcp://HOST:PORT"),
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
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let text = "http = '127.0.0.1:1'\ntcp = '127.0.0.1:2'\nmax_age = '1s'\n";
        let config = beside(text, "--http 127.0.0.1:3").unwrap();
        assert_eq!((config.http.port(), config.tcp.port()), (3, 2));
        assert_eq!(config.max_age, Duration::from_secs(1));
        assert_eq!(config.memory_budget, 256_000_000);
        assert_eq!(config.channels.len(), 1);
    }

    #[test]
    fn a_source_on_demand_is_held_as_long_as_is_said() {
        let held = |text, line| beside(text, line).unwrap().channels[0].on_demand;
        let seconds = |count| Some(Duration::from_secs(count));
        let file = "[[channel]]\non_demand = '3s'";
        assert_eq!(held("", ""), None);
        assert_eq!(held("", "--on-demand"), seconds(10));
        assert_eq!(held("", "--on-demand=2s"), seconds(2));
        assert_eq!(held("", "--on-demand=0s"), seconds(0));
        assert_eq!(held(file, ""), seconds(3));
        assert_eq!(held(file, "--on-demand"), seconds(10));
        assert_eq!(held(file, "--on-demand=off"), None);
    }

    #[test]
    fn flags_of_a_channel_are_about_the_only_one() {
        let one = "[[channel]]\nname = 'yard'\nfps = 5\nquality = 50";
        let config = beside(one, "--fps 7").unwrap();
        assert_eq!(rates(&config), [("yard", 7.0)]);
        assert_eq!(config.channels[0].quality, 50);
        let config = beside(one, "--channel attic").unwrap();
        assert_eq!(rates(&config), [("attic", 5.0)]);
    }

    #[test]
    fn with_several_channels_flags_are_about_the_one_that_is_named() {
        assert_eq!(
            rates(&beside(TWO, "").unwrap()),
            [("yard", 5.0), ("lab", 6.0)]
        );
        let config = beside(TWO, "--channel lab --fps 7").unwrap();
        assert_eq!(rates(&config), [("yard", 5.0), ("lab", 7.0)]);
        for (line, complaint) in [
            (
                "--fps 7",
                "--fps is about one channel, and there are yard, lab: say which with --channel NAME",
            ),
            (
                "--channel attic",
                "--channel attic: the file has no such channel; there are yard, lab",
            ),
        ] {
            assert_eq!(beside(TWO, line).unwrap_err().to_string(), complaint);
        }
    }

    #[test]
    fn what_a_channel_publishes_is_not_its_source() {
        let line = |source: &str, exchange: &str| {
            let broker = "--model ring,rabbitmq --amqp amqp://me:secret@h,amqp://i/lab";
            config(&format!("{broker} --source {source} {exchange}"))
        };
        for (source, exchange) in [
            ("amqp://h?channel=main", ""),
            ("amqp://other,amqp://you:x@i/lab?exchange=e", "--exchange e"),
        ] {
            let error = line(source, exchange).unwrap_err().to_string();
            assert!(
                error.contains("what the channel itself publishes"),
                "{error}"
            );
            assert!(
                !error.contains("secret") && !error.contains(":x@"),
                "{error}"
            );
        }
        for (source, exchange) in [
            ("amqp://h?channel=main", "--exchange copy"),
            ("amqp://h/lab?channel=main", ""),
            ("amqp://h:1?channel=main", ""),
        ] {
            assert!(line(source, exchange).is_ok(), "{source} {exchange}");
        }
    }

    #[test]
    fn channels_have_names_that_differ() {
        for (text, complaint) in [
            (
                "[[channel]]\nname = 'a'\n[[channel]]\nname = 'a'",
                "f.toml:4:8: two channels are called a; each needs a name of its own",
            ),
            (
                "[[channel]]\n[[channel]]",
                "two channels are called main; each needs a name of its own",
            ),
        ] {
            assert_eq!(beside(text, "").unwrap_err().to_string(), complaint);
        }
    }

    #[test]
    fn a_wrong_value_in_the_file_is_told_with_its_place() {
        for (text, complaint) in [
            (
                "[[channel]]\nfps = 0",
                "f.toml:2:7: fps = 0: from 0.00001 to",
            ),
            (
                "[[channel]]\nsize = 'big'",
                "f.toml:2:8: size = big: WIDTHxHEIGHT",
            ),
            (
                "[[channel]]\nname = 'Yard'",
                "f.toml:2:8: name = Yard: a name of a-z",
            ),
            (
                "memory_budget = '1B'",
                "f.toml:1:17: memory_budget = 1B: a size such as",
            ),
            (
                "http = '0.0.0.0:80'",
                "f.toml:1:8: http = 0.0.0.0:80: others can reach",
            ),
            (
                "[[channel]]\nname = 'a'\n[[channel]]\nsource = 'pattern?bytes=0'",
                "f.toml:4:10: source = pattern?bytes=0: pattern?bytes=N",
            ),
            (
                "[[channel]]\nsource = '/nowhere/a.jpg'",
                "f.toml:2:10: source = /nowhere/a.jpg: no such file",
            ),
            (
                "[[channel]]\nsource = 'tcp://me:secret@cam'",
                "f.toml:2:10: source = \"tcp://me:***@cam\" names no port",
            ),
            (
                "[[channel]]\nsource = 'http://me:sec/ret@cam/'",
                "f.toml:2:10: source = \"http://me:***@cam/\" is not a URL",
            ),
            (
                "[[channel]]\n\n  source = 'amqp://rabbit:0?channel=lab'",
                "f.toml:3:12: source = amqp://",
            ),
        ] {
            let error = beside(text, "").unwrap_err().to_string();
            assert!(error.starts_with(complaint), "{text}: {error}");
        }
        let error = beside("[[channel]]\nfps = 5", "--fps 0").unwrap_err();
        assert!(
            error.to_string().starts_with("--fps 0: from 0.00001 to"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_value_in_the_environment_is_told_with_its_variable() {
        let setting = origin::Setting {
            words: vec!["0".to_owned()],
            origin: Origin::Variable("FRAMECAST_FPS".to_owned()),
        };
        let typed = Settings::from([("fps".to_owned(), setting)]);
        let error = Config::join(typed.clone(), File::default()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("FRAMECAST_FPS=0: from 0.00001 to"),
            "{error}"
        );
        let two = File::parse(Path::new("f.toml"), TWO).unwrap();
        let error = Config::join(typed, two).unwrap_err().to_string();
        assert!(
            error.starts_with("FRAMECAST_FPS is about one channel"),
            "{error}"
        );
    }

    #[test]
    fn the_open_flag_opens() {
        assert!(config("--http 0.0.0.0:80 --open").is_ok());
        assert!(config("--http [::1]:80").is_ok());
    }

    #[test]
    fn cameras_are_asked_only_for_what_was_said() {
        assert_eq!(config("").unwrap().channels[0].camera, Wish::default());
        let line = "--source webcam:2 --size 320x240 --control a=1,b=2 --control c=3";
        let channel = config(line).unwrap().channels.remove(0);
        assert_eq!(channel.source, SourceConfig::Webcam(Selector::Index(2)));
        let camera = channel.camera;
        assert_eq!((camera.size, camera.fps), (Some((320, 240)), None));
        let controls = camera.controls.iter();
        let controls: Vec<_> = controls
            .map(|(name, value)| format!("{name}{value}"))
            .collect();
        assert_eq!(controls, ["a1", "b2", "c3"]);
        let text = "[[channel]]\nfps = 5\ncontrol = ['a=1', 'b=2']";
        let camera = beside(text, "").unwrap().channels.remove(0).camera;
        assert_eq!((camera.size, camera.fps), (None, Some(5.0)));
        assert_eq!(camera.controls.len(), 2);
    }
}
