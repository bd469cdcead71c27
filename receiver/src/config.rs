//! What is to be done: typed values with their defaults, checked, in their units.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::args::{self, Args, Level, Screen};
use crate::ingress::{Options, Purpose, Source, SourceError};
use crate::output::schedule::LONGEST_DELAY;
use crate::output::terminal;
use crate::output::{self, Decoder, Outputs, Saver};
use crate::probe;

/// Longest duration that is read. Far longer ones can add up to more seconds than a [`Duration`] holds, and humantime 2.4 panics at
/// the edge.
const MAX_DURATION_BYTES: usize = 16;
/// Ages travel as whole milliseconds in 32 bits.
const LONGEST_AGE: Duration = Duration::from_millis(u32::MAX as u64);
const SHORTEST_AGE: Duration = Duration::from_millis(1);
/// A probe sees some frames and ends on the same day.
const SHORTEST_PROBE: Duration = Duration::from_secs(1);
const PROBE_FOR: Duration = Duration::from_secs(5);
const LONGEST_PROBE: Duration = Duration::from_secs(600);
/// A longer warm-up is a mistake.
const LONGEST_WARM_UP: Duration = Duration::from_secs(600);
/// Longer than anybody waits, and short enough to be added to any time.
const LONGEST_RUN: Duration = Duration::from_secs(366 * 24 * 3600);

/// All that a run needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the stream comes from.
    pub source: Source,
    /// What to ask the server for.
    pub options: Options,
    /// Receivers to run at once.
    pub count: NonZeroU16,
    /// When to end; `None`: when told to.
    pub duration: Option<Duration>,
    /// How much of the beginning is left out of the figures.
    pub warm_up: Option<Duration>,
    /// Where frames are written, if they are.
    pub save: Option<PathBuf>,
    /// Where pictures are shown.
    pub screen: Screen,
    /// From a frame's capture to its display; `None`: as soon as can be.
    pub sync: Option<Duration>,
    /// Whether pictures are decoded.
    pub decode: Decode,
    /// How figures are printed.
    pub format: Format,
    /// How much is said on stderr.
    pub level: LevelFilter,
}

/// Whether pictures are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    /// Frames are only counted.
    Off,
    /// Every picture is decoded and checked.
    Every,
}

/// How figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    fn from_json(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// A value that can never become right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL.
    // Not its source as well: the chain of causes would say it twice.
    #[error("URL {0}")]
    Source(SourceError),
    /// The number of receivers.
    #[error("--count 0: right would be 1 to 65535")]
    Count,
    /// More receivers than the window has room for.
    #[error(
        "--display window shows one receiver, not {0}; right would be one window for each, or \
         --display terminal, which shows the figures of all"
    )]
    Several(NonZeroU16),
    /// Pictures cannot be shown where they would not be seen.
    #[error(
        "--display terminal needs stdout to be a terminal; right would be to leave out what follows \
         the > or |"
    )]
    NoTerminal,
    /// Two things want stdout.
    #[error("--display terminal and --json both want stdout; right would be one of them")]
    TerminalJson,
    /// The window was left out when this program was built.
    #[error(
        "--display window is not in this program, which was built without its feature window; \
         right would be --display terminal"
    )]
    NoWindow,
    /// A warm-up that leaves nothing.
    #[error(
        "--warm-up {warm_up}: --duration {duration} leaves no time after it; right would be a longer one"
    )]
    WarmUp {
        /// What was given.
        warm_up: humantime::FormattedDuration,
        /// How long it is to run.
        duration: humantime::FormattedDuration,
    },
    /// A text that is no length of time.
    #[error("{flag} {text:?}: {reason}; right would be for example 250ms, 10s or 5m")]
    Duration {
        /// The flag it was given for.
        flag: &'static str,
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: humantime::DurationError,
    },
    /// A length of time that makes no sense here.
    #[error("{flag} {text:?}: right would be {} to {}", human(*.least), human(*.most))]
    Range {
        /// The flag it was given for.
        flag: &'static str,
        /// What was given.
        text: String,
        /// The shortest that makes sense.
        least: Duration,
        /// The longest that makes sense.
        most: Duration,
    },
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl Config {
    /// Checks what was typed.
    ///
    /// # Errors
    /// Names the value, and what would be right.
    pub fn from_args(args: Args) -> Result<Self, Error> {
        let duration = args.duration.map(|text| {
            let least = Duration::from_millis(1);
            parse_duration("--duration", text, (least, LONGEST_RUN))
        });
        let warm_up = args.warm_up.map(|text| {
            let least = Duration::from_millis(1);
            parse_duration("--warm-up", text, (least, LONGEST_WARM_UP))
        });
        let (duration, warm_up) = (duration.transpose()?, warm_up.transpose()?);
        if let Some((duration, warm_up)) = duration.zip(warm_up).filter(|(all, part)| part >= all) {
            return Err(Error::WarmUp {
                warm_up: humantime::format_duration(warm_up),
                duration: humantime::format_duration(duration),
            });
        }
        let options = options(args.max_age)?;
        let sync = args.sync.map(|text| {
            let least = Duration::from_millis(1);
            parse_duration("--sync", text, (least, LONGEST_DELAY))
        });
        let count = NonZeroU16::new(args.count.unwrap_or(1)).ok_or(Error::Count)?;
        let screen = args.display.unwrap_or_default();
        check_screen(screen, count)?;
        if screen == Screen::Terminal && args.json {
            return Err(Error::TerminalJson);
        }
        Ok(Self {
            source: args.url.unwrap_or_default().parse()?,
            options,
            count,
            screen,
            sync: sync.transpose()?,
            duration,
            warm_up,
            save: args.save,
            decode: if args.decode {
                Decode::Every
            } else {
                Decode::Off
            },
            format: Format::from_json(args.json),
            level: level_filter(args.log.unwrap_or(Level::Info)),
        })
    }

    /// Whether frames are to be shown, or scheduled as if they were.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        let has_picture = match self.screen {
            Screen::None => false,
            Screen::Terminal => self.count.get() == 1,
            Screen::Window => true,
        };
        has_picture || self.sync.is_some()
    }

    /// The outputs of one receiver of those that run.
    ///
    /// # Errors
    /// If the folder cannot be created, or there is no memory for a decoder.
    pub fn outputs(&self, receiver: u16) -> Result<Outputs, output::Error> {
        let saver = self.save.as_ref().map(|root| {
            if self.count.get() > 1 {
                Saver::create(&root.join(format!("{receiver:04}")))
            } else {
                Saver::create(root)
            }
        });
        let decoder = match self.decode {
            Decode::Off => None,
            Decode::Every => Some(Decoder::new()?),
        };
        Ok(Outputs {
            saver: saver.transpose()?,
            decoder,
        })
    }
}

