//! What the model `rabbitmq` costs, each role for itself: scenarios `exchange` and `edges`.
//!
//! ```text
//! exchange   publisher ──► broker ──► readers                          ours beside the floor
//! edges      origin ──► broker ──► two edges ──► viewers over tcp      beside one ring, one broker
//! ```
//! In path order: [`broker`] is the broker, [`program`](crate::program) starts the other programs,
//! [`floor`] is the least a publisher and a reader can do, [`readers`] is a process full of readers (they
//! have to be costed apart from us, who watch), [`tally`] counts what they get, [`measure`] makes a cell
//! of it, [`cells`] is what is kept, [`table`] what people read. [`run`] lets everything take turns.
//!
//! Policy: as everywhere in `benchmarks`, only ratios within one round count. Every round begins with
//! a fresh broker, so that none inherits the memory of the rounds before; within a round the loads
//! grow, and the broker keeps what it once took.
//!
//! How long it takes, on two cores. `exchange`: 18 loads × three ways + 2 loads × 8 settings
//! = 70 cells a round, each some 7 s (connecting, 1.5 s of warm-up, a window of 4 s =
//! 120 frames, at most 1 s for what is still on its way): 7 minutes a round, 21 in all. `edges`: 6
//! cells a round, and then one broker alone with more and more readers until it fails: most of its
//! time is for connecting them, which has a limit of 30 s; 2 to 3 minutes a round.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use common::{Clock, Shutdown, SystemClock};

use crate::broker::{self, Broker};
use crate::egress::runner::Effort;
use crate::machine::Machine;

pub mod cells;
pub mod floor;
pub mod measure;
pub mod readers;
pub mod table;
pub mod tally;

use cells::{Case, Cell, Run, Way};

/// Long enough for 120 frames.
const WINDOW: Duration = Duration::from_secs(4);
const QUICK_WINDOW: Duration = Duration::from_secs(2);
/// What a reader takes, at its side (1.3 MB were measured, most of it the client's buffers) and at the
/// broker's.
const READER_BYTES: usize = 3 << 20;
/// Largest frames of AMQP that are tried beside ours; the last is what brokers suggest.
const FRAME_MAX: [u32; 2] = [8 << 10, 128 << 10];
/// Left for the broker and everybody else.
const SPARE_BYTES: usize = 1 << 30;

/// Cases that take turns, group by group, and then one that grows until it fails.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The name on the command line.
    pub name: &'static str,
    /// What it is to show.
    pub about: &'static str,
    /// Within a group the cases take turns, the next first in each round.
    pub groups: Vec<Vec<Case>>,
    /// More and more of the same until one is not carried ([`Cell::is_carried`]): there it stops.
    pub rising: Vec<Case>,
}

/// The scenarios; cut short if they are only to show that everything works.
#[must_use]
pub fn all(is_quick: bool) -> Vec<Scenario> {
    vec![exchange(is_quick), edges(is_quick)]
}

/// Whether a result of this name is one of ours.
#[must_use]
pub fn is_name(name: &str) -> bool {
    all(false).iter().any(|scenario| scenario.name == name)
}

/// Ours and the floor under each load; under two of them every setting of the acknowledgement and of
/// AMQP's frames too.
fn exchange(is_quick: bool) -> Scenario {
    let (viewers, sizes, settings): (&[usize], &[usize], &[u16]) = if is_quick {
        (&[1, 10], &[8_000, 90_000], &[0, 1])
    } else {
        let viewers = &[1, 5, 10, 20, 50, 100];
        (viewers, &[8_000, 50_000, 90_000], &[0, 1, 4, 8, 16, 32])
    };
    let mut groups = Vec::new();
    for &bytes in sizes {
        for &viewers in viewers {
            let case = |way| Case {
                way,
                viewers,
                bytes,
                fps: 30,
                prefetch: None,
                frame_max: None,
            };
            let mut group = [Way::Floor, Way::Crossed, Way::Exchange].map(case).to_vec();
            if bytes == 90_000 && matches!(viewers, 10 | 100) {
                group.extend(settings.iter().map(|prefetch| Case {
                    prefetch: Some(*prefetch),
                    ..case(Way::Exchange)
                }));
                group.extend(FRAME_MAX.map(|bytes| Case {
                    frame_max: Some(bytes),
                    ..case(Way::Exchange)
                }));
            }
            groups.push(group);
        }
    }
    Scenario {
        name: "exchange",
        about: "what a broker costs: publisher, broker and readers apart, beside the least of lapin",
        groups,
        rising: Vec::new(),
    }
}

