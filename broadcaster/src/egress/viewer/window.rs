//! What a viewer over WebSocket was sent of a channel and has not acknowledged.
//!
//! At most [`WINDOW`] payloads: a browser takes bytes off the network whether or not it gets round to
//! showing them, so what the kernel says about a connection is not enough to know how it fares. The
//! time spent waiting for acknowledgements is put down to who took it: the viewer's machine, as far as
//! the acknowledgement says so, else the link.

use std::collections::VecDeque;
use std::time::Duration;

use common::Monotonic;
use common::wire::ws::text::WINDOW;

/// Payloads on their way to one viewer, of one channel.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Oldest first.
    unacknowledged: VecDeque<Sent>,
    /// Since when nothing can be sent because of it.
    full_since: Option<Monotonic>,
    held: Held,
}

#[derive(Debug)]
struct Sent {
    /// Of the payload's last frame.
    seq: u64,
    /// When its last byte was handed to the kernel.
    at: Option<Monotonic>,
}

/// For how long what held up a channel's payloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Acknowledgements that were long on their way.
    pub(super) link: Duration,
    /// The viewer's machine.
    pub(super) device: Duration,
}

impl Window {
    pub(super) fn is_full(&self) -> bool {
        self.unacknowledged.len() >= WINDOW
    }

    /// A payload is about to be sent.
    pub(super) fn begin(&mut self, seq: u64) {
        self.unacknowledged.push_back(Sent { seq, at: None });
    }

    /// The payload begun last is not sent after all.
    pub(super) fn take_back(&mut self) {
        self.unacknowledged.pop_back();
    }

    /// The payload begun last is sent.
    pub(super) fn sent(&mut self, now: Monotonic) {
        if let Some(sent) = self.unacknowledged.back_mut() {
            sent.at = Some(now);
        }
        if self.is_full() {
            self.full_since = Some(now);
        }
    }

    /// The viewer has used the payload whose last frame is `seq`, and had it for `took`. What was not
    /// sent, or is acknowledged already, changes nothing.
    pub(super) fn acknowledge(&mut self, seq: u64, took: Option<Duration>, now: Monotonic) {
        let is_meant = |sent: &Sent| sent.seq == seq && sent.at.is_some();
        let Some(place) = self.unacknowledged.iter().position(is_meant) else {
            return;
        };
        let sent = self.unacknowledged.drain(..=place).next_back();
        if let Some(since) = self.full_since.take() {
            let round = now.since(sent.and_then(|sent| sent.at).unwrap_or(now));
            let held = if took.unwrap_or_default() * 2 >= round {
                &mut self.held.device
            } else {
                &mut self.held.link
            };
            *held += now.since(since);
        }
    }

    /// Whether the viewer has kept silent about something it was sent for as long as this.
    pub(super) fn is_overdue(&self, limit: Duration, now: Monotonic) -> bool {
        self.oldest().is_some_and(|at| now.since(at) >= limit)
    }

    /// When the oldest payload was sent that is not acknowledged, if there is one.
    pub(super) fn oldest(&self) -> Option<Monotonic> {
        self.unacknowledged.front().and_then(|sent| sent.at)
    }

    /// What held payloads up since this was asked last.
    pub(super) fn take_held(&mut self) -> Held {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn sent(window: &mut Window, seq: u64, millis: u64) {
        window.begin(seq);
        window.sent(at(millis));
    }

    #[test]
    fn two_may_be_on_their_way_and_an_acknowledgement_stands_for_all_before_it() {
        let mut window = Window::default();
        sent(&mut window, 4, 0);
        assert!(!window.is_full());
        sent(&mut window, 5, 0);
        assert!(window.is_full());
        window.acknowledge(9, None, at(1));
        assert!(window.is_full(), "was never sent");
        window.acknowledge(5, None, at(1));
        assert!(window.unacknowledged.is_empty());
        window.acknowledge(5, None, at(1));
    }

    #[test]
    fn a_placeholder_bears_the_number_of_the_frame_before_it_and_is_acknowledged_by_itself() {
        let mut window = Window::default();
        sent(&mut window, 5, 0);
        sent(&mut window, 5, 0);
        window.acknowledge(5, None, at(1));
        assert_eq!(window.unacknowledged.len(), 1);
    }

    #[test]
    fn what_is_not_sent_whole_is_neither_overdue_nor_acknowledged() {
        let mut window = Window::default();
        window.begin(5);
        window.acknowledge(5, None, at(1));
        assert_eq!(window.unacknowledged.len(), 1);
        assert!(!window.is_overdue(MS, at(1_000)));
        window.sent(at(1_000));
        assert!(!window.is_overdue(10 * MS, at(1_009)));
        assert!(window.is_overdue(10 * MS, at(1_010)));
        window.take_back();
        assert!(!window.is_overdue(10 * MS, at(1_010)));
    }

    #[test]
    fn time_is_put_down_to_who_took_most_of_it() {
        let mut window = Window::default();
        sent(&mut window, 1, 0);
        sent(&mut window, 2, 10);
        window.acknowledge(1, Some(49 * MS), at(100));
        let (link, device) = (90 * MS, Duration::ZERO);
        assert_eq!(window.take_held(), Held { link, device });
        sent(&mut window, 3, 110);
        window.acknowledge(2, Some(100 * MS), at(210));
        let (link, device) = (Duration::ZERO, 100 * MS);
        assert_eq!(window.take_held(), Held { link, device });
        assert_eq!(window.take_held(), Held::default());
    }
}
