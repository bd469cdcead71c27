//! One writer hands payloads to any number of readers inside one process.
//!
//! The policy before the API:
//!
//! * **The writer never waits.** It overwrites the oldest slot whether or not it was read. Slots
//!   and head are lock-free; publishing allocates nothing. It costs the same for one reader and for
//!   ten thousand, apart from waking those who asked to be woken, and from a look at each thread that
//!   reads, which may be just taking the payload that is overwritten.
//! * **A reader that is overtaken is told so.** It gets [`RecvError::Lagged`] with the number of
//!   payloads it missed and goes on at the newest key frame, the most useful thing left.
//! * **A reader starts at the newest key frame already published**, so that a viewer who joins
//!   sees a picture at once.
//! * **A ring can be bounded in bytes too** ([`bounded`]): what is too much is let go, oldest first,
//!   as if it had been overwritten; the newest payload always stays.
//! * **After the writer has gone the rest is drained**, then the reader gets
//!   [`RecvError::Closed`].
//!
//! Readers either sleep in [`Subscribe::recv`] or register a [`Waker`](std::task::Waker) with the
//! [`Ring`] and poll ([`wait`]). A payload carries its own index, so a read checks itself: a slot
//! that was overwritten under the reader's eyes is recognised by the index found in it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::frame::Payload;
use crate::subscribe::{RecvError, Subscribe};
use crate::sync::{AtomicBool, AtomicU64, Ordering, Slot};

pub mod wait;

use wait::{Bell, Registration};

/// A ring of `capacity` payloads, rounded up to a power of two and at least two.
///
/// ```
/// use common::{Payload, Subscribe, ring};
/// use std::{sync::Arc, time::Duration};
///
/// let (mut publisher, ring) = ring::new(4);
/// let mut subscriber = ring.subscribe();
/// publisher.publish(Arc::new(Payload {
///     index: 0,
///     published_at: Default::default(),
///     frames: Vec::new(),
/// }));
/// assert_eq!(subscriber.recv(Duration::ZERO).unwrap().index, 0);
/// ```
#[must_use]
pub fn new(capacity: usize) -> (Publisher, Ring) {
    bounded(capacity, u64::MAX)
}

/// A ring like [`new`] that holds at most `max_bytes` bytes of frames, or one payload if that alone
/// has more.
#[must_use]
pub fn bounded(capacity: usize, max_bytes: u64) -> (Publisher, Ring) {
    let capacity = capacity.next_power_of_two().max(2);
    let shared = Arc::new(Shared {
        slots: (0..capacity).map(|_| Slot::new(None)).collect(),
        head: AtomicU64::new(0),
        tail: AtomicU64::new(0),
        newest_key: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        bell: Bell::new(),
    });
    let publisher = Publisher {
        shared: shared.clone(),
        held: VecDeque::with_capacity(capacity),
        held_bytes: 0,
        max_bytes,
    };
    (publisher, Ring { shared })
}

#[derive(Debug)]
struct Shared {
    /// Payload `index` lives in slot `index % slots.len()`.
    slots: Box<[Slot<Payload>]>,
    /// Payloads published so far; the index the next one must have.
    head: AtomicU64,
    /// Payloads below this were let go because there were too many bytes.
    tail: AtomicU64,
    /// One more than the index of the newest payload that starts with a key frame; 0: none yet.
    newest_key: AtomicU64,
    closed: AtomicBool,
    bell: Bell,
}

impl Shared {
    fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    fn slot(&self, index: u64) -> &Slot<Payload> {
        let place = index % self.capacity();
        &self.slots[usize::try_from(place).expect("below the number of slots")]
    }

    fn head(&self) -> u64 {
        // Acquire: pairs with the Release in Publisher::publish; slots below head are filled.
        self.head.load(Ordering::Acquire)
    }

