//! A whole run: starts receivers, reports every second, ends them, and judges.

use std::io::{self, Stdout};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{Clock, Shutdown, SystemClock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::Screen;
use crate::config::{Config, Format};
use crate::figures::{Collector, Figures};
use crate::ingress::Ingress;
use crate::output::{self, Bell, Display, Next, Stage};
use crate::report::Report;
use crate::watch::{Slot, Watcher};

const SECOND: Duration = Duration::from_secs(1);
/// How long receivers may take to end; who takes longer is left behind.
const GRACE: Duration = Duration::from_millis(1_500);

/// Why a run was no success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An output that cannot be had.
    #[error(transparent)]
    Output(#[from] output::Error),
    /// A thread that cannot be had.
    #[error("receiver {index} cannot start: {source}")]
    Thread {
        /// Which receiver.
        index: u16,
        /// What the system says.
        source: io::Error,
    },
    /// Figures that cannot be printed.
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
    /// A receiver that has failed for good.
    #[error("{url}: {reason}")]
    Failed {
        /// Where the stream should come from.
        url: String,
        /// Why it does not, or why it is of no use.
        reason: String,
    },
    /// Time is over and nothing came.
    #[error("no frame arrived within {} from {url}: {reason}", humantime::format_duration(*.within))]
    Nothing {
        /// How long was waited.
        within: Duration,
        /// Where frames should have come from.
        url: String,
        /// What is known about why.
        reason: String,
    },
}

/// Why the reporting is over.
#[derive(Debug)]
enum Ending {
    /// Somebody said the word: a signal, whoever looks, or a receiver that has failed.
    Told,
    /// The time given is over.
    Elapsed(Duration),
    /// Nobody reads the figures any more.
    Unread,
}

/// Runs until the word to end, the end of the time given, or a failure; blocks.
///
/// # Errors
/// If there was no success: see [`Error`].
pub fn run(config: &Config, shutdown: &Shutdown) -> Result<(), Error> {
    raise_open_files();
    let Started {
        slots,
        stages,
        bell,
        ended,
    } = start(config, shutdown)?;
    let mut collector = Collector::new(config, slots);
    let mut report = Report::new(io::stdout(), config.format);
    let display = Display::open(config, stages, bell, shutdown)?;
    let ending = observe(config, shutdown, display, (&mut collector, &mut report))?;
    shutdown.trigger();
    // Nothing is ever sent: this ends when the last receiver has dropped its end.
    let _ = ended.recv_timeout(GRACE);
    let figures = collector.summary();
    let is_worth_a_summary = config.format == Format::Json || figures.frames > 0;
    if is_worth_a_summary && !matches!(ending, Ending::Unread) {
        unless_closed(report.summary(&figures))?;
    }
    judge(ending, figures)
}

/// Receivers that run.
struct Started {
    /// What each has seen.
    slots: Vec<Arc<Slot>>,
    /// What each has to be shown; none if nothing is.
    stages: Vec<Arc<Stage>>,
    /// Rung by all of them.
    bell: Bell,
    /// Closed when the last one has ended.
    ended: mpsc::Receiver<()>,
}

/// Starts all receivers.
fn start(config: &Config, shutdown: &Shutdown) -> Result<Started, Error> {
    let (alive, ended) = mpsc::channel();
    let bell = Bell::default();
    let mut slots = Vec::with_capacity(config.count.get().into());
    let mut stages = Vec::new();
    for index in 0..config.count.get() {
        let slot = Arc::new(Slot::default());
        let stage = || Arc::new(Stage::new(config.sync, bell.clone(), slot.clone()));
        let stage = config.is_shown().then(stage);
        stages.extend(stage.clone());
        let watcher = Watcher {
            outputs: config.outputs(index)?,
            stage,
            slot: slot.clone(),
            shutdown: shutdown.clone(),
            alive: alive.clone(),
        };
        let ingress = Ingress::open(config.source.clone(), config.options, shutdown.clone());
        let started = watcher.start(ingress, index);
        started.map_err(|source| Error::Thread { index, source })?;
        slots.push(slot);
    }
    Ok(Started {
        slots,
        stages,
        bell,
        ended,
    })
}

/// Shows, and reports every second, until the end.
fn observe(
    config: &Config,
    shutdown: &Shutdown,
    mut display: Display,
    (collector, report): (&mut Collector, &mut Report<Stdout>),
) -> Result<Ending, Error> {
    let start = SystemClock.monotonic();
    let end = config.duration.map(|duration| (start + duration, duration));
    let mut warm = config.warm_up.map(|warm_up| start + warm_up);
    let mut next = start + SECOND;
    loop {
        let until = end.map_or(next, |(end, _)| next.min(end));
        let until = warm.map_or(until, |warm| until.min(warm));
        if display.show_until(until, shutdown)? != Next::Elapsed {
            return Ok(Ending::Told);
        }
        let now = SystemClock.monotonic();
        if warm.take_if(|warm| now >= *warm).is_some() {
            collector.begin_anew();
        }
        if now >= next {
            let figures = collector.second();
            display.note_figures(&figures);
            // There stdout is the screen.
            let is_told = config.screen == Screen::Terminal;
            if !is_told && unless_closed(report.second(&figures))? == Stream::Closed {
                return Ok(Ending::Unread);
            }
        }
        if let Some((_, duration)) = end.filter(|(end, _)| now >= *end) {
            let told = duration - config.warm_up.unwrap_or_default();
            return Ok(Ending::Elapsed(told));
        }
        while next <= now {
            next = next + SECOND;
        }
    }
}

/// Whether somebody still reads what is printed.
#[derive(Debug, PartialEq, Eq)]
enum Stream {
    Open,
    Closed,
}

fn unless_closed(printed: io::Result<()>) -> Result<Stream, Error> {
    match printed {
        Ok(()) => Ok(Stream::Open),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Stream::Closed),
        Err(error) => Err(Error::Stdout(error)),
    }
}

fn judge(ending: Ending, figures: Figures) -> Result<(), Error> {
    let url = figures.url;
    match (ending, figures.failure) {
        (_, Some(reason)) => Err(Error::Failed { url, reason }),
        (Ending::Elapsed(within), None) if figures.frames == 0 => {
            let reason = if figures.placeholders > 0 {
                "only placeholders came"
            } else {
                figures
                    .trouble
                    .as_deref()
                    .unwrap_or("connected, but nothing came")
            };
            Err(Error::Nothing {
                within,
                url,
                reason: reason.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

/// Each receiver needs a socket; the soft limit is often 1024.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(
            "the limit of open files stays at {:?}: {error}",
            limit.current
        );
    }
}
