//! The life of a channel's source: it comes, goes and comes back, and the channel stays.
//!
//! While pictures flow they are encoded, numbered and published. A source that reports an error or
//! brings nothing for too long is gone: viewers get a placeholder at once and then every second,
//! and the source is opened again, after waits that grow, until pictures flow. Opening happens on
//! a thread of its own, one at a time, so a device that blocks stops neither the placeholder nor
//! the end of the program. Frames are numbered on through all of it. What is shown meanwhile is in
//! `outage.rs`; a source that is opened only while somebody watches is in `lease.rs`; how a channel goes
//! over to another of its sources is in `switch.rs`.

mod lease;
mod outage;
mod switch;

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use common::{Budget, Clock, Effort, Frame, Identity, Monotonic, Shutdown};
use tracing::{debug, error, info, warn};

use self::lease::Lease;
use self::outage::Outage;
pub(super) use self::outage::Reason;
use super::pace::Thinner;
use super::watch::{Backoff, Report, Watchdog};
use super::{Captured, Error, Feed, First, Opened, Opener, Preparer, Source};
use crate::channel::Channel;
use crate::encode::Encoder;
use crate::fanout::{Payloader, Publish};

/// How long a source may keep the capture thread before it looks whether to end.
const GRAB_TIMEOUT: Duration = Duration::from_millis(100);
/// The longest sleep between two looks at the time.
const LONGEST_REST: Duration = Duration::from_millis(100);
/// A source that held out this long has its short waits back when it goes.
const STEADY: Duration = Duration::from_secs(2);

/// A channel's source with everything that happens to it. Lives on the capture thread.
pub(super) struct Life<P, C> {
    channel: Arc<Channel>,
    budget: Budget,
    payloader: Payloader<P>,
    clock: C,
    opener: Arc<Mutex<Opener>>,
    encoder: Encoder,
    prepare: Preparer,
    /// Which of the channel's sources it is.
    place: usize,
    /// Size of a placeholder before there is any picture.
    size: (u16, u16),
    state: State,
    watchdog: Watchdog,
    /// For a source that is open and may be faster than was asked for.
    thinner: Option<Thinner>,
    backoff: Backoff,
    /// Set from the moment the source is gone until pictures flow again.
    outage: Option<Outage>,
    /// How long it is wanted, if it is opened on demand.
    lease: Option<Lease>,
    /// What those get who come while it is closed.
    last_shown: Option<Frame>,
    /// The newest real frame.
    last: Option<Frame>,
    /// Since when pictures have come; `None` while they do not.
    flowing_since: Option<Monotonic>,
    next_seq: u64,
    /// Pictures that could not be used, but for those of the source that is open.
    damaged: u64,
    /// Pictures that were overtaken, but for those of the source that is open.
    overtaken: u64,
    overtaken_report: Report,
    /// Pictures that could not be encoded.
    unencoded: u64,
    unencoded_report: Report,
}

enum State {
    Open(Box<dyn Source>),
    Waiting {
        until: Monotonic,
    },
    Opening(Receiver<Result<Opened, Error>>),
    /// Closed until somebody wants pictures.
    Idle,
}

impl<P: Publish, C: Clock> Life<P, C> {
    /// Begins with what came of opening the source for the first time.
    pub(super) fn new(
        feed: Feed,
        (channel, budget): (Arc<Channel>, Budget),
        payloader: Payloader<P>,
        clock: C,
    ) -> Self {
        let now = clock.monotonic();
        let hold = channel.on_demand;
        let mut life = Self {
            channel,
            budget,
            payloader,
            clock,
            opener: Arc::new(Mutex::new(feed.opener)),
            encoder: feed.encoder,
            prepare: feed.prepare,
            place: 0,
            size: feed.size,
            state: State::Waiting { until: now },
            watchdog: Watchdog::new(Duration::ZERO, now),
            thinner: None,
            backoff: Backoff::default(),
            outage: None,
            lease: hold.map(|hold| Lease::new(hold, now)),
            last_shown: None,
            last: None,
            flowing_since: None,
            next_seq: 0,
            damaged: 0,
            overtaken: 0,
            overtaken_report: Report::default(),
            unencoded: 0,
            unencoded_report: Report::default(),
        };
        match feed.first {
            First::Opened(opened) => {
                info!(source = %opened.description, "capturing");
                life.begin(opened);
            }
            First::Failed(error) => life.lose(&error.to_string()),
            First::OnDemand(_) => life.rest(),
        }
        life
    }

