//! One cell: starts who serves and who watches, and reads what a window gives and costs.
//!
//! ```text
//! chain ──► watchers           who serves, and who looks at it
//!   └─── course ───┘           samples of all of them, over the window
//! ```

use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use common::Shutdown;
use common::sampler::{Role, Sampler};

use crate::broker::Broker;
use crate::load::{Protocol, SAMPLES};
use crate::result::{BUSY_LOAD, Figures, Measured, RoleCost, VIEWERS};
use crate::scenario::{Arm, Load, Watchers};

mod chain;
mod course;
pub(crate) mod ps;
mod watching;
mod writer;

use chain::Chain;
pub use course::{Raw, Unwritten};
use watching::Watching;

pub use chain::missing;

/// Time between two samples.
const INTERVAL: Duration = Duration::from_millis(200);
/// Below this share of the rate that was asked for, fewer frames were published.
const FULL_RATE: f64 = 0.99;
/// Above this share of all processors the machine was full.
const FULL_MACHINE: f64 = 0.95;
/// Above this share of samples missed, curves are coarser than they look.
const MANY_MISSED: f64 = 0.1;

/// What is measured.
#[derive(Debug)]
pub struct Setting<'a> {
    /// Who.
    pub arm: &'a Arm,
    /// Under which load.
    pub load: &'a Load,
    /// Who watches.
    pub watchers: Watchers,
    /// The broker of this round, if there is one.
    pub broker: Option<&'a Broker>,
    /// Time before the window.
    pub warm_up: Duration,
    /// How long.
    pub window: Duration,
    /// How often `ps` is asked too.
    pub ps_every: Option<Duration>,
}

impl Setting<'_> {
    /// What viewers speak.
    fn protocol(&self) -> Protocol {
        self.arm.protocol.unwrap_or(self.load.protocol)
    }
}

/// Measures one cell. On `shutdown` it ends early, with an error or with figures of no worth.
///
/// # Errors
/// If a program does not start or ends in the middle, or samples cannot be written.
pub fn measure(
    setting: &Setting<'_>,
    raw: &mut Raw,
    shutdown: &Shutdown,
) -> anyhow::Result<Measured> {
    let mut chain = Chain::start(setting)?;
    let mut watching = Watching::start(setting, &chain)?;
    let mut roles = chain.roles();
    roles.push(watching.role());
    let pids: Vec<u32> = roles.iter().flat_map(|role| role.roots.clone()).collect();
    // The programs are our children: only named together with us they are not counted as ours.
    let mut sampler = Sampler::new(roles)?;
    watching.warm_up(setting.warm_up, shutdown);
    let before = chain.writer();
    let is_over = Shutdown::default();
    let (figures, course, held_up, ps) = thread::scope(|scope| {
        let sampling = scope.spawn(|| course::take(&mut sampler, INTERVAL, &is_over, raw));
        let (pids, over) = (&pids, &is_over);
        let ask = |every| scope.spawn(move || ps::take(pids, every, over));
        let asking = setting.ps_every.map(ask);
        let figures = watching.watch(setting.window, shutdown);
        is_over.trigger();
        let after = chain.writer();
        let held_up = before
            .zip(after)
            .and_then(|(before, after)| after.since(before));
        let course = sampling.join().expect("sampling does not panic");
        let ps = asking.map(|asking| asking.join().expect("asking does not panic"));
        (figures, course, held_up, ps.unwrap_or_default())
    });
    let figures = figures.and_then(|seen| seen.figures());
    // Who died is told before what that did to the others.
    let course = course?;
    if let Some(dead) = course.dead() {
        return Err(chain
            .failed(dead)
            .context(format!("{dead} ended in the middle")));
    }
    let mut figures = figures.context("watching")?;
    if let Some(held_up) = held_up {
        figures.writer_us = Some(held_up.micros);
        figures.writer_cpu_us = Some(held_up.cpu_micros);
    }
    let roles = course.costs();
    let mut doubts = doubts(setting, &figures, &roles);
    if course.missed_share() > MANY_MISSED {
        let percent = 100.0 * course.missed_share();
        doubts.push(format!(
            "{percent:.0} % of the samples are missing: the sampler was late"
        ));
    }
    Ok(Measured {
        figures,
        roles,
        curves: course.curves(),
        ps,
        sampler_cpu: course.sampler_cpu(),
        doubts,
    })
}

/// What makes the figures less certain.
fn doubts(setting: &Setting<'_>, figures: &Figures, roles: &[RoleCost]) -> Vec<String> {
    let mut doubts = Vec::new();
    let wanted = f64::from(setting.load.fps);
    if figures.published_fps < FULL_RATE * wanted {
        doubts.push(format!(
            "only {:.1} of {wanted} frames a second were published",
            figures.published_fps
        ));
    }
    if figures.edges_cut > 0 && setting.load.viewers > SAMPLES {
        let frames = figures.published_fps * figures.window_s;
        doubts.push(format!(
            "some were still served when others got the next frame: what was delivered is uncertain by up \
             to {:.1} %",
            100.0 * f64::from(figures.edges_cut) / frames.max(1.0)
        ));
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let busy: f64 = roles.iter().map(|role| role.cpu).sum();
    #[expect(clippy::cast_precision_loss, reason = "a number of processors")]
    if busy > FULL_MACHINE * cores as f64 {
        doubts.push(format!(
            "the machine was full: {busy:.2} of {cores} cores busy"
        ));
    }
    let watchers = roles.iter().find(|role| role.name == VIEWERS);
    if let Some(load) = watchers.filter(|role| role.cpu > BUSY_LOAD) {
        let percent = 100.0 * load.cpu;
        doubts.push(format!("the load generator used {percent:.0} % of a core"));
    }
    for role in roles.iter().filter(|role| role.memory_is_rss) {
        doubts.push(format!(
            "memory of {} with shared pages counted in full: the kernel does not tell more",
            role.name
        ));
    }
    doubts
}

/// A role of one name.
fn role(name: &str, roots: Vec<u32>) -> Role {
    Role {
        name: name.to_owned(),
        roots,
    }
}
