//! What the program says: on stdout what it was asked for, on stderr log lines and the one line
//! before it fails.

use std::io::{IsTerminal as _, Write as _, stderr, stdout};

use broadcaster::Error;
use broadcaster::args::LogFormat;
use broadcaster::config::{self, Config};
use broadcaster::journal::Journal;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, registry};

/// What lapin says of a broker's refusals, our own lines say better. Who wants it can still ask.
const QUIET: &str = "lapin=off";

/// Starts logging as configured: to stderr, coloured only on a terminal, and the last lines to the journal
/// that is returned.
pub(crate) fn init(config: &Config) -> Result<Journal, config::Error> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log));
    let filter = filter.map_err(|error| {
        let right =
            format!("error, warn, info, debug, trace or a filter like broadcaster=debug ({error})");
        let value = config.log.clone();
        config.place(
            config::Error::Value {
                what: "--log",
                value,
                right,
            },
            0,
        )
    })?;
    let journal = Journal::default();
    let kept = journal.clone();
    let kept = layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(move || kept.clone());
    let shown = layer()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let shown = match config.log_format {
        LogFormat::Human => shown.with_target(false).boxed(),
        LogFormat::Json => shown.json().boxed(),
    };
    registry().with(filter).with(shown).with(kept).init();
    Ok(journal)
}

/// Says why the program ends.
pub(crate) fn complain(error: &Error) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(stderr(), "broadcaster: {error}");
}

/// Says what was asked for. A closed stdout is no reason not to broadcast.
pub(crate) fn say(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}
