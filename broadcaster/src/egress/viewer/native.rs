//! What a viewer of the native protocol says: it asks for the time and tells how it fares.

use std::time::Duration;

use bytes::Bytes;
use common::Clock;
use common::wire::DecodeError;
use common::wire::tcp::{Goodbye, GoodbyeCode, Message, Pong, Sender};

use super::{MAX_CONTROL, Reason, Viewer};

impl Viewer {
    pub(super) fn receive_native(&mut self, clock: &dyn Clock) {
        while self.ending.is_none() {
            match Message::decode(&mut self.inbox, Sender::Viewer) {
                Ok(message) => self.react(message, clock),
                Err(DecodeError::Incomplete { .. }) => return,
                Err(error) => return self.end(Reason::Protocol(error)),
            }
        }
    }

    fn react(&mut self, message: Message, clock: &dyn Clock) {
        match message {
            Message::Ping(_) if self.control.len() >= MAX_CONTROL => self.end(Reason::Floods),
            Message::Ping(sent_at) => {
                let now = clock.wall();
                let pong = Message::Pong(Pong {
                    sent_at,
                    received_at: now,
                    replied_at: now,
                });
                self.control.push_back(pong.encode());
            }
            Message::Feedback(feedback) => self.counters.feedback = Some(feedback),
            // A second HELLO changes nothing; the rest is not decoded from a viewer.
            _ => {}
        }
    }
}

/// What is said before the connection is closed.
pub(super) fn goodbye(reason: &Reason) -> Bytes {
    let code = match reason {
        Reason::Protocol(_) | Reason::Floods | Reason::Unacknowledged(_) => GoodbyeCode::Protocol,
        Reason::Stalled(_) | Reason::Memory => GoodbyeCode::Busy,
        Reason::Left | Reason::Dismissed | Reason::Ended | Reason::Opaque | Reason::Io(_) => {
            GoodbyeCode::ShuttingDown
        }
    };
    Message::Goodbye(Goodbye {
        code,
        retry_after: Duration::ZERO,
        text: reason.to_string(),
    })
    .encode()
}
