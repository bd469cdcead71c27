//! The configuration in force is written: settings in, TOML out that says where each comes from.
//!
//! What is printed can be read as a configuration file and then gives the same again. Passwords in
//! addresses are masked, so they have to be put back.

use std::fmt::Write as _;
use std::path;

use common::secrets::mask;

use super::origin::Setting;
use super::{Config, DriverConfig, SourceConfig};
use crate::args::keys::{self, Key, Kind, Scope};

/// Comments begin at this column.
const COMMENT_COLUMN: usize = 40;

/// All keys with what holds for them, as a configuration file.
#[must_use]
pub fn print(config: &Config) -> String {
    let keys = keys::keys();
    let of = |scope| keys.iter().filter(move |key| key.scope == scope);
    let mut text = "# What is in force, and from where.\n".to_owned();
    for key in of(Scope::Program) {
        text += &line(key, config, 0);
    }
    for channel in 0..config.channels.len() {
        text += "\n[[channel]]\n";
        for key in of(Scope::Channel) {
            text += &line(key, config, channel);
        }
    }
    text
}

fn line(key: &Key, config: &Config, channel: usize) -> String {
    let name = &key.name;
    let setting = config.settings[channel].get(&key.id);
    let origin = setting.map_or_else(
        || "default".to_owned(),
        |setting| setting.origin.to_string(),
    );
    let Some(words) = words(key, setting, config) else {
        return format!("# {name}: {}\n", key.otherwise);
    };
    // A default's password is no secret.
    let shown = |word: &String| match &key.default {
        Some(default) if default == word => word.clone(),
        _ => mask(word),
    };
    let masked: Vec<_> = words.iter().map(shown).collect();
    let note = if masked == words {
        ""
    } else {
        ", password masked"
    };
    // A list is for those who have several.
    let kind = match &*masked {
        [_] if key.id == "source" => Kind::Text,
        _ => key.kind,
    };
    let entry = format!("{name} = {}", literal(kind, &masked));
    format!("{entry:COMMENT_COLUMN$} # {origin}{note}\n")
}

/// What holds for a key, as it can be said anywhere; `None` if it has no value.
fn words(key: &Key, setting: Option<&Setting>, config: &Config) -> Option<Vec<String>> {
    let mut words = match (setting, &key.default, config.driver) {
        (Some(setting), ..) => setting.words.clone(),
        (None, Some(default), _) => vec![default.clone()],
        (None, None, DriverConfig::Multiplex { workers }) if key.id == "workers" => {
            vec![workers.to_string()]
        }
        (None, None, _) => return None,
    };
    for word in &mut words {
        if key.id == "source"
            && let Ok(SourceConfig::File(file)) = SourceConfig::parse(word)
            && let Ok(found) = path::absolute(file)
        {
            *word = found.to_string_lossy().into_owned();
        }
    }
    Some(words)
}

/// A value as it is written in a file.
#[must_use]
pub fn literal(kind: Kind, words: &[String]) -> String {
    let first = words.first().map_or("", |word| word);
    match kind {
        Kind::Text => quoted(first),
        Kind::Texts => {
            let texts: Vec<_> = words.iter().map(|word| quoted(word)).collect();
            format!("[{}]", texts.join(", "))
        }
        // Typed numbers may have a sign or zeros in front that TOML does not take.
        Kind::Whole => (first.parse::<u64>()).map_or_else(|_| quoted(first), |n| n.to_string()),
        Kind::Number => (first.parse::<f64>()).map_or_else(|_| quoted(first), |n| n.to_string()),
        Kind::Switch => first.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => {
                write!(quoted, "\\u{:04x}", u32::from(char)).expect("a String takes everything");
            }
            char => quoted.push(char),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::keys::Typed;
    use crate::config::file::File;
    use crate::config::origin::Origin;

    #[test]
    fn literals_are_read_back_as_they_were() {
        for text in ["", "plain", "a \"b\" \\ c", "two\nlines\u{1b}", "ümläut"] {
            let literal = format!("log = {}", literal(Kind::Text, &[text.to_owned()]));
            assert_eq!(
                File::parse("f.toml".as_ref(), &literal).unwrap().program["log"].words,
                [text]
            );
        }
        assert_eq!(literal(Kind::Whole, &["+007".to_owned()]), "7");
        assert_eq!(literal(Kind::Number, &[".5".to_owned()]), "0.5");
        let two = ["a".to_owned(), "b".to_owned()];
        assert_eq!(literal(Kind::Texts, &two), "[\"a\", \"b\"]");
    }

    #[test]
    fn a_masked_password_is_pointed_at() {
        let setting = Setting {
            words: vec!["http://me:secret@cam/".to_owned()],
            origin: Origin::Flag("--source".to_owned()),
        };
        let words = ["broadcaster", "--source", "pattern"];
        let mut config = Config::load(Typed::from_words(words).unwrap()).unwrap();
        config.settings[0].insert("source".to_owned(), setting);
        let printed = print(&config);
        let line = printed
            .lines()
            .find(|line| line.starts_with("source"))
            .unwrap();
        assert_eq!(
            line,
            "source = \"http://me:***@cam/\"            # --source, password masked"
        );
    }
}
