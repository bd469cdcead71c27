//! `receiver URL`: see `receiver --help`.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;
use common::Shutdown;
use receiver::args::{self, Args, Command};
use receiver::logbook::LOGBOOK;
use receiver::{Config, config, probe, report, run, signals};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// A probe that could not be made; 1 and 3 say what was found.
const PROBE_FAILED: u8 = 4;

fn main() -> ExitCode {
    common::heap::keep_freed();
    let args = Args::from_command_line();
    let outcome = match args.command {
        Some(Command::Probe(args)) => probe(args),
        None => watch(args),
    };
    outcome.unwrap_or_else(|(error, code)| {
        report::print_failure(&format_args!("{error:#}"));
        ExitCode::from(code)
    })
}

fn watch(args: Args) -> Result<ExitCode, (anyhow::Error, u8)> {
    let config = Config::from_args(args).map_err(|error| (error.into(), 2))?;
    log(config.level);
    let watched = listen().and_then(|shutdown| Ok(run(&config, &shutdown)?));
    watched.map_or_else(|error| Err((error, 1)), |()| Ok(ExitCode::SUCCESS))
}

fn probe(args: args::Probe) -> Result<ExitCode, (anyhow::Error, u8)> {
    log(config::probe_level(&args));
    let settings = config::probe_settings(args).map_err(|error| (error.into(), 2))?;
    let probed = listen().and_then(|shutdown| Ok(probe::run(&settings, &shutdown)?));
    probed.map_or_else(
        |error| Err((error, PROBE_FAILED)),
        |outcome| Ok(outcome.into()),
    )
}

fn listen() -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::default();
    signals::listen(shutdown.clone()).context("signals cannot be handled")?;
    Ok(shutdown)
}

fn log(level: LevelFilter) {
    // What lapin says of a broker's refusals, our own lines say better.
    let filter = Targets::new().with_default(level);
    let filter = filter.with_target("lapin", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| &LOGBOOK)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(filter);
    tracing_subscriber::registry().with(lines).init();
}
