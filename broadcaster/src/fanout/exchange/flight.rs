//! What was sent to the broker and is not known to have arrived: how much of it is too much?
//!
//! The broker does not answer each message: for every frame that would wake two threads once more.
//! Now and then a fence follows a message, a question that is no more than
//! that; what is said on a channel is taken in turn, so its answer tells that all before it was taken.
//! Once an answer is late, and where no more may be sent, each message is followed by one.
//!
//! The rule is about age, as everywhere. On a long line messages are always old when their answer
//! comes; the shortest trip of late is what the line takes for itself, and only what is beyond it is
//! delay. A fence that comes back late tells how many messages were before it and how long the line
//! took for them, so how many it can take in time; that many may be on their way. So a thin line makes
//! frames fewer and not older. While no answer comes at all, nothing is sent.

use std::collections::VecDeque;
use std::time::Duration;

use common::{Monotonic, Shortest};

/// How much delay messages may have on a thin line.
const TARGET_DELAY: Duration = Duration::from_millis(150);
/// How much is too much to send more.
const MAX_DELAY: Duration = Duration::from_millis(250);
/// How much delay makes each message worth a fence.
const LATE: Duration = Duration::from_millis(50);
/// The time between two fences otherwise: six frames at 30 fps.
const FENCE_EVERY: Duration = Duration::from_millis(200);
/// No answer for so long: the broker is given up.
const GIVEN_UP: Duration = Duration::from_secs(5);
/// For how long the shortest trip is taken for that of the line, at least.
const MEMORY: Duration = Duration::from_secs(5);
/// Most messages on their way, whatever their age.
const MAX_MESSAGES: usize = 256;
/// As many at first, on a line of which nothing is known: a quarter of a second at 30 fps.
const FIRST_MESSAGES: usize = 8;

/// The messages on their way, and the fences among them, each with `T`.
#[derive(Debug)]
pub(super) struct Flight<T> {
    /// When each was sent, the oldest first.
    messages: VecDeque<Monotonic>,
    fences: VecDeque<Fence<T>>,
    /// When the last fence was sent.
    fenced_at: Option<Monotonic>,
    /// How many messages may be on their way.
    limit: usize,
    /// The shortest trip of late.
    line: Shortest,
    /// When the broker took something again after it had said that it would not: what went on before
    /// says nothing about the line.
    resumed_at: Option<Monotonic>,
}

#[derive(Debug)]
struct Fence<T> {
    /// How many messages are between this and the fence before.
    behind: usize,
    /// How many were on their way before this.
    ahead: usize,
    sent_at: Monotonic,
    content: T,
}

impl<T> Flight<T> {
    pub(super) const fn new() -> Self {
        Self {
            messages: VecDeque::new(),
            fences: VecDeque::new(),
            fenced_at: None,
            limit: FIRST_MESSAGES,
            line: Shortest::within(MEMORY),
            resumed_at: None,
        }
    }

    /// The broker takes something again.
    pub(super) const fn resume(&mut self, now: Monotonic) {
        self.resumed_at = Some(now);
    }

    /// Since when what was sent then has been on its way, without the time in which nothing was taken.
    fn begun(&self, sent_at: Monotonic) -> Monotonic {
        self.resumed_at.map_or(sent_at, |at| at.max(sent_at))
    }

    /// Whether one more may be sent.
    pub(super) fn has_room(&self, now: Monotonic) -> bool {
        self.messages.len() < self.limit && self.delay(now) <= MAX_DELAY
    }

    /// For how much longer the oldest fence has been on its way than the line takes for itself.
    fn delay(&self, now: Monotonic) -> Duration {
        let age = |fence: &Fence<T>| now.since(self.begun(fence.sent_at));
        let oldest = self.fences.front().map_or(Duration::ZERO, age);
        oldest.saturating_sub(self.line.get().unwrap_or_default())
    }

    /// Whether a fence is to follow the next message.
    pub(super) fn wants_fence(&self, now: Monotonic) -> bool {
        let is_due = |at: Monotonic| now.since(at) >= FENCE_EVERY;
        let is_last = self.messages.len() + 1 >= self.limit;
        is_last || self.delay(now) > LATE || self.fenced_at.is_none_or(is_due)
    }

