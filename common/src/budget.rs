//! One bound for the memory that frames take, wherever they are held.
//!
//! Encoded bytes are charged when they are made and released when the last holder lets go of them:
//! the ring, a worker's recent frames, a viewer in the middle of sending. So a stalled viewer that
//! pins a frame is counted without anybody counting viewers. The budget refuses nothing by itself:
//! before the limit is reached it is tight, and those who hold frames let go of some. Whoever takes on
//! more work waits longer: until there is clearly room again ([`Budget::is_scarce`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    /// Set when it is tight, cleared when there is clearly room.
    was_tight: Arc<AtomicBool>,
}

impl Budget {
    /// A budget of `limit` bytes, unused.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            used: Arc::default(),
            was_tight: Arc::default(),
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

    /// Whether less than an eighth is left: time to let go of frames, so that the limit itself is
    /// not reached.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        let is_tight = self.used() > self.limit - self.limit / 8;
        if is_tight {
            self.was_tight.store(true, Ordering::Relaxed);
        }
        is_tight
    }

    /// Whether it is tight, or was and less than a quarter is left since: no time for more work.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        if !self.is_tight() && self.used() < self.limit - self.limit / 4 {
            self.was_tight.store(false, Ordering::Relaxed);
        }
        self.was_tight.load(Ordering::Relaxed)
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
    fn a_budget_is_tight_before_its_limit_and_scarce_until_there_is_clearly_room() {
        let budget = Budget::new(80);
        let most = budget.charge(vec![0; 60].into());
        let more = budget.charge(vec![0; 10].into());
        assert!(!budget.is_tight() && !budget.is_scarce());
        let one = budget.charge(vec![0; 1].into());
        assert!(budget.is_tight() && budget.is_scarce());
        drop((more, one));
        assert!(!budget.is_tight() && budget.is_scarce());
        drop(most);
        assert!(!budget.is_scarce());
        assert_eq!(budget.used(), 0);
    }
}
