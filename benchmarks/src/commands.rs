//! What `benchmarks list`, `run` and `report` do.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use benchmarks::args;
use benchmarks::export::markdown;
use benchmarks::report::compare::{self, Comparison};
use benchmarks::runner::{self, Effort, End};
use benchmarks::scenario::{self, Scenario};
use benchmarks::{brokered, egress, report};
use common::Shutdown;

/// Where results are kept.
const RESULTS: &str = "benchmarks/results";
/// Folders of one day, at most.
const MOST_OF_A_DAY: u32 = 1000;

/// Somebody wanted the run to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; what is done is kept, --resume goes on")]
pub(crate) struct Interrupted;

/// One of the things that can be run.
enum Chosen {
    Models(Box<Scenario>),
    Egress(egress::scenario::Scenario),
    Brokered(brokered::Scenario),
}

/// Says which scenarios there are.
pub(crate) fn list(out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "What each model costs (all of them: benchmarks run):")?;
    for scenario in scenario::all() {
        writeln!(out, "  {:10} {}", scenario.name, scenario.question)?;
    }
    writeln!(out, "What the parts cost beside the least there can be:")?;
    for scenario in egress::scenario::all() {
        writeln!(out, "  {:10} {}", scenario.name, scenario.about)?;
    }
    for scenario in brokered::all(false) {
        writeln!(out, "  {:10} {}", scenario.name, scenario.about)?;
    }
    Ok(())
}

/// Runs what was chosen.
pub(crate) fn run(
    args: &args::Run,
    shutdown: &Shutdown,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let chosen = choose(args)?;
    let has_models = chosen
        .iter()
        .any(|chosen| matches!(chosen, Chosen::Models(_)));
    let folder = has_models.then(|| folder(args)).transpose()?;
    let effort = Effort {
        is_quick: args.quick,
        rounds: args.rounds,
        is_resumed: args.resume,
    };
    // Before the first of them begins: nobody likes to hear of it after half an hour.
    for chosen in &chosen {
        if let Chosen::Models(scenario) = chosen {
            runner::check_descriptors(scenario, effort)?;
        }
    }
    let parts = parts_effort(args);
    let plain = args.out.clone().unwrap_or_else(|| RESULTS.into());
    let (mut end, mut failed) = (End::Done, 0);
    for chosen in chosen {
        match chosen {
            Chosen::Egress(scenario) => egress::runner::run(&scenario, parts, &plain, shutdown)?,
            Chosen::Brokered(scenario) => brokered::run(&scenario, parts, &plain, shutdown)?,
            Chosen::Models(scenario) => {
                let folder = folder.as_deref().unwrap_or(&plain);
                let (results, its_end) = runner::run(&scenario, effort, folder, shutdown)?;
                end = its_end;
                failed += results.failures();
            }
        }
        if shutdown.is_triggered() {
            end = End::Interrupted;
            break;
        }
    }
    if let Some(folder) = folder.filter(|folder| has_results(folder)) {
        let page = report::render(&folder)?;
        writeln!(out, "{}", page.display())?;
    }
    match end {
        End::Done => {
            ensure!(
                failed == 0,
                "{failed} measurements failed; the report says why"
            );
            Ok(())
        }
        End::Interrupted => Err(Interrupted.into()),
    }
}

/// What was named; without names all that ask what a model costs.
fn choose(args: &args::Run) -> Result<Vec<Chosen>, scenario::Error> {
    if args.scenarios.is_empty() {
        let all = scenario::all().into_iter();
        return Ok(all
            .map(|scenario| Chosen::Models(Box::new(scenario)))
            .collect());
    }
    let choose = |name: &String| {
        let mut egress = egress::scenario::all().into_iter();
        if let Some(scenario) = egress.find(|scenario| scenario.name == name) {
            return Ok(Chosen::Egress(scenario));
        }
        let mut brokered = brokered::all(args.quick).into_iter();
        if let Some(scenario) = brokered.find(|scenario| scenario.name == name) {
            return Ok(Chosen::Brokered(scenario));
        }
        let mut found = Scenario::find(name);
        if let Err(scenario::Error::Unknown { known, .. }) = &mut found {
            let parts = egress::scenario::all().into_iter().map(|one| one.name);
            let brokered = brokered::all(args.quick).into_iter().map(|one| one.name);
            known.extend(parts.chain(brokered).map(str::to_owned));
        }
        Ok(Chosen::Models(Box::new(found?)))
    };
    args.scenarios.iter().map(choose).collect()
}

fn parts_effort(args: &args::Run) -> egress::runner::Effort {
    let mut effort = if args.quick {
        egress::runner::Effort::QUICK
    } else {
        egress::runner::Effort::FULL
    };
    effort.rounds = args.rounds.unwrap_or(effort.rounds);
    effort
}

/// Where results go: what was named, else a new folder of today, or the newest one to go on.
fn folder(args: &args::Run) -> anyhow::Result<PathBuf> {
    if let Some(folder) = &args.out {
        return Ok(folder.clone());
    }
    let results = Path::new(RESULTS);
    if args.resume {
        return newest(results);
    }
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let today = now.split('T').next().unwrap_or_default();
    let quick = if args.quick { "-quick" } else { "" };
    let names = (1..MOST_OF_A_DAY).map(|number| match number {
        1 => format!("{today}{quick}"),
        _ => format!("{today}{quick}.{number}"),
    });
    let mut free = names
        .map(|name| results.join(name))
        .filter(|folder| !folder.exists());
    free.next()
        .context("too many runs for one day; right would be --out DIR")
}

/// The folder that was written to last.
fn newest(results: &Path) -> anyhow::Result<PathBuf> {
    let nothing = || {
        format!(
            "{}: no run to go on with; right would be --out DIR",
            results.display()
        )
    };
    let entries = fs::read_dir(results).with_context(nothing)?;
    let folders = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let runs = folders.filter(|folder| has_results(folder));
    let written = |folder: &PathBuf| {
        fs::metadata(folder)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    runs.max_by_key(written).with_context(nothing)
}

fn has_results(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.path());
    names.any(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    })
}

/// Makes everything anew that people read; compares two.
pub(crate) fn report(folders: &[PathBuf], out: &mut impl Write) -> anyhow::Result<()> {
    for folder in folders {
        writeln!(out, "{}", report::render(folder)?.display())?;
    }
    let [first, second] = folders else {
        return Ok(());
    };
    let pairs = report::pairs([first, second])?;
    let compared: Vec<_> = pairs.iter().map(Comparison::of).collect();
    let tables = compared.iter().map(|one| markdown::table(&one.table()));
    let text = compare::summary(&compared) + &tables.collect::<String>();
    let path = second.join("comparison.md");
    fs::write(&path, &text).with_context(|| path.display().to_string())?;
    Ok(write!(out, "{text}")?)
}
