//! The readiness loop that viewers of both kinds are read with.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::Shutdown;
use mio::{Events, Interest, Poll, Token};

use super::LoopWaker;

const EVENTS: usize = 1024;
const WAKE: Token = Token(usize::MAX);
/// How often the loop looks by itself whether to end.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether a connection has more to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    /// It may become ready again.
    Open,
    /// It has ended or is of no use any more.
    Over,
}

/// Connections that wait to be read.
#[derive(Debug)]
pub(super) struct Readiness {
    poll: Poll,
    streams: Vec<mio::net::TcpStream>,
    shutdown: Shutdown,
}

impl Readiness {
    /// Takes in all streams, which must not block.
    pub(super) fn of(streams: Vec<TcpStream>, shutdown: &Shutdown) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::from(Arc::new(LoopWaker(mio::Waker::new(poll.registry(), WAKE)?)));
        shutdown.wake_by(&waker);
        let mut streams: Vec<_> = streams
            .into_iter()
            .map(mio::net::TcpStream::from_std)
            .collect();
        for (key, stream) in streams.iter_mut().enumerate() {
            poll.registry()
                .register(stream, Token(key), Interest::READABLE)?;
        }
        Ok(Self {
            poll,
            streams,
            shutdown: shutdown.clone(),
        })
    }

    /// Starts a thread that calls `read` with the place of each connection that is ready and the
    /// connection itself, until the word to end. `read` takes all there is: it is told of new
    /// bytes only.
    pub(super) fn spawn(
        self,
        name: &str,
        read: impl FnMut(usize, &mut mio::net::TcpStream) -> Connection + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || self.run(read))
    }

    fn run(mut self, mut read: impl FnMut(usize, &mut mio::net::TcpStream) -> Connection) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.shutdown.is_triggered() {
            if self.poll.poll(&mut events, Some(LOOK_EVERY)).is_err() {
                continue;
            }
            for event in &events {
                let Token(key) = event.token();
                let Some(stream) = self.streams.get_mut(key) else {
                    continue;
                };
                if read(key, stream) == Connection::Over {
                    // Fails only if it is not registered, which is what is wanted.
                    drop(self.poll.registry().deregister(stream));
                }
            }
        }
    }
}
