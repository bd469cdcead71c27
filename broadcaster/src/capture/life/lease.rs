//! A source that is opened for its first viewer, and let go of some time after the last one left.
//!
//! While it is closed, what waits in the ring for whoever comes is a placeholder that says that the
//! source is being opened: by the time anybody sees it, that is true.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Clock, Monotonic};
use tracing::{debug, info};

use super::outage::{Outage, Reason};
use super::{Backoff, Life, State};
use crate::channel::{Demand, SourceState};
use crate::fanout::Publish;

/// How long a source is wanted.
#[derive(Debug)]
pub(super) struct Lease {
    /// How long it is kept after the last viewer has left.
    hold: Duration,
    until: Monotonic,
    /// Arrivals taken note of.
    arrivals: u64,
}

impl Lease {
    /// Nobody wants it yet.
    pub(super) const fn new(hold: Duration, now: Monotonic) -> Self {
        Self {
            hold,
            until: now,
            arrivals: 0,
        }
    }

    /// Whether it is wanted now. To be asked often: the time it is kept begins when this last saw
    /// anybody.
    fn is_wanted(&mut self, demand: &Demand, now: Monotonic) -> bool {
        let arrivals = demand.arrivals();
        let has_come = std::mem::replace(&mut self.arrivals, arrivals) != arrivals;
        let is_wanted = has_come || demand.is_present();
        if is_wanted {
            self.until = now + self.hold;
        }
        is_wanted || now < self.until
    }
}

impl<P: Publish, C: Clock> Life<P, C> {
    /// Opens the source if somebody wants it, lets go of it if nobody does any more.
    pub(super) fn heed_demand(&mut self) {
        let now = self.clock.monotonic();
        let Some(lease) = &mut self.lease else {
            return;
        };
        let is_wanted = lease.is_wanted(&self.channel.demand, now);
        match self.state {
            State::Idle if is_wanted => self.open_on_demand(now),
            // What is being opened just now can be let go of once it is open.
            State::Open(_) | State::Waiting { .. } if !is_wanted => {
                let hold = self
                    .lease
                    .as_ref()
                    .map_or(Duration::ZERO, |lease| lease.hold);
                info!(
                    channel = self.channel.name,
                    "source released: nobody has watched for {hold:?}"
                );
                self.rest();
            }
            _ => {}
        }
    }

    fn open_on_demand(&mut self, now: Monotonic) {
        debug!("somebody wants pictures: opening the source");
        self.channel
            .counters
            .set_source_state(SourceState::Starting);
        self.backoff = Backoff::default();
        let placeholder = self.last_shown.take();
        self.outage = Some(Outage {
            since: now,
            reason: Reason::Starting,
            placeholder,
            shown_at: now,
        });
        self.reopen();
    }

    /// Closes the source, if it is open, until somebody wants it.
    pub(super) fn rest(&mut self) {
        self.close(State::Idle);
        self.flowing_since = None;
        self.outage = None;
        self.channel.sources.untroubled();
        // Ready all the time, also between the placeholder and the word that it is at rest.
        (self.channel.counters).set_source_state(SourceState::Starting);
        let placeholder = self.make_placeholder(Reason::Starting);
        if let Some(frame) = &placeholder {
            self.show(frame);
        }
        self.last_shown = placeholder;
        // Whoever is told so and comes is shown that it starts, not the last picture.
        (self.channel.counters).set_source_state(SourceState::Idle);
        // Nothing is known of how it will be when it comes back.
        self.channel
            .counters
            .patience_ms
            .store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ManualClock;

    #[test]
    fn a_lease_ends_its_hold_after_the_last_one_left() {
        const HOLD: Duration = Duration::from_secs(10);
        let (clock, demand) = (ManualClock::default(), Demand::default());
        let mut lease = Lease::new(HOLD, clock.monotonic());
        let mut after = |seconds, demand: &Demand| {
            clock.advance(Duration::from_secs(seconds));
            lease.is_wanted(demand, clock.monotonic())
        };
        assert!(!after(0, &demand));
        let one = demand.attend();
        assert!(after(0, &demand) && after(100, &demand));
        let two = demand.attend();
        drop(one);
        assert!(after(100, &demand));
        drop(two);
        assert!(after(9, &demand) && !after(1, &demand));
        // Gone before anybody looked.
        drop(demand.attend());
        assert!(after(5, &demand) && after(9, &demand) && !after(1, &demand));
    }
}
