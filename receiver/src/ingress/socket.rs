//! A connection with deadlines: every wait ends, and a peer that falls silent is noticed.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::BytesMut;
use common::{Clock, Monotonic, SystemClock};

use super::Error;

/// Longest wait for a connection, over all addresses of a name.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the answer to the first message.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the kernel to take what we say, which is so little that only a peer that has not
/// read for hours makes anybody wait.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection without a byte for this long is lost.
const SILENCE: Duration = Duration::from_secs(10);
/// A message that takes longer to arrive is as good as none.
const LONGEST_MESSAGE: Duration = Duration::from_secs(30);
/// Waits are rounded up to whole steps, so that the timeout is set anew only now and then.
const STEP: Duration = Duration::from_millis(50);
/// Least and most room made for one read, whatever was announced.
const LEAST_READ: usize = 16 << 10;
const MOST_READ: usize = 1 << 20;
/// Room that is left in a buffer is used up before there is a new one, unless it is less than this:
/// frames share the buffer they arrived in, so each small frame would hold a large buffer.
const LEAST_ROOM: usize = 2 << 10;

/// How a read waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Never,
    UpTo(Duration),
}

/// A connected socket and what is known of its wait and its silence.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    wait: Wait,
    heard_at: Monotonic,
    /// When the message that is arriving began.
    begun_at: Option<Monotonic>,
}

impl Socket {
    /// Connects to the first address of `host` that answers.
    pub(super) fn connect(host: &str, port: u16) -> Result<Self, Error> {
        let stream = connect_any(host, port)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let wait = Wait::UpTo(STEP);
        stream.set_read_timeout(Some(STEP))?;
        Ok(Self {
            stream,
            wait,
            heard_at: SystemClock.monotonic(),
            begun_at: None,
        })
    }

    /// Takes note that the bytes read have made a message whole.
    pub(super) const fn note_whole(&mut self) {
        self.begun_at = None;
    }

    /// Says something short.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.wait == Wait::Never {
            self.set_wait(Wait::UpTo(STEP))?;
        }
        Ok(self.stream.write_all(bytes)?)
    }

    /// Reads once, behind what is in `buffer`, which lacks at least `needed` bytes; false if
    /// nothing came until the deadline.
    pub(super) fn fill(
        &mut self,
        buffer: &mut BytesMut,
        needed: usize,
        deadline: Monotonic,
    ) -> Result<bool, Error> {
        let now = SystemClock.monotonic();
        self.set_wait(Wait::until(deadline, now))?;
        let filled = buffer.len();
        let room = buffer.capacity() - filled;
        let read = if room >= needed.max(LEAST_ROOM) {
            room.min(MOST_READ)
        } else {
            needed.clamp(LEAST_READ, MOST_READ)
        };
        buffer.resize(filled + read, 0);
        let outcome = self.stream.read(&mut buffer[filled..]);
        buffer.truncate(filled + outcome.as_ref().copied().unwrap_or(0));
        match outcome {
            Ok(0) => Err(Error::Closed),
            Ok(_) => self.note_heard(SystemClock.monotonic()).map(|()| true),
            Err(error) if is_nothing_yet(&error) => self.check_silence().map(|()| false),
            Err(error) => Err(error.into()),
        }
    }

    fn note_heard(&mut self, now: Monotonic) -> Result<(), Error> {
        self.heard_at = now;
        let begun_at = *self.begun_at.get_or_insert(now);
        if now.since(begun_at) >= LONGEST_MESSAGE {
            return Err(Error::Slow(LONGEST_MESSAGE));
        }
        Ok(())
    }

    fn check_silence(&self) -> Result<(), Error> {
        if SystemClock.monotonic().since(self.heard_at) >= SILENCE {
            return Err(Error::Silent(SILENCE));
        }
        Ok(())
    }

    fn set_wait(&mut self, wait: Wait) -> io::Result<()> {
        if self.wait == wait {
            return Ok(());
        }
        match wait {
            Wait::Never => self.stream.set_nonblocking(true)?,
            Wait::UpTo(timeout) => {
                if self.wait == Wait::Never {
                    self.stream.set_nonblocking(false)?;
                }
                self.stream.set_read_timeout(Some(timeout))?;
            }
        }
        self.wait = wait;
        Ok(())
    }
}

