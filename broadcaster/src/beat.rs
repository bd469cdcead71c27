//! Which frames are taken where there are more than wanted: for a viewer who asks for fewer
//! (`?fps=`), and of a camera that is faster than `--fps`.
//!
//! Beats stand at equal distances from the first frame on, and each takes the frame next to it. A
//! frame is judged by its own time, not by when it could be taken, so nobody needs a timer and a
//! short delay on the way shifts nothing. Beats do not follow the frames they take: the rate neither
//! drifts nor exceeds what was asked for.

use std::time::Duration;

use common::{Monotonic, Payload};

/// A frame that comes before its beat is taken if no more than this part of the time between two
/// frames is missing: 3/8. A half would be the nearest frame, but then jitter would decide wherever
/// a beat falls into the middle between two frames, as every other one does with 12 of 30.
const EARLY: (u32, u32) = (3, 8);
/// How much of the time between two frames is remembered from before: 7/8.
const MEMORY: u32 = 8;

/// The place of a frame, or of a payload, among all there are.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Counts up by one from each to the next, also over those that nobody asked about.
    pub index: u64,
    /// Its time.
    pub at: Monotonic,
}

impl From<&Payload> for Place {
    fn from(payload: &Payload) -> Self {
        Self {
            index: payload.index,
            at: payload.published_at,
        }
    }
}

/// A steady beat, slower than frames come.
#[derive(Debug)]
pub struct Beat {
    interval: Duration,
    /// When the next one is; `None` before the first frame.
    due: Option<Monotonic>,
    /// The frame seen last, and the usual time from one to the next.
    last: Option<Place>,
    spacing: Duration,
}

