//! `broadcaster`: arguments in, exit code out.

use std::process::ExitCode;

use broadcaster::args::keys::Typed;
use broadcaster::capture::webcam::list;
use broadcaster::config::{Config, print};
use broadcaster::{Broadcaster, Error};

mod log;
mod signals;

fn main() -> ExitCode {
    common::heap::keep_freed();
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
        log::say(&list::cameras());
        return Ok(());
    }
    let prints_config = typed.print_config;
    let config = Config::load(typed)?;
    let journal = log::init(&config)?;
    if prints_config {
        log::say(&print::print(&config));
        return Ok(());
    }
    let shutdown = signals::shutdown()?;
    let broadcaster = Broadcaster::bind(config)?.with_journal(journal);
    log::say(&broadcaster.summary());
    broadcaster.run(&shutdown)
}
