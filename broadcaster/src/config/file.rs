//! The configuration file is read: TOML in, settings with their places out.
//!
//! Keys above the first `[[channel]]` are about the whole program, those of a `[[channel]]` table
//! about that channel. Each value is checked here as far as one value alone can be; what cannot be
//! understood is told with its line and column. A source that is a file or a folder is relative to
//! the folder of the configuration file.

use std::fs;
use std::io::{self, Read as _};
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::origin::{Origin, Place, Setting, Settings};
use super::{SourceConfig, print};
use crate::args::keys::{self, Key, Kind, Scope};

/// Longest file that is read.
const MAX_BYTES: u64 = 1 << 20;
/// Most channels in one file.
const MAX_CHANNELS: usize = 64;
/// The name of the tables.
const CHANNEL: &str = "channel";

/// What a file says.
#[derive(Debug, Default)]
pub struct File {
    /// About the whole program.
    pub program: Settings,
    /// About each channel, in their order.
    pub channels: Vec<Settings>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("--config {}: {error}{}", path.display(), hint(error))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It says what cannot be understood.
    #[error("{place}: {problem}")]
    At {
        /// Where.
        place: Place,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; framecast.example.toml is one to copy",
        io::ErrorKind::IsADirectory => "; name the file in it",
        io::ErrorKind::InvalidData => "; a configuration is plain text",
        _ => "",
    }
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or for the first thing in it that is wrong.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = read(path).map_err(|error| Error::Io {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(path, &text)
    }

    /// Understands `text`, which stands in the file at `path`.
    ///
    /// # Errors
    /// For the first thing in it that is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let reader = Reader {
            path: path.into(),
            text,
            keys: keys::keys(),
        };
        let root = DeTable::parse(text).map_err(|error| {
            let byte = error.span().map_or(text.len(), |span| span.start);
            reader.wrong(byte, error.message().lines().collect::<Vec<_>>().join("; "))
        })?;
        let mut file = Self::default();
        for (key, value) in in_order(root.get_ref()) {
            if key.get_ref() == CHANNEL {
                file.channels = reader.channels(value)?;
            } else {
                let (id, setting) = reader.setting(key, value, Scope::Program)?;
                file.program.insert(id, setting);
            }
        }
        Ok(file)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if length as u64 > MAX_BYTES {
        return Err(io::Error::other(
            "above 1 MiB, no configuration is that long",
        ));
    }
    Ok(text)
}

type Entry<'a, 'i> = (
    &'a Spanned<std::borrow::Cow<'i, str>>,
    &'a Spanned<DeValue<'i>>,
);

/// The entries as they stand in the file, so that the first mistake is told first.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

struct Reader<'t> {
    path: Arc<Path>,
    text: &'t str,
    keys: Vec<Key>,
}

impl Reader<'_> {
    fn place(&self, byte: usize) -> Place {
        Place::in_text(&self.path, self.text, byte)
    }

    fn wrong(&self, byte: usize, problem: impl Into<String>) -> Error {
        Error::At {
            place: self.place(byte),
            problem: problem.into(),
        }
    }

    fn channels(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<Settings>, Error> {
        let right = "a channel begins with the line [[channel]], below it come name = \"NAME\" and \
                     its other keys";
        let DeValue::Array(tables) = value.get_ref() else {
            return Err(self.wrong(value.span().start, right));
        };
        if tables.len() > MAX_CHANNELS {
            let problem = format!("{} channels, at most {MAX_CHANNELS}", tables.len());
            return Err(self.wrong(value.span().start, problem));
        }
        let channel = |table: &Spanned<DeValue<'_>>| match table.get_ref() {
            DeValue::Table(entries) => in_order(entries)
                .into_iter()
                .map(|(key, value)| self.setting(key, value, Scope::Channel))
                .collect(),
            _ => Err(self.wrong(table.span().start, right)),
        };
        tables.iter().map(channel).collect()
    }

    /// One entry, understood: the id of its key, and what it says.
    fn setting(
        &self,
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        scope: Scope,
    ) -> Result<(String, Setting), Error> {
        let name = key.get_ref().as_ref();
        let known = self
            .keys
            .iter()
            .find(|key| key.name == name && key.scope == scope);
        let Some(known) = known else {
            return Err(self.wrong(key.span().start, self.stranger(name, scope)));
        };
        let at = value.span().start;
        let words = words(known, value.get_ref()).map_err(|problem| self.wrong(at, problem))?;
        let mut setting = Setting {
            words,
            origin: Origin::File(self.place(at)),
        };
        let check = crate::args::Args::from_settings([(&*known.id, &setting)]);
        check.map_err(|problem| {
            let said = setting.words.join(", ");
            let mut problem = format!("{name} = {said}: {problem}");
            if !problem.contains("one of") && !problem.contains("right would be") {
                problem += &format!("; right would be {}", right(known));
            }
            self.wrong(at, problem)
        })?;
        if known.id == "source" {
            (setting.words.iter_mut()).for_each(|source| self.anchor(source));
        }
        Ok((known.id.clone(), setting))
    }

    /// Makes a source that is a file or a folder one that is found from everywhere.
    fn anchor(&self, source: &mut String) {
        let parsed = SourceConfig::parse(source);
        if matches!(
            parsed,
            Ok(SourceConfig::File(_)) | Err(super::Error::NoSuchSource(_))
        ) {
            let folder = self.path.parent().unwrap_or(Path::new(""));
            let joined = folder.join(&source);
            let found = path::absolute(&joined).unwrap_or(joined);
            *source = found.to_string_lossy().into_owned();
        }
    }

    /// What is to be said about a key that does not belong here.
    fn stranger(&self, name: &str, scope: Scope) -> String {
        let same = |key: &&Key| key.name == name;
        match (self.keys.iter().find(same), scope) {
            (Some(_), Scope::Channel) => {
                return format!(
                    "{name} is about the whole program: put it above the first [[channel]]"
                );
            }
            (Some(_), Scope::Program) => {
                return format!("{name} is about a channel: put it below a [[channel]] line");
            }
            (None, _) => {}
        }
        let here = self.keys.iter().filter(|key| key.scope == scope);
        let here: Vec<_> = here.map(|key| &*key.name).collect();
        let nearest = here
            .iter()
            .map(|known| (distance(name, known), known))
            .min();
        let hint = match nearest {
            Some((edits, known)) if edits <= 1 + name.len() / 4 => {
                format!("did you mean {known}? ")
            }
            _ => String::new(),
        };
        format!("unknown key {name}; {hint}known here: {}", here.join(", "))
    }
}