    /// Goes on until `shutdown`.
    pub(super) fn run(mut self, shutdown: &Shutdown) {
        while !shutdown.is_triggered() {
            let rest = self.step();
            if !rest.is_zero() && shutdown.wait(rest) {
                break;
            }
        }
        self.payloader.flush();
    }

    /// Does what there is to do now; returns how long nothing will be.
    fn step(&mut self) -> Duration {
        self.follow();
        self.heed_demand();
        let mut rest = Duration::ZERO;
        match &mut self.state {
            State::Open(source) => {
                let grabbed = source.grab(GRAB_TIMEOUT);
                let damaged = self.damaged + source.damaged();
                let overtaken = self.overtaken + source.overtaken();
                (self.channel.counters.damaged).store(damaged, Ordering::Relaxed);
                self.tell_overtaken(overtaken);
                self.take(grabbed);
            }
            State::Opening(result) => match result.recv_timeout(GRAB_TIMEOUT) {
                Ok(Ok(opened)) => self.begin(opened),
                Ok(Err(error)) => self.lose(&error.to_string()),
                Err(RecvTimeoutError::Timeout) => {
                    // After a switch: the last picture stays for as long as a source may be silent.
                    if self.outage.is_none() && self.watchdog.is_starved(self.clock.monotonic()) {
                        self.begin_outage("the source takes long to open");
                    }
                }
                Err(RecvTimeoutError::Disconnected) => self.lose("opening it failed, see above"),
            },
            State::Waiting { until } => {
                rest = until.since(self.clock.monotonic()).min(LONGEST_REST);
                if rest.is_zero() {
                    self.reopen();
                }
            }
            State::Idle => rest = LONGEST_REST,
        }
        self.remind();
        rest
    }

    /// So many pictures were overtaken altogether.
    fn tell_overtaken(&mut self, overtaken: u64) {
        (self.channel.counters.overtaken).store(overtaken, Ordering::Relaxed);
        let report = &mut self.overtaken_report;
        if let Some(count) = report.due(overtaken, self.clock.monotonic()) {
            warn!(
                count,
                "pictures left out: they come faster than they are encoded; a lower --fps, a smaller \
                 --size or, of a camera that has it, MJPEG would help"
            );
        }
    }

    fn take(&mut self, grabbed: Result<Option<Captured>, Error>) {
        match grabbed {
            Ok(Some(captured)) => {
                let is_real = !captured.is_placeholder();
                let captures = u64::from(is_real);
                (self.channel.counters.captured).fetch_add(captures, Ordering::Relaxed);
                if self.is_wanted(&captured) {
                    self.pass_on(captured);
                }
                // Reminders of an outage say nothing about how often pictures come.
                if is_real {
                    self.watchdog.feed(self.clock.monotonic());
                    self.tell_patience();
                }
            }
            Ok(None) => {
                if self.watchdog.is_starved(self.clock.monotonic()) {
                    self.starve();
                }
            }
            Err(error) => self.lose(&error.to_string()),
        }
    }

    /// How long the source may be silent is for others to know too.
    fn tell_patience(&self) {
        let patience = self.watchdog.patience().as_millis();
        let patience = u64::try_from(patience).unwrap_or(u64::MAX);
        (self.channel.counters.patience_ms).store(patience, Ordering::Relaxed);
    }

    /// Whether a picture is one of those that were asked for. One that is not gets no number, so
    /// that nobody misses it.
    fn is_wanted(&mut self, captured: &Captured) -> bool {
        let age = self.clock.wall().since(captured.captured_at);
        let taken_at = self.clock.monotonic() - age;
        (self.thinner.as_mut()).is_none_or(|thinner| thinner.keeps(taken_at))
    }

