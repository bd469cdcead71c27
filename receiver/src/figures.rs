//! What is reported: the figures of one second, and those of the whole run.
//!
//! All receivers share one set of histograms: one each would be too large for thousands. They are
//! filled by whoever reports, from what the receivers left in their slots.

mod moment;

use std::sync::Arc;
use std::time::Duration;

use common::synchrony::Synchrony;
use hdrhistogram::Histogram;
use serde::Serialize;

use self::moment::{Moment, each, flows, median_ms, rates};
use crate::config::{Config, Decode};
use crate::ingress::Source;
use crate::watch::Slot;

/// Histograms go from a microsecond to ten minutes, to three digits.
const LONGEST_US: u64 = 600_000_000;
const DIGITS: u8 = 3;

/// Over which time the figures were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Since the last such line, about a second.
    Second,
    /// Since the beginning, or since the warm-up.
    Summary,
}

/// The figures of all receivers together over a stretch of time.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Over which time.
    pub kind: Kind,
    /// Where the stream comes from.
    pub url: String,
    /// Receivers that run.
    pub receivers: u16,
    /// Receivers that are connected at the end of that time.
    pub connected: u16,
    /// New frames, the sum over the receivers, as are the other counts.
    pub frames: u64,
    /// Jumps in the sequence.
    pub gaps: u64,
    /// Frames that came again or too late.
    pub duplicates: u64,
    /// Changes of the epoch.
    pub restarts: u64,
    /// Frames missing in the jumps.
    pub skipped: u64,
    /// Stand-ins for a missing picture.
    pub placeholders: u64,
    /// What was not as it should be.
    pub damaged: u64,
    /// frames ÷ (frames + skipped).
    pub delivered: f64,
    /// Age of frames at arrival; null if none is known.
    pub age_ms: Option<Ages>,
    /// How far ages can be trusted.
    pub clock: &'static str,
    /// 99th percentile of last minus first arrival, over the frames that all receivers got; null
    /// with one receiver or without such a frame.
    pub synchrony_ms: Option<f64>,
    /// Encoded bits of new frames in a second, the sum over the receivers; like `fps` without the
    /// first frames.
    pub bitrate_bps: f64,
    /// Frames in a second, the mean of the receivers. The frame that each is shown on joining was
    /// there before and is not counted here.
    pub fps: f64,
    /// The same of the slowest receiver.
    pub fps_least: f64,
    /// Time this process used, in percent of one core.
    pub cpu: f64,
    /// Seconds since the beginning.
    pub elapsed_s: f64,
    /// What decoding shows, if it is wanted.
    #[serde(flatten)]
    pub pictures: Option<Pictures>,
    /// Frames shown; null without a display or a schedule.
    pub shown: Option<u64>,
    /// How the schedule is kept, if there is one.
    #[serde(flatten)]
    pub sync: Option<Sync>,
    /// Encoded bytes of a new frame, the mean; for people.
    #[serde(skip)]
    pub frame_bytes: f64,
    /// The receivers' frame rates, for people.
    #[serde(skip)]
    pub rates: Rates,
    /// Receiver by receiver, for people.
    #[serde(skip)]
    pub each: Vec<Each>,
    /// Why the first of those not connected is not, for people.
    #[serde(skip)]
    pub trouble: Option<String>,
    /// Why a receiver has failed for good, if one has; for people.
    #[serde(skip)]
    pub failure: Option<String>,
}

/// Ages in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ages {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The oldest.
    pub max: f64,
}

/// What decoding shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pictures {
    /// Decoded whole.
    pub decoded: u64,
    /// Could not be decoded.
    pub decode_errors: u64,
    /// Showed another sequence number than their frame has.
    pub mislabelled: u64,
}

/// How the schedule of `--sync` is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sync {
    /// From capture to display, as it was asked for.
    pub sync_ms: f64,
    /// 99th percentile of last minus first showing, over the frames that all receivers of this
    /// program showed; null with one receiver or without such a frame.
    pub sync_spread_ms: Option<f64>,
    /// How long after their time frames were shown; null if none was, or no age is known.
    pub sync_off_ms: Option<Ages>,
    /// Frames that came after their time.
    pub late: u64,
}

/// Frames in a second, receiver by receiver.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Of the slowest receiver.
    pub min: f64,
    /// Of the one in the middle.
    pub median: f64,
}

/// The figures of one receiver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Each {
    /// Whether there is a connection at the end of that time.
    pub is_connected: bool,
    /// Frames in a second.
    pub fps: f64,
    /// Median age at arrival, if one is known.
    pub age_ms: Option<f64>,
    /// Frames missing in jumps, from the beginning.
    pub skipped: u64,
}

/// Takes what receivers have seen and makes figures of it.
#[derive(Debug)]
pub struct Collector {
    url: String,
    clock: &'static str,
    decode: Decode,
    is_shown: bool,
    sync: Option<Duration>,
    slots: Vec<Arc<Slot>>,
    synchrony: Synchrony,
    showing: Synchrony,
    start: Moment,
    last: Moment,
    second: Times,
    total: Times,
}

impl Collector {
    /// A collector for receivers that begin now.
    #[must_use]
    pub fn new(config: &Config, slots: Vec<Arc<Slot>>) -> Self {
        let start = Moment::now(slots.len());
        Self {
            url: config.source.to_string(),
            clock: match config.source {
                Source::Tcp(_) | Source::Ws(_) => "synchronised to server",
                Source::Http(_) | Source::Amqp(_) => "unchecked",
            },
            decode: config.decode,
            is_shown: config.is_shown(),
            sync: config.sync,
            synchrony: Synchrony::new(config.count.get()),
            showing: Synchrony::new(config.count.get()),
            last: start.clone(),
            start,
            slots,
            second: Times::new(),
            total: Times::new(),
        }
    }

