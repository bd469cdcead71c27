//! What every pair of a writing and a reading end has to keep.
//!
//! Counted from where a reader began, in payloads: published = received + skipped + unread. Here
//! most payloads are one frame, so a payload that was missed shows in the frames' numbers, whether
//! or not the reader is told of it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Budget, Flags, Payload, RecvError};

use crate::frames::{BIG, FLOOD, SMALL, Writer, picture};
use crate::hall::PATIENCE;
use crate::pairs::{Bundles, CAPACITY, End, Keys, Pair, Reader, Skips, Start, Traits};

/// A pair at work.
struct Scene {
    traits: Traits,
    writer: Writer,
    join: Box<dyn Fn() -> Reader>,
    settle: Box<dyn Fn()>,
}

impl Scene {
    /// The pair, unless what it needs is not installed.
    fn of(pair: &dyn Pair) -> Option<Self> {
        let model = pair.open()?;
        Some(Self {
            traits: pair.traits(),
            writer: Writer::new(model.publisher, Budget::new(u64::MAX)),
            join: model.join,
            settle: model.settle,
        })
    }

    fn join(&self) -> Reader {
        (self.join)()
    }

    /// Publishes a frame that is no key frame, where there are such.
    fn publish_between_keys(&mut self, bytes: usize) -> u64 {
        let flags = match self.traits.keys {
            Keys::Marked => Flags::NONE,
            Keys::Every => Flags::KEY,
        };
        self.writer.publish_as(flags, bytes)
    }

    /// Publishes frames of which every fourth is a key frame; the numbers of the newest key frame
    /// and of the newest of all. `pause` is what lies between two frames.
    fn publish_many(&mut self, count: u64, bytes: usize, pause: Pause) -> (u64, u64) {
        let (mut key, mut newest) = (0, 0);
        for number in 0..count {
            newest = if number % 4 == 0 {
                self.writer.publish(bytes)
            } else {
                self.publish_between_keys(bytes)
            };
            if number % 4 == 0 || self.traits.keys == Keys::Every {
                key = newest;
            }
            match pause {
                Pause::None => {}
                Pause::Settle => (self.settle)(),
                Pause::Time(time) => thread::sleep(time),
            }
        }
        (key, newest)
    }
}

/// What lies between two frames.
#[derive(Debug, Clone, Copy)]
enum Pause {
    /// Nothing: where writers overtake themselves, they do.
    None,
    /// As much as it takes for none to overtake another on its way to the readers.
    Settle,
    /// So long.
    Time(Duration),
}

/// What one reader has seen; checks each payload as it comes.
struct Account {
    traits: Traits,
    begun: Instant,
    /// The number that comes next if nothing is missed.
    next: u64,
    received: u64,
    missed: u64,
    /// Skips told since the last payload, and all of them.
    told_now: u64,
    told: u64,
    /// The first number behind the last gap.
    resumed_at: Option<u64>,
}

impl Account {
    /// For a reader that begins at this number.
    fn new(traits: Traits, next: u64) -> Self {
        Self {
            traits,
            begun: Instant::now(),
            next,
            received: 0,
            missed: 0,
            told_now: 0,
            told: 0,
            resumed_at: None,
        }
    }

    fn take(&mut self, outcome: Result<Arc<Payload>, RecvError>) {
        match outcome {
            Ok(payload) => self.take_payload(&payload),
            Err(RecvError::Lagged { skipped }) => self.tell(skipped),
            Err(RecvError::TimedOut) => {}
            Err(RecvError::Closed) => panic!("closed before its end"),
        }
    }

    fn tell(&mut self, skipped: u64) {
        self.told_now += skipped;
        self.told += skipped;
    }

    fn take_payload(&mut self, payload: &Payload) {
        let [frame] = &payload.frames[..] else {
            panic!(
                "{} frames were not published together",
                payload.frames.len()
            );
        };
        let seq = frame.head.identity.seq;
        assert!(seq >= self.next, "{seq} comes when {} is due", self.next);
        assert_eq!(*frame.data(), picture(seq, frame.data().len()), "of {seq}");
        let missed = seq - self.next;
        if self.traits.skips == Skips::Told {
            assert_eq!(self.told_now, missed, "told to be missed before {seq}");
        }
        if missed > 0 {
            assert!(payload.starts_with_key(), "{seq} follows a gap");
            self.resumed_at = Some(seq);
        }
        self.missed += missed;
        self.told_now = 0;
        self.received += 1;
        self.next = seq + 1;
    }

