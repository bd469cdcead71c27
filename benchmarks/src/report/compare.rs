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

/// Each arm under each load that both have: how many times as much in the second.
#[must_use]
pub fn table([first, second]: &[Results; 2]) -> Table {
    let loads = distinct(first.cells.iter().map(|cell| cell.load.clone()));
    let arms = first.scenario.arms.iter().map(|arm| arm.name.as_str());
    let arms: Vec<_> = arms.collect();
    let pairs = loads
        .iter()
        .flat_map(|load| arms.iter().map(move |arm| (load, *arm)));
    Table {
        caption: format!(
            "{}: commit {} ÷ commit {}, with 95 % confidence; bold where chance does not explain it",
            first.scenario.name, second.machine.commit, first.machine.commit
        ),
        head: (["load", "who"].into_iter().chain(QUANTITIES))
            .map(str::to_owned)
            .collect(),
        rows: pairs
            .filter_map(|(load, arm)| row([first, second], load, arm))
            .collect(),
    }
}

/// How many figures of these tables differ by more than chance explains, and how many would by chance.
#[must_use]
pub fn summary(tables: &[Table]) -> String {
    let rows = || tables.iter().flat_map(|table| &table.rows);
    let columns = QUANTITIES.into_iter().zip(2..).map(|(quantity, column)| {
        let figures = || {
            rows()
                .map(move |row| &row[column])
                .filter(|text| text.text != NONE)
        };
        let differing = figures().filter(|text| text.is_bold).count();
        format!("{quantity} {differing} of {}", figures().count())
    });
    let columns: Vec<_> = columns.collect();
    format!(
        "Figures that differ by more than chance explains with 95 % confidence: {}. By chance alone one in \
         twenty does.\n",
        columns.join(", ")
    )
}

fn row(both: [&Results; 2], load: &Load, arm: &str) -> Option<Vec<Text>> {
    let [first, second] = both.map(|results| results.of(arm, load));
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let ratio = |of: fn(&Measured) -> f64| {
        let values =
            |rounds: &[&Measured]| rounds.iter().map(|round| of(round)).collect::<Vec<_>>();
        let ratio = Ratio::of(&values(&first), &values(&second));
        Text {
            text: ratio.map_or(NONE.to_owned(), |ratio| ratio.to_string()),
            is_bold: ratio.is_some_and(|ratio| ratio.is_different()),
        }
    };
    Some(vec![
        load.to_string().into(),
        arm.to_owned().into(),
        ratio(Measured::cpu),
        ratio(memory),
        ratio(|round| round.figures.age_p99_ms),
    ])
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
