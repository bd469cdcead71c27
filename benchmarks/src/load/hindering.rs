//! Viewers that cannot or will not keep up, to see what the others feel of them.

use std::io;
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::Shutdown;

use super::read_some;
use crate::contender::Hindrance;

/// A throttled viewer reads this much, this often: 40 kB a second.
const SIP_BYTES: usize = 4_000;
const SIP_EVERY: Duration = Duration::from_millis(100);

/// Their connections, and the thread that reads a little from them if anybody does.
#[derive(Debug)]
pub struct Hindering {
    /// Open and never read.
    _stopped: Vec<TcpStream>,
    thread: Option<JoinHandle<()>>,
}

impl Hindering {
    /// Starts hindering with all streams, which must not block.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        mut streams: Vec<TcpStream>,
        hindrance: Hindrance,
        shutdown: &Shutdown,
    ) -> io::Result<Self> {
        if !matches!(hindrance, Hindrance::Throttled(_)) {
            return Ok(Self {
                _stopped: streams,
                thread: None,
            });
        }
        let shutdown = shutdown.clone();
        let sip = move || {
            let mut scratch = [0; SIP_BYTES];
            while !shutdown.wait(SIP_EVERY) {
                streams.retain_mut(|stream| read_some(stream, &mut scratch).is_some());
            }
        };
        let thread = thread::Builder::new()
            .name("hindering".to_owned())
            .spawn(sip)?;
        Ok(Self {
            _stopped: Vec::new(),
            thread: Some(thread),
        })
    }

    /// Waits for the end, which the word to end brings about.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("reading does not panic");
        }
    }
}
