//! Which frame is to be shown when.
//!
//! Policy: the newest whose time has come; those before it are passed over, for a late picture is
//! worth less than the next one. Without a delay a frame's time is at once, and only the newest is
//! kept. With one (`--sync`) it is its capture time plus the delay, by the server's clock as far as
//! that is known; a frame that comes later than that is late and its time is at once. A stand-in for
//! a missing picture bears the time of an older one, so its delay counts from its arrival. What
//! waits is bounded in frames and bytes: the oldest are dropped.

use std::collections::VecDeque;
use std::time::Duration;

use common::{Frame, Monotonic};

/// Longest delay: with more, the bounds below would drop frames of ordinary streams.
pub const LONGEST_DELAY: Duration = Duration::from_secs(10);
const MAX_FRAMES: usize = 1_024;
const MAX_BYTES: usize = 64 << 20;

/// A frame and its time.
#[derive(Debug, Clone)]
pub struct Due {
    /// What is to be shown.
    pub frame: Frame,
    /// When, at the earliest.
    pub at: Monotonic,
    /// How it stands to the delay.
    pub timing: Timing,
}

/// How a frame stands to the delay that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Not at all: there is none, the frame's age is not known, or it is a placeholder.
    Free,
    /// It should be shown so long before its time in the schedule; zero unless it is late.
    Bound {
        /// How late it came.
        late_by: Duration,
    },
}

/// The frames that wait to be shown at one receiver.
#[derive(Debug, Default)]
pub struct Schedule {
    delay: Option<Duration>,
    waiting: VecDeque<Due>,
    bytes: usize,
    late: u64,
}

impl Schedule {
    /// An empty one; `delay` is from capture to display, at most [`LONGEST_DELAY`].
    #[must_use]
    pub fn new(delay: Option<Duration>) -> Self {
        Self {
            delay: delay.map(|delay| delay.min(LONGEST_DELAY)),
            ..Self::default()
        }
    }

    /// Takes a frame that arrived at `now`, `age` after its capture; its time is returned.
    pub fn push(&mut self, frame: Frame, age: Option<Duration>, now: Monotonic) -> Monotonic {
        let (at, timing) = self.time_of(&frame, age, now);
        if self.delay.is_none() {
            self.clear();
        }
        if matches!(timing, Timing::Bound { late_by } if !late_by.is_zero()) {
            self.late += 1;
        }
        self.bytes += frame.data().len();
        self.waiting.push_back(Due { frame, at, timing });
        while self.waiting.len() > MAX_FRAMES || (self.bytes > MAX_BYTES && self.waiting.len() > 1)
        {
            self.drop_oldest();
        }
        at
    }

    /// The newest frame whose time has come by `now`; those before it are dropped.
    pub fn take(&mut self, now: Monotonic) -> Option<Due> {
        let newest = self.waiting.iter().rposition(|due| due.at <= now)?;
        for _ in 0..newest {
            self.drop_oldest();
        }
        let due = self.waiting.pop_front()?;
        self.bytes -= due.frame.data().len();
        Some(due)
    }

    /// When the next frame's time comes.
    #[must_use]
    pub fn next_time(&self) -> Option<Monotonic> {
        self.waiting.iter().map(|due| due.at).min()
    }

    /// The newest frame of those that wait.
    #[must_use]
    pub fn newest(&self) -> Option<&Frame> {
        self.waiting.back().map(|due| &due.frame)
    }

