//! The state of everything at one time, and what lies between two of them.

use std::ops::Add;
use std::time::Duration;

use common::{Clock, Monotonic, SystemClock};
use rustix::time::{ClockId, clock_gettime};

use super::{Each, Rates};
use crate::account::Counts;
use crate::output::Tally;
use crate::watch::{Arrival, Health};

/// The state of everything at one time.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) at: Monotonic,
    /// Processor time this process has used.
    pub(super) cpu: Duration,
    /// Receiver by receiver.
    pub(super) counts: Vec<Counts>,
    /// Median ages since the moment before, and who is connected, in the same order.
    pub(super) ages: Vec<Option<f64>>,
    pub(super) are_connected: Vec<bool>,
    pub(super) tally: Tally,
    pub(super) late: u64,
    pub(super) connected: u16,
    pub(super) trouble: Option<String>,
    pub(super) failure: Option<String>,
}

impl Moment {
    /// Now, with so many receivers that have seen nothing.
    pub(super) fn now(receivers: usize) -> Self {
        Self {
            at: SystemClock.monotonic(),
            cpu: process_time(),
            counts: vec![Counts::default(); receivers],
            ages: Vec::new(),
            are_connected: Vec::new(),
            tally: Tally::default(),
            late: 0,
            connected: 0,
            trouble: None,
            failure: None,
        }
    }

    pub(super) fn add(&mut self, counts: Counts, tally: Tally, health: Health) {
        self.counts.push(counts);
        self.are_connected.push(health == Health::Connected);
        self.tally.decoded += tally.decoded;
        self.tally.errors += tally.errors;
        self.tally.mislabelled += tally.mislabelled;
        match health {
            Health::Connected => self.connected += 1,
            Health::Waiting(reason) => self.trouble = self.trouble.take().or(reason),
            Health::Failed(reason) => self.failure = Some(reason),
        }
    }

    pub(super) fn sum(&self) -> Counts {
        self.counts
            .iter()
            .copied()
            .fold(Counts::default(), Counts::add)
    }
}

/// Every receiver by itself.
#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 53 bits"
)]
pub(super) fn each(from: &Moment, to: &Moment, seconds: f64) -> Vec<Each> {
    let counts = to.counts.iter().zip(&from.counts);
    let known = to.ages.iter().zip(&to.are_connected);
    (counts.zip(known))
        .map(|((to, from), (&age_ms, &is_connected))| Each {
            is_connected,
            fps: to.flow_since(from) as f64 / seconds,
            age_ms,
            skipped: to.skipped,
        })
        .collect()
}

pub(super) fn median_ms(arrivals: &[Arrival]) -> Option<f64> {
    let mut ages: Vec<_> = arrivals.iter().filter_map(|arrival| arrival.age).collect();
    ages.sort_unstable();
    (ages.get(ages.len() / 2)).map(|age| 1e3 * age.as_secs_f64())
}

/// What came as time went by, receiver by receiver, the least first.
pub(super) fn flows(from: &Moment, to: &Moment) -> Vec<u64> {
    let mut flows: Vec<_> = (to.counts.iter().zip(&from.counts))
        .map(|(to, from)| to.flow_since(from))
        .collect();
    flows.sort_unstable();
    flows
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 53 bits"
)]
pub(super) fn rates(flows: &[u64], seconds: f64) -> Rates {
    let rate = |index: usize| flows.get(index).map_or(0.0, |&flow| flow as f64 / seconds);
    Rates {
        min: rate(0),
        median: rate(flows.len() / 2),
    }
}

fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
