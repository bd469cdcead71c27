//! Viewers who come, take their first frame and leave: how long joining takes.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::BytesMut;
use common::{Clock, DecodeError, Shutdown, SystemClock};
use hdrhistogram::Histogram;

use super::Target;
use super::arrival::Parser;
use super::sample::{empty_times, record};

/// Time between newcomers. Not a multiple of usual frame intervals, so that they come at all phases.
const EVERY: Duration = Duration::from_millis(97);
/// Who has no frame by then is counted with this time.
const PATIENCE: Duration = Duration::from_secs(5);
const SCRATCH_BYTES: usize = 64 << 10;

/// The thread that joins again and again.
#[derive(Debug)]
pub struct Joining {
    times: Arc<Mutex<Histogram<u64>>>,
    thread: Option<JoinHandle<()>>,
}

impl Joining {
    /// Starts joining.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(target: &Target, shutdown: &Shutdown) -> io::Result<Self> {
        let times = Arc::new(Mutex::new(empty_times()));
        let (shared, target, shutdown) = (times.clone(), target.clone(), shutdown.clone());
        let join_again = move || {
            while !shutdown.wait(EVERY) {
                let begun = SystemClock.monotonic();
                // A newcomer who is turned away has no first frame, which shows as a long time.
                let outcome = first_frame(&target);
                let time = SystemClock.monotonic().since(begun);
                let time = outcome.map_or(PATIENCE, |()| time);
                record(&mut shared.lock().expect("recording does not panic"), time);
            }
        };
        let thread = thread::Builder::new()
            .name("joining".to_owned())
            .spawn(join_again)?;
        Ok(Self {
            times,
            thread: Some(thread),
        })
    }

    /// Times from connecting to the first whole frame in microseconds, since they were last asked
    /// for.
    #[must_use]
    pub fn times(&self) -> Histogram<u64> {
        let mut times = self.times.lock().expect("recording does not panic");
        let taken = times.clone();
        times.reset();
        taken
    }

    /// Waits for the end, which the word to end brings about.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("joining does not panic");
        }
    }
}

fn first_frame(target: &Target) -> io::Result<()> {
    let mut stream = target.connect()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut parser = Parser::new(target.protocol);
    let mut buffer = BytesMut::new();
    let mut scratch = vec![0; SCRATCH_BYTES];
    loop {
        match parser.take(&mut buffer) {
            Ok(frames) if !frames.is_empty() => return Ok(()),
            Ok(_) => {}
            Err(DecodeError::Incomplete { .. }) => fill(&mut stream, &mut buffer, &mut scratch)?,
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

fn fill(stream: &mut TcpStream, buffer: &mut BytesMut, scratch: &mut [u8]) -> io::Result<()> {
    match stream.read(scratch)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            buffer.extend_from_slice(&scratch[..count]);
            Ok(())
        }
    }
}
