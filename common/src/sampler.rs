//! What one process has cost since it started: processor time, memory, context switches, faults.
//!
//! In here: [`Sampler`] reads one process, [`Sample`] is what it read, [`Interval`] is the
//! difference of two samples, [`socket_memory`] is the part of the cost that the kernel holds.
//! Kept out: when to sample, what to do with samples, and finding processes. Linux only: all of
//! it comes from proc(5) and clock_getcpuclockid(3).
//!
//! Policy: a sample holds counters since the start of the process, never rates. A rate belongs to
//! two samples and the time between them ([`Sample::since`]); a rate over the process's whole
//! life, which `ps` shows, says nothing about the last second. The process's own counters contain
//! threads that have ended; a sum over the threads alive now would miss a server that starts one
//! for each viewer.
//!
//! # What a sample costs
//!
//! The sampler's processor time, none of the sampled process's (unless it samples itself), per
//! sample on a 2-core virtual machine, Linux 6.18, x86-64, release build:
//!
//! | process | cost |
//! |---|---|
//! | 2 threads, 3 MiB | 58 to 64 µs |
//! | 2 threads, 259 MiB | 0.9 to 1.1 ms |
//! | 1002 threads, 13 MiB | 11.5 to 12.2 ms |
//!
//! It grows with the memory (the kernel walks every page for the proportional set size) and with
//! the number of threads (one file each for the context switches). To repeat:
//! `cargo test -p common --release sampler::tests::cost -- --ignored --nocapture --test-threads 1`.

use std::collections::HashMap;
use std::time::Duration;
use std::{fs, io};

use nix::errno::Errno;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::clock::Clock;

mod parse;
mod sample;
mod sockets;

