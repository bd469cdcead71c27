//! What is told of one viewer while it watches: written by the thread that serves it, read by anybody.
//!
//! There is one writer, so plain relaxed loads and stores do: no lock, no locked instruction, no
//! allocation for a frame. A reader may see one figure a frame ahead of another. What happened *lately*
//! is the difference to a mark that the writer leaves every few seconds; there are two, and the older one
//! counts, so that "lately" is never shorter than [`MARK_EVERY`] but for who has just come. Marks are left
//! with a message and are about what comes behind it, so that messages and time belong together.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use common::Monotonic;
use common::wire::ws::text::Cause;

use super::Counters;
use super::watch::{Watch, Wish};
use crate::egress::ages::{Ages, BUCKETS};

/// The time from one mark to the next.
pub const MARK_EVERY: Duration = Duration::from_secs(4);
const MARKS: usize = 2;

/// Payloads skipped, by what held them up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skips {
    /// The link took no bytes.
    pub link: u64,
    /// The viewer's machine did not get round to them.
    pub device: u64,
    /// Neither: they were late already.
    pub server: u64,
}

impl Skips {
    /// Counts some.
    pub const fn add(&mut self, count: u64, why: Cause) {
        match why {
            Cause::Link => self.link += count,
            Cause::Device => self.device += count,
            Cause::Server => self.server += count,
        }
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.link + self.device + self.server
    }
}

/// A channel that a viewer watches, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// The place of the channel.
    pub place: usize,
    /// How it is wanted.
    pub wish: Wish,
}

/// The figures of one viewer.
#[derive(Debug)]
pub struct Figures {
    sent: AtomicU64,
    thinned: AtomicU64,
    bytes: AtomicU64,
    link: AtomicU64,
    device: AtomicU64,
    server: AtomicU64,
    /// When the peer last took a byte or, if nothing was sent since, acknowledged something; ns.
    progressed_at: AtomicU64,
    /// When all this was counted last; ns.
    counted_at: AtomicU64,
    /// Since when it owes an acknowledgement without which nothing is sent; ns, [`NEVER`] if it does not.
    silent_since: AtomicU64,
    /// How old payloads were, in the buckets of [`Ages`]; wraps, so only differences count.
    ages: [AtomicU16; BUCKETS],
    marks: [Mark; MARKS],
    /// Which mark is the newer one.
    newer: AtomicUsize,
    is_dismissed: AtomicBool,
    /// Changes only when the viewer asks for something else.
    watched: Mutex<Vec<Watched>>,
}

const NEVER: u64 = u64::MAX;

/// The figures at an earlier time; counts wrap like what they are compared with.
#[derive(Debug)]
struct Mark {
    at: AtomicU64,
    bytes: AtomicU64,
    sent: AtomicU32,
    thinned: AtomicU32,
    link: AtomicU32,
    device: AtomicU32,
    server: AtomicU32,
    ages: [AtomicU16; BUCKETS],
}

/// What happened to a viewer in the last seconds.
#[derive(Debug, Clone, Default)]
pub struct Lately {
    /// The time it is about.
    pub span: Duration,
    /// Payloads sent whole.
    pub sent: u64,
    /// Payloads left out because the viewer asked for fewer.
    pub thinned: u64,
    /// Bytes handed to the kernel.
    pub bytes: u64,
    /// Payloads skipped.
    pub skipped: Skips,
    /// How old payloads were when their first byte was handed to the kernel.
    pub ages: Ages,
}

/// What a viewer's figures say at one time.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Payloads sent whole.
    pub sent: u64,
    /// Payloads left out because the viewer asked for fewer.
    pub thinned: u64,
    /// Bytes handed to the kernel.
    pub bytes: u64,
    /// Payloads skipped. What is not sent for now is put down to something with the next payload.
    pub skipped: Skips,
    /// For how long the peer has taken no byte.
    pub quiet_for: Duration,
    /// For how long it owes an acknowledgement without which nothing is sent, if it does.
    pub silent_for: Option<Duration>,
    /// Whether it was asked to leave.
    pub is_dismissed: bool,
    /// What it watches.
    pub watched: Vec<Watched>,
    /// What happened in the last seconds.
    pub lately: Lately,
}

impl Figures {
    pub(super) fn new(watches: &[Watch], now: Monotonic) -> Self {
        let at = nanos(now);
        let figures = Self {
            sent: AtomicU64::default(),
            thinned: AtomicU64::default(),
            bytes: AtomicU64::default(),
            link: AtomicU64::default(),
            device: AtomicU64::default(),
            server: AtomicU64::default(),
            progressed_at: at.into(),
            counted_at: at.into(),
            silent_since: NEVER.into(),
            ages: Default::default(),
            marks: std::array::from_fn(|_| Mark::at(at)),
            newer: AtomicUsize::default(),
            is_dismissed: AtomicBool::default(),
            watched: Mutex::default(),
        };
        figures.watch(watches);
        figures
    }

