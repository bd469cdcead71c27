//! How often a curve falls, and how far: what the first authors saw and did not explain.

use crate::measure::ps;
use crate::result::{Cell, Curve, Measured, Results, is_load};
use crate::spread::Spread;

/// A smaller step down, as a share of the value, is rounding.
const LEAST_FALL: f64 = 0.01;

/// The falls of a curve.
#[derive(Debug, PartialEq)]
struct Falls {
    /// When each of them was, in seconds.
    at_s: Vec<f64>,
    /// By which share of the value before.
    depths: Vec<f64>,
}

impl Falls {
    fn of(at_s: &[f64], values: &[f64]) -> Self {
        let mut falls = Self {
            at_s: Vec::new(),
            depths: Vec::new(),
        };
        for (at, pair) in at_s.iter().skip(1).zip(values.windows(2)) {
            let depth = (pair[0] - pair[1]) / pair[0].max(f64::MIN_POSITIVE);
            if depth > LEAST_FALL {
                falls.at_s.push(*at);
                falls.depths.push(depth);
            }
        }
        falls
    }

    /// In words: how many, how far apart, how deep.
    fn told(&self) -> String {
        let apart = self.at_s.windows(2).map(|pair| pair[1] - pair[0]);
        let apart = Spread::of(apart, 1);
        let depths = Spread::of(self.depths.iter().map(|depth| 100.0 * depth), 1);
        match (self.at_s.len(), apart.middle()) {
            (0, _) => "never fell by more than 1 %".to_owned(),
            (1, _) | (_, None) => format!("fell once, by {} %", depths.median()),
            (count, Some(_)) => format!("fell {count} times, each {apart} s, by {depths} %"),
        }
    }
}

/// The curves of `ps` beside processor time, of the round that was watched longest.
pub(super) fn told(results: &Results) -> String {
    let Some(measured) = results.cells.iter().find_map(Cell::measured) else {
        return "Nothing was measured.".to_owned();
    };
    let of = |name: &str| {
        let curve = measured.ps.iter().find(|curve| curve.role == name);
        let falls = |curve: &Curve| Falls::of(&curve.at_s, &curve.cpu_percent).told();
        curve.map_or_else(|| "was not asked".to_owned(), falls)
    };
    format!(
        "Over {:.0} s the curve of {} {}; that of {}, which divides by whole seconds of a process's life, \
         {}. The processor time that the same processes used was {} % of a core between two samples.",
        measured.figures.window_s,
        ps::INSTALLED,
        of(ps::INSTALLED),
        ps::OLDER,
        of(ps::OLDER),
        used(measured),
    )
}

/// What was used between samples, all roles together.
fn used(measured: &Measured) -> Spread {
    let costing = || measured.curves.iter().filter(|curve| !is_load(&curve.role));
    let length = costing()
        .map(|curve| curve.cpu_percent.len())
        .min()
        .unwrap_or(0);
    let sum = |at: usize| costing().map(|curve| curve.cpu_percent[at]).sum();
    Spread::of((0..length).map(sum), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_are_found_with_their_distance_and_depth() {
        // A quotient that grows within each second and falls at its end.
        let at: Vec<f64> = (0..12).map(|step| 0.25 * f64::from(step)).collect();
        let values: Vec<f64> = at.iter().map(|at| 100.0 + 10.0 * (at % 1.0)).collect();
        let falls = Falls::of(&at, &values);
        assert_eq!(falls.at_s, [1.0, 2.0]);
        assert_eq!(
            falls.told(),
            "fell 2 times, each 1.0 s, by 7.0 (7.0 to 7.0) %"
        );
        assert_eq!(
            Falls::of(&at, &[5.0; 12]).told(),
            "never fell by more than 1 %"
        );
        let once = Falls::of(&[0.0, 1.0], &[10.0, 9.0]).told();
        assert_eq!(once, "fell once, by 10.0 %");
    }
}
