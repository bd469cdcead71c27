//! What roles have used: their processes of now, and what those that are gone had used.
//!
//! Kept out: files. The [`Sampler`](super::Sampler) brings what it has read.
//!
//! Policy: a role's counter never goes down and nothing is counted twice. A process that is gone
//! leaves what it was last seen to have used. What it did after that, and children too short-lived
//! to be seen at all, show up at the one who waited for them, in counters that the kernel keeps of
//! reaped children: of those, only what exceeds the last sight is added. Nobody is charged for the
//! children of another role: while one of those goes, the reaper's counters of children do not count.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::process::{Counters, Disk, Id, Levels, Process, SwitchCount, Ticks};
use super::sample::Sample;
use crate::frame::Monotonic;

/// A process and to whom it belongs.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) process: Process,
    /// Whose process it is.
    pub(super) role: usize,
    /// The member whose child it is, if that is one.
    pub(super) parent: Option<Id>,
    /// What it holds; `None` once it has ended.
    pub(super) levels: Option<Levels>,
    /// Its counters one round earlier.
    pub(super) before: Counters,
    /// The part of its reaped children's time that was counted while they lived.
    absorbed: Duration,
    /// The same of its bytes.
    absorbed_disk: Disk,
}

impl Member {
    pub(super) fn new(id: Id, role: usize, parent: Option<Id>) -> Self {
        Self {
            process: Process::new(id),
            role,
            parent,
            levels: None,
            before: Counters::default(),
            absorbed: Duration::ZERO,
            absorbed_disk: Disk::default(),
        }
    }

    /// Its processor time and what its children used unseen.
    fn cpu(&self) -> Duration {
        let Counters { cpu, reaped, .. } = self.process.counters;
        cpu + reaped.saturating_sub(self.absorbed)
    }

    /// Its bytes and those of children unseen.
    fn disk(&self) -> Option<Disk> {
        let all = self.process.counters.disk?;
        Some(all.minus(self.absorbed_disk))
    }

    /// Takes note that it has (or may have) reaped members.
    fn inherit(&mut self, estate: &Estate) {
        let grown = self
            .process
            .counters
            .reaped
            .saturating_sub(self.before.reaped);
        self.absorbed += if estate.is_foreign { grown } else { estate.cpu };
        // Own bytes and reaped ones are one number: what grew less than the estate was not reaped.
        let grown = |disk: fn(Disk) -> u64| {
            let of = |counters: Counters| counters.disk.map_or(0, disk);
            let grown = of(self.process.counters).saturating_sub(of(self.before));
            grown.min(disk(estate.disk))
        };
        self.absorbed_disk = self.absorbed_disk.plus(Disk {
            read_bytes: grown(|disk| disk.read_bytes),
            written_bytes: grown(|disk| disk.written_bytes),
        });
    }
}

/// What members that are gone had used when they were last seen, and those they had reaped.
#[derive(Debug, Default)]
struct Estate {
    cpu: Duration,
    disk: Disk,
    /// Whether one of them was of another role than the heir.
    is_foreign: bool,
}

/// What several processes have used together.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    cpu: Duration,
    ticks: Ticks,
    switches: SwitchCount,
    minor_faults: u64,
    major_faults: u64,
    disk: Disk,
}

impl Used {
    fn add(&mut self, member: &Member) {
        let counters = &member.process.counters;
        self.cpu += member.cpu();
        self.ticks = self.ticks.plus(counters.ticks);
        self.switches = self.switches.plus(counters.switches);
        self.minor_faults += counters.minor_faults;
        self.major_faults += counters.major_faults;
        self.disk = self.disk.plus(member.disk().unwrap_or_default());
    }
}

/// A role's books.
#[derive(Debug, Default)]
struct Account {
    /// What processes that are gone had used.
    past: Used,
    split: Split,
}

/// All roles' processes, and what became of the others.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) members: HashMap<Id, Member>,
    accounts: Vec<Account>,
}

impl Ledger {
    pub(super) fn new(roles: usize) -> Self {
        Self {
            members: HashMap::new(),
            accounts: (0..roles).map(|_| Account::default()).collect(),
        }
    }