    /// One more is on its way. Whether a fence is to follow it.
    #[must_use]
    pub(super) fn add(&mut self, now: Monotonic) -> bool {
        let wants_fence = self.wants_fence(now);
        self.messages.push_back(now);
        wants_fence
    }

    /// When to ask for messages that no fence has followed, whether there are some yet or not. `None` once
    /// that time is over and there are none: the next one is followed by a fence.
    pub(super) fn fence_at(&self, now: Monotonic) -> Option<Monotonic> {
        // Late enough for the next message to come before it.
        let at = self.fenced_at? + 2 * FENCE_EVERY;
        (at > now || self.has_unasked()).then_some(at)
    }

    /// A fence is on its way.
    pub(super) fn fence(&mut self, content: T, now: Monotonic) {
        let behind = self.behind_last();
        self.fenced_at = Some(now);
        self.fences.push_back(Fence {
            behind,
            ahead: self.messages.len(),
            sent_at: now,
            content,
        });
    }

    /// What belongs to the fences, the oldest first.
    pub(super) fn fences(&mut self) -> impl Iterator<Item = &mut T> {
        self.fences.iter_mut().map(|fence| &mut fence.content)
    }

    /// The oldest fence was answered. How many messages have arrived since the one before it, and what
    /// belongs to it.
    pub(super) fn passed(&mut self, now: Monotonic) -> Option<(usize, T)> {
        let fence = self.fences.pop_front()?;
        self.messages.drain(..fence.behind);
        let trip = now.since(self.begun(fence.sent_at));
        let in_time = self.line.add(trip, now) + TARGET_DELAY;
        self.limit = if trip <= in_time {
            (self.limit + 1).min(MAX_MESSAGES)
        } else {
            let share = in_time.as_secs_f64() / trip.as_secs_f64();
            scale(fence.ahead, share).max(1)
        };
        Some((fence.behind, fence.content))
    }

    /// Whether there are messages that no fence has followed.
    pub(super) fn has_unasked(&self) -> bool {
        self.behind_last() > 0
    }

    /// Messages that no fence has followed.
    fn behind_last(&self) -> usize {
        let fenced: usize = self.fences.iter().map(|fence| fence.behind).sum();
        self.messages.len() - fenced
    }

    /// When to give up if nothing is answered until then.
    pub(super) fn given_up_at(&self) -> Option<Monotonic> {
        Some(self.begun(*self.messages.front()?) + GIVEN_UP)
    }