    /// Where a reader who wants the newest begins: the newest key frame, or the next payload if no
    /// key frame is left in the ring.
    /// `head` is the least number of payloads known to be written.
    fn newest_start(&self, head: u64) -> u64 {
        // Acquire: pairs with the Release in Publisher::publish. It may already tell of a payload
        // that `head` does not count yet: that one then comes next.
        let Some(key) = self.newest_key.load(Ordering::Acquire).checked_sub(1) else {
            return head;
        };
        // Acquire: pairs with the Release in Publisher::let_go.
        let tail = self.tail.load(Ordering::Acquire);
        let is_held = key >= tail && head <= key + self.capacity();
        if is_held { key } else { head }
    }
}

/// The writing end. There is one: it cannot be cloned. Dropping it closes the ring.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    /// Bytes of each payload in the ring, oldest first, and their sum.
    held: VecDeque<u64>,
    held_bytes: u64,
    max_bytes: u64,
}

impl Publisher {
    /// Hands a payload to all readers. Never blocks, never fails; the oldest is overwritten.
    ///
    /// # Panics
    /// If `payload.index` does not follow the last one: the index is the address.
    pub fn publish(&mut self, payload: Arc<Payload>) {
        let shared = &*self.shared;
        // Relaxed: only this thread writes it.
        let index = shared.head.load(Ordering::Relaxed);
        assert_eq!(payload.index, index, "payload indices count up by one");
        let is_key = payload.starts_with_key();
        let bytes = payload.data_bytes();
        shared.slot(index).store(Some(payload));
        if is_key {
            // Release: pairs with the Acquire in Shared::newest_start; the slot is filled.
            shared.newest_key.store(index + 1, Ordering::Release);
        }
        // Release: pairs with the Acquire in Shared::head; the slot is filled.
        shared.head.store(index + 1, Ordering::Release);
        self.hold(bytes);
        self.let_go(index + 1);
        self.shared.bell.ring();
    }

    /// Takes note of the payload that was just stored, and of the one it overwrote.
    fn hold(&mut self, bytes: u64) {
        if self.held.len() == self.shared.slots.len() {
            self.held_bytes -= self.held.pop_front().unwrap_or(0);
        }
        self.held.push_back(bytes);
        self.held_bytes += bytes;
    }

    /// Empties the oldest slots until the bytes are within their bound or one payload is left.
    fn let_go(&mut self, head: u64) {
        while self.held_bytes > self.max_bytes && self.held.len() > 1 {
            let oldest = head - self.held.len() as u64;
            // Release: pairs with the Acquire in Shared::newest_start. Told before it is done, so
            // that a reader who finds the slot empty is not sent there again.
            self.shared.tail.store(oldest + 1, Ordering::Release);
            self.shared.slot(oldest).store(None);
            self.held_bytes -= self.held.pop_front().unwrap_or(0);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in Subscriber::poll; the head is final.
        self.shared.closed.store(true, Ordering::Release);
        self.shared.bell.ring();
    }
}

/// The reading side: makes subscribers, looks at the newest payload. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ring {
    shared: Arc<Shared>,
}

impl Ring {
    /// A new reader, which starts at the newest key frame already published.
    #[must_use]
    pub fn subscribe(&self) -> Subscriber {
        Subscriber {
            next: self.shared.newest_start(self.shared.head()),
            shared: self.shared.clone(),
        }
    }

    /// The newest payload, if there is any.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Payload>> {
        let newest = self.shared.head().checked_sub(1)?;
        self.shared.slot(newest).load()
    }

    /// The payload of this index, if the ring still holds it.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<Arc<Payload>> {
        let payload = self.shared.slot(index).load();
        payload.filter(|payload| payload.index == index)
    }

    /// Payloads published so far.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.shared.head()
    }

    /// How many payloads the ring holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    /// Has `waker` called after each publication and at the end, until the registration is dropped.
    #[must_use = "dropping the registration ends it"]
    pub fn wake_by(&self, waker: std::task::Waker) -> Registration<'_> {
        self.shared.bell.register(waker)
    }
}

