//! The flags: what can be said to the program, and what holds where nothing is said.
//!
//! A flag that has a variable is also a key of the configuration file ([`keys`]): to add a key, add a
//! field. Checks are in `config`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

pub mod keys;

/// Under this heading stand the flags that are about one channel.
const CHANNEL: &str = "Options of a channel";

/// Sends one camera, or several, to any number of viewers.
#[derive(Debug, Clone, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Args {
    /// Configuration file; flags and FRAMECAST_* variables go before it
    #[arg(long, value_name = "FILE", env = "FRAMECAST_CONFIG")]
    pub config: Option<PathBuf>,

    /// Print what is in force and from where, as a configuration file, and end
    #[arg(long)]
    pub print_config: bool,

    /// Print all webcams with their formats, sizes, rates and controls, and end
    #[arg(long)]
    pub list: bool,

    /// Where frames come from: auto, webcam, webcam:INDEX, webcam:NAME, pattern, pattern?bytes=N, a
    /// .mjpeg or .jpg file, a folder of JPEGs, http://HOST:PORT/path, tcp://HOST:PORT[/CHANNEL], or
    /// amqp://HOST?channel=NAME
    ///
    /// auto takes the first webcam, else the test pattern, and says which. A webcam is meant by its
    /// number or a part of its name (see --list), or by its device node (webcam:/dev/video2). One
    /// that is not there or is in use is tried until it is free. The test pattern shows
    /// its sequence number and capture time as digits and as a bar code; with ?bytes=N every frame
    /// has exactly N bytes. Files are read once and looped at --fps. http:// passes on the stream
    /// of any MJPEG server, and numbers its pictures. tcp:// passes on a channel of another
    /// broadcaster (without a name its default one), amqp:// one that another broadcaster publishes
    /// with --model rabbitmq (see --amqp for such URLs): frames keep their numbers and times.
    /// A server that is away is tried again until it is back. Said several times (in the file: a list),
    /// the first is shown and the API can switch to the others.
    // A password in the value must not show in --help.
    #[arg(long, value_name = "SRC", env = "FRAMECAST_SOURCE", hide_env_values = true, default_value = "auto", help_heading = CHANNEL)]
    pub source: Vec<String>,

    /// Size of pictures; left out, a webcam's largest MJPEG up to 1280x720 at 25 fps or more
    #[arg(long, value_name = "WxH", env = "FRAMECAST_SIZE", default_value = "640x480", help_heading = CHANNEL)]
    pub size: String,

    /// Frames a second, fractions allowed; of a webcam's rates the nearest
    #[arg(long, value_name = "N", env = "FRAMECAST_FPS", default_value = "30", help_heading = CHANNEL)]
    pub fps: f64,

    /// Set a webcam's control at each opening; several by commas or by repeating the flag
    #[arg(long, value_name = "NAME=VALUE", env = "FRAMECAST_CONTROL", value_delimiter = ',', help_heading = CHANNEL)]
    pub control: Vec<String>,

    /// JPEG quality of encoded pictures, 1 to 100
    #[arg(long, value_name = "Q", env = "FRAMECAST_QUALITY", default_value = "80", help_heading = CHANNEL)]
    pub quality: u8,

    /// How frames are handed to viewers; both with ring,rabbitmq
    #[arg(
        long,
        value_name = "MODEL",
        env = "FRAMECAST_MODEL",
        value_delimiter = ',',
        default_value = "ring"
    )]
    pub model: Vec<Model>,

    /// RabbitMQ brokers of the model rabbitmq; nodes of a cluster with commas between them
    ///
    /// amqps:// talks in private. ?cacertfile=FILE trusts only the authorities in that file,
    /// &certfile=FILE&keyfile=FILE show who we are (all PEM); heartbeat= and frame_max= are as in
    /// RabbitMQ's own URLs. A broker that is away is tried again until it is back, and viewers of the
    /// ring do not notice.
    // A password in the value must not show in --help.
    #[arg(
        long,
        value_name = "URL,URL",
        env = "FRAMECAST_AMQP",
        hide_env_values = true,
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f"
    )]
    pub amqp: String,

    /// What moves the bytes of the ring's viewers
    #[arg(
        long,
        value_name = "DRIVER",
        env = "FRAMECAST_DRIVER",
        default_value = "multiplex"
    )]
    pub driver: Driver,

    /// Event loops of the multiplex driver [default: one for each core]
    #[arg(long, value_name = "N", env = "FRAMECAST_WORKERS")]
    pub workers: Option<usize>,

    /// Address for browsers and MJPEG clients; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDR",
        env = "FRAMECAST_HTTP",
        default_value = "127.0.0.1:8080"
    )]
    pub http: SocketAddr,

    /// Address for native receivers; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDR",
        env = "FRAMECAST_TCP",
        default_value = "127.0.0.1:7400"
    )]
    pub tcp: SocketAddr,

    /// Allow addresses off loopback: whoever reaches them can watch
    #[arg(long, env = "FRAMECAST_OPEN", value_parser = clap::builder::FalseyValueParser::new())]
    pub open: bool,

    /// Channel name: a-z, 0-9, _ and -, at most 64; or which channel of the file the flags are about
    ///
    /// With one channel in the file, or none, flags of a channel are about it and this names it. With
    /// several, this says which of them the flags are about.
    #[arg(long, value_name = "NAME", env = "FRAMECAST_CHANNEL", default_value = "main", help_heading = CHANNEL)]
    pub channel: String,

    /// Exchange of the model rabbitmq [default: framecast.CHANNEL]
    #[arg(long, value_name = "NAME", env = "FRAMECAST_EXCHANGE", help_heading = CHANNEL)]
    pub exchange: Option<String>,

    /// Frames handed on together, 1 to 64
    #[arg(long, value_name = "N", env = "FRAMECAST_FRAMES_PER_PAYLOAD", default_value = "1", help_heading = CHANNEL)]
    pub frames_per_payload: usize,

    /// Payloads the ring holds, rounded up to a power of two
    #[arg(long, value_name = "N", env = "FRAMECAST_RING_CAPACITY", default_value = "64", help_heading = CHANNEL)]
    pub ring_capacity: usize,

    /// How much of the past is kept for stills of it: /live/CHANNEL.jpg?at=-5s; 0s for none
    ///
    /// It takes at most a quarter of the channel's share of --memory-budget; where that is too little
    /// it is shorter, and the log says so.
    #[arg(long, value_name = "D", env = "FRAMECAST_HISTORY", default_value = "0s", value_parser = crate::config::parse_duration, help_heading = CHANNEL)]
    pub history: Duration,

    /// Open the source for its first viewer, and let go of it HOLD after the last one left
    ///
    /// Without a value HOLD is 10s; off is the default. A camera's light is out while nobody watches.
    /// Who comes then is shown that the source starts. Stills are viewers too, the history is none.
    #[arg(
        long,
        value_name = "HOLD",
        env = "FRAMECAST_ON_DEMAND",
        num_args = 0..=1,
        require_equals = true,
        default_value = "off",
        default_missing_value = "10s",
        value_parser = crate::config::parse_hold,
        help_heading = CHANNEL
    )]
    pub on_demand: Hold,

    /// Older frames are skipped for a slow viewer if there is a newer one
    #[arg(long, value_name = "D", env = "FRAMECAST_MAX_AGE", default_value = "250ms", value_parser = crate::config::parse_duration)]
    pub max_age: Duration,

    /// Memory that frames may hold, in the ring and by slow viewers
    ///
    /// Above it newcomers are turned away for a while and the viewer that has stalled longest is
    /// closed.
    #[arg(
        long,
        value_name = "SIZE",
        env = "FRAMECAST_MEMORY_BUDGET",
        default_value = "256MB"
    )]
    pub memory_budget: String,

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

    /// error, warn, info, debug or trace; or per module as in tracing's filters
    #[arg(
        long,
        value_name = "LEVEL",
        env = "FRAMECAST_LOG",
        default_value = "info"
    )]
    pub log: String,

    /// How log lines look
    #[arg(
        long,
        value_name = "FORMAT",
        env = "FRAMECAST_LOG_FORMAT",
        default_value = "human"
    )]
    pub log_format: LogFormat,
}

