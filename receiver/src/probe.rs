//! `receiver probe URL`: watches for some seconds and says what a stream is and whether it is healthy.
//!
//! Policy: it says what is now. The first refusal is the answer, nothing is tried again before there
//! was a connection; a connection that is lost later is opened again, and counts against the stream.
//! Every picture is decoded, for a stream of damaged pictures is not healthy.

mod findings;
mod verdict;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use common::{Clock, Frame, Monotonic, Payload, RecvError, Shutdown, Subscribe, SystemClock};

use self::findings::Findings;
pub use self::verdict::Verdict;
use crate::account::Kind;
use crate::config::Format;
use crate::ingress::{Ingress, Options, Source};
use crate::output::decode;
use crate::report::{self, Progress};

/// How often the word to end is looked for, and progress is shown.
const TURN: Duration = Duration::from_millis(200);
/// How long a connection may take. The ingress has limits of its own for each step of it.
const LONGEST_DIAL: Duration = Duration::from_secs(15);

/// What to probe and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the stream comes from.
    pub source: Source,
    /// What to ask the server for.
    pub options: Options,
    /// How long to watch once connected.
    pub within: Duration,
    /// How findings are printed.
    pub format: Format,
}

/// What a probe comes to, as exit codes that scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Frames flow as they should: 0.
    Healthy,
    /// There is a stream, and something is wrong with it: 1.
    Unhealthy,
    /// There is no stream: refused, not found, no answer, no stream but something else: 3.
    Unreachable,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Healthy => Self::SUCCESS,
            Outcome::Unhealthy => Self::from(1),
            Outcome::Unreachable => Self::from(3),
        }
    }
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No decoder.
    #[error(transparent)]
    Decoder(#[from] decode::Unavailable),
    /// Findings that cannot be printed.
    #[error("cannot write to stdout: {0}")]
    Stdout(#[from] io::Error),
    /// The word to end came before there was anything to say.
    #[error("interrupted before the stream was connected")]
    Interrupted,
}

/// Watches, prints what was found, and judges; blocks.
///
/// # Errors
/// If it cannot watch or print; what is wrong with the stream is an [`Outcome`].
pub fn run(settings: &Settings, shutdown: &Shutdown) -> Result<Outcome, Error> {
    let source = settings.source.clone();
    let mut ingress = Ingress::open(source, settings.options, shutdown.clone());
    let progress = Progress::new(io::stderr().is_terminal());
    let watched = watch(settings, shutdown, &mut ingress, &progress);
    progress.clear();
    let url = settings.source.to_string();
    let verdict = match watched? {
        Some(findings) => Verdict::new(url, &findings),
        None => {
            let reason = ingress.last_error().map(ToString::to_string);
            Verdict::unreachable(url, reason.unwrap_or_else(|| "no answer".to_owned()))
        }
    };
    report::print_probe(&verdict, settings.format)?;
    Ok(verdict.outcome())
}

/// Watches for the time given; `None` if there is nothing to watch.
fn watch(
    settings: &Settings,
    shutdown: &Shutdown,
    ingress: &mut Ingress,
    progress: &Progress,
) -> Result<Option<Findings>, Error> {
    let Some(first) = connect(shutdown, ingress, progress)? else {
        return Ok(None);
    };
    let begun = SystemClock.monotonic();
    let end = begun + settings.within;
    let mut findings = Findings::new(begun)?;
    if let Connected::Payload(payload) = first {
        take(&payload, ingress, &mut findings);
    }
    loop {
        let now = SystemClock.monotonic();
        findings.note_connection(ingress.is_connected());
        if now >= end || shutdown.is_triggered() {
            findings.end(now, ingress);
            return Ok(Some(findings));
        }
        let (passed, within) = (now.since(begun), settings.within);
        progress.show(&format!(
            "watching, {:.0} of {:.0} s, {} frames",
            passed.as_secs_f64(),
            within.as_secs_f64(),
            findings.frames()
        ));
        match ingress.recv(TURN.min(end.since(now))) {
            Ok(payload) => take(&payload, ingress, &mut findings),
            Err(RecvError::TimedOut | RecvError::Lagged { .. }) => {}
            Err(RecvError::Closed) => {
                findings.end(SystemClock.monotonic(), ingress);
                return Ok(Some(findings));
            }
        }
    }
}

/// How a connection began.
#[derive(Debug)]
enum Connected {
    Silently,
    Payload(std::sync::Arc<Payload>),
}

/// Waits for the connection; `None` at the first refusal.
fn connect(
    shutdown: &Shutdown,
    ingress: &mut Ingress,
    progress: &Progress,
) -> Result<Option<Connected>, Error> {
    let end: Monotonic = SystemClock.monotonic() + LONGEST_DIAL;
    progress.show("connecting");
    loop {
        let received = ingress.recv(TURN);
        if shutdown.is_triggered() {
            return Err(Error::Interrupted);
        }
        match received {
            Ok(payload) => return Ok(Some(Connected::Payload(payload))),
            Err(_) if ingress.is_connected() => return Ok(Some(Connected::Silently)),
            Err(RecvError::Closed) => return Ok(None),
            Err(_) if ingress.last_error().is_some() => return Ok(None),
            Err(_) if SystemClock.monotonic() >= end => return Ok(None),
            Err(_) => {}
        }
    }
}

fn take(payload: &Payload, ingress: &Ingress, findings: &mut Findings) {
    let arrived_at = SystemClock.wall();
    findings.note_message(payload.published_at);
    for frame in &payload.frames {
        let age = ingress.age(&frame.head, arrived_at);
        if findings.add(frame) == Kind::New {
            findings.note_age(age);
        }
    }
}

/// What a frame is, in a word or two.
fn kind_of(frame: &Frame) -> &'static str {
    match frame.head.format {
        common::Format::Jpeg => "JPEG",
        common::Format::Opaque => "opaque bytes",
    }
}
