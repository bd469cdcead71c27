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

    /// Ready when there is something to take.
    pub(super) async fn ready(&self) {
        while self.place.load().is_none() {
            self.bell.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::Monotonic;

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
        const COUNT: u64 = 20_000;
        let handoff = Handoff::default();
        let (mut taken, mut left) = (0, 0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let put = |index| handoff.put(payload(index));
                (0..COUNT).filter_map(put).count() as u64
            });
            while !writer.is_finished() {
                taken += u64::from(handoff.take().is_some());
            }
            left = writer.join().unwrap();
        });
        let there = u64::from(handoff.take().is_some());
        assert_eq!(taken + left + there, COUNT);
        assert!(taken > 0 && left > 0);
    }
}
