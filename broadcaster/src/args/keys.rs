//! What can be configured, read off the flags themselves: names, kinds, defaults; and what was said
//! about each on the command line and in the environment.

use std::any::TypeId;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStr, Resettable};
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches};

use super::{Args, CHANNEL};
use crate::config::origin::{Origin, Setting, Settings};

/// What the command line and the environment say.
#[derive(Debug, Clone)]
pub struct Typed {
    /// The configuration file to read.
    pub config: Option<PathBuf>,
    /// Whether only to print what is in force.
    pub print_config: bool,
    /// Whether only to print what cameras there are.
    pub list: bool,
    /// All that was said, also by flags that are no keys.
    pub settings: Settings,
}

impl Typed {
    /// What this process was started with. Ends the process after `--help` or a typing error.
    #[must_use]
    pub fn from_command_line() -> Self {
        Self::from_words(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// What these words say, the first being the program's name.
    ///
    /// # Errors
    /// A typing error, or what `--help` says.
    pub fn from_words<W>(words: impl IntoIterator<Item = W>) -> Result<Self, clap::Error>
    where
        W: Into<OsString> + Clone,
    {
        let command = Args::command();
        let matches = command.clone().try_get_matches_from(words)?;
        let args = Args::from_arg_matches(&matches)?;
        let said = |arg: &Arg| Some((arg.get_id().to_string(), said(arg, &matches)?));
        Ok(Self {
            config: args.config,
            print_config: args.print_config,
            list: args.list,
            settings: command.get_arguments().filter_map(said).collect(),
        })
    }
}

/// What was said about one argument, if anything.
fn said(arg: &Arg, matches: &ArgMatches) -> Option<Setting> {
    let id = arg.get_id().as_str();
    let origin = match matches.value_source(id)? {
        ValueSource::CommandLine => Origin::Flag(flag_of(arg)),
        ValueSource::EnvVariable => Origin::Variable(arg.get_env()?.to_str()?.to_owned()),
        _ => return None,
    };
    let words = match arg.get_action() {
        ArgAction::SetTrue => vec![matches.get_flag(id).to_string()],
        _ => (matches.get_raw(id)?)
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
    };
    Some(Setting { words, origin })
}

fn flag_of(arg: &Arg) -> String {
    format!("--{}", arg.get_long().unwrap_or_default())
}

impl Args {
    /// The arguments for these settings, defaults filled in.
    ///
    /// # Errors
    /// What is wrong with one of them and what would be right, in one line.
    pub fn from_settings<'a>(
        settings: impl IntoIterator<Item = (&'a str, &'a Setting)>,
    ) -> Result<Self, String> {
        let command = Self::command().mut_args(|arg| arg.env(Resettable::<OsStr>::Reset));
        let mut words = vec!["broadcaster".to_owned()];
        for (id, setting) in settings {
            let arg = command.get_arguments().find(|arg| arg.get_id() == id);
            words.extend(arg.into_iter().flat_map(|arg| words_for(arg, setting)));
        }
        let matches = command.try_get_matches_from(words);
        let args = matches.and_then(|matches| Self::from_arg_matches(&matches));
        args.map_err(|error| in_one_line(&error))
    }
}

fn words_for(arg: &Arg, setting: &Setting) -> Vec<String> {
    let flag = flag_of(arg);
    match arg.get_action() {
        ArgAction::SetTrue => (setting.words.iter())
            .filter(|word| *word == "true")
            .map(|_| flag.clone())
            .collect(),
        _ => (setting.words.iter())
            .map(|word| format!("{flag}={word}"))
            .collect(),
    }
}

/// What would be right, as far as clap knows it.
fn in_one_line(error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue) {
        return format!("one of {}", valid.join(", "));
    }
    let cause =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    cause.lines().next().unwrap_or_default().to_owned()
}

/// Something that can be configured: by flag, by variable and in the file.
#[derive(Debug, Clone)]
pub struct Key {
    /// What it is called among the settings.
    pub id: String,
    /// What it is called in the file.
    pub name: String,
    /// What it is called on the command line.
    pub flag: String,
    /// What values it takes.
    pub kind: Kind,
    /// What it is about.
    pub scope: Scope,
    /// What holds if nothing is said, as it would be written.
    pub default: Option<String>,
    /// What holds if nothing is said and that cannot be written.
    pub otherwise: String,
}

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// Yes or no.
    Switch,
    /// Any number of texts.
    Texts,
}

/// What a key is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The whole program.
    Program,
    /// One channel.
    Channel,
}

/// All there is to configure, in the order of the flags; of a channel, its name first.
#[must_use]
pub fn keys() -> Vec<Key> {
    let mut keys: Vec<_> = Args::command()
        .get_arguments()
        .filter_map(Key::of)
        .collect();
    keys.sort_by_key(|key| key.name != "name");
    keys
}

impl Key {
    fn of(arg: &Arg) -> Option<Self> {
        let id = arg.get_id().to_string();
        if arg.get_env().is_none() || id == "config" {
            return None;
        }
        let kind = Kind::of(arg);
        let default = arg.get_default_values().first();
        let default = default.map(|text| text.to_string_lossy().into_owned());
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let otherwise = help
            .split_once("[default: ")
            .map(|(_, rest)| rest.trim_end_matches(']'));
        Some(Self {
            name: if id == "channel" { "name" } else { &id }.to_owned(),
            flag: flag_of(arg),
            scope: match arg.get_help_heading() {
                Some(CHANNEL) => Scope::Channel,
                _ => Scope::Program,
            },
            default: default.or_else(|| (kind == Kind::Switch).then(|| "false".to_owned())),
            otherwise: otherwise.unwrap_or("not set").to_owned(),
            id,
            kind,
        })
    }
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        let value = arg.get_value_parser().type_id();
        let is_whole = [
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
        ]
        .iter()
        .any(|whole| value == *whole);
        match arg.get_action() {
            ArgAction::SetTrue => Self::Switch,
            ArgAction::Append => Self::Texts,
            _ if is_whole => Self::Whole,
            _ if value == TypeId::of::<f64>() => Self::Number,
            _ => Self::Text,
        }
    }
}