/// Checks what was typed for a probe.
///
/// # Errors
/// Names the value, and what would be right.
pub fn probe_settings(args: args::Probe) -> Result<probe::Settings, Error> {
    let within = args.within.map_or(Ok(PROBE_FOR), |text| {
        parse_duration("--for", text, (SHORTEST_PROBE, LONGEST_PROBE))
    });
    Ok(probe::Settings {
        source: args.url.parse()?,
        options: options(args.max_age)?,
        within: within?,
        format: Format::from_json(args.json),
    })
}

/// How much a probe says beside its findings.
#[must_use]
pub fn probe_level(args: &args::Probe) -> LevelFilter {
    level_filter(args.log.unwrap_or(Level::Error))
}

fn options(max_age: Option<String>) -> Result<Options, Error> {
    let max_age =
        max_age.map(|text| parse_duration("--max-age", text, (SHORTEST_AGE, LONGEST_AGE)));
    Ok(Options {
        max_age: max_age.transpose()?,
        purpose: Purpose::Watch,
    })
}

/// Whether so many receivers can be shown there.
fn check_screen(screen: Screen, count: NonZeroU16) -> Result<(), Error> {
    match screen {
        Screen::Window if cfg!(not(feature = "window")) => Err(Error::NoWindow),
        Screen::Terminal if !terminal::is_here() => Err(Error::NoTerminal),
        Screen::Window if count.get() > 1 => Err(Error::Several(count)),
        _ => Ok(()),
    }
}

const fn level_filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

fn parse_duration(
    flag: &'static str,
    text: String,
    (least, most): (Duration, Duration),
) -> Result<Duration, Error> {
    let parsed = if text.len() > MAX_DURATION_BYTES {
        Err(humantime::DurationError::NumberOverflow)
    } else {
        humantime::parse_duration(&text)
    };
    match parsed {
        Ok(duration) if (least..=most).contains(&duration) => Ok(duration),
        Ok(_) => Err(Error::Range {
            flag,
            text,
            least,
            most,
        }),
        Err(reason) => Err(Error::Duration { flag, text, reason }),
    }
}

fn human(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        Args {
            url: Some("tcp://cam:7400".to_owned()),
            ..Args::default()
        }
    }

    #[test]
    fn defaults() {
        let config = Config::from_args(args()).unwrap();
        assert_eq!(config.count.get(), 1);
        assert_eq!((config.duration, config.options.max_age), (None, None));
        assert_eq!((config.decode, config.format), (Decode::Off, Format::Text));
    }

    #[test]
    fn every_refusal_names_the_value_and_what_would_be_right() {
        let text = |args: Args| Config::from_args(args).unwrap_err().to_string();
        let duration = |text: &str| Args {
            duration: Some(text.to_owned()),
            ..args()
        };
        let count = Args {
            count: Some(0),
            ..args()
        };
        assert_eq!(text(count), "--count 0: right would be 1 to 65535");
        assert!(text(duration("soon")).starts_with("--duration \"soon\": "));
        assert!(text(duration("0s")).contains("right would be 1ms to"));
        let max_age = Args {
            max_age: Some("60days".to_owned()),
            ..args()
        };
        assert!(text(max_age).starts_with("--max-age \"60days\": right would be 1ms"));
        let url = Args {
            url: Some("ftp://cam".to_owned()),
            ..args()
        };
        assert!(text(url).starts_with("URL scheme ftp://"));
    }

    #[test]
    fn several_receivers_have_folders_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::from_args(args()).unwrap();
        config.save = Some(dir.path().to_owned());
        config.count = NonZeroU16::MAX;
        config.outputs(7).unwrap();
        assert!(dir.path().join("0007").is_dir());
    }
}
