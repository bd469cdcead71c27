//! What programs have cost since they started: processor time, memory, disk, context switches,
//! faults, by role.
//!
//! A role (a broadcaster, its receivers, a broker) is a tree of processes, or several: [`Role`]
//! names the roots. [`Sampler`] reads all roles at once, [`Sample`] is what it read of one,
//! [`Interval`] is the difference of two samples, [`socket_memory`] is the part of the cost that the
//! kernel holds. Kept out: when to sample, what to do with samples, and finding the roots. Linux
//! only: all of it comes from proc(5) and clock_getcpuclockid(3).
//!
//! Policy: a sample holds counters since the start of the processes, never rates. A rate belongs to
//! two samples and the time between them ([`Sample::since`]); a rate over the process's whole
//! life, which `ps` shows, says nothing about the last second. A process's own counters contain
//! threads that have ended; a sum over the threads alive now would miss a server that starts one
//! for each viewer. In the same way a role's counters contain processes that have ended.
//!
//! Processes come and go: every sample looks for new children of those it knows. One that was once
//! found stays in its role, also when its parent ends before it. A child that is a root of another
//! role belongs to that one, with its children. A daemon that left the tree before it was found
//! needs to be named as a root of its own, like the `epmd` of an Erlang system.
//!
//! # What a sample costs
//!
//! The sampler's processor time, none of the sampled process's (unless it samples itself), per
//! sample on a quiet 2-core virtual machine, Linux 6.18, x86-64, release build, with 72 processes
//! there; the least and the most of four runs:
//!
//! | role | cost |
//! |---|---|
//! | one process, 2 threads, 3 MiB | 0.9 to 1.0 ms |
//! | one process, 2 threads, 259 MiB | 4.5 to 5.4 ms |
//! | one process, 1002 threads, 13 MiB | 24 to 28 ms |
//!
//! It grows with the memory (the kernel walks every page for the proportional set size), with
//! the number of threads (one file each for the context switches) and with the number of processes
//! on the machine (one file each to find children). To repeat:
//! `cargo test -p common --release --lib cost -- --ignored --nocapture --test-threads 1`.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::clock::Clock;

mod ledger;
mod parse;
mod process;
mod sample;
mod sockets;

use ledger::{Ledger, Member};
use process::{Id, Slow, State, read};
pub use sample::{Interval, Sample};
pub use sockets::{SocketMemory, socket_memory};

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such process, or it has ended (even if its parent has not waited for it yet).
    /// Also what a process of another user looks like where `/proc` is mounted with `hidepid`.
    #[error("there is no process {pid}")]
    Gone {
        /// The number asked for.
        pid: u32,
    },
    /// The same process was named as a root twice.
    #[error("process {pid} is named twice: its cost would count twice")]
    Twice {
        /// Which process.
        pid: u32,
    },
    /// A file of the kernel could not be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A file of the kernel does not say what proc(5) promises.
    #[error("{path}: no {missing} in it")]
    Format {
        /// The file.
        path: String,
        /// The field, as proc(5) calls it.
        missing: &'static str,
    },
    /// The clock that counts the process's processor time could not be read.
    #[error("processor time of process {pid}: {error}")]
    Clock {
        /// Whose clock.
        pid: u32,
        /// What the system said.
        error: io::Error,
    },
}

/// Who is sampled together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// What it is called in reports.
    pub name: String,
    /// Its processes; all that come from them belong to it too.
    pub roots: Vec<u32>,
}

/// Takes samples of roles.
///
/// It keeps what makes counters never go back: what processes and threads that have ended had used,
/// and the last split of the processor time. So samples of two samplers are not to be subtracted.
///
/// ```
/// use common::SystemClock;
/// use common::sampler::{Role, Sampler};
///
/// let own = Role { name: "example".to_owned(), roots: vec![std::process::id()] };
/// let mut sampler = Sampler::new(vec![own])?;
/// let earlier = sampler.sample(&SystemClock)?;
/// let sum: u64 = std::hint::black_box((0..100_000).sum());
/// let later = sampler.sample(&SystemClock)?;
///
/// let interval = later[0].since(&earlier[0]);
/// assert!(interval.cpu_share > 0.0, "adding up to {sum} is not free");
/// assert!(later[0].pss_bytes <= Some(later[0].rss_bytes));
/// # Ok::<(), common::sampler::Error>(())
/// ```
#[derive(Debug)]
pub struct Sampler {
    roles: Vec<Role>,
    ledger: Ledger,
}

