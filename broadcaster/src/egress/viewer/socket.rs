//! What a viewer over WebSocket says, and what it is told.
//!
//! It begins and ends watches as it likes, of any channel there is, acknowledges what it has used and
//! asks for the time. Nobody else here needs to know which channels there are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::wire::DecodeError;
use common::wire::tcp::Sender;
use common::wire::ws::text::{self, Cause, House, Notice, Request, Room, WINDOW};
use common::wire::ws::{CloseCode, MAX_CONTROL, Message};
use common::{Clock, Format, Monotonic};

use super::watch::{Watch, Wish};
use super::{Reason, Viewer};
use crate::channel::{Channel, Channels};

/// Longest age that can be asked for; beyond it nobody means what he says.
const MAX_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a peer may take to return a close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// Notices that may wait for each channel: an answer each to beginning, changing and ending a watch,
/// and one about skips.
const NOTICES_PER_CHANNEL: usize = 4;

/// What there is to be watched, and how, unless a viewer says otherwise.
#[derive(Debug)]
pub struct Lobby {
    /// All channels.
    pub channels: Channels,
    /// Payloads older than this are skipped if there is a newer one.
    pub max_age: Duration,
    /// How frames get from the writer to the viewers, in a word.
    pub model: &'static str,
    /// What moves bytes to the viewers, in a word.
    pub driver: &'static str,
}

impl Lobby {
    /// The list of channels as a message.
    #[must_use]
    pub fn list(&self, now: Monotonic) -> Bytes {
        let rooms = self.channels.iter().enumerate();
        let house = House {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: self.model.to_owned(),
            driver: self.driver.to_owned(),
            channels: rooms
                .map(|(place, channel)| room(place, channel, now))
                .collect(),
        };
        encode(&Notice::Channels(house))
    }

    /// The watch that a viewer asks for, or why there is none.
    fn watch(&self, wanted: &str, wish: Wanted) -> Result<(usize, Wish), String> {
        let place = match wanted {
            "" => 0,
            name => (self.channels.find(name)).map_err(|unknown| unknown.to_string())?,
        };
        let channel = &self.channels[place];
        if let Some(elsewhere) = channel.elsewhere() {
            return Err(elsewhere);
        }
        if channel.current_format() == Format::Opaque {
            return Err(Reason::Opaque.to_string());
        }
        Ok((place, wish.check(self.max_age)?))
    }

    /// How many answers may wait to be sent to one viewer.
    pub(super) fn max_control(&self) -> usize {
        super::MAX_CONTROL + NOTICES_PER_CHANNEL * self.channels.len()
    }
}

fn room(place: usize, channel: &Channel, now: Monotonic) -> Room {
    use std::sync::atomic::Ordering;
    let history = channel.history.as_ref().map(|history| history.span());
    Room {
        ch: number(place),
        channel: channel.name.clone(),
        is_ready: channel.is_ready(now),
        fps: (channel.captured_fps(now) * 100.0).round() / 100.0,
        viewers: channel.counters.viewers.load(Ordering::Relaxed),
        history_ms: history.unwrap_or_default().as_secs_f64() * 1_000.0,
    }
}

/// How a channel was asked for, unchecked.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    max_age_ms: Option<f64>,
    fps: Option<f64>,
}

impl Wanted {
    fn check(self, max_age: Duration) -> Result<Wish, String> {
        let asked = self.max_age_ms.map(|millis| {
            let age = Duration::try_from_secs_f64(millis / 1_000.0).ok();
            age.filter(|age| !age.is_zero() && *age <= MAX_MAX_AGE)
                .ok_or_else(|| format!("max_age_ms {millis}: right would be 1 to 86400000"))
        });
        let interval = self.fps.map(|fps| {
            interval_of(fps).ok_or_else(|| format!("fps {fps}: right would be a number above 0"))
        });
        Ok(Wish {
            max_age: asked.transpose()?.unwrap_or(max_age),
            interval: interval.transpose()?,
        })
    }
}

/// The time between frames at this rate, if there can be such a rate.
#[must_use]
pub(in crate::egress) fn interval_of(fps: f64) -> Option<Duration> {
    let is_rate = fps.is_finite() && fps > 0.0;
    is_rate
        .then(|| Duration::try_from_secs_f64(1.0 / fps).ok())
        .flatten()
}

