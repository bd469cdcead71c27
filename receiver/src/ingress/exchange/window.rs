//! How many messages may be on their way to us: as few as the line needs, as many as it needs.
//!
//! The broker is asked once for the most there may be ([`PREFETCH`]); it cannot be asked again. What
//! is too many of them is held back by acknowledging late: a message that is not acknowledged takes up
//! room that no other can have.
//!
//! A line that is too thin shows in frames that grow older than the youngest of late: then there are
//! fewer. Frames that are missing while they come as young as ever show that there are too few: then
//! there are more, up to the most.
//!
//! An acknowledgement costs more than taking a small message, so two fifths of the window wait for one. On
//! a line so long that they are missing there, which shows as frames missing too, it is one fifth.

use std::time::Duration;

use common::{Monotonic, Shortest, Timestamp};

/// The most there are.
pub(super) const PREFETCH: u16 = 20;
/// The least: with one alone a line stands still while it is acknowledged.
const LEAST: u16 = 2;
/// So much older than the youngest is too old, and less than half of it young.
const MAX_DELAY: Duration = Duration::from_millis(200);
/// For how long the youngest counts at least.
const MEMORY: Duration = Duration::from_secs(5);

/// Clocks may drift apart by as much without anything being taken for less than nothing.
const SLACK: Duration = Duration::from_secs(3_600);

/// How many there may be, and what is acknowledged when.
#[derive(Debug)]
pub(super) struct Window {
    most: u16,
    size: u16,
    /// Whether the size follows the line.
    adapts: bool,
    /// Whether the line was seen to need all of it.
    is_long: bool,
    /// The least age of late.
    youngest: Shortest,
    /// Messages that were sent under an earlier size and say nothing about this one.
    to_pass: u16,
    acknowledged: u64,
    /// The last that was handed out.
    newest: u64,
}

impl Window {
    /// A window of this many messages, or one that follows the line.
    pub(super) fn new(fixed: Option<u16>) -> Self {
        let most = fixed.unwrap_or(PREFETCH);
        Self {
            most,
            size: most,
            adapts: fixed.is_none(),
            is_long: false,
            youngest: Shortest::within(MEMORY),
            to_pass: 0,
            acknowledged: 0,
            newest: 0,
        }
    }

    /// What to ask the broker for.
    pub(super) const fn most(&self) -> u16 {
        self.most
    }

    /// Takes note of a frame that was handed out at this age, give or take what is the same for all, and of whether some are missing before
    /// it.
    pub(super) fn note(&mut self, age: Duration, has_gap: bool, now: Monotonic) {
        let delay = age.saturating_sub(self.youngest.add(age, now));
        let is_short = has_gap && delay < MAX_DELAY / 2;
        self.is_long |= is_short;
        if !self.adapts {
            return;
        }
        if self.to_pass > 0 {
            self.to_pass -= 1;
        } else if delay > MAX_DELAY {
            self.size = (self.size - self.size.div_ceil(4)).max(LEAST);
            self.to_pass = self.size;
        } else if is_short {
            self.size = (self.size + 1).min(self.most);
            self.to_pass = self.size;
        }
    }

    /// Takes note that the message with this tag was handed out; up to which one to acknowledge, if it
    /// is time. Not each one by itself: a part of the window together.
    pub(super) fn acknowledge(&mut self, tag: u64) -> Option<u64> {
        if self.most == 0 {
            return None;
        }
        self.newest = tag;
        let held = u64::from(self.most - self.size);
        let up_to = tag.saturating_sub(held);
        if up_to < self.acknowledged + u64::from(self.batch()) {
            return None;
        }
        self.acknowledged = up_to;
        Some(up_to)
    }

    /// All that was handed out and is not acknowledged, if there is something: nothing comes any more.
    pub(super) fn acknowledge_all(&mut self) -> Option<u64> {
        let has_some = self.most > 0 && self.newest > self.acknowledged;
        has_some.then(|| {
            self.acknowledged = self.newest;
            self.newest
        })
    }

    /// How many are acknowledged together.
    fn batch(&self) -> u16 {
        let fifths = if self.is_long { 1 } else { 2 };
        (fifths * self.size / 5).max(1)
    }
}

/// How long frames take from their capture to here, and an hour, give or take what the two clocks differ by:
/// only how this changes says something.
#[derive(Debug, Default)]
pub(super) struct Transit {
    /// When the first was captured, by the origin's clock, and came, by ours.
    first: Option<(Timestamp, Monotonic)>,
}

