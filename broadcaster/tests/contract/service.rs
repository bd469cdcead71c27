//! How every driver treats a viewer, whatever the protocol.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use broadcaster::egress::Protocol;
use common::Timestamp;
use common::wire::tcp::{GoodbyeCode, Message};
use common::wire::ws::text::{Notice, Request};

use crate::frames::{BIG, FLOOD, SMALL, Writer};
use crate::hall::{Hall, PATIENCE, Rules, Way};
use crate::journal;
use crate::peer::{Appetite, Heard, Peer};

/// A stall limit that a test can wait for.
const SHORT_STALL: Duration = Duration::from_secs(2);
/// Whatever takes this long was not woken but looked by itself.
const NOT_WOKEN: Duration = Duration::from_millis(500);

/// A hall and its writer.
struct Scene {
    protocol: Protocol,
    // Before the hall: the stream ends first.
    writer: Writer,
    hall: Hall,
}

impl Scene {
    fn with(rules: &Rules) -> Self {
        journal::begin();
        let (hall, publisher) = Hall::open(rules);
        Self {
            protocol: rules.way.protocol,
            writer: Writer::new(Box::new(publisher), hall.budget.clone()),
            hall,
        }
    }

    fn of(way: &Way) -> Self {
        Self::with(&Rules::new(*way))
    }

    fn join(&self, appetite: Appetite) -> Peer {
        Peer::join(&self.hall, self.protocol, appetite)
    }

    /// Waits until so many viewers are left; how long that took.
    fn wait_for_viewers(&self, left: usize) -> Duration {
        let begun = Instant::now();
        while self.hall.viewers() != left {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} viewers",
                self.hall.viewers()
            );
            thread::sleep(Duration::from_millis(1));
        }
        begun.elapsed()
    }
}

/// The line about a viewer that is gone.
fn farewell(peer: SocketAddr) -> String {
    let begun = Instant::now();
    loop {
        if let Some(line) = journal::farewell(peer) {
            return line;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing is said about {peer}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn the_newest_frame_comes_at_once_on_joining(way: &Way) {
    let mut scene = Scene::of(way);
    for _ in 0..3 {
        scene.writer.publish(SMALL);
        let newest = scene.writer.publish(BIG);
        // Old enough to be skipped, if there were a newer one.
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        assert_eq!(scene.join(Appetite::All).seq(), newest);
        assert!(begun.elapsed() < NOT_WOKEN, "{:?}", begun.elapsed());
    }
}

pub(crate) fn every_frame_comes_in_order(way: &Way) {
    let rules = Rules {
        // However busy the machine is.
        max_age: PATIENCE,
        ..Rules::new(*way)
    };
    let scene = Scene::with(&rules);
    let mut peers: Vec<_> = (0..5).map(|_| scene.join(Appetite::All)).collect();
    let mut writer = scene.writer;
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..300 {
                writer.publish(SMALL + 300 * number);
                thread::sleep(Duration::from_millis(2));
            }
        });
        for peer in &mut peers {
            scope.spawn(move || (0..300).for_each(|seq| assert_eq!(peer.seq(), seq)));
        }
    });
}

pub(crate) fn stopped_viewers_cost_the_others_nothing(way: &Way) {
    const STOPPED: u64 = 20;
    let rules = Rules {
        capacity: 8,
        ..Rules::new(*way)
    };
    let mut scene = Scene::with(&rules);
    let stopped: Vec<_> = (0..STOPPED).map(|_| scene.join(Appetite::NARROW)).collect();
    let mut healthy = scene.join(Appetite::All);
    for _ in 0..FLOOD {
        let newest = scene.writer.publish(BIG);
        assert_eq!(healthy.seq(), newest);
    }
    // Each of them pins the one frame it has begun, beside what the ring and the drivers keep.
    let held = scene.hall.budget.used() / BIG as u64;
    assert!(held <= STOPPED + 8 + 20, "{held} frames are held");
    assert_eq!(scene.hall.viewers(), stopped.len() + 1);
}