/// What is said when a watch begins.
#[must_use]
pub fn subscribed(watch: &Watch) -> Bytes {
    encode(&Notice::Subscribed {
        ch: number(watch.place()),
        channel: watch.channel().name.clone(),
        window: WINDOW,
        max_age_ms: watch.max_age().as_secs_f64() * 1_000.0,
    })
}

/// The number of the channel at a place.
fn number(place: usize) -> u16 {
    u16::try_from(place).expect("configurations have fewer channels")
}

fn encode(notice: &Notice) -> Bytes {
    Message::Text(notice.to_text()).encode()
}

impl Viewer {
    pub(super) fn receive_socket(&mut self, lobby: &Arc<Lobby>, clock: &dyn Clock) {
        while self.ending.is_none() {
            let message = Message::decode(&mut self.inbox, Sender::Viewer);
            let outcome = match message {
                Ok(Message::Text(text)) => {
                    Request::parse(&text).map(|request| self.answer(request, lobby, clock))
                }
                Ok(Message::Ping(body)) => {
                    self.say(Message::Pong(body).encode());
                    Ok(())
                }
                Ok(Message::Close(_)) => {
                    self.control.clear();
                    self.control
                        .push_back(close(CloseCode::Normal, String::new()));
                    self.leave_off();
                    self.ending = Some(Reason::Left);
                    self.closing.is_returned = true;
                    return;
                }
                Ok(Message::Pong(_) | Message::Binary(_)) => Ok(()),
                Err(DecodeError::Incomplete { .. }) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                // What comes later may be understood again: a close, if the peer has any.
                self.inbox.clear();
                self.end(Reason::Protocol(error));
            } else if self.control.len() > lobby.max_control() {
                self.end(Reason::Floods);
            }
        }
        self.await_close();
    }

    /// Reads past what the peer said before it learned of the end, up to its close.
    fn await_close(&mut self) {
        while !self.closing.is_returned {
            match Message::decode(&mut self.inbox, Sender::Viewer) {
                Err(DecodeError::Incomplete { .. }) => return,
                // Behind something broken nothing is understood either.
                Ok(Message::Close(_)) | Err(_) => self.closing.is_returned = true,
                Ok(_) => {}
            }
        }
    }

    fn answer(&mut self, request: Request, lobby: &Arc<Lobby>, clock: &dyn Clock) {
        match request {
            Request::Sub {
                channel,
                max_age_ms,
                fps,
            } => match lobby.watch(&channel, Wanted { max_age_ms, fps }) {
                Ok((place, wish)) => self.begin_watch(lobby, place, wish),
                Err(text) => self.say(encode(&Notice::Refused { channel, text })),
            },
            Request::Unsub { ch } => {
                self.end_watch(ch.into());
                self.say(encode(&Notice::Unsubscribed { ch }));
            }
            Request::Ack { ch, seq, took_ms } => {
                let took = took_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok());
                let now = clock.monotonic();
                let watch = self.watch_mut(ch.into());
                if let Some(window) = watch.and_then(|watch| watch.window.as_mut()) {
                    window.acknowledge(seq, took, now);
                }
                self.note_silence();
            }
            Request::Ping { t } => {
                let now = text::millis(clock.wall());
                let (received_ms, replied_ms) = (now, now);
                self.say(encode(&Notice::Pong {
                    t,
                    received_ms,
                    replied_ms,
                }));
            }
            Request::Channels => self.say(lobby.list(clock.monotonic())),
        }
    }

    fn begin_watch(&mut self, lobby: &Lobby, place: usize, wish: Wish) {
        if self.watch_mut(place).is_none() {
            let watch = Watch::new(place, &lobby.channels[place], self.protocol, wish);
            self.watches.push(watch.acknowledged());
        }
        if let Some(watch) = self.watch_mut(place) {
            watch.change(wish);
            let subscribed = subscribed(watch);
            self.say(subscribed);
        }
        self.note_watches();
    }

    fn end_watch(&mut self, place: usize) {
        let is_meant = |sending: &super::Sending| {
            sending.place == Some(place) && sending.progress.is_unbegun()
        };
        self.sending.take_if(|sending| is_meant(sending));
        self.watches.retain(|watch| watch.place() != place);
        self.note_watches();
    }

    fn note_watches(&self) {
        self.figures.watch(&self.watches);
        self.note_silence();
    }

    /// Ends a watch whose frames cannot be sent any more.
    pub(super) fn give_up_watch(&mut self, index: usize) {
        let watch = self.watches.remove(index);
        let channel = watch.channel().name.clone();
        let text = Reason::Opaque.to_string();
        self.say(encode(&Notice::Refused { channel, text }));
        self.note_watches();
    }

    /// Tells what was skipped of a channel, behind the payload that comes after the gap.
    pub(super) fn tell_skips(&mut self, place: usize, count: u64, why: Cause) {
        let ch = number(place);
        self.say(encode(&Notice::Skipped { ch, count, why }));
    }

    fn say(&mut self, message: Bytes) {
        self.control.push_back(message);
    }
}

