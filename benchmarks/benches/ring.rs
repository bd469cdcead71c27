//! The ring beside what one would use instead, in one run.
//!
//! `cargo bench -p benchmarks --bench ring`
//!
//! * `deliver`: one writer hands 90 kB payloads (as shared bytes) to 1, 2, 8 and 64 readers as
//!   fast as it can. Time until the last reader has seen the end; items are messages × readers, so
//!   divan's throughput is deliveries a second. Lossy candidates (ring, broadcast, `RwLock`) may
//!   skip; that is their contract, and why none of them can be stopped.
//! * `publish_beside_a_slow_reader`: what the *writer* pays per message when one reader needs a
//!   millisecond for each. A queue that keeps everything makes the writer wait for it.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use common::{
    Format, Frame, Head, Identity, Monotonic, Payload, RecvError, Subscribe, Timestamp, ring,
};
use divan::Bencher;
use divan::counter::ItemsCount;
use tokio::sync::broadcast;

const CAPACITY: usize = 64;
const MESSAGES: u64 = 20_000;
const SLOW_MESSAGES: u64 = 200;
const READERS: [usize; 4] = [1, 2, 8, 64];

fn main() {
    divan::main();
}

/// A candidate: how to write, and readers that return how much they saw of what was written.
trait Candidate: Sized + Send + 'static {
    type Reader: Read;

    fn create(readers: usize) -> (Self, Vec<Self::Reader>);
    fn publish(&mut self, payload: Arc<Payload>);
}

trait Read: Send + 'static {
    /// Waits for the next message; false at the end.
    fn read(&mut self) -> bool;
}

fn payloads(count: u64) -> Vec<Arc<Payload>> {
    let data = Bytes::from(vec![7; 90_000]);
    let head = |seq| {
        Head::new(
            Identity { epoch: 1, seq },
            Timestamp::default(),
            Format::Opaque,
        )
    };
    let frame = Frame::new(head(0), data);
    let payload = |index| {
        let mut frame = frame.clone();
        frame.head.identity.seq = index;
        Arc::new(Payload {
            index,
            published_at: Monotonic::default(),
            frames: vec![frame],
        })
    };
    (0..count).map(payload).collect()
}

struct Ours(ring::Publisher);

impl Candidate for Ours {
    type Reader = ring::Subscriber;

    fn create(readers: usize) -> (Self, Vec<Self::Reader>) {
        let (publisher, ring) = ring::new(CAPACITY);
        (
            Self(publisher),
            (0..readers).map(|_| ring.subscribe()).collect(),
        )
    }

    fn publish(&mut self, payload: Arc<Payload>) {
        self.0.publish(payload);
    }
}

impl Read for ring::Subscriber {
    fn read(&mut self) -> bool {
        !matches!(self.recv(Duration::from_secs(60)), Err(RecvError::Closed))
    }
}

struct Broadcast(broadcast::Sender<Arc<Payload>>);

impl Candidate for Broadcast {
    type Reader = broadcast::Receiver<Arc<Payload>>;

    fn create(readers: usize) -> (Self, Vec<Self::Reader>) {
        let sender = broadcast::Sender::new(CAPACITY);
        let readers = (0..readers).map(|_| sender.subscribe()).collect();
        (Self(sender), readers)
    }

    fn publish(&mut self, payload: Arc<Payload>) {
        drop(self.0.send(payload));
    }
}

impl Read for broadcast::Receiver<Arc<Payload>> {
    fn read(&mut self) -> bool {
        !matches!(
            self.blocking_recv(),
            Err(broadcast::error::RecvError::Closed)
        )
    }
}

/// The obvious ring: slots behind a read-write lock, a condition variable to wait on.
#[derive(Default)]
struct Locked {
    slots: RwLock<Vec<Arc<Payload>>>,
    written: Mutex<(u64, bool)>,
    changed: Condvar,
}

struct LockedWriter(Arc<Locked>);

struct LockedReader {
    shared: Arc<Locked>,
    next: u64,
}

impl Candidate for LockedWriter {
    type Reader = LockedReader;

