//! What is run: a question, who is asked, and under which loads. Scenarios are TOML files.
//!
//! Those of this project are part of the program; a file of one's own can be run by its path. What a
//! file may contain is what [`Scenario`] has; anything else is refused with its line and column.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod load;
mod span;

pub use load::{Axes, Load};

use crate::load::Protocol;

/// Name and text of the scenarios that are part of the program, in the order of a full run.
const OWN: [(&str, &str); 7] = [
    ("models", include_str!("../scenarios/models.toml")),
    ("clients", include_str!("../scenarios/clients.toml")),
    ("size", include_str!("../scenarios/size.toml")),
    ("workers", include_str!("../scenarios/workers.toml")),
    ("slow", include_str!("../scenarios/slow.toml")),
    ("peers", include_str!("../scenarios/peers.toml")),
    ("drop", include_str!("../scenarios/drop.toml")),
];

/// Loads and arms that answer a question together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The name on the command line, which is that of its file.
    #[serde(default)]
    pub name: String,
    /// What it is to answer, as a sentence.
    pub question: String,
    /// Who watches.
    pub watchers: Watchers,
    /// Time before the window, in which everybody connects and everything gets going.
    #[serde(with = "span")]
    pub warm_up: Duration,
    /// How long each cell is watched, round by round; the last one holds for all further rounds.
    #[serde(with = "span::list")]
    pub windows: Vec<Duration>,
    /// One load that is watched longer in the first round.
    #[serde(default)]
    pub longest: Option<Longest>,
    /// Rounds in which the arms take turns.
    pub rounds: u32,
    /// Whether an arm that no longer delivers is left out of the loads that follow in that round.
    #[serde(default)]
    pub until_failure: bool,
    /// How often `ps` is asked too, as the first authors did.
    #[serde(default, with = "span::maybe")]
    pub ps_every: Option<Duration>,
    /// The arm that the others are divided by, round by round.
    #[serde(default)]
    pub reference: Option<String>,
    /// Who takes turns.
    #[serde(rename = "arm")]
    pub arms: Vec<Arm>,
    /// Under which loads, in this order.
    #[serde(rename = "load")]
    pub axes: Vec<Axes>,
    /// What of it is run with `--quick`.
    pub quick: Quick,
    /// What others have published about the same question.
    #[serde(default)]
    pub published: Vec<Published>,
}

/// Who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watchers {
    /// The program `receiver`, which decodes every picture.
    Receivers,
    /// Thousands in one process, which only count what they get.
    Crowd,
}

/// One of those who take turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The name in tables and plots.
    pub name: String,
    /// How frames get to viewers.
    pub model: Model,
    /// What moves the bytes; without one what the broadcaster does by itself.
    #[serde(default)]
    pub driver: Option<Driver>,
    /// What viewers speak, if not what the load says.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// Smaller frames it cannot carry: it is left out of those loads.
    #[serde(default)]
    pub least_bytes: usize,
    /// Threads of the driver; without a number what the broadcaster does by itself.
    #[serde(default)]
    pub workers: Option<usize>,
    /// Whether it stands for several: one with each number of workers from 1 to twice the processors of
    /// this machine. Never set once a scenario was read.
    #[serde(default, skip_serializing)]
    pub each_number_of_workers: bool,
}

/// How frames get to viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// A ring, a writer and a reader in one process.
    Process,
    /// One broadcaster with its ring.
    Ring,
    /// A broadcaster, an exchange, readers of it.
    Rabbitmq,
    /// A broadcaster, an exchange, one more broadcaster behind it, and its ring.
    Edge,
    /// The least a server can do.
    Bare,
    /// One broadcaster behind a camera.
    Webcam,
    /// ustreamer behind the same camera.
    Ustreamer,
}

/// What moves a broadcaster's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A thread for each viewer.
    Threads,
    /// A few event loops.
    Multiplex,
}

/// A load that is watched longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Longest {
    /// How many watch.
    pub viewers: usize,
    /// Bytes of a frame.
    pub bytes: usize,
    /// How long.
    #[serde(with = "span")]
    pub window: Duration,
}

/// What is run with `--quick`: one round, to see that everything works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quick {
    /// Time before the window.
    #[serde(with = "span")]
    pub warm_up: Duration,
    /// How long each cell is watched.
    #[serde(with = "span")]
    pub window: Duration,
    /// Under which loads.
    #[serde(rename = "load")]
    pub axes: Vec<Axes>,
}

/// A figure that somebody else has published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Who, and what was measured.
    pub who: String,
    /// How many clients.
    pub viewers: usize,
    /// Processor time in percent of a core, as they give it.
    pub cpu_percent: f64,
    /// Memory, as they give it.
    pub memory: String,
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is neither one of ours nor a file.
    #[error("no scenario {name:?}; there are {}; right would also be the path of a .toml file", known.join(", "))]
    Unknown {
        /// What was typed.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is no scenario.
    #[error("{path}: {}", error.to_string().trim_end())]
    Toml {
        /// Which file.
        path: String,
        /// What is wrong, with line and column.
        error: Box<toml::de::Error>,
    },
    /// The file contradicts itself.
    #[error("{path}: {what}")]
    Senseless {
        /// Which file.
        path: String,
        /// What is wrong, and what would be right.
        what: String,
    },
}

