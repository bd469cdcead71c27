//! One cell: starts who takes part, waits until frames flow, and reads what a window costs each role.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use common::sampler::{Role, Sample, Sampler};
use common::{Shutdown, SystemClock};

use super::cells::{Case, Cell, MAKING, RoleCost, Way};
use crate::broker::Broker;

use crate::load::{Figures, Load, Target};
use crate::program::Program;

/// How many edges there are.
const EDGES: usize = 2;
const BROADCASTER: &str = "broadcaster --log error --http 127.0.0.1:0";
const TCP: &str = "--tcp 127.0.0.1:0";
/// What the broadcaster says before the address of its native protocol, and before that of its
/// exchange.
const NATIVE: &str = "native  ";
const AMQP: &str = "amqp    ";

/// Measures a case: `warm_up` after everybody has frames, for the window.
///
/// # Errors
/// If a program does not start or ends in the middle.
pub fn measure(
    round: u32,
    case: &Case,
    broker: &Broker,
    times: (Duration, Duration),
) -> anyhow::Result<Cell> {
    let (figures, roles) = match case.way {
        Way::Floor | Way::Crossed | Way::Exchange => through_exchange(case, broker, times)?,
        Way::Ring | Way::Edges => over_tcp(case, broker, times)?,
    };
    Ok(Cell {
        round,
        case: *case,
        figures,
        roles,
    })
}

fn through_exchange(
    case: &Case,
    broker: &Broker,
    (warm_up, window): (Duration, Duration),
) -> anyhow::Result<(Figures, Vec<RoleCost>)> {
    let Case {
        viewers,
        bytes,
        fps,
        ..
    } = case;
    let (url, exchange) = (&broker.url, broker.new_exchange());
    let is_ours = case.way != Way::Floor;
    let publisher = if is_ours {
        start_publisher(case, url, &exchange)?
    } else {
        let line =
            format!("benchmarks floor {url} --exchange {exchange} --bytes {bytes} --fps {fps}");
        let mut floor = Program::start(line)?;
        floor.line_after("publishing")?;
        floor
    };
    let through = match case.way {
        Way::Exchange => "ingress",
        _ => "floor",
    };
    let making = is_ours.then(|| start_ring(case));
    let making = making.transpose()?;
    let prefetch = case.prefetch.map(|count| format!("--prefetch {count}"));
    let frame_max = case.frame_max.map(|bytes| format!("--frame-max {bytes}"));
    let mut readers = Program::start(format!(
        "benchmarks readers {url} --exchange {exchange} --viewers {viewers} --bytes {bytes} \
         --through {through} {} {}",
        prefetch.unwrap_or_default(),
        frame_max.unwrap_or_default(),
    ))?;
    readers.line_after("ready ")?;
    let mut roles = vec![
        role("publisher", vec![publisher.pid()]),
        role("broker", broker.roots()?),
        role("readers", vec![readers.pid()]),
    ];
    roles.extend((making.iter()).map(|ring| role(MAKING, vec![ring.pid()])));
    let mut sampler = Sampler::new(roles)?;
    thread::sleep(warm_up);
    ensure!(
        readers.ask("begin")? == "begun",
        "the readers have not begun"
    );
    let first = sampler.sample(&SystemClock)?;
    thread::sleep(window);
    let last = sampler.sample(&SystemClock)?;
    let figures = serde_json::from_str(&readers.ask("end")?)?;
    Ok((figures, costs(&sampler, &first, &last)?))
}

fn over_tcp(
    case: &Case,
    broker: &Broker,
    (warm_up, window): (Duration, Duration),
) -> anyhow::Result<(Figures, Vec<RoleCost>)> {
    let exchange = broker.new_exchange();
    let url = &broker.url;
    let (mut roles, mut publisher, mut edges) = (Vec::new(), None, Vec::new());
    let mut targets = Vec::new();
    if case.way == Way::Edges {
        publisher = Some(start_publisher(case, url, &exchange)?);
        for _ in 0..EDGES {
            let source = format!("{url}?exchange={exchange}");
            let mut edge = Program::start(format!("{BROADCASTER} --source {source} {TCP}"))?;
            targets.push(Target::parse(&edge.line_after(NATIVE)?)?);
            edges.push(edge);
        }
        roles.push(role("broker", broker.roots()?));
        roles.push(role("edges", edges.iter().map(Program::pid).collect()));
    } else {
        let mut ring = start_ring(case)?;
        targets.push(Target::parse(&ring.line_after(NATIVE)?)?);
        publisher = publisher.or(Some(ring));
    }
    let publisher = publisher.context("nobody publishes")?;
    roles.insert(0, role("publisher", vec![publisher.pid()]));
    roles.push(role("viewers", vec![std::process::id()]));
    // Our children are counted as ours no more once they are named.
    let mut sampler = Sampler::new(roles)?;
    let load = Load::start_on(&targets, case.viewers)?;
    thread::sleep(warm_up);
    let (figures, first, last) = load.watch(window, &Shutdown::default(), || {
        sampler.sample(&SystemClock)
    });
    Ok((figures, costs(&sampler, &first?, &last?)?))
}

/// A broadcaster with a ring and nothing else.
fn start_ring(case: &Case) -> anyhow::Result<Program> {
    Program::start(format!("{BROADCASTER} {} {TCP}", pattern(case)))
}

/// A broadcaster that publishes to an exchange.
fn start_publisher(case: &Case, url: &str, exchange: &str) -> anyhow::Result<Program> {
    let pattern = pattern(case);
    let mut publisher = Program::start(format!(
        "{BROADCASTER} {pattern} --model rabbitmq --amqp {url} --exchange {exchange}"
    ))?;
    publisher.line_after(AMQP)?;
    Ok(publisher)
}

/// A tiny picture: what is measured is the way out, and encoding should not be part of it.
fn pattern(case: &Case) -> String {
    let Case { bytes, fps, .. } = case;
    format!("--source pattern?bytes={bytes} --size 16x16 --fps {fps}")
}

fn role(name: &str, roots: Vec<u32>) -> Role {
    Role {
        name: name.to_owned(),
        roots,
    }
}

fn costs(sampler: &Sampler, first: &[Sample], last: &[Sample]) -> anyhow::Result<Vec<RoleCost>> {
    let roles = sampler.roles().iter().zip(first.iter().zip(last));
    let cost = |(role, (first, last)): (&Role, (&Sample, &Sample))| {
        ensure!(last.processes > 0, "{} ended in the middle", role.name);
        Ok(RoleCost::of(&role.name, &last.since(first), last))
    };
    roles.map(cost).collect()
}
