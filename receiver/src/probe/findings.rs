//! What was seen of a stream, and the figures it comes to.

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Frame, Monotonic};

use crate::account::{Account, Counts, Kind};
use crate::ingress::{ClockOffset, Ingress};
use crate::output::decode::{Decoder, Tally, Unavailable};

/// Most messages and ages that are remembered; later ones are only counted.
const MAX_SAMPLES: usize = 1 << 18;
/// Most sizes of pictures that are told apart.
const MAX_SIZES: usize = 8;

/// What was seen of a stream.
#[derive(Debug)]
pub(super) struct Findings {
    begun: Monotonic,
    ended: Monotonic,
    account: Account,
    decoder: Decoder,
    /// When messages arrived.
    messages: Vec<Monotonic>,
    ages: Vec<Duration>,
    kinds: BTreeSet<&'static str>,
    sizes: BTreeSet<(u16, u16)>,
    hops: u8,
    /// Bytes of the frame on joining, which tells nothing of the rate.
    first_bytes: u64,
    /// Whether the newest of all is a stand-in for a missing picture.
    ends_with_placeholder: bool,
    is_connected: bool,
    lost_connections: u64,
    damaged: u64,
    clock_offset: Option<ClockOffset>,
}

/// How times are spread, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Spread {
    /// Median.
    pub(super) p50: f64,
    /// 99th percentile.
    pub(super) p99: f64,
    /// The longest.
    pub(super) max: f64,
}

impl Findings {
    /// Nothing yet, of a stream that is connected since `begun`.
    pub(super) fn new(begun: Monotonic) -> Result<Self, Unavailable> {
        Ok(Self {
            begun,
            ended: begun,
            account: Account::default(),
            decoder: Decoder::new()?,
            messages: Vec::new(),
            ages: Vec::new(),
            kinds: BTreeSet::new(),
            sizes: BTreeSet::new(),
            hops: 0,
            first_bytes: 0,
            ends_with_placeholder: false,
            is_connected: true,
            lost_connections: 0,
            damaged: 0,
            clock_offset: None,
        })
    }

    pub(super) fn note_message(&mut self, at: Monotonic) {
        if self.messages.len() < MAX_SAMPLES {
            self.messages.push(at);
        }
    }

    pub(super) fn note_age(&mut self, age: Option<Duration>) {
        if self.ages.len() < MAX_SAMPLES {
            self.ages.extend(age);
        }
    }

    /// Takes a frame and says what it is.
    pub(super) fn add(&mut self, frame: &Frame) -> Kind {
        let head = &frame.head;
        let kind = self.account.add(head, frame.data().len());
        self.ends_with_placeholder = head.is_placeholder();
        self.hops = self.hops.max(head.hops);
        if kind == Kind::New {
            if self.account.counts().frames == 1 {
                self.first_bytes = frame.data().len() as u64;
            }
            self.kinds.insert(super::kind_of(frame));
            if head.width > 0 && self.sizes.len() < MAX_SIZES {
                self.sizes.insert((head.width, head.height));
            }
            self.decoder.take(frame);
        }
        kind
    }

    pub(super) const fn note_connection(&mut self, is_connected: bool) {
        if self.is_connected && !is_connected {
            self.lost_connections += 1;
        }
        self.is_connected = is_connected;
    }

    /// Takes what the ingress knows when the watching is over.
    pub(super) fn end(&mut self, now: Monotonic, ingress: &Ingress) {
        self.ended = now;
        self.damaged = ingress.damaged();
        self.clock_offset = ingress.clock_offset();
    }

    pub(super) const fn frames(&self) -> u64 {
        self.account.counts().frames
    }

    pub(super) const fn counts(&self) -> Counts {
        self.account.counts()
    }

    pub(super) const fn pictures(&self) -> Tally {
        self.decoder.tally()
    }

    pub(super) const fn damaged(&self) -> u64 {
        self.damaged
    }

    pub(super) const fn lost_connections(&self) -> u64 {
        self.lost_connections
    }

    pub(super) const fn hops(&self) -> u8 {
        self.hops
    }

    pub(super) const fn clock_offset(&self) -> Option<ClockOffset> {
        self.clock_offset
    }

    pub(super) const fn ends_with_placeholder(&self) -> bool {
        self.ends_with_placeholder
    }

    /// All kinds of frames that came, in words.
    pub(super) fn format(&self) -> Option<String> {
        let kinds: Vec<_> = self.kinds.iter().copied().collect();
        (!kinds.is_empty()).then(|| kinds.join(" and "))
    }

    /// All sizes that came.
    pub(super) fn sizes(&self) -> Vec<(u16, u16)> {
        self.sizes.iter().copied().collect()
    }

    pub(super) fn seconds(&self) -> f64 {
        self.ended.since(self.begun).as_secs_f64()
    }

    /// Frames in a second. The one on joining was there before and is not counted.
    pub(super) fn fps(&self) -> f64 {
        self.frames().saturating_sub(1) as f64 / self.seconds().max(1e-6)
    }

    pub(super) fn bitrate_bps(&self) -> f64 {
        let bytes = self.counts().bytes.saturating_sub(self.first_bytes);
        8.0 * bytes as f64 / self.seconds().max(1e-6)
    }

    pub(super) fn frame_bytes(&self) -> f64 {
        self.counts().bytes as f64 / self.frames().max(1) as f64
    }

    pub(super) fn age_ms(&self) -> Option<Spread> {
        spread(self.ages.clone())
    }

    /// Time between messages; the first is left out, for it was sent on joining.
    pub(super) fn intervals(&self) -> Vec<Duration> {
        let regular = self.messages.get(1..).unwrap_or_default();
        regular
            .windows(2)
            .map(|pair| pair[1].since(pair[0]))
            .collect()
    }

    /// How far intervals are from their median.
    pub(super) fn jitter_ms(&self) -> Option<Spread> {
        let mut intervals = self.intervals();
        intervals.sort_unstable();
        let median = *intervals.get(intervals.len() / 2)?;
        spread(intervals.iter().map(|one| one.abs_diff(median)).collect())
    }

    /// The longest time without a message, also at the end.
    pub(super) fn longest_silence(&self) -> Duration {
        let last = self.messages.last().map_or(self.begun, |&at| at);
        let between = self.messages.windows(2).map(|pair| pair[1].since(pair[0]));
        between.fold(self.ended.since(last), Duration::max)
    }
}

/// `None` of nothing.
pub(super) fn spread(mut times: Vec<Duration>) -> Option<Spread> {
    times.sort_unstable();
    let millis = |time: Duration| 1e3 * time.as_secs_f64();
    let rank = |percent: usize| (times.len() * percent).div_ceil(100).saturating_sub(1);
    Some(Spread {
        p50: millis(*times.get(rank(50))?),
        p99: millis(*times.get(rank(99))?),
        max: millis(*times.last()?),
    })
}
