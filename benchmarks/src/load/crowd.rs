//! Viewers that count bytes and look at none of them.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use common::Shutdown;
use rustix::net::RecvFlags;

use super::readiness::{Connection, Readiness};

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
        let (counted, mut unused) = (bytes.clone(), vec![0; GULP]);
        let read = move |key: usize, stream: &mut mio::net::TcpStream| {
            let count = discard(stream, &mut unused);
            counted[key].fetch_add(count, Ordering::Relaxed);
            Connection::Open
        };
        let thread = Readiness::of(streams, shutdown)?.spawn("crowd", read)?;
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

/// Throws away all that has arrived; how many bytes that was.
fn discard(stream: &mio::net::TcpStream, unused: &mut [u8]) -> u64 {
    let mut total = 0;
    // MSG_TRUNC on TCP: the kernel drops the bytes and copies none (tcp(7)). A call that returns
    // less than asked has emptied the queue; the next byte is a new event.
    while let Ok((_, count)) = rustix::net::recv(stream, &mut *unused, RecvFlags::TRUNC) {
        total += count as u64;
        if count < unused.len() {
            break;
        }
    }
    total
}
