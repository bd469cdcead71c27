//! Everything that people read, made anew of the result files in a folder.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::export::html::{self, Section};
use crate::export::{self, csv, markdown};
use crate::plot::{self, draw};
use crate::result::{Results, replace};
use crate::{brokered, egress, scenario};

pub mod compare;

/// The page of all scenarios of a folder.
pub const PAGE: &str = "report.html";

/// Makes tables and plots beside each result in the folder, and the page of all of them. What it has
/// written last: the page, or a table if there is no result that the page shows.
///
/// # Errors
/// If a file is no result, or something cannot be written.
pub fn render(folder: &Path) -> anyhow::Result<PathBuf> {
    let none = || {
        format!(
            "{}: no results in this folder; right would be one that `benchmarks run` has written",
            folder.display()
        )
    };
    let mut last = None;
    let mut all = Vec::new();
    for path in results_in(folder).with_context(none)? {
        let name = || path.display().to_string();
        let scenario = path.file_stem().unwrap_or_default().to_string_lossy();
        let table = path.with_extension("md");
        if brokered::is_name(&scenario) {
            let run = brokered::cells::Run::load(&path).with_context(name)?;
            brokered::table::save(&run, &table).with_context(name)?;
        } else if egress::is_name(&scenario) {
            let run = egress::result::Run::load(&path).with_context(name)?;
            egress::table::save(&run, &table).with_context(name)?;
        } else {
            all.push(Results::load(&path).with_context(name)?);
        }
        last = Some(table);
    }
    let order = scenario::all().into_iter().map(|scenario| scenario.name);
    let order: Vec<_> = order.collect();
    all.sort_by_key(|results| {
        let name = &results.scenario.name;
        let place = order.iter().position(|known| known == name);
        (place.unwrap_or(order.len()), name.clone())
    });
    if !all.is_empty() {
        last = Some(render_all(&all, folder)?);
    }
    last.with_context(none)
}

/// The JSON files of a folder.
fn results_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort();
    Ok(paths)
}

fn render_all(all: &[Results], folder: &Path) -> anyhow::Result<PathBuf> {
    let mut sections = Vec::new();
    for results in all {
        sections.push(render_one(results, folder)?);
    }
    let page = folder.join(PAGE);
    write(&page, html::render(&sections).as_bytes())?;
    Ok(page)
}

fn render_one(results: &Results, folder: &Path) -> anyhow::Result<Section> {
    let name = &results.scenario.name;
    let (mut plots, mut pictures) = (Vec::new(), Vec::new());
    for figure in plot::figures(results) {
        let file = format!("{name}-{}", figure.name);
        let drawn = draw::draw(&figure)?;
        write(&folder.join(format!("{file}.svg")), drawn.svg.as_bytes())?;
        write(&folder.join(format!("{file}.png")), &drawn.png)?;
        pictures.push((format!("{file}.svg"), figure.title.clone()));
        plots.push((figure.title, drawn.svg));
    }
    let document = export::document(results);
    let text = markdown::render(&document, &pictures);
    write(&folder.join(format!("{name}.md")), text.as_bytes())?;
    write(&folder.join(format!("{name}.csv")), &csv::render(results)?)?;
    Ok(Section { document, plots })
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = replace(path, |file| file.write_all(bytes));
    written.with_context(|| path.display().to_string())
}

/// Results of the same scenario in two folders.
///
/// # Errors
/// If a folder has none, or a file is none.
pub fn pairs(folders: [&Path; 2]) -> anyhow::Result<Vec<[Results; 2]>> {
    let mut pairs = Vec::new();
    for path in results_in(folders[0])? {
        let Some(name) = path.file_name() else {
            continue;
        };
        let other = folders[1].join(name);
        let scenario = path.file_stem().unwrap_or_default().to_string_lossy();
        if !other.exists() || brokered::is_name(&scenario) || egress::is_name(&scenario) {
            continue;
        }
        let load = |path: &Path| Results::load(path).with_context(|| path.display().to_string());
        pairs.push([load(&path)?, load(&other)?]);
    }
    let [one, other] = folders.map(|folder| folder.display().to_string());
    ensure!(
        !pairs.is_empty(),
        "{one} and {other} have no scenario in common"
    );
    Ok(pairs)
}
