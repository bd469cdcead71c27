//! Why a connection could not be had or was lost, and what that means for the next try.

use std::io;
use std::time::Duration;

use common::DecodeError;
use common::wire::MAX_HOPS;
use common::wire::tcp::{Goodbye, GoodbyeCode};

use crate::broker;

/// Longest wait that a server can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Why a connection could not be had or was lost.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no: name not found, refused, reset, no route.
    #[error("{}", reason(.0))]
    Io(#[from] io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The connection stands but nothing comes.
    #[error("no byte came for {} s", .0.as_secs())]
    Silent(Duration),
    /// Bytes come, but so few that the message they belong to does not get whole.
    #[error("a message was not whole within {} s", .0.as_secs())]
    Slow(Duration),
    /// The server took the connection but did not answer the first message.
    #[error("no answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// What came is not what the protocol allows.
    #[error(transparent)]
    Wire(#[from] DecodeError),
    /// The server said why it ends the connection.
    #[error("the server says {:?}: {}", .0.code, .0.text)]
    Goodbye(Goodbye),
    /// The server speaks a version that was not offered.
    #[error("the server speaks version {0} of the protocol, which is not known here")]
    Version(u8),
    /// A message that makes sense at another time only.
    #[error("{0} is not expected here")]
    Unexpected(&'static str),
    /// Frames that have passed too many relays to be passed on.
    #[error(
        "frames come that have passed {0} relays, at most {MAX_HOPS} are allowed: broadcasters \
         relay each other in a circle"
    )]
    Circle(u8),
    /// The HTTP server answers, but not with a stream.
    #[error("the server answers {code}{}", words(*.code))]
    Status {
        /// The HTTP status.
        code: u16,
        /// The Retry-After, in whole seconds; zero if none.
        retry_after: Duration,
    },
    /// A response head that makes no sense.
    #[error("the answer is not HTTP: {0}")]
    Head(String),
    /// A content type that is no stream of pictures.
    #[error("not an MJPEG stream but {0:?}; multipart/x-mixed-replace is needed")]
    NotAStream(String),
    /// An address that answers like a page.
    #[error("no WebSocket at this address")]
    NoSocket,
    /// One picture where a stream was expected.
    #[error("a still ({0}), not a stream; ask the server for its stream")]
    Still(String),
    /// Redirected to where nobody can follow.
    #[error("redirected to {0:?}, which is no http:// address")]
    Redirect(String),
    /// Redirected again and again.
    #[error("redirected more than {0} times")]
    Redirects(usize),
    /// A broker refuses.
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

impl Error {
    /// Whether another try would fare no better, as far as one can know who was never connected.
    /// After a first success the same errors are temporary: the server may be restarting.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Goodbye(goodbye) => matches!(
                goodbye.code,
                GoodbyeCode::UnknownChannel | GoodbyeCode::Version
            ),
            Self::Status { code, .. } => *code == 404,
            Self::Broker(error) => error.is_permanent(),
            Self::Version(_)
            | Self::NotAStream(_)
            | Self::NoSocket
            | Self::Still(_)
            | Self::Redirect(_)
            | Self::Redirects(_) => true,
            _ => false,
        }
    }

    /// How long the server asks to be left alone, at most a minute.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        let asked = match self {
            Self::Goodbye(goodbye) => goodbye.retry_after,
            Self::Status { retry_after, .. } => *retry_after,
            _ => Duration::ZERO,
        };
        asked.min(MAX_RETRY_AFTER)
    }
}

/// What the commonest refusals mean.
const fn words(code: u16) -> &'static str {
    match code {
        401 => " (user name or password wanted)",
        403 => " (forbidden)",
        404 => " (not found)",
        503 => " (not available now)",
        _ => "",
    }
}

/// The system's reason without its number, where it has plain words for it.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        kind @ (io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::TimedOut) => kind.to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_plain_words() {
        let error = Error::from(io::Error::from_raw_os_error(111));
        assert_eq!(error.to_string(), "connection refused");
    }

    #[test]
    fn waits_are_bounded() {
        let error = Error::Status {
            code: 503,
            retry_after: Duration::from_secs(86_400),
        };
        assert_eq!(error.retry_after(), MAX_RETRY_AFTER);
        assert!(!error.is_permanent());
    }
}
