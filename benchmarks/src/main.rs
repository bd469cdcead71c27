//! `benchmarks`: arguments in, measurements out.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use benchmarks::args::{Args, Command};
use benchmarks::bare::{self, Bare};
use benchmarks::brokered::{floor, readers};
use benchmarks::contender::Hindrance;
use benchmarks::load::{Load, Target};
use benchmarks::{inprocess, sample, scenario};

mod commands;
mod signals;

/// The exit code for what can never become right.
const MISUSE: u8 = 2;
/// The exit code after Ctrl-C: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match start(Args::from_command_line().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stderr(), "benchmarks: {error:#}");
            let is_misuse = matches!(error.downcast_ref(), Some(sample::Error::Nobody(_)))
                || error.is::<scenario::Error>();
            if is_misuse {
                ExitCode::from(MISUSE)
            } else if error.is::<commands::Interrupted>() {
                ExitCode::from(INTERRUPTED)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn start(command: Command) -> anyhow::Result<()> {
    raise_descriptor_limit();
    let shutdown = signals::shutdown().context("signals")?;
    let mut out = std::io::stdout();
    match command {
        Command::List => {
            commands::list(&mut out)?;
            Ok(())
        }
        Command::Run(args) => commands::run(&args, &shutdown, &mut out),
        Command::Report(args) => commands::report(&args.folders, &mut out),
        Command::Load(args) => {
            let load = Load::start(&Target::parse(&args.url)?, args.viewers, Hindrance::None)?;
            let (figures, (), ()) = load.watch(args.duration, &shutdown, || ());
            if args.json {
                writeln!(out, "{}", serde_json::to_string(&figures)?)?;
            } else {
                writeln!(out, "{figures}")?;
            }
            Ok(())
        }
        Command::Sample(args) => Ok(sample::run(&args, &shutdown, &mut out)?),
        Command::Bare(args) => {
            let bare = Bare::bind(bare::Config {
                protocol: args.protocol,
                bytes: args.bytes,
                interval: std::time::Duration::from_secs_f64(1.0 / args.fps),
                frames_per_payload: args.frames_per_payload,
            })?;
            let addr = bare.addr()?;
            writeln!(out, "stream  http://{addr}/\nnative  tcp://{addr}")?;
            Ok(bare.run(&shutdown)?)
        }
        Command::Floor(args) => {
            let config = floor::Config {
                bytes: args.bytes,
                interval: std::time::Duration::from_secs_f64(1.0 / args.fps),
            };
            // Whoever started it waits for this; if it is gone, nobody is left to tell.
            let ready = || drop(writeln!(out, "publishing").and_then(|()| out.flush()));
            let place = (args.url.as_str(), args.exchange.as_str());
            Ok(floor::publish(place, config, ready, &shutdown)?)
        }
        Command::Ring(args) => inprocess::run(&args, std::io::stdin().lock(), &mut out),
        Command::Readers(args) => readers::run(&args, std::io::stdin().lock(), &mut out),
    }
}

/// Every viewer is a descriptor, and the soft limit is often 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // If this fails, connecting says at which viewer the limit was reached.
    let _ = setrlimit(Resource::Nofile, raised);
}
