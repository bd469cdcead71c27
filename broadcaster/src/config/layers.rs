//! Who goes before whom: flags before variables, both before the file, the file before defaults; and
//! which channel the flags of a channel are about.

use super::file::File;
use super::origin::{Origin, Settings};
use crate::args::keys::{self, Scope};

/// Why flags and file do not go together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag of a channel, and nobody knows of which.
    #[error("{said} is about one channel, and there are {names}: say which with --channel NAME")]
    WhichChannel {
        /// The flag or the variable.
        said: Origin,
        /// The channels there are.
        names: String,
    },
    /// Flags about a channel that the file does not list.
    #[error("{said} {name}: the file has no such channel; there are {names}")]
    NoSuchChannel {
        /// The flag or the variable.
        said: Origin,
        /// The channel that is named.
        name: String,
        /// The channels there are.
        names: String,
    },
    /// Two channels that nobody could tell apart.
    #[error("{place}two channels are called {name}; each needs a name of its own")]
    SameName {
        /// Where the second one is named, if it is.
        place: String,
        /// The name.
        name: String,
    },
}

/// For each channel all settings that hold for it, those about the whole program included. There is
/// at least one.
///
/// # Errors
/// If it is not clear what flags are about, or channels cannot be told apart.
pub fn join(typed: Settings, file: File) -> Result<Vec<Settings>, Error> {
    let keys = keys::keys();
    let is_about_channel = |id: &String| {
        let key = keys.iter().find(|key| key.id == *id);
        key.is_some_and(|key| key.scope == Scope::Channel)
    };
    let (of_channel, of_program): (Settings, Settings) =
        typed.into_iter().partition(|(id, _)| is_about_channel(id));
    let mut channels = file.channels;
    if channels.is_empty() {
        channels.push(Settings::new());
    }
    let meant = meant(&of_channel, &channels)?;
    if let Some(place) = meant {
        channels[place].extend(of_channel);
    }
    let mut program = file.program;
    program.extend(of_program);
    for channel in &mut channels {
        channel.extend(program.clone());
    }
    tell_apart(&channels)?;
    Ok(channels)
}

/// The place of the channel that the flags are about; `None` if there are no such flags.
fn meant(flags: &Settings, channels: &[Settings]) -> Result<Option<usize>, Error> {
    if channels.len() == 1 {
        return Ok(Some(0));
    }
    let names: Vec<_> = channels.iter().map(name).collect();
    let Some(chosen) = flags.get("channel") else {
        let first = flags.values().next();
        return first.map_or(Ok(None), |setting| {
            Err(Error::WhichChannel {
                said: setting.origin.clone(),
                names: names.join(", "),
            })
        });
    };
    let chosen_name = chosen.words.join("");
    match names.iter().position(|name| *name == chosen_name) {
        Some(place) => Ok(Some(place)),
        None => Err(Error::NoSuchChannel {
            said: chosen.origin.clone(),
            name: chosen_name,
            names: names.join(", "),
        }),
    }
}

fn name(channel: &Settings) -> &str {
    let said = channel.get("channel").and_then(|name| name.words.first());
    said.map_or("main", |name| name)
}

fn tell_apart(channels: &[Settings]) -> Result<(), Error> {
    for (place, channel) in channels.iter().enumerate() {
        let name = name(channel);
        if channels[..place]
            .iter()
            .any(|other| self::name(other) == name)
        {
            let place = match channel.get("channel").map(|name| &name.origin) {
                Some(Origin::File(place)) => format!("{place}: "),
                _ => String::new(),
            };
            let name = name.to_owned();
            return Err(Error::SameName { place, name });
        }
    }
    Ok(())
}