/// One ring and two edges with the same viewers; one broker with as many as it carries.
fn edges(is_quick: bool) -> Scenario {
    let case = |way, viewers| Case {
        way,
        viewers,
        bytes: 8_000,
        fps: 15,
        prefetch: None,
        frame_max: None,
    };
    let (crowds, rising): (&[usize], &[usize]) = if is_quick {
        (&[200], &[10, 20])
    } else {
        let rising = &[50, 100, 200, 400, 600, 800, 1200, 1600];
        (&[1000, 2000, 4000], rising)
    };
    let both = |viewers: &usize| vec![case(Way::Ring, *viewers), case(Way::Edges, *viewers)];
    Scenario {
        name: "edges",
        about: "viewers behind two edges of an exchange, beside one ring and one broker alone",
        groups: crowds.iter().map(both).collect(),
        rising: rising
            .iter()
            .map(|viewers| case(Way::Exchange, *viewers))
            .collect(),
    }
}

/// Runs a scenario and leaves `SCENARIO.json` and `SCENARIO.md` in `folder`. On `shutdown` it ends
/// after the cell at hand and keeps what is done. Without RabbitMQ it says so and does nothing.
///
/// # Errors
/// If a program does not start, or a result cannot be written.
pub fn run(
    scenario: &Scenario,
    effort: Effort,
    folder: &Path,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    if let Some(missing) = broker::missing() {
        say(&format!("{}: skipped: {missing}", scenario.name));
        return Ok(());
    }
    let mut run = Run {
        scenario: scenario.name.to_owned(),
        is_quick: effort.is_quick || effort.rounds < Effort::FULL.rounds,
        machine: Machine::here(),
        broker: broker::version(),
        cells: Vec::new(),
    };
    let window = if effort.is_quick {
        QUICK_WINDOW
    } else {
        WINDOW
    };
    let in_turn: usize = scenario.groups.iter().map(Vec::len).sum();
    let most = (in_turn + scenario.rising.len()) * effort.rounds as usize;
    let begun = SystemClock.monotonic();
    for round in 1..=effort.rounds {
        let broker = Broker::start()?;
        let mut measure = |case: &Case| -> anyhow::Result<bool> {
            let cell = measure::measure(round, case, &broker, (effort.warm_up, window))
                .with_context(|| table::describe(case))?;
            let is_carried = cell.is_carried();
            run.cells.push(cell);
            let path = run.save(folder).context("result not written")?;
            table::save(&run, &path.with_extension("md")).context("table not written")?;
            progress(&run, most, SystemClock.monotonic().since(begun));
            Ok(is_carried)
        };
        for group in &scenario.groups {
            for case in turns(group, round) {
                if shutdown.is_triggered() {
                    return Ok(());
                }
                measure(case)?;
            }
        }
        rise(&scenario.rising, |case| {
            let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
            if !has_room(&meminfo, case.viewers) {
                say(&format!("{} readers: not enough memory", case.viewers));
                return Ok(false);
            }
            Ok(!shutdown.is_triggered() && measure(case)?)
        })?;
    }
    Ok(())
}

/// The cases, beginning with another one each round.
fn turns(cases: &[Case], round: u32) -> impl Iterator<Item = &Case> {
    let first = (round as usize - 1) % cases.len().max(1);
    cases.iter().cycle().skip(first).take(cases.len())
}

