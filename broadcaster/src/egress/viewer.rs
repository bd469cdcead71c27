//! One viewer as a state machine without any I/O.
//!
//! A driver asks it what to send next, tells it how much went out and what came in, and says what
//! time it is. The rules for slow viewers live here, so they are the same under every driver:
//!
//! * A payload older than the viewer's `max_age` is skipped if a newer one exists; the viewer goes
//!   on at the newest. The age counts when the first byte would be handed to the kernel.
//! * The newest payload is always sent once, also at once on joining.
//! * Who asks for fewer frames gets those of its `Beat`; what is left out thereby is no skip.
//! * A payload begun is finished. Control messages go between payloads.
//! * No byte of progress for its `stall_limit` ends the viewer.
//! * Over WebSocket a viewer has any number of [`Watch`]es, whose payloads take turns, and is sent
//!   no more than it acknowledges; not to acknowledge anything for its `stall_limit` ends it.

mod account;
mod ending;
pub mod figures;
mod native;
mod reason;
pub mod socket;
pub mod watch;
mod window;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::wire::tcp::{self, Feedback};
use common::{Clock, Monotonic, Payload, RecvError};

use self::figures::{Figures, Skips};
pub use self::reason::Reason;
use self::socket::{Closing, Lobby};
use self::watch::Watch;
use super::Protocol;
use super::ages::Ages;
use super::framing::{Framed, Framers, MAX_SLICES, Progress};

/// How long viewers may take no byte before they are closed.
pub const STALL_LIMIT: Duration = Duration::from_secs(10);
/// Answers that may wait to be sent to one viewer; a peer that asks more at once is closed.
const MAX_CONTROL: usize = 32;
/// A message that takes longer to hand to the kernel has found the link busy.
const PROMPT_SEND: Duration = Duration::from_millis(5);

/// What a viewer wants its driver to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send what [`Viewer::unsent`] gives.
    Send,
    /// Wait for the next payload.
    Wait,
    /// Close the connection.
    Close(Reason),
}

/// What happened to one viewer.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Payloads sent whole.
    pub sent: u64,
    /// Payloads passed over because they were too old or overwritten.
    pub skipped: u64,
    /// The same by what held them up, once a payload was sent after them.
    pub why: Skips,
    /// Payloads left out because the viewer asked for fewer frames.
    pub thinned: u64,
    /// Bytes handed to the kernel.
    pub bytes: u64,
    /// Ages of payloads when their first byte was handed to the kernel.
    pub ages: Ages,
    /// What the peer last said about itself.
    pub feedback: Option<Feedback>,
}

/// How a viewer is to be served.
#[derive(Debug)]
pub struct Terms {
    /// What it speaks.
    pub protocol: Protocol,
    /// It is closed if it takes no byte of a begun message for this long.
    pub stall_limit: Duration,
    /// What it is sent first: the agreement to serve it.
    pub greeting: Bytes,
    /// What it may ask for; over WebSocket only.
    pub lobby: Option<Arc<Lobby>>,
}

/// One peer that watches.
#[derive(Debug)]
pub struct Viewer {
    protocol: Protocol,
    /// The number of the worker that serves it.
    lane: usize,
    lobby: Option<Arc<Lobby>>,
    stall_limit: Duration,
    watches: Vec<Watch>,
    /// The watch that is asked first for the next payload.
    turn: usize,
    sending: Option<Sending>,
    control: VecDeque<Bytes>,
    inbox: BytesMut,
    /// Set once nothing but the control messages is to be sent any more.
    ending: Option<Reason>,
    /// Over WebSocket, once all is said: how the closing goes.
    closing: Closing,
    progressed_at: Monotonic,
    /// For how long altogether the link took nothing while there was something to send.
    busy: Duration,
    counters: Counters,
    figures: Arc<Figures>,
}

#[derive(Debug)]
struct Sending {
    progress: Progress,
    /// The payload, unless this is a control message.
    payload: Option<Arc<Payload>>,
    /// The place of the channel it is of.
    place: Option<usize>,
    /// Frames in it that a viewer counts.
    frames: usize,
    begun_at: Monotonic,
}