/// How long a source is kept that nobody watches; for ever if it is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold(pub Option<Duration>);

/// How frames are handed to viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// A lock-free ring inside this process
    Ring,
    /// A fanout exchange of a RabbitMQ broker
    Rabbitmq,
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
  broadcaster --list                            what cameras there are and what they can do
  broadcaster --source webcam:logitech --size 1280x720 --control brightness=140
  broadcaster --source pattern --size 1280x720 --fps 60
  broadcaster --source footage.mjpeg --fps 25
  broadcaster --source http://octopi.local/webcam/?action=stream
                                                pass on any MJPEG server
  broadcaster --source tcp://lab.local:7400/main
                                                pass on another broadcaster
  broadcaster --model ring,rabbitmq             to viewers here and to a RabbitMQ exchange
  broadcaster --source amqp://rabbit.local?channel=main
                                                an edge: viewers here, frames from the exchange
  broadcaster --http 0.0.0.0:8080 --open        for everybody who can reach this machine
  broadcaster --config framecast.toml           several channels, and all of this in a file
  broadcaster --fps 15 --print-config           what is in force and from where, as such a file

A flag goes before its FRAMECAST_* variable, the variable before the file. In the file each key is
named like its flag, with _ for -; what is about a channel stands in its [[channel]] table:
  http = \"127.0.0.1:9000\"
  [[channel]]
  name = \"bench\"
  source = \"pattern\"

Watch it: open the printed page in a browser, or run: receiver tcp://127.0.0.1:7400
How it fares: /status beside the page; for programs /healthz, /readyz, /api/v1/status and more that
/api/openapi.json tells of, and /metrics, with a dashboard for Grafana in scripts/grafana";
