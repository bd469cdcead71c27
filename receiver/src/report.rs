//! The one place that prints: a line each second and a summary, for people or for programs.

mod text;

use std::io::{self, Write};

use crate::config::Format;
use crate::figures::Figures;
use crate::probe::Verdict;

/// Prints figures.
#[derive(Debug)]
pub struct Report<W> {
    out: W,
    format: Format,
}

impl<W: Write> Report<W> {
    /// A report to `out`, which is flushed after every line.
    pub const fn new(out: W, format: Format) -> Self {
        Self { out, format }
    }

    /// Prints the figures of a second, on one line.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn second(&mut self, figures: &Figures) -> io::Result<()> {
        match self.format {
            Format::Text => self.print(&text::second(figures)),
            Format::Json => self.print_json(figures),
        }
    }

    /// Prints the figures of the whole run.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn summary(&mut self, figures: &Figures) -> io::Result<()> {
        match self.format {
            Format::Text => self.print(&text::summary(figures)),
            Format::Json => self.print_json(figures),
        }
    }

    fn print_json(&mut self, figures: &Figures) -> io::Result<()> {
        self.print(&serde_json::to_string(figures)?)
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }
}

/// Prints what a probe has found.
///
/// # Errors
/// If it cannot be written.
pub fn print_probe(verdict: &Verdict, format: Format) -> io::Result<()> {
    let mut report = Report::new(io::stdout(), format);
    match format {
        Format::Text => report.print(&verdict.to_string()),
        Format::Json => report.print(&serde_json::to_string(verdict)?),
    }
}

/// What is going on, on one line of stderr that is written over and over.
#[derive(Debug)]
pub struct Progress {
    is_wanted: bool,
}

impl Progress {
    /// Progress that is shown if somebody would see it.
    #[must_use]
    pub const fn new(is_wanted: bool) -> Self {
        Self { is_wanted }
    }

    /// Shows this instead of what was there.
    pub fn show(&self, text: &str) {
        if self.is_wanted {
            // Nobody misses it.
            let _ = write!(io::stderr(), "\r{text}\x1b[K");
        }
    }

    /// Leaves the line empty.
    pub fn clear(&self) {
        self.show("");
    }
}

/// Says why the program ends, as one line on stderr.
pub fn print_failure(reason: &dyn std::fmt::Display) {
    // Without a stderr nobody is there to be told.
    let _ = writeln!(io::stderr(), "receiver: {reason}");
}
