//! Two runs of the same scenarios beside each other: ratios with confidence intervals.

use crate::export::{Table, Text};
use crate::result::{Measured, Results};
use crate::scenario::Load;
use crate::spread::distinct;

/// 97.5 % quantiles of Student's t distribution for 1, 2, 3, … degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];
/// The same for more.
const NORMAL: f64 = 1.960;

/// What is compared, a column each.
const QUANTITIES: [&str; 3] = ["CPU", "memory", "age p99"];
/// Where there is nothing to compare.
const NONE: &str = "–";

/// How many times as large something is in the second run, and between which bounds that lies with
/// 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Of the geometric means.
    pub ratio: f64,
    /// Lower and upper bound; none with fewer than two rounds in either run.
    pub bounds: Option<(f64, f64)>,
}

impl Ratio {
    /// Of values that are above zero (Welch's interval of the difference of their logarithms).
    #[must_use]
    pub fn of(first: &[f64], second: &[f64]) -> Option<Self> {
        let logarithms = |values: &[f64]| -> Vec<f64> {
            let usable = values
                .iter()
                .filter(|value| value.is_finite() && **value > 0.0);
            usable.map(|value| value.ln()).collect()
        };
        let [first, second] = [logarithms(first), logarithms(second)];
        let difference = mean(&second)? - mean(&first)?;
        let bounds = error_of(&first).zip(error_of(&second)).map(|(one, other)| {
            let reach = quantile(one, other) * (one.squared + other.squared).sqrt();
            ((difference - reach).exp(), (difference + reach).exp())
        });
        Some(Self {
            ratio: difference.exp(),
            bounds,
        })
    }

    /// Whether the runs differ by more than chance would explain.
    #[must_use]
    pub fn is_different(&self) -> bool {
        self.bounds
            .is_some_and(|(low, high)| low > 1.0 || high < 1.0)
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2}", self.ratio)?;
        match self.bounds {
            Some((low, high)) => write!(f, " ({low:.2} to {high:.2})"),
            None => Ok(()),
        }
    }
}

/// The standard error of a mean, squared, and its degrees of freedom.
#[derive(Clone, Copy)]
struct Error {
    squared: f64,
    freedom: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a few rounds")]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[expect(clippy::cast_precision_loss, reason = "a few rounds")]
fn error_of(values: &[f64]) -> Option<Error> {
    let (mean, count) = (mean(values)?, values.len() as f64);
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (values.len() > 1).then(|| Error {
        squared: squares.sum::<f64>() / (count - 1.0) / count,
        freedom: count - 1.0,
    })
}

/// For the degrees of freedom after Welch and Satterthwaite.
fn quantile(one: Error, other: Error) -> f64 {
    let part = |error: Error| error.squared.powi(2) / error.freedom;
    let parts = part(one) + part(other);
    let freedom = (one.squared + other.squared).powi(2) / parts;
    // Without any scatter there is nothing to widen.
    if !freedom.is_finite() {
        return NORMAL;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small number"
    )]
    let whole = freedom.floor().max(1.0) as usize;
    STUDENT.get(whole - 1).copied().unwrap_or(NORMAL)
}

/// One scenario in two runs: each arm under each load that both have.
#[derive(Debug)]
pub struct Comparison {
    caption: String,
    rows: Vec<Row>,
}

/// How many times as much an arm takes in the second run, of each quantity.
#[derive(Debug)]
struct Row {
    load: String,
    arm: String,
    ratios: [Option<Ratio>; QUANTITIES.len()],
}

