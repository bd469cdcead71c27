//! The native protocol.

use std::time::Duration;

use common::wire::MAX_HOPS;
use common::wire::tcp::{GoodbyeCode, Message, Pong, Welcome};
use common::{
    Clock, Flags, Identity, Monotonic, RecvError, Shutdown, Subscribe, SystemClock, Timestamp,
};
use receiver::ingress::{Error, Ingress, Options, Purpose};

use crate::server::{PATIENCE, Peer, Script, frame, open, serve, serve_one};

fn url(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}/main")
}

fn send_frames(peer: &mut Peer, frames: std::ops::Range<u64>) {
    for seq in frames {
        peer.say(Message::Payload(vec![frame(1, seq)]));
    }
}

#[test]
fn payloads_arrive_with_their_frames_and_an_index_of_our_own() {
    let port = serve_one(|peer| {
        let hello = peer.welcome();
        assert_eq!((hello.channel.as_str(), hello.max_age), ("main", None));
        peer.say(Message::Payload(vec![frame(1, 7), frame(1, 8)]));
        let mut placeholder = frame(1, 8);
        placeholder.head.flags = Flags::KEY.with(Flags::PLACEHOLDER);
        peer.say(Message::Payload(vec![placeholder]));
        peer.hold();
    });
    let before = SystemClock.monotonic();
    let mut ingress = open(&url(port));
    let first = ingress.recv(PATIENCE).unwrap();
    assert_eq!(first.frames, [frame(1, 7), frame(1, 8)]);
    assert!(ingress.is_connected() && first.published_at >= before);
    let second = ingress.recv(PATIENCE).unwrap();
    assert_eq!((first.index, second.index), (0, 1));
    assert!(second.frames[0].head.is_placeholder());
    assert_eq!(ingress.recv(Duration::ZERO), Err(RecvError::TimedOut));
}

#[test]
fn an_ingress_comes_back_and_goes_on_counting() {
    let port = serve(vec![
        Box::new(|peer| {
            peer.welcome();
            send_frames(peer, 1..2);
            peer.goodbye(GoodbyeCode::ShuttingDown, "restarting");
        }),
        // Once connected, even this is temporary.
        Box::new(|peer| {
            peer.hear();
            peer.goodbye(GoodbyeCode::UnknownChannel, "not yet");
        }),
        Box::new(|peer| {
            peer.welcome();
            send_frames(peer, 5..6);
            peer.hold();
        }),
    ]);
    let mut ingress = open(&url(port));
    for (index, seq) in [(0, 1), (1, 5)] {
        let payload = ingress.recv(PATIENCE).unwrap();
        assert_eq!(payload.index, index);
        assert_eq!(payload.frames[0].head.identity, Identity { epoch: 1, seq });
    }
}

#[test]
fn what_the_server_refuses_for_good_at_first_is_final() {
    let port = serve_one(|peer| {
        peer.hear();
        peer.goodbye(GoodbyeCode::UnknownChannel, "no channel main");
    });
    let mut ingress = open(&url(port));
    assert_eq!(ingress.recv(PATIENCE), Err(RecvError::Closed));
    let text = ingress.last_error().unwrap().to_string();
    assert_eq!(text, "the server says UnknownChannel: no channel main");

    let port = serve_one(|peer| {
        peer.hear();
        peer.say(Message::Welcome(Welcome {
            version: 9,
            feedback_every: Duration::from_secs(1),
            epoch: 1,
        }));
    });
    let mut ingress = open(&url(port));
    assert_eq!(ingress.recv(PATIENCE), Err(RecvError::Closed));
    assert!(matches!(ingress.last_error(), Some(Error::Version(9))));
}

#[test]
fn a_relay_takes_no_refusal_as_final_and_no_frame_out_of_a_circle() {
    let passed = |hops: u8| {
        let mut frame = frame(1, hops.into());
        frame.head.hops = hops;
        Message::Payload(vec![frame])
    };
    let port = serve(vec![
        Box::new(|peer| {
            peer.hear();
            peer.goodbye(GoodbyeCode::UnknownChannel, "not yet");
        }),
        Box::new(move |peer| {
            peer.welcome();
            peer.say(passed(MAX_HOPS + 1));
            peer.hold();
        }),
        Box::new(move |peer| {
            peer.welcome();
            peer.say(passed(MAX_HOPS));
            peer.hold();
        }),
    ]);
    let options = Options {
        purpose: Purpose::Relay,
        ..Options::default()
    };
    let source = url(port).parse().unwrap();
    let mut ingress = Ingress::open(source, options, Shutdown::default());
    let payload = ingress.recv(PATIENCE).unwrap();
    assert_eq!(payload.frames[0].head.hops, MAX_HOPS);
    assert!(matches!(ingress.last_error(), Some(Error::Circle(9))));
}

