//! One process: its counters since it started, read from its files under `/proc`.
//!
//! Kept out: whose process it is, and what becomes of its counters when it ends. A process is its
//! number and its start time: a successor with the same number is another one.
//!
//! Reading goes in two steps, so that the date of a round can stand between them:
//! [`Process::read_slow`] takes what may need milliseconds, [`Process::read_fast`] the processor
//! time and, last of all, whether it was the same process throughout.

use std::collections::HashMap;
use std::time::Duration;
use std::{fs, io};

use nix::errno::Errno;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use super::{Error, parse};

/// What makes a process that process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) pid: u32,
    /// Clock ticks from the machine's start to the process's.
    pub(super) started_ticks: u64,
}

/// What a process has used since it started. None of it goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Its own processor time, ended threads included.
    pub(super) cpu: Duration,
    /// Its own and its reaped children's ticks: good for the ratio of the modes only.
    pub(super) ticks: Ticks,
    /// Processor time of the children it has waited for, and of theirs; short by up to a tick.
    pub(super) reaped: Duration,
    pub(super) switches: SwitchCount,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    /// Bytes to and from disks, those of reaped children included: so does the kernel count.
    /// `None` where it does not tell.
    pub(super) disk: Option<Disk>,
}

/// Clock ticks by mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    pub(super) user: u64,
    pub(super) system: u64,
}

/// Bytes that went over the block layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
}

/// What a process holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) rss_bytes: u64,
    /// `None` where the kernel does not tell.
    pub(super) pss_bytes: Option<u64>,
    pub(super) threads: u64,
}

/// How often threads left the processor, by their own will or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SwitchCount {
    pub(super) voluntary: u64,
    pub(super) involuntary: u64,
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

/// A process that is sampled.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) id: Id,
    /// What was read last. Stays what it is once the process is gone.
    pub(super) counters: Counters,
    switches: Switches,
}

/// What takes long to read; nothing of it counts before [`Process::read_fast`] has confirmed it.
#[derive(Debug)]
pub(super) struct Slow {
    levels: Levels,
    switches: HashMap<u32, SwitchCount>,
}

/// What [`Process::read_fast`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is there.
    There {
        /// The number of its parent.
        parent: u32,
        /// What it holds, if it was read and the process has not ended. One that has ended and that
        /// nobody has waited for holds nothing, but its counters can still be read.
        levels: Option<Levels>,
    },
    /// It is not there any more.
    Gone,
}

impl Process {
    /// A process nothing has been read of.
    pub(super) fn new(id: Id) -> Self {
        Self {
            id,
            counters: Counters::default(),
            switches: Switches::default(),
        }
    }

    /// Reads memory and switches. `None` if the process is gone.
    pub(super) fn read_slow(&self) -> Result<Option<Slow>, Error> {
        let read = || {
            Ok(Slow {
                levels: self.read_memory()?,
                switches: self.read_switches()?,
            })
        };
        unless_gone(read())
    }

    /// Reads the counters, takes in what was read slowly, if anything, and says what it is now.
    pub(super) fn read_fast(&mut self, slow: Option<Slow>) -> Result<State, Error> {
        let read = || Ok((self.read_disk()?, self.read_cpu()?));
        let Some((disk, cpu)) = unless_gone(read())? else {
            return Ok(State::Gone);
        };
        // Last of all: if the start time still matches now, everything before came from the same
        // process.
        let stat = match read_stat(self.id.pid)? {
            Some(stat) if stat.started_ticks == self.id.started_ticks => stat,
            _ => return Ok(State::Gone),
        };
        let levels = slow.map(|slow| {
            self.switches.take_in(slow.switches);
            let threads = stat.threads;
            Levels {
                threads,
                ..slow.levels
            }
        });
        self.counters = Counters {
            cpu: cpu.max(self.counters.cpu),
            ticks: Ticks {
                user: stat.user_ticks + stat.reaped_user_ticks,
                system: stat.system_ticks + stat.reaped_system_ticks,
            },
            reaped: time_of(stat.reaped_user_ticks + stat.reaped_system_ticks),
            switches: self.switches.total,
            minor_faults: stat.minor_faults,
            major_faults: stat.major_faults,
            disk,
        };
        Ok(State::There {
            parent: stat.parent,
            levels: levels.filter(|_| !stat.has_ended()),
        })
    }

    fn read_cpu(&self) -> Result<Duration, Error> {
        let pid = self.id.pid;
        let raw = i32::try_from(pid).map_err(|_| Error::Gone { pid })?;
        let now = clock_getcpuclockid(Pid::from_raw(raw)).and_then(nix::time::ClockId::now);
        match now {
            Ok(now) => Ok(now.into()),
            // EINVAL is what the kernel says of a clock whose process is gone.
            Err(Errno::ESRCH | Errno::EINVAL) => Err(Error::Gone { pid }),
            Err(errno) => Err(Error::Clock {
                pid,
                error: errno.into(),
            }),
        }
    }

    fn read_memory(&self) -> Result<Levels, Error> {
        let status = read(&self.path("status"))?;
        let rollup = match read(&self.path("smaps_rollup")) {
            // It is just ending (or one of the kernel's own): no memory, which is known.
            Err(Error::Read { error, .. }) if is_no_process(&error) => String::new(),
            other => match unless_withheld(other)? {
                Some(rollup) => rollup,
                None => {
                    return Ok(Levels {
                        rss_bytes: parse::bytes(&status, "VmRSS:").unwrap_or(0),
                        pss_bytes: None,
                        threads: 0,
                    });
                }
            },
        };
        // `VmRSS` is a sum of per-processor counters and may be off by some pages of what the walk
        // finds: both sizes come from the walk where it is allowed, so that PSS <= RSS.
        let bytes = |key| parse::bytes(&rollup, key).unwrap_or(0);
        Ok(Levels {
            rss_bytes: bytes("Rss:"),
            pss_bytes: Some(bytes("Pss:")),
            threads: 0,
        })
    }

