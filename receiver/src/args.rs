//! What was typed, unchecked. Defaults and checks are in `config`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Parser, Subcommand, ValueEnum};

/// Watches a live stream and says what arrives: frame rate, age, gaps.
#[derive(Debug, Clone, Default, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    /// What to do instead of watching
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The stream: tcp://HOST:PORT/CHANNEL (native; without a channel the default one),
    /// http://HOST:PORT/path (any MJPEG server), ws://HOST:PORT/live/CHANNEL.ws (a broadcaster over
    /// WebSocket; without a path its default channel) or amqp://USER:PASSWORD@HOST/%2f?channel=NAME (a
    /// RabbitMQ exchange; several brokers with commas between them)
    #[arg(required = true)]
    pub url: Option<String>,

    /// Receivers to run at once, each with a connection of its own [default: 1]
    #[arg(long, value_name = "N", env = "FRAMECAST_COUNT")]
    pub count: Option<u16>,

    /// End after this long, for example 10s or 5m [default: at Ctrl-C]
    ///
    /// The exit code is then 1 if no frame has arrived.
    #[arg(long, value_name = "D", env = "FRAMECAST_DURATION")]
    pub duration: Option<String>,

    /// Leave what comes before this out of the figures, for example 3s: until then everybody connects
    /// and everything gets going
    #[arg(long, value_name = "D", env = "FRAMECAST_WARM_UP")]
    pub warm_up: Option<String>,

    /// Write each frame to a file in this folder: DIR/0000000042.jpg
    ///
    /// With several receivers each has its own folder: DIR/0000/, DIR/0001/, and so on. When the
    /// source restarts its numbers begin anew, and what follows goes to a folder below.
    #[arg(long, value_name = "DIR", env = "FRAMECAST_SAVE")]
    pub save: Option<PathBuf>,

    /// Where to show the pictures
    ///
    /// With several receivers the terminal shows the figures of each. Keys: i figures, space pause, s save the picture, f full
    /// screen (window), q or Esc quit.
    #[arg(long, value_name = "WHERE", env = "FRAMECAST_DISPLAY")]
    pub display: Option<Screen>,

    /// Show each frame this long after its capture, so that several screens show the same picture
    /// at the same time; for example 200ms, at most 10s
    ///
    /// Must be longer than frames travel: those that come later count as late, and the newest of
    /// them is shown at once. With tcp:// and ws:// capture times are told by the server's clock; with
    /// http:// and amqp:// this machine's clock must agree with the server's (NTP).
    #[arg(long, value_name = "D", env = "FRAMECAST_SYNC")]
    pub sync: Option<String>,

    /// Decode every picture and count those that are broken or not the ones they claim to be
    #[arg(long, env = "FRAMECAST_DECODE", value_parser = FalseyValueParser::new())]
    pub decode: bool,

    /// Print one JSON object a line: one each second, and the summary last
    #[arg(long, env = "FRAMECAST_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,

    /// Have the server skip frames older than this, for example 250ms [default: the server's]
    #[arg(long, value_name = "D", env = "FRAMECAST_MAX_AGE")]
    pub max_age: Option<String>,

    /// How much to say on stderr [default: info]
    #[arg(long, value_name = "LEVEL", env = "FRAMECAST_LOG")]
    pub log: Option<Level>,
}

impl Args {
    /// What this program was started with; ends the program with help or a usage error if that is
    /// what it comes to.
    #[must_use]
    pub fn from_command_line() -> Self {
        Self::parse()
    }
}

/// What can be done instead of watching.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Watch for some seconds, then say what the stream is and whether it is healthy
    Probe(Probe),
}

/// Watches for some seconds, then says what the stream is and whether it is healthy.
#[derive(Debug, Clone, Default, Parser)]
#[command(max_term_width = 100, after_help = PROBE_HELP)]
pub struct Probe {
    /// The stream, as for watching
    pub url: String,

