//! What is known of a channel's source: what it is, and what is in its way.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use common::secrets;

/// A source's state, told by the capture thread and read by anybody. Changes only when a source comes or
/// goes, never for a frame.
#[derive(Debug, Default)]
pub struct SourceState {
    /// The sources that it can be switched among.
    names: Vec<String>,
    /// The place of the one that is wanted.
    wanted: AtomicUsize,
    told: Mutex<Told>,
    returns: AtomicU64,
}

/// What is known of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What was opened last, for people; empty before anything was.
    pub description: String,
    /// Why there are no pictures, if there are none. Passwords are masked.
    pub trouble: Option<String>,
}

impl SourceState {
    /// The state of the first of these sources, of which nothing is known yet.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }

    /// What the sources are called that it can be switched among.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What the source at this place is called.
    #[must_use]
    pub fn name(&self, place: usize) -> &str {
        self.names.get(place).map_or("", |name| name)
    }

    /// The place of the source that is wanted.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Has it switched to the source of this name; whether there is one.
    pub fn switch(&self, name: &str) -> bool {
        let place = self.names.iter().position(|known| known == name);
        if let Some(place) = place {
            self.wanted.store(place, Ordering::Relaxed);
        }
        place.is_some()
    }

    /// It was opened.
    pub fn opened(&self, description: &str) {
        self.lock().description = secrets::mask(description);
    }

    /// It is gone, or still away.
    pub fn lost(&self, reason: &str) {
        self.lock().trouble = Some(secrets::mask(reason));
    }

    /// Pictures flow again.
    pub fn returned(&self) {
        self.lock().trouble = None;
        self.returns.fetch_add(1, Ordering::Relaxed);
    }

    /// What is known now.
    #[must_use]
    pub fn told(&self) -> Told {
        self.lock().clone()
    }

    /// How often pictures flowed again after there were none.
    #[must_use]
    pub fn returns(&self) -> u64 {
        self.returns.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        (self.told.lock()).expect("no thread panics while holding this")
    }
}