/// The scenarios of this project.
///
/// # Panics
/// If one of them is none, which a test rules out.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let parse = |(name, text): (&str, &str)| Scenario::parse(name, name, text);
    let all: Result<Vec<_>, _> = OWN.into_iter().map(parse).collect();
    all.expect("a test reads them all")
}

impl Scenario {
    /// One of ours by its name, or any by the path of its file.
    ///
    /// # Errors
    /// If there is none, or the file is none.
    pub fn find(name: &str) -> Result<Self, Error> {
        let all = all();
        if let Some(own) = all.iter().find(|scenario| scenario.name == name) {
            return Ok(own.clone());
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|extension| extension != "toml") {
            return Err(Error::Unknown {
                name: name.to_owned(),
                known: all.into_iter().map(|scenario| scenario.name).collect(),
            });
        }
        let file = |error| Error::File {
            path: name.to_owned(),
            error,
        };
        let text = fs::read_to_string(path).map_err(file)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&stem, name, &text)
    }

    fn parse(name: &str, path: &str, text: &str) -> Result<Self, Error> {
        let mut scenario: Self = toml::from_str(text).map_err(|error| Error::Toml {
            path: path.to_owned(),
            error: Box::new(error),
        })?;
        name.clone_into(&mut scenario.name);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let arms = scenario
            .arms
            .iter()
            .flat_map(|arm| arm.spread_out(2 * cores));
        scenario.arms = arms.collect();
        match scenario.nonsense() {
            Some(what) => Err(Error::Senseless {
                path: path.to_owned(),
                what,
            }),
            None => Ok(scenario),
        }
    }

    /// What makes no sense although each value for itself does.
    fn nonsense(&self) -> Option<String> {
        let names: Vec<_> = self.arms.iter().map(|arm| &arm.name).collect();
        let twice = names
            .iter()
            .enumerate()
            .find(|(at, name)| names[..*at].contains(name));
        if let Some((_, name)) = twice {
            return Some(format!(
                "arm {name:?} is there twice; right would be two names"
            ));
        }
        if let Some(reference) = self.reference.as_ref().filter(|name| !names.contains(name)) {
            return Some(format!(
                "reference {reference:?} is no arm; right would be the name of one"
            ));
        }
        let is_empty = self.arms.is_empty() || self.windows.is_empty() || self.rounds == 0;
        if is_empty || self.loads().is_empty() || self.quick.loads().is_empty() {
            return Some(
                "nothing to do; right would be at least one arm, one window, one round, and a load with a \
                 value in each list, also in quick"
                    .to_owned(),
            );
        }
        let all = [self.loads(), self.quick.loads()].concat();
        let is_nothing =
            |load: &&Load| load.viewers == 0 || load.fps == 0 || load.frames_per_payload == 0;
        if all.iter().any(|load| is_nothing(&load)) {
            return Some(
                "viewers, fps and frames_per_payload: right would be 1 or more".to_owned(),
            );
        }
        None
    }

    /// All loads, in their order.
    #[must_use]
    pub fn loads(&self) -> Vec<Load> {
        self.axes.iter().flat_map(Axes::loads).collect()
    }

    /// The part that `--quick` runs, as a scenario of its own.
    #[must_use]
    pub fn quick(&self) -> Self {
        Self {
            warm_up: self.quick.warm_up,
            windows: vec![self.quick.window],
            longest: None,
            rounds: 1,
            axes: self.quick.axes.clone(),
            ..self.clone()
        }
    }

    /// How long a cell is watched.
    #[must_use]
    pub fn window(&self, round: u32, load: &Load) -> Duration {
        let is_it =
            |longest: &Longest| (longest.viewers, longest.bytes) == (load.viewers, load.bytes);
        if let Some(longest) = self.longest.filter(|longest| round == 1 && is_it(longest)) {
            return longest.window;
        }
        let last = self.windows.len().saturating_sub(1);
        let at = (round.max(1) as usize - 1).min(last);
        self.windows.get(at).copied().unwrap_or_default()
    }
}

impl Arm {
    /// The arms it stands for.
    fn spread_out(&self, most_workers: usize) -> Vec<Self> {
        if !self.each_number_of_workers {
            return vec![self.clone()];
        }
        let with = |count: usize| Self {
            name: match count {
                1 => "1 worker".to_owned(),
                _ => format!("{count} workers"),
            },
            workers: Some(count),
            each_number_of_workers: false,
            ..self.clone()
        };
        (1..=most_workers).map(with).collect()
    }
}

impl Quick {
    fn loads(&self) -> Vec<Load> {
        self.axes.iter().flat_map(Axes::loads).collect()
    }
}