impl Viewer {
    /// A viewer of what these watches give.
    #[must_use]
    pub fn new(terms: Terms, watches: Vec<Watch>, now: Monotonic) -> Self {
        Self {
            protocol: terms.protocol,
            lane: 0,
            lobby: terms.lobby,
            stall_limit: terms.stall_limit,
            figures: Arc::new(Figures::new(&watches, now)),
            watches,
            turn: 0,
            sending: None,
            control: VecDeque::from([terms.greeting]),
            inbox: BytesMut::new(),
            ending: None,
            closing: Closing::default(),
            progressed_at: now,
            busy: Duration::ZERO,
            counters: Counters::default(),
        }
    }

    /// What it speaks.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What it watches now.
    #[must_use]
    pub fn watches(&self) -> &[Watch] {
        &self.watches
    }

    /// How long it may take no byte before it is closed.
    #[must_use]
    pub const fn stall_limit(&self) -> Duration {
        self.stall_limit
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What anybody may be told of it, at any time.
    #[must_use]
    pub const fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Decides what is to be done now. To be called when the connection can take bytes.
    pub fn next(&mut self, now: Monotonic, framers: &mut (impl Framers + ?Sized)) -> Next {
        self.drop_stale(now);
        if self.figures.is_dismissed() {
            self.end(Reason::Dismissed);
        }
        while self.sending.is_none() {
            if let Some(piece) = self.control.pop_front() {
                self.begin(Framed::single(piece), None, 0, now);
            } else if let Some(reason) = &self.ending {
                if self.protocol == Protocol::Ws && !self.closing.is_over(now) {
                    return Next::Wait;
                }
                return Next::Close(reason.clone());
            } else if self.is_overdue(now) {
                self.end(Reason::Unacknowledged(self.stall_limit));
            } else if let Some((index, payload)) = self.choose(now) {
                self.begin_payload(index, payload, now, framers);
            } else if !self.watches.is_empty() && self.watches.iter().all(|watch| watch.is_over) {
                self.end(Reason::Ended);
            } else {
                return Next::Wait;
            }
        }
        Next::Send
    }

    /// The next payload worth sending and the watch it is of: each has its turn.
    fn choose(&mut self, now: Monotonic) -> Option<(usize, Arc<Payload>)> {
        let count = self.watches.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let watch = &mut self.watches[index];
            if !watch.is_open() {
                continue;
            }
            match watch.next(now, self.busy, &mut self.counters) {
                Ok(payload) => {
                    self.turn = index + 1;
                    return Some((index, payload));
                }
                Err(RecvError::Closed) => watch.is_over = true,
                Err(RecvError::TimedOut | RecvError::Lagged { .. }) => {}
            }
        }
        None
    }

    fn begin_payload(
        &mut self,
        index: usize,
        payload: Arc<Payload>,
        now: Monotonic,
        framers: &mut (impl Framers + ?Sized),
    ) {
        // Opaque frames leave by the native protocol only.
        if self.protocol != Protocol::Tcp && Watch::is_opaque(&payload) {
            match self.protocol {
                Protocol::Ws => self.give_up_watch(index),
                Protocol::Tcp | Protocol::Http => self.end(Reason::Opaque),
            }
            return;
        }
        let watch = &mut self.watches[index];
        watch.begin(&payload);
        let (place, portion) = (watch.place(), watch.portion());
        let framed = framers.frame(place, &payload, self.protocol, portion);
        let frames = account::frames_in(&payload, portion);
        self.begin(framed, Some((place, payload)), frames, now);
        self.account_for_gap(index);
    }

    fn begin(
        &mut self,
        framed: Framed,
        payload: Option<(usize, Arc<Payload>)>,
        frames: usize,
        now: Monotonic,
    ) {
        let (place, payload) = payload.unzip();
        self.sending = Some(Sending {
            progress: Progress::new(framed),
            payload,
            place,
            frames,
            begun_at: now,
        });
        self.progressed_at = now;
    }

    fn watch_mut(&mut self, place: usize) -> Option<&mut Watch> {
        (self.watches.iter_mut()).find(|watch| watch.place() == place)
    }

