//! Why a viewer ends, for the log and for its last message.

use std::time::Duration;

use common::wire::DecodeError;

/// Why a viewer ends. Goes into the log, and for some into a GOODBYE.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The peer closed the connection.
    #[error("left")]
    Left,
    /// No byte of progress for this long.
    #[error("took no byte for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The peer has not acknowledged what it was sent for this long.
    #[error("acknowledged nothing for {} s", .0.as_secs())]
    Unacknowledged(Duration),
    /// The peer sent what it must not send.
    #[error("sent bytes that are no message: {0}")]
    Protocol(#[from] DecodeError),
    /// The peer asks faster than it can be answered.
    #[error("asks too much at once")]
    Floods,
    /// Memory is tight, and this viewer has held its frame for longest.
    #[error("held a frame for longest while memory was tight")]
    Memory,
    /// Somebody who may has sent it away.
    #[error("was sent away")]
    Dismissed,
    /// The stream has ended.
    #[error("the broadcast has ended")]
    Ended,
    /// What a relay passes on is no longer what this viewer can be sent.
    #[error("the frames are opaque now, which only tcp:// can deliver")]
    Opaque,
    /// The system reported an error.
    #[error("connection failed: {0}")]
    Io(String),
}