    /// Encodes, numbers and publishes a picture.
    fn pass_on(&mut self, captured: Captured) {
        let is_numbered = captured.identity.is_some();
        let identity = captured.identity.unwrap_or(Identity {
            epoch: self.channel.epoch,
            seq: self.next_seq,
        });
        match self.encoder.encode(captured, identity, &self.budget) {
            Ok(mut frame) if frame.head.is_placeholder() => {
                if let Some(last) = self.last.as_ref().filter(|_| !is_numbered) {
                    frame.head.identity = last.head.identity;
                }
                self.pass_on_outage(frame);
            }
            Ok(frame) => {
                self.recover();
                self.next_seq = identity.seq.saturating_add(1);
                let counters = &self.channel.counters;
                counters.frames.fetch_add(1, Ordering::Relaxed);
                counters
                    .bytes
                    .fetch_add(frame.data().len() as u64, Ordering::Relaxed);
                self.last = Some(frame.clone());
                self.hand_on(frame);
            }
            Err(error) => {
                self.unencoded += 1;
                let now = self.clock.monotonic();
                if let Some(count) = self.unencoded_report.due(self.unencoded, now) {
                    error!(count, seq = identity.seq, %error, "pictures not encoded, the last for this");
                }
                // It leaves its gap: seq says what the camera saw.
                self.next_seq = identity.seq.saturating_add(1);
                self.damaged += 1;
            }
        }
    }

    /// To all models; none of them makes this thread wait.
    fn hand_on(&mut self, frame: Frame) {
        let effort = Effort::begin();
        self.payloader.push(frame);
        let spent = effort.spent();
        let counters = &self.channel.counters;
        for (counter, took) in [
            (&counters.publishing_ns, spent.time),
            (&counters.publishing_cpu_ns, spent.cpu),
        ] {
            let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            counter.fetch_add(took, Ordering::Relaxed);
        }
    }

    /// The source is silent.
    fn starve(&mut self) {
        match &self.state {
            State::Open(source) if source.reconnects() => self.wait_for_return(),
            _ => self.lose(&format!("no picture for {:?}", self.watchdog.patience())),
        }
    }

    /// The source is gone: it is dropped, and opened again after a while.
    fn lose(&mut self, reason: &str) {
        self.begin_outage(reason);
        let now = self.clock.monotonic();
        let flowing_since = self.flowing_since.take();
        if flowing_since.is_some_and(|since| now.since(since) >= STEADY) {
            self.backoff = Backoff::default();
        }
        let until = now + self.backoff.next();
        self.close(State::Waiting { until });
    }

    /// Lets go of the source, if it is open.
    fn close(&mut self, next: State) {
        if let State::Open(source) = std::mem::replace(&mut self.state, next) {
            self.damaged += source.damaged();
            self.overtaken += source.overtaken();
        }
    }

    fn begin(&mut self, opened: Opened) {
        self.channel.sources.opened(&opened.description);
        if self.is_starting() {
            info!(channel = self.channel.name, source = %opened.description, "source opened on demand");
        } else {
            debug!(source = %opened.description, "source open");
        }
        let now = self.clock.monotonic();
        let watchdog = Watchdog::new(opened.interval, now);
        self.watchdog = if opened.source.reconnects() {
            watchdog.doubtful()
        } else {
            watchdog
        };
        self.thinner = opened.source.spacing().map(Thinner::new);
        self.state = State::Open(opened.source);
    }

