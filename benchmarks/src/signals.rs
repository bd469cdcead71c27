//! Ctrl-C and SIGTERM: the first one ends after what is at hand, the second one at once.

use std::{io, process, thread};

use common::Shutdown;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The word to end, said by the first signal.
pub(crate) fn shutdown() -> io::Result<Shutdown> {
    let shutdown = Shutdown::default();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let told = shutdown.clone();
    let wait = move || {
        for signal in &mut signals {
            if told.is_triggered() {
                process::exit(128 + signal);
            }
            told.trigger();
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    Ok(shutdown)
}
