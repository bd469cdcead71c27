//! Several receivers at once: a line for each with rate, age, skips and the last minute of its rate,
//! and their sum below.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::blocks::{split, status_line};
use crate::figures::{Each, Figures};

/// Seconds that are remembered.
const HISTORY: usize = 60;
/// Not the full block: lines of it would run into each other.
const LEVELS: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];
const HEADINGS: &str = "   #      fps   age ms   skipped   rate";
const KEYS: &str = "↑ ↓ scroll  q quit";
/// A rate below this share of the fastest receiver's is marked.
const SLOW: f64 = 0.9;

/// The figures of several receivers.
#[derive(Debug, Default)]
pub(super) struct Dashboard {
    figures: Option<Figures>,
    /// Rates of each receiver, the newest last.
    rates: Vec<VecDeque<f64>>,
    skipped: u64,
    late: u64,
    /// The first receiver that is shown.
    top: usize,
}

impl Dashboard {
    pub(super) fn note_figures(&mut self, figures: &Figures) {
        self.rates.resize_with(figures.each.len(), VecDeque::new);
        for (rates, each) in self.rates.iter_mut().zip(&figures.each) {
            if rates.len() == HISTORY {
                rates.pop_front();
            }
            rates.push_back(each.fps);
        }
        self.skipped += figures.skipped;
        self.late += figures.sync.map_or(0, |sync| sync.late);
        self.figures = Some(figures.clone());
    }

    /// Moves down, or up.
    pub(super) fn scroll(&mut self, by: isize) {
        self.top = self.top.saturating_add_signed(by);
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [area, status] = split(frame.area());
        let buffer = frame.buffer_mut();
        let Some(figures) = &self.figures else {
            buffer.set_stringn(
                area.x,
                area.y,
                " connecting",
                area.width.into(),
                Style::new(),
            );
            return;
        };
        let (bold, width) = (
            Style::new().add_modifier(Modifier::BOLD),
            usize::from(area.width),
        );
        let mut line = |row: u16, text: &str, style: Style| {
            if row < area.height {
                buffer.set_stringn(area.x, area.y + row, text, width, style);
            }
        };
        let (connected, receivers, url) = (figures.connected, figures.receivers, &figures.url);
        line(
            0,
            &format!(" {url}: {connected} of {receivers} connected"),
            bold,
        );
        for (row, text) in (1_u16..).zip(self.sums(figures)) {
            line(row, &text, Style::new());
        }
        line(4, HEADINGS, bold.fg(Color::Cyan));
        let rows = usize::from(area.height.saturating_sub(5));
        self.top = self.top.min(figures.each.len().saturating_sub(rows));
        let fastest = figures.each.iter().map(|each| each.fps).fold(0.0, f64::max);
        let highest = self.rates.iter().flatten().copied().fold(0.0, f64::max);
        let shown = figures.each.iter().zip(&self.rates).enumerate();
        for (row, (index, (each, rates))) in (5_u16..).zip(shown.skip(self.top).take(rows)) {
            let room = width.saturating_sub(HEADINGS.len() - "rate".len() + 1);
            let text = format!(
                "{}   {}",
                numbers(index, each),
                sparkline(rates, highest, room)
            );
            line(row, &text, Style::new().fg(colour(each, fastest)));
        }
        let last = (self.top + rows).min(figures.each.len());
        let place = format!("receivers {} to {last} of {receivers}", self.top + 1);
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        let text = status_line(&place, KEYS, width);
        let Rect { x, y, .. } = status;
        buffer.set_stringn(x, y, text, width, reversed);
    }

    /// What all receivers come to.
    fn sums(&self, figures: &Figures) -> [String; 3] {
        let (min, median) = (figures.rates.min, figures.rates.median);
        let (megabits, cpu) = (figures.bitrate_bps / 1e6, figures.cpu);
        let age = figures.age_ms.map_or_else(String::new, |age| {
            format!("   age {:.1}/{:.1} ms p50/p99", age.p50, age.p99)
        });
        let synchrony = figures.synchrony_ms.map_or_else(
            || " synchrony not known".to_owned(),
            |apart| format!(" synchrony {apart:.1} ms p99"),
        );
        let sync = figures.sync.map_or_else(String::new, |sync| {
            let spread = sync
                .sync_spread_ms
                .map_or_else(String::new, |spread| format!(" spread {spread:.1} ms p99"));
            format!("   sync {:.0} ms{spread} late {}", sync.sync_ms, self.late)
        });
        let trouble = figures.trouble.as_deref();
        [
            format!(
                " {min:.1}/{median:.1} fps min/median{age}   {megabits:.1} Mbit/s   cpu {cpu:.0} %"
            ),
            format!("{synchrony}   skipped {}{sync}", self.skipped),
            trouble.map_or_else(String::new, |reason| format!(" not connected: {reason}")),
        ]
    }
}

fn numbers(index: usize, each: &Each) -> String {
    let fps = if each.is_connected {
        format!("{:.1}", each.fps)
    } else {
        "-".to_owned()
    };
    let age = each
        .age_ms
        .map_or_else(|| "-".to_owned(), |age| format!("{age:.1}"));
    format!("{index:>4}{fps:>9}{age:>9}{:>10}", each.skipped)
}

fn colour(each: &Each, fastest: f64) -> Color {
    if !each.is_connected {
        Color::Red
    } else if each.fps < SLOW * fastest {
        Color::Yellow
    } else {
        Color::Reset
    }
}

/// The newest rates as bars, each a character, as many as there is room for.
fn sparkline(rates: &VecDeque<f64>, highest: f64, room: usize) -> String {
    let hidden = rates.len().saturating_sub(room);
    let bar = |&rate: &f64| {
        let steps = rate / highest.max(f64::MIN_POSITIVE) * (LEVELS.len() - 1) as f64;
        let level = (0..LEVELS.len()).rfind(|&level| level as f64 <= steps + 0.5);
        LEVELS[level.unwrap_or(0)]
    };
    rates.iter().skip(hidden).map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_the_rate_and_the_newest_stay() {
        let rates = VecDeque::from([0.0, 15.0, 30.0]);
        assert_eq!(sparkline(&rates, 30.0, 10), "▁▄▇");
        assert_eq!(sparkline(&rates, 30.0, 2), "▄▇");
        assert_eq!(sparkline(&rates, 30.0, 0), "");
        assert_eq!(sparkline(&VecDeque::from([0.0]), 0.0, 5), "▁");
    }

    #[test]
    fn columns_stand_below_their_headings() {
        let each = Each {
            is_connected: true,
            fps: 29.97,
            age_ms: Some(1.26),
            skipped: 3,
        };
        let text = numbers(7, &each);
        assert_eq!(text, "   7     30.0      1.3         3");
        for heading in ["#", "fps", "age ms", "skipped"] {
            let end = HEADINGS.find(heading).unwrap() + heading.len();
            assert_ne!(text.as_bytes()[end - 1], b' ', "{heading}");
        }
        let gone = Each {
            is_connected: false,
            age_ms: None,
            ..each
        };
        assert_eq!(numbers(7, &gone), "   7        -        -         3");
        assert_eq!(colour(&gone, 30.0), Color::Red);
        assert_eq!(colour(&each, 40.0), Color::Yellow);
        assert_eq!(colour(&each, 30.0), Color::Reset);
    }
}
