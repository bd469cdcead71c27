//! A channel: one stream, known by name to all who serve it.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use common::ring::Ring;
use common::{Format, Monotonic};

/// A channel whose newest frame is younger than this is ready, unless its rate is slower still.
const READY_AGE: Duration = Duration::from_secs(2);

/// One stream, shared by its capture thread, the drivers and the pages.
#[derive(Debug)]
pub struct Channel {
    /// The name in addresses.
    pub name: String,
    /// Wall clock ns when the channel was opened.
    pub epoch: u64,
    /// What its frames are.
    pub format: Format,
    /// Time between frames, as configured.
    pub interval: Duration,
    /// Where its payloads are handed on.
    pub ring: Ring,
    /// What happened so far.
    pub counters: Counters,
}

/// What happened on a channel since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames published.
    pub frames: AtomicU64,
    /// Pictures that could not be used: damaged, or above 16 MiB.
    pub damaged: AtomicU64,
    /// Viewers connected now.
    pub viewers: AtomicUsize,
}

impl Channel {
    /// How long ago the newest real frame was published, `None` if there is none in the ring or a
    /// placeholder stands in its place.
    #[must_use]
    pub fn freshness(&self, now: Monotonic) -> Option<Duration> {
        let payload = self.ring.newest()?;
        let frame = payload.newest()?;
        (!frame.head.is_placeholder()).then(|| now.since(payload.published_at))
    }

    /// Whether real frames flow: the newest is no older than three intervals, or two seconds.
    #[must_use]
    pub fn is_ready(&self, now: Monotonic) -> bool {
        let limit = (3 * self.interval).max(READY_AGE);
        self.freshness(now).is_some_and(|age| age <= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use bytes::Bytes;
    use common::{Flags, Frame, Head, Identity, Payload, Timestamp, ring};

    fn payload(index: u64, flags: Flags) -> Arc<Payload> {
        let head = Head {
            identity: Identity { epoch: 1, seq: 0 },
            captured_at: Timestamp::default(),
            format: Format::Jpeg,
            width: 1,
            height: 1,
            flags,
            hops: 0,
        };
        Arc::new(Payload {
            index,
            published_at: Monotonic::default(),
            frames: vec![Frame::new(head, Bytes::new())],
        })
    }

    #[test]
    fn a_channel_is_ready_while_real_frames_flow_at_its_own_rate() {
        let (mut publisher, ring) = ring::new(2);
        let mut channel = Channel {
            name: "main".to_owned(),
            epoch: 1,
            format: Format::Jpeg,
            interval: Duration::from_millis(33),
            ring,
            counters: Counters::default(),
        };
        let after = |seconds| Monotonic::default() + Duration::from_secs(seconds);
        assert!(!channel.is_ready(after(0)));
        publisher.publish(payload(0, Flags::KEY));
        assert!(channel.is_ready(after(2)));
        assert!(!channel.is_ready(after(3)));
        channel.interval = Duration::from_secs(10);
        assert!(channel.is_ready(after(30)));
        publisher.publish(payload(1, Flags::KEY.with(Flags::PLACEHOLDER)));
        assert!(!channel.is_ready(after(0)));
    }
}