    /// Asks that the viewer be sent away, at the next boundary of its messages.
    pub fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Relaxed);
    }

    /// Whether the viewer is to be sent away.
    #[must_use]
    pub fn is_dismissed(&self) -> bool {
        self.is_dismissed.load(Ordering::Relaxed)
    }

    /// Takes note of what is watched from now on.
    pub(super) fn watch(&self, watches: &[Watch]) {
        let watched = watches.iter().map(|watch| Watched {
            place: watch.place(),
            wish: watch.wish(),
        });
        *self.watched() = watched.collect();
    }

    /// Takes note of a payload's age.
    pub(super) fn age(&self, bucket: usize) {
        let count = &self.ages[bucket];
        count.store(relaxed16(count).wrapping_add(1), Ordering::Relaxed);
    }

    /// Takes note that the peer took something.
    pub(super) fn progressed(&self, now: Monotonic) {
        self.progressed_at.store(nanos(now), Ordering::Relaxed);
    }

    /// Takes note of since when the peer owes an acknowledgement.
    pub(super) fn silent(&self, since: Option<Monotonic>) {
        let since = since.map_or(NEVER, nanos);
        self.silent_since.store(since, Ordering::Relaxed);
    }

    /// Takes note of all that is counted.
    pub(super) fn count(&self, counters: &Counters, now: Monotonic) {
        let newer = self.newer.load(Ordering::Relaxed);
        if self.marks[newer].age(now) >= 2 * MARK_EVERY {
            // Nothing happened for so long that the last mark is no longer lately.
            self.set_mark(newer, now - MARK_EVERY);
        }
        let is_first = relaxed(&self.sent) == 0 && counters.sent > 0;
        let skipped = &counters.why;
        for (figure, count) in [
            (&self.sent, counters.sent),
            (&self.thinned, counters.thinned),
            (&self.bytes, counters.bytes),
            (&self.link, skipped.link),
            (&self.device, skipped.device),
            (&self.server, skipped.server),
        ] {
            figure.store(count, Ordering::Relaxed);
        }
        self.counted_at.store(nanos(now), Ordering::Relaxed);
        if is_first {
            // Waiting for the first one is no measure of the rate.
            (0..MARKS).for_each(|which| self.set_mark(which, now));
        } else if self.marks[newer].age(now) >= MARK_EVERY {
            let older = 1 - newer;
            self.set_mark(older, now);
            self.newer.store(older, Ordering::Relaxed);
        }
    }

    fn set_mark(&self, which: usize, at: Monotonic) {
        let mark = &self.marks[which];
        for (kept, count) in [
            (&mark.sent, &self.sent),
            (&mark.thinned, &self.thinned),
            (&mark.link, &self.link),
            (&mark.device, &self.device),
            (&mark.server, &self.server),
        ] {
            kept.store(low(relaxed(count)), Ordering::Relaxed);
        }
        for (kept, count) in mark.ages.iter().zip(&self.ages) {
            kept.store(relaxed16(count), Ordering::Relaxed);
        }
        mark.bytes.store(relaxed(&self.bytes), Ordering::Relaxed);
        mark.at.store(nanos(at), Ordering::Relaxed);
    }

    /// Whether the channel at this place is watched.
    #[must_use]
    pub fn watches(&self, place: usize) -> bool {
        self.watched().iter().any(|watched| watched.place == place)
    }

    /// What there is to be told now.
    #[must_use]
    pub fn read(&self, now: Monotonic) -> Reading {
        let silent_since = relaxed(&self.silent_since);
        Reading {
            sent: relaxed(&self.sent),
            thinned: relaxed(&self.thinned),
            bytes: relaxed(&self.bytes),
            skipped: Skips {
                link: relaxed(&self.link),
                device: relaxed(&self.device),
                server: relaxed(&self.server),
            },
            quiet_for: now.since(Monotonic::from_nanos(relaxed(&self.progressed_at))),
            silent_for: (silent_since != NEVER)
                .then(|| now.since(Monotonic::from_nanos(silent_since))),
            is_dismissed: self.is_dismissed(),
            watched: self.watched().clone(),
            lately: self.lately(now),
        }
    }

    fn lately(&self, now: Monotonic) -> Lately {
        let newer = self.newer.load(Ordering::Relaxed);
        let since_last = self.marks[newer].age(now);
        if since_last >= 2 * MARK_EVERY {
            // The writer would have left a mark had anything happened.
            return Lately {
                span: MARK_EVERY,
                ..Lately::default()
            };
        }
        let from = if since_last < MARK_EVERY {
            1 - newer
        } else {
            newer
        };
        let mark = &self.marks[from];
        let since = |figure: &AtomicU64, mark: &AtomicU32| {
            let earlier = mark.load(Ordering::Relaxed);
            u64::from(low(relaxed(figure)).wrapping_sub(earlier))
        };
        let counts = self.ages.iter().zip(&mark.ages);
        let counts = counts.map(|(now, then)| relaxed16(now).wrapping_sub(relaxed16(then)));
        let sent = since(&self.sent, &mark.sent);
        Lately {
            span: self.span(mark, sent, now),
            sent,
            thinned: since(&self.thinned, &mark.thinned),
            bytes: relaxed(&self.bytes).wrapping_sub(relaxed(&mark.bytes)),
            skipped: Skips {
                link: since(&self.link, &mark.link),
                device: since(&self.device, &mark.device),
                server: since(&self.server, &mark.server),
            },
            ages: counts.map(u32::from).collect(),
        }
    }

    /// The time that the payloads sent since a mark took: until the last of them, or until now but for
    /// one interval, once the next one is overdue.
    fn span(&self, mark: &Mark, sent: u64, now: Monotonic) -> Duration {
        let until_last = Monotonic::from_nanos(relaxed(&self.counted_at)).since(mark.time());
        let interval = u32::try_from(sent).map_or(Duration::ZERO, |sent| {
            until_last.checked_div(sent).unwrap_or_default()
        });
        until_last.max(mark.age(now).saturating_sub(interval))
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        (self.watched.lock()).expect("no thread panics while holding this")
    }
}

