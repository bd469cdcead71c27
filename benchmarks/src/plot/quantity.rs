//! What is plotted against the load.

use super::Scale;
use super::group::{Group, Varied};
use crate::result::Measured;
use crate::scenario::Load;
use crate::spread::megabytes;

/// A quantity of a cell, as it is plotted against the load.
pub(super) struct Quantity {
    pub(super) label: &'static str,
    pub(super) scale: Scale,
    pub(super) of: fn(&Measured, &Load) -> f64,
}

const CPU: Quantity = Quantity {
    label: "CPU, all programs / % of a core",
    scale: Scale::Logarithmic,
    of: |measured, _| 100.0 * measured.cpu(),
};
const DELIVERED: Quantity = Quantity {
    label: "frames delivered / %",
    scale: Scale::Linear,
    of: |measured, _| 100.0 * measured.figures.delivered,
};
/// What matters of each number of viewers.
pub(super) const QUANTITIES: [Quantity; 4] = [
    CPU,
    Quantity {
        label: "memory, all programs / MB",
        scale: Scale::Logarithmic,
        of: |measured, _| megabytes(measured.memory_bytes()),
    },
    Quantity {
        label: "age at arrival, p99 / ms",
        scale: Scale::Logarithmic,
        of: |measured, _| measured.figures.age_p99_ms,
    },
    DELIVERED,
];

/// What matters of each size of a frame.
const OF_SIZES: [Quantity; 6] = [
    Quantity {
        label: "the writer is held up / µs a frame",
        scale: Scale::Logarithmic,
        of: |measured, _| measured.figures.writer_us.unwrap_or(f64::NAN),
    },
    Quantity {
        label: "the writer works / µs a frame",
        scale: Scale::Logarithmic,
        of: |measured, _| measured.figures.writer_cpu_us.unwrap_or(f64::NAN),
    },
    Quantity {
        label: "age at arrival, p50 / ms",
        scale: Scale::Logarithmic,
        of: |measured, _| measured.figures.age_p50_ms,
    },
    Quantity {
        label: "bytes that arrive / MB/s",
        scale: Scale::Logarithmic,
        of: |measured, load| measured.figures.throughput(load) / 1e6,
    },
    CPU,
    DELIVERED,
];

/// What matters of a group of loads.
pub(super) const fn quantities(group: &Group) -> &'static [Quantity] {
    match group.varied {
        Varied::Viewers | Varied::Stopped => &QUANTITIES,
        Varied::Bytes => &OF_SIZES,
    }
}