/// Measures one case after the other up to the first that is not carried.
fn rise(
    cases: &[Case],
    mut is_carried: impl FnMut(&Case) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    for case in cases {
        if !is_carried(case)? {
            break;
        }
    }
    Ok(())
}

/// One line about the cell just measured, on stderr.
fn progress(run: &Run, most: usize, elapsed: Duration) {
    let Some(cell) = run.cells.last() else { return };
    let Cell { case, figures, .. } = cell;
    let roles = cell.roles.iter().map(|role| {
        let percent = 100.0 * role.cpu;
        format!("{} {percent:.1} %", role.name)
    });
    let line = format!(
        "[{}/{most} at most, {} so far] {}, {}: delivered {:.2} %, age p99 {:.1} ms; {}",
        run.cells.len(),
        humantime::format_duration(Duration::from_secs(elapsed.as_secs())),
        table::describe(case),
        table::name(case),
        100.0 * figures.delivered,
        figures.age_p99_ms,
        roles.collect::<Vec<_>>().join(", "),
    );
    say(&line);
}

/// Tells people, on stderr.
fn say(line: &str) {
    // Nobody watches if this fails; the result is in the file.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether so many readers fit into the memory that proc(5) says is available.
fn has_room(meminfo: &str, readers: usize) -> bool {
    let available = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = available.and_then(|text| text.trim().strip_suffix(" kB"));
    let bytes = kib
        .and_then(|kib| kib.parse::<usize>().ok())
        .map_or(0, |kib| kib << 10);
    bytes > SPARE_BYTES + readers * READER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_loads_that_were_asked_for_are_there() {
        let exchange = exchange(false);
        let cases: Vec<_> = exchange.groups.concat();
        for viewers in [1, 5, 10, 20, 50, 100] {
            for bytes in [8_000, 50_000, 90_000] {
                let of = |way| {
                    let is_it = |case: &&Case| {
                        let Case {
                            way: its,
                            viewers: count,
                            bytes: size,
                            ..
                        } = **case;
                        let is_plain = case.prefetch.is_none() && case.frame_max.is_none();
                        is_plain && (its, count, size) == (way, viewers, bytes)
                    };
                    cases.iter().filter(is_it).count()
                };
                assert_eq!([Way::Floor, Way::Crossed, Way::Exchange].map(of), [1; 3]);
            }
        }
        for prefetch in [0, 1, 4, 8, 16, 32] {
            let with = cases.iter().filter(|case| case.prefetch == Some(prefetch));
            assert_eq!(
                with.map(|case| case.viewers).collect::<Vec<_>>(),
                [10, 100],
                "{prefetch}"
            );
        }
    }

    #[test]
    fn the_first_case_that_is_not_carried_is_the_last() {
        let mut tried = Vec::new();
        let outcome = rise(&edges(false).rising, |case| {
            tried.push(case.viewers);
            Ok(case.viewers < 200)
        });
        assert!(outcome.is_ok());
        assert_eq!(tried, [50, 100, 200]);
    }

    #[test]
    fn readers_that_do_not_fit_into_memory_are_not_tried() {
        let meminfo = |mib: usize| {
            let kib = mib << 10;
            format!("MemTotal: 1 kB\nMemAvailable:   {kib} kB\nSwapFree: 9 kB\n")
        };
        assert!(has_room(&meminfo(1_325), 100));
        assert!(!has_room(&meminfo(1_324), 100));
        assert!(!has_room("", 1));
    }

    #[test]
    fn in_each_round_another_case_comes_first() {
        let group = &exchange(false).groups[0];
        let first = |round| turns(group, round).next().map(|case| case.way);
        assert_eq!(first(1), Some(Way::Floor));
        assert_eq!(first(2), Some(Way::Crossed));
        assert_eq!(first(3), Some(Way::Exchange));
        assert_eq!(first(4), Some(Way::Floor));
        assert!((1..9).all(|round| turns(group, round).count() == group.len()));
    }
}