    /// The switches of each thread alive now. `/proc/PID/status` alone has the main thread's.
    fn read_switches(&self) -> Result<HashMap<u32, SwitchCount>, Error> {
        let path = self.path("task");
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
            let Some(status) = unless_gone(read(&format!("{path}/{thread}/status")))? else {
                continue;
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

    fn read_disk(&self) -> Result<Option<Disk>, Error> {
        let path = self.path("io");
        let Some(text) = unless_withheld(read(&path))? else {
            return Ok(None);
        };
        let bytes = |key: &'static str| {
            parse::value(&text, key).ok_or_else(|| Error::Format {
                path: path.clone(),
                missing: key,
            })
        };
        Ok(Some(Disk {
            read_bytes: bytes("read_bytes:")?,
            written_bytes: bytes("write_bytes:")?,
        }))
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.id.pid)
    }
}

impl parse::Stat {
    /// Whether it only waits to be waited for. Its memory is given back, and a size of 0 would pass
    /// for a measurement.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

fn time_of(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1000) / per_second)
}

/// The processes there are: `/proc/PID/stat` of all of them.
pub(super) fn all() -> Result<HashMap<u32, parse::Stat>, Error> {
    let failed = |error| Error::Read {
        path: "/proc".to_owned(),
        error,
    };
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(stat) = read_stat(pid)? {
            found.insert(pid, stat);
        }
    }
    Ok(found)
}

/// `/proc/PID/stat`; `None` if there is no such process, or none that we may see.
pub(super) fn read_stat(pid: u32) -> Result<Option<parse::Stat>, Error> {
    let path = format!("/proc/{pid}/stat");
    // Where `/proc` is mounted with `hidepid`, those of other users are as good as not there.
    let Some(Some(text)) = unless_gone(unless_withheld(read(&path)))? else {
        return Ok(None);
    };
    let stat = parse::stat(&text).map_err(|missing| Error::Format { path, missing })?;
    Ok(Some(stat))
}

/// A file of the kernel. The names of programs in them need not be UTF-8; all else is ASCII.
pub(super) fn read(path: &str) -> Result<String, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(Error::Read {
            path: path.to_owned(),
            error,
        }),
    }
}

/// What a file that was opened while its process ended says.
fn is_no_process(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// No such file, or no such process any more.
fn has_vanished(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || is_no_process(error)
}

/// `None` for what could not be read because the process is gone.
fn unless_gone<T>(outcome: Result<T, Error>) -> Result<Option<T>, Error> {
    match outcome {
        Err(Error::Read { error, .. }) if has_vanished(&error) => Ok(None),
        Err(Error::Gone { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// `None` for a file that the kernel does not have or does not show to us.
fn unless_withheld(file: Result<String, Error>) -> Result<Option<String>, Error> {
    match file {
        Err(Error::Read { error, .. })
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_withheld_file_is_no_error_and_a_broken_one_is() {
        let failed = |errno: Errno| -> Result<String, Error> {
            let (path, error) = ("io".to_owned(), errno.into());
            Err(Error::Read { path, error })
        };
        for errno in [Errno::EACCES, Errno::ENOENT] {
            assert!(
                matches!(unless_withheld(failed(errno)), Ok(None)),
                "{errno}"
            );
        }
        for errno in [Errno::ESRCH, Errno::EIO] {
            assert!(unless_withheld(failed(errno)).is_err(), "{errno}");
        }
        for errno in [Errno::ESRCH, Errno::ENOENT] {
            assert!(matches!(unless_gone(failed(errno)), Ok(None)), "{errno}");
        }
        assert!(unless_gone(failed(Errno::EACCES)).is_err());
    }

    #[test]
    fn a_process_is_its_number_and_its_start() {
        let pid = std::process::id();
        let started_ticks = read_stat(pid).unwrap().unwrap().started_ticks;
        let found = |started_ticks| {
            let mut process = Process::new(Id { pid, started_ticks });
            let slow = process.read_slow().unwrap();
            process.read_fast(slow).unwrap()
        };
        assert!(matches!(found(started_ticks), State::There { .. }));
        assert_eq!(found(started_ticks - 1), State::Gone);
    }

    #[test]
    fn one_that_has_ended_holds_nothing_and_withholds_nothing() {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = WaitId::Pid(rustix::process::Pid::from_child(&child));
        waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        let pid = child.id();
        let started_ticks = read_stat(pid).unwrap().unwrap().started_ticks;
        let mut process = Process::new(Id { pid, started_ticks });
        let slow = process.read_slow().unwrap().unwrap();
        let sizes = (slow.levels.rss_bytes, slow.levels.pss_bytes);
        assert_eq!(sizes, (0, Some(0)));
        let state = process.read_fast(Some(slow)).unwrap();
        let parent = std::process::id();
        let levels = None;
        assert_eq!(state, State::There { parent, levels });
        assert!(process.counters.cpu > Duration::ZERO);
        child.wait().unwrap();
        assert_eq!(process.read_fast(None).unwrap(), State::Gone);
    }
}