/// The value as it would be typed behind the flag.
fn words(key: &Key, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let word = match (key.kind, value) {
        (Kind::Text | Kind::Texts, DeValue::String(text)) => text.to_string(),
        (Kind::Switch, DeValue::Boolean(is_on)) => is_on.to_string(),
        (Kind::Whole | Kind::Number, DeValue::Integer(number)) => {
            i128::from_str_radix(number.as_str(), number.radix())
                .map_err(|error| format!("{} = {number}: {error}", key.name))?
                .to_string()
        }
        (Kind::Number, DeValue::Float(number)) => number.as_str().to_owned(),
        (Kind::Texts, DeValue::Array(texts)) => {
            let text = |text: &Spanned<DeValue<'_>>| match text.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            };
            let texts: Option<_> = texts.iter().map(text).collect();
            return texts.ok_or_else(|| wrong_type(key, value));
        }
        _ => return Err(wrong_type(key, value)),
    };
    Ok(vec![word])
}

fn wrong_type(key: &Key, value: &DeValue<'_>) -> String {
    let given = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!(
        "{} is {given} here; right would be {}",
        key.name,
        right(key)
    )
}

fn right(key: &Key) -> String {
    let kind = match key.kind {
        Kind::Text => "a text in quotes",
        Kind::Texts => "a list of texts",
        Kind::Whole => "a whole number without quotes",
        Kind::Number => "a number without quotes",
        Kind::Switch => "true or false without quotes",
    };
    let example = key.default.as_ref().map_or_else(String::new, |word| {
        let literal = print::literal(key.kind, std::slice::from_ref(word));
        format!(", such as {} = {literal}", key.name)
    });
    format!("{kind}{example}")
}