pub use sample::{Interval, Sample};
pub use sockets::{SocketMemory, socket_memory};

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process has ended (even if its parent has not waited for it yet), or another process
    /// has its number now. Also what a process of another user looks like where `/proc` is
    /// mounted with `hidepid`.
    #[error("process {pid} is gone")]
    Gone {
        /// Whose end it is.
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

/// Takes samples of one process.
///
/// It keeps what makes counters never go back: the switches of threads that have ended, and the
/// last split of the processor time. So one process has one sampler, and samples of two samplers
/// are not to be subtracted.
///
/// ```
/// use common::SystemClock;
/// use common::sampler::Sampler;
///
/// let mut sampler = Sampler::new(std::process::id())?;
/// let earlier = sampler.sample(&SystemClock)?;
/// let sum: u64 = std::hint::black_box((0..100_000).sum());
/// let later = sampler.sample(&SystemClock)?;
///
/// let interval = later.since(&earlier);
/// assert!(interval.cpu_share > 0.0, "adding up to {sum} is not free");
/// assert!(later.pss_bytes <= Some(later.rss_bytes));
/// # Ok::<(), common::sampler::Error>(())
/// ```
#[derive(Debug)]
pub struct Sampler {
    pid: u32,
    /// Clock ticks from the machine's start to the process's: tells a successor with the same
    /// number.
    started_ticks: u64,
    switches: Switches,
    split: Split,
}

impl Sampler {
    /// A sampler of the process that has this number now. Needs no privilege, except for
    /// [`Sample::pss_bytes`] of other users' processes.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is no such process; [`Error::Read`], [`Error::Format`].
    pub fn new(pid: u32) -> Result<Self, Error> {
        let stat = read_stat(pid)?;
        Ok(Self {
            pid,
            started_ticks: stat.started_ticks,
            switches: Switches::default(),
            split: Split::default(),
        })
    }

    /// The process's number.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Reads all counters now. `clock` dates the sample.
    ///
    /// # Errors
    /// [`Error::Gone`] once the process has ended, and from then on; the others are faults of the
    /// system, and the next call may succeed.
    pub fn sample(&mut self, clock: &dyn Clock) -> Result<Sample, Error> {
        let outcome = self.read(clock);
        let Err(error) = outcome else { return outcome };
        // A file that vanished half-way is a symptom; the end of the process is the reason.
        match self.stat() {
            Err(gone @ Error::Gone { .. }) => Err(gone),
            _ => Err(error),
        }
    }

    fn read(&mut self, clock: &dyn Clock) -> Result<Sample, Error> {
        self.switches.take_in(self.read_switches()?);
        let memory = self.read_memory()?;
        // The slow files are read: the date, the clock and the ticks lie a few µs apart.
        let taken_at = clock.monotonic();
        let cpu = self.read_cpu()?;
        // Last of all: if the start time still matches now, everything before came from the same
        // process.
        let stat = self.stat()?;
        self.split.advance(cpu, stat.user_ticks, stat.system_ticks);
        Ok(Sample {
            taken_at,
            cpu: self.split.total,
            user: self.split.user,
            system: self.split.total.saturating_sub(self.split.user),
            rss_bytes: memory.rss_bytes,
            pss_bytes: memory.pss_bytes,
            peak_rss_bytes: memory.peak_rss_bytes,
            threads: stat.threads,
            voluntary_switches: self.switches.total.voluntary,
            involuntary_switches: self.switches.total.involuntary,
            minor_faults: stat.minor_faults,
            major_faults: stat.major_faults,
        })
    }

    /// `/proc/PID/stat`, if this is still the process the sampler was made for.
    fn stat(&self) -> Result<parse::Stat, Error> {
        let stat = read_stat(self.pid)?;
        if stat.started_ticks != self.started_ticks {
            return Err(Error::Gone { pid: self.pid });
        }
        Ok(stat)
    }

    fn read_cpu(&self) -> Result<Duration, Error> {
        let raw = i32::try_from(self.pid).map_err(|_| Error::Gone { pid: self.pid })?;
        let now = clock_getcpuclockid(Pid::from_raw(raw)).and_then(nix::time::ClockId::now);
        now.map(Duration::from).map_err(|errno| Error::Clock {
            pid: self.pid,
            error: errno.into(),
        })
    }

    fn read_memory(&self) -> Result<Memory, Error> {
        let status = read(&format!("/proc/{}/status", self.pid))?;
        let rollup = read(&format!("/proc/{}/smaps_rollup", self.pid));
        let rollup = unless_withheld(rollup)?;
        // The kernel's own threads have no memory and none of these lines.
        let bytes = |text: &str, key| parse::bytes(text, key).unwrap_or(0);
        // `VmRSS` is a sum of per-processor counters and may be off by some pages of what the walk
        // finds: both sizes come from the walk where it is allowed, so that PSS <= RSS.
        let rss_bytes = match &rollup {
            Some(rollup) => bytes(rollup, "Rss:"),
            None => bytes(&status, "VmRSS:"),
        };
        Ok(Memory {
            rss_bytes,
            pss_bytes: rollup.map(|rollup| bytes(&rollup, "Pss:")),
            peak_rss_bytes: bytes(&status, "VmHWM:").max(rss_bytes),
        })
    }

    /// The switches of each thread alive now. `/proc/PID/status` alone has the main thread's.
    fn read_switches(&self) -> Result<HashMap<u32, SwitchCount>, Error> {
        let path = format!("/proc/{}/task", self.pid);
        let failed = |error| Error::Read {
            path: path.clone(),
            error,
        };
        let mut counts = HashMap::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let status = match read(&format!("{path}/{thread}/status")) {
                Err(Error::Read { error, .. }) if has_vanished(&error) => continue,
                other => other?,
            };
            let count = |key| parse::value(&status, key).unwrap_or(0);
            let count = SwitchCount {
                voluntary: count("voluntary_ctxt_switches:"),
                involuntary: count("nonvoluntary_ctxt_switches:"),
            };
            counts.insert(thread, count);
        }
        Ok(counts)
    }
}

struct Memory {
    rss_bytes: u64,
    pss_bytes: Option<u64>,
    peak_rss_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SwitchCount {
    voluntary: u64,
    involuntary: u64,
}

/// The switches of a process, kept beyond the end of its threads.
#[derive(Debug, Default)]
struct Switches {
    total: SwitchCount,
    /// Each living thread's own count at the last sample.
    seen: HashMap<u32, SwitchCount>,
}

impl Switches {
    fn take_in(&mut self, now: HashMap<u32, SwitchCount>) {
        for (thread, count) in &now {
            let seen = self.seen.get(thread).copied().unwrap_or_default();
            // A count that went back is a new thread with an old thread's number.
            let is_same =
                count.voluntary >= seen.voluntary && count.involuntary >= seen.involuntary;
            let seen = if is_same {
                seen
            } else {
                SwitchCount::default()
            };
            self.total.voluntary += count.voluntary - seen.voluntary;
            self.total.involuntary += count.involuntary - seen.involuntary;
        }
        self.seen = now;
    }
}

/// The exact processor time, split by the ratio of the coarse ticks.
///
/// The ratio moves with every tick and could carry one part back below its last value, so each
/// part only gets a share of what the total has grown by since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Split {
    total: Duration,
    user: Duration,
}