    /// Frames so far that came after their time.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    fn time_of(&self, frame: &Frame, age: Option<Duration>, now: Monotonic) -> (Monotonic, Timing) {
        match (self.delay, age) {
            (Some(delay), _) if frame.head.is_placeholder() => (now + delay, Timing::Free),
            (None, _) | (_, None) => (now, Timing::Free),
            (Some(delay), Some(age)) => {
                let late_by = age.saturating_sub(delay);
                (now + delay.saturating_sub(age), Timing::Bound { late_by })
            }
        }
    }

    fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
    }

    fn drop_oldest(&mut self) {
        if let Some(due) = self.waiting.pop_front() {
            self.bytes -= due.frame.data().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::{Clock, Flags, Format, Head, Identity, ManualClock, Timestamp};

    const DELAY: Duration = Duration::from_millis(200);

    fn frame(seq: u64) -> Frame {
        let identity = Identity { epoch: 1, seq };
        let head = Head::new(identity, Timestamp::default(), Format::Jpeg);
        Frame::new(head, Bytes::from_static(b"jpeg"))
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn seq(due: Option<Due>) -> Option<u64> {
        due.map(|due| due.frame.head.identity.seq)
    }

    #[test]
    fn without_a_delay_only_the_newest_waits_and_its_time_is_now() {
        let (mut schedule, clock) = (Schedule::new(None), ManualClock::default());
        for number in 1..=3 {
            schedule.push(frame(number), Some(millis(900)), clock.monotonic());
        }
        assert_eq!(schedule.next_time(), Some(clock.monotonic()));
        assert_eq!(seq(schedule.take(clock.monotonic())), Some(3));
        assert_eq!(seq(schedule.take(clock.monotonic())), None);
        assert_eq!((schedule.late(), schedule.bytes), (0, 0));
    }

    #[test]
    fn a_frame_is_shown_the_delay_after_its_capture_however_long_it_travelled() {
        let (mut schedule, clock) = (Schedule::new(Some(DELAY)), ManualClock::default());
        let captured = clock.monotonic();
        for (number, age) in [(1, 5), (2, 120)] {
            clock.advance(millis(age) - clock.monotonic().since(captured));
            schedule.push(frame(number), Some(millis(age)), clock.monotonic());
            assert_eq!(schedule.take(clock.monotonic()).map(|due| due.at), None);
        }
        assert_eq!(schedule.next_time(), Some(captured + DELAY));
        clock.advance(millis(79));
        assert_eq!(seq(schedule.take(clock.monotonic())), None);
        clock.advance(millis(1));
        let due = schedule.take(clock.monotonic()).unwrap();
        assert_eq!(due.at, captured + DELAY);
        let on_time = Timing::Bound {
            late_by: Duration::ZERO,
        };
        assert_eq!((due.timing, due.frame.head.identity.seq), (on_time, 2));
        assert_eq!(schedule.late(), 0);
    }

    #[test]
    fn late_frames_are_counted_and_only_the_newest_is_shown() {
        let (mut schedule, clock) = (Schedule::new(Some(DELAY)), ManualClock::default());
        clock.advance(millis(1_000));
        schedule.push(frame(1), Some(millis(150)), clock.monotonic());
        schedule.push(frame(2), Some(millis(230)), clock.monotonic());
        schedule.push(frame(3), Some(millis(201)), clock.monotonic());
        let due = schedule.take(clock.monotonic()).unwrap();
        let late = Timing::Bound { late_by: millis(1) };
        assert_eq!((due.timing, due.frame.head.identity.seq), (late, 3));
        assert_eq!((schedule.late(), schedule.next_time()), (2, None));
    }

    #[test]
    fn a_clock_that_is_behind_delays_nothing_by_more_than_the_delay() {
        let (mut schedule, clock) = (Schedule::new(Some(DELAY)), ManualClock::default());
        // Ages are never negative: whoever sees a frame from the future calls it new.
        let at = schedule.push(frame(1), Some(Duration::ZERO), clock.monotonic());
        assert_eq!(at, clock.monotonic() + DELAY);
    }

    #[test]
    fn placeholders_wait_their_turn_and_unknown_ages_do_not() {
        let (mut schedule, clock) = (Schedule::new(Some(DELAY)), ManualClock::default());
        clock.advance(millis(60_000));
        let now = clock.monotonic();
        let mut placeholder = frame(1);
        placeholder.head.flags = Flags::KEY.with(Flags::PLACEHOLDER);
        assert_eq!(
            schedule.push(placeholder, Some(millis(60_000)), now),
            now + DELAY
        );
        assert_eq!(schedule.push(frame(2), None, now), now);
        assert_eq!(schedule.late(), 0);
        assert_eq!(schedule.take(now).map(|due| due.timing), Some(Timing::Free));
    }

    #[test]
    fn what_waits_is_bounded_and_the_oldest_goes() {
        let (mut schedule, clock) = (Schedule::new(Some(DELAY)), ManualClock::default());
        for number in 0..2_000 {
            schedule.push(frame(number), Some(Duration::ZERO), clock.monotonic());
        }
        assert_eq!(
            (schedule.waiting.len(), schedule.bytes),
            (MAX_FRAMES, 4 * MAX_FRAMES)
        );
        let large = |seq| {
            let head = frame(seq).head;
            Frame::new(head, Bytes::from(vec![0; Frame::MAX_BYTES]))
        };
        for number in 3_000..3_006 {
            schedule.push(large(number), Some(Duration::ZERO), clock.monotonic());
        }
        assert_eq!((schedule.waiting.len(), schedule.bytes), (4, MAX_BYTES));
        assert_eq!(
            schedule.newest().map(|frame| frame.head.identity.seq),
            Some(3_005)
        );
    }
}
