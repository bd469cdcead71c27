//! How far the server's wall clock is ahead of ours, estimated from echoed pings.
//!
//! As in NTP (RFC 5905, section 8): four times a round, and the round that took least lies least,
//! because what makes a round long is waiting in queues, on one way only.

use std::collections::VecDeque;
use std::time::Duration;

use common::Timestamp;
use common::wire::tcp::Pong;

/// Rounds that are remembered.
const ROUNDS: usize = 16;

/// One estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// Nanoseconds to add to our wall clock to get the server's.
    pub nanos: i64,
    /// How long the round took on the network; half of it bounds the error.
    pub round_trip: Duration,
}

impl ClockOffset {
    /// The estimate of one round, `None` if its times contradict each other.
    fn from_round(pong: &Pong, returned_at: Timestamp) -> Option<Self> {
        let [t1, t2, t3, t4] = [pong.sent_at, pong.received_at, pong.replied_at, returned_at]
            .map(|time| i128::from(time.as_nanos()));
        let round_trip = (t4 - t1) - (t3 - t2);
        if t4 < t1 || t3 < t2 || round_trip < 0 {
            return None;
        }
        Some(Self {
            nanos: i64::try_from(((t2 - t1) + (t3 - t4)) / 2).ok()?,
            round_trip: Duration::from_nanos(u64::try_from(round_trip).ok()?),
        })
    }

    /// How old something is that the server's clock dated `captured_at` and that arrived here at
    /// `arrived_at` of our clock. Never negative.
    #[must_use]
    pub fn age(self, captured_at: Timestamp, arrived_at: Timestamp) -> Duration {
        let arrived = arrived_at.as_nanos().saturating_add_signed(self.nanos);
        Timestamp::from_nanos(arrived).since(captured_at)
    }
}

/// The last rounds.
#[derive(Debug, Default)]
pub(super) struct Estimator {
    rounds: VecDeque<ClockOffset>,
}

impl Estimator {
    /// Takes an answered ping that came back at `returned_at` of our clock.
    pub(super) fn add(&mut self, pong: &Pong, returned_at: Timestamp) {
        let Some(round) = ClockOffset::from_round(pong, returned_at) else {
            return;
        };
        if self.rounds.len() == ROUNDS {
            self.rounds.pop_front();
        }
        self.rounds.push_back(round);
    }

    /// The estimate of the shortest round.
    pub(super) fn best(&self) -> Option<ClockOffset> {
        (self.rounds.iter().copied()).min_by_key(|round| round.round_trip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pong(times: [u64; 3]) -> Pong {
        let [sent_at, received_at, replied_at] = times.map(Timestamp::from_nanos);
        Pong {
            sent_at,
            received_at,
            replied_at,
        }
    }

    #[test]
    fn the_shortest_of_the_last_rounds_counts() {
        let mut estimator = Estimator::default();
        assert_eq!(estimator.best(), None);
        // The server is 1000 ahead; 10 there, 5 at the server, 10 back.
        estimator.add(&pong([100, 1_110, 1_115]), Timestamp::from_nanos(125));
        let best = estimator.best().unwrap();
        assert_eq!((best.nanos, best.round_trip.as_nanos()), (1_000, 20));
        // A slow way back makes a worse estimate, which does not count while a better one is kept.
        let slow = (pong([200, 1_210, 1_215]), Timestamp::from_nanos(425));
        for _ in 0..ROUNDS - 1 {
            estimator.add(&slow.0, slow.1);
        }
        assert_eq!(estimator.best().unwrap().nanos, 1_000);
        estimator.add(&slow.0, slow.1);
        assert_eq!(estimator.best().unwrap().nanos, 900);
    }

    #[test]
    fn impossible_times_are_left_out() {
        let mut estimator = Estimator::default();
        for (times, returned_at) in [
            ([100, 200, 150], 300),
            ([100, 0, 500], 300),
            ([100, 200, 200], 50),
            ([0, u64::MAX, u64::MAX], 0),
        ] {
            estimator.add(&pong(times), Timestamp::from_nanos(returned_at));
            assert_eq!(estimator.best(), None, "{times:?}");
        }
    }

    #[test]
    fn ages_are_told_by_the_servers_clock_and_never_negative() {
        let offset = ClockOffset {
            nanos: -1_000,
            round_trip: Duration::ZERO,
        };
        let [captured, early, late] = [5_000, 5_500, 7_000].map(Timestamp::from_nanos);
        assert_eq!(offset.age(captured, late), Duration::from_nanos(1_000));
        assert_eq!(offset.age(captured, early), Duration::ZERO);
    }
}