    /// Forgets everything before this moment: it is the beginning now.
    pub fn begin_anew(&mut self) {
        let now = self.collect();
        self.second.reset();
        self.total.reset();
        (self.start, self.last) = (now.clone(), now);
    }

    /// The figures since the last call, or since the beginning.
    pub fn second(&mut self) -> Figures {
        let now = self.collect();
        let figures = self.figures(Kind::Second, &self.last, &now);
        self.second.reset();
        self.last = now;
        figures
    }

    /// The figures since the beginning.
    pub fn summary(&mut self) -> Figures {
        let now = self.collect();
        self.figures(Kind::Summary, &self.start, &now)
    }

    fn collect(&mut self) -> Moment {
        let mut now = Moment::now(0);
        for slot in &self.slots {
            let seen = slot.take();
            for arrival in &seen.arrivals {
                let apart = self.synchrony.add(arrival.identity, arrival.at);
                for times in [&mut self.second, &mut self.total] {
                    times.ages.add(arrival.age);
                    times.apart.add(apart);
                }
            }
            for presented in &seen.presented {
                let apart = self.showing.add(presented.identity, presented.at);
                for times in [&mut self.second, &mut self.total] {
                    times.off.add(presented.off);
                    times.shown_apart.add(apart);
                    times.shown += 1;
                }
            }
            now.late += seen.late;
            now.ages.push(median_ms(&seen.arrivals));
            now.add(seen.counts, seen.tally, seen.health);
        }
        self.synchrony.expire(now.at);
        self.showing.expire(now.at);
        now
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "figures need no more than 53 bits"
    )]
    fn figures(&self, kind: Kind, from: &Moment, to: &Moment) -> Figures {
        let times = match kind {
            Kind::Second => &self.second,
            Kind::Summary => &self.total,
        };
        // Never zero, so that rates are numbers.
        let seconds = to.at.since(from.at).as_secs_f64().max(1e-6);
        let counts = to.sum() - from.sum();
        let flows = flows(from, to);
        let flow = flows.iter().sum::<u64>() as f64;
        let rates = rates(&flows, seconds);
        let frame_bytes = counts.bytes as f64 / counts.frames.max(1) as f64;
        let used = to.cpu.saturating_sub(from.cpu).as_secs_f64();
        Figures {
            kind,
            url: self.url.clone(),
            receivers: self.slots.len().try_into().unwrap_or(u16::MAX),
            connected: to.connected,
            frames: counts.frames,
            gaps: counts.gaps,
            duplicates: counts.duplicates,
            restarts: counts.restarts,
            skipped: counts.skipped,
            placeholders: counts.placeholders,
            damaged: counts.damaged,
            delivered: counts.delivered(),
            age_ms: times.ages.summary(),
            clock: self.clock,
            synchrony_ms: times.apart.summary().map(|apart| apart.p99),
            bitrate_bps: flow * frame_bytes * 8.0 / seconds,
            fps: flow / seconds / self.slots.len() as f64,
            fps_least: rates.min,
            cpu: 100.0 * used / seconds,
            elapsed_s: to.at.since(self.start.at).as_secs_f64(),
            pictures: (self.decode == Decode::Every).then(|| Pictures {
                decoded: to.tally.decoded - from.tally.decoded,
                decode_errors: to.tally.errors - from.tally.errors,
                mislabelled: to.tally.mislabelled - from.tally.mislabelled,
            }),
            shown: self.is_shown.then_some(times.shown),
            sync: self.sync.map(|delay| Sync {
                sync_ms: 1e3 * delay.as_secs_f64(),
                sync_spread_ms: times.shown_apart.summary().map(|apart| apart.p99),
                sync_off_ms: times.off.summary(),
                late: to.late - from.late,
            }),
            frame_bytes,
            rates,
            each: each(from, to, seconds),
            trouble: to.trouble.clone(),
            failure: to.failure.clone(),
        }
    }
}

/// How ages and distances are spread.
#[derive(Debug)]
struct Times {
    ages: Spread,
    apart: Spread,
    /// Showings after their time, and from each other.
    off: Spread,
    shown_apart: Spread,
    shown: u64,
}

impl Times {
    fn new() -> Self {
        Self {
            ages: Spread::new(),
            apart: Spread::new(),
            off: Spread::new(),
            shown_apart: Spread::new(),
            shown: 0,
        }
    }

    fn reset(&mut self) {
        for spread in [
            &mut self.ages,
            &mut self.apart,
            &mut self.off,
            &mut self.shown_apart,
        ] {
            spread.micros.reset();
        }
        self.shown = 0;
    }
}

#[derive(Debug)]
struct Spread {
    micros: Histogram<u64>,
}

impl Spread {
    fn new() -> Self {
        let micros = Histogram::new_with_bounds(1, LONGEST_US, DIGITS);
        Self {
            micros: micros.expect("the bounds are in order"),
        }
    }

    fn add(&mut self, time: Option<Duration>) {
        if let Some(time) = time {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            self.micros.saturating_record(micros);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "ten minutes fit in 53 bits")]
    fn summary(&self) -> Option<Ages> {
        let millis = |micros: u64| micros as f64 / 1_000.0;
        let quantile = |quantile| millis(self.micros.value_at_quantile(quantile));
        (!self.micros.is_empty()).then(|| Ages {
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: millis(self.micros.max()),
        })
    }
}