    fn is_overdue(&self, now: Monotonic) -> bool {
        let mut windows = (self.watches.iter()).filter_map(|watch| watch.window.as_ref());
        windows.any(|window| window.is_overdue(self.stall_limit, now))
    }

    /// Puts the unsent rest of the current message into `slices`; returns how many were filled.
    pub fn unsent<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let sending = self.sending.as_ref();
        sending.map_or(0, |sending| sending.progress.unsent(slices))
    }

    /// Takes note that `bytes` of what [`unsent`](Self::unsent) gave were handed to the kernel.
    pub fn advance(&mut self, bytes: usize, now: Monotonic) {
        let Some(sending) = self.sending.as_mut().filter(|_| bytes > 0) else {
            return;
        };
        let is_unbegun = sending.progress.is_unbegun();
        sending.progress.advance(bytes);
        self.account_for_bytes(bytes, is_unbegun, now);
        self.progressed_at = now;
        self.figures.progressed(now);
        if let Some(sent) = (self.sending).take_if(|sending| sending.progress.is_done()) {
            self.note_sent(&sent, now);
        }
    }

    /// Takes note of since when nothing is sent for lack of acknowledgements, if that is so.
    fn note_silence(&self) {
        let is_held = !self.watches.iter().any(Watch::is_open);
        let windows = self
            .watches
            .iter()
            .filter_map(|watch| watch.window.as_ref());
        let since = windows.filter_map(window::Window::oldest).max();
        self.figures.silent(since.filter(|_| is_held));
    }

    /// Takes note that the link took nothing from `since` to `now` though there was something to send, as
    /// one who waits for room before it chooses finds out.
    pub fn waited(&mut self, since: Monotonic, now: Monotonic) {
        self.note_busy(now.since(since));
    }

    fn note_busy(&mut self, took: Duration) {
        if took >= PROMPT_SEND {
            self.busy += took;
        }
    }

    /// Takes note that the peer took bytes as late as now, as a blocking write finds out afterwards.
    pub fn progressed(&mut self, now: Monotonic) {
        if self.sending.is_none() {
            self.note_busy(now.since(self.progressed_at));
        }
        self.progressed_at = now;
        self.figures.progressed(now);
    }

    /// Takes in what the peer sent. Over plain HTTP nobody has anything to say.
    pub fn receive(&mut self, bytes: &[u8], clock: &dyn Clock) {
        if self.protocol == Protocol::Http {
            return;
        }
        if self.ending.is_some() && self.protocol != Protocol::Ws {
            return;
        }
        tcp::append(&mut self.inbox, bytes);
        match self.lobby.clone() {
            Some(lobby) => self.receive_socket(&lobby, clock),
            None => self.receive_native(clock),
        }
    }

    /// Takes back a payload chosen earlier if no byte of it is out and it has grown too old.
    fn drop_stale(&mut self, now: Monotonic) {
        let unbegun = (self.sending.as_ref()).filter(|sending| sending.progress.is_unbegun());
        let Some(sending) = unbegun else {
            return;
        };
        let Some((payload, place)) = sending.payload.as_ref().zip(sending.place) else {
            return;
        };
        let waited = now.since(sending.begun_at);
        let watch = (self.watches.iter_mut()).find(|watch| watch.place() == place);
        let is_stale =
            watch.is_some_and(|watch| watch.take_back_if_stale(payload, now, &mut self.counters));
        if is_stale {
            self.sending = None;
            self.note_busy(waited);
        }
    }
}

