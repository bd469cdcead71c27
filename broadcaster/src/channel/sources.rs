//! The sources of a channel: which there are, which is wanted, what is in the way of its pictures.
//!
//! How the source is, in a word, and how often it went and came back is counted in
//! [`Counters`](super::Counters).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use common::secrets;

/// A channel's sources. The capture thread tells what becomes of the one that is shown, and anybody reads
/// it. Changes only when a source comes or goes, never for a frame.
#[derive(Debug, Default)]
pub struct Sources {
    /// Those that the channel can be switched among.
    names: Vec<String>,
    /// The place of the one that is wanted.
    wanted: AtomicUsize,
    told: Mutex<Told>,
}

/// What is known of the source that is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What was opened last, for people; empty before anything was.
    pub description: String,
    /// Why there are no pictures, if there are none. Passwords are masked.
    pub trouble: Option<String>,
}

impl Sources {
    /// These, of which the first is wanted and nothing is known yet.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }

    /// What they are called.
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

    /// One was opened.
    pub fn opened(&self, description: &str) {
        self.lock().description = secrets::mask(description);
    }

    /// It is gone, or still away.
    pub fn lost(&self, reason: &str) {
        self.lock().trouble = Some(secrets::mask(reason));
    }

    /// Nothing is in the way of its pictures any more, or nobody wants them.
    pub fn untroubled(&self) {
        self.lock().trouble = None;
    }

    /// What is known now.
    #[must_use]
    pub fn told(&self) -> Told {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        (self.told.lock()).expect("no thread panics while holding this")
    }
}
