//! One bound for the memory that frames take, wherever they are held.
//!
//! Encoded bytes are charged when they are made and released when the last holder lets go of them:
//! the ring, a worker's recent frames, a viewer in the middle of sending. So a stalled viewer that
//! pins a frame is counted without anybody counting viewers. The budget refuses nothing by itself:
//! before the limit is reached it is tight, and those who can hold less or take on less ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// How many bytes of frames may be held, and how many are. Clones share one account.
///
/// ```
/// let budget = common::Budget::new(1000);
/// let frame = budget.charge(vec![0; 600].into());
/// let held_elsewhere = frame.slice(..10);
/// drop(frame);
/// assert_eq!(budget.used(), 600);
/// drop(held_elsewhere);
/// assert_eq!(budget.used(), 0);
/// ```
#[derive(Debug, Clone)]
pub struct Budget {
    limit: u64,
    used: Arc<AtomicU64>,
}

impl Budget {
    /// A budget of `limit` bytes, unused.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            used: Arc::default(),
        }
    }

    /// The same bytes, counted until the last clone or slice of them is dropped.
    #[must_use]
    pub fn charge(&self, bytes: Bytes) -> Bytes {
        self.used.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Bytes::from_owner(Charged {
            bytes,
            used: self.used.clone(),
        })
    }

    /// Bytes held now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be held.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether less than an eighth is left: time to refuse work and to let go of frames, so that
    /// the limit itself is not reached.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.used() > self.limit - self.limit / 8
    }
}

struct Charged {
    bytes: Bytes,
    used: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.used
            .fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_tight_before_its_limit() {
        let budget = Budget::new(80);
        let most = budget.charge(vec![0; 70].into());
        assert!(!budget.is_tight());
        let one = budget.charge(vec![0; 1].into());
        assert!(budget.is_tight());
        drop((most, one));
        assert_eq!(budget.used(), 0);
    }
}
