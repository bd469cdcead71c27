//! Where each setting comes from, so that complaints and `--print-config` can tell.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file.
    File(Place),
    /// In the environment, by the variable of this name.
    Variable(String),
    /// On the command line, by this flag.
    Flag(String),
}

/// A place in a file; lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub path: Arc<Path>,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One setting: what was said, before it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value as it would be typed; several where a flag can be repeated.
    pub words: Vec<String>,
    /// Where it was said.
    pub origin: Origin,
}

/// Settings by the ids of their keys.
pub type Settings = BTreeMap<String, Setting>;

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => write!(f, "{}:{}", place.path.display(), place.line),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column } = self;
        write!(f, "{}:{line}:{column}", path.display())
    }
}

impl Place {
    /// The place of a byte of `text`, which is what the file holds.
    #[must_use]
    pub fn in_text(path: &Arc<Path>, text: &str, byte: usize) -> Self {
        let mut end = byte.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            path: path.clone(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let path = Path::new("a.toml").into();
        let text = "ä = 1\nb = 2\n";
        for (byte, place) in [
            (0, "a.toml:1:1"),
            (2, "a.toml:1:2"),
            (1, "a.toml:1:1"),
            (7, "a.toml:2:1"),
            (11, "a.toml:2:5"),
            (99, "a.toml:3:1"),
        ] {
            assert_eq!(Place::in_text(&path, text, byte).to_string(), place);
        }
    }
}
