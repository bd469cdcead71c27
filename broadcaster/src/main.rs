//! `broadcaster`: arguments in, exit code out.

use std::io::Write as _;
use std::process::ExitCode;

use broadcaster::args::Args;
use broadcaster::config::Config;
use broadcaster::{Broadcaster, Error};
use common::Shutdown;

mod log;
mod signals;

fn main() -> ExitCode {
    match start(Args::from_command_line()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(args: Args) -> Result<(), Error> {
    let config = Config::from_args(args)?;
    log::init(&config)?;
    let shutdown = Shutdown::default();
    signals::end_on(shutdown.clone())?;
    let broadcaster = Broadcaster::bind(config)?;
    // A closed stdout is no reason not to broadcast.
    let _ = std::io::stdout().write_all(broadcaster.summary().as_bytes());
    broadcaster.run(&shutdown)
}
