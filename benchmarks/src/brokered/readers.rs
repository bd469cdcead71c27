//! A process full of readers of one exchange: ours, as a receiver has them, or the floor's.
//!
//! They are apart from the program that measures so that they have a cost of their own. Ours take
//! payloads from an [`Ingress`] each, all bytes checked, as in the receiver; what the
//! receiver does with frames afterwards (accounts, outputs) is left out. Both kinds count alike.
//!
//! On stdin and stdout, line by line: it says `ready COUNT` when everybody has had a frame (or the
//! patience is over); `begin` begins a window and is answered; `end` ends it and is answered with the
//! figures as JSON, after a moment for what is still on its way. The end of stdin is the end.

use std::io::{self, BufRead, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use common::wire::payload;
use common::{Clock, Payload, RecvError, Shutdown, SystemClock, Timestamp};
use receiver::ingress::{Ingress, Options, Source, Work};

use super::floor;
use super::tally::{Arrival, Tally};
use crate::args;

/// How long the last of them may take for its first frame.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many connect at once: more would wait for each other at the broker and give up.
const AT_ONCE: usize = 8;
/// For what is on its way at the end of a window. What is older is of no use to anybody.
const LAST_FRAMES: Duration = Duration::from_secs(1);
/// How often something is looked after that nobody tells us.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Whose code reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// The least there can be.
    Floor,
    /// What the receiver and edges read with.
    Ingress,
}

/// What all readers share.
#[derive(Debug, Clone)]
struct Shared {
    tally: Arc<Tally>,
    /// Why the first one ended that did.
    trouble: Arc<Mutex<Option<String>>>,
}

/// Reads until stdin ends, and answers meanwhile.
///
/// # Errors
/// If one of them ends before all have had a frame, if nobody gets anything, or if the words make no
/// sense.
pub fn run(args: &args::Readers, words: impl BufRead, out: &mut impl Write) -> anyhow::Result<()> {
    let shared = Shared {
        tally: Arc::new(Tally::new(args.viewers)),
        trouble: Arc::default(),
    };
    let readers = Readers::new(args)?;
    let begun = start_all(&readers, args.viewers, &shared)?;
    ensure!(begun > 0, "no reader got a frame within {PATIENCE:?}");
    say(out, &format!("ready {begun}"))?;
    for word in words.lines() {
        match word?.as_str() {
            "begin" if shared.tally.begin() => say(out, "begun")?,
            "end" => {
                shared.tally.end();
                let deadline = SystemClock.monotonic() + LAST_FRAMES;
                while !shared.tally.is_complete() && SystemClock.monotonic() < deadline {
                    thread::sleep(LOOK_EVERY);
                }
                let figures = shared.tally.figures(args.body_bytes());
                let figures = figures.context("end without begin")?;
                say(out, &serde_json::to_string(&figures)?)?;
            }
            other => bail!("{other:?}: the words are begin and end"),
        }
    }
    // Threads and connections end with the process.
    Ok(())
}

impl args::Readers {
    #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
    fn body_bytes(&self) -> f64 {
        (self.bytes + payload::COUNT_BYTES + payload::HEAD_BYTES) as f64
    }
}

fn say(out: &mut impl Write, line: &str) -> io::Result<()> {
    writeln!(out, "{line}")?;
    out.flush()
}

/// Starts them, a few at once; how many have had a frame when all have or the patience is over.
fn start_all(readers: &Readers, count: usize, shared: &Shared) -> anyhow::Result<usize> {
    let deadline = SystemClock.monotonic() + PATIENCE;
    let mut started = 0;
    loop {
        if let Ok(Some(trouble)) = shared.trouble.lock().as_deref() {
            bail!("a reader ended: {trouble}");
        }
        let begun = shared.tally.begun();
        if begun == count || SystemClock.monotonic() >= deadline {
            return Ok(begun);
        }
        while started < count.min(begun + AT_ONCE) {
            readers.start(started, shared)?;
            started += 1;
        }
        thread::sleep(LOOK_EVERY);
    }
}

