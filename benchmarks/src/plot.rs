//! Which plots a scenario has, as plain data made of its results alone. [`draw`] makes pictures of it.
//!
//! A point is the median of the rounds, a band goes from the least to the most of them. Points of cells
//! that did not deliver enough to be valid stand apart: they are drawn as crosses.

use crate::beside;
use crate::result::{Curve, Measured, Results, is_load};
use crate::scenario::Load;
use crate::spread::{Spread, distinct, megabytes};

pub mod draw;
pub(crate) mod group;
mod quantity;

use group::{Group, Varied, groups};
use quantity::{QUANTITIES, Quantity, quantities};

/// Panels that belong together, with one legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Of its file, behind the scenario's name.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Panels in a row; those of a row have the same y axis if they have the same label.
    pub columns: usize,
    /// Row by row.
    pub panels: Vec<Panel>,
}

/// One pair of axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What tells it from its neighbours.
    pub title: String,
    /// What goes to the right, with its unit.
    pub x: Axis,
    /// What goes up, with its unit.
    pub y: Axis,
    /// What is in it.
    pub lines: Vec<Line>,
}

/// One axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// What it is, with its unit.
    pub label: String,
    /// How numbers lie on it.
    pub scale: Scale,
}

/// How numbers lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By their magnitude, where they differ tenfold or more; else evenly, from zero.
    Logarithmic,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its entry in the legend.
    pub name: String,
    /// Which colour: the same for the same name throughout a scenario.
    pub colour: usize,
    /// Where it goes.
    pub points: Vec<(f64, f64)>,
    /// Least and most at each point; none for a line of one round.
    pub band: Vec<(f64, f64)>,
    /// Those points that are no valid measurement.
    pub invalid: Vec<(f64, f64)>,
}

/// Fewer points are no curve.
const LEAST_POINTS: usize = 3;
/// Above this ratio of the largest number to the smallest an axis is logarithmic.
const WIDE: usize = 50;

/// All figures of a scenario.
#[must_use]
pub fn figures(results: &Results) -> Vec<Figure> {
    let mut figures = Vec::new();
    for group in groups(results) {
        figures.extend(over_time(results, &group));
        figures.extend(against_load(results, &group));
        figures.extend(against_workers(results, &group));
        figures.extend(by_role(results, &group));
    }
    figures
}

fn axis(label: &str, scale: Scale) -> Axis {
    Axis {
        label: label.to_owned(),
        scale,
    }
}

/// Arms that were measured, with their place in the scenario.
fn arms(results: &Results) -> impl Iterator<Item = (usize, &str)> {
    let names = results.scenario.arms.iter().map(|arm| arm.name.as_str());
    let is_there = |(_, name): &(usize, &str)| {
        let mut cells = results.cells.iter();
        cells.any(|cell| cell.arm == *name && cell.measured().is_some())
    };
    names.enumerate().filter(is_there)
}

/// CPU and memory over time, all programs together: a column for each load.
fn over_time(results: &Results, group: &Group) -> Option<Figure> {
    if group.varied == Varied::Bytes {
        return None;
    }
    let mut panels = Vec::new();
    for (label, of) in [
        (
            "CPU / % of a core",
            (|curve| &curve.cpu_percent) as fn(&Curve) -> &Vec<f64>,
        ),
        ("memory / MB", |curve| &curve.memory_mb),
    ] {
        for load in &group.loads {
            let line = |(colour, arm): (usize, &str)| {
                // The round that was watched longest: the first.
                let points = sum(&results.of(arm, load).first()?.curves, of);
                (points.len() >= LEAST_POINTS).then(|| Line {
                    name: arm.to_owned(),
                    colour,
                    points,
                    band: Vec::new(),
                    invalid: Vec::new(),
                })
            };
            let mut lines: Vec<_> = arms(results).filter_map(line).collect();
            lines.extend(as_ps_tells(results, load, of));
            panels.push(Panel {
                title: group.varied.title(load),
                x: axis("time / s", Scale::Linear),
                y: axis(label, Scale::Linear),
                lines,
            });
        }
    }
    panels
        .iter()
        .any(|panel| !panel.lines.is_empty())
        .then(|| Figure {
            name: format!("time-{}", group.name),
            title: format!("All programs of a model over time, {}", group.about),
            columns: group.loads.len(),
            panels,
        })
}