/// A flood that a viewer does not read until it is over; what it then gets, up to the newest. The ring
/// overtakes nobody here: what is skipped is skipped for its age.
fn overtake(scene: &mut Scene) -> Vec<u64> {
    let mut peer = scene.join(Appetite::NARROW);
    for _ in 0..FLOOD {
        scene.writer.publish(BIG);
        thread::sleep(Duration::from_micros(500));
    }
    thread::sleep(Duration::from_millis(300));
    let newest = scene.writer.publish(BIG);
    let mut seqs = vec![peer.seq()];
    while seqs.last() != Some(&newest) {
        seqs.push(peer.seq());
    }
    seqs
}

pub(crate) fn a_viewer_that_was_stopped_goes_on_with_the_newest_frame(way: &Way) {
    let seqs = overtake(&mut Scene::of(way));
    assert!(seqs.is_sorted(), "{seqs:?}");
    let before = seqs[seqs.len() - 2];
    assert!(before < FLOOD / 2, "caught up slowly: {seqs:?}");
}

pub(crate) fn what_viewers_got_is_counted_for_all_of_them_together(way: &Way) {
    const FRAMES: u64 = 50;
    let rules = Rules {
        // However busy the machine is.
        max_age: PATIENCE,
        ..Rules::new(*way)
    };
    let mut scene = Scene::with(&rules);
    let protocol = format!("protocol=\"{}\"", way.protocol);
    let of = ["channel=\"main\"", &protocol];
    let names = scene.hall.metrics();
    let mut peers: Vec<_> = (0..3).map(|_| scene.join(Appetite::All)).collect();
    let mut bytes = 0;
    for number in 0..FRAMES {
        let size = if number % 2 == 0 { SMALL } else { BIG };
        bytes += 3 * size as u64;
        let newest = scene.writer.publish(size);
        (peers.iter_mut()).for_each(|peer| assert_eq!(peer.seq(), newest));
    }
    // The kernel may hand a frame's last byte on before the worker has counted it.
    let begun = Instant::now();
    let sent = loop {
        let now = scene.hall.metrics();
        if now.sum("framecast_viewer_frames_sent_total", &of) >= 3.0 * FRAMES as f64 {
            break now;
        }
        assert!(begun.elapsed() < PATIENCE, "not all is counted");
    };
    let all = 3.0 * FRAMES as f64;
    assert_eq!(sent.sum("framecast_viewer_frames_sent_total", &[]), all);
    assert_eq!(
        sent.sum("framecast_viewer_frame_age_seconds_count", &of),
        all
    );
    assert_eq!(sent.sum("framecast_viewer_send_seconds_count", &of), all);
    assert_eq!(
        sent.sum("framecast_viewer_payloads_skipped_total", &[]),
        0.0
    );
    let heads = sent.sum("framecast_viewer_sent_bytes_total", &of) - bytes as f64;
    assert!(
        (0.0..200.0 * all).contains(&heads),
        "{heads} bytes of heads"
    );
    let ages = sent.sum("framecast_viewer_frame_age_seconds_sum", &of);
    assert!(ages > 0.0 && ages < PATIENCE.as_secs_f64(), "{ages}");
    assert_eq!(sent.sum("framecast_viewers", &of), 3.0);
    assert_eq!(
        sent.sum("framecast_viewers_admitted_total", &[&protocol]),
        3.0
    );

    peers.truncate(1);
    scene.wait_for_viewers(1);
    let left = scene.hall.metrics();
    assert_eq!(left.sum("framecast_viewers", &[]), 1.0);
    let reason = [&*protocol, "reason=\"left\""];
    assert_eq!(left.sum("framecast_viewers_gone_total", &reason), 2.0);
    assert_eq!(left.sum("framecast_viewers_gone_total", &[]), 2.0);
    // Nothing there is about one viewer; the age has come with the first frame.
    let age = "framecast_newest_frame_age_seconds{channel=\"main\"}";
    let mut after = left.names();
    after.retain(|name| *name != age);
    assert_eq!(after, names.names());
}

