//! What the size of a frame decides: how long the writer is held up and how much it works, what a link
//! carries, and when it pays to hand on several frames at once.

use super::{arms, is_valid, loads};
use crate::result::{Measured, Results};
use crate::scenario::Load;
use crate::spread::Spread;

/// The writer works alike as long as it takes no more than so many times what the smallest takes.
const ALIKE: f64 = 1.5;

/// All three, as far as they were measured.
pub(super) fn told(results: &Results) -> String {
    let parts = [held_up(results), carried(results), together(results)];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    match parts.as_slice() {
        [] => "No cell is a valid measurement.".to_owned(),
        parts => parts.join(" "),
    }
}

/// The median of all rounds, if there are any.
fn median(
    results: &Results,
    arm: &str,
    load: &Load,
    of: impl Fn(&Measured) -> Option<f64>,
) -> Option<f64> {
    let rounds = results.of(arm, load);
    Spread::of(rounds.into_iter().filter_map(of), 0).middle()
}

/// What each arm says, if any says something, behind a beginning.
fn each(results: &Results, begin: &str, told: impl Fn(&str) -> Option<String>) -> Option<String> {
    let told: Vec<_> = arms(results)
        .filter_map(|arm| Some(format!("{arm} {}", told(arm)?)))
        .collect();
    (!told.is_empty()).then(|| format!("{begin}: {}.", told.join(" – ")))
}

/// What a frame takes of the writer, from the smallest to the largest, handed on one by one at the lowest
/// rate: its work, and the time until it may go on.
fn held_up(results: &Results) -> Option<String> {
    let mut loads = loads(results);
    let slowest = loads.iter().map(|load| load.fps).min()?;
    loads.retain(|load| load.fps == slowest && load.frames_per_payload == 1);
    loads.sort_by_key(|load| load.bytes);
    let begin = "Until the writer may go on, and of that its own work (for the rest others have its \
                 processor, whom it has woken)";
    each(results, begin, |arm| {
        let times = |load: &Load| {
            let all = median(results, arm, load, |round| round.figures.writer_us)?;
            let work = median(results, arm, load, |round| round.figures.writer_cpu_us)?;
            is_valid(results, arm, load).then_some((load.bytes, all, work))
        };
        let times: Vec<_> = loads.iter().filter_map(times).collect();
        let (least, most) = (times.first()?, times.last()?);
        let is_alike = |times: &&(usize, f64, f64)| times.2 <= ALIKE * least.2;
        let alike = times.iter().take_while(is_alike).last()?.0;
        let told = |(bytes, all, work): &(usize, f64, f64)| {
            format!("{all:.0} µs, {work:.0} of work, with {}", words(*bytes))
        };
        Some(format!(
            "{}; {}; as much work up to {}",
            told(least),
            told(most),
            words(alike)
        ))
    })
}

/// The most that arrived, whatever was asked for.
fn carried(results: &Results) -> Option<String> {
    let loads = loads(results);
    each(results, "The most that arrived at one viewer", |arm| {
        let rate = |load: &Load| {
            let rate = median(results, arm, load, |round| {
                Some(round.figures.throughput(load))
            })?;
            Some((rate, load.bytes))
        };
        let rates = loads.iter().filter_map(rate);
        let (rate, bytes) = rates.max_by(|one, other| one.0.total_cmp(&other.0))?;
        Some(format!(
            "{:.2} GB/s, in frames of {}",
            rate / 1e9,
            words(bytes)
        ))
    })
}

/// What many frames at once take of the CPU that they take one by one.
fn together(results: &Results) -> Option<String> {
    let all = loads(results);
    let most = all.iter().map(|load| load.frames_per_payload).max()?;
    let joined = all
        .iter()
        .filter(|load| load.frames_per_payload == most && most > 1);
    let told = |load: &Load| {
        let alone = Load {
            frames_per_payload: 1,
            ..load.clone()
        };
        let begin = format!(
            "{most} frames of {} at once take so much of the CPU that they take one by one, and arrive so \
             much later",
            words(load.bytes)
        );
        each(results, &begin, |arm| {
            if !(is_valid(results, arm, load) && is_valid(results, arm, &alone)) {
                return None;
            }
            let both = |of: fn(&Measured) -> f64| {
                let of = |load| median(results, arm, load, |round| Some(of(round)));
                Some((of(load)?, of(&alone)?))
            };
            let (cpu, cpu_alone) = both(Measured::cpu)?;
            let (age, age_alone) = both(|round| round.figures.age_p50_ms)?;
            Some(format!(
                "{:.2} ×, {:.0} ms",
                cpu / cpu_alone.max(f64::MIN_POSITIVE),
                age - age_alone
            ))
        })
    };
    let told: Vec<_> = joined.filter_map(told).collect();
    (!told.is_empty()).then(|| told.join(" "))
}

fn words(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_their_unit() {
        let told = [64, 8_000, 4_000_000].map(words);
        assert_eq!(told, ["64 B", "8 kB", "4 MB"]);
    }
}
