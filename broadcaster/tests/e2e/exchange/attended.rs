//! Readers that have no thread of their own: what comes is taken where it arrives.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use common::Identity;
use receiver::ingress::Work;

use super::foreign::says;
use super::*;
use crate::clients::are_installed;
use crate::program::command;
use crate::stage::Running;

/// What a reader was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// A frame, and how many messages were damaged until then.
    Frame(Identity, u64),
    /// Nothing, while there is a connection or is none.
    Nothing {
        is_connected: bool,
    },
    Closed,
}

/// A reader of the exchange by itself; what it is told comes out at the other end, which is closed after
/// the reader's own end.
fn attended(source: &str, work: Work, shutdown: &Shutdown) -> Receiver<Told> {
    let (teller, told) = mpsc::channel();
    let ingress = Ingress::open(
        source.parse().unwrap(),
        Options::default(),
        shutdown.clone(),
    );
    let taking = ingress.attend("attended".to_owned(), work, move |ingress, outcome| {
        let frames = match outcome {
            Ok(payload) => payload.frames.clone(),
            Err(RecvError::Closed) => {
                let _ = teller.send(Told::Closed);
                return ControlFlow::Break(());
            }
            Err(_) => {
                let is_connected = ingress.is_connected();
                let _ = teller.send(Told::Nothing { is_connected });
                return ControlFlow::Continue(());
            }
        };
        for frame in frames.iter().filter(|frame| !frame.head.is_placeholder()) {
            let _ = teller.send(Told::Frame(frame.head.identity, ingress.damaged()));
        }
        ControlFlow::Continue(())
    });
    taking.unwrap();
    told
}