    fn reopen(&mut self) {
        let (sender, result) = mpsc::sync_channel(1);
        let opener = self.opener.clone();
        let open = move || {
            // Poisoned by a panic of an earlier try, which was told: the opener is still whole.
            let mut opener = opener.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody listens any more when the program ends.
            let _ = sender.send(opener());
        };
        let name = format!("open-{}", self.channel.name);
        match thread::Builder::new().name(name).spawn(open) {
            Ok(_) => self.state = State::Opening(result),
            Err(error) => self.lose(&format!("no thread to open it: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::outage::REMINDER;
    use super::*;
    use std::collections::VecDeque;
    use std::sync::atomic::AtomicU64;

    use common::{Image, ManualClock, Payload, ring};

    use crate::capture::{Picture, Spare, file};
    use crate::channel::{SourceState, Sources};
    use crate::journal::Journal;

    const MS: Duration = Duration::from_millis(1);

    /// What one call of `grab` does.
    enum Grab {
        Picture,
        Unencodable,
        Nothing(Duration),
        Fail,
    }

    /// What a source is like.
    #[derive(Clone, Copy)]
    struct Kind {
        reconnects: bool,
        spacing: Option<Duration>,
    }

    const PLAIN: Kind = Kind {
        reconnects: false,
        spacing: None,
    };
    const RECONNECTING: Kind = Kind {
        reconnects: true,
        ..PLAIN
    };

    /// Does what the script says and moves the clock; then it brings nothing more.
    struct Scripted {
        script: VecDeque<Grab>,
        clock: ManualClock,
        kind: Kind,
    }

    impl Source for Scripted {
        fn grab(&mut self, timeout: Duration) -> Result<Option<Captured>, Error> {
            match self.script.pop_front().unwrap_or(Grab::Nothing(timeout)) {
                Grab::Picture => Ok(Some(self.picture(64, 48))),
                // A JPEG has 65 500 pixels in a row at most.
                Grab::Unencodable => Ok(Some(self.picture(65_501, 1))),
                Grab::Nothing(time) => {
                    self.clock.advance(time);
                    Ok(None)
                }
                Grab::Fail => Err(gone()),
            }
        }

        fn damaged(&self) -> u64 {
            1
        }

        fn overtaken(&self) -> u64 {
            2
        }

        fn reconnects(&self) -> bool {
            self.kind.reconnects
        }

        fn spacing(&self) -> Option<Duration> {
            self.kind.spacing
        }
    }

    impl Scripted {
        fn picture(&self, width: u16, height: u16) -> Captured {
            self.clock.advance(33 * MS);
            Captured {
                captured_at: self.clock.wall(),
                identity: None,
                picture: Picture::Raw(Image::filled(width, height, [200; 3])),
            }
        }
    }

    fn gone() -> Error {
        file::Error::EmptyFolder {
            path: "gone".into(),
        }
        .into()
    }

    #[derive(Clone, Default)]
    struct Published(Arc<Mutex<Vec<Arc<Payload>>>>);

    impl Publish for Published {
        fn publish(&mut self, payload: Arc<Payload>) {
            self.0.lock().unwrap().push(payload);
        }
    }

    impl Published {
        /// All frames so far: real ones as their seq, placeholders as the seq below zero.
        fn seqs(&self) -> Vec<i64> {
            let payloads = self.0.lock().unwrap();
            let frames = payloads.iter().flat_map(|payload| &payload.frames);
            let told = frames.map(|frame| {
                let seq = i64::try_from(frame.head.identity.seq).unwrap();
                if frame.head.is_placeholder() {
                    -seq
                } else {
                    seq
                }
            });
            told.collect()
        }

        fn placeholders(&self) -> usize {
            let payloads = self.0.lock().unwrap();
            let frames = payloads.iter().flat_map(|payload| &payload.frames);
            frames.filter(|frame| frame.head.is_placeholder()).count()
        }
    }

    struct Stage {
        life: Life<Published, ManualClock>,
        clock: ManualClock,
        published: Published,
        tries: Arc<AtomicU64>,
    }

    type Try = Result<Vec<Grab>, ()>;

    /// A life whose source does at each opening what the next of `tries` says, then never opens.
    fn stage(tries: Vec<Try>, kind: Kind, per_payload: usize) -> Stage {
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(1_000));
        let count = Arc::new(AtomicU64::new(0));
        let mut tries = VecDeque::from(tries);
        let (counted, source_clock) = (count.clone(), clock.clone());
        let mut opener: Opener = Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let script = tries.pop_front().unwrap_or(Err(())).map_err(|()| gone())?;
            Ok(Opened {
                source: Box::new(Scripted {
                    script: script.into(),
                    clock: source_clock.clone(),
                    kind,
                }),
                description: "scripted".to_owned(),
                interval: 33 * MS,
            })
        });
        let first = opener();
        let feed = Feed {
            opener,
            first: first.map_or_else(First::Failed, First::Opened),
            encoder: Encoder::new(80).unwrap(),
            size: (320, 240),
            prepare: other_source(&clock),
        };
        let channel = Channel::new("main", 7, ring::new(2).1);
        let channel = Arc::new(Channel {
            interval: 33 * MS,
            sources: Sources::new(vec!["one".to_owned(), "other".to_owned()]),
            ..channel
        });
        let published = Published::default();
        let payloader = Payloader::new(published.clone(), per_payload);
        Stage {
            life: Life::new(feed, (channel, Budget::new(0)), payloader, clock.clone()),
            clock,
            published,
            tries: count,
        }
    }

    /// The other source has three pictures.
    fn other_source(clock: &ManualClock) -> Preparer {
        let clock = clock.clone();
        Box::new(move |place| {
            assert_eq!(place, 1);
            let clock = clock.clone();
            let opener = move || {
                Ok(Opened {
                    source: Box::new(Scripted {
                        script: pictures(3).into(),
                        clock: clock.clone(),
                        kind: PLAIN,
                    }),
                    description: "the other".to_owned(),
                    interval: 33 * MS,
                })
            };
            Ok(Spare {
                opener: Box::new(opener),
                encoder: Encoder::new(80).unwrap(),
            })
        })
    }

    impl Stage {
        fn steps(&mut self, count: usize) {
            for _ in 0..count {
                let rest = self.life.step();
                self.clock.advance(rest);
            }
        }

        /// Steps until the source was tried `count` times and is not being opened.
        fn until_tried(&mut self, count: u64) {
            for _ in 0..100_000 {
                if self.tries.load(Ordering::Relaxed) == count
                    && !matches!(self.life.state, State::Opening(_))
                {
                    return;
                }
                self.steps(1);
            }
            panic!("not tried {count} times");
        }

        fn tries(&self) -> u64 {
            self.tries.load(Ordering::Relaxed)
        }

        fn frames(&self) -> u64 {
            self.life.channel.counters.frames.load(Ordering::Relaxed)
        }
    }

    fn pictures(count: usize) -> Vec<Grab> {
        (0..count).map(|_| Grab::Picture).collect()
    }

    fn pictures_and(count: usize, last: Grab) -> Vec<Grab> {
        let mut script = pictures(count);
        script.push(last);
        script
    }

    #[test]
    fn a_failed_source_is_replaced_at_once_by_a_placeholder_of_the_last_frame() {
        let mut stage = stage(vec![Ok(pictures_and(3, Grab::Fail))], PLAIN, 1);
        stage.steps(4);
        assert_eq!(stage.published.seqs(), [0, 1, 2, -2]);
        assert_eq!(stage.frames(), 3);
        let payloads = stage.published.0.lock().unwrap();
        let (last, placeholder) = (&payloads[2].frames[0], &payloads[3].frames[0]);
        assert_eq!(last.head.captured_at, placeholder.head.captured_at);
    }

    #[test]
    fn of_pictures_that_cannot_be_encoded_a_line_a_second_tells() {
        let journal = Journal::default();
        let writer = journal.clone();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let script = (0..100).map(|_| Grab::Unencodable).collect();
        tracing::subscriber::with_default(log, || {
            let mut stage = stage(vec![Ok(script)], PLAIN, 1);
            stage.steps(100);
            assert_eq!(stage.frames(), 0);
        });
        let lines = journal.lines();
        let told = |line: &String| {
            let (_, about) = line.split_once("pictures not encoded")?;
            let (_, count) = about.split_once("count=")?;
            count.split(' ').next()?.parse::<u64>().ok()
        };
        let counts: Vec<_> = lines.iter().filter_map(told).collect();
        // 100 pictures take 3.3 s: at once, and each time that a second and the picture after it are over.
        assert_eq!(counts, [1, 31, 31, 31], "{lines:?}");
    }

    #[test]
    fn the_placeholder_comes_every_second_and_is_not_counted() {
        let mut stage = stage(vec![Ok(pictures_and(1, Grab::Fail))], PLAIN, 1);
        stage.steps(2);
        let begun = stage.clock.monotonic();
        while stage.clock.monotonic().since(begun) < 10 * REMINDER {
            stage.steps(1);
        }
        let placeholders = stage.published.placeholders();
        assert!((10..=11).contains(&placeholders), "{placeholders}");
        assert_eq!(stage.frames(), 1);
    }

    #[test]
    fn numbering_goes_on_when_pictures_flow_again() {
        let tries = vec![Ok(pictures_and(2, Grab::Fail)), Err(()), Ok(pictures(3))];
        let mut stage = stage(tries, PLAIN, 1);
        stage.until_tried(3);
        stage.steps(3);
        let seqs = stage.published.seqs();
        let real: Vec<_> = (0..5).filter(|seq| seqs.contains(seq)).collect();
        assert_eq!(real, [0, 1, 2, 3, 4]);
        assert_eq!(seqs[..3], [0, 1, -1]);
        assert_eq!(seqs[seqs.len() - 3..], [2, 3, 4]);
        assert!(stage.life.outage.is_none());
    }

    #[test]
    fn another_source_takes_over_without_a_gap_when_it_is_asked_for() {
        let mut stage = stage(vec![Ok(pictures(9))], PLAIN, 1);
        stage.steps(3);
        assert!(!stage.life.channel.sources.switch("none"));
        assert!(stage.life.channel.sources.switch("other"));
        while stage.life.channel.sources.told().description != "the other" {
            stage.steps(1);
        }
        stage.steps(3);
        assert_eq!(stage.published.seqs(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(stage.tries(), 1, "the first one stays closed");
    }

    #[test]
    fn silence_means_gone() {
        let mut stage = stage(vec![Ok(pictures(5))], PLAIN, 1);
        stage.steps(5 + 7);
        assert_eq!(stage.published.placeholders(), 0);
        stage.steps(1);
        assert_eq!(stage.published.seqs().last(), Some(&-4));
        assert!(matches!(stage.life.state, State::Waiting { .. }));
    }

    #[test]
    fn a_source_that_reconnects_is_kept_through_silence() {
        let mut script = pictures_and(2, Grab::Nothing(5_000 * MS));
        script.extend(pictures(1));
        let mut stage = stage(vec![Ok(script)], RECONNECTING, 1);
        stage.steps(3);
        assert_eq!(stage.published.seqs(), [0, 1, -1]);
        stage.steps(1);
        assert_eq!(stage.published.seqs(), [0, 1, -1, 2]);
        assert_eq!(stage.tries(), 1);
    }

    #[test]
    fn a_source_that_is_not_there_yet_begins_with_grey() {
        let mut stage = stage(vec![Err(()), Ok(pictures(1))], PLAIN, 1);
        {
            let payloads = stage.published.0.lock().unwrap();
            let head = payloads[0].frames[0].head;
            assert!(head.is_placeholder());
            assert_eq!((head.width, head.height), (320, 240));
            assert_eq!(head.identity, Identity { epoch: 7, seq: 0 });
        }
        stage.until_tried(2);
        stage.steps(1);
        assert_eq!(stage.frames(), 1);
        let payloads = stage.published.0.lock().unwrap();
        let newest = payloads.last().unwrap().frames[0].head;
        assert!(!newest.is_placeholder());
        assert_eq!(newest.identity.seq, 0);
    }

    #[test]
    fn tries_come_ever_more_slowly() {
        let mut stage = stage(vec![Ok(pictures_and(1, Grab::Fail))], PLAIN, 1);
        stage.steps(2);
        let mut before = stage.clock.monotonic();
        let mut waits = Vec::new();
        for tried in 2..8 {
            stage.until_tried(tried);
            let now = stage.clock.monotonic();
            waits.push(now.since(before).as_millis());
            before = now;
        }
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 10_000]);
    }

    #[test]
    fn a_source_that_held_out_has_its_short_waits_back() {
        let steady = 2 + 2_000 / 33;
        let tries = vec![
            Ok(pictures_and(1, Grab::Fail)),
            Err(()),
            Ok(pictures_and(1, Grab::Fail)),
            Ok(pictures_and(steady, Grab::Fail)),
        ];
        let mut stage = stage(tries, PLAIN, 1);
        let mut waits = Vec::new();
        for tried in 2..6 {
            while matches!(stage.life.state, State::Open(_)) {
                stage.steps(1);
            }
            let before = stage.clock.monotonic();
            stage.until_tried(tried);
            let waited = stage.clock.monotonic().since(before);
            waits.push(waited.as_millis());
        }
        assert_eq!(waits, [500, 1_000, 2_000, 500]);
    }

    #[test]
    fn payloads_of_several_frames_do_not_delay_the_placeholder() {
        let mut stage = stage(vec![Ok(pictures_and(3, Grab::Fail))], PLAIN, 5);
        stage.steps(4);
        let payloads = stage.published.0.lock().unwrap();
        let shapes: Vec<_> = payloads
            .iter()
            .map(|payload| payload.frames.len())
            .collect();
        assert_eq!(shapes, [3, 1]);
        assert!(payloads[1].frames[0].head.is_placeholder());
    }

    #[test]
    fn damage_and_overtaken_pictures_are_added_up_over_all_openings() {
        let tries = vec![
            Ok(pictures_and(1, Grab::Fail)),
            Ok(pictures_and(1, Grab::Fail)),
            Ok(pictures(1)),
        ];
        let mut stage = stage(tries, PLAIN, 1);
        stage.until_tried(3);
        stage.steps(1);
        let counters = &stage.life.channel.counters;
        assert_eq!(counters.damaged.load(Ordering::Relaxed), 3);
        assert_eq!(counters.overtaken.load(Ordering::Relaxed), 6);
    }

    #[test]
    fn a_placeholder_that_is_relayed_is_passed_on_and_not_counted() {
        let mut stage = stage(vec![Ok(pictures(2))], RECONNECTING, 1);
        stage.steps(1);
        let mut relayed = stage.life.last.clone().unwrap();
        relayed.head.flags = relayed.head.flags.with(common::Flags::PLACEHOLDER);
        stage.life.pass_on_outage(relayed);
        assert_eq!(stage.published.seqs(), [0, 0]);
        assert_eq!(stage.published.placeholders(), 1);
        assert_eq!(stage.frames(), 1);
        stage.steps(1);
        assert_eq!(stage.published.seqs(), [0, 0, 1]);
    }

    #[test]
    fn a_source_that_is_too_fast_is_thinned_without_gaps_and_does_not_seem_silent() {
        let thinned = Kind {
            spacing: Some(2_000 * MS),
            ..PLAIN
        };
        let script = (0..200).flat_map(|_| [Grab::Picture, Grab::Nothing(MS)]);
        let mut stage = stage(vec![Ok(script.collect())], thinned, 1);
        stage.steps(400);
        assert_eq!(stage.published.seqs(), [0, 1, 2, 3]);
        assert_eq!(stage.frames(), 4);
        let payloads = stage.published.0.lock().unwrap();
        let taken: Vec<_> = (payloads.iter())
            .map(|payload| payload.frames[0].head.captured_at)
            .collect();
        for pair in taken.windows(2) {
            let apart = pair[1].since(pair[0]);
            assert!(apart.abs_diff(2_000 * MS) < 33 * MS, "{apart:?}");
        }
    }

    #[test]
    fn a_slow_source_is_ready_between_its_pictures_once_its_pace_is_known() {
        let mut script = Vec::new();
        for _ in 0..5 {
            script.push(Grab::Picture);
            script.extend((0..5).map(|_| Grab::Nothing(1_000 * MS)));
        }
        let mut stage = stage(vec![Ok(script)], RECONNECTING, 1);
        stage.life.watchdog = Watchdog::new(1_000 * MS, stage.clock.monotonic());
        let mut known = 0;
        for _ in 0..30 {
            stage.steps(1);
            known += usize::from(stage.life.channel.patience() > 15_000 * MS);
        }
        // From the third picture on, and none was shown as missing since.
        assert_eq!(known, 18);
        assert_eq!(stage.published.placeholders(), 4);
        assert_eq!(
            stage.published.seqs()[stage.published.seqs().len() - 3..],
            [2, 3, 4]
        );
    }

    #[test]
    fn reminders_of_an_outage_are_not_taken_for_the_pace_of_a_source() {
        let mut stage = stage(vec![Ok(pictures(3))], RECONNECTING, 1);
        stage.steps(3);
        let mut relayed = stage.life.last.clone().unwrap();
        relayed.head.flags = relayed.head.flags.with(common::Flags::PLACEHOLDER);
        for _ in 0..9 {
            stage.clock.advance(1_000 * MS);
            stage.life.take(Ok(Some(Captured {
                captured_at: relayed.head.captured_at,
                identity: None,
                picture: Picture::Framed(relayed.clone()),
            })));
        }
        assert_eq!(stage.published.placeholders(), 9);
        assert_eq!(stage.life.watchdog.patience(), 700 * MS);
    }

    /// A life that is opened on demand and held for two seconds.
    fn on_demand(tries: Vec<Try>) -> Stage {
        // Opened once by the test's own hand: what it brings there is not shown.
        let mut stage = stage(tries, PLAIN, 1);
        stage.life.lease = Some(Lease::new(2_000 * MS, stage.clock.monotonic()));
        stage.life.rest();
        stage.published.0.lock().unwrap().clear();
        stage
    }

    #[test]
    fn a_source_that_nobody_wants_is_closed_and_numbers_go_on_when_it_is_opened_again() {
        let pictures = || Ok((0..100).map(|_| Grab::Picture).collect());
        let mut stage = on_demand(vec![pictures(), pictures(), pictures()]);
        let channel = stage.life.channel.clone();
        let state = || channel.counters.source_state();
        stage.steps(100);
        assert_eq!(
            (state(), stage.published.seqs().len()),
            (SourceState::Idle, 0)
        );
        let viewer = channel.demand.attend();
        stage.until_tried(2);
        assert_eq!(state(), SourceState::Starting);
        stage.steps(3);
        assert_eq!(
            (state(), stage.published.seqs()),
            (SourceState::Up, vec![0, 1, 2])
        );
        drop(viewer);
        // Seen at the last step with the viewer; two seconds of pictures of 33 ms each.
        stage.steps(200);
        assert_eq!(state(), SourceState::Idle);
        let seqs = stage.published.seqs();
        let shown = i64::try_from(seqs.len()).unwrap() - 2;
        assert!((58..=62).contains(&shown), "{seqs:?}");
        // The placeholder for whoever comes next bears the last number.
        assert_eq!(seqs[seqs.len() - 2..], [shown, -shown]);
        let _viewer = channel.demand.attend();
        stage.until_tried(3);
        stage.steps(1);
        assert_eq!(stage.published.seqs().last(), Some(&(shown + 1)));
        assert_eq!(channel.counters.lost.load(Ordering::Relaxed), 0);
        assert_eq!(channel.counters.recovered.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_source_that_does_not_open_on_demand_is_gone_and_is_left_alone_once_nobody_waits() {
        let mut stage = on_demand(vec![Ok(vec![])]);
        let channel = stage.life.channel.clone();
        let state = || channel.counters.source_state();
        let viewer = channel.demand.attend();
        stage.until_tried(2);
        assert_eq!(state(), SourceState::Placeholder);
        assert!(channel.sources.told().trouble.is_some());
        assert!(stage.published.placeholders() >= 1);
        stage.until_tried(4);
        drop(viewer);
        stage.steps(100);
        assert_eq!(state(), SourceState::Idle);
        assert_eq!(channel.sources.told().trouble, None);
        let tries = stage.tries.load(Ordering::Relaxed);
        stage.steps(1_000);
        assert_eq!(stage.tries.load(Ordering::Relaxed), tries);
    }

    #[test]
    fn a_source_that_is_slow_to_open_on_demand_is_not_gone_at_once() {
        let mut stage = on_demand(vec![Ok(vec![])]);
        let channel = stage.life.channel.clone();
        // That there were no pictures meanwhile says nothing about the source.
        stage.clock.advance(60_000 * MS);
        let _viewer = channel.demand.attend();
        stage.life.heed_demand();
        let (_opener, result) = mpsc::sync_channel(1);
        stage.life.state = State::Opening(result);
        let mut after = |time| {
            stage.clock.advance(time);
            stage.steps(1);
            let trouble = channel.sources.told().trouble;
            (channel.counters.source_state(), trouble.is_some())
        };
        assert_eq!(after(4_000 * MS), (SourceState::Starting, false));
        assert_eq!(after(1_000 * MS), (SourceState::Placeholder, true));
    }

    #[test]
    fn a_source_that_nobody_wants_is_switched_without_being_opened() {
        let mut stage = on_demand(vec![Ok(vec![])]);
        let channel = stage.life.channel.clone();
        let opened = || channel.sources.told().description;
        assert!(channel.sources.switch("other"));
        stage.steps(100);
        assert_eq!(channel.counters.source_state(), SourceState::Idle);
        assert_eq!(opened(), "scripted");
        assert_eq!(stage.published.placeholders(), 0, "as it was before");
        let _viewer = channel.demand.attend();
        while opened() != "the other" {
            stage.steps(1);
        }
        stage.steps(1);
        assert_eq!(channel.counters.source_state(), SourceState::Up);
        assert_eq!(stage.tries(), 1, "the first one stays closed");
    }

    #[test]
    fn a_source_that_opens_and_brings_nothing_does_not_start_for_ever() {
        for kind in [PLAIN, RECONNECTING] {
            let mut stage = stage(vec![Ok(vec![]), Ok(vec![])], kind, 1);
            stage.life.lease = Some(Lease::new(2_000 * MS, stage.clock.monotonic()));
            stage.life.rest();
            let channel = stage.life.channel.clone();
            let _viewer = channel.demand.attend();
            stage.until_tried(2);
            stage.steps(30);
            assert_eq!(channel.counters.source_state(), SourceState::Starting);
            stage.steps(40);
            assert_eq!(channel.counters.source_state(), SourceState::Placeholder);
        }
    }
}
