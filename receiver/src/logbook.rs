//! Where log lines go: to stderr, or, while a terminal shows pictures, into a book until it is given
//! back, for they would be written across the picture.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most lines that are held back; the oldest are lost.
const MAX_LINES: usize = 200;

/// The book of this program.
pub static LOGBOOK: Logbook = Logbook(Mutex::new(None));

/// Lines that are held back, if they are.
#[derive(Debug)]
pub struct Logbook(Mutex<Option<VecDeque<Vec<u8>>>>);

impl Logbook {
    /// Holds lines back from now on, if they would go to a terminal.
    pub fn hold(&self) {
        if io::stderr().is_terminal() {
            self.lock().get_or_insert_default();
        }
    }

    /// Writes what was held back, and no longer holds back.
    pub fn release(&self) {
        for line in self.lock().take().into_iter().flatten() {
            // Without a stderr nobody is there to be told.
            let _ = io::stderr().write_all(&line);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Vec<u8>>>> {
        // After a panic too, what was held back must come out.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes one line at a time, as a log does.
impl Write for &Logbook {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *self.lock() {
            None => io::stderr().write_all(line)?,
            Some(lines) => {
                if lines.len() == MAX_LINES {
                    lines.pop_front();
                }
                lines.push_back(line.to_owned());
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_bounded() {
        let book = Logbook(Mutex::new(Some(VecDeque::new())));
        for number in 0..MAX_LINES + 5 {
            (&book).write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        let held = book.lock().take().unwrap();
        assert_eq!((held.len(), &held[0][..]), (MAX_LINES, &b"5\n"[..]));
    }
}
