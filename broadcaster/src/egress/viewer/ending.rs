//! How a viewer ends: by its own will, because it takes nothing, or because it is sent away.

use std::time::Duration;

use common::Monotonic;

use super::{Reason, Viewer, native, socket};
use crate::egress::{FAREWELL, Protocol};

impl Viewer {
    /// Finishes the message begun, says GOODBYE where the protocol can, and asks to be closed.
    pub fn end(&mut self, reason: Reason) {
        if self.ending.is_some() {
            return;
        }
        self.control.clear();
        match self.protocol {
            Protocol::Tcp => self.control.push_back(native::goodbye(&reason)),
            Protocol::Ws => self.control.extend(socket::goodbye(&reason)),
            Protocol::Http => {}
        }
        self.leave_off();
        self.ending = Some(reason);
    }

    /// Takes back what is not begun.
    pub(super) fn leave_off(&mut self) {
        (self.sending).take_if(|sending| sending.progress.is_unbegun());
    }

    /// The reason to close it, if the peer has taken no byte of a begun message for too long, or does
    /// not take its leave.
    #[must_use]
    pub fn stall(&self, now: Monotonic) -> Option<Reason> {
        if self.closing.is_overdue(now) {
            return self.ending.clone();
        }
        let is_stuck = self.sending.is_some() && now.since(self.progressed_at) >= FAREWELL;
        if self.figures.is_dismissed() && is_stuck {
            return Some(Reason::Dismissed);
        }
        let stalled_for = now.since(self.progressed_at);
        let is_stalled = self.sending.is_some() && stalled_for >= self.stall_limit;
        is_stalled.then_some(Reason::Stalled(self.stall_limit))
    }

    /// Why a viewer goes whose peer has closed the connection: it may have been asked to.
    #[must_use]
    pub fn reason_to_leave(&self) -> Reason {
        self.ending.clone().unwrap_or(Reason::Left)
    }

    /// How long the viewer has held a begun payload without progress, if it holds one.
    #[must_use]
    pub fn held_for(&self, now: Monotonic) -> Option<Duration> {
        let sending = self.sending.as_ref()?;
        sending.payload.as_ref()?;
        Some(now.since(self.progressed_at))
    }
}
