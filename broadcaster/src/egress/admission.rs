//! Who may come in: as many viewers as there is room for, and no more.
//!
//! A newcomer is turned away, with a time to come back, while frames hold nearly all the memory they
//! may, when all places are taken, or when too many viewers come from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use common::Budget;

use super::Protocol;
use super::viewer::Reason;

/// When another try is worth it: stalled viewers that hold memory are gone by then, or soon.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How many viewers there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Together.
    pub viewers: usize,
    /// From one address.
    pub per_address: usize,
}

/// Why a newcomer is turned away for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Frames hold nearly all the memory they may.
    #[error("frames hold {used} bytes, the memory budget is {limit}")]
    Memory {
        /// Bytes held.
        used: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// All places are taken.
    #[error("all {0} places are taken")]
    Full(usize),
    /// One address has all the places it may have.
    #[error("there are already {0} viewers from this address")]
    Address(usize),
}

/// Counts who is there.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    budget: Budget,
    present: Mutex<Present>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Present {
    viewers: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why newcomers are turned away, each in a word. The last is said at the door, before anybody can ask
/// for a place.
pub const REFUSALS: [&str; 4] = ["memory", "full", "address", "door"];

impl Refusal {
    /// Its word among [`REFUSALS`].
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Memory { .. } => "memory",
            Self::Full(_) => "full",
            Self::Address(_) => "address",
        }
    }
}

/// Who came and went so far. Nothing in it belongs to one viewer.
#[derive(Debug, Default)]
pub struct Counters {
    /// Viewers taken in, by protocol.
    taken_in: [AtomicU64; Protocol::ALL.len()],
    /// Newcomers turned away, in the order of [`REFUSALS`].
    refused: [AtomicU64; REFUSALS.len()],
    /// Viewers gone, by protocol, in the order of [`Reason::WORDS`].
    gone: [[AtomicU64; Reason::WORDS.len()]; Protocol::ALL.len()],
}

impl Counters {
    /// Viewers taken in that speak `protocol`.
    #[must_use]
    pub fn taken_in(&self, protocol: Protocol) -> u64 {
        self.taken_in[protocol as usize].load(Ordering::Relaxed)
    }

    /// Newcomers turned away, each reason with its word.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REFUSALS.into_iter().zip(loaded(&self.refused))
    }

    /// Viewers gone that spoke `protocol`, each reason with its word.
    pub fn gone(&self, protocol: Protocol) -> impl Iterator<Item = (&'static str, u64)> {
        let gone = &self.gone[protocol as usize];
        Reason::WORDS.into_iter().zip(loaded(gone))
    }
}

fn loaded(counters: &[AtomicU64]) -> impl Iterator<Item = u64> {
    (counters.iter()).map(|counter| counter.load(Ordering::Relaxed))
}

/// One more in the counter that stands where `word` stands among `words`.
fn count(counters: &[AtomicU64], words: &[&str], word: &str) {
    let mut counters = counters.iter().zip(words);
    if let Some((counter, _)) = counters.find(|(_, known)| **known == word) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(limits: Limits, budget: Budget) -> Self {
        Self {
            limits,
            budget,
            present: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// Who came and went so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Somebody is turned away before he could ask for a place.
    pub fn turned_away_at_door(&self) {
        count(&self.counters.refused, &REFUSALS, "door");
    }

    /// Takes a place for a viewer, kept for as long as the attendance lives.
    ///
    /// # Errors
    /// If there is no place now.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Attendance, Refusal> {
        self.take_place(address)
            .inspect_err(|refusal| count(&self.counters.refused, &REFUSALS, refusal.word()))
    }

    fn take_place(self: &Arc<Self>, address: IpAddr) -> Result<Attendance, Refusal> {
        if self.budget.is_scarce() {
            return Err(Refusal::Memory {
                used: self.budget.used(),
                limit: self.budget.limit(),
            });
        }
        let mut present = self.present();
        if present.viewers >= self.limits.viewers {
            return Err(Refusal::Full(self.limits.viewers));
        }
        let from_there = present.by_address.entry(address).or_default();
        if *from_there >= self.limits.per_address {
            return Err(Refusal::Address(self.limits.per_address));
        }
        *from_there += 1;
        present.viewers += 1;
        Ok(Attendance {
            admission: self.clone(),
            address,
            viewer: None,
        })
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        (self.present.lock()).expect("no thread panics while holding this")
    }

    fn leave(&self, address: IpAddr) {
        let mut present = self.present();
        present.viewers -= 1;
        if let Some(count) = present.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                present.by_address.remove(&address);
            }
        }
    }
}

