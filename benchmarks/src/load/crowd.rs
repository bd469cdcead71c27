//! Viewers that count bytes and look at none of them.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::Shutdown;
use mio::{Events, Interest, Poll, Token};
use rustix::net::RecvFlags;

use super::LoopWaker;

const EVENTS: usize = 1024;
const WAKE: Token = Token(usize::MAX);
/// Most bytes thrown away in one call.
const GULP: usize = 1 << 20;

/// The thread that reads for all of them.
#[derive(Debug)]
pub struct Crowd {
    bytes: Arc<[AtomicU64]>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Starts reading from all streams, which must not block.
    ///
    /// # Errors
    /// When the system gives no thread or no readiness queue.
    pub fn start(streams: Vec<TcpStream>, shutdown: &Shutdown) -> io::Result<Self> {
        let bytes: Arc<[AtomicU64]> = streams.iter().map(|_| AtomicU64::new(0)).collect();
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
        let (counted, shutdown) = (bytes.clone(), shutdown.clone());
        let thread = thread::Builder::new()
            .name("crowd".to_owned())
            .spawn(move || discard(poll, &streams, &counted, &shutdown))?;
        Ok(Self {
            bytes,
            thread: Some(thread),
        })
    }

    /// Bytes received so far, by viewer.
    #[must_use]
    pub fn bytes(&self) -> Vec<u64> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.bytes.iter().map(load).collect()
    }

    /// Waits for the end, which the word to end brings about.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("reading does not panic");
        }
    }
}

fn discard(
    mut poll: Poll,
    streams: &[mio::net::TcpStream],
    bytes: &[AtomicU64],
    shutdown: &Shutdown,
) {
    let mut events = Events::with_capacity(EVENTS);
    let mut unused = vec![0; GULP];
    while !shutdown.is_triggered() {
        if poll
            .poll(&mut events, Some(Duration::from_secs(1)))
            .is_err()
        {
            continue;
        }
        for event in &events {
            let Token(key) = event.token();
            let Some(stream) = streams.get(key) else {
                continue;
            };
            // MSG_TRUNC on TCP: the kernel drops the bytes and copies none (tcp(7)). A call that
            // returns less than asked has emptied the queue; the next byte is a new event.
            while let Ok((_, count)) = rustix::net::recv(stream, &mut unused[..], RecvFlags::TRUNC)
            {
                bytes[key].fetch_add(count as u64, Ordering::Relaxed);
                if count < GULP {
                    break;
                }
            }
        }
    }
}
