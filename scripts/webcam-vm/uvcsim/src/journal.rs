//! The one place that prints, and the clock that all times are taken from.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let total = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
    u64::try_from(total).expect("this clock begins at boot")
}

/// Says what happens, with the seconds since boot.
#[expect(clippy::print_stdout, reason = "the one place that prints")]
pub(crate) fn say(text: &str) {
    let ms = monotonic_ns() / 1_000_000;
    println!("{}.{:03} uvcsim: {text}", ms / 1000, ms % 1000);
}
