//! One place between capture and publisher, in which the newest payload wins.
//!
//! Capture puts payloads there and never waits; the publisher takes what it finds when it has time.
//! What was not taken before the next one came is given back to whoever counts it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use common::Payload;
use tokio::sync::Notify;

/// The place.
#[derive(Debug, Default)]
pub(super) struct Handoff {
    place: ArcSwapOption<Payload>,
    bell: Notify,
}

impl Handoff {
    /// Leaves a payload; gives back the one that nobody has taken.
    pub(super) fn put(&self, payload: Arc<Payload>) -> Option<Arc<Payload>> {
        let left = self.place.swap(Some(payload));
        self.bell.notify_one();
        left
    }

    /// Takes what is there.
    pub(super) fn take(&self) -> Option<Arc<Payload>> {
        self.place.swap(None)
    }

    /// Whether there is nothing to take.
    pub(super) fn is_empty(&self) -> bool {
        self.place.load().is_none()
    }

    /// Ready when there is something to take.
    pub(super) async fn ready(&self) {
        while self.is_empty() {
            self.bell.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::Monotonic;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn payload(index: u64) -> Arc<Payload> {
        Arc::new(Payload {
            index,
            published_at: Monotonic::default(),
            frames: Vec::new(),
        })
    }

    #[test]
    fn the_newest_wins_and_what_was_left_comes_back() {
        let handoff = Handoff::default();
        assert_eq!(handoff.take(), None);
        assert_eq!(handoff.put(payload(0)), None);
        assert_eq!(handoff.put(payload(1)), Some(payload(0)));
        assert_eq!(handoff.take(), Some(payload(1)));
        assert_eq!(handoff.put(payload(2)), None);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_what_comes_and_by_what_has_come() {
        let handoff = Arc::new(Handoff::default());
        let waiting = tokio::spawn({
            let handoff = handoff.clone();
            async move {
                handoff.ready().await;
                handoff.take()
            }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        handoff.put(payload(7));
        assert_eq!(waiting.await.unwrap(), Some(payload(7)));
        handoff.put(payload(8));
        handoff.ready().await;
        assert_eq!(handoff.take(), Some(payload(8)));
    }

    /// Whatever the timing: what was put was taken, or was given back, or is still there.
    #[test]
    fn nothing_is_lost_between_two_threads() {
        const LEAST: u64 = 10_000;
        let handoff = Handoff::default();
        let taken = AtomicU64::new(0);
        let (count, left) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let (mut count, mut left) = (0, 0);
                // However the two take turns, each outcome is to be seen.
                while count < LEAST || left == 0 || taken.load(Ordering::Relaxed) == 0 {
                    left += u64::from(handoff.put(payload(count)).is_some());
                    count += 1;
                }
                (count, left)
            });
            while !writer.is_finished() {
                taken.fetch_add(handoff.take().is_some().into(), Ordering::Relaxed);
            }
            writer.join().unwrap()
        });
        let there = u64::from(handoff.take().is_some());
        assert_eq!(taken.into_inner() + left + there, count);
    }
}
