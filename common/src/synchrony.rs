//! How far apart several receivers get the same frame: last minus first arrival, over the frames
//! that all of them got.

use std::collections::HashMap;
use std::time::Duration;

use crate::{Identity, Monotonic};

/// Who has not got a frame by then will not get it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most frames that are waited for at once; further ones are left out.
const MAX_FRAMES: usize = 1 << 16;

/// The frames that some receivers have and others do not yet.
#[derive(Debug)]
pub struct Synchrony {
    receivers: u16,
    frames: HashMap<Identity, Arrivals>,
}

#[derive(Debug, Clone, Copy)]
struct Arrivals {
    count: u16,
    first: Monotonic,
    last: Monotonic,
}

impl Synchrony {
    /// For so many receivers.
    #[must_use]
    pub fn new(receivers: u16) -> Self {
        Self {
            receivers,
            frames: HashMap::new(),
        }
    }

    /// Takes a frame's arrival at one receiver, in any order; when it was the last one that was
    /// missing, how far the receivers are apart. Each receiver says each frame once.
    pub fn add(&mut self, identity: Identity, at: Monotonic) -> Option<Duration> {
        if self.receivers < 2 {
            return None;
        }
        if self.frames.len() >= MAX_FRAMES && !self.frames.contains_key(&identity) {
            return None;
        }
        let arrivals = self.frames.entry(identity).or_insert(Arrivals {
            count: 0,
            first: at,
            last: at,
        });
        arrivals.count += 1;
        arrivals.first = arrivals.first.min(at);
        arrivals.last = arrivals.last.max(at);
        if arrivals.count < self.receivers {
            return None;
        }
        let apart = arrivals.last.since(arrivals.first);
        self.frames.remove(&identity);
        Some(apart)
    }

    /// Forgets the frames that not all will get.
    pub fn expire(&mut self, now: Monotonic) {
        self.frames
            .retain(|_, arrivals| now.since(arrivals.first) < PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64) -> Identity {
        Identity { epoch: 1, seq }
    }

    fn millis(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn the_last_arrival_tells_how_far_apart_they_are() {
        let mut synchrony = Synchrony::new(3);
        assert_eq!(synchrony.add(frame(1), millis(15)), None);
        assert_eq!(synchrony.add(frame(2), millis(40)), None);
        assert_eq!(synchrony.add(frame(1), millis(10)), None);
        assert_eq!(
            synchrony.add(frame(1), millis(12)),
            Some(Duration::from_millis(5))
        );
        assert_eq!(synchrony.frames.len(), 1);
    }

    #[test]
    fn what_not_all_get_is_forgotten() {
        let mut synchrony = Synchrony::new(2);
        synchrony.add(frame(1), millis(0));
        synchrony.add(frame(2), millis(5_000));
        synchrony.expire(millis(12_000));
        assert_eq!(synchrony.frames.len(), 1);
    }

    #[test]
    fn one_receiver_alone_is_in_step_with_nobody() {
        let mut synchrony = Synchrony::new(1);
        assert_eq!(synchrony.add(frame(1), millis(0)), None);
        assert!(synchrony.frames.is_empty());
    }
}
