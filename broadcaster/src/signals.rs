//! Ctrl-C and SIGTERM: the first one ends cleanly, the second one at once.

use std::{io, process, thread};

use common::Shutdown;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// What the first signal triggers.
pub(crate) fn shutdown() -> io::Result<Shutdown> {
    let shutdown = Shutdown::default();
    let ending = shutdown.clone();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(guard);
    let mut next = async move || {
        tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
        }
    };
    let wait = move || {
        runtime.block_on(next());
        ending.trigger();
        let second = runtime.block_on(next());
        process::exit(128 + second.as_raw_value());
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    Ok(shutdown)
}