/// How a WebSocket is closed: both sides say so, RFC 6455, section 7.1.1. Were it closed at once, an
/// acknowledgement on its way would meet a closed door, and the answer to that destroys what was said
/// last.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// When all was said.
    since: Option<Monotonic>,
    /// Whether the peer has said so too, or says nothing that can be understood.
    is_returned: bool,
}

impl Closing {
    /// Whether nothing is left to wait for. To be asked once all is said.
    pub(super) fn is_over(&mut self, now: Monotonic) -> bool {
        self.since.get_or_insert(now);
        self.is_returned || self.is_overdue(now)
    }

    /// Whether the peer has been waited for long enough.
    pub(super) fn is_overdue(&self, now: Monotonic) -> bool {
        (self.since).is_some_and(|since| now.since(since) >= CLOSE_PATIENCE)
    }
}

/// What is said before the connection is closed.
pub(super) fn goodbye(reason: &Reason) -> [Bytes; 2] {
    let code = match reason {
        Reason::Left => CloseCode::Normal,
        Reason::Protocol(_) => CloseCode::Protocol,
        Reason::Floods | Reason::Unacknowledged(_) | Reason::Dismissed => CloseCode::Policy,
        Reason::Stalled(_) | Reason::Memory => CloseCode::TryAgain,
        Reason::Ended | Reason::Opaque | Reason::Io(_) => CloseCode::GoingAway,
    };
    let text = reason.to_string();
    [
        encode(&Notice::Goodbye { text: text.clone() }),
        close(code, text),
    ]
}

