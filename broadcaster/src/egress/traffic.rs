//! What a channel's viewers were sent, all together: counters for those who watch the broadcaster.
//!
//! Each worker counts in a lane of its own, so that counting costs no more than adding: no lock,
//! no allocation, no memory that two workers write. Whoever wants to know adds the lanes up. Nothing
//! here knows one viewer from another.

use std::array;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use common::wire::ws::text::Cause;

use super::Protocol;

/// More workers than this share lanes, which costs time and no counts.
const LANES: usize = 16;
/// Upper bounds of the classes of [`Times`], in ns: 1 ms to 10 s.
const BOUNDS: [u64; 13] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// One more for what is above all bounds.
const CLASSES: usize = BOUNDS.len() + 1;

/// What the viewers of one channel were sent.
#[derive(Debug)]
pub struct Traffic {
    lanes: Box<[Lane]>,
    watching: [AtomicUsize; Protocol::ALL.len()],
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            lanes: (0..LANES).map(|_| Lane::default()).collect(),
            watching: Default::default(),
        }
    }
}

/// The counters that one worker writes; no other's lie on the same line of a processor's cache.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    tallies: [Tally; Protocol::ALL.len()],
}

impl Traffic {
    /// The counters of the worker with this number for viewers that speak `protocol`.
    #[must_use]
    pub fn tally(&self, lane: usize, protocol: Protocol) -> &Tally {
        &self.lanes[lane % LANES].tallies[protocol as usize]
    }

    /// What all workers have counted for viewers that speak `protocol`.
    #[must_use]
    pub fn total(&self, protocol: Protocol) -> Total {
        let mut total = Total::default();
        for lane in &self.lanes {
            lane.tallies[protocol as usize].add_to(&mut total);
        }
        total
    }

    /// Viewers there are now that speak `protocol`.
    #[must_use]
    pub fn watching(&self, protocol: Protocol) -> usize {
        self.watching[protocol as usize].load(Ordering::Relaxed)
    }

    /// One more that speaks `protocol`.
    pub fn joined(&self, protocol: Protocol) {
        self.watching[protocol as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn left(&self, protocol: Protocol) {
        self.watching[protocol as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one worker has sent of one channel over one protocol. All counters only grow.
#[derive(Debug, Default)]
pub struct Tally {
    frames: AtomicU64,
    bytes: AtomicU64,
    thinned: AtomicU64,
    skipped: [AtomicU64; CAUSES.len()],
    ages: Times,
    sends: Times,
}

/// What may have held skipped payloads up, each in a word.
pub const CAUSES: [&str; 3] = ["link", "device", "server"];

/// Its word's place among [`CAUSES`].
const fn place_of(cause: Cause) -> usize {
    match cause {
        Cause::Link => 0,
        Cause::Device => 1,
        Cause::Server => 2,
    }
}

impl Tally {
    /// The kernel took so many bytes of a payload.
    pub fn took(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A payload of this age began to leave.
    pub fn began(&self, age: Duration) {
        self.ages.record(age);
    }

    /// A payload of so many frames has left whole, this long after it was begun.
    pub fn sent(&self, frames: usize, took: Duration) {
        self.frames.fetch_add(frames as u64, Ordering::Relaxed);
        self.sends.record(took);
    }

    /// So many payloads were passed over, held up by `cause`.
    pub fn skipped(&self, count: u64, cause: Cause) {
        self.skipped[place_of(cause)].fetch_add(count, Ordering::Relaxed);
    }

    /// So many payloads were left out because fewer were asked for.
    pub fn thinned(&self, count: u64) {
        self.thinned.fetch_add(count, Ordering::Relaxed);
    }

    fn add_to(&self, total: &mut Total) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        total.frames += load(&self.frames);
        total.bytes += load(&self.bytes);
        total.thinned += load(&self.thinned);
        for (sum, skipped) in total.skipped.iter_mut().zip(&self.skipped) {
            *sum += load(skipped);
        }
        self.ages.add_to(&mut total.ages);
        self.sends.add_to(&mut total.sends);
    }
}

/// Counts of durations, by class.
#[derive(Debug, Default)]
struct Times {
    counts: [AtomicU64; CLASSES],
    sum_ns: AtomicU64,
}

impl Times {
    fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let fits = |bound: &u64| nanos <= *bound;
        let class = BOUNDS.iter().position(fits).unwrap_or(BOUNDS.len());
        self.counts[class].fetch_add(1, Ordering::Relaxed);
        if nanos > 0 {
            self.sum_ns.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    fn add_to(&self, sum: &mut Histogram) {
        for (sum, count) in sum.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        sum.sum += Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed));
    }
}

/// What all workers together have sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Total {
    /// Frames sent whole; placeholders are none.
    pub frames: u64,
    /// Bytes of payloads handed to the kernel, heads and placeholders among them.
    pub bytes: u64,
    /// Payloads left out because fewer were asked for.
    pub thinned: u64,
    /// Payloads passed over because they were too old or overwritten, in the order of [`CAUSES`].
    pub skipped: [u64; CAUSES.len()],
    /// Ages of payloads when their first byte was handed to the kernel.
    pub ages: Histogram,
    /// From the choice of a payload until the kernel had its last byte; nothing, if it took all at
    /// once.
    pub sends: Histogram,
}

/// Counted durations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; CLASSES],
    /// All of them added up.
    pub sum: Duration,
}

impl Histogram {
    /// How many durations there are in each class, and what none in it exceeds; `None` for the last.
    pub fn classes(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        array::from_fn::<_, CLASSES, _>(|class| {
            let bound = BOUNDS.get(class).copied();
            (bound.map(Duration::from_nanos), self.counts[class])
        })
        .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_any_worker_counts_is_in_the_total_of_its_protocol() {
        let traffic = Traffic::default();
        for lane in 0..2 * LANES {
            let tally = traffic.tally(lane, Protocol::Http);
            tally.took(1_000);
            tally.began(3 * MS);
            tally.sent(2, Duration::ZERO);
            tally.skipped(5, Cause::Server);
            tally.thinned(7);
        }
        let total = traffic.total(Protocol::Http);
        let times = 2 * LANES as u64;
        assert_eq!((total.frames, total.bytes), (2 * times, 1_000 * times));
        assert_eq!(total.skipped, [0, 0, 5 * times]);
        assert_eq!(total.thinned, 7 * times);
        assert_eq!(total.ages.sum, 3 * MS * 2 * u32::try_from(LANES).unwrap());
        assert_eq!(total.sends.sum, Duration::ZERO);
        assert_eq!(traffic.total(Protocol::Tcp), Total::default());
    }

    #[test]
    fn a_duration_counts_in_the_first_class_that_it_does_not_exceed() {
        let times = Times::default();
        let ages = [Duration::ZERO, MS, 2 * MS, 10_000 * MS, 10_001 * MS];
        ages.into_iter().for_each(|age| times.record(age));
        times.record(Duration::MAX);
        let mut sum = Histogram::default();
        times.add_to(&mut sum);
        let filled = sum.classes().filter(|(_, count)| *count > 0);
        let expected = [
            (Some(MS), 2),
            (Some(2_500 * MS / 1_000), 1),
            (Some(10_000 * MS), 1),
            (None, 2),
        ];
        assert_eq!(filled.collect::<Vec<_>>(), expected);
    }
}
