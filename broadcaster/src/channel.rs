//! Channels: each is one stream, known by name to all who serve it.

mod demand;
mod sources;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use common::ring::Ring;
use common::{Format, Head, Monotonic, Payload};

use crate::egress::traffic::Traffic;
use crate::fanout::exchange::Exchange;
use crate::history::History;

pub use demand::{Attending, Demand};
pub use sources::Sources;

/// A channel whose newest frame is younger than this is ready, unless its rate is slower still.
const READY_AGE: Duration = Duration::from_secs(2);
/// Time between frames where nobody says.
const INTERVAL: Duration = Duration::from_nanos(33_333_333);
/// How far back frames are counted for their rate.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// One stream, shared by its capture thread, the drivers and the pages.
#[derive(Debug)]
pub struct Channel {
    /// The name in addresses.
    pub name: String,
    /// Wall clock ns when the channel was opened.
    pub epoch: u64,
    /// What its frames will be, as far as that is known before there are any.
    pub format: Format,
    /// Time between frames, as configured.
    pub interval: Duration,
    /// Where its payloads are handed on.
    pub ring: Ring,
    /// Its last seconds, if they are kept.
    pub history: Option<History>,
    /// Where else its payloads go, if anywhere.
    pub exchange: Option<Arc<Exchange>>,
    /// Whether viewers are served here; else only the exchange hands its frames on.
    pub has_viewers: bool,
    /// What happened so far.
    pub counters: Counters,
    /// What its viewers were sent.
    pub traffic: Traffic,
    /// Who wants its pictures.
    pub demand: Demand,
    /// How long its source is kept after the last one left, if it is opened on demand.
    pub on_demand: Option<Duration>,
    /// What its frames come from, and what is in the way of that.
    pub sources: Sources,
}

/// What happened on a channel since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Pictures that the source has brought, used or not; placeholders are none.
    pub captured: AtomicU64,
    /// Frames published.
    pub frames: AtomicU64,
    /// Bytes of those, encoded.
    pub bytes: AtomicU64,
    /// How long handing them on has taken the thread that captures, in ns.
    pub publishing_ns: AtomicU64,
    /// For how much of that it had a processor, in ns.
    pub publishing_cpu_ns: AtomicU64,
    /// Pictures that could not be used: damaged, or above 16 MiB.
    pub damaged: AtomicU64,
    /// Pictures left out because they came faster than they could be encoded.
    pub overtaken: AtomicU64,
    /// Viewers connected now.
    pub viewers: AtomicUsize,
    /// Times its source was lost: it failed, fell silent, or could not be opened at the start.
    pub lost: AtomicU64,
    /// Times pictures flowed again after that.
    pub recovered: AtomicU64,
    /// How its source is; a [`SourceState`].
    state: AtomicU8,
    /// How long its source may be silent, as far as its pictures have told; at first 0.
    pub patience_ms: AtomicU64,
}

/// How a channel's source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// It is being opened: no picture has come yet, and nothing says that none will.
    Starting,
    /// Pictures flow.
    Up,
    /// They do not; a placeholder stands for them.
    Placeholder,
    /// It is closed until somebody wants pictures.
    Idle,
}

impl SourceState {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Up, Self::Placeholder, Self::Idle];

    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Placeholder => "placeholder",
            Self::Idle => "idle",
        }
    }
}

impl Counters {
    /// How the source is now.
    #[must_use]
    pub fn source_state(&self) -> SourceState {
        SourceState::ALL[usize::from(self.state.load(Ordering::Relaxed))]
    }

    /// Says how the source is now.
    pub fn set_source_state(&self, state: SourceState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }
}

impl Channel {
    /// A channel that hands on its payloads through `ring`, opened at wall clock `epoch`.
    #[must_use]
    pub fn new(name: &str, epoch: u64, ring: Ring) -> Self {
        Self {
            name: name.to_owned(),
            epoch,
            format: Format::Jpeg,
            interval: INTERVAL,
            ring,
            history: None,
            exchange: None,
            has_viewers: true,
            counters: Counters::default(),
            traffic: Traffic::default(),
            demand: Demand::default(),
            on_demand: None,
            sources: Sources::default(),
        }
    }

    /// What viewers get now. A relay learns it from its frames, and it may change when the origin
    /// restarts.
    #[must_use]
    pub fn current_format(&self) -> Format {
        self.newest_head().map_or(self.format, |head| head.format)
    }