fn close(code: CloseCode, mut text: String) -> Bytes {
    text.truncate(text.floor_char_boundary(MAX_CONTROL - 2));
    Message::Close(Some((code, text))).encode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;

    use bytes::BytesMut;
    use common::ring::Publisher;
    use common::wire::ws::decode_payload;
    use common::{Budget, Frame, Head, Identity, ManualClock, Payload, Timestamp};

    use super::super::{Next, STALL_LIMIT, Terms};
    use crate::channel::tests::channel_of;
    use crate::egress::Protocol;
    use crate::egress::framing::{Framer, MAX_SLICES};

    const MS: Duration = Duration::from_millis(1);
    const MASK: [u8; 4] = [1, 2, 3, 4];

    /// A viewer of three channels with a clock that only tests move.
    struct Bench {
        clock: ManualClock,
        publishers: Vec<Publisher>,
        published: Vec<u64>,
        viewer: Viewer,
        framers: Vec<Framer>,
        arrived: BytesMut,
    }

    #[derive(Debug, PartialEq)]
    enum Heard {
        Frame(u16, u64),
        Notice(Notice),
        Other(Message),
    }

    impl Bench {
        fn new() -> Self {
            let clock = ManualClock::default();
            let (channels, publishers): (Vec<_>, Vec<_>) = ["main", "lab", "raw"]
                .map(|name| channel_of(16, name, Format::Jpeg))
                .into_iter()
                .unzip();
            let lobby = Lobby {
                channels: Channels::new(channels),
                max_age: 250 * MS,
                model: "ring",
                driver: "multiplex",
            };
            let terms = Terms {
                protocol: Protocol::Ws,
                stall_limit: STALL_LIMIT,
                greeting: lobby.list(clock.monotonic()),
                lobby: Some(Arc::new(lobby)),
            };
            let mut bench = Self {
                viewer: Viewer::new(terms, Vec::new(), clock.monotonic()),
                framers: (0..3)
                    .map(|place| Framer::new(place, Budget::new(u64::MAX)))
                    .collect(),
                clock,
                published: vec![0; publishers.len()],
                publishers,
                arrived: BytesMut::new(),
            };
            assert!(matches!(bench.hear(), Heard::Notice(Notice::Channels(_))));
            bench
        }

        /// One that has subscribed to these channels.
        fn watching(channels: &[&str]) -> Self {
            let mut bench = Self::new();
            for channel in channels {
                bench.sub(channel);
                let heard = bench.hear();
                assert!(matches!(heard, Heard::Notice(Notice::Subscribed { .. })));
            }
            bench
        }

        fn publish(&mut self, place: usize) -> u64 {
            self.publish_as(place, Format::Jpeg)
        }

        fn publish_as(&mut self, place: usize, format: Format) -> u64 {
            let seq = self.published[place];
            let identity = Identity { epoch: 1, seq };
            let head = Head::new(identity, Timestamp::default(), format);
            self.publishers[place].publish(Arc::new(Payload {
                index: seq,
                published_at: self.clock.monotonic(),
                frames: vec![Frame::new(head, Bytes::from(vec![b'x'; 100]))],
            }));
            self.published[place] += 1;
            seq
        }

        fn say(&mut self, request: &Request) {
            self.say_message(&Message::Text(request.to_text()));
        }

        fn say_message(&mut self, message: &Message) {
            self.viewer
                .receive(&message.encode_masked(MASK), &self.clock);
        }

        fn sub(&mut self, channel: &str) {
            self.say(&Request::Sub {
                channel: channel.to_owned(),
                max_age_ms: None,
                fps: None,
            });
        }

        fn ack(&mut self, ch: u16, seq: u64) {
            let took_ms = None;
            self.say(&Request::Ack { ch, seq, took_ms });
        }

        fn next(&mut self) -> Next {
            let now = self.clock.monotonic();
            self.viewer.next(now, &mut self.framers[..])
        }

        /// Sends up to `most` bytes.
        fn send(&mut self, most: usize) {
            assert_eq!(self.next(), Next::Send);
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = self.viewer.unsent(&mut slices);
            let mut sent: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
            sent.truncate(most);
            self.viewer.advance(sent.len(), self.clock.monotonic());
            self.arrived.extend_from_slice(&sent);
        }

        /// The next message, sent whole.
        fn hear(&mut self) -> Heard {
            if self.arrived.is_empty() {
                self.send(usize::MAX);
            }
            match Message::decode(&mut self.arrived, Sender::Server).unwrap() {
                Message::Binary(body) => {
                    let (channel, frames) = decode_payload(&body).unwrap();
                    Heard::Frame(channel, frames[0].head.identity.seq)
                }
                Message::Text(text) => Heard::Notice(Notice::parse(&text).unwrap()),
                other => Heard::Other(other),
            }
        }
    }

    #[test]
    fn several_channels_take_turns_on_one_connection() {
        let mut bench = Bench::watching(&["lab", ""]);
        for _ in 0..2 {
            bench.publish(0);
            bench.publish(1);
        }
        bench.publish(2);
        let heard = [(); 4].map(|()| bench.hear());
        let frames = [(1, 0), (0, 0), (1, 1), (0, 1)];
        assert_eq!(heard, frames.map(|(ch, seq)| Heard::Frame(ch, seq)));
        assert_eq!(bench.next(), Next::Wait);
    }

    #[test]
    fn one_channel_that_is_not_acknowledged_does_not_hold_up_the_others() {
        let mut bench = Bench::watching(&["main", "lab"]);
        for seq in 0..6 {
            bench.publish(0);
            bench.publish(1);
            if seq < 2 {
                assert_eq!(bench.hear(), Heard::Frame(0, seq));
            }
            assert_eq!(bench.hear(), Heard::Frame(1, seq));
            bench.ack(1, seq);
            assert_eq!(bench.next(), Next::Wait);
        }
        bench.ack(0, 0);
        assert_eq!(bench.hear(), Heard::Frame(0, 2));
        assert_eq!(bench.next(), Next::Wait);
    }

    #[test]
    fn who_acknowledges_late_goes_on_with_the_newest_and_learns_why() {
        for (took_ms, why) in [(None, Cause::Link), (Some(380.0), Cause::Device)] {
            let mut bench = Bench::watching(&["main"]);
            for _ in 0..10 {
                bench.publish(0);
                if bench.published[0] <= 2 {
                    bench.hear();
                }
                bench.clock.advance(40 * MS);
            }
            let (ch, seq) = (0, 1);
            bench.say(&Request::Ack { ch, seq, took_ms });
            assert_eq!(bench.hear(), Heard::Frame(0, 9));
            let count = 7;
            let skipped = Notice::Skipped { ch, count, why };
            assert_eq!(bench.hear(), Heard::Notice(skipped));
            assert_eq!(bench.next(), Next::Wait);
        }
    }

    #[test]
    fn a_busy_link_and_a_late_server_are_told_apart() {
        let mut bench = Bench::watching(&["main"]);
        bench.publish(0);
        bench.send(1);
        for _ in 0..10 {
            bench.publish(0);
            bench.clock.advance(40 * MS);
        }
        bench.send(usize::MAX);
        assert_eq!(bench.hear(), Heard::Frame(0, 0));
        bench.ack(0, 0);
        assert_eq!(bench.hear(), Heard::Frame(0, 10));
        let skipped = |count, why| Heard::Notice(Notice::Skipped { ch: 0, count, why });
        assert_eq!(bench.hear(), skipped(9, Cause::Link));
        bench.ack(0, 10);
        for _ in 0..10 {
            bench.publish(0);
            bench.clock.advance(40 * MS);
        }
        assert_eq!(bench.hear(), Heard::Frame(0, 20));
        assert_eq!(bench.hear(), skipped(9, Cause::Server));
    }

    #[test]
    fn who_acknowledges_nothing_is_closed_with_the_reason() {
        let mut bench = Bench::watching(&["main"]);
        bench.publish(0);
        bench.hear();
        bench.clock.advance(STALL_LIMIT - MS);
        assert_eq!(bench.next(), Next::Wait);
        bench.clock.advance(MS);
        let text = "acknowledged nothing for 10 s".to_owned();
        let goodbye = Notice::Goodbye { text: text.clone() };
        assert_eq!(bench.hear(), Heard::Notice(goodbye));
        let close = Message::Close(Some((CloseCode::Policy, text)));
        assert_eq!(bench.hear(), Heard::Other(close));
        let reason = Reason::Unacknowledged(STALL_LIMIT);
        assert_eq!(bench.next(), Next::Wait, "for the peer to say so too");
        bench.ack(0, 0);
        assert_eq!(bench.next(), Next::Wait);
        bench.say_message(&Message::Close(None));
        assert_eq!(bench.next(), Next::Close(reason));
    }

    #[test]
    fn who_does_not_return_a_close_is_not_waited_for_long() {
        let mut bench = Bench::new();
        bench.viewer.end(Reason::Ended);
        bench.hear();
        bench.hear();
        assert_eq!(bench.next(), Next::Wait);
        bench.clock.advance(CLOSE_PATIENCE - MS);
        assert_eq!(bench.viewer.stall(bench.clock.monotonic()), None);
        assert_eq!(bench.next(), Next::Wait);
        bench.clock.advance(MS);
        let stall = bench.viewer.stall(bench.clock.monotonic());
        assert_eq!(stall, Some(Reason::Ended));
        assert_eq!(bench.next(), Next::Close(Reason::Ended));
    }

    #[test]
    fn nothing_of_a_channel_follows_its_end_and_it_can_begin_anew() {
        let mut bench = Bench::watching(&["main"]);
        bench.publish(0);
        assert_eq!(bench.next(), Next::Send);
        bench.say(&Request::Unsub { ch: 0 });
        let unsubscribed = Heard::Notice(Notice::Unsubscribed { ch: 0 });
        assert_eq!(bench.hear(), unsubscribed);
        bench.publish(0);
        assert_eq!(bench.next(), Next::Wait);
        bench.clock.advance(2 * STALL_LIMIT);
        assert_eq!(bench.next(), Next::Wait, "owes nothing");
        bench.sub("main");
        bench.hear();
        assert_eq!(bench.hear(), Heard::Frame(0, 1));
        bench.say(&Request::Unsub { ch: 9 });
        let unsubscribed = Heard::Notice(Notice::Unsubscribed { ch: 9 });
        assert_eq!(bench.hear(), unsubscribed);
    }

    #[test]
    fn viewers_of_a_channel_are_counted_while_they_watch_it() {
        let mut bench = Bench::watching(&["main", "lab", "main"]);
        let viewers = |bench: &mut Bench| {
            bench.say(&Request::Channels);
            let Heard::Notice(Notice::Channels(house)) = bench.hear() else {
                panic!("no list");
            };
            let rooms = house.channels.iter();
            rooms.map(|room| room.viewers).collect::<Vec<_>>()
        };
        assert_eq!(viewers(&mut bench), [1, 1, 0]);
        bench.say(&Request::Unsub { ch: 0 });
        bench.hear();
        assert_eq!(viewers(&mut bench), [0, 1, 0]);
    }

    #[test]
    fn what_cannot_be_had_is_refused_and_nothing_else_ends() {
        let mut bench = Bench::watching(&["main"]);
        bench.publish_as(2, Format::Opaque);
        let wishes = [
            ("other", None, None, "there are: main, lab, raw"),
            ("raw", None, None, "tcp://"),
            ("lab", Some(0.0), None, "max_age_ms 0"),
            ("lab", Some(1e300), None, "max_age_ms 1"),
            ("lab", None, Some(-1.0), "fps -1"),
            ("lab", None, Some(1e-300), "fps 0.0"),
        ];
        for (name, max_age_ms, fps, part) in wishes {
            let channel = name.to_owned();
            bench.say(&Request::Sub {
                channel,
                max_age_ms,
                fps,
            });
            let Heard::Notice(Notice::Refused { channel, text }) = bench.hear() else {
                panic!("{name} is not refused");
            };
            assert_eq!(channel, name);
            assert!(text.contains(part), "{text}");
        }
        bench.publish_as(0, Format::Opaque);
        let refused = bench.hear();
        let is_refused = matches!(refused, Heard::Notice(Notice::Refused { .. }));
        assert!(is_refused, "{refused:?}");
        assert_eq!(bench.next(), Next::Wait);
    }

    #[test]
    fn a_lower_rate_can_be_asked_for_at_any_time() {
        let mut bench = Bench::watching(&["main"]);
        bench.say(&Request::Sub {
            channel: "main".to_owned(),
            max_age_ms: None,
            fps: Some(10.0),
        });
        bench.hear();
        let mut frames = 0;
        for seq in 0..30 {
            bench.publish(0);
            if bench.next() == Next::Send {
                assert_eq!(bench.hear(), Heard::Frame(0, seq));
                bench.ack(0, seq);
                frames += 1;
            }
            bench.clock.advance(Duration::from_nanos(33_333_333));
        }
        assert_eq!(frames, 10);
    }

    #[test]
    fn time_and_pings_are_answered_and_a_close_is_returned() {
        let mut bench = Bench::new();
        bench.clock.advance(5 * MS);
        bench.say(&Request::Ping { t: 77.5 });
        let pong = Notice::Pong {
            t: 77.5,
            received_ms: 5.0,
            replied_ms: 5.0,
        };
        assert_eq!(bench.hear(), Heard::Notice(pong));
        let body = Bytes::from_static(b"x");
        bench.say_message(&Message::Ping(body.clone()));
        assert_eq!(bench.hear(), Heard::Other(Message::Pong(body)));
        bench.say_message(&Message::Close(None));
        assert!(matches!(
            bench.hear(),
            Heard::Other(Message::Close(Some(_)))
        ));
        assert_eq!(bench.next(), Next::Close(Reason::Left));
    }

    #[test]
    fn what_makes_no_sense_ends_it() {
        for (message, part) in [
            (
                Message::Text("{}".to_owned()).encode_masked(MASK),
                "missing field",
            ),
            (
                Message::Text("{}".to_owned()).encode(),
                "masked by the wrong side",
            ),
            (Bytes::from_static(b"\x01\x80"), "fragments"),
        ] {
            let mut bench = Bench::new();
            bench.viewer.receive(&message, &bench.clock);
            let Heard::Notice(Notice::Goodbye { text }) = bench.hear() else {
                panic!("no goodbye");
            };
            assert!(text.contains(part), "{text}");
            bench.hear();
            bench.say_message(&Message::Close(None));
            assert!(matches!(bench.next(), Next::Close(Reason::Protocol(_))));
        }
    }

    #[test]
    fn who_asks_too_much_at_once_is_closed_and_who_asks_for_every_channel_is_not() {
        let mut bench = Bench::new();
        for _ in 0..super::super::MAX_CONTROL + 3 * NOTICES_PER_CHANNEL {
            bench.sub("main");
        }
        assert!(matches!(
            bench.hear(),
            Heard::Notice(Notice::Subscribed { .. })
        ));
        let mut bench = Bench::new();
        for _ in 0..=super::super::MAX_CONTROL + 3 * NOTICES_PER_CHANNEL {
            bench.say(&Request::Channels);
        }
        assert!(matches!(
            bench.hear(),
            Heard::Notice(Notice::Goodbye { .. })
        ));
        bench.hear();
        bench.say_message(&Message::Close(None));
        assert_eq!(bench.next(), Next::Close(Reason::Floods));
    }
}