    fn create(readers: usize) -> (Self, Vec<Self::Reader>) {
        let shared = Arc::new(Locked::default());
        let reader = |_| LockedReader {
            shared: shared.clone(),
            next: 0,
        };
        let readers = (0..readers).map(reader).collect();
        (Self(shared), readers)
    }

    fn publish(&mut self, payload: Arc<Payload>) {
        let place = usize::try_from(payload.index).expect("64 bits") % CAPACITY;
        let mut slots = self.0.slots.write().expect("no reader panics");
        if place < slots.len() {
            slots[place] = payload;
        } else {
            slots.push(payload);
        }
        drop(slots);
        self.0.written.lock().expect("no reader panics").0 += 1;
        self.0.changed.notify_all();
    }
}

impl Drop for LockedWriter {
    fn drop(&mut self) {
        self.0.written.lock().expect("no reader panics").1 = true;
        self.0.changed.notify_all();
    }
}

impl Read for LockedReader {
    fn read(&mut self) -> bool {
        let written = self.shared.written.lock().expect("no writer panics");
        let waited = self
            .shared
            .changed
            .wait_while(written, |(count, ended)| *count == self.next && !*ended);
        let (count, _) = *waited.expect("no writer panics");
        if count == self.next {
            return false;
        }
        self.next = self.next.max(count.saturating_sub(CAPACITY as u64));
        let place = usize::try_from(self.next).expect("64 bits") % CAPACITY;
        let slots = self.shared.slots.read().expect("no writer panics");
        divan::black_box(slots[place].clone());
        self.next += 1;
        true
    }
}

/// A bounded queue for each reader that keeps every message, and so makes the writer wait.
struct Queues(Vec<SyncSender<Arc<Payload>>>);

impl Candidate for Queues {
    type Reader = std::sync::mpsc::Receiver<Arc<Payload>>;

    fn create(readers: usize) -> (Self, Vec<Self::Reader>) {
        let (senders, readers) = (0..readers).map(|_| sync_channel(CAPACITY)).unzip();
        (Self(senders), readers)
    }

    fn publish(&mut self, payload: Arc<Payload>) {
        for queue in &self.0 {
            drop(queue.send(payload.clone()));
        }
    }
}

impl Read for std::sync::mpsc::Receiver<Arc<Payload>> {
    fn read(&mut self) -> bool {
        self.recv().is_ok()
    }
}

#[divan::bench(types = [Ours, Broadcast, LockedWriter, Queues], args = READERS, sample_count = 10, sample_size = 1)]
fn deliver<C: Candidate>(bencher: Bencher<'_, '_>, readers: usize) {
    let payloads = payloads(MESSAGES);
    bencher
        .counter(ItemsCount::new(MESSAGES * readers as u64))
        .with_inputs(|| C::create(readers))
        .bench_local_values(|(mut writer, readers)| {
            let drain = |mut reader: C::Reader| thread::spawn(move || while reader.read() {});
            let readers: Vec<_> = readers.into_iter().map(drain).collect();
            for payload in &payloads {
                writer.publish(payload.clone());
            }
            drop(writer);
            for reader in readers {
                reader.join().expect("readers do not panic");
            }
        });
}

#[divan::bench(types = [Ours, Broadcast, LockedWriter, Queues], sample_count = 5, sample_size = 1)]
fn publish_beside_a_slow_reader<C: Candidate>(bencher: Bencher<'_, '_>) {
    let payloads = payloads(SLOW_MESSAGES);
    bencher
        .counter(ItemsCount::new(SLOW_MESSAGES))
        .with_inputs(|| {
            let (writer, mut readers) = C::create(1);
            let mut reader = readers.remove(0);
            let slow = thread::spawn(move || {
                while reader.read() {
                    thread::sleep(Duration::from_millis(1));
                }
            });
            (writer, slow)
        })
        .bench_local_values(|(mut writer, slow)| {
            for payload in &payloads {
                writer.publish(payload.clone());
            }
            // Returned, so that ending them is not part of the measurement.
            (writer, slow)
        });
}
