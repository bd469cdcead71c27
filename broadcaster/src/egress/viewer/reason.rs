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

impl Reason {
    /// Each in a word that never changes, for those who count.
    pub const WORDS: [&'static str; 10] = [
        "left",
        "stalled",
        "unacknowledged",
        "protocol",
        "floods",
        "memory",
        "dismissed",
        "ended",
        "opaque",
        "io",
    ];

    /// Its word among [`WORDS`](Self::WORDS).
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Stalled(_) => "stalled",
            Self::Unacknowledged(_) => "unacknowledged",
            Self::Protocol(_) => "protocol",
            Self::Floods => "floods",
            Self::Memory => "memory",
            Self::Dismissed => "dismissed",
            Self::Ended => "ended",
            Self::Opaque => "opaque",
            Self::Io(_) => "io",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_word_among_all_of_them() {
        let reasons = [
            Reason::Left,
            Reason::Stalled(Duration::ZERO),
            Reason::Unacknowledged(Duration::ZERO),
            Reason::Protocol(DecodeError::Incomplete { needed: 1 }),
            Reason::Floods,
            Reason::Memory,
            Reason::Dismissed,
            Reason::Ended,
            Reason::Opaque,
            Reason::Io(String::new()),
        ];
        assert_eq!(reasons.map(|reason| reason.word()), Reason::WORDS);
    }
}
