//! `receiver URL`: see `receiver --help`.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;
use common::Shutdown;
use receiver::args::Args;
use receiver::{Config, report, run, signals};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

fn main() -> ExitCode {
    let config = match Config::from_args(Args::from_command_line()) {
        Ok(config) => config,
        Err(error) => {
            report::print_failure(&error);
            return ExitCode::from(2);
        }
    };
    log(config.level);
    let Err(error) = watch(&config) else {
        return ExitCode::SUCCESS;
    };
    report::print_failure(&format_args!("{error:#}"));
    ExitCode::FAILURE
}

fn watch(config: &Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::default();
    signals::listen(shutdown.clone()).context("signals cannot be handled")?;
    Ok(run(config, &shutdown)?)
}

fn log(level: LevelFilter) {
    // What lapin says of a broker's refusals, our own lines say better.
    let filter = Targets::new().with_default(level);
    let filter = filter.with_target("lapin", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(filter);
    tracing_subscriber::registry().with(lines).init();
}
