//! Receivers against servers that follow a script, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod desktop;
mod http;
mod probe;
mod program;
mod server;
mod sync;
mod tcp;
mod terminal;
#[cfg(feature = "window")]
mod window;