impl Split {
    fn advance(&mut self, total: Duration, user_ticks: u64, system_ticks: u64) {
        let total = total.max(self.total);
        let grown = total.saturating_sub(self.total);
        let ticks = user_ticks.saturating_add(system_ticks);
        let user = if ticks == 0 {
            total
        } else {
            total.mul_f64(user_ticks as f64 / ticks as f64)
        };
        self.user = user.clamp(self.user, self.user.saturating_add(grown));
        self.total = total;
    }
}

/// A file of the kernel. The names of programs in them need not be UTF-8; all else is ASCII.
fn read(path: &str) -> Result<String, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(Error::Read {
            path: path.to_owned(),
            error,
        }),
    }
}

fn read_stat(pid: u32) -> Result<parse::Stat, Error> {
    let path = format!("/proc/{pid}/stat");
    let text = match read(&path) {
        Err(Error::Read { error, .. }) if has_vanished(&error) => return Err(Error::Gone { pid }),
        other => other?,
    };
    let stat = parse::stat(&text).map_err(|missing| Error::Format { path, missing })?;
    match stat.state {
        // Ended and not yet waited for: its memory is already given back, and a size of 0 would
        // pass for a measurement.
        'Z' | 'X' => Err(Error::Gone { pid }),
        _ => Ok(stat),
    }
}

