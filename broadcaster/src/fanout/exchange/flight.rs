//! What was sent to the broker and not confirmed by it: how much of it is too much?
//!
//! The rule is about age, as everywhere: while the oldest message on its way is older than it should
//! be, no more are sent, so that a thin line or a slow broker makes frames fewer and not older. On a
//! long line messages are always old when their confirmation comes; the shortest trip of late is what
//! the line takes for itself, and only what is beyond it is delay.

use std::collections::VecDeque;
use std::time::Duration;

use common::Monotonic;

/// How much delay is too much.
const MAX_DELAY: Duration = Duration::from_millis(250);
/// No confirmation for so long: the broker is given up.
const GIVEN_UP: Duration = Duration::from_secs(5);
/// For how long the shortest trip is taken for that of the line.
const TRIP_WINDOW: Duration = Duration::from_secs(10);
/// Most messages on their way, whatever their age.
const MAX_MESSAGES: usize = 256;

/// The messages on their way, each with `T`.
#[derive(Debug)]
pub(super) struct Flight<T> {
    messages: VecDeque<Message<T>>,
    line: Duration,
    line_until: Monotonic,
}

#[derive(Debug)]
struct Message<T> {
    sent_at: Monotonic,
    content: T,
}

impl<T> Flight<T> {
    pub(super) const fn new() -> Self {
        Self {
            messages: VecDeque::new(),
            line: Duration::MAX,
            line_until: Monotonic::from_nanos(0),
        }
    }

    /// Whether one more may be sent.
    pub(super) fn has_room(&self, now: Monotonic) -> bool {
        let Some(oldest) = self.messages.front() else {
            return true;
        };
        let line = if self.line == Duration::MAX {
            Duration::ZERO
        } else {
            self.line
        };
        self.messages.len() < MAX_MESSAGES && now.since(oldest.sent_at) <= line + MAX_DELAY
    }

    /// When to give up if nothing is confirmed until then.
    pub(super) fn given_up_at(&self) -> Option<Monotonic> {
        Some(self.messages.front()?.sent_at + GIVEN_UP)
    }

    /// One more is on its way.
    pub(super) fn add(&mut self, content: T, now: Monotonic) {
        let sent_at = now;
        self.messages.push_back(Message { sent_at, content });
    }

    /// What belongs to the oldest message.
    pub(super) fn oldest(&mut self) -> Option<&mut T> {
        Some(&mut self.messages.front_mut()?.content)
    }

    /// What belongs to the newest message.
    pub(super) fn newest(&mut self) -> Option<&mut T> {
        Some(&mut self.messages.back_mut()?.content)
    }

    /// The oldest message has arrived.
    pub(super) fn arrived(&mut self, now: Monotonic) {
        let Some(message) = self.messages.pop_front() else {
            return;
        };
        let trip = now.since(message.sent_at);
        if trip <= self.line || now >= self.line_until {
            self.line = trip;
            self.line_until = now + TRIP_WINDOW;
        }
    }

    /// How many are on their way.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(33);

    /// Frames sent in ten seconds over a line that takes `trip` for itself and hands on one message
    /// each `pace`; and how long the last one was on its way.
    fn send(trip: Duration, pace: Duration) -> (u32, Duration) {
        let mut flight = Flight::new();
        let mut arrivals = VecDeque::new();
        let start = Monotonic::from_nanos(0);
        let (mut sent, mut free_at, mut age) = (0, start, Duration::ZERO);
        for tick in 0..300 {
            let now = start + EVERY * tick;
            while arrivals.front().is_some_and(|&(at, _)| at <= now) {
                let (at, begun) = arrivals.pop_front().unwrap();
                flight.arrived(at);
                age = at.since(begun);
            }
            if flight.has_room(now) {
                free_at = free_at.max(now) + pace;
                arrivals.push_back((free_at + trip, now));
                flight.add((), now);
                sent += 1;
            }
        }
        (sent, age)
    }

    #[test]
    fn a_long_line_is_used_in_full() {
        for millis in [0, 100, 250] {
            let trip = Duration::from_millis(millis);
            assert_eq!(send(trip, Duration::ZERO), (300, trip));
        }
    }

    #[test]
    fn a_thin_line_makes_frames_fewer_not_older() {
        // A third of what is sent fits; 10 s without a bound would be nearly 7 s of delay.
        let (sent, age) = send(Duration::from_millis(50), 3 * EVERY);
        assert!((90..=120).contains(&sent), "{sent}");
        assert!(age < Duration::from_millis(550), "{age:?}");
    }

    #[test]
    fn a_line_that_does_not_answer_is_given_up() {
        let mut flight = Flight::new();
        assert_eq!(flight.given_up_at(), None);
        let start = Monotonic::from_nanos(0);
        flight.add((), start);
        flight.add((), start + Duration::from_secs(1));
        assert_eq!(flight.given_up_at(), Some(start + GIVEN_UP));
        flight.arrived(start + Duration::from_secs(2));
        let later = start + Duration::from_secs(1) + GIVEN_UP;
        assert_eq!(flight.given_up_at(), Some(later));
    }

    #[test]
    fn a_line_that_became_longer_is_learned() {
        let mut flight = Flight::new();
        let start = Monotonic::from_nanos(0);
        let mut trip = |at: u64, millis| {
            let at = start + Duration::from_secs(at);
            flight.add((), at);
            flight.arrived(at + Duration::from_millis(millis));
            flight.line.as_millis()
        };
        assert_eq!(trip(0, 10), 10);
        assert_eq!(trip(1, 400), 10);
        assert_eq!(trip(12, 400), 400);
        assert_eq!(trip(13, 20), 20);
    }
}