/// The same processes in the eyes of `ps`, if it was asked.
fn as_ps_tells(results: &Results, load: &Load, of: fn(&Curve) -> &Vec<f64>) -> Vec<Line> {
    let first = arms(results)
        .next()
        .and_then(|(_, arm)| results.of(arm, load).first().copied());
    let curves = first.map_or(&[][..], |measured| &measured.ps);
    let line = |(number, curve): (usize, &Curve)| Line {
        points: sum(std::slice::from_ref(curve), of),
        ..Line::new(&curve.role, number + 1)
    };
    // A curve that knows no memory is flat.
    let is_told = |line: &Line| line.points.iter().any(|point| point.1 > 0.0);
    curves
        .iter()
        .enumerate()
        .map(line)
        .filter(is_told)
        .collect()
}

/// The curves of all roles as one.
fn sum(curves: &[Curve], of: fn(&Curve) -> &Vec<f64>) -> Vec<(f64, f64)> {
    let Some(first) = curves.first() else {
        return Vec::new();
    };
    let costing = || curves.iter().filter(|curve| !is_load(&curve.role));
    let at = |index: usize| costing().filter_map(|curve| of(curve).get(index)).sum();
    let times = first.at_s.iter().enumerate();
    times.map(|(index, time)| (*time, at(index))).collect()
}

/// Cost and service against what is varied of the load.
fn against_load(results: &Results, group: &Group) -> Option<Figure> {
    (group.loads.len() > 1).then(|| Figure {
        name: format!("load-{}", group.name),
        title: format!(
            "What a model takes, and what its viewers get, {}",
            group.about
        ),
        columns: 2,
        panels: quantities(group)
            .iter()
            .map(|quantity| Panel {
                title: String::new(),
                x: axis(group.varied.label(), scale_of(group)),
                y: axis(quantity.label, quantity.scale),
                lines: arms(results)
                    .map(|(colour, arm)| line(results, (colour, arm), group, arm, quantity.of))
                    .collect(),
            })
            // Older results do not have everything.
            .filter(|panel| panel.lines.iter().any(|line| !line.points.is_empty()))
            .collect(),
    })
}

/// Which program takes it: a column for each model, a line for each role.
fn by_role(results: &Results, group: &Group) -> Option<Figure> {
    let roles = distinct(
        results
            .cells
            .iter()
            .filter_map(|cell| cell.measured())
            .flat_map(|measured| measured.roles.iter().map(|role| role.name.clone())),
    );
    if group.loads.len() < 2 || roles.is_empty() || group.varied == Varied::Bytes {
        return None;
    }
    let mut panels = Vec::new();
    let columns = arms(results).count();
    for (label, of) in [
        (
            "CPU / % of a core",
            cpu_of as fn(&Measured, &str) -> Option<f64>,
        ),
        ("memory / MB", memory_of),
    ] {
        for (_, arm) in arms(results) {
            let has = |role: &&String| {
                results.cells.iter().any(|cell| {
                    let measured = cell.measured().filter(|_| cell.arm == arm);
                    measured.is_some_and(|measured| measured.role(role).is_some())
                })
            };
            let lines = roles.iter().enumerate().filter(|(_, role)| has(role));
            panels.push(Panel {
                title: arm.to_owned(),
                x: axis(group.varied.label(), scale_of(group)),
                y: axis(label, Scale::Linear),
                lines: lines
                    .map(|(colour, role)| {
                        let value =
                            |measured: &Measured, _: &Load| of(measured, role).unwrap_or(f64::NAN);
                        line(results, (colour, role), group, arm, value)
                    })
                    .collect(),
            });
        }
    }
    Some(Figure {
        name: format!("roles-{}", group.name),
        title: format!("Which program of a model takes it, {}", group.about),
        columns,
        panels,
    })
}