impl Sampler {
    /// A sampler of the processes that have these numbers now. Needs no privilege, except for memory
    /// and disk of other users' processes.
    ///
    /// # Errors
    /// [`Error::Gone`] if one of the roots is not there, [`Error::Twice`] if one is named twice;
    /// [`Error::Read`], [`Error::Format`].
    pub fn new(roles: Vec<Role>) -> Result<Self, Error> {
        let mut ledger = Ledger::new(roles.len());
        let roots = |(role, named): (usize, &Role)| {
            let roots = named.roots.iter().map(move |pid| (role, *pid));
            roots.collect::<Vec<_>>()
        };
        for (role, pid) in roles.iter().enumerate().flat_map(roots) {
            let stat = process::read_stat(pid)?.filter(|stat| !stat.has_ended());
            let started_ticks = stat.ok_or(Error::Gone { pid })?.started_ticks;
            let id = Id { pid, started_ticks };
            let member = Member::new(id, role, None);
            if ledger.members.insert(id, member).is_some() {
                return Err(Error::Twice { pid });
            }
        }
        Ok(Self { roles, ledger })
    }

    /// A sampler of one role that has no name.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(root: u32) -> Result<Self, Error> {
        let (name, roots) = (String::new(), vec![root]);
        Self::new(vec![Role { name, roots }])
    }

    /// The roles, as they were named.
    #[must_use]
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Reads all counters now and gives a sample for each role, in the order of
    /// [`roles`](Self::roles). `clock` dates them. A role whose processes have all ended keeps what
    /// they had used and holds nothing.
    ///
    /// # Errors
    /// Faults of the system; the next call may succeed.
    pub fn sample(&mut self, clock: &dyn Clock) -> Result<Vec<Sample>, Error> {
        let mut gone = self.find_members()?;
        let mut order = self.parents_first();
        order.retain(|id| !gone.contains(id));
        let mut slow = HashMap::new();
        for id in &order {
            match self.ledger.members[id].process.read_slow()? {
                Some(read) => drop(slow.insert(*id, read)),
                None => drop(gone.insert(*id)),
            }
        }
        // The slow files are read: from here on it is some 10 µs for a process.
        let taken_at = clock.monotonic();
        for id in &order {
            if let Some(read) = slow.remove(id) {
                self.read_fast(*id, Some(read), &mut gone)?;
            }
        }
        self.read_heirs(&mut gone)?;
        self.ledger.settle(&gone);
        let samples = (0..self.roles.len()).map(|role| self.ledger.sum(role, taken_at));
        Ok(samples.collect())
    }

    /// Looks for children of members, and gives the members that are not there any more.
    fn find_members(&mut self) -> Result<HashSet<Id>, Error> {
        let here = process::all()?;
        let members = &mut self.ledger.members;
        let is_here = |id: &Id| {
            let stat = here.get(&id.pid);
            stat.is_some_and(|stat| stat.started_ticks == id.started_ticks)
        };
        let (mut line, gone): (Vec<Id>, Vec<Id>) = members.keys().partition(|id| is_here(id));
        let mut children: HashMap<u32, Vec<Id>> = HashMap::new();
        for (pid, stat) in &here {
            let (pid, started_ticks) = (*pid, stat.started_ticks);
            let child = Id { pid, started_ticks };
            children.entry(stat.parent).or_default().push(child);
        }
        while let Some(parent) = line.pop() {
            let role = members[&parent].role;
            for child in children.remove(&parent.pid).unwrap_or_default() {
                // Known ones are in line by themselves, in whatever role they are.
                if let std::collections::hash_map::Entry::Vacant(place) = members.entry(child) {
                    place.insert(Member::new(child, role, Some(parent)));
                    line.push(child);
                }
            }
        }
        for member in members.values_mut() {
            member.before = member.process.counters;
            member.levels = None;
        }
        Ok(gone.into_iter().collect())
    }

    /// The members, each after its parent: one that is found alive was not yet in the counters of
    /// the parent that was read before it.
    fn parents_first(&self) -> Vec<Id> {
        let members = &self.ledger.members;
        let depth = |id: &Id| {
            let up = |id: &Id| members.get(id).and_then(|member| member.parent);
            // The bound is for links of different age, which could form a circle.
            let line = std::iter::successors(Some(*id), up);
            line.take(members.len()).count()
        };
        let mut order: Vec<Id> = members.keys().copied().collect();
        order.sort_by_cached_key(|id| (depth(id), *id));
        order
    }

    fn read_fast(
        &mut self,
        id: Id,
        slow: Option<Slow>,
        gone: &mut HashSet<Id>,
    ) -> Result<(), Error> {
        let by_pid = |pid: u32, members: &HashMap<Id, Member>| {
            let mut ids = members
                .keys()
                .filter(|id| id.pid == pid && !gone.contains(id));
            ids.next().copied()
        };
        let Some(mut member) = self.ledger.members.remove(&id) else {
            return Ok(());
        };
        let state = member.process.read_fast(slow);
        if let Ok(State::There { parent, levels }) = state {
            member.parent = by_pid(parent, &self.ledger.members);
            member.levels = levels.or(member.levels);
        }
        self.ledger.members.insert(id, member);
        if state? == State::Gone {
            gone.insert(id);
        }
        Ok(())
    }

    /// Reads those again who may have reaped a member that is gone, since they were read: after
    /// this its last moments are in their counters for certain.
    fn read_heirs(&mut self, gone: &mut HashSet<Id>) -> Result<(), Error> {
        let mut known = 0;
        // Each turn but the last finds one more that is gone.
        while gone.len() > known {
            known = gone.len();
            let heirs = gone.iter().filter_map(|id| self.ledger.heir(*id, gone));
            for heir in heirs.collect::<HashSet<_>>() {
                self.read_fast(heir, None, gone)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;
    use crate::clock::SystemClock;

    /// A clock of ours by another way than the sampler's.
    fn own(clock: ClockId) -> Duration {
        let now = clock_gettime(clock);
        Duration::new(
            now.tv_sec.cast_unsigned(),
            u32::try_from(now.tv_nsec).unwrap(),
        )
    }

    /// Keeps this thread busy until it has used this much processor time.
    fn burn(cpu: Duration) {
        while own(ClockId::ThreadCPUTime) < cpu {
            std::hint::black_box((0..1_000_u64).sum::<u64>());
        }
    }

    fn own_sampler() -> Sampler {
        Sampler::of(std::process::id()).unwrap()
    }

    /// A sample of the only role.
    fn one(sampler: &mut Sampler) -> Sample {
        let mut samples = sampler.sample(&SystemClock).unwrap();
        assert_eq!(samples.len(), 1);
        samples.remove(0)
    }

    #[test]
    fn a_thread_that_has_ended_still_counts() {
        const BURNT: Duration = Duration::from_millis(100);
        let mut sampler = own_sampler();
        let floor = own(ClockId::ProcessCPUTime);
        let earlier = one(&mut sampler);
        thread::spawn(|| burn(BURNT)).join().unwrap();
        let later = one(&mut sampler);
        let ceiling = own(ClockId::ProcessCPUTime);

        let interval = later.since(&earlier);
        assert!(interval.cpu >= BURNT, "{interval:?}");
        // Other tests may run beside this one: the bound is what the process as a whole has used.
        assert!(interval.cpu <= ceiling - floor, "{interval:?}");
        assert!(interval.cpu_share > 0.0, "{interval:?}");
        assert_eq!(later.user + later.system, later.cpu);
    }

    #[test]
    fn counters_never_go_back() {
        let mut sampler = own_sampler();
        let mut earlier = one(&mut sampler);
        for _ in 0..20 {
            thread::spawn(|| {
                thread::yield_now();
                burn(Duration::from_millis(3));
            })
            .join()
            .unwrap();
            let later = one(&mut sampler);
            assert!(later.taken_at > earlier.taken_at);
            for (what, is_kept) in [
                ("cpu", later.cpu >= earlier.cpu),
                ("user", later.user >= earlier.user),
                ("system", later.system >= earlier.system),
                ("read", later.read_bytes >= earlier.read_bytes),
                ("written", later.written_bytes >= earlier.written_bytes),
                (
                    "voluntary",
                    later.voluntary_switches >= earlier.voluntary_switches,
                ),
                (
                    "involuntary",
                    later.involuntary_switches >= earlier.involuntary_switches,
                ),
                ("minor", later.minor_faults >= earlier.minor_faults),
                ("major", later.major_faults >= earlier.major_faults),
            ] {
                assert!(is_kept, "{what}: {earlier:?} {later:?}");
            }
            assert_eq!(later.user + later.system, later.cpu);
            earlier = later;
        }
        assert!(earlier.voluntary_switches + earlier.involuntary_switches > 0);
    }

    #[test]
    fn sizes_are_in_order_and_memory_shows() {
        const GROWN: usize = 64 << 20;
        let mut sampler = own_sampler();
        let earlier = one(&mut sampler);
        let touched = vec![1_u8; GROWN];
        let later = one(&mut sampler);
        std::hint::black_box(&touched);

        for sample in [earlier, later] {
            let pss_bytes = sample.pss_bytes.expect("our own is never withheld");
            assert!(pss_bytes > 0 && pss_bytes <= sample.rss_bytes, "{sample:?}");
            assert!(sample.threads >= 1 && sample.processes >= 1, "{sample:?}");
        }
        let interval = later.since(&earlier);
        let least = i64::try_from(GROWN * 9 / 10).unwrap();
        assert!(interval.pss_delta_bytes.unwrap() > least, "{interval:?}");
        assert!(interval.rss_delta_bytes > least, "{interval:?}");
    }

    #[test]
    fn switches_of_all_threads_are_summed() {
        const ROUNDS: usize = 200;
        let mut sampler = own_sampler();
        let earlier = one(&mut sampler);
        let barrier = Arc::new(Barrier::new(3));
        let meet = |barrier: &Barrier| {
            (0..ROUNDS).for_each(|_| {
                barrier.wait();
            });
        };
        let threads = [(); 2].map(|()| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                meet(&barrier);
                // Alive until the sample is taken.
                barrier.wait();
            })
        });
        meet(&barrier);
        let later = one(&mut sampler);
        barrier.wait();
        for thread in threads {
            thread.join().unwrap();
        }
        // At every meeting at least one of the three had to wait.
        let waited = later.voluntary_switches - earlier.voluntary_switches;
        assert!(waited >= ROUNDS as u64 / 2, "{waited}");
    }

    #[test]
    fn roots_are_there_and_named_once() {
        let own = std::process::id();
        let role = |name: &str, roots: &[u32]| Role {
            name: name.to_owned(),
            roots: roots.to_vec(),
        };
        let twice = Sampler::new(vec![role("a", &[own]), role("b", &[own])]).unwrap_err();
        let told = format!("process {own} is named twice: its cost would count twice");
        assert_eq!(twice.to_string(), told);
        // No number is above i32, and 0 is nobody's.
        for pid in [0, u32::MAX] {
            let none = Sampler::of(pid).unwrap_err();
            assert_eq!(none.to_string(), format!("there is no process {pid}"));
        }
        let sampler = Sampler::new(vec![role("a", &[]), role("b", &[own])]);
        let samples = sampler.unwrap().sample(&SystemClock).unwrap();
        let counts: Vec<_> = samples.iter().map(|sample| sample.processes > 0).collect();
        assert_eq!(counts, [false, true]);
    }

    #[test]
    fn a_successor_with_the_same_number_is_not_sampled() {
        let mut sampler = own_sampler();
        let members = &mut sampler.ledger.members;
        let own = *members.keys().next().unwrap();
        let earlier = Id {
            started_ticks: own.started_ticks - 1,
            ..own
        };
        let member = Member::new(earlier, 0, None);
        members.clear();
        members.insert(earlier, member);
        // Nor are its children.
        let mut child = std::process::Command::new("cat");
        let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let sample = one(&mut sampler);
        assert_eq!((sample.processes, sample.cpu), (0, Duration::ZERO));
        child.wait().unwrap();
    }

    /// Prints the table at the head of this file. Processor time of this thread, so that other
    /// programs on the machine do not enter.
    #[test]
    #[ignore = "a measurement, not a check"]
    fn cost() {
        fn measure(what: &str) {
            const ROUNDS: u32 = 200;
            let mut sampler = own_sampler();
            let first = one(&mut sampler);
            let start = own(ClockId::ThreadCPUTime);
            for _ in 0..ROUNDS {
                std::hint::black_box(one(&mut sampler));
            }
            let each = (own(ClockId::ThreadCPUTime) - start) / ROUNDS;
            println!(
                "{what:24} {each:9.1?}  ({} threads, {} MiB)",
                first.threads,
                first.rss_bytes >> 20
            );
        }
        measure("as it is");
        let touched = std::hint::black_box(vec![1_u8; 256 << 20]);
        measure("256 MB more");
        drop(touched);
        let barrier = Arc::new(Barrier::new(1001));
        let threads: Vec<_> = (0..1000)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                thread::spawn(move || {
                    barrier.wait();
                })
            })
            .collect();
        measure("1000 threads more");
        barrier.wait();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
