//! Receivers against servers that follow a script, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod http;
mod program;
mod server;
mod tcp;