impl Beat {
    /// A beat every `interval`, beginning with the first frame.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            due: None,
            last: None,
            spacing: Duration::ZERO,
        }
    }

    /// The time from one beat to the next.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether it is this frame's turn. To be asked about each frame once, in their order.
    pub fn is_turn(&mut self, frame: impl Into<Place>) -> bool {
        let place = frame.into();
        self.measure(place);
        let early = self.spacing.min(self.interval) * EARLY.0 / EARLY.1;
        self.due.is_none_or(|due| place.at + early >= due)
    }

    /// Takes a frame whose turn it is; the next beat is an interval later.
    pub fn take(&mut self, frame: impl Into<Place>) {
        let Place { at, .. } = frame.into();
        // Later than frames usually come: the source has paused, and the beat begins anew.
        let kept = self.due.filter(|due| at.since(*due) <= self.spacing);
        self.due = Some(kept.unwrap_or(at) + self.interval);
    }

    /// Gives back the frame taken last, which was not sent: the next one has its turn.
    pub const fn give_back(&mut self) {
        self.due = None;
    }

    /// How many beats have passed by unused before this frame.
    #[must_use]
    pub fn missed(&self, frame: impl Into<Place>) -> u64 {
        let Place { at, .. } = frame.into();
        let late = self.due.map(|due| at.since(due));
        let late = late.unwrap_or_default().as_nanos();
        let missed = late / self.interval.as_nanos().max(1);
        u64::try_from(missed).unwrap_or(u64::MAX)
    }

    fn measure(&mut self, place: Place) {
        if let Some(earlier) = self.last {
            let steps = u32::try_from(place.index.saturating_sub(earlier.index));
            let step = place.at.since(earlier.at) / steps.unwrap_or(u32::MAX).max(1);
            self.spacing = if self.spacing.is_zero() {
                step
            } else {
                // One pause must not pass for the source's pace.
                (self.spacing * (MEMORY - 1) + step.min(2 * self.spacing)) / MEMORY
            };
        }
        self.last = Some(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(index: u64, nanos: u64) -> Payload {
        Payload {
            index,
            published_at: Monotonic::from_nanos(nanos),
            frames: Vec::new(),
        }
    }

    /// The indices that a viewer of `fps` gets of payloads published at these times.
    fn taken(fps: f64, published: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut beat = Beat::new(Duration::from_secs_f64(1.0 / fps));
        let payloads = published.into_iter().zip(0..);
        let payloads = payloads.map(|(nanos, index)| payload(index, nanos));
        let taken = payloads.filter(|payload| {
            let is_turn = beat.is_turn(payload);
            if is_turn {
                beat.take(payload);
            }
            is_turn
        });
        taken.map(|payload| payload.index).collect()
    }

    /// `count` moments at this rate, each off by up to `jitter_ns`, the same way in every run.
    fn moments(fps: f64, count: u32, jitter_ns: u64) -> impl Iterator<Item = u64> {
        let mut state = 1_u64;
        (0..count).map(move |number| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let exact = Duration::from_secs_f64(1.0 + f64::from(number) / fps).as_nanos();
            u64::try_from(exact).unwrap() - jitter_ns + (state >> 33) % (2 * jitter_ns + 1)
        })
    }

    fn gaps(indices: &[u64]) -> Vec<u64> {
        indices.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn ten_of_thirty_are_every_third_even_with_jitter() {
        for jitter_ns in [0, 1_000_000, 6_000_000] {
            let taken = taken(10.0, moments(30.0, 3_000, jitter_ns));
            assert_eq!(taken.len(), 1_000);
            assert!(gaps(&taken).iter().all(|&gap| gap == 3), "{jitter_ns}");
        }
    }

    #[test]
    fn twelve_of_thirty_alternate_and_do_not_drift() {
        for jitter_ns in [0, 2_000_000] {
            let taken = taken(12.0, moments(30.0, 3_000, jitter_ns));
            assert_eq!(taken.len(), 1_200);
            assert_eq!(gaps(&taken)[..6], [3, 2, 3, 2, 3, 2]);
            assert!(gaps(&taken).chunks_exact(2).all(|gaps| gaps == [3, 2]));
        }
    }

    #[test]
    fn any_rate_is_kept_and_spread_as_evenly_as_frames_allow() {
        for (source, asked) in [
            (30.0, 25.0),
            (30.0, 7.0),
            (25.0, 10.0),
            (59.94, 0.5),
            (15.0, 14.9),
        ] {
            let taken = taken(asked, moments(source, 6_000, 500_000));
            let expected = 6_000.0 * asked / source;
            assert!(
                (taken.len() as f64 - expected).abs() <= 1.0,
                "{asked} of {source}"
            );
            let is_even = |gap: &u64| (*gap as f64 - source / asked).abs() < 1.0;
            assert!(gaps(&taken).iter().all(is_even), "{asked} of {source}");
        }
    }

    #[test]
    fn whoever_asks_for_as_many_or_more_gets_every_frame() {
        for asked in [30.0, 31.0, 45.0, 1e12] {
            assert_eq!(taken(asked, moments(30.0, 3_000, 4_000_000)).len(), 3_000);
        }
    }

    #[test]
    fn after_a_pause_the_beat_begins_anew_without_a_burst() {
        let third = 33_333_333;
        let before = (0..31).map(|number| number * third);
        let after = (0..10).map(|number| 9_095_000_000 + number * third);
        let taken = taken(10.0, before.chain(after));
        assert_eq!(gaps(&taken)[..10], [3; 10]);
        assert_eq!(taken[10..], [30, 31, 34, 37, 40]);
    }

    #[test]
    fn missed_beats_are_counted_and_a_payload_given_back_leaves_its_turn() {
        let mut beat = Beat::new(Duration::from_millis(100));
        let first = payload(0, 0);
        assert!(beat.is_turn(&first));
        beat.take(&first);
        assert_eq!(beat.missed(&payload(9, 300_000_000)), 2);
        assert!(!beat.is_turn(&payload(1, 33_000_000)));
        beat.give_back();
        assert!(beat.is_turn(&payload(2, 66_000_000)));
    }
}