/// One reader's place in the ring.
#[derive(Debug)]
pub struct Subscriber {
    shared: Arc<Shared>,
    /// The index this reader gets next.
    next: u64,
}

impl Subscriber {
    /// Whether a payload newer than the last one received has been published.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        self.shared.head() > self.next
    }

    fn poll(&mut self) -> Result<Arc<Payload>, RecvError> {
        // Acquire: pairs with the Release in Publisher::drop. Read before the head: if it says
        // closed, the head read after it is the last one.
        let closed = self.shared.closed.load(Ordering::Acquire);
        let head = self.shared.head();
        if self.next >= head {
            return Err(if closed {
                RecvError::Closed
            } else {
                RecvError::TimedOut
            });
        }
        if head - self.next > self.shared.capacity() {
            let skipped = self.skip_to_newest(head);
            return Err(RecvError::Lagged { skipped });
        }
        let payload = self.shared.slot(self.next).load();
        // Another index: overwritten since the head was read, perhaps before the head tells of it.
        // None: let go because there were too many bytes.
        let written = payload.as_ref().map_or(head, |payload| payload.index + 1);
        match payload.filter(|payload| payload.index == self.next) {
            Some(payload) => {
                self.next += 1;
                Ok(payload)
            }
            None => {
                let skipped = self.skip_to_newest(written);
                Err(RecvError::Lagged { skipped })
            }
        }
    }

    fn skip_to_newest(&mut self, head: u64) -> u64 {
        let skipped = (self.shared.newest_start(head)).saturating_sub(self.next);
        self.next += skipped;
        skipped
    }
}

impl Subscribe for Subscriber {
    fn recv(&mut self, timeout: Duration) -> Result<Arc<Payload>, RecvError> {
        let mut deadline = None;
        loop {
            let seen = self.shared.bell.seen();
            match self.poll() {
                Err(RecvError::TimedOut) if !timeout.is_zero() => {}
                outcome => return outcome,
            }
            let now = SystemClock.monotonic();
            let left = deadline.get_or_insert(now + timeout).since(now);
            if left.is_zero() {
                return Err(RecvError::TimedOut);
            }
            self.shared.bell.sleep(seen, left);
        }
    }