    /// The nearest member up the line of parents that is not `gone`.
    pub(super) fn heir(&self, of: Id, gone: &HashSet<Id>) -> Option<Id> {
        let mut at = of;
        // A line is not longer than all members; links of different age could form a circle.
        for _ in 0..self.members.len() {
            at = self.members.get(&at)?.parent?;
            if !gone.contains(&at) {
                return self.members.contains_key(&at).then_some(at);
            }
        }
        None
    }

    /// Closes the books of those that are gone. Their heirs have been read after they had gone.
    pub(super) fn settle(&mut self, gone: &HashSet<Id>) {
        let mut estates: HashMap<Id, Estate> = HashMap::new();
        for id in gone {
            let Some(member) = self.members.get(id) else {
                continue;
            };
            if let Some(heir) = self.heir(*id, gone) {
                let estate = estates.entry(heir).or_default();
                // Whole, with what it had reaped itself: so it arrives in the heir's counters.
                let Counters {
                    cpu, reaped, disk, ..
                } = member.process.counters;
                estate.cpu += cpu + reaped;
                estate.disk = estate.disk.plus(disk.unwrap_or_default());
                estate.is_foreign |= self.members[&heir].role != member.role;
            }
            self.accounts[member.role].past.add(member);
        }
        for (heir, estate) in &estates {
            if let Some(heir) = self.members.get_mut(heir) {
                heir.inherit(estate);
            }
        }
        self.members.retain(|id, _| !gone.contains(id));
    }

    /// What a role has used and holds.
    pub(super) fn sum(&mut self, role: usize, taken_at: Monotonic) -> Sample {
        let account = &mut self.accounts[role];
        let (mut used, mut held, mut is_disk_told) = (account.past, Held::default(), true);
        for member in self.members.values().filter(|member| member.role == role) {
            used.add(member);
            if let Some(levels) = &member.levels {
                held.add(levels);
                is_disk_told &= member.process.counters.disk.is_some();
            }
        }
        account.split.advance(used.cpu, used.ticks);
        let Split { total, user } = account.split;
        Sample {
            taken_at,
            cpu: total,
            user,
            system: total.saturating_sub(user),
            rss_bytes: held.rss_bytes,
            pss_bytes: (held.without_pss == 0).then_some(held.pss_bytes),
            processes: held.processes,
            threads: held.threads,
            read_bytes: is_disk_told.then_some(used.disk.read_bytes),
            written_bytes: is_disk_told.then_some(used.disk.written_bytes),
            voluntary_switches: used.switches.voluntary,
            involuntary_switches: used.switches.involuntary,
            minor_faults: used.minor_faults,
            major_faults: used.major_faults,
        }
    }
}

/// Levels of several processes.
#[derive(Debug, Default)]
struct Held {
    processes: u64,
    threads: u64,
    rss_bytes: u64,
    pss_bytes: u64,
    /// Processes whose PSS the kernel did not tell.
    without_pss: u64,
}

impl Held {
    fn add(&mut self, levels: &Levels) {
        self.processes += 1;
        self.threads += levels.threads;
        self.rss_bytes += levels.rss_bytes;
        self.pss_bytes += levels.pss_bytes.unwrap_or(0);
        self.without_pss += u64::from(levels.pss_bytes.is_none());
    }
}

impl Disk {
    const fn plus(self, other: Self) -> Self {
        Self {
            read_bytes: self.read_bytes + other.read_bytes,
            written_bytes: self.written_bytes + other.written_bytes,
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_sub(other.read_bytes),
            written_bytes: self.written_bytes.saturating_sub(other.written_bytes),
        }
    }
}

impl Ticks {
    const fn plus(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
        }
    }
}

impl SwitchCount {
    const fn plus(self, other: Self) -> Self {
        Self {
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
        }
    }
}

/// The exact processor time, split by the ratio of the coarse ticks.
///
/// The ratio moves with every tick and could carry one part back below its last value, so each
/// part only gets a share of what the total has grown by since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) total: Duration,
    pub(super) user: Duration,
}