impl Comparison {
    /// Compares the second run to the first.
    #[must_use]
    pub fn of([first, second]: &[Results; 2]) -> Self {
        let loads = distinct(first.cells.iter().map(|cell| cell.load.clone()));
        let arms = || first.scenario.arms.iter().map(|arm| arm.name.as_str());
        let pairs = loads
            .iter()
            .flat_map(|load| arms().map(move |arm| (load, arm)));
        Self {
            caption: format!(
                "{}: commit {} ÷ commit {}, with 95 % confidence; bold where chance does not explain it",
                first.scenario.name, second.machine.commit, first.machine.commit
            ),
            rows: pairs
                .filter_map(|(load, arm)| Row::of([first, second], load, arm))
                .collect(),
        }
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> Table {
        Table {
            caption: self.caption.clone(),
            head: (["load", "who"].into_iter().chain(QUANTITIES))
                .map(str::to_owned)
                .collect(),
            rows: self.rows.iter().map(Row::texts).collect(),
        }
    }
}

/// How many figures of these differ by more than chance explains, and how many would by chance.
#[must_use]
pub fn summary(comparisons: &[Comparison]) -> String {
    let rows = || comparisons.iter().flat_map(|comparison| &comparison.rows);
    let columns = QUANTITIES
        .into_iter()
        .enumerate()
        .map(|(column, quantity)| {
            let ratios = || rows().filter_map(move |row| row.ratios[column]);
            let differing = ratios().filter(Ratio::is_different).count();
            format!("{quantity} {differing} of {}", ratios().count())
        });
    let columns: Vec<_> = columns.collect();
    format!(
        "Figures that differ by more than chance explains with 95 % confidence: {}. By chance alone one in \
         twenty does.\n",
        columns.join(", ")
    )
}

impl Row {
    /// None if one of the runs does not have it.
    fn of(both: [&Results; 2], load: &Load, arm: &str) -> Option<Self> {
        let [first, second] = both.map(|results| results.of(arm, load));
        if first.is_empty() || second.is_empty() {
            return None;
        }
        let ratio = |of: fn(&Measured) -> f64| {
            let values =
                |rounds: &[&Measured]| rounds.iter().map(|round| of(round)).collect::<Vec<_>>();
            Ratio::of(&values(&first), &values(&second))
        };
        Some(Self {
            load: load.to_string(),
            arm: arm.to_owned(),
            ratios: [
                ratio(Measured::cpu),
                ratio(memory),
                ratio(|round| round.figures.age_p99_ms),
            ],
        })
    }

    fn texts(&self) -> Vec<Text> {
        let ratios = self.ratios.iter().map(|ratio| Text {
            text: ratio.map_or(NONE.to_owned(), |ratio| ratio.to_string()),
            is_bold: ratio.is_some_and(|ratio| ratio.is_different()),
        });
        let names = [&self.load, &self.arm].map(|name| name.clone().into());
        names.into_iter().chain(ratios).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
fn memory(measured: &Measured) -> f64 {
    measured.memory_bytes() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_has_the_interval_of_welch() {
        // ln: first 0, 0.1, 0.2; second 1.0, 1.1, 1.2: a difference of 1, each mean with an error of
        // 0.1 / sqrt(3), 4 degrees of freedom.
        let exp = |values: [f64; 3]| values.map(f64::exp);
        let ratio = Ratio::of(&exp([0.0, 0.1, 0.2]), &exp([1.0, 1.1, 1.2])).unwrap();
        let reach = 2.776 * (2.0 * 0.01 / 3.0_f64).sqrt();
        let (low, high) = ratio.bounds.unwrap();
        assert!((ratio.ratio.ln() - 1.0).abs() < 1e-9, "{ratio}");
        assert!((low.ln() - (1.0 - reach)).abs() < 1e-9, "{ratio}");
        assert!((high.ln() - (1.0 + reach)).abs() < 1e-9, "{ratio}");
        assert!(ratio.is_different());
    }

    #[test]
    fn chance_is_no_difference_and_one_round_no_certainty() {
        let ratio = Ratio::of(&[10.0, 12.0, 11.0], &[11.0, 10.5, 12.5]).unwrap();
        assert!(!ratio.is_different(), "{ratio}");
        let ratio = Ratio::of(&[10.0], &[20.0, 20.0]).unwrap();
        assert_eq!((ratio.to_string().as_str(), ratio.bounds), ("2.00", None));
        assert_eq!(Ratio::of(&[], &[1.0]), None);
        assert_eq!(Ratio::of(&[0.0], &[1.0]), None);
        // Without any scatter the interval is a point.
        let ratio = Ratio::of(&[2.0, 2.0], &[4.0, 4.0]).unwrap();
        assert_eq!(ratio.to_string(), "2.00 (2.00 to 2.00)");
    }
}