    /// Whose frames viewers get now: those of an origin elsewhere bear its epoch.
    #[must_use]
    pub fn current_epoch(&self) -> u64 {
        let newest = self.newest_head();
        newest.map_or(self.epoch, |head| head.identity.epoch)
    }

    /// What to tell those who want frames of it here, where there are none.
    #[must_use]
    pub fn elsewhere(&self) -> Option<String> {
        let exchange = self.exchange.as_ref().filter(|_| !self.has_viewers)?;
        let (brokers, name) = (&exchange.brokers, &exchange.name);
        Some(format!(
            "frames of this channel go only through the exchange {name}: receiver \
             {brokers}?exchange={name} gets them; with --model ring,rabbitmq they are here too"
        ))
    }

    fn newest_head(&self) -> Option<Head> {
        Some(self.ring.newest()?.newest()?.head)
    }

    /// How long ago the newest real frame was published, `None` if there is none in the ring or a
    /// placeholder stands in its place.
    #[must_use]
    pub fn freshness(&self, now: Monotonic) -> Option<Duration> {
        let payload = self.ring.newest()?;
        let frame = payload.newest()?;
        (!frame.head.is_placeholder()).then(|| now.since(payload.published_at))
    }

    /// How old the newest frame may be while frames flow: three intervals, as configured or as seen
    /// by now, and at least two seconds.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let seen = Duration::from_millis(self.counters.patience_ms.load(Ordering::Relaxed));
        (3 * self.interval).max(seen).max(READY_AGE)
    }

    /// Whether frames flow, or would soon if somebody came.
    #[must_use]
    pub fn is_ready(&self, now: Monotonic) -> bool {
        self.is_at_rest() || self.flows(now)
    }

    /// Whether its source, which is opened on demand, is closed or being opened.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let state = self.counters.source_state();
        self.on_demand.is_some() && matches!(state, SourceState::Idle | SourceState::Starting)
    }

    /// Whether real frames flow: the newest is not too old.
    #[must_use]
    pub fn flows(&self, now: Monotonic) -> bool {
        (self.freshness(now)).is_some_and(|age| age <= self.patience())
    }

    /// Frames a second over the last second, or between the last two payloads if they are farther
    /// apart. Zero if real frames do not flow.
    #[must_use]
    pub fn captured_fps(&self, now: Monotonic) -> f64 {
        self.pace(now).fps
    }

    /// Frames and bits a second, counted likewise.
    #[must_use]
    pub fn pace(&self, now: Monotonic) -> Pace {
        let Some(newest) = self.ring.newest().filter(|_| self.flows(now)) else {
            return Pace::default();
        };
        let (mut bytes, mut frames) = weigh(&newest);
        let mut span = Duration::ZERO;
        let (mut counted, mut weighed, mut payloads) = (0, 0, 0);
        let earlier = (0..newest.index)
            .rev()
            .map_while(|index| self.ring.get(index));
        for payload in earlier {
            counted += frames;
            weighed += bytes;
            payloads += usize::from(frames > 0);
            span = newest.published_at.since(payload.published_at);
            if span >= RATE_WINDOW {
                break;
            }
            (bytes, frames) = weigh(&payload);
        }
        if span.is_zero() {
            return Pace::default();
        }
        let each_second = |count: usize| count as f64 / span.as_secs_f64();
        Pace {
            fps: each_second(counted),
            payloads: each_second(payloads),
            bitrate_bps: each_second(8 * weighed),
        }
    }
}

/// How fast frames come.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    /// Frames a second.
    pub fps: f64,
    /// Payloads a second.
    pub payloads: f64,
    /// Bits of pictures a second.
    pub bitrate_bps: f64,
}

/// Bytes and number of a payload's real frames.
fn weigh(payload: &Payload) -> (usize, usize) {
    let real = (payload.frames.iter()).filter(|frame| !frame.head.is_placeholder());
    real.fold((0, 0), |(bytes, count), frame| {
        (bytes + frame.data().len(), count + 1)
    })
}

/// All channels there are, the default one first. Never empty, never changed; cheap to clone.
#[derive(Debug, Clone)]
pub struct Channels {
    list: Arc<[Arc<Channel>]>,
}

