//! Loads that are plotted beside each other: those that differ in one thing only.

use crate::result::Results;
use crate::scenario::Load;
use crate::spread::distinct;

/// What differs between loads that are plotted beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Varied {
    Viewers,
    Stopped,
    Bytes,
}

impl Varied {
    pub(crate) fn of(results: &Results) -> Self {
        let count = |of: fn(&Load) -> usize| {
            distinct(results.cells.iter().map(|cell| of(&cell.load))).len()
        };
        if count(|load| load.stopped) > 1 {
            Self::Stopped
        } else if count(|load| load.viewers) == 1 && count(|load| load.bytes) > 1 {
            Self::Bytes
        } else {
            Self::Viewers
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Viewers => "viewers",
            Self::Stopped => "stopped viewers beside them",
            Self::Bytes => "bytes of a frame",
        }
    }

    pub(super) const fn value(self, load: &Load) -> usize {
        match self {
            Self::Viewers => load.viewers,
            Self::Stopped => load.stopped,
            Self::Bytes => load.bytes,
        }
    }

    pub(super) fn title(self, load: &Load) -> String {
        match (self, self.value(load)) {
            (Self::Viewers, 1) => "1 viewer".to_owned(),
            (Self::Viewers, count) => format!("{count} viewers"),
            (Self::Stopped, 0) => "none stopped".to_owned(),
            (Self::Stopped, count) => format!("{count} stopped"),
            (Self::Bytes, count) => format!("{count} bytes"),
        }
    }

    /// The load without what is varied.
    fn rest(self, load: &Load) -> Load {
        let mut rest = load.clone();
        match self {
            Self::Viewers => rest.viewers = 0,
            Self::Stopped => rest.stopped = 0,
            Self::Bytes => rest.bytes = 0,
        }
        rest
    }
}

/// Loads that differ in one thing only, in its order.
pub(super) struct Group {
    pub(super) varied: Varied,
    pub(super) name: String,
    pub(super) about: String,
    pub(super) loads: Vec<Load>,
}

pub(super) fn groups(results: &Results) -> Vec<Group> {
    let varied = Varied::of(results);
    let loads = distinct(results.cells.iter().map(|cell| cell.load.clone()));
    let group = |key: Load| {
        let is_alike = |load: &&Load| varied.rest(load) == key;
        let mut loads: Vec<_> = loads.iter().filter(is_alike).cloned().collect();
        loads.sort_by_key(|load| varied.value(load));
        let about = key.to_string();
        // What is varied is zero in the key, and nothing to be told.
        let about = about.trim_start_matches("0 × ").replace(" × 0 B", "");
        let name = about
            .replace('×', "x")
            .replace(|sign: char| !sign.is_ascii_alphanumeric(), "");
        Group {
            varied,
            name,
            about,
            loads,
        }
    };
    let keys = distinct(loads.iter().map(|load| varied.rest(load)));
    keys.into_iter().map(group).collect()
}
