//! What was typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::brokered::readers::Through;
use crate::load::Protocol;
use crate::sample::Named;

/// Measures what Framecast's fan-out models cost on this machine.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say which scenarios there are
    List,
    /// Measure: results go to a folder, with tables, plots and a page of all of them
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Make tables, plots and page anew from the results in folders; compare the runs of two
    Report(Report),
    /// Put viewers on any server and say what they get
    Load(Load),
    /// Say what running programs cost, over time and together with all processes they start
    Sample(Sample),
    /// Serve frames with the least a server can do: what everything is measured against
    Bare(Bare),
    /// Publish to an exchange with the least a publisher can do
    #[command(hide = true)]
    Floor(Floor),
    /// Read an exchange many times over, at the word of another program
    #[command(hide = true)]
    Readers(Readers),
}

/// Which scenarios, and how.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Which scenarios, by name (see `benchmarks list`) or as a file: mine.toml [default: those that
    /// ask what each model costs]
    pub scenarios: Vec<String>,
    /// One short round of everything: to see that it works, not for quoting
    #[arg(long)]
    pub quick: bool,
    /// Rounds in which all take turns [default: as the scenario says, 3 or more]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: Option<u32>,
    /// Go on with what is in the folder already, without --out in the newest one
    #[arg(long)]
    pub resume: bool,
    /// Folder for results [default: benchmarks/results, for scenarios of models a new one of today in
    /// there]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Which results.
#[derive(Debug, clap::Args)]
pub struct Report {
    /// Folders with results; of two, the second is compared with the first
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<PathBuf>,
}

/// A load by hand.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// tcp://HOST:PORT[/CHANNEL] or http://HOST:PORT/PATH
    pub url: String,
    /// How many viewers
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub viewers: usize,
    /// How long they are watched
    #[arg(long, default_value = "10s", value_name = "D", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// One JSON object instead of lines for people
    #[arg(long)]
    pub json: bool,
}

/// Whom to sample, and how often.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).multiple(true))]
pub struct Sample {
    /// Processes, each for itself
    #[arg(long = "pid", value_name = "N", num_args = 1.., group = "whom")]
    pub pids: Vec<u32>,
    /// Processes that count as one, under a name: broker=4711,4712
    #[arg(long = "role", value_name = "NAME=PID,PID", group = "whom")]
    pub roles: Vec<Named>,
    /// Time between two samples
    #[arg(long, default_value = "200ms", value_name = "D", value_parser = interval)]
    pub interval: Duration,
    /// For how long [default: until Ctrl-C, or until all of them have ended]
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// File for the samples, as JSON lines; without it they are shown as a table
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Shorter intervals would measure the sampler.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < SHORTEST_INTERVAL {
        return Err("right would be 10ms or more".to_owned());
    }
    Ok(interval)
}

/// A bare loop by hand.
#[derive(Debug, clap::Args)]
pub struct Bare {
    /// How frames are wrapped
    #[arg(long, default_value = "http")]
    pub protocol: Protocol,
    /// Data bytes of a frame
    #[arg(long, default_value_t = 90_000, value_name = "N")]
    pub bytes: usize,
    /// Frames a second
    #[arg(long, default_value_t = 30.0, value_name = "N")]
    pub fps: f64,
    /// Frames sent together
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub frames_per_payload: usize,
}

/// The least publisher.
#[derive(Debug, clap::Args)]
pub struct Floor {
    /// amqp://USER:PASSWORD@HOST:PORT/VHOST
    pub url: String,
    /// Where to publish
    #[arg(long, value_name = "NAME")]
    pub exchange: String,
    /// Data bytes of a frame
    #[arg(long, value_name = "N")]
    pub bytes: usize,
    /// Frames a second
    #[arg(long, value_name = "N")]
    pub fps: f64,
}

/// Readers of an exchange.
#[derive(Debug, clap::Args)]
pub struct Readers {
    /// amqp://USER:PASSWORD@HOST:PORT/VHOST
    pub url: String,
    /// What to read
    #[arg(long, value_name = "NAME")]
    pub exchange: String,
    /// How many
    #[arg(long, value_name = "N")]
    pub viewers: usize,
    /// Data bytes of a frame there
    #[arg(long, value_name = "N")]
    pub bytes: usize,
    /// Whose code reads
    #[arg(long)]
    pub through: Through,
    /// Messages on their way unacknowledged; 0 for no acknowledgements
    #[arg(long, value_name = "N")]
    pub prefetch: Option<u16>,
    /// Largest frame of AMQP in bytes
    #[arg(long, value_name = "N")]
    pub frame_max: Option<u32>,
}

impl ValueEnum for Protocol {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Tcp, Self::Http]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
        }))
    }
}

impl ValueEnum for Through {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Floor, Self::Ingress]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::Floor => "floor",
            Self::Ingress => "ingress",
        }))
    }
}

impl Args {
    /// What this process was started with. Ends the process after `--help` or a typing error.
    #[must_use]
    pub fn from_command_line() -> Self {
        Self::parse()
    }
}

const RUN_HELP: &str = "\
Examples:
  benchmarks run --quick           does everything work here? some minutes, not for quoting
  benchmarks run                   what does each model cost? leave the machine alone meanwhile
  benchmarks run models            one question only
  benchmarks run --resume          go on after Ctrl-C
  benchmarks report benchmarks/results/2026-11-01 benchmarks/results/2026-12-01
                                   what has changed?

Ctrl-C keeps what is done. Exit codes: 0 done, 1 something failed or could not be written, 2 wrong
arguments, 130 interrupted.";
