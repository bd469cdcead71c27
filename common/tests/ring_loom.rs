//! The ring under loom: every interleaving of a small model.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p common --release --test ring_loom`.
//!
//! The law, counted in payloads from where a subscriber began:
//! published = received + skipped + unread, indices only grow, and a sleeper is never forgotten.
//! Under loom a slot is a mutex (see `common/src/sync.rs`): arc-swap itself is assumed to be
//! linearizable and is not part of what is checked here. Models stay tiny: two readers with two
//! reads each beside four publications do not end within ten minutes.
#![cfg(loom)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{
    Format, Frame, Head, Identity, Monotonic, Payload, RecvError, Subscribe, Timestamp, ring,
};
use loom::thread;

fn payload(index: u64) -> Arc<Payload> {
    of_data(index, Bytes::new())
}

fn sized(index: u64) -> Arc<Payload> {
    of_data(index, Bytes::from_static(b"x"))
}

fn of_data(index: u64, data: Bytes) -> Arc<Payload> {
    let head = Head::new(
        Identity {
            epoch: 1,
            seq: index,
        },
        Timestamp::default(),
        Format::Opaque,
    );
    Arc::new(Payload {
        index,
        published_at: Monotonic::default(),
        frames: vec![Frame::new(head, data)],
    })
}

/// Reads `reads` times without waiting; returns (received, skipped).
fn read(reader: &mut ring::Subscriber, reads: u32) -> (u64, u64) {
    let (mut received, mut skipped, mut last) = (0, 0, None);
    for _ in 0..reads {
        match reader.recv(Duration::ZERO) {
            Ok(payload) => {
                assert!(last.is_none_or(|last| payload.index > last));
                assert_eq!(payload.index, received + skipped);
                last = Some(payload.index);
                received += 1;
            }
            Err(RecvError::Lagged { skipped: more }) => skipped += more,
            Err(RecvError::TimedOut | RecvError::Closed) => {}
        }
    }
    (received, skipped)
}

/// Reads all that is left after the writer has gone; returns received + skipped.
fn drain(reader: &mut ring::Subscriber, mut received: u64, mut skipped: u64) -> u64 {
    loop {
        match reader.recv(Duration::ZERO) {
            Ok(payload) => {
                assert_eq!(payload.index, received + skipped);
                received += 1;
            }
            Err(RecvError::Lagged { skipped: more }) => skipped += more,
            Err(RecvError::Closed) => return received + skipped,
            Err(RecvError::TimedOut) => panic!("the writer has gone"),
        }
    }
}

fn bounded(bound: usize) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder
}

#[test]
fn a_reader_beside_a_lapping_writer_never_loses_count() {
    bounded(3).check(|| {
        let (mut publisher, ring) = ring::new(2);
        let mut reader = ring.subscribe();
        let writer = thread::spawn(move || {
            for index in 0..3 {
                publisher.publish(payload(index));
            }
        });
        let (received, skipped) = read(&mut reader, 2);
        writer.join().expect("the writer ends");
        assert_eq!(drain(&mut reader, received, skipped), 3);
    });
}

#[test]
fn a_subscriber_who_joins_beside_the_writer_starts_at_something_published() {
    bounded(3).check(|| {
        let (mut publisher, ring) = ring::new(2);
        let writer = thread::spawn(move || {
            publisher.publish(payload(0));
            publisher.publish(payload(1));
        });
        let mut reader = ring.subscribe();
        let first = reader.recv(Duration::ZERO);
        if let Ok(payload) = first {
            assert!(payload.index < 2);
        }
        writer.join().expect("the writer ends");
    });
}

#[test]
fn a_sleeping_reader_is_woken_by_a_payload_and_by_the_end() {
    bounded(3).check(|| {
        let (mut publisher, ring) = ring::new(2);
        let mut reader = ring.subscribe();
        let writer = thread::spawn(move || publisher.publish(payload(0)));
        let first = reader.recv(Duration::MAX);
        assert_eq!(first.map(|payload| payload.index), Ok(0));
        assert_eq!(reader.recv(Duration::MAX), Err(RecvError::Closed));
        writer.join().expect("the writer ends");
    });
}

#[test]
fn a_reader_beside_a_writer_that_lets_go_never_loses_count() {
    bounded(3).check(|| {
        let (mut publisher, ring) = ring::bounded(2, 1);
        let mut reader = ring.subscribe();
        let writer = thread::spawn(move || {
            publisher.publish(sized(0));
            publisher.publish(sized(1));
        });
        let (received, skipped) = read(&mut reader, 2);
        writer.join().expect("the writer ends");
        assert_eq!(drain(&mut reader, received, skipped), 2);
    });
}

#[test]
fn two_readers_do_not_disturb_each_other() {
    bounded(2).check(|| {
        let (mut publisher, ring) = ring::new(2);
        let mut here = ring.subscribe();
        let mut there = ring.subscribe();
        let other = thread::spawn(move || read(&mut there, 1));
        publisher.publish(payload(0));
        let (received, skipped) = read(&mut here, 1);
        assert_eq!((received, skipped), (1, 0));
        other.join().expect("the reader ends");
    });
}