fn cpu_of(measured: &Measured, role: &str) -> Option<f64> {
    measured.role(role).map(|role| 100.0 * role.cpu)
}

fn memory_of(measured: &Measured, role: &str) -> Option<f64> {
    measured.role(role).map(|role| megabytes(role.memory_bytes))
}

/// A quantity of an arm against what is varied of the load.
#[expect(clippy::cast_precision_loss, reason = "viewers below 2^53")]
fn line(
    results: &Results,
    (colour, name): (usize, &str),
    group: &Group,
    arm: &str,
    of: impl Fn(&Measured, &Load) -> f64,
) -> Line {
    let mut line = Line::new(name, colour);
    for load in &group.loads {
        let value = group.varied.value(load) as f64;
        line.add(value, &results.of(arm, load), |measured| of(measured, load));
    }
    line
}

impl Line {
    fn new(name: &str, colour: usize) -> Self {
        Self {
            name: name.to_owned(),
            colour,
            points: Vec::new(),
            band: Vec::new(),
            invalid: Vec::new(),
        }
    }

    /// A point of some rounds, if any of them has a value.
    fn add(&mut self, x: f64, rounds: &[&Measured], of: impl Fn(&Measured) -> f64) {
        let point = self.add_values(x, rounds.iter().map(|round| of(round)));
        if rounds.iter().any(|round| !round.is_valid()) {
            self.invalid.extend(point);
        }
    }

    fn add_values(&mut self, x: f64, values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
        let spread = Spread::of(values.filter(|value| value.is_finite()), 0);
        let (middle, ends) = spread.middle().zip(spread.ends())?;
        self.points.push((x, middle));
        self.band.push(ends);
        Some((x, middle))
    }
}

/// Cost and service against the number of workers, where arms differ in that.
#[expect(clippy::cast_precision_loss, reason = "a number of threads")]
fn against_workers(results: &Results, group: &Group) -> Option<Figure> {
    let arms = results.scenario.arms.iter();
    let arms: Vec<_> = arms
        .filter_map(|arm| Some((arm.workers? as f64, arm.name.as_str())))
        .collect();
    let load = group.loads.last().filter(|_| arms.len() > 1)?;
    let panel = |quantity: &Quantity| {
        let mut line = Line::new(&load.to_string(), 0);
        for (workers, arm) in &arms {
            line.add(*workers, &results.of(arm, load), |measured| {
                (quantity.of)(measured, load)
            });
        }
        workers_panel(quantity.label, line)
    };
    let mut panels: Vec<_> = QUANTITIES.iter().map(panel).collect();
    for (label, of) in [
        (
            "speed-up: age p99 with 1 worker ÷ age p99",
            beside::speed_ups as fn(&Results, &str, &Load) -> Vec<f64>,
        ),
        ("efficiency: speed-up ÷ workers", beside::efficiencies),
    ] {
        let mut line = Line::new(&load.to_string(), 0);
        for (workers, arm) in &arms {
            line.add_values(*workers, of(results, arm, load).into_iter());
        }
        panels.push(workers_panel(label, line));
    }
    Some(Figure {
        name: format!("workers-{}", group.name),
        title: format!("More and more workers, {load}"),
        columns: 2,
        panels,
    })
}

fn workers_panel(label: &str, line: Line) -> Panel {
    Panel {
        title: String::new(),
        x: axis("workers", Scale::Linear),
        y: axis(label, Scale::Linear),
        lines: vec![line],
    }
}

fn scale_of(group: &Group) -> Scale {
    let values = || group.loads.iter().map(|load| group.varied.value(load));
    let (least, most) = (values().min().unwrap_or(0), values().max().unwrap_or(0));
    match least > 0 && most / least > WIDE {
        true => Scale::Logarithmic,
        false => Scale::Linear,
    }
}
