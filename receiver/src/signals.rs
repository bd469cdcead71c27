//! Ctrl-C and SIGTERM: the first asks for an end, the second ends at once.

use std::{io, process, thread};

use common::Shutdown;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::output::terminal;

/// As shells say for a program that a signal ended: 128 and the signal's number.
const SIGNALLED: i32 = 128;

/// Has `shutdown` triggered by the first signal, from a thread named `signals`.
///
/// # Errors
/// If the system refuses the handlers or the thread.
pub fn listen(shutdown: Shutdown) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let wait = move || {
        let mut received = signals.forever();
        if received.next().is_some() {
            shutdown.trigger();
        }
        if let Some(signal) = received.next() {
            terminal::give_back();
            process::exit(SIGNALLED + signal);
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
}