impl Wait {
    fn until(deadline: Monotonic, now: Monotonic) -> Self {
        let left = deadline.since(now);
        if left.is_zero() {
            return Self::Never;
        }
        if left < STEP {
            return Self::UpTo(left.max(Duration::from_millis(1)));
        }
        let steps = left.as_millis().div_ceil(STEP.as_millis());
        Self::UpTo(STEP * u32::try_from(steps).unwrap_or(u32::MAX / 1_000))
    }
}

fn connect_any(host: &str, port: u16) -> io::Result<TcpStream> {
    let deadline = SystemClock.monotonic() + CONNECT_TIMEOUT;
    let mut outcome = Err(io::Error::other("the name has no address"));
    for address in (host, port).to_socket_addrs()? {
        let left = deadline.since(SystemClock.monotonic());
        if left.is_zero() {
            break;
        }
        outcome = TcpStream::connect_timeout(&address, left);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn waits_are_whole_steps_unless_short() {
        let now = Monotonic::from_nanos(7);
        let wait = |millis| Wait::until(now + Duration::from_millis(millis), now);
        let up_to = |millis| Wait::UpTo(Duration::from_millis(millis));
        assert_eq!(wait(0), Wait::Never);
        assert_eq!(wait(3), up_to(3));
        assert_eq!(wait(50), up_to(50));
        assert_eq!(wait(201), up_to(250));
        assert_eq!(wait(250), up_to(250));
    }

    #[test]
    fn a_message_that_never_gets_whole_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket =
            Socket::connect("127.0.0.1", listener.local_addr().unwrap().port()).unwrap();
        let start = SystemClock.monotonic();
        let after = |seconds| start + Duration::from_secs(seconds);
        for seconds in 0..30 {
            socket.note_heard(after(seconds)).unwrap();
        }
        let given_up = socket.note_heard(after(30));
        assert!(matches!(given_up, Err(Error::Slow(LONGEST_MESSAGE))));
        socket.note_whole();
        socket.note_heard(after(60)).unwrap();
    }

    #[test]
    fn small_messages_share_a_buffer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket =
            Socket::connect("127.0.0.1", listener.local_addr().unwrap().port()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let deadline = SystemClock.monotonic() + Duration::from_secs(5);
        let mut buffer = BytesMut::new();
        let kept: Vec<_> = (0..100)
            .map(|_| {
                peer.write_all(&[7; 100]).unwrap();
                while buffer.len() < 100 {
                    socket.fill(&mut buffer, 1, deadline).unwrap();
                }
                buffer.split_to(100).freeze()
            })
            .collect();
        let start = kept[0].as_ptr().addr();
        assert_eq!(kept[99].as_ptr().addr(), start + 99 * 100);
    }

    #[test]
    fn room_is_made_for_what_comes_not_for_what_was_announced() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket =
            Socket::connect("127.0.0.1", listener.local_addr().unwrap().port()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut buffer = BytesMut::new();
        let now = SystemClock.monotonic();
        assert!(!socket.fill(&mut buffer, usize::MAX, now).unwrap());
        assert!(buffer.is_empty() && buffer.capacity() <= 2 * MOST_READ);
        peer.write_all(b"abc").unwrap();
        let deadline = SystemClock.monotonic() + Duration::from_secs(5);
        assert!(socket.fill(&mut buffer, 1, deadline).unwrap());
        assert_eq!(buffer, &b"abc"[..]);
        drop(peer);
        assert!(matches!(
            socket.fill(&mut buffer, 1, deadline),
            Err(Error::Closed)
        ));
    }
}