    /// Whether payloads have come, and skips have been told where they are.
    fn is_enough(&self) -> bool {
        let is_told = self.traits.skips == Skips::Gaps || self.told > 0;
        self.received > 100 && is_told
    }

    /// Reads up to this number. All that is read for an account has to come within [`PATIENCE`]:
    /// what comes after a new connection only, comes too late.
    fn read_up_to(&mut self, reader: &mut Reader, last: u64) {
        while self.next <= last {
            let is_late = self.begun.elapsed() > PATIENCE;
            assert!(!is_late, "{} does not come", self.next);
            self.take(reader.recv(PATIENCE));
        }
    }
}

/// The number of the next payload's first frame.
fn seq(reader: &mut Reader) -> u64 {
    let payload = reader.recv(PATIENCE).unwrap();
    payload.frames[0].head.identity.seq
}

/// Whether nothing comes any more, as far as a little patience tells.
fn is_quiet(reader: &mut Reader) -> bool {
    reader.recv(Duration::from_millis(50)) == Err(RecvError::TimedOut)
}

pub(crate) fn a_reader_that_keeps_up_gets_every_payload(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let mut reader = scene.join();
    let mut account = Account::new(scene.traits, 0);
    for number in 0..500 {
        // Small ones are sent in one piece, larger ones in several.
        let newest = scene.writer.publish(SMALL + 100 * number);
        account.read_up_to(&mut reader, newest);
    }
    assert_eq!((account.received, account.missed), (500, 0));
    assert!(is_quiet(&mut reader));
}

pub(crate) fn a_late_joiner_begins_at_the_newest_key_frame(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let (key, newest) = scene.publish_many(3 * CAPACITY as u64 + 2, SMALL, Pause::Settle);
    for _ in 0..2 {
        let mut reader = scene.join();
        if scene.traits.start == Start::Next {
            assert!(is_quiet(&mut reader));
            let next = scene.writer.publish(SMALL);
            assert_eq!(seq(&mut reader), next);
            continue;
        }
        for expected in key..=newest {
            assert_eq!(seq(&mut reader), expected);
        }
        assert!(is_quiet(&mut reader));
    }
}

pub(crate) fn an_overtaken_reader_goes_on_at_the_newest_key_frame(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let mut reader = scene.join();
    // The reader is stopped, and whatever lies between is filled.
    scene.publish_many(FLOOD, BIG, Pause::Time(Duration::from_micros(500)));
    thread::sleep(Duration::from_millis(300));
    let (key, newest) = scene.publish_many(3 * CAPACITY as u64 + 3, BIG, Pause::None);
    (scene.settle)();
    let mut account = Account::new(scene.traits, 0);
    account.read_up_to(&mut reader, newest);
    assert_eq!(account.resumed_at, Some(key));
    assert_eq!(account.received + account.missed, newest + 1);
    assert!(is_quiet(&mut reader));
}

pub(crate) fn resuming_passes_over_all_before_the_newest_key_frame(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let mut reader = scene.join();
    let (key, newest) = scene.publish_many(7, SMALL, Pause::Settle);
    // Over a network it takes a moment until all has come: less than this in most runs.
    thread::sleep(Duration::from_millis(100));
    let (mut skipped, begun) = (0, Instant::now());
    while skipped < key {
        skipped += reader.resume_newest();
        assert!(begun.elapsed() < PATIENCE, "{skipped} of {key} skipped");
    }
    assert_eq!(skipped, key);
    for expected in key..=newest {
        assert_eq!(seq(&mut reader), expected);
    }
    assert_eq!(reader.resume_newest(), 0);
    assert!(is_quiet(&mut reader));
}

pub(crate) fn the_count_is_kept_whatever_the_rhythm(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let mut reader = scene.join();
    let mut account = Account::new(scene.traits, 0);
    let mut newest = 0;
    // A linear congruential generator (Knuth's MMIX): any rhythm will do, but the same each time.
    let mut state = 1_u64;
    let mut below = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let (begun, mut steps) = (Instant::now(), 0);
    // How much comes through meanwhile is the machine's: it goes on until that is enough.
    while steps < 600 || !account.is_enough() {
        assert!(begun.elapsed() < PATIENCE / 2, "not much of a test");
        steps += 1;
        match below(8) {
            0..3 => {
                let count = 1 + below(2 * CAPACITY as u64);
                newest = scene.publish_many(count, SMALL, Pause::None).1;
            }
            3..7 => (0..below(CAPACITY as u64)).for_each(|_| {
                account.take(reader.recv(Duration::from_millis(below(2))));
            }),
            _ => account.tell(reader.resume_newest()),
        }
    }
    newest = newest.max(scene.writer.publish(SMALL));
    account.read_up_to(&mut reader, newest);
    assert_eq!(account.received + account.missed, newest + 1);
    assert!(account.told <= account.missed);
}