/// No such file, or ESRCH from a file that was opened while its process ended.
fn has_vanished(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// `None` for a file that the kernel does not have or does not show to us.
fn unless_withheld(file: Result<String, Error>) -> Result<Option<String>, Error> {
    match file {
        Err(Error::Read { error, .. })
            if has_vanished(&error) || error.kind() == io::ErrorKind::PermissionDenied =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::sync::{Arc, Barrier};
    use std::thread;

    use rustix::process::{WaitId, WaitIdOptions, waitid};
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
        Sampler::new(std::process::id()).unwrap()
    }

    #[test]
    fn a_thread_that_has_ended_still_counts() {
        const BURNT: Duration = Duration::from_millis(100);
        let mut sampler = own_sampler();
        let floor = own(ClockId::ProcessCPUTime);
        let earlier = sampler.sample(&SystemClock).unwrap();
        thread::spawn(|| burn(BURNT)).join().unwrap();
        let later = sampler.sample(&SystemClock).unwrap();
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
        let mut earlier = sampler.sample(&SystemClock).unwrap();
        for _ in 0..20 {
            thread::spawn(|| {
                thread::yield_now();
                burn(Duration::from_millis(3));
            })
            .join()
            .unwrap();
            let later = sampler.sample(&SystemClock).unwrap();
            assert!(later.taken_at > earlier.taken_at);
            for (what, is_kept) in [
                ("cpu", later.cpu >= earlier.cpu),
                ("user", later.user >= earlier.user),
                ("system", later.system >= earlier.system),
                ("peak", later.peak_rss_bytes >= earlier.peak_rss_bytes),
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
        let earlier = sampler.sample(&SystemClock).unwrap();
        let touched = vec![1_u8; GROWN];
        let later = sampler.sample(&SystemClock).unwrap();
        std::hint::black_box(&touched);

        for sample in [earlier, later] {
            let pss_bytes = sample.pss_bytes.expect("our own is never withheld");
            assert!(pss_bytes > 0 && pss_bytes <= sample.rss_bytes, "{sample:?}");
            assert!(sample.rss_bytes <= sample.peak_rss_bytes, "{sample:?}");
            assert!(sample.threads >= 1);
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
        let earlier = sampler.sample(&SystemClock).unwrap();
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
        let later = sampler.sample(&SystemClock).unwrap();
        barrier.wait();
        for thread in threads {
            thread.join().unwrap();
        }
        // At every meeting at least one of the three had to wait.
        let waited = later.voluntary_switches - earlier.voluntary_switches;
        assert!(waited >= ROUNDS as u64 / 2, "{waited}");
    }

    #[test]
    fn switches_survive_their_thread() {
        let count = |voluntary, involuntary| SwitchCount {
            voluntary,
            involuntary,
        };
        let mut switches = Switches::default();
        switches.take_in(HashMap::from([(1, count(10, 1)), (2, count(5, 2))]));
        assert_eq!(switches.total, count(15, 3));
        switches.take_in(HashMap::from([(1, count(12, 1))]));
        assert_eq!(switches.total, count(17, 3));
        // Thread 2 is a new one now, and so is 1: their counts are lower than before.
        switches.take_in(HashMap::from([(1, count(1, 5)), (2, count(3, 0))]));
        assert_eq!(switches.total, count(21, 8));
    }

    #[test]
    fn the_split_sums_to_the_total_and_neither_part_goes_back() {
        let millis = Duration::from_millis;
        let mut split = Split::default();
        split.advance(millis(4), 0, 0);
        assert_eq!(split.user, millis(4));
        split.advance(millis(100), 3, 1);
        assert_eq!(split.user, millis(75));
        // The ratio alone would give 51 ms.
        split.advance(millis(102), 4, 4);
        assert_eq!(split.user, millis(75));
        // The ratio alone would give the system 0 of its 27 ms.
        split.advance(millis(110), 11, 0);
        assert_eq!((split.total, split.user), (millis(110), millis(83)));
        // A total that went back (a clock that must not) changes nothing.
        split.advance(millis(50), 20, 0);
        assert_eq!((split.total, split.user), (millis(110), millis(83)));
    }

    /// A child that would outlive the test by far; killed at the latest when this is dropped.
    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            Self(Command::new("sleep").arg("1000").spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn an_ended_process_is_gone() {
        let mut child = Sleeper::start();
        let pid = child.0.id();
        let mut sampler = Sampler::new(pid).unwrap();
        let alive = sampler.sample(&SystemClock).unwrap();
        assert_eq!(alive.threads, 1);
        assert!(alive.pss_bytes.is_some(), "a child of the same user");

        child.0.kill().unwrap();
        let id = WaitId::Pid(rustix::process::Pid::from_child(&child.0));
        waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        let ended = sampler.sample(&SystemClock);
        assert!(matches!(ended, Err(Error::Gone { pid: p }) if p == pid));

        child.0.wait().unwrap();
        let waited_for = sampler.sample(&SystemClock).unwrap_err();
        assert_eq!(waited_for.to_string(), format!("process {pid} is gone"));
        assert!(matches!(Sampler::new(pid), Err(Error::Gone { .. })));
    }

    #[test]
    fn a_successor_with_the_same_number_is_not_sampled() {
        let child = Sleeper::start();
        let mut sampler = Sampler::new(child.0.id()).unwrap();
        sampler.started_ticks -= 1;
        let outcome = sampler.sample(&SystemClock);
        assert!(matches!(outcome, Err(Error::Gone { .. })), "{outcome:?}");
        // Number 0 means "myself" to the clock, and no number is above i32.
        assert!(matches!(Sampler::new(0), Err(Error::Gone { pid: 0 })));
        assert!(matches!(Sampler::new(u32::MAX), Err(Error::Gone { .. })));
    }

    #[test]
    fn a_withheld_file_is_no_error_and_a_broken_one_is() {
        let failed = |error: io::Error| {
            let path = "smaps_rollup".to_owned();
            unless_withheld(Err(Error::Read { path, error }))
        };
        for errno in [Errno::EACCES, Errno::ENOENT, Errno::ESRCH] {
            assert!(matches!(failed(errno.into()), Ok(None)), "{errno}");
        }
        assert!(failed(Errno::EIO.into()).is_err());
    }

    /// Prints the table at the head of this file. Processor time of this thread, so that other
    /// programs on the machine do not enter.
    #[test]
    #[ignore = "a measurement, not a check"]
    fn cost() {
        fn measure(what: &str) {
            const ROUNDS: u32 = 200;
            let mut sampler = own_sampler();
            let first = sampler.sample(&SystemClock).unwrap();
            let start = own(ClockId::ThreadCPUTime);
            for _ in 0..ROUNDS {
                std::hint::black_box(sampler.sample(&SystemClock).unwrap());
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