    fn resume_newest(&mut self) -> u64 {
        self.skip_to_newest(self.shared.head())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::frame::{Flags, Format, Frame, Head, Identity, Monotonic, Timestamp};
    use proptest::prelude::*;
    use std::thread;

    fn payload(index: u64, flags: Flags) -> Arc<Payload> {
        sized_payload(index, flags, 1)
    }

    fn sized_payload(index: u64, flags: Flags, bytes: usize) -> Arc<Payload> {
        let head = Head {
            identity: Identity {
                epoch: 1,
                seq: index,
            },
            captured_at: Timestamp::default(),
            format: Format::Opaque,
            width: 0,
            height: 0,
            flags,
            hops: 0,
        };
        Arc::new(Payload {
            index,
            published_at: Monotonic::default(),
            frames: vec![Frame::new(head, vec![0; bytes].into())],
        })
    }

    fn key(index: u64) -> Arc<Payload> {
        payload(index, Flags::KEY)
    }

    #[test]
    fn a_newcomer_starts_at_the_newest_key_frame() {
        let (mut publisher, ring) = new(4);
        publisher.publish(key(0));
        publisher.publish(key(1));
        publisher.publish(payload(2, Flags::NONE));
        let mut reader = ring.subscribe();
        assert_eq!(reader.recv(Duration::ZERO).unwrap().index, 1);
        assert_eq!(reader.recv(Duration::ZERO).unwrap().index, 2);
        assert_eq!(reader.recv(Duration::ZERO), Err(RecvError::TimedOut));
    }

    #[test]
    fn without_a_key_frame_in_the_ring_a_newcomer_waits_for_the_next_payload() {
        let (mut publisher, ring) = new(2);
        publisher.publish(key(0));
        publisher.publish(payload(1, Flags::NONE));
        publisher.publish(payload(2, Flags::NONE));
        let mut reader = ring.subscribe();
        assert!(!reader.has_unread());
        publisher.publish(payload(3, Flags::NONE));
        assert_eq!(reader.recv(Duration::ZERO).unwrap().index, 3);
    }

    #[test]
    fn payloads_are_had_by_index_while_the_ring_holds_them() {
        let (mut publisher, ring) = new(2);
        (0..3).for_each(|index| publisher.publish(key(index)));
        let held = |index| ring.get(index).map(|payload| payload.index);
        assert_eq!([0, 1, 2, 3].map(held), [None, Some(1), Some(2), None]);
    }

    #[test]
    fn an_overtaken_reader_learns_how_much_it_missed() {
        let (mut publisher, ring) = new(4);
        let mut reader = ring.subscribe();
        for index in 0..9 {
            publisher.publish(key(index));
        }
        let lagged = reader.recv(Duration::ZERO);
        assert_eq!(lagged, Err(RecvError::Lagged { skipped: 8 }));
        assert_eq!(reader.recv(Duration::ZERO).unwrap().index, 8);
    }

    #[test]
    fn too_many_bytes_are_let_go_oldest_first_but_never_the_newest() {
        let (mut publisher, ring) = bounded(8, 100);
        let mut reader = ring.subscribe();
        for (index, bytes) in [(0, 40), (1, 40), (2, 40)] {
            publisher.publish(sized_payload(index, Flags::KEY, bytes));
        }
        let lagged = reader.recv(Duration::ZERO);
        assert_eq!(
            lagged,
            Err(RecvError::Lagged { skipped: 2 }),
            "0 was let go"
        );
        publisher.publish(sized_payload(3, Flags::KEY, 1000));
        publisher.publish(sized_payload(4, Flags::NONE, 10));
        let lagged = reader.recv(Duration::ZERO);
        assert_eq!(
            lagged,
            Err(RecvError::Lagged { skipped: 3 }),
            "no key frame is left"
        );
        assert_eq!(reader.recv(Duration::ZERO), Err(RecvError::TimedOut));
        assert_eq!(ring.newest().unwrap().index, 4);
    }

    #[test]
    fn the_rest_is_drained_after_the_end() {
        let (mut publisher, ring) = new(4);
        let mut reader = ring.subscribe();
        publisher.publish(key(0));
        drop(publisher);
        assert_eq!(reader.recv(Duration::ZERO).unwrap().index, 0);
        assert_eq!(reader.recv(Duration::MAX), Err(RecvError::Closed));
    }

    #[test]
    fn a_sleeping_reader_is_woken_by_each_payload_and_by_the_end() {
        let (mut publisher, ring) = new(4);
        let mut reader = ring.subscribe();
        let sleeper = thread::spawn(move || {
            let mut received = 0;
            while let Ok(payload) = reader.recv(Duration::from_secs(60)) {
                assert_eq!(payload.index, received);
                received += 1;
            }
            received
        });
        let mut echo = ring.subscribe();
        for index in 0..3 {
            publisher.publish(key(index));
            assert_eq!(echo.recv(Duration::from_secs(60)).unwrap().index, index);
        }
        drop(publisher);
        assert_eq!(sleeper.join().unwrap(), 3);
    }

    #[test]
    fn readers_on_other_threads_never_lose_count() {
        const PAYLOADS: u64 = 200_000;
        let (mut publisher, ring) = new(8);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let mut reader = ring.subscribe();
                thread::spawn(move || {
                    let (mut received, mut skipped) = (0, 0);
                    loop {
                        match reader.recv(Duration::from_secs(60)) {
                            Ok(payload) => {
                                assert_eq!(payload.index, received + skipped);
                                received += 1;
                            }
                            Err(RecvError::Lagged { skipped: more }) => skipped += more,
                            Err(RecvError::Closed) => return received + skipped,
                            Err(RecvError::TimedOut) => panic!("the writer is running"),
                        }
                    }
                })
            })
            .collect();
        for index in 0..PAYLOADS {
            publisher.publish(key(index));
        }
        drop(publisher);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), PAYLOADS);
        }
    }

    /// The ring as a plain list: what it must do, without any of how.
    struct Model {
        capacity: u64,
        /// Payloads of one byte each that may be held.
        max_held: u64,
        keys: Vec<bool>,
        closed: bool,
        next: u64,
    }

    impl Model {
        fn held(&self) -> u64 {
            self.capacity.min(self.max_held)
        }

        fn start(&self) -> u64 {
            let head = self.keys.len() as u64;
            let newest = self.keys.iter().rposition(|&key| key);
            newest
                .map(|at| at as u64)
                .filter(|&at| head - at <= self.held())
                .unwrap_or(head)
        }

        fn resume_newest(&mut self) -> u64 {
            let skipped = self.start().saturating_sub(self.next);
            self.next += skipped;
            skipped
        }

        fn recv(&mut self) -> Result<u64, RecvError> {
            let head = self.keys.len() as u64;
            if self.next == head {
                return Err(if self.closed {
                    RecvError::Closed
                } else {
                    RecvError::TimedOut
                });
            }
            if head - self.next > self.held() {
                let skipped = self.resume_newest();
                return Err(RecvError::Lagged { skipped });
            }
            self.next += 1;
            Ok(self.next - 1)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Publish { key: bool },
        Recv,
        ResumeNewest,
        Close,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => any::<bool>().prop_map(|key| Step::Publish { key }),
            4 => Just(Step::Recv),
            1 => Just(Step::ResumeNewest),
            1 => Just(Step::Close),
        ]
    }

    proptest! {
        #[test]
        fn the_ring_does_what_the_plain_model_does(
            before in proptest::collection::vec(any::<bool>(), 0..12),
            steps in proptest::collection::vec(step(), 1..80),
            capacity in 1_usize..9,
            max_held in 1_u64..12,
        ) {
            let (publisher, ring) = bounded(capacity, max_held);
            let mut publisher = Some(publisher);
            let flags = |key| if key { Flags::KEY } else { Flags::NONE };
            for (index, &key) in before.iter().enumerate() {
                publisher.as_mut().unwrap().publish(payload(index as u64, flags(key)));
            }
            let mut model = Model {
                capacity: ring.capacity() as u64, max_held, keys: before, closed: false, next: 0,
            };
            model.next = model.start();
            let mut reader = ring.subscribe();
            let (start, mut received, mut skipped) = (model.next, 0, 0);
            for step in steps {
                match step {
                    Step::Publish { key } => {
                        let Some(publisher) = publisher.as_mut() else { continue };
                        publisher.publish(payload(model.keys.len() as u64, flags(key)));
                        model.keys.push(key);
                    }
                    Step::Recv => {
                        let outcome = reader.recv(Duration::ZERO).map(|payload| payload.index);
                        prop_assert_eq!(outcome, model.recv());
                        match outcome {
                            Ok(_) => received += 1,
                            Err(RecvError::Lagged { skipped: more }) => skipped += more,
                            Err(_) => {}
                        }
                    }
                    Step::ResumeNewest => {
                        let more = reader.resume_newest();
                        prop_assert_eq!(more, model.resume_newest());
                        skipped += more;
                    }
                    Step::Close => {
                        publisher = None;
                        model.closed = true;
                    }
                }
                let published = ring.published() - start;
                let unread = ring.published() - reader.next;
                prop_assert_eq!(published, received + skipped + unread);
            }
        }
    }
}
