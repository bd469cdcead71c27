//! Who wants a channel's pictures now: what a source that is opened on demand goes by.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts those who want pictures of a channel. Readers of the past do not count.
#[derive(Debug, Default)]
pub struct Demand {
    present: AtomicUsize,
    arrivals: AtomicU64,
}

impl Demand {
    /// One more, until [`leave`](Self::leave).
    pub fn come(&self) {
        self.present.fetch_add(1, Ordering::Relaxed);
        self.arrivals.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn leave(&self) {
        self.present.fetch_sub(1, Ordering::Relaxed);
    }

    /// One more for as long as the answer lives.
    #[must_use]
    pub fn attend(&self) -> Attending<'_> {
        self.come();
        Attending(self)
    }

    /// Whether there is anybody.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.present.load(Ordering::Relaxed) > 0
    }

    /// How many have ever come: whoever came and left between two looks shows here.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }
}

/// Somebody who wants pictures.
#[derive(Debug)]
pub struct Attending<'a>(&'a Demand);

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