impl Model {
    /// Whether frames go through a broker.
    #[must_use]
    pub const fn has_broker(self) -> bool {
        matches!(self, Self::Rabbitmq | Self::Edge)
    }
}

impl Driver {
    /// As the broadcaster calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Multiplex => "multiplex",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
question = "Which?"
watchers = "crowd"
warm_up = "1s"
windows = ["4s", "500ms"]
rounds = 3
longest = { viewers = 10, bytes = 90_000, window = "9s" }

[[arm]]
name = "ring"
model = "ring"
driver = "threads"

[[arm]]
name = "broker"
model = "rabbitmq"

[[load]]
viewers = [1, 10]
bytes = [8_000, 90_000]
fps = [30]

[quick]
warm_up = "200ms"
window = "1s"
load = [{ viewers = [1], bytes = [8_000], fps = [30] }]
"#;

    fn parse(text: &str) -> Result<Scenario, Error> {
        Scenario::parse("mine", "mine.toml", text)
    }

    #[test]
    fn all_of_ours_are_scenarios() {
        for (name, text) in OWN {
            let scenario = Scenario::parse(name, name, text).unwrap();
            assert!(scenario.rounds >= 3, "{name}");
            assert!(scenario.question.ends_with('?'), "{name}");
        }
        let names: Vec<_> = all().into_iter().map(|scenario| scenario.name).collect();
        assert_eq!(names, OWN.map(|(name, _)| name));
    }

    #[test]
    fn every_combination_is_a_load() {
        let scenario = parse(TEXT).unwrap();
        let loads: Vec<_> = scenario.loads().iter().map(Load::to_string).collect();
        let expected = [
            "1 × 8 kB × 30 fps",
            "10 × 8 kB × 30 fps",
            "1 × 90 kB × 30 fps",
            "10 × 90 kB × 30 fps",
        ];
        assert_eq!(loads, expected);
        let loads = scenario.loads();
        let windows = |load| [1, 2, 3].map(|round| scenario.window(round, load).as_millis());
        assert_eq!(windows(&loads[0]), [4000, 500, 500]);
        assert_eq!(windows(&loads[3]), [9000, 500, 500]);
    }

    #[test]
    fn the_quick_part_is_one_round_of_its_own_loads() {
        let quick = parse(TEXT).unwrap().quick();
        assert_eq!((quick.rounds, quick.loads().len()), (1, 1));
        assert_eq!(quick.window(1, &quick.loads()[0]), Duration::from_secs(1));
        assert_eq!(quick.arms.len(), 2);
    }

    #[test]
    fn an_arm_can_stand_for_each_number_of_workers() {
        let text = TEXT.replace("driver = \"threads\"", "each_number_of_workers = true");
        let scenario = parse(&text).unwrap();
        let names: Vec<_> = scenario.arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(names[..2], ["1 worker", "2 workers"]);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(scenario.arms.len(), 2 * cores + 1);
        assert_eq!(scenario.arms[2 * cores - 1].workers, Some(2 * cores));
        let json = serde_json::to_string(&scenario).unwrap();
        assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), scenario);
    }

    #[test]
    fn a_scenario_is_read_as_it_was_written() {
        let scenario = parse(TEXT).unwrap();
        let json = serde_json::to_string(&scenario).unwrap();
        assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), scenario);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let told = |from: &str, to: &str| {
            assert!(TEXT.contains(from), "{from}");
            parse(&TEXT.replacen(from, to, 1)).unwrap_err().to_string()
        };
        let error = told("rounds = 3", "round = 3");
        assert!(
            error.contains("line 6, column 1") && error.contains("`rounds`"),
            "{error}"
        );
        let error = told("\"threads\"", "\"fibres\"");
        assert!(
            error.contains("line 12, column 10") && error.contains("multiplex"),
            "{error}"
        );
        let error = told("warm_up = \"1s\"", "warm_up = \"soon\"");
        assert!(
            error.contains("line 4, column 11") && error.contains("250ms"),
            "{error}"
        );
        let error = told("[1, 10]", "[1, 0]");
        assert!(error.contains("right would be 1 or more"), "{error}");
        let error = told("\"broker\"", "\"ring\"");
        assert!(error.contains("twice"), "{error}");
        let error = told("rounds = 3", "rounds = 0");
        assert!(error.contains("nothing to do"), "{error}");
        let error = told("rounds = 3", "rounds = 3\nreference = \"bare\"");
        assert!(error.contains("\"bare\" is no arm"), "{error}");
        let error = told("[[arm]]", "[[arm]");
        assert!(error.contains("line 9"), "{error}");
    }

    #[test]
    fn an_unknown_name_lists_those_there_are() {
        let error = Scenario::find("modles").unwrap_err().to_string();
        assert!(
            error.contains("\"modles\"") && error.contains("models"),
            "{error}"
        );
        let error = Scenario::find("/nowhere/mine.toml")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("/nowhere/mine.toml: No such file"),
            "{error}"
        );
    }
}