#[test]
fn a_server_with_nothing_but_placeholders_is_tried_ever_more_slowly() {
    let (gone, times) = std::sync::mpsc::channel();
    let script = || -> Script {
        let gone = gone.clone();
        Box::new(move |peer| {
            let came = SystemClock.monotonic();
            peer.welcome();
            let mut placeholder = frame(1, 1);
            placeholder.head.flags = Flags::KEY.with(Flags::PLACEHOLDER);
            peer.say(Message::Payload(vec![placeholder]));
            gone.send((came, SystemClock.monotonic())).unwrap();
            peer.goodbye(GoodbyeCode::ShuttingDown, "restarting");
        })
    };
    let port = serve((0..4).map(|_| script()).collect());
    let mut ingress = open(&url(port));
    for _ in 0..4 {
        let payload = ingress.recv(PATIENCE).unwrap();
        assert!(payload.frames[0].head.is_placeholder());
    }
    let times: Vec<_> = times.iter().take(4).collect();
    // The third wait, from a goodbye until the next arrival, is about a second, the first a quarter of one.
    let waited = times[3].0.since(times[2].1);
    assert!(waited >= Duration::from_millis(700), "{waited:?}");
}

#[test]
fn four_gibibytes_announced_are_damage_and_end_the_connection() {
    let port = serve(vec![
        Box::new(|peer| {
            peer.welcome();
            peer.send(b"\x03\0\0\0\xff\xff\xff\xff");
            peer.hold();
        }),
        Box::new(|peer| {
            peer.welcome();
            send_frames(peer, 3..4);
            peer.hold();
        }),
    ]);
    let mut ingress = open(&url(port));
    assert_eq!(
        ingress.recv(PATIENCE).unwrap().frames[0].head.identity.seq,
        3
    );
    assert_eq!(ingress.damaged(), 1);
    let text = ingress.last_error().unwrap().to_string();
    assert!(text.contains("4294967295 bytes announced"), "{text}");
}

#[test]
fn the_servers_clock_is_found_and_ages_are_told_by_it() {
    const AHEAD_NANOS: i64 = 3_600_000_000_000;
    let ahead = || {
        let now = SystemClock.wall().as_nanos();
        Timestamp::from_nanos(now.saturating_add_signed(AHEAD_NANOS))
    };
    let port = serve_one(move |peer| {
        peer.welcome();
        let mut is_answered = false;
        while let Some(message) = peer.hear() {
            match message {
                Message::Ping(sent_at) => {
                    let now = ahead();
                    peer.say(Message::Pong(Pong {
                        sent_at,
                        received_at: now,
                        replied_at: now,
                    }));
                    is_answered = true;
                }
                Message::Feedback(feedback) if is_answered => {
                    assert_eq!(feedback.skipped, 0);
                    let mut frame = frame(1, feedback.received);
                    frame.head.captured_at = ahead();
                    peer.say(Message::Payload(vec![frame]));
                }
                _ => {}
            }
        }
    });
    let mut ingress = open(&url(port));
    let payload = ingress.recv(PATIENCE).unwrap();
    let offset = ingress.clock_offset().unwrap();
    let error = offset.nanos.abs_diff(AHEAD_NANOS);
    assert!(Duration::from_nanos(error) <= offset.round_trip);
    let age = ingress.age(&payload.frames[0].head, SystemClock.wall());
    assert!(age.unwrap() < PATIENCE);
    // The server is told of what came before the last FEEDBACK.
    assert_eq!(
        ingress.recv(PATIENCE).unwrap().frames[0].head.identity.seq,
        1
    );
}

#[test]
fn resuming_passes_over_all_but_the_newest() {
    let (all_sent, is_sent) = std::sync::mpsc::channel();
    let port = serve_one(move |peer| {
        peer.welcome();
        send_frames(peer, 0..5);
        all_sent.send(()).unwrap();
        peer.hold();
    });
    let mut ingress = open(&url(port));
    assert_eq!(
        ingress.recv(PATIENCE).unwrap().frames[0].head.identity.seq,
        0
    );
    is_sent.recv_timeout(PATIENCE).unwrap();
    let mut skipped = ingress.resume_newest();
    while skipped < 3 {
        skipped += ingress.resume_newest();
    }
    assert_eq!(
        ingress.recv(PATIENCE).unwrap().frames[0].head.identity.seq,
        4
    );
    assert_eq!(ingress.resume_newest(), 0);
}

#[test]
fn a_server_that_is_not_there_is_waited_for_until_the_word_to_end() {
    let port = serve(Vec::new());
    let shutdown = Shutdown::default();
    let source = url(port).parse().unwrap();
    let mut ingress = Ingress::open(source, Options::default(), shutdown.clone());
    while ingress.last_error().is_none() {
        assert_eq!(
            ingress.recv(Duration::from_millis(20)),
            Err(RecvError::TimedOut)
        );
    }
    assert!(!ingress.is_connected());
    let begin: Monotonic = SystemClock.monotonic();
    shutdown.trigger();
    assert_eq!(ingress.recv(PATIENCE), Err(RecvError::Closed));
    assert!(SystemClock.monotonic().since(begin) < Duration::from_secs(2));
}