impl Mark {
    fn at(nanos: u64) -> Self {
        Self {
            at: nanos.into(),
            bytes: AtomicU64::default(),
            sent: AtomicU32::default(),
            thinned: AtomicU32::default(),
            link: AtomicU32::default(),
            device: AtomicU32::default(),
            server: AtomicU32::default(),
            ages: Default::default(),
        }
    }

    fn time(&self) -> Monotonic {
        Monotonic::from_nanos(relaxed(&self.at))
    }

    fn age(&self, now: Monotonic) -> Duration {
        now.since(self.time())
    }
}

fn nanos(at: Monotonic) -> u64 {
    let since = at.since(Monotonic::default()).as_nanos();
    u64::try_from(since).unwrap_or(u64::MAX)
}

fn relaxed(figure: &AtomicU64) -> u64 {
    figure.load(Ordering::Relaxed)
}

fn relaxed16(figure: &AtomicU16) -> u16 {
    figure.load(Ordering::Relaxed)
}

#[expect(clippy::cast_possible_truncation, reason = "differences are meant")]
const fn low(count: u64) -> u32 {
    count as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::default() + Duration::from_secs(seconds)
    }

    /// A viewer that was sent so much since it came.
    fn sent(figures: &Figures, sent: u64, seconds: u64) {
        let mut counters = Counters {
            sent,
            bytes: 1_000 * sent,
            ..Counters::default()
        };
        counters.why.add(sent, Cause::Server);
        figures.age(0);
        figures.count(&counters, at(seconds));
    }

    #[test]
    fn lately_is_the_last_seconds_and_not_all_there_was() {
        let figures = Figures::new(&[], at(0));
        for second in 1..=30 {
            sent(&figures, 10 * second, second);
        }
        let reading = figures.read(at(30));
        assert_eq!((reading.sent, reading.skipped.server), (300, 300));
        let lately = reading.lately;
        assert!(lately.span >= MARK_EVERY && lately.span < 3 * MARK_EVERY);
        let seconds = lately.span.as_secs();
        assert_eq!(lately.sent, 10 * seconds);
        assert_eq!(lately.bytes, 1_000 * lately.sent);
        assert_eq!(lately.skipped.total(), lately.sent);
        assert_eq!(lately.ages.total(), seconds);
    }

    #[test]
    fn nothing_for_long_is_nothing_lately() {
        let figures = Figures::new(&[], at(0));
        (1..=10).for_each(|second| sent(&figures, 10 * second, second));
        let lately = figures.read(at(40)).lately;
        assert_eq!((lately.sent, lately.bytes, lately.ages.total()), (0, 0, 0));
        sent(&figures, 101, 40);
        let lately = figures.read(at(40)).lately;
        assert_eq!((lately.sent, lately.span), (1, MARK_EVERY));
    }

    /// Payloads a second, told by who was sent five a second until a time.
    fn told_of_five_a_second(until: Duration, now: Duration) -> f64 {
        let figures = Figures::new(&[], at(0));
        let every = Duration::from_millis(200);
        for sent in (1..).take_while(|&sent| sent * every <= until) {
            let counters = Counters {
                sent: sent.into(),
                ..Counters::default()
            };
            figures.count(&counters, at(0) + sent * every);
        }
        let lately = figures.read(at(0) + now).lately;
        f64::from(u32::try_from(lately.sent).unwrap()) / lately.span.as_secs_f64()
    }

    #[test]
    fn a_steady_rate_is_told_as_it_is_whenever_it_is_asked_for() {
        for millis in (400..20_000).step_by(70) {
            let now = Duration::from_millis(millis);
            let told = told_of_five_a_second(now, now);
            assert!((told - 5.0).abs() < 1e-9, "{told} after {now:?}");
        }
    }

    #[test]
    fn a_rate_falls_as_soon_as_a_payload_is_overdue() {
        let (until, second) = (Duration::from_secs(10), Duration::from_secs(1));
        let told = |overdue| told_of_five_a_second(until, until + overdue);
        assert!((told(second / 5) - 5.0).abs() < 1e-9, "not yet");
        assert!(told(second) < 5.0 && told(2 * second) < told(second));
    }

    #[test]
    fn it_is_small() {
        let bytes = size_of::<Figures>();
        assert!(bytes <= 400, "{bytes} bytes for each viewer");
    }
}
