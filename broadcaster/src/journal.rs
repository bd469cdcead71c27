//! The last lines of the log, kept for whoever asks how the program fares.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// Lines kept.
pub const MAX_LINES: usize = 100;
/// Bytes of a line that are kept.
const MAX_LINE: usize = 1_000;

/// Where log lines are kept; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Journal {
    /// The lines kept, the newest last.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        (self.lines.lock()).expect("no thread panics while holding this")
    }
}

/// Each write is a whole event, as `tracing-subscriber` makes them.
impl io::Write for Journal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = self.lock();
        for line in text.lines() {
            if lines.len() >= MAX_LINES {
                lines.pop_front();
            }
            let end = line.floor_char_boundary(MAX_LINE);
            lines.push_back(line[..end].to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_newest_lines_are_kept_and_long_ones_cut() {
        let mut journal = Journal::default();
        for number in 0..=MAX_LINES {
            let line = format!("line {number}\n");
            journal.write_all(line.as_bytes()).unwrap();
        }
        let long = "ä".repeat(MAX_LINE);
        journal.clone().write_all(long.as_bytes()).unwrap();
        let lines = journal.lines();
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines[0], "line 2");
        assert_eq!(lines[MAX_LINES - 1], "ä".repeat(MAX_LINE / 2));
    }
}
