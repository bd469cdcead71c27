//! What a sampler reads, and what two readings say together. Plain data and arithmetic.

use std::time::Duration;

use crate::frame::Monotonic;

/// What a process had cost when the sample was taken, since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When [`cpu`](Self::cpu) was read, by the clock given to
    /// [`Sampler::sample`](super::Sampler::sample).
    pub taken_at: Monotonic,
    /// Processor time of all threads, those that have ended included. Never goes back.
    ///
    /// The unit is the nanosecond, but the kernel adds the time of a thread that runs without a
    /// pause only at each scheduler tick (1 to 10 ms; 4 ms where this was measured), and at each
    /// switch: short by up to one tick for each processor the process occupies at this moment.
    pub cpu: Duration,
    /// The part of [`cpu`](Self::cpu) in user mode. `user + system == cpu`, and neither goes back.
    ///
    /// The kernel tells the modes apart by what it finds at each tick: over less than a second
    /// or so the split is an estimate, the sum is not.
    pub user: Duration,
    /// The part of [`cpu`](Self::cpu) in the kernel.
    pub system: Duration,
    /// Bytes of memory in RAM, shared pages (libraries, mapped files) counted in full.
    pub rss_bytes: u64,
    /// Bytes of memory in RAM, each shared page divided by the number of processes that have it:
    /// the only size that may be added up over processes. At most
    /// [`rss_bytes`](Self::rss_bytes).
    ///
    /// `None` where the kernel does not tell: the process belongs to another user (a broker, for
    /// instance) and the sampler has not CAP_SYS_PTRACE, the process is protected from tracing
    /// altogether, it has no memory of its own (a thread of the kernel), or Linux is older than
    /// 4.14. Then `rss_bytes` is what is left, and a report must say that it counts shared pages
    /// in full.
    pub pss_bytes: Option<u64>,
    /// The largest [`rss_bytes`](Self::rss_bytes) so far.
    pub peak_rss_bytes: u64,
    /// Threads alive now.
    pub threads: u64,
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
            rss_delta_bytes: difference(self.rss_bytes, earlier.rss_bytes),
            pss_delta_bytes: self
                .pss_bytes
                .zip(earlier.pss_bytes)
                .map(|(later, earlier)| difference(later, earlier)),
        }
    }
}

/// What a process did between two samples.
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
        peak_rss_bytes: 1 << 20,
        threads: 3,
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