impl Split {
    pub(super) fn advance(&mut self, total: Duration, ticks: Ticks) {
        let total = total.max(self.total);
        let grown = total.saturating_sub(self.total);
        let both = ticks.user.saturating_add(ticks.system);
        let user = if both == 0 {
            total
        } else {
            total.mul_f64(ticks.user as f64 / both as f64)
        };
        self.user = user.clamp(self.user, self.user.saturating_add(grown));
        self.total = total;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    const fn id(pid: u32) -> Id {
        Id {
            pid,
            started_ticks: 7,
        }
    }

    impl Ledger {
        fn add(&mut self, pid: u32, role: usize, parent: Option<u32>) {
            let member = Member::new(id(pid), role, parent.map(id));
            self.members.insert(id(pid), member);
        }

        fn counters(&mut self, pid: u32) -> &mut Counters {
            &mut self.members.get_mut(&id(pid)).unwrap().process.counters
        }

        /// A new round begins.
        fn turn(&mut self) {
            for member in self.members.values_mut() {
                member.before = member.process.counters;
            }
        }

        fn end(&mut self, pids: &[u32]) {
            self.settle(&pids.iter().map(|pid| id(*pid)).collect());
        }

        fn used(&mut self, role: usize) -> (Duration, u64) {
            let sample = self.sum(role, Monotonic::default());
            (sample.cpu, sample.written_bytes.unwrap())
        }
    }

    const fn written(bytes: u64) -> Option<Disk> {
        Some(Disk {
            read_bytes: 0,
            written_bytes: bytes,
        })
    }

    /// Role 0: process 1 and its child 2, which has used 300 ms and written 30 bytes. Process 1 has
    /// used 10 ms and written 5. Role 1: process 3, another child of 1, with 50 ms and 8 bytes.
    fn family() -> Ledger {
        let mut ledger = Ledger::new(2);
        ledger.add(1, 0, None);
        ledger.add(2, 0, Some(1));
        ledger.add(3, 1, Some(1));
        for (pid, cpu, bytes) in [(1, 10, 5), (2, 300, 30), (3, 50, 8)] {
            let counters = ledger.counters(pid);
            (counters.cpu, counters.disk) = (millis(cpu), written(bytes));
        }
        assert_eq!(ledger.used(0), (millis(310), 35));
        assert_eq!(ledger.used(1), (millis(50), 8));
        ledger.turn();
        ledger
    }

    #[test]
    fn of_a_reaped_child_only_the_unseen_is_added() {
        let mut ledger = family();
        // It used 400 ms and wrote 33 bytes in the end; the parent wrote 2.
        ledger.counters(1).reaped = millis(400);
        ledger.counters(1).disk = written(5 + 33 + 2);
        ledger.end(&[2]);
        assert_eq!(ledger.used(0), (millis(410), 40));
        assert_eq!(ledger.used(1), (millis(50), 8));
        ledger.turn();
        // Children that came and went between two rounds.
        ledger.counters(1).reaped = millis(420);
        ledger.counters(1).disk = written(5 + 33 + 2 + 9);
        ledger.end(&[]);
        assert_eq!(ledger.used(0), (millis(430), 49));
        // And the parent takes nothing of it along.
        ledger.end(&[1]);
        assert_eq!(ledger.used(0), (millis(430), 49));
    }

    #[test]
    fn a_child_that_nobody_reaped_stays_counted() {
        let mut ledger = family();
        ledger.end(&[2]);
        assert_eq!(ledger.used(0), (millis(310), 35));
        ledger.turn();
        ledger.counters(1).cpu = millis(20);
        ledger.counters(1).disk = written(6);
        assert_eq!(ledger.used(0), (millis(320), 36));
        ledger.end(&[1, 3]);
        assert_eq!(ledger.used(0), (millis(320), 36));
        assert_eq!(ledger.used(1), (millis(50), 8));
        assert!(ledger.members.is_empty());
    }

    #[test]
    fn a_grandchild_is_left_to_who_remains() {
        let mut ledger = family();
        ledger.add(4, 0, Some(2));
        ledger.counters(4).cpu = millis(1000);
        ledger.turn();
        ledger.counters(1).reaped = millis(1305);
        ledger.end(&[2, 4]);
        assert_eq!(ledger.used(0).0, millis(1315));
    }

    #[test]
    fn children_of_another_role_are_not_charged() {
        let mut ledger = family();
        // Process 3 used another 950 ms and wrote another 2 bytes before process 1 reaped it.
        ledger.counters(1).reaped = millis(1000);
        ledger.counters(1).disk = written(5 + 10);
        ledger.end(&[3]);
        assert_eq!(ledger.used(1), (millis(50), 8));
        // Bytes cannot be told apart: those 2 are charged.
        assert_eq!(ledger.used(0), (millis(310), 37));
        ledger.turn();
        ledger.counters(1).reaped = millis(1310);
        ledger.end(&[2]);
        assert_eq!(ledger.used(0).0, millis(320));
    }

    #[test]
    fn links_in_a_circle_end() {
        let mut ledger = Ledger::new(1);
        ledger.add(1, 0, Some(2));
        ledger.add(2, 0, Some(1));
        ledger.end(&[1, 2]);
        assert!(ledger.members.is_empty());
    }

    #[test]
    fn what_is_withheld_of_one_is_not_told_of_all() {
        let mut ledger = family();
        let levels = |pss_bytes| {
            Some(Levels {
                rss_bytes: 100,
                pss_bytes,
                threads: 2,
            })
        };
        for (pid, pss_bytes) in [(1, Some(60)), (2, Some(70))] {
            ledger.members.get_mut(&id(pid)).unwrap().levels = levels(pss_bytes);
        }
        let sum = |ledger: &mut Ledger| {
            let sample = ledger.sum(0, Monotonic::default());
            let sizes = (sample.rss_bytes, sample.pss_bytes, sample.written_bytes);
            ((sample.processes, sample.threads), sizes)
        };
        assert_eq!(sum(&mut ledger), ((2, 4), (200, Some(130), Some(35))));
        ledger.members.get_mut(&id(2)).unwrap().levels = levels(None);
        ledger.counters(2).disk = None;
        assert_eq!(sum(&mut ledger), ((2, 4), (200, None, None)));
        // What has ended holds nothing and withholds nothing.
        ledger.members.get_mut(&id(2)).unwrap().levels = None;
        assert_eq!(sum(&mut ledger), ((1, 2), (100, Some(60), Some(5))));
    }

    proptest! {
        /// Whoever ends, reaped or not, in one round or another: nothing goes down, and nothing is
        /// counted that was not used.
        #[test]
        fn counters_go_up_and_not_above_what_was_used(
            steps in prop::collection::vec((1..9_u32, 0..90_u64, 0..3_u8), 1..60),
        ) {
            let mut ledger = Ledger::new(1);
            ledger.add(0, 0, None);
            let (mut truth, mut next, mut last) = (Duration::ZERO, 1, Duration::ZERO);
            for (pick, amount, what) in steps {
                ledger.turn();
                let mut alive: Vec<u32> = ledger.members.keys().map(|id| id.pid).collect();
                alive.sort_unstable();
                let pid = alive[pick as usize % alive.len()];
                let used = millis(amount);
                match what {
                    0 => ledger.add({ next += 1; next }, 0, Some(pid)),
                    1 => {
                        ledger.counters(pid).cpu += used;
                        truth += used;
                    }
                    // It uses some more unseen, and is reaped if its parent is still there.
                    _ if pid != 0 => {
                        truth += used;
                        let member = &ledger.members[&id(pid)];
                        let (parent, own) = (member.parent, member.process.counters);
                        if let Some(heir) = parent.filter(|heir| ledger.members.contains_key(heir)) {
                            ledger.counters(heir.pid).reaped += own.cpu + own.reaped + used;
                        }
                        ledger.end(&[pid]);
                    }
                    _ => {}
                }
                let now = ledger.used(0).0;
                prop_assert!(now >= last && now <= truth, "{last:?} {now:?} {truth:?}");
                last = now;
            }
        }
    }

    #[test]
    fn the_split_sums_to_the_total_and_neither_part_goes_back() {
        let millis = Duration::from_millis;
        let ticks = |user, system| Ticks { user, system };
        let mut split = Split::default();
        split.advance(millis(4), ticks(0, 0));
        assert_eq!(split.user, millis(4));
        split.advance(millis(100), ticks(3, 1));
        assert_eq!(split.user, millis(75));
        // The ratio alone would give 51 ms.
        split.advance(millis(102), ticks(4, 4));
        assert_eq!(split.user, millis(75));
        // The ratio alone would give the system 0 of its 27 ms.
        split.advance(millis(110), ticks(11, 0));
        assert_eq!((split.total, split.user), (millis(110), millis(83)));
        // A total that went back (a clock that must not) changes nothing.
        split.advance(millis(50), ticks(20, 0));
        assert_eq!((split.total, split.user), (millis(110), millis(83)));
    }
}
