//! Values of several rounds as median, least and most.

/// Values without repetition, in the order of their first appearance.
pub(crate) fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Median, least and most of some values.
pub(crate) struct Spread {
    sorted: Vec<f64>,
    digits: usize,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>, digits: usize) -> Self {
        let mut sorted: Vec<_> = values.collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted, digits }
    }

    /// The median itself, if there are values.
    pub(crate) fn middle(&self) -> Option<f64> {
        self.sorted.get(self.sorted.len() / 2).copied()
    }

    /// Least and most, if there are values.
    pub(crate) fn ends(&self) -> Option<(f64, f64)> {
        self.sorted
            .first()
            .copied()
            .zip(self.sorted.last().copied())
    }

    pub(crate) fn median(&self) -> String {
        match self.middle() {
            Some(median) => format!("{median:.*}", self.digits),
            None => "–".to_owned(),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.median())?;
        match (self.sorted.first(), self.sorted.last()) {
            (Some(least), Some(most)) if self.sorted.len() > 1 => {
                write!(f, " ({least:.0$} to {most:.0$})", self.digits)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_shows_its_median_and_its_ends() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied(), 1).to_string();
        assert_eq!(spread(&[3.0, 1.0, 2.0]), "2.0 (1.0 to 3.0)");
        assert_eq!(spread(&[3.0]), "3.0");
        assert_eq!(spread(&[]), "–");
    }
}
