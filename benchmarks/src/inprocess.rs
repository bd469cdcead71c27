//! A ring, one writer and some readers in one process: what handing frames on costs where no network is.
//!
//! The writer shares one piece of memory in all its frames, as a broadcaster shares an encoded picture;
//! making it is not part of this. Words on stdin and answers on stdout are those of
//! [`readers`](crate::brokered::readers), and the answer to `end` tells too how long the writer was held up.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use common::ring::{self, Publisher, Ring, Subscriber};
use common::{
    Clock, Effort, Format, Frame, Head, Identity, Payload, RecvError, Spent, Subscribe, SystemClock,
};
use serde_json::json;

use crate::args;
use crate::brokered::tally::{Arrival, Tally};

/// As in the broadcaster.
const CAPACITY: usize = 64;
/// For a payload, and for what is on its way at the end of a window.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often something is looked after that nobody tells us.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Who is later than this does not make up for it.
const MOST_BEHIND: Duration = Duration::from_millis(100);

/// How long the writer was held up, and for how many frames.
#[derive(Debug, Default)]
struct HeldUp {
    nanos: AtomicU64,
    cpu_nanos: AtomicU64,
    frames: AtomicU64,
}

/// Writes and reads until stdin ends, and answers meanwhile.
///
/// # Errors
/// If the words make no sense, or the system gives no thread.
pub fn run(args: &args::Ring, words: impl BufRead, out: &mut impl Write) -> anyhow::Result<()> {
    let tally = Arc::new(Tally::new(args.viewers));
    let held_up = Arc::new(HeldUp::default());
    let (publisher, ring) = ring::new(CAPACITY);
    start_readers(args.viewers, &ring, &tally)?;
    start_writer(args, publisher, &held_up)?;
    let deadline = SystemClock.monotonic() + PATIENCE;
    while tally.begun() < args.viewers && SystemClock.monotonic() < deadline {
        thread::sleep(LOOK_EVERY);
    }
    say(out, "ready")?;
    let mut before = held_up.now();
    for word in words.lines() {
        match word?.as_str() {
            "begin" if tally.begin() => {
                before = held_up.now();
                say(out, "begun")?;
            }
            "end" => {
                tally.end();
                let deadline = SystemClock.monotonic() + PATIENCE;
                while !tally.is_complete() && SystemClock.monotonic() < deadline {
                    thread::sleep(LOOK_EVERY);
                }
                let [nanos, cpu_nanos, frames] = held_up.since(before);
                let figures = tally
                    .figures(args.bytes_as_number())
                    .context("end without begin")?;
                let mut answer = serde_json::to_value(&figures)?;
                answer["writer_us"] = json!(nanos / 1e3 / frames.max(1.0));
                answer["writer_cpu_us"] = json!(cpu_nanos / 1e3 / frames.max(1.0));
                say(out, &answer.to_string())?;
            }
            other => bail!("{other:?}: the words are begin and end"),
        }
    }
    // Threads end with the process.
    Ok(())
}

impl args::Ring {
    #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
    const fn bytes_as_number(&self) -> f64 {
        self.bytes as f64
    }
}

impl HeldUp {
    /// Time, processor time, frames.
    fn now(&self) -> [u64; 3] {
        [&self.nanos, &self.cpu_nanos, &self.frames].map(|count| count.load(Ordering::Relaxed))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    fn since(&self, before: [u64; 3]) -> [f64; 3] {
        let now = self.now();
        std::array::from_fn(|which| (now[which] - before[which]) as f64)
    }

    fn add(&self, spent: Spent) {
        for (count, took) in [(&self.nanos, spent.time), (&self.cpu_nanos, spent.cpu)] {
            let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            count.fetch_add(took, Ordering::Relaxed);
        }
        self.frames.fetch_add(1, Ordering::Relaxed);
    }
}

fn say(out: &mut impl Write, line: &str) -> io::Result<()> {
    writeln!(out, "{line}")?;
    out.flush()
}

fn start_readers(count: usize, ring: &Ring, tally: &Arc<Tally>) -> io::Result<()> {
    for number in 0..count {
        let (subscriber, tally) = (ring.subscribe(), Arc::clone(tally));
        let builder = thread::Builder::new().name(format!("reader-{number}"));
        builder.spawn(move || read(subscriber, number, &tally))?;
    }
    Ok(())
}

fn read(mut subscriber: Subscriber, number: usize, tally: &Tally) {
    loop {
        match subscriber.recv(PATIENCE) {
            Ok(payload) => {
                for frame in &payload.frames {
                    let arrival = Arrival {
                        seq: frame.head.identity.seq,
                        age: SystemClock.wall().since(frame.head.captured_at),
                        at: SystemClock.monotonic(),
                    };
                    tally.note(number, arrival);
                }
            }
            Err(RecvError::Closed) => return,
            Err(_) => {}
        }
    }
}

fn start_writer(args: &args::Ring, publisher: Publisher, held_up: &Arc<HeldUp>) -> io::Result<()> {
    let data = Bytes::from(vec![0x55; args.bytes]);
    let interval = Duration::from_secs_f64(1.0 / args.fps);
    let (together, held_up) = (args.frames_per_payload, Arc::clone(held_up));
    let builder = thread::Builder::new().name("writer".to_owned());
    builder.spawn(move || write(publisher, (&data, together), interval, &held_up))?;
    Ok(())
}

fn write(
    mut publisher: Publisher,
    (data, together): (&Bytes, usize),
    interval: Duration,
    held_up: &HeldUp,
) {
    let mut frames = Vec::with_capacity(together);
    let (mut seq, mut index) = (0, 0);
    let mut due = SystemClock.monotonic();
    loop {
        let now = SystemClock.monotonic();
        thread::sleep(due.since(now));
        if now.since(due) > MOST_BEHIND {
            due = now;
        }
        due = due + interval;
        let identity = Identity { epoch: 1, seq };
        let head = Head::new(identity, SystemClock.wall(), Format::Opaque);
        let frame = Frame::new(head, data.clone());
        let effort = Effort::begin();
        frames.push(frame);
        if frames.len() >= together {
            publisher.publish(Arc::new(Payload {
                index,
                published_at: SystemClock.monotonic(),
                frames: std::mem::take(&mut frames),
            }));
            index += 1;
        }
        held_up.add(effort.spent());
        seq += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, pipe};

    #[test]
    fn every_frame_is_counted_and_the_writer_is_timed() {
        let args = args::Ring {
            viewers: 2,
            bytes: 1000,
            fps: 200.0,
            frames_per_payload: 2,
        };
        let (reading, mut words) = pipe().unwrap();
        let running = thread::spawn(move || {
            let mut out = Vec::new();
            run(&args, BufReader::new(reading), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        });
        writeln!(words, "begin").unwrap();
        thread::sleep(Duration::from_millis(500));
        writeln!(words, "end").unwrap();
        drop(words);
        let out = running.join().unwrap();
        let answer = out.lines().nth(2).unwrap();
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        let number = |name: &str| answer[name].as_f64().unwrap();
        assert_eq!(number("delivered"), 1.0, "{answer}");
        assert!(number("published") > 10.0, "{answer}");
        assert!(number("writer_us") > 0.0, "{answer}");
        assert!(number("writer_cpu_us") > 0.0, "{answer}");
    }
}
