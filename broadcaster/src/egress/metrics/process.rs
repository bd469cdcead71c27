//! What this process costs: what all programs with `/metrics` tell, and the API.
//!
//! Read when it is asked for, from a few files that the kernel makes in microseconds;
//! [`common::sampler`] reads far more, which takes milliseconds and grows with the number of viewers.
//! What the system does not tell is `None` and left out.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Processor time of all threads so far, in user and kernel mode.
pub(in crate::egress) fn cpu() -> Option<Duration> {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(spent.tv_sec), u32::try_from(spent.tv_nsec));
    Some(Duration::new(seconds.ok()?, nanos.ok()?))
}

/// Bytes of memory in use.
pub(in crate::egress) fn resident_bytes() -> Option<u64> {
    // proc(5): the second field of statm counts resident pages.
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Descriptors open now.
pub(super) fn open_descriptors() -> Option<u64> {
    // Since Linux 6.2 the folder's size says it, so that thousands need not be listed.
    let told = fs::metadata("/proc/self/fd").ok()?.len();
    if told > 0 {
        return Some(told);
    }
    let listed = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // One of them is the list itself.
    Some(listed.saturating_sub(1))
}

/// Descriptors there may be; `None` if there is no limit.
pub(super) fn most_descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_shows() {
        const GROWN: usize = 32 << 20;
        let before = resident_bytes().unwrap();
        let block = std::hint::black_box(vec![1_u8; GROWN]);
        let after = resident_bytes().unwrap();
        assert!(after >= before + GROWN as u64 / 2, "{before} {after}");
        drop(block);

        let before = open_descriptors().unwrap();
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null")).collect();
        let after = open_descriptors().unwrap();
        // Other tests may run beside this one.
        assert!(after >= before + 50, "{before} {after}");
        assert!(most_descriptors().is_none_or(|most| after <= most));
        drop(files);

        let before = cpu().unwrap();
        std::hint::black_box((0..10_000_000_u64).fold(0, |sum, one| sum ^ one));
        assert!(cpu().unwrap() > before);
    }
}