impl Transit {
    /// Of a frame that comes now.
    pub(super) fn of(&mut self, captured_at: Timestamp, now: Monotonic) -> Duration {
        let (captured_first, came_first) = *self.first.get_or_insert((captured_at, now));
        (SLACK + now.since(came_first)).saturating_sub(captured_at.since(captured_first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const MS: Duration = Duration::from_millis(1);
    const EVERY: Duration = Duration::from_millis(33);

    /// A broker with a queue of one message, a line, and a reader, for a while.
    struct Line {
        /// What the line takes for itself, one way.
        length: Duration,
        /// What each message takes on it.
        pace: Duration,
    }

    /// What the reader has seen in the second half.
    #[derive(Debug)]
    struct Seen {
        frames: usize,
        oldest: Duration,
    }

    impl Line {
        fn carry(&self, window: &mut Window, count: u32) -> Seen {
            let start = Monotonic::from_nanos(0) + Duration::from_secs(1);
            let (mut queued, mut unacknowledged) = (None, 0_u64);
            let (mut on_line, mut acks) = (VecDeque::new(), VecDeque::new());
            let (mut tag, mut acked, mut free_at) = (0, 0, start);
            let (mut last, mut seen) = (None, Vec::new());
            for tick in 0..count * 33 {
                let now = start + MS * tick;
                while acks.front().is_some_and(|&(at, _)| at <= now) {
                    let (_, up_to): (_, u64) = acks.pop_front().unwrap();
                    unacknowledged -= up_to - acked;
                    acked = up_to;
                }
                if tick % 33 == 0 {
                    queued = Some((tick / 33, now));
                }
                if unacknowledged < u64::from(window.most())
                    && let Some((number, made)) = queued.take()
                {
                    (tag, unacknowledged) = (tag + 1, unacknowledged + 1);
                    free_at = free_at.max(now) + self.pace;
                    on_line.push_back((free_at + self.length, tag, number, made));
                }
                while on_line.front().is_some_and(|&(at, ..)| at <= now) {
                    let (at, tag, number, made) = on_line.pop_front().unwrap();
                    let has_gap = last.is_some_and(|last| number > last + 1);
                    last = Some(number);
                    window.note(at.since(made), has_gap, now);
                    if let Some(up_to) = window.acknowledge(tag) {
                        acks.push_back((now + self.length, up_to));
                    }
                    seen.push((number, at.since(made)));
                }
            }
            let late = seen.into_iter().filter(|&(number, _)| number >= count / 2);
            let ages: Vec<_> = late.map(|(_, age)| age).collect();
            Seen {
                frames: ages.len(),
                oldest: ages.into_iter().max().unwrap(),
            }
        }
    }

    #[test]
    fn a_long_line_is_used_in_full() {
        for millis in [0, 50, 100, 200] {
            let (length, pace) = (MS * millis, MS);
            let mut window = Window::new(None);
            let seen = Line { length, pace }.carry(&mut window, 300);
            assert!(seen.frames >= 143, "{millis} ms: {seen:?}");
            assert_eq!(window.size, PREFETCH);
        }
    }

    #[test]
    fn a_thin_line_makes_frames_fewer_not_older() {
        // A third of the frames fit.
        let line = Line {
            length: MS * 20,
            pace: 3 * EVERY,
        };
        let adapting = line.carry(&mut Window::new(None), 600);
        assert!(adapting.oldest < Duration::from_millis(600), "{adapting:?}");
        assert!(adapting.frames >= 95, "{adapting:?}");
        let fixed = line.carry(&mut Window::new(Some(PREFETCH)), 600);
        assert!(fixed.oldest > Duration::from_millis(1_400), "{fixed:?}");
    }

    #[test]
    fn a_line_that_was_thin_for_a_while_gets_its_room_back() {
        let mut window = Window::new(None);
        let thin = Line {
            length: MS * 100,
            pace: 3 * EVERY,
        };
        thin.carry(&mut window, 300);
        assert!(window.size < PREFETCH);
        let mut window = Window {
            acknowledged: 0,
            newest: 0,
            ..window
        };
        let wide = Line {
            length: MS * 100,
            pace: MS,
        };
        let seen = wide.carry(&mut window, 1_200);
        assert!(seen.frames >= 594, "{seen:?} with {}", window.size);
    }

    #[test]
    fn two_fifths_are_acknowledged_together_and_one_on_a_long_line() {
        let told = |window: &mut Window, tags: std::ops::RangeInclusive<u64>| -> Vec<u64> {
            tags.filter_map(|tag| window.acknowledge(tag)).collect()
        };
        assert!(told(&mut Window::new(Some(0)), 1..=9).is_empty());
        assert_eq!(told(&mut Window::new(Some(1)), 1..=3), [1, 2, 3]);
        let mut window = Window::new(Some(8));
        assert_eq!(told(&mut window, 1..=8), [3, 6]);
        window.note(MS, true, Monotonic::default());
        assert_eq!(told(&mut window, 9..=10), [9, 10]);
        let mut window = Window::new(None);
        assert_eq!(told(&mut window, 1..=16), [8, 16]);
        window.size = 10;
        assert!(told(&mut window, 17..=29).is_empty(), "they are held back");
        assert_eq!(told(&mut window, 30..=36), [20, 24]);
        window.size = 20;
        assert_eq!(told(&mut window, 37..=37), [37]);
    }

    #[test]
    fn in_a_silence_all_is_acknowledged_once() {
        let mut window = Window::new(None);
        assert_eq!(window.acknowledge_all(), None);
        assert!((1..=5).all(|tag| window.acknowledge(tag).is_none()));
        assert_eq!(window.acknowledge_all(), Some(5));
        assert_eq!(window.acknowledge_all(), None);
        assert!((6..=12).all(|tag| window.acknowledge(tag).is_none()));
        assert_eq!(window.acknowledge(13), Some(13));
        let mut without = Window::new(Some(0));
        assert_eq!(without.acknowledge(1), None);
        assert_eq!(without.acknowledge_all(), None);
    }

    #[test]
    fn it_does_not_matter_what_the_origins_clock_says() {
        for captured in [0, u64::MAX / 2] {
            let mut transit = Transit::default();
            let now = Monotonic::default();
            let at = |millis: u64| Timestamp::from_nanos(captured + millis * 1_000_000);
            assert_eq!(transit.of(at(0), now), SLACK);
            assert_eq!(transit.of(at(33), now + MS * 40), SLACK + MS * 7);
            assert_eq!(transit.of(at(66), now + MS * 60), SLACK - MS * 6);
        }
    }

    #[test]
    fn frames_missing_because_the_line_is_thin_do_not_make_it_long() {
        let mut window = Window::new(None);
        window.note(MS, false, Monotonic::default());
        window.note(MS + MAX_DELAY, true, Monotonic::default());
        assert!(!window.is_long);
    }
}
