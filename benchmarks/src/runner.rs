//! Runs a scenario: arms take turns within each round, every cell is written down at once.
//!
//! A cell that fails is written down as failed, with the last words of who died, and the run goes on.
//! What cannot be written ends the run.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use common::Shutdown;
use serde_json::json;

use crate::broker::Broker;
use crate::machine::Machine;
use crate::measure::{self, Raw, Setting, Unwritten};
use crate::result::{Cell, Measured, Outcome, Results, Skipped};
use crate::scenario::{Arm, Load, Scenario};

mod progress;

use progress::Progress;

/// Descriptors that are needed beside those for viewers.
const SPARE_DESCRIPTORS: u64 = 256;

/// How much is done, and whether anew.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effort {
    /// Whether one short round is enough.
    pub is_quick: bool,
    /// Rounds, if not as many as the scenario says.
    pub rounds: Option<u32>,
    /// Whether cells that are there already are kept.
    pub is_resumed: bool,
}

impl Effort {
    /// What of a scenario is run.
    fn of(self, scenario: &Scenario) -> Scenario {
        let mut scenario = if self.is_quick {
            scenario.quick()
        } else {
            scenario.clone()
        };
        scenario.rounds = self.rounds.unwrap_or(scenario.rounds);
        scenario
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything was tried.
    Done,
    /// Somebody wanted it to end; what was done is kept.
    Interrupted,
}

/// Runs a scenario and leaves `SCENARIO.json` in `folder`, the samples in `raw/` there.
///
/// # Errors
/// If a result cannot be written, or there is one already that this run does not go on with.
pub fn run(
    scenario: &Scenario,
    effort: Effort,
    folder: &Path,
    shutdown: &Shutdown,
) -> anyhow::Result<(Results, End)> {
    let mut results = begin(effort.of(scenario), effort, folder)?;
    let mut raw = Raw::open(folder, &results.scenario.name)?;
    let arms = arms(&results);
    // What is missing is told, also if that is all.
    results.save(folder).context("result not written")?;
    let mut progress = Progress::new(&results);
    for round in 1..=results.scenario.rounds {
        let mut broker = None;
        for load in results.scenario.loads() {
            for arm in turns(&arms, round) {
                if !is_wanted(&results, round, arm, &load) {
                    progress.pass(&results, round, &load);
                    continue;
                }
                progress.begin(&results, round, arm, &load);
                let cell = cell(
                    &results,
                    (round, arm, &load),
                    &mut broker,
                    &mut raw,
                    shutdown,
                )?;
                if shutdown.is_triggered() {
                    return Ok((results, End::Interrupted));
                }
                progress.end(&results, &cell);
                let is_other = |old: &Cell| {
                    (old.round, &old.arm, &old.load) != (cell.round, &cell.arm, &cell.load)
                };
                results.cells.retain(is_other);
                results.cells.push(cell);
                results.save(folder).context("result not written")?;
            }
        }
    }
    Ok((results, End::Done))
}

/// Nothing yet, or what is there already.
fn begin(scenario: Scenario, effort: Effort, folder: &Path) -> anyhow::Result<Results> {
    let path = Results::path(folder, &scenario.name);
    let machine = Machine::here();
    let named = || path.display().to_string();
    if !path.exists() {
        let missing = |arm: &Arm| {
            let why = measure::missing(arm)?;
            Some(Skipped {
                arm: arm.name.clone(),
                why,
            })
        };
        return Ok(Results {
            skipped: scenario.arms.iter().filter_map(missing).collect(),
            scenario,
            is_quick: effort.is_quick || effort.rounds.is_some_and(|rounds| rounds < 3),
            machine,
            cells: Vec::new(),
        });
    }
    if !effort.is_resumed {
        bail!(
            "{} is there already; --resume goes on with it, --out DIR takes another folder",
            named()
        );
    }
    let results = Results::load(&path).with_context(named)?;
    let (then, now) = (&results.machine.commit, &machine.commit);
    ensure!(
        then == now,
        "{} was measured at commit {then}, this is {now}; right would be another folder: --out DIR",
        named()
    );
    ensure!(
        results.scenario == scenario,
        "{} comes from another version of the scenario, or from other --quick or --rounds; right \
         would be another folder: --out DIR",
        named()
    );
    Ok(results)
}

/// Those that can be measured here.
fn arms(results: &Results) -> Vec<Arm> {
    let is_skipped = |arm: &&Arm| {
        results
            .skipped
            .iter()
            .any(|skipped| skipped.arm == arm.name)
    };
    let arms = results.scenario.arms.iter();
    arms.filter(|arm| !is_skipped(arm)).cloned().collect()
}

/// The arms, beginning with another one each round.
fn turns(arms: &[Arm], round: u32) -> impl Iterator<Item = &Arm> {
    let first = (round as usize - 1) % arms.len().max(1);
    arms.iter().cycle().skip(first).take(arms.len())
}

fn cell(
    results: &Results,
    (round, arm, load): (u32, &Arm, &Load),
    broker: &mut Option<Broker>,
    raw: &mut Raw,
    shutdown: &Shutdown,
) -> anyhow::Result<Cell> {
    let of = |outcome| Cell {
        round,
        arm: arm.name.clone(),
        load: load.clone(),
        outcome,
    };
    // Each round has a broker of its own, so that none inherits the memory of another.
    if arm.model.has_broker() && broker.is_none() {
        match Broker::start() {
            Ok(started) => *broker = Some(started),
            Err(error) => return Ok(of(Outcome::Failed(format!("no broker: {error:#}")))),
        }
    }
    let setting = Setting {
        arm,
        load,
        watchers: results.scenario.watchers,
        broker: broker.as_ref(),
        warm_up: results.scenario.warm_up,
        window: results.scenario.window(round, load),
        ps_every: results.scenario.ps_every,
    };
    raw.begin(json!({ "round": round, "arm": arm.name, "load": load }));
    let outcome = match measure::measure(&setting, raw, shutdown) {
        Ok(measured) => Outcome::Measured(Box::new(measured)),
        Err(error) if error.is::<Unwritten>() => return Err(error),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    Ok(of(outcome))
}

/// Whether a cell is to be run: it has not been, it makes sense, and its arm has not failed before.
fn is_wanted(results: &Results, round: u32, arm: &Arm, load: &Load) -> bool {
    let is_before = |cell: &&Cell| cell.round == round && cell.arm == arm.name;
    let has_failed =
        results.scenario.until_failure && !results.cells.iter().filter(is_before).all(is_carried);
    load.bytes >= arm.least_bytes && !has_failed && !results.has(round, &arm.name, load)
}

fn is_carried(cell: &Cell) -> bool {
    cell.measured().is_some_and(Measured::is_carried)
}

/// Whether this machine lets so many viewers be: each is a descriptor here and one at the server.
///
/// # Errors
/// If it does not.
pub fn check_descriptors(scenario: &Scenario, effort: Effort) -> anyhow::Result<()> {
    use rustix::process::{Resource, getrlimit};
    let loads = effort.of(scenario).loads();
    let most = loads.iter().map(|load| load.viewers + load.stopped).max();
    let needed = most.unwrap_or(0) as u64 + SPARE_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    ensure!(
        needed <= limit,
        "{}: {needed} open files are needed and {limit} allowed; right would be: ulimit -Hn {needed} \
         (as root), or a scenario with fewer viewers",
        scenario.name
    );
    Ok(())
}
