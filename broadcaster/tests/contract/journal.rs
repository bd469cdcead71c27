//! What the drivers say about their viewers: the log, kept for tests to look up.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, Once, PoisonError};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static BEGIN: Once = Once::new();

struct Page;

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what is logged from now on.
pub(crate) fn begin() {
    BEGIN.call_once(|| {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(|| Page)
            .init();
    });
}

/// The one line about the end of this viewer, if it has come.
pub(crate) fn farewell(peer: SocketAddr) -> Option<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = String::from_utf8_lossy(&lines);
    let whose = format!("peer={peer} ");
    (lines.lines())
        .find(|line| line.contains("viewer gone") && line.contains(&whose))
        .map(ToOwned::to_owned)
}