enum Readers {
    Floor(floor::Readers),
    Ingress(Source),
}

impl Readers {
    fn new(args: &args::Readers) -> anyhow::Result<Self> {
        let args::Readers { url, exchange, .. } = args;
        Ok(match args.through {
            Through::Floor => Self::Floor(floor::Readers::new(
                url.clone(),
                exchange.clone(),
                args.prefetch,
            )?),
            // As `receiver` does at its start; the floor leaves the allocator as it is.
            Through::Ingress => {
                common::heap::keep_freed();
                Self::Ingress(source(args).parse()?)
            }
        })
    }

    fn start(&self, number: usize, shared: &Shared) -> anyhow::Result<()> {
        let (tally, trouble) = (shared.tally.clone(), shared.trouble.clone());
        let arrived = move |seq, captured_at| tally.note(number, arrival(seq, captured_at));
        let ended = move |error: String| {
            let mut told = trouble.lock().expect("no thread panics while holding this");
            told.get_or_insert(error);
        };
        match self {
            Self::Floor(readers) => readers.start(arrived, move |error| ended(error.to_string())),
            Self::Ingress(source) => {
                let source = source.clone();
                let ingress = Ingress::open(source, Options::default(), Shutdown::default());
                ingress.attend(
                    format!("reader-{number}"),
                    Work::Brief,
                    read(arrived, ended),
                )?;
            }
        }
        Ok(())
    }
}

/// The exchange as our own programs name it.
fn source(args: &args::Readers) -> String {
    let args::Readers { url, exchange, .. } = args;
    let prefetch = args.prefetch.map(|count| format!("&prefetch={count}"));
    let frame_max = args.frame_max.map(|bytes| format!("&frame_max={bytes}"));
    let [prefetch, frame_max] = [prefetch, frame_max].map(Option::unwrap_or_default);
    format!("{url}?exchange={exchange}{prefetch}{frame_max}")
}

fn arrival(seq: u64, captured_at: Timestamp) -> Arrival {
    Arrival {
        seq,
        age: SystemClock.wall().since(captured_at),
        at: SystemClock.monotonic(),
    }
}

/// What each of our readers does with what it gets.
fn read(
    mut arrived: impl FnMut(u64, Timestamp),
    ended: impl FnOnce(String),
) -> impl FnMut(&Ingress, Result<Arc<Payload>, RecvError>) -> ControlFlow<()> {
    let mut ended = Some(ended);
    move |ingress, outcome| {
        match outcome {
            Ok(payload) => {
                for frame in &payload.frames {
                    if !frame.head.is_placeholder() {
                        arrived(frame.head.identity.seq, frame.head.captured_at);
                    }
                }
            }
            Err(RecvError::Closed) => {
                let error = ingress.last_error().map(ToString::to_string);
                if let Some(ended) = ended.take() {
                    ended(error.unwrap_or_default());
                }
                return ControlFlow::Break(());
            }
            Err(_) => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_the_reader() {
        let parsed = |prefetch, frame_max| {
            let args = args::Readers {
                url: "amqp://guest:guest@127.0.0.1:1/%2f".to_owned(),
                exchange: "benchmark-3".to_owned(),
                viewers: 1,
                bytes: 1,
                through: Through::Ingress,
                prefetch,
                frame_max,
            };
            match source(&args).parse() {
                Ok(Source::Amqp(amqp)) => {
                    let frame_max = amqp.brokers.from(0).next().and_then(|one| one.frame_max);
                    (amqp.exchange, amqp.prefetch, frame_max)
                }
                other => panic!("{other:?}"),
            }
        };
        let name = || "benchmark-3".to_owned();
        assert_eq!(parsed(None, None), (name(), None, None));
        assert_eq!(parsed(Some(0), Some(8192)), (name(), Some(0), Some(8192)));
    }
}
