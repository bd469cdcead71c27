//! What a sampler reads, and what two readings say together. Plain data and arithmetic.

use std::time::Duration;

use crate::frame::Monotonic;

/// What a role's processes had cost when the sample was taken, since they started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When the counters were read, by the clock given to
    /// [`Sampler::sample`](super::Sampler::sample): one date for all roles.
    pub taken_at: Monotonic,
    /// Processor time of all threads of all processes, those that have ended included. Never goes
    /// back.
    ///
    /// The unit is the nanosecond, but the kernel adds the time of a thread that runs without a
    /// pause only at each scheduler tick (1 to 10 ms; 4 ms where this was measured), and at each
    /// switch: short by up to one tick for each processor the role occupies at this moment. What a
    /// process used between the last sample that saw it and its end is taken from the process that
    /// waited for it, which the kernel tells in steps of 10 ms; it is lost if none of the role did.
    pub cpu: Duration,
    /// The part of [`cpu`](Self::cpu) in user mode. `user + system == cpu`, and neither goes back.
    ///
    /// The kernel tells the modes apart by what it finds at each tick: over less than a second
    /// or so the split is an estimate, the sum is not.
    pub user: Duration,
    /// The part of [`cpu`](Self::cpu) in the kernel.
    pub system: Duration,
    /// Bytes of memory in RAM now, summed over the processes: pages that several of them share
    /// (libraries, mapped files) are counted several times.
    pub rss_bytes: u64,
    /// Bytes of memory in RAM now, each shared page divided by the number of processes that have
    /// it: the only size that may be added up over processes. At most
    /// [`rss_bytes`](Self::rss_bytes).
    ///
    /// `None` where the kernel does not tell it of one of the processes: it belongs to another user
    /// and the sampler has not CAP_SYS_PTRACE, it is protected from tracing altogether, or Linux is
    /// older than 4.14. Then `rss_bytes` is what is left, and a report must say so.
    pub pss_bytes: Option<u64>,
    /// Processes alive now; 0 once all have ended.
    pub processes: u64,
    /// Their threads.
    pub threads: u64,
    /// Bytes that were read from disks (not from the page cache). Never goes back while it is told;
    /// `None` under the conditions of [`pss_bytes`](Self::pss_bytes).
    ///
    /// The kernel adds the bytes of a process to whoever waited for it. Where that one read or wrote
    /// itself in the interval in which the other ended, its own bytes may be missed in part, never
    /// counted twice.
    pub read_bytes: Option<u64>,
    /// Bytes that were, or will be, written to disks: counted when a page gets dirty. The same holds.
    pub written_bytes: Option<u64>,
    /// How often a thread gave up the processor to wait for something.
    ///
    /// The kernel forgets a thread's switches when it ends. The sampler keeps what it has seen of
    /// them, so this never goes back, but what a thread did after its last sample is lost, and
    /// with it all of a thread that lived between two samples or ended before the first.
    pub voluntary_switches: u64,
    /// How often a thread was made to give up the processor. The same limit holds.
    pub involuntary_switches: u64,
    /// Page faults served without reading a disk, ended threads included.
    pub minor_faults: u64,
    /// Page faults that had to wait for a disk, ended threads included.
    pub major_faults: u64,
}

impl Sample {
    /// What happened between `earlier` and this one, which come from one
    /// [`Sampler`](super::Sampler).
    ///
    /// A counter that is lower here than there counts as no change; with no time between the two,
    /// all rates are 0.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Interval {
        let elapsed = self.taken_at.since(earlier.taken_at);
        let cpu = self.cpu.saturating_sub(earlier.cpu);
        let share = |later: Duration, earlier: Duration| {
            per_second(later.saturating_sub(earlier).as_secs_f64(), elapsed)
        };
        let rate =
            |later: u64, earlier: u64| per_second(later.saturating_sub(earlier) as f64, elapsed);
        let told = |later: Option<u64>, earlier: Option<u64>| {
            let both = later.zip(earlier);
            both.map(|(later, earlier)| later.saturating_sub(earlier))
        };
        Interval {
            elapsed,
            cpu,
            cpu_share: share(self.cpu, earlier.cpu),
            user_share: share(self.user, earlier.user),
            system_share: share(self.system, earlier.system),
            voluntary_switches_per_s: rate(self.voluntary_switches, earlier.voluntary_switches),
            involuntary_switches_per_s: rate(
                self.involuntary_switches,
                earlier.involuntary_switches,
            ),
            minor_faults_per_s: rate(self.minor_faults, earlier.minor_faults),
            major_faults_per_s: rate(self.major_faults, earlier.major_faults),
            read_bytes: told(self.read_bytes, earlier.read_bytes),
            written_bytes: told(self.written_bytes, earlier.written_bytes),
            rss_delta_bytes: difference(self.rss_bytes, earlier.rss_bytes),
            pss_delta_bytes: self
                .pss_bytes
                .zip(earlier.pss_bytes)
                .map(|(later, earlier)| difference(later, earlier)),
        }
    }
}