    /// How long to watch once connected, 1s to 10m [default: 5s]
    #[arg(long = "for", value_name = "D", env = "FRAMECAST_PROBE_FOR")]
    pub within: Option<String>,

    /// Print one JSON object instead of lines for people
    #[arg(long, env = "FRAMECAST_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,

    /// Have the server skip frames older than this, for example 250ms [default: the server's]
    #[arg(long, value_name = "D", env = "FRAMECAST_MAX_AGE")]
    pub max_age: Option<String>,

    /// How much to say on stderr [default: error]
    #[arg(long, value_name = "LEVEL", env = "FRAMECAST_LOG")]
    pub log: Option<Level>,
}

/// Where pictures are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Screen {
    /// Nowhere.
    #[default]
    None,
    /// In this terminal, in coloured half blocks.
    Terminal,
    /// In a window (Wayland or X11).
    Window,
}

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// What ends the program.
    Error,
    /// What people should know.
    Warn,
    /// What is good to know.
    Info,
    /// What helps to find a mistake.
    Debug,
    /// Everything.
    Trace,
}

const EXAMPLES: &str = "\
Examples:
  receiver tcp://127.0.0.1:7400                       watch the default channel
  receiver http://127.0.0.1:8080/live/main.mjpeg      the same over HTTP
  receiver http://octopi.local/webcam/?action=stream  any other MJPEG server
  receiver tcp://127.0.0.1:7400/main --count 20 --duration 10s
                                                      how well do 20 viewers fare?
  receiver tcp://127.0.0.1:7400 --save frames --decode
                                                      keep every frame, and check it
  receiver tcp://127.0.0.1:7400 --display window      look at it
  receiver tcp://127.0.0.1:7400 --display terminal --count 20
                                                      twenty receivers at a glance
  receiver tcp://wall-server:7400 --display window --sync 200ms
                                                      one of several screens of a wall
  receiver tcp://127.0.0.1:7400 --duration 5s --json | tail -1
                                                      one line for a script

  receiver probe tcp://127.0.0.1:7400                 what is it, and is it healthy?

Ages are told by the server's clock with tcp:// and ws://; with http:// both clocks are taken to agree.
Exit codes: 0 at Ctrl-C or after --duration, 1 if nothing came or a file could not be written,
2 for wrong arguments.";

const PROBE_HELP: &str = "\
A stream is healthy if frames come, none is a placeholder, at least 99 % are delivered, all can be
decoded, none is missing for longer than 1 s (4 times the usual distance of a slow stream), they are
at most 1 s old (where clocks are compared: tcp://, ws://), the source does not restart and the connection
is not lost.

Jitter is how far the time between messages is from its median.

Exit codes: 0 healthy; 1 unhealthy, the last line says why; 2 wrong arguments; 3 no stream there: no
connection, refused, not found, or something that is no stream; 4 the probe itself failed.

Examples:
  receiver probe http://octopi.local/webcam/?action=stream
  receiver probe tcp://127.0.0.1:7400/main --for 2s --json
  receiver probe tcp://cam:7400 >/dev/null || echo \"look after the camera\"";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_probe_has_arguments_of_its_own() {
        let parse = |line: &str| Args::try_parse_from(line.split(' '));
        let args = parse("receiver probe tcp://h:1 --for 2s --json").unwrap();
        let Some(Command::Probe(probe)) = args.command else {
            panic!("no probe");
        };
        assert_eq!((probe.url.as_str(), probe.json), ("tcp://h:1", true));
        for wrong in [
            "receiver",
            "receiver probe",
            "receiver tcp://h:1 probe tcp://h:1",
            "receiver probe tcp://h:1 --count 2",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_typed_is_read() {
        let typed = [
            "receiver",
            "tcp://h:1",
            "--count",
            "20",
            "--decode",
            "--log",
            "debug",
        ];
        let args = Args::try_parse_from(typed).unwrap();
        assert_eq!(
            (args.count, args.decode, args.json),
            (Some(20), true, false)
        );
        assert_eq!(args.log, Some(Level::Debug));
    }
}