pub(crate) fn each_payload_is_counted_as_sent_or_skipped(way: &Way) {
    let mut scene = Scene::of(way);
    let seqs = overtake(&mut scene);
    let published = seqs[seqs.len() - 1] + 1;
    let begun = Instant::now();
    loop {
        let figures = scene.hall.metrics();
        let sent = figures.sum("framecast_viewer_frames_sent_total", &[]);
        let skipped = figures.sum("framecast_viewer_payloads_skipped_total", &[]);
        if sent == seqs.len() as f64 && sent + skipped == published as f64 {
            let server = figures.sum("framecast_viewer_payloads_skipped_total", &["server"]);
            assert_eq!(server, 0.0, "the viewer did not read");
            return;
        }
        let saw = seqs.len();
        assert!(
            begun.elapsed() < PATIENCE,
            "{saw} seen, {sent} sent, {skipped} skipped"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn a_slow_viewer_gets_fewer_frames_each_whole_and_fresh(way: &Way) {
    const EVERY: Duration = Duration::from_millis(10);
    const FRAMES: u32 = 300;
    let rules = Rules {
        max_age: 10 * EVERY,
        ..Rules::new(*way)
    };
    let scene = Scene::with(&rules);
    // Two megabytes of the twenty that come in a second.
    let mut peer = scene.join(Appetite::Bites {
        bytes: 16 << 10,
        pause: Duration::from_millis(8),
    });
    let (mut writer, newest) = (scene.writer, AtomicU64::new(0));
    let mut seqs = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            for number in 1..=FRAMES {
                newest.store(writer.publish(BIG), Ordering::Relaxed);
                let due = begun + EVERY * number;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        while seqs.last().is_none_or(|&last| last < u64::from(FRAMES) - 1) {
            let seq = peer.seq();
            let behind = newest.load(Ordering::Relaxed).saturating_sub(seq);
            assert!(behind < 100, "frame {seq} comes {behind} frames late");
            seqs.push(seq);
        }
    });
    assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
    // A tenth, were it not for what machines do besides.
    let allowed = FRAMES as usize / 100..FRAMES as usize / 2;
    assert!(allowed.contains(&seqs.len()), "{seqs:?}");
}

pub(crate) fn a_stopped_viewer_is_closed_after_the_stall_limit(way: &Way) {
    let rules = Rules {
        stall_limit: SHORT_STALL,
        ..Rules::new(*way)
    };
    let mut scene = Scene::with(&rules);
    let mut stopped = scene.join(Appetite::NARROW);
    let mut healthy = scene.join(Appetite::All);
    let begun = Instant::now();
    while scene.hall.viewers() == 2 {
        let newest = scene.writer.publish(BIG);
        assert_eq!(healthy.seq(), newest);
        assert!(begun.elapsed() < PATIENCE, "still there");
        thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed();
    // It is looked for once a second; the rest is for a busy machine.
    let allowed = SHORT_STALL..SHORT_STALL + Duration::from_secs(3);
    assert!(allowed.contains(&took), "closed after {took:?}");
    let line = farewell(stopped.addr());
    assert!(line.contains("reason=took no byte for 2 s"), "{line}");
    // What had been on its way is thrown away with the connection.
    assert_eq!(stopped.hear_no_frame(), Heard::Reset);
    let newest = scene.writer.publish(BIG);
    assert_eq!(healthy.seq(), newest);
}

pub(crate) fn a_viewer_that_takes_little_but_steadily_is_kept(way: &Way) {
    let rules = Rules {
        stall_limit: Duration::from_secs(1),
        ..Rules::new(*way)
    };
    let mut scene = Scene::with(&rules);
    let begun = Instant::now();
    // Half a megabyte in a second.
    let mut peer = scene.join(Appetite::Bites {
        bytes: 16 << 10,
        pause: Duration::from_millis(30),
    });
    let only = scene.writer.publish(2_000_000);
    assert_eq!(peer.seq(), only);
    let took = begun.elapsed();
    assert!(took > 3 * rules.stall_limit, "only {took:?}");
    let next = scene.writer.publish(SMALL);
    assert_eq!(peer.seq(), next);
}

pub(crate) fn who_leaves_is_noticed_while_nothing_is_sent(way: &Way) {
    let mut scene = Scene::of(way);
    scene.writer.publish(SMALL);
    for _ in 0..5 {
        let mut peer = scene.join(Appetite::All);
        peer.seq();
        assert_eq!(scene.hall.viewers(), 1);
        let addr = peer.addr();
        drop(peer);
        let took = scene.wait_for_viewers(0);
        assert!(took < NOT_WOKEN, "noticed after {took:?}");
        let line = farewell(addr);
        assert!(line.contains("reason=left"), "{line}");
    }
}

pub(crate) fn the_end_comes_behind_a_whole_frame(way: &Way) {
    let mut scene = Scene::of(way);
    let mut peer = scene.join(Appetite::NARROW);
    // More than lies between both ends, so it is begun and not finished.
    let begun = scene.writer.publish(4_000_000);
    peer.wait_for_bytes();
    let later = scene.writer.publish(SMALL);
    scene.hall.begin_to_end();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(peer.seq(), begun);
    match scene.protocol {
        Protocol::Tcp => {
            let Heard::Message(Message::Goodbye(goodbye)) = peer.hear() else {
                panic!("no GOODBYE behind frame {begun}, perhaps frame {later}");
            };
            assert_eq!(goodbye.code, GoodbyeCode::ShuttingDown);
        }
        Protocol::Ws => {
            let text = "the broadcast has ended".to_owned();
            let goodbye = Notice::Goodbye { text: text.clone() }.to_text();
            assert_eq!(peer.hear(), Heard::Notice(goodbye));
            assert_eq!(peer.hear(), Heard::Close(text));
        }
        Protocol::Http => {}
    }
    assert_eq!(peer.hear(), Heard::End);
    let took = scene.hall.end();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

pub(crate) fn pings_are_answered_while_nothing_is_sent(way: &Way) {
    let scene = Scene::of(way);
    let mut peer = scene.join(Appetite::All);
    for nanos in 1..=10 {
        let sent_at = Timestamp::from_nanos(nanos);
        let begun = Instant::now();
        peer.say(&Message::Ping(sent_at).encode());
        let Heard::Message(Message::Pong(pong)) = peer.hear() else {
            panic!("not a PONG");
        };
        assert_eq!(pong.sent_at, sent_at);
        assert!(pong.received_at <= pong.replied_at);
        assert!(pong.received_at.as_nanos() > 1_600_000_000_000_000_000);
        assert!(begun.elapsed() < NOT_WOKEN, "{:?}", begun.elapsed());
    }
}

pub(crate) fn garbage_ends_its_sender_at_once_and_nobody_else(way: &Way) {
    let mut scene = Scene::of(way);
    let mut healthy = scene.join(Appetite::All);
    for _ in 0..5 {
        let mut hostile = scene.join(Appetite::All);
        let begun = Instant::now();
        hostile.say(&[0xff; 64]);
        let Heard::Message(Message::Goodbye(goodbye)) = hostile.hear() else {
            panic!("not a GOODBYE");
        };
        assert_eq!(goodbye.code, GoodbyeCode::Protocol);
        assert!(
            goodbye.text.contains("message type 255"),
            "{}",
            goodbye.text
        );
        assert_eq!(hostile.hear(), Heard::End);
        assert!(
            begun.elapsed() < NOT_WOKEN,
            "closed after {:?}",
            begun.elapsed()
        );
        let line = farewell(hostile.addr());
        assert!(line.contains("message type 255"), "{line}");
    }
    for _ in 0..50 {
        let newest = scene.writer.publish(SMALL);
        assert_eq!(healthy.seq(), newest);
    }
}

pub(crate) fn what_a_viewer_says_is_ignored(way: &Way) {
    let mut scene = Scene::of(way);
    let mut peer = scene.join(Appetite::All);
    for _ in 0..50 {
        peer.say(b"\xff\xff\xff\xffGET / HTTP/1.1\r\n\r\n");
        let newest = scene.writer.publish(SMALL);
        assert_eq!(peer.seq(), newest);
    }
}

pub(crate) fn who_acknowledges_nothing_is_sent_two_frames_and_then_closed(way: &Way) {
    let rules = Rules {
        stall_limit: SHORT_STALL,
        ..Rules::new(*way)
    };
    let mut scene = Scene::with(&rules);
    let mut silent = scene.join(Appetite::All).silent();
    let mut healthy = scene.join(Appetite::All);
    let begun = Instant::now();
    while scene.hall.viewers() == 2 {
        let newest = scene.writer.publish(SMALL);
        assert_eq!(healthy.seq(), newest);
        assert!(begun.elapsed() < PATIENCE, "still there");
        thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed();
    let allowed = SHORT_STALL..SHORT_STALL + Duration::from_secs(3);
    assert!(allowed.contains(&took), "closed after {took:?}");
    assert_eq!((silent.seq(), silent.seq()), (0, 1));
    let text = "acknowledged nothing for 2 s".to_owned();
    let goodbye = Notice::Goodbye { text: text.clone() }.to_text();
    assert_eq!(silent.hear(), Heard::Notice(goodbye));
    assert_eq!(silent.hear(), Heard::Close(text));
    assert_eq!(silent.hear(), Heard::End);
    let line = farewell(silent.addr());
    assert!(
        line.contains("reason=acknowledged nothing for 2 s"),
        "{line}"
    );
}

pub(crate) fn questions_are_answered_while_nothing_is_sent(way: &Way) {
    let scene = Scene::of(way);
    let mut peer = scene.join(Appetite::All);
    for number in 1..=10 {
        let begun = Instant::now();
        let t = f64::from(number);
        peer.request(&Request::Ping { t });
        let Heard::Notice(text) = peer.hear() else {
            panic!("no answer");
        };
        let Ok(Notice::Pong {
            t: echoed,
            received_ms,
            replied_ms,
        }) = Notice::parse(&text)
        else {
            panic!("not a pong: {text}");
        };
        assert!(
            echoed == t && received_ms <= replied_ms && received_ms > 1.6e12,
            "{text}"
        );
        assert!(begun.elapsed() < NOT_WOKEN, "{:?}", begun.elapsed());
    }
}

pub(crate) fn a_channel_is_sent_from_when_to_when_it_is_asked_for(way: &Way) {
    let mut scene = Scene::of(way);
    let mut peer = scene.join(Appetite::All);
    for _ in 0..5 {
        let newest = scene.writer.publish(SMALL);
        assert_eq!(peer.seq(), newest);
        peer.request(&Request::Unsub { ch: 0 });
        let ended = Notice::Unsubscribed { ch: 0 }.to_text();
        assert_eq!(peer.hear(), Heard::Notice(ended));
        assert_eq!(scene.hall.viewers(), 0);
        let newest = scene.writer.publish(SMALL);
        let begun = Instant::now();
        peer.request(&Request::Sub {
            channel: "main".to_owned(),
            max_age_ms: None,
            fps: None,
        });
        let heard = peer.hear();
        let is_begun = matches!(&heard, Heard::Notice(text) if text.contains("subscribed"));
        assert!(is_begun, "{heard:?}");
        assert_eq!(peer.seq(), newest, "the newest at once");
        assert!(begun.elapsed() < NOT_WOKEN, "{:?}", begun.elapsed());
    }
}

pub(crate) fn nonsense_ends_its_sender_at_once_and_nobody_else(way: &Way) {
    let mut scene = Scene::of(way);
    let mut healthy = scene.join(Appetite::All);
    for _ in 0..5 {
        let mut hostile = scene.join(Appetite::All);
        let begun = Instant::now();
        hostile.say(&[0xff; 64]);
        let Heard::Notice(goodbye) = hostile.hear() else {
            panic!("no goodbye");
        };
        assert!(goodbye.contains("a reserved field is 7"), "{goodbye}");
        assert!(matches!(hostile.hear(), Heard::Close(_)));
        assert_eq!(hostile.hear(), Heard::End);
        assert!(begun.elapsed() < NOT_WOKEN, "{:?}", begun.elapsed());
        let line = farewell(hostile.addr());
        assert!(line.contains("a reserved field is 7"), "{line}");
    }
    for _ in 0..50 {
        let newest = scene.writer.publish(SMALL);
        assert_eq!(healthy.seq(), newest);
    }
}
