//! `benchmarks`: arguments in, measurements out.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use benchmarks::args::{Args, Command};
use benchmarks::bare::{self, Bare};
use benchmarks::brokered::{floor, readers};
use benchmarks::contender::Hindrance;
use benchmarks::load::{Load, Target};
use benchmarks::result::Run;
use benchmarks::runner::{self, Effort};
use benchmarks::{brokered, sample, scenario, table};
use common::Shutdown;

mod signals;

/// The exit code for what can never become right.
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    match start(Args::from_command_line().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stderr(), "benchmarks: {error:#}");
            match error.downcast_ref() {
                Some(sample::Error::Nobody(_)) => ExitCode::from(MISUSE),
                _ => ExitCode::FAILURE,
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
            for scenario in scenario::all() {
                writeln!(out, "{:10} {}", scenario.name, scenario.about)?;
            }
            for scenario in brokered::all(false) {
                writeln!(out, "{:10} {}", scenario.name, scenario.about)?;
            }
            Ok(())
        }
        Command::Run(args) => run(&args, &shutdown),
        Command::Report(args) => args.folders.iter().try_for_each(|folder| report(folder)),
        Command::Load(args) => {
            let load = Load::start(&Target::parse(&args.url)?, args.viewers, Hindrance::None)?;
            let (figures, (), ()) = load.watch(args.duration, || ());
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
        Command::Readers(args) => readers::run(&args, std::io::stdin().lock(), &mut out),
    }
}

fn run(args: &benchmarks::args::Run, shutdown: &Shutdown) -> anyhow::Result<()> {
    let mut effort = if args.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    effort.rounds = args.rounds.unwrap_or(effort.rounds);
    let (all, brokered) = (scenario::all(), brokered::all(args.quick));
    for name in &args.scenarios {
        if let Some(scenario) = all.iter().find(|scenario| scenario.name == name) {
            runner::run(scenario, effort, &args.out, shutdown)?;
        } else if let Some(scenario) = brokered.iter().find(|scenario| scenario.name == name) {
            brokered::run(scenario, effort, &args.out, shutdown)?;
        } else {
            let names = all.iter().map(|scenario| scenario.name);
            let names = names.chain(brokered.iter().map(|scenario| scenario.name));
            let known = names.collect::<Vec<_>>().join(", ");
            anyhow::bail!("no scenario {name}; there are: {known}");
        }
    }
    Ok(())
}

/// Makes a table beside each result in the folder.
fn report(folder: &Path) -> anyhow::Result<()> {
    let named = || folder.display().to_string();
    for entry in std::fs::read_dir(folder).with_context(named)? {
        let path = entry.with_context(named)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = || path.display().to_string();
        let table = path.with_extension("md");
        let scenario = path.file_stem().unwrap_or_default().to_string_lossy();
        if brokered::is_name(&scenario) {
            let run = brokered::cells::Run::load(&path).with_context(name)?;
            brokered::table::save(&run, &table).with_context(name)?;
        } else {
            let run = Run::load(&path).with_context(name)?;
            table::save(&run, &table).with_context(name)?;
        }
    }
    Ok(())
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