/// What comes next that is of this kind.
fn next_of<T>(told: &Receiver<Told>, kind: impl Fn(Told) -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match told.recv_timeout(PATIENCE) {
            Ok(one) => {
                if let Some(wanted) = kind(one) {
                    return wanted;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("nothing of that kind");
}

fn frame(told: Told) -> Option<Identity> {
    match told {
        Told::Frame(identity, _) => Some(identity),
        _ => None,
    }
}

/// This process's threads of this name, and how often they have slept.
pub(super) fn threads(name: &str) -> (usize, u64) {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let statuses =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let named = statuses.filter(|status| status.starts_with(&format!("Name:\t{name}\n")));
    let sleeps = named.map(|status| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    });
    sleeps.fold((0, 0), |(count, sum), sleeps| (count + 1, sum + sleeps))
}

#[test]
fn who_attends_loses_no_frame_and_survives_the_broker() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    let place = Place::at(broker.url().to_owned(), None);
    let _stage = place.stage("--source pattern --model rabbitmq");
    let shutdown = Shutdown::default();
    let told = attended(&place.source(), Work::Brief, &shutdown);
    let first = next_of(&told, frame);
    for seq in first.seq + 1..first.seq + 60 {
        let epoch = first.epoch;
        assert_eq!(next_of(&told, frame), Identity { epoch, seq });
    }
    broker.kill();
    let lost = Instant::now();
    let is_lost = |told| {
        (told
            == Told::Nothing {
                is_connected: false,
            })
        .then_some(())
    };
    next_of(&told, is_lost);
    assert!(lost.elapsed() < SECOND, "{:?}", lost.elapsed());
    broker.restart();
    let back = Instant::now();
    let after = next_of(&told, frame);
    assert!(back.elapsed() < 2 * SECOND, "{:?}", back.elapsed());
    assert!(after.epoch == first.epoch && after.seq > first.seq + 60);
    // The word to end is heard at once, and the queue is gone when all is over.
    let begun = Instant::now();
    shutdown.trigger();
    next_of(&told, |told| (told == Told::Closed).then_some(()));
    assert_eq!(
        told.recv_timeout(PATIENCE),
        Err(RecvTimeoutError::Disconnected)
    );
    assert!(begun.elapsed() < FRAME_TIME * 8, "{:?}", begun.elapsed());
    let queues = broker.ctl("list_queues name");
    assert!(!queues.contains(".reader-"), "{queues}");
}

#[test]
fn who_attends_briefly_has_no_thread_but_the_connections_which_sleeps() {
    let Some(place) = Place::shared() else {
        return;
    };
    let shutdown = Shutdown::default();
    let is_there = |told| (told == Told::Nothing { is_connected: true }).then_some(());
    let told: Vec<_> = (0..5)
        .map(|_| attended(&place.source(), Work::Brief, &shutdown))
        .collect();
    told.iter().for_each(|told| next_of(told, is_there));
    assert_eq!((threads("attended").0, threads("exchange").0), (0, 1));
    let before = [threads("exchange").1, threads("lapin-io-loop").1];
    // Nothing is published: five readers are hardly ever awake.
    thread::sleep(2 * SECOND);
    let after = [threads("exchange").1, threads("lapin-io-loop").1];
    let sleeps = [after[0] - before[0], after[1] - before[1]];
    assert!(sleeps.iter().all(|&sleeps| sleeps < 20), "{sleeps:?}");
    let long = attended(&place.source(), Work::Long, &shutdown);
    next_of(&long, is_there);
    assert_eq!((threads("attended").0, threads("exchange").0), (1, 1));
    // Though nothing comes, all hear the word.
    let begun = Instant::now();
    shutdown.trigger();
    for told in told.iter().chain([&long]) {
        next_of(told, |told| (told == Told::Closed).then_some(()));
    }
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
}

#[test]
fn a_frame_wakes_the_connections_thread_and_no_other() {
    let Some(place) = Place::shared() else {
        return;
    };
    // In a process of its own, for its threads bear the same names.
    let mut publisher = command("--source pattern --http 127.0.0.1:0 --model rabbitmq");
    publisher.args(["--amqp", &place.url, "--exchange", &place.name]);
    let publisher = publisher.stdout(Stdio::null()).stderr(Stdio::null());
    let _publisher = Running(publisher.spawn().unwrap());
    let shutdown = Shutdown::default();
    let told = attended(&place.source(), Work::Brief, &shutdown);
    let first = next_of(&told, frame);
    let before = [threads("exchange").1, threads("lapin-io-loop").1];
    let last = (0..60).fold(first, |_, _| next_of(&told, frame));
    let after = [threads("exchange").1, threads("lapin-io-loop").1];
    let frames = last.seq - first.seq;
    // What is left is heartbeats, and what opening it has left to do.
    assert!(after[0] - before[0] < frames / 4, "{before:?} {after:?}");
    // A message may come in pieces.
    assert!(after[1] - before[1] < 2 * frames, "{before:?} {after:?}");
    shutdown.trigger();
}

#[test]
fn a_broker_that_says_nothing_is_left_with_all_that_was_opened_for_it() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let told = attended(
        &format!("amqp://{address}?channel=main"),
        Work::Brief,
        &shutdown,
    );
    // It is tried, given up after three seconds, and tried again.
    let tries: Vec<_> = (0..2).map(|_| silent.accept().unwrap()).collect();
    let ends_of_both = tries.into_iter().map(|(mut connection, _)| {
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut asked = Vec::new();
        connection.read_to_end(&mut asked).unwrap();
        asked
    });
    assert_eq!(ends_of_both.collect::<Vec<_>>(), [b"AMQP\0\0\x09\x01"; 2]);
    shutdown.trigger();
    next_of(&told, |told| (told == Told::Closed).then_some(()));
}

#[test]
fn garbage_does_not_stop_who_attends() {
    let Some(place) = Place::shared().filter(|_| are_installed(&["pika"])) else {
        return;
    };
    let shutdown = Shutdown::default();
    let told = attended(&place.source(), Work::Brief, &shutdown);
    next_of(&told, |told| {
        (told == Told::Nothing { is_connected: true }).then_some(())
    });
    // More than the window, at once and with nothing behind it that would wake the reader.
    assert_eq!(says(&place, "garbage 300").trim(), "300");
    let _stage = place.stage("--source pattern --model rabbitmq --fps 10");
    let mut seqs = (0..10).map(|_| {
        next_of(&told, |told| match told {
            Told::Frame(identity, damaged) => Some((identity.seq, damaged)),
            _ => None,
        })
    });
    let (first, damaged) = seqs.next().unwrap();
    assert!(damaged > 100, "{damaged}");
    assert!(
        seqs.zip(first + 1..)
            .all(|((seq, _), expected)| seq == expected)
    );
    shutdown.trigger();
}