    /// How many are on their way.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// A share, below 1, of so many.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most MAX_MESSAGES, and not negative"
)]
fn scale(count: usize, share: f64) -> usize {
    (count as f64 * share) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(33);

    /// Frames sent in ten seconds over a line that takes `trip` for itself and hands on one message
    /// each `pace`; and how long one was on its way at most in the second half.
    fn send(trip: Duration, pace: Duration) -> (u32, Duration) {
        let mut flight = Flight::new();
        let (mut arrivals, mut fences) = (VecDeque::new(), VecDeque::new());
        let start = Monotonic::from_nanos(0);
        let (mut sent, mut free_at, mut age) = (0, start, Duration::ZERO);
        for tick in 0..300 {
            let now = start + EVERY * tick;
            while fences.front().is_some_and(|at| *at <= now) {
                flight.passed(fences.pop_front().unwrap());
            }
            while arrivals.front().is_some_and(|&(at, _)| at <= now) {
                let (at, begun): (Monotonic, Monotonic) = arrivals.pop_front().unwrap();
                if tick > 150 {
                    age = age.max(at.since(begun));
                }
            }
            if flight.has_room(now) {
                free_at = free_at.max(now) + pace;
                arrivals.push_back((free_at + trip, now));
                if flight.add(now) {
                    flight.fence((), now);
                    fences.push_back(free_at + trip);
                }
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
        // A third of what is sent fits, or a ninth; 10 s without a bound would be 7 s of delay.
        for (pace, fits) in [(3, 90..=120), (9, 28..=36)] {
            let (sent, age) = send(Duration::from_millis(50), pace * EVERY);
            assert!(fits.contains(&sent), "{sent}");
            // The target, the line, and what goes out before a late answer is there.
            let bound = Duration::from_millis(150 + 50) + pace * EVERY * 2 + EVERY * 5;
            assert!(age < bound, "{age:?}");
        }
    }

    /// Whether a fence followed.
    fn send_one(flight: &mut Flight<()>, at: Monotonic) -> bool {
        let is_fenced = flight.add(at);
        if is_fenced {
            flight.fence((), at);
        }
        is_fenced
    }

    #[test]
    fn one_message_in_six_or_seven_is_asked_for_and_the_last_ones_too() {
        let mut flight = Flight::new();
        let at = |millis| Monotonic::from_nanos(0) + Duration::from_millis(millis);
        assert_eq!(flight.fence_at(at(0)), None);
        assert_eq!(flight.passed(at(0)), None);
        assert!(send_one(&mut flight, at(0)));
        assert_eq!(flight.fence_at(at(399)), Some(at(0) + 2 * FENCE_EVERY));
        assert_eq!(flight.fence_at(at(400)), None);
        assert_eq!(flight.passed(at(1)), Some((1, ())));
        let millis = (1..=8).map(|frame| frame * 33);
        let fenced = millis.filter(|millis| send_one(&mut flight, at(*millis)));
        assert_eq!(fenced.collect::<Vec<_>>(), [231]);
        assert_eq!(flight.fence_at(at(9_999)), Some(at(231) + 2 * FENCE_EVERY));
        flight.fence((), at(631));
        assert_eq!((flight.fence_at(at(1_031)), flight.len()), (None, 8));
        assert_eq!((flight.passed(at(640)), flight.len()), (Some((7, ())), 1));
        assert_eq!((flight.passed(at(641)), flight.len()), (Some((1, ())), 0));
    }

    #[test]
    fn what_comes_after_a_late_answer_is_asked_for_at_once() {
        let mut flight = Flight::new();
        let at = |millis| Monotonic::from_nanos(0) + Duration::from_millis(millis);
        assert!(send_one(&mut flight, at(0)));
        assert!(!send_one(&mut flight, at(33)));
        assert!(send_one(&mut flight, at(66)) && send_one(&mut flight, at(99)));
        assert!(flight.has_room(at(250)) && !flight.has_room(at(251)));
    }

    #[test]
    fn a_line_that_does_not_answer_is_given_up() {
        let mut flight = Flight::new();
        assert_eq!(flight.given_up_at(), None);
        let start = Monotonic::from_nanos(0);
        let later = start + Duration::from_secs(1);
        assert!(send_one(&mut flight, start) && send_one(&mut flight, later));
        assert_eq!(flight.given_up_at(), Some(start + GIVEN_UP));
        assert!(flight.passed(start + Duration::from_secs(2)).is_some());
        assert_eq!(flight.given_up_at(), Some(later + GIVEN_UP));
    }

    #[test]
    fn while_the_broker_takes_nothing_no_time_passes_for_what_is_on_its_way() {
        let mut flight = Flight::new();
        let start = Monotonic::from_nanos(0);
        let resumed = start + Duration::from_secs(60);
        let soon = resumed + Duration::from_millis(20);
        assert!(send_one(&mut flight, start));
        flight.resume(resumed);
        assert_eq!(flight.given_up_at(), Some(resumed + GIVEN_UP));
        assert!(flight.has_room(soon));
        assert_eq!(flight.passed(soon), Some((1, ())));
        assert_eq!(flight.line.get(), Some(soon.since(resumed)));
        assert_eq!(flight.limit, FIRST_MESSAGES + 1);
    }

    #[test]
    fn a_line_that_became_longer_is_learned() {
        let mut flight = Flight::new();
        let start = Monotonic::from_nanos(0);
        let mut trip = |at: u64, millis| {
            let at = start + Duration::from_secs(at);
            assert!(send_one(&mut flight, at));
            assert!(flight.passed(at + Duration::from_millis(millis)).is_some());
            flight.line.get().unwrap().as_millis()
        };
        assert_eq!(trip(0, 10), 10);
        assert_eq!(trip(1, 400), 10);
        assert_eq!(trip(12, 400), 400);
        assert_eq!(trip(13, 20), 20);
    }
}
