//! A channel: one stream, known by name to all who serve it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use common::ring::Ring;
use common::{Format, Monotonic};

/// One stream, shared by its capture thread, the drivers and the pages.
#[derive(Debug)]
pub struct Channel {
    /// The name in addresses.
    pub name: String,
    /// Wall clock ns when the channel was opened.
    pub epoch: u64,
    /// What its frames are.
    pub format: Format,
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
    pub fn freshness(&self, now: Monotonic) -> Option<std::time::Duration> {
        let payload = self.ring.newest()?;
        let frame = payload.newest()?;
        (!frame.head.is_placeholder()).then(|| now.since(payload.published_at))
    }

    /// Counts a viewer for as long as the guard lives.
    #[must_use]
    pub fn count_viewer(self: std::sync::Arc<Self>) -> Attendance {
        self.counters.viewers.fetch_add(1, Ordering::Relaxed);
        Attendance { channel: self }
    }
}

/// One viewer, counted.
#[derive(Debug)]
pub struct Attendance {
    channel: std::sync::Arc<Channel>,
}

impl Attendance {
    /// The channel that is watched.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.channel
            .counters
            .viewers
            .fetch_sub(1, Ordering::Relaxed);
    }
}
