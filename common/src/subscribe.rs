//! What every reader of a fan-out model offers, whether the model is a ring or a network.

use std::sync::Arc;
use std::time::Duration;

use crate::frame::Payload;

/// Why `recv` gave no payload. These are outcomes, not failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecvError {
    /// The reader was overtaken; it goes on at the newest key frame. Call again.
    #[error("{skipped} payloads were overwritten before they were read")]
    Lagged {
        /// Payloads between the last one received and the one that comes next.
        skipped: u64,
    },
    /// Nothing came within the time given.
    #[error("nothing came within the time given")]
    TimedOut,
    /// Nothing will ever come.
    #[error("the stream has ended")]
    Closed,
}

/// One reader of a stream of payloads.
///
/// Counted from where the reader began, in payloads: published = received + skipped + unread,
/// where skipped is the sum of what [`RecvError::Lagged`] and `resume_newest` reported.
pub trait Subscribe {
    /// The next payload, waiting for it up to `timeout`; `Duration::ZERO` only looks.
    ///
    /// # Errors
    /// See [`RecvError`]. After the writer has gone, what is left is handed out before `Closed`.
    fn recv(&mut self, timeout: Duration) -> Result<Arc<Payload>, RecvError>;

    /// Jumps to the newest key frame if that is ahead; returns how many payloads were skipped.
    fn resume_newest(&mut self) -> u64;
}