/// How many letters have to be added, taken away or changed to make one word the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<_> = other.chars().collect();
    let mut row: Vec<_> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (column, goal) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *goal);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, Error> {
        File::parse(Path::new("lab/f.toml"), text)
    }

    #[test]
    fn settings_keep_their_words_and_places() {
        let file = parse(
            "http = \"127.0.0.1:0\"\nopen = true\nworkers = 0x02\n[[channel]]\n[[channel]]\n\
             name = 'lab'\n  fps = 12.5\nframes_per_payload = 1_0\n",
        )
        .unwrap();
        let said = |settings: &Settings, id: &str| {
            let setting = &settings[id];
            let Origin::File(place) = &setting.origin else {
                panic!("not from the file");
            };
            format!("{place} {}", setting.words.join(","))
        };
        assert_eq!(said(&file.program, "http"), "lab/f.toml:1:8 127.0.0.1:0");
        assert_eq!(said(&file.program, "open"), "lab/f.toml:2:8 true");
        assert_eq!(said(&file.program, "workers"), "lab/f.toml:3:11 2");
        let [first, second] = &*file.channels else {
            panic!("not two channels");
        };
        assert!(first.is_empty());
        assert_eq!(said(second, "channel"), "lab/f.toml:6:8 lab");
        assert_eq!(said(second, "fps"), "lab/f.toml:7:9 12.5");
        assert_eq!(said(second, "frames_per_payload"), "lab/f.toml:8:22 10");
    }

    #[track_caller]
    fn assert_complains(text: &str, complaint: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with("lab/f.toml:"), "{text}: {error}");
        assert!(error.contains(complaint), "{text}: {error}");
        assert_eq!(error.lines().count(), 1, "{text}: {error}");
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_what_would_be_right() {
        for (text, complaint) in [
            (
                "htpp = 1",
                "1:1: unknown key htpp; did you mean http? known here: model, amqp, driver",
            ),
            (
                "\nmax-age = \"1s\"",
                "2:1: unknown key max-age; did you mean max_age?",
            ),
            ("colour = 1", "1:1: unknown key colour; known here: "),
            (
                "unsent_limit = \"1kB\"",
                "1:1: unknown key unsent_limit; known here: ",
            ),
            (
                "http = 8080",
                "1:8: http is a whole number here; right would be a text in quotes, such as http = \"127.0.0.1:8080\"",
            ),
            (
                "workers = \"2\"",
                "1:11: workers is a text here; right would be a whole number without quotes",
            ),
            (
                "workers = -1",
                "1:11: workers = -1: invalid digit found in string; right would be a whole number",
            ),
            (
                "open = 1",
                "1:8: open is a whole number here; right would be true or false without quotes, such as open = false",
            ),
            ("open = [true]", "open is a list here"),
            (
                "driver = \"fork\"",
                "1:10: driver = fork: one of multiplex, threads",
            ),
            ("max_age = \"soon\"", "1:11: max_age = soon: "),
            ("max_age = \"soon\"", "right would be 250ms or 2s"),
            (
                "http = \"localhost\"",
                "1:8: http = localhost: invalid socket address syntax; right would be a text in quotes, such as",
            ),
        ] {
            assert_complains(text, complaint);
        }
    }

    #[test]
    fn mistakes_around_channels_are_told_with_their_place() {
        for (text, complaint) in [
            (
                "source = \"auto\"",
                "1:1: source is about a channel: put it below a [[channel]] line",
            ),
            (
                "[[channel]]\nhttp = \"\"",
                "2:1: http is about the whole program: put it above the first [[channel]]",
            ),
            (
                "[[channel]]\nnmae = \"a\"",
                "2:1: unknown key nmae; did you mean name? known here: name, source",
            ),
            (
                "[[channel]]\nfps = \"30\"",
                "2:7: fps is a text here; right would be a number without quotes, such as fps = 30",
            ),
            ("[[channel]]\nquality = 256", "2:11: quality = 256: "),
            (
                "[channel]\nname = \"a\"",
                "1:1: a channel begins with the line [[channel]]",
            ),
            (
                "channel = \"a\"",
                "1:11: a channel begins with the line [[channel]]",
            ),
            (
                "channel = [1]",
                "1:12: a channel begins with the line [[channel]]",
            ),
            ("http = ", "1:8: "),
            ("open = true\nopen = true", "2:1: duplicate key"),
            ("[[channel]\n", "1:1"),
        ] {
            assert_complains(text, complaint);
        }
        let many = parse(&"[[channel]]\n".repeat(65)).unwrap_err();
        assert!(many.to_string().contains("65 channels, at most 64"));
    }

    #[test]
    fn a_file_or_folder_is_looked_for_beside_the_configuration() {
        let source = |text: &str| {
            let text = format!("[[channel]]\nsource = \"{text}\"");
            parse(&text).unwrap().channels[0]["source"].words[0].clone()
        };
        let here = std::env::current_dir().unwrap();
        let clip = here.join("lab/clip.mjpeg");
        assert_eq!(source("clip.mjpeg"), clip.to_str().unwrap());
        // There is a folder of this name where the tests run, and none beside the file.
        assert_eq!(source("src"), here.join("lab/src").to_str().unwrap());
        assert_eq!(source("/nowhere/clip.mjpeg"), "/nowhere/clip.mjpeg");
        assert_eq!(source("pattern?bytes=9000"), "pattern?bytes=9000");
        assert_eq!(source("auto"), "auto");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let error = File::read(Path::new("/nowhere/f.toml")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("--config /nowhere/f.toml: No such file"),
            "{text}"
        );
        let endless = File::read(Path::new("/dev/zero")).unwrap_err();
        assert!(endless.to_string().contains("above 1 MiB"));
    }

    #[test]
    fn distances_count_edits() {
        for (one, other, edits) in [
            ("", "abc", 3),
            ("htpp", "http", 1),
            ("fps", "fps", 0),
            ("sise", "size", 1),
        ] {
            assert_eq!(distance(one, other), edits);
        }
    }
}
