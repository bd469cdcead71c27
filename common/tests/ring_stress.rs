//! The ring under load on real threads: every read is checked, no count is ever lost.
//!
//! `cargo test -p common --release --test ring_stress` does two million operations; set
//! `FRAMECAST_RING_OPERATIONS=100000000` for more. loom checks every interleaving of a small model;
//! this checks very many of the real thing, with the real arc-swap and the real futex.
#![cfg(not(loom))]

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::{
    Flags, Format, Frame, Head, Identity, Monotonic, Payload, RecvError, Subscribe, Timestamp, ring,
};

const CAPACITY: usize = 8;

/// How readers take what comes.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Sleeps until something comes.
    Waits,
    /// Never sleeps.
    Polls,
    /// Now and then asks for the newest.
    Jumps,
}

fn payload(index: u64) -> Arc<Payload> {
    let identity = Identity {
        epoch: 1,
        seq: index,
    };
    let mut head = Head::new(identity, Timestamp::default(), Format::Opaque);
    // Every third one is no key frame, so that jumps have somewhere to go.
    if index.is_multiple_of(3) {
        head.flags = Flags::NONE;
    }
    Arc::new(Payload {
        index,
        published_at: Monotonic::default(),
        frames: vec![Frame::new(head, index.to_be_bytes().to_vec().into())],
    })
}

/// Reads to the end; returns the reads made. Panics if a payload is not what its index says, comes
/// out of order, or is neither received nor counted as skipped.
fn read_to_end(mut reader: ring::Subscriber, manner: Manner, published: u64) -> u64 {
    let timeout = match manner {
        Manner::Waits | Manner::Jumps => Duration::from_secs(60),
        Manner::Polls => Duration::ZERO,
    };
    let (mut received, mut skipped, mut reads) = (0, 0, 0);
    loop {
        if matches!(manner, Manner::Jumps) && reads % 5 == 0 {
            skipped += reader.resume_newest();
        }
        let outcome = reader.recv(timeout);
        // Looking in vain is no operation worth counting.
        reads += u64::from(outcome != Err(RecvError::TimedOut));
        match outcome {
            Ok(payload) => {
                assert_eq!(payload.index, received + skipped);
                assert_eq!(payload.frames[0].head.identity.seq, payload.index);
                assert_eq!(payload.frames[0].data()[..], payload.index.to_be_bytes());
                received += 1;
            }
            Err(RecvError::Lagged { skipped: more }) => skipped += more,
            Err(RecvError::TimedOut) => assert!(timeout.is_zero(), "the writer is running"),
            Err(RecvError::Closed) => break,
        }
    }
    assert_eq!(received + skipped, published, "{manner:?}");
    reads
}

#[test]
fn very_many_operations_lose_no_count() {
    let wanted = std::env::var("FRAMECAST_RING_OPERATIONS");
    let wanted = wanted.map_or(2_000_000, |count| count.parse().expect("a number"));
    let mut operations = 0;
    // In runs, so that readers also join, end, and see bytes being let go.
    for run in 0_u64.. {
        if operations >= wanted {
            break;
        }
        let published = 100_000;
        let max_bytes = if run % 2 == 0 { u64::MAX } else { 40 };
        let (mut publisher, ring) = ring::bounded(CAPACITY, max_bytes);
        let readers: Vec<_> = [Manner::Waits, Manner::Polls, Manner::Jumps]
            .into_iter()
            .map(|manner| {
                let reader = ring.subscribe();
                thread::spawn(move || read_to_end(reader, manner, published))
            })
            .collect();
        (0..published).for_each(|index| publisher.publish(payload(index)));
        drop(publisher);
        operations += published;
        for reader in readers {
            operations += reader.join().expect("no law was broken");
        }
    }
}