pub(crate) fn publishing_never_waits_for_a_stopped_reader(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let stopped: Vec<_> = (0..3).map(|_| scene.join()).collect();
    let begun = Instant::now();
    scene.publish_many(FLOOD, BIG, Pause::None);
    // Less than the ten seconds after which a stopped reader may be closed.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(stopped);
}

pub(crate) fn many_readers_get_the_same_bytes(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let mut readers: Vec<_> = (0..20).map(|_| scene.join()).collect();
    let mut accounts: Vec<_> = (readers.iter())
        .map(|_| Account::new(scene.traits, 0))
        .collect();
    for number in 0..50 {
        let newest = scene.writer.publish(SMALL + 1_000 * number);
        for (reader, account) in readers.iter_mut().zip(&mut accounts) {
            account.read_up_to(reader, newest);
        }
    }
    assert!(accounts.iter().all(|account| account.received == 50));
}

pub(crate) fn readers_come_and_go_and_nobody_else_notices(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let mut steady = scene.join();
    let mut account = Account::new(scene.traits, 0);
    for _ in 0..20 {
        let newest = scene.writer.publish(SMALL);
        let mut guest = scene.join();
        if scene.traits.start == Start::Newest {
            assert_eq!(seq(&mut guest), newest);
        }
        let next = scene.writer.publish(SMALL);
        assert_eq!(seq(&mut guest), next);
        drop(guest);
        account.read_up_to(&mut steady, next);
    }
    assert_eq!((account.received, account.missed), (40, 0));
}

pub(crate) fn times_to_wait_are_kept(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let mut reader = scene.join();
    for millis in [0, 120, 300] {
        let wanted = Duration::from_millis(millis);
        let begun = Instant::now();
        assert_eq!(reader.recv(wanted), Err(RecvError::TimedOut));
        let took = begun.elapsed();
        assert!(took >= wanted, "{took:?} instead of {wanted:?}");
        assert!(
            took < wanted + Duration::from_secs(1),
            "{took:?} instead of {wanted:?}"
        );
    }
    let waiting = thread::spawn(move || seq(&mut reader));
    // Long enough for the reader to sleep in most runs, and right in all.
    thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    let newest = scene.writer.publish(SMALL);
    assert_eq!(waiting.join().unwrap(), newest);
    let took = begun.elapsed();
    assert!(took < PATIENCE / 4, "woken after {took:?}");
}

pub(crate) fn frames_published_together_arrive_in_order(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let mut reader = scene.join();
    let expected = match scene.traits.bundles {
        Bundles::Kept => vec![vec![0, 1, 2], vec![3], vec![4, 5]],
        Bundles::Split => (0..6).map(|seq| vec![seq]).collect(),
    };
    for count in [3, 1, 2] {
        scene.writer.publish_together(count);
        (scene.settle)();
    }
    for expected in expected {
        let payload = reader.recv(PATIENCE).unwrap();
        let seqs = payload.frames.iter().map(|frame| frame.head.identity.seq);
        assert_eq!(seqs.collect::<Vec<_>>(), expected);
    }
    assert!(is_quiet(&mut reader));
}

pub(crate) fn what_is_left_is_handed_out_before_the_end(pair: &dyn Pair) {
    let Some(mut scene) = Scene::of(pair) else {
        return;
    };
    let mut reader = scene.join();
    let (_, newest) = scene.publish_many(CAPACITY as u64, SMALL, Pause::Settle);
    let Scene {
        traits,
        writer,
        join,
        ..
    } = scene;
    drop(writer);
    let mut account = Account::new(traits, 0);
    account.read_up_to(&mut reader, newest);
    assert_eq!(account.missed, 0);
    match traits.end {
        End::Closed => {
            for _ in 0..2 {
                assert_eq!(reader.recv(PATIENCE), Err(RecvError::Closed));
            }
        }
        End::Pause => {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(1) {
                match reader.recv(Duration::from_millis(100)) {
                    // Who asks again is shown what a late joiner is.
                    Ok(payload) => assert!(payload.frames[0].head.identity.seq <= newest),
                    outcome => assert_eq!(outcome, Err(RecvError::TimedOut)),
                }
            }
        }
    }
    drop(join);
}