/// One viewer's place.
#[derive(Debug)]
pub struct Attendance {
    admission: Arc<Admission>,
    address: IpAddr,
    /// What the viewer speaks that has it and is not known to be gone.
    viewer: Option<Protocol>,
}

impl Attendance {
    /// Whoever has the place is a viewer from now on.
    pub fn taken_in(&mut self, protocol: Protocol) {
        self.viewer = Some(protocol);
        let taken_in = &self.admission.counters.taken_in[protocol as usize];
        taken_in.fetch_add(1, Ordering::Relaxed);
    }

    /// The viewer that had the place goes.
    pub fn gone(&mut self, reason: &Reason) {
        if let Some(protocol) = self.viewer.take() {
            let gone = &self.admission.counters.gone[protocol as usize];
            count(gone, &Reason::WORDS, reason.word());
        }
    }
}

impl Drop for Attendance {
    /// Whom a driver could not take in is gone too.
    fn drop(&mut self) {
        self.gone(&Reason::Io("not taken in".to_owned()));
        self.admission.leave(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn who_comes_and_goes_is_counted_by_protocol_and_reason() {
        let limits = Limits {
            viewers: 9,
            per_address: 9,
        };
        let admission = Arc::new(Admission::new(limits, Budget::new(0)));
        let reasons = [Reason::Left, Reason::Left, Reason::Memory];
        for reason in reasons {
            let mut attendance = admission.admit(address(1)).unwrap();
            attendance.taken_in(Protocol::Ws);
            attendance.gone(&reason);
        }
        let mut let_go_of = admission.admit(address(1)).unwrap();
        let_go_of.taken_in(Protocol::Ws);
        drop(let_go_of);
        drop(admission.admit(address(1)).unwrap());
        let counters = admission.counters();
        assert_eq!(counters.taken_in(Protocol::Ws), 4);
        let gone = counters.gone(Protocol::Ws).filter(|(_, count)| *count > 0);
        let gone: BTreeMap<_, _> = gone.collect();
        assert_eq!(gone, [("left", 2), ("memory", 1), ("io", 1)].into());
        let others = counters.gone(Protocol::Tcp).map(|(_, count)| count);
        assert_eq!(others.sum::<u64>() + counters.taken_in(Protocol::Tcp), 0);
    }

    fn address(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    #[test]
    fn places_are_limited_together_and_by_address_and_are_given_back() {
        let limits = Limits {
            viewers: 3,
            per_address: 2,
        };
        let admission = Arc::new(Admission::new(limits, Budget::new(0)));
        let admit = |last| admission.admit(address(last));
        let first = admit(1).unwrap();
        let second = admit(1).unwrap();
        assert_eq!(admit(1).unwrap_err(), Refusal::Address(2));
        let third = admit(2).unwrap();
        assert_eq!(admit(3).unwrap_err(), Refusal::Full(3));
        let refused: Vec<_> = admission.counters().refused().collect();
        let expected = [("memory", 0), ("full", 1), ("address", 1), ("door", 0)];
        assert_eq!(refused, expected);
        assert_eq!(admission.present().viewers, 3);
        drop((first, third));
        assert!(admit(1).is_ok());
        drop(second);
        assert_eq!(admission.present().viewers, 0);
        assert!(admission.present().by_address.is_empty());
    }

    #[test]
    fn while_memory_is_scarce_nobody_comes_in() {
        let limits = Limits {
            viewers: 3,
            per_address: 3,
        };
        let budget = Budget::new(10);
        let admission = Arc::new(Admission::new(limits, budget.clone()));
        let held = budget.charge(vec![0; 11].into());
        let refused = admission.admit(address(1)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "frames hold 11 bytes, the memory budget is 10"
        );
        drop(held);
        assert!(admission.admit(address(1)).is_ok());
    }
}
