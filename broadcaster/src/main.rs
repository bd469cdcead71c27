//! `broadcaster`: arguments in, exit code out.

use std::io::Write as _;
use std::process::ExitCode;

use broadcaster::args::keys::Typed;
use broadcaster::capture::webcam::list;
use broadcaster::config::{Config, print};
use broadcaster::{Broadcaster, Error};
use common::Shutdown;

mod log;
mod signals;

fn main() -> ExitCode {
    match start(Typed::from_command_line()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(typed: Typed) -> Result<(), Error> {
    if typed.list {
        say(&list::cameras());
        return Ok(());
    }
    let prints_config = typed.print_config;
    let config = Config::load(typed)?;
    log::init(&config)?;
    if prints_config {
        say(&print::print(&config));
        return Ok(());
    }
    let shutdown = Shutdown::default();
    signals::end_on(shutdown.clone())?;
    let broadcaster = Broadcaster::bind(config)?;
    say(&broadcaster.summary());
    broadcaster.run(&shutdown)
}

/// A closed stdout is no reason not to broadcast.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
