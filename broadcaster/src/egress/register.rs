//! Who watches now: an entry for each viewer, from when it is taken in until it is gone.
//!
//! The list is locked when somebody comes or goes or asks who is there, never for a frame. What an entry
//! says is read from the viewer's own [`Figures`] and from the kernel when somebody asks.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use common::{Clock, Monotonic, SystemClock};

use super::Protocol;
use super::kernel::{self, Line};
use super::viewer::Viewer;
use super::viewer::figures::{Figures, Reading};

/// All viewers there are.
#[derive(Debug, Default)]
pub struct Register {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    last_id: u64,
    entries: BTreeMap<u64, Arc<Entry>>,
}

/// One viewer, seen from outside.
#[derive(Debug)]
pub struct Entry {
    /// Its number: they count up from 1 and are never given twice.
    pub id: u64,
    /// The other end.
    pub peer: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// When it was taken in.
    pub since: Monotonic,
    figures: Arc<Figures>,
    /// Whoever serves it decides when the connection is closed.
    stream: Weak<TcpStream>,
}

impl Entry {
    /// What its figures say now.
    #[must_use]
    pub fn read(&self, now: Monotonic) -> Reading {
        self.figures.read(now)
    }

    /// Whether it watches the channel at this place.
    #[must_use]
    pub fn watches(&self, place: usize) -> bool {
        self.figures.watches(place)
    }

    /// What the kernel says of its connection; `None` if it is gone or the kernel does not tell.
    #[must_use]
    pub fn line(&self) -> Option<Line> {
        kernel::line(&*self.stream.upgrade()?)
    }

    /// Has it sent away: at the next boundary of its messages, and cut off within about two seconds if it
    /// takes nothing.
    pub fn dismiss(&self) {
        self.figures.dismiss();
    }
}

impl Register {
    /// Enters a viewer and its connection.
    pub fn enter(
        self: &Arc<Self>,
        peer: SocketAddr,
        viewer: &Viewer,
        stream: &Arc<TcpStream>,
    ) -> Registration {
        let mut list = self.list();
        list.last_id += 1;
        let id = list.last_id;
        let entry = Entry {
            id,
            peer,
            protocol: viewer.protocol(),
            since: SystemClock.monotonic(),
            figures: viewer.figures().clone(),
            stream: Arc::downgrade(stream),
        };
        list.entries.insert(id, Arc::new(entry));
        let register = self.clone();
        Registration { register, id }
    }

    /// The viewer with this number, if it is there.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<Arc<Entry>> {
        self.list().entries.get(&id).cloned()
    }

    /// Those with higher numbers than this, lowest first.
    #[must_use]
    pub fn after(&self, id: u64) -> Vec<Arc<Entry>> {
        let range = (Bound::Excluded(id), Bound::Unbounded);
        let list = self.list();
        let entries = list.entries.range(range);
        entries.map(|(_, entry)| entry.clone()).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list().entries.len()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        (self.list.lock()).expect("no thread panics while holding this")
    }
}

/// Keeps a viewer in the register for as long as it lives.
#[derive(Debug)]
pub struct Registration {
    register: Arc<Register>,
    /// The viewer's number.
    pub id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.register.list().entries.remove(&self.id);
    }
}