/// A placeholder has no age: it stands for a frame that was sent before.
fn is_placeholder(payload: &Payload) -> bool {
    (payload.newest()).is_some_and(|frame| frame.head.is_placeholder())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::channel_of;
    use crate::egress::framing::Framer;
    use crate::egress::viewer::watch::Wish;
    use common::ring::{self, Publisher};
    use common::wire::tcp::{Goodbye, GoodbyeCode, Message, Pong, Sender};
    use common::{Budget, Format, Frame, Head, Identity, ManualClock, Timestamp};

    const MS: Duration = Duration::from_millis(1);
    const MAX_AGE: Duration = Duration::from_millis(250);

    /// A viewer with all it hangs on, and a clock that only tests move.
    struct Bench {
        clock: ManualClock,
        publisher: Publisher,
        viewer: Viewer,
        framers: [Framer; 1],
        published: u64,
    }

    impl Bench {
        fn new(protocol: Protocol) -> Self {
            Self::with_interval(protocol, None)
        }

        fn with_interval(protocol: Protocol, interval: Option<Duration>) -> Self {
            let clock = ManualClock::default();
            let (channel, publisher) = channel_of(16, "main", Format::Jpeg);
            let terms = Terms {
                protocol,
                stall_limit: STALL_LIMIT,
                greeting: Bytes::from_static(b"hello "),
                lobby: None,
            };
            let wish = Wish {
                max_age: MAX_AGE,
                interval,
            };
            let watches = vec![Watch::new(0, &channel, protocol, wish)];
            Self {
                viewer: Viewer::new(terms, watches, clock.monotonic()),
                clock,
                publisher,
                framers: [Framer::new(0, Budget::new(u64::MAX))],
                published: 0,
            }
        }

        /// A viewer that has taken its greeting.
        fn greeted(protocol: Protocol) -> Self {
            let mut bench = Self::new(protocol);
            assert_eq!(bench.send(usize::MAX), b"hello ");
            bench
        }

        /// A greeted viewer that asks for a frame in each interval.
        fn paced(interval: Duration) -> Self {
            let mut bench = Self::with_interval(Protocol::Tcp, Some(interval));
            assert_eq!(bench.send(usize::MAX), b"hello ");
            bench
        }

        fn publish(&mut self) {
            self.publish_as(Format::Jpeg);
        }

        fn publish_as(&mut self, format: Format) {
            let head = Head::new(
                Identity {
                    epoch: 1,
                    seq: self.published,
                },
                Timestamp::default(),
                format,
            );
            self.publisher.publish(Arc::new(Payload {
                index: self.published,
                published_at: self.clock.monotonic(),
                frames: vec![Frame::new(head, Bytes::from(vec![b'x'; 100]))],
            }));
            self.published += 1;
        }

        fn next(&mut self) -> Next {
            let now = self.clock.monotonic();
            self.viewer.next(now, &mut self.framers[..])
        }

        /// Sends up to `most` bytes of the next message; returns what went out.
        fn send(&mut self, most: usize) -> Vec<u8> {
            assert_eq!(self.next(), Next::Send);
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = self.viewer.unsent(&mut slices);
            let mut sent: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
            sent.truncate(most);
            self.viewer.advance(sent.len(), self.clock.monotonic());
            sent
        }

        fn stall(&self) -> Option<Reason> {
            self.viewer.stall(self.clock.monotonic())
        }

        /// The sequence number of the next whole payload.
        fn seq(&mut self) -> u64 {
            let mut bytes = BytesMut::from(&self.send(usize::MAX)[..]);
            match Message::decode(&mut bytes, Sender::Server) {
                Ok(Message::Payload(frames)) => frames[0].head.identity.seq,
                other => panic!("not a payload: {other:?}"),
            }
        }

        fn say(&mut self, message: &Message) {
            self.viewer.receive(&message.encode(), &self.clock);
        }

        fn goodbye(&mut self) -> Goodbye {
            let mut bytes = BytesMut::from(&self.send(usize::MAX)[..]);
            match Message::decode(&mut bytes, Sender::Server) {
                Ok(Message::Goodbye(goodbye)) => goodbye,
                other => panic!("not a goodbye: {other:?}"),
            }
        }
    }

    #[test]
    fn the_newest_is_sent_at_once_on_joining_however_old_it_is() {
        let mut bench = Bench::new(Protocol::Tcp);
        bench.publish();
        bench.clock.advance(60_000 * MS);
        let channel = bench.viewer.watches[0].channel.clone();
        let wish = Wish {
            max_age: MAX_AGE,
            interval: None,
        };
        bench.viewer.watches[0] = Watch::new(0, &channel, Protocol::Tcp, wish);
        bench.send(usize::MAX);
        assert_eq!(bench.seq(), 0);
        assert_eq!(bench.next(), Next::Wait);
        assert_eq!(bench.viewer.counters().skipped, 0);
    }

    #[test]
    fn a_viewer_that_keeps_up_gets_everything() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        for seq in 0..20 {
            bench.publish();
            assert_eq!(bench.seq(), seq);
            bench.clock.advance(33 * MS);
        }
        assert_eq!(bench.viewer.counters().sent, 20);
        assert_eq!(bench.viewer.counters().skipped, 0);
    }

    #[test]
    fn payloads_within_max_age_are_kept_and_older_ones_skipped_for_the_newest() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        (0..4).for_each(|_| {
            bench.publish();
            bench.clock.advance(60 * MS);
        });
        assert_eq!(bench.seq(), 0);
        bench.clock.advance(100 * MS);
        assert_eq!(bench.seq(), 3);
        assert_eq!(bench.viewer.counters().skipped, 2);
        assert_eq!(bench.next(), Next::Wait);
    }

    #[test]
    fn a_payload_begun_is_finished_and_one_not_begun_is_taken_back() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        bench.publish();
        assert_eq!(bench.next(), Next::Send);
        bench.clock.advance(300 * MS);
        bench.publish();
        bench.publish();
        assert_eq!(bench.send(10).len(), 10, "of payload 2, the newest");
        bench.clock.advance(300 * MS);
        bench.publish();
        assert_eq!(bench.send(usize::MAX).len(), 150 - 10);
        assert_eq!(bench.seq(), 3);
        assert_eq!(bench.viewer.counters().skipped, 2);
        assert_eq!(bench.viewer.counters().sent, 2);
    }

    #[test]
    fn overwritten_payloads_count_as_skipped() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        (0..40).for_each(|_| bench.publish());
        assert_eq!(bench.seq(), 39);
        assert_eq!(bench.viewer.counters().skipped, 39);
    }

    #[test]
    fn a_viewer_that_asks_for_fewer_frames_gets_them_evenly_and_skips_none() {
        let mut bench = Bench::paced(100 * MS);
        let mut seqs = Vec::new();
        for _ in 0..30 {
            bench.publish();
            if bench.next() == Next::Send {
                seqs.push(bench.seq());
            }
            bench.clock.advance(Duration::from_nanos(33_333_333));
        }
        assert_eq!(seqs, [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]);
        assert_eq!(bench.viewer.counters().thinned, 20);
        assert_eq!(bench.viewer.counters().skipped, 0);
    }

    #[test]
    fn a_slow_viewer_that_asks_for_fewer_frames_skips_only_missed_beats() {
        let mut bench = Bench::paced(100 * MS);
        bench.publish();
        assert_eq!(bench.seq(), 0);
        for _ in 0..45 {
            bench.clock.advance(20 * MS);
            bench.publish();
        }
        assert_eq!(
            bench.seq(),
            45,
            "the newest, as the rest is older than its limit"
        );
        let counters = bench.viewer.counters();
        assert_eq!((counters.skipped, counters.thinned), (8, 36), "of 44");
    }

    #[test]
    fn a_payload_taken_back_leaves_its_turn_to_the_next() {
        let mut bench = Bench::paced(1000 * MS);
        bench.publish();
        assert_eq!(bench.next(), Next::Send);
        bench.clock.advance(300 * MS);
        bench.publish();
        assert_eq!(bench.seq(), 1);
        let counters = bench.viewer.counters();
        assert_eq!((counters.skipped, counters.thinned), (1, 0));
    }

    #[test]
    fn only_a_begun_message_without_progress_stalls() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        bench.clock.advance(STALL_LIMIT);
        assert_eq!(bench.stall(), None, "idle");
        bench.publish();
        bench.send(1);
        bench.clock.advance(STALL_LIMIT - MS);
        assert_eq!(bench.stall(), None);
        bench.send(1);
        bench.clock.advance(STALL_LIMIT - MS);
        assert_eq!(bench.stall(), None);
        bench.clock.advance(MS);
        let reason = bench.stall().unwrap();
        assert_eq!(reason.to_string(), "took no byte for 10 s");
    }

    #[test]
    fn pings_are_answered_between_payloads() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        bench.publish();
        bench.send(10);
        bench.clock.advance(5 * MS);
        bench.say(&Message::Ping(Timestamp::from_nanos(77)));
        bench.send(usize::MAX);
        let mut answer = BytesMut::from(&bench.send(usize::MAX)[..]);
        let five_ms = Timestamp::from_nanos(5_000_000);
        let pong = Pong {
            sent_at: Timestamp::from_nanos(77),
            received_at: five_ms,
            replied_at: five_ms,
        };
        assert_eq!(
            Message::decode(&mut answer, Sender::Server),
            Ok(Message::Pong(pong))
        );
    }

    #[test]
    fn garbage_ends_with_a_goodbye_at_the_next_boundary() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        bench.publish();
        bench.publish();
        bench.send(10);
        bench.viewer.receive(b"GET / HTTP/1.1", &bench.clock);
        assert_eq!(bench.send(usize::MAX).len(), 140);
        let goodbye = bench.goodbye();
        assert_eq!(goodbye.code, GoodbyeCode::Protocol);
        assert!(goodbye.text.contains("message type 71"), "{}", goodbye.text);
        assert!(matches!(bench.next(), Next::Close(Reason::Protocol(_))));
    }

    #[test]
    fn a_peer_that_asks_too_much_at_once_is_closed() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        for _ in 0..=MAX_CONTROL {
            bench.say(&Message::Ping(Timestamp::default()));
        }
        bench.say(&Message::Ping(Timestamp::default()));
        assert_eq!(bench.goodbye().code, GoodbyeCode::Protocol);
        assert_eq!(bench.next(), Next::Close(Reason::Floods));
    }

    #[test]
    fn the_end_of_the_channel_is_said_after_the_rest() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        bench.publish();
        let (publisher, _) = ring::new(2);
        drop(std::mem::replace(&mut bench.publisher, publisher));
        assert_eq!(bench.seq(), 0);
        assert_eq!(bench.goodbye().code, GoodbyeCode::ShuttingDown);
        assert_eq!(bench.next(), Next::Close(Reason::Ended));
    }

    #[test]
    fn http_has_no_goodbye_and_no_ears() {
        let mut bench = Bench::greeted(Protocol::Http);
        bench.viewer.receive(b"anything", &bench.clock);
        bench.publish();
        assert!(bench.send(usize::MAX).ends_with(b"\r\n--framecast\r\n"));
        bench.viewer.end(Reason::Ended);
        assert_eq!(bench.next(), Next::Close(Reason::Ended));
    }

    #[test]
    fn a_stream_that_becomes_opaque_ends_over_http_only() {
        for protocol in [Protocol::Http, Protocol::Tcp] {
            let mut bench = Bench::greeted(protocol);
            bench.publish();
            bench.send(usize::MAX);
            bench.publish_as(Format::Opaque);
            let expected = match protocol {
                Protocol::Http => Next::Close(Reason::Opaque),
                Protocol::Tcp | Protocol::Ws => Next::Send,
            };
            assert_eq!(bench.next(), expected);
        }
    }

    #[test]
    fn what_a_link_makes_late_bit_by_bit_is_put_down_to_it() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        bench.publish();
        for _ in 0..12 {
            bench.send(10);
            for _ in 0..3 {
                bench.clock.advance(33 * MS);
                bench.publish();
            }
            bench.send(usize::MAX);
        }
        let why = bench.viewer.counters().why;
        assert!(why.link > 0 && why.server == 0, "{why:?}");
    }

    #[test]
    fn feedback_is_kept() {
        let mut bench = Bench::greeted(Protocol::Tcp);
        let feedback = Feedback {
            received: 5,
            ..Feedback::default()
        };
        bench.say(&Message::Feedback(feedback));
        assert_eq!(bench.viewer.counters().feedback, Some(feedback));
    }
}