/// What a role did between two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Time between the samples.
    pub elapsed: Duration,
    /// Processor time used.
    pub cpu: Duration,
    /// Processor time per time: 1.0 is one core kept busy, 2.0 two of them.
    pub cpu_share: f64,
    /// The part of [`cpu_share`](Self::cpu_share) in user mode.
    pub user_share: f64,
    /// The part of [`cpu_share`](Self::cpu_share) in the kernel.
    pub system_share: f64,
    /// Switches per second because a thread waited.
    pub voluntary_switches_per_s: f64,
    /// Switches per second because a thread was interrupted.
    pub involuntary_switches_per_s: f64,
    /// Page faults per second, without a disk.
    pub minor_faults_per_s: f64,
    /// Page faults per second that waited for a disk.
    pub major_faults_per_s: f64,
    /// Bytes read from disks; `None` if either sample has none.
    pub read_bytes: Option<u64>,
    /// Bytes written to disks; `None` if either sample has none.
    pub written_bytes: Option<u64>,
    /// Bytes by which the resident memory grew; negative if it shrank.
    pub rss_delta_bytes: i64,
    /// The same of the proportional memory; `None` if either sample has none.
    pub pss_delta_bytes: Option<i64>,
}

fn per_second(amount: f64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() {
        return 0.0;
    }
    amount / elapsed.as_secs_f64()
}

/// `later - earlier`; memory sizes are far below 2^63.
fn difference(later: u64, earlier: u64) -> i64 {
    later.wrapping_sub(earlier).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: Sample = Sample {
        taken_at: Monotonic::from_nanos(7_000_000_000),
        cpu: Duration::from_secs(5),
        user: Duration::from_secs(4),
        system: Duration::from_secs(1),
        rss_bytes: 1 << 20,
        pss_bytes: Some(1 << 19),
        processes: 2,
        threads: 3,
        read_bytes: Some(10),
        written_bytes: Some(4096),
        voluntary_switches: 100,
        involuntary_switches: 10,
        minor_faults: 1000,
        major_faults: 1,
    };

    #[test]
    fn rates_are_per_second() {
        let later = Sample {
            taken_at: Monotonic::from_nanos(9_000_000_000),
            cpu: Duration::from_secs(8),
            user: Duration::from_secs(5),
            system: Duration::from_secs(3),
            rss_bytes: EARLIER.rss_bytes - 4096,
            pss_bytes: EARLIER.pss_bytes.map(|bytes| bytes + 4096),
            voluntary_switches: 130,
            involuntary_switches: 11,
            minor_faults: 1002,
            read_bytes: Some(17),
            written_bytes: None,
            ..EARLIER
        };
        let wanted = Interval {
            elapsed: Duration::from_secs(2),
            cpu: Duration::from_secs(3),
            cpu_share: 1.5,
            user_share: 0.5,
            system_share: 1.0,
            voluntary_switches_per_s: 15.0,
            involuntary_switches_per_s: 0.5,
            minor_faults_per_s: 1.0,
            major_faults_per_s: 0.0,
            read_bytes: Some(7),
            written_bytes: None,
            rss_delta_bytes: -4096,
            pss_delta_bytes: Some(4096),
        };
        assert_eq!(later.since(&EARLIER), wanted);
    }

    #[test]
    fn no_time_no_rate_and_no_size_no_difference() {
        let later = Sample {
            cpu: Duration::from_secs(6),
            pss_bytes: None,
            ..EARLIER
        };
        let interval = later.since(&EARLIER);
        assert_eq!(
            (interval.cpu, interval.cpu_share),
            (Duration::from_secs(1), 0.0)
        );
        assert_eq!(interval.pss_delta_bytes, None);
        // The wrong way round: nothing has happened, and nothing is negative but sizes.
        assert_eq!(EARLIER.since(&later).cpu, Duration::ZERO);
    }
}