/// A name that no channel has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no channel {asked:?} here; there {}: {names}", if *count == 1 { "is" } else { "are" })]
pub struct Unknown {
    asked: String,
    names: String,
    count: usize,
}

impl Channels {
    /// These channels; viewers who name none get the first.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn new(list: Vec<Arc<Channel>>) -> Self {
        assert!(!list.is_empty(), "a broadcaster has a channel");
        Self { list: list.into() }
    }

    /// The place of the channel with this name.
    ///
    /// # Errors
    /// If there is none; the error names those there are.
    pub fn find(&self, name: &str) -> Result<usize, Unknown> {
        let place = self.iter().position(|channel| channel.name == name);
        place.ok_or_else(|| self.unknown(name))
    }

    /// What to tell who asked for this.
    #[must_use]
    pub fn unknown(&self, asked: &str) -> Unknown {
        Unknown {
            asked: asked.to_owned(),
            names: self.names().join(", "),
            count: self.len(),
        }
    }

    /// The place of a channel that is one of these.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn place_of(&self, channel: &Channel) -> usize {
        let place = self.iter().position(|one| std::ptr::eq(&**one, channel));
        place.expect("viewers watch a channel there is")
    }

    fn names(&self) -> Vec<&str> {
        self.iter().map(|channel| &*channel.name).collect()
    }
}

impl Deref for Channels {
    type Target = [Arc<Channel>];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use bytes::Bytes;
    use common::{Flags, Frame, Identity, Timestamp, ring};

    fn payload(index: u64, flags: Flags) -> Arc<Payload> {
        let head = Head {
            identity: Identity { epoch: 5, seq: 0 },
            captured_at: Timestamp::default(),
            format: Format::Opaque,
            width: 1,
            height: 1,
            flags,
            hops: 0,
        };
        Arc::new(Payload {
            index,
            published_at: Monotonic::default(),
            frames: vec![Frame::new(head, Bytes::new())],
        })
    }

    /// A channel without a picture, and the writing end of its ring.
    pub(crate) fn channel(name: &str, format: Format) -> (Arc<Channel>, ring::Publisher) {
        channel_of(2, name, format)
    }

    /// The same with room for so many payloads.
    pub(crate) fn channel_of(
        capacity: usize,
        name: &str,
        format: Format,
    ) -> (Arc<Channel>, ring::Publisher) {
        let (publisher, ring) = ring::new(capacity);
        let channel = Channel {
            format,
            ..Channel::new(name, 1, ring)
        };
        (Arc::new(channel), publisher)
    }

    #[test]
    fn channels_are_found_by_name_and_an_unknown_name_learns_of_them() {
        let named = |name| channel(name, Format::Jpeg).0;
        let one = Channels::new(vec![named("main")]);
        let error = one.find("lab").unwrap_err();
        assert_eq!(error.to_string(), "no channel \"lab\" here; there is: main");
        let two = Channels::new(vec![named("main"), named("lab")]);
        assert_eq!((two.find("main"), two.find("lab")), (Ok(0), Ok(1)));
        assert_eq!(two.place_of(&two[1]), 1);
        let error = two.find("").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no channel \"\" here; there are: main, lab"
        );
    }

    #[test]
    fn a_channel_is_ready_while_real_frames_flow_and_is_what_they_are() {
        let (channel, mut publisher) = channel("main", Format::Jpeg);
        let mut channel = Arc::into_inner(channel).unwrap();
        let after = |seconds| Monotonic::default() + Duration::from_secs(seconds);
        assert!(!channel.is_ready(after(0)));
        let now = |channel: &Channel| (channel.current_format(), channel.current_epoch());
        assert_eq!(now(&channel), (Format::Jpeg, 1));
        publisher.publish(payload(0, Flags::KEY));
        assert_eq!(now(&channel), (Format::Opaque, 5));
        assert!(channel.is_ready(after(2)));
        assert!(!channel.is_ready(after(3)));
        channel.interval = Duration::from_secs(10);
        assert!(channel.is_ready(after(30)));
        channel.interval = Duration::from_millis(33);
        channel.counters.patience_ms.store(5_000, Ordering::Relaxed);
        assert!(channel.is_ready(after(5)));
        assert!(!channel.is_ready(after(6)));
        publisher.publish(payload(1, Flags::KEY.with(Flags::PLACEHOLDER)));
        assert!(!channel.is_ready(after(0)));
    }
}
