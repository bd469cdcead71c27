//! What the API tells, as JSON: of the program, of channels and of viewers. How it reads is written down
//! in `assets/openapi.json`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Clock, Format, Monotonic, SystemClock};
use serde_json::{Value, json};

use super::Site;
use crate::channel::{Channel, Channels, Pace, SourceState};
use crate::egress::drop_in;
use crate::egress::kernel;
use crate::egress::metrics::process;
use crate::egress::register::Entry;
use crate::egress::verdict::{self, Needs, Verdict};
use crate::egress::viewer::figures::{Reading, Skips, Watched};

/// How the program fares, and all its channels.
pub(super) fn status(site: &Site) -> Value {
    let now = SystemClock.monotonic();
    let facts = &site.backstage;
    let models: Vec<_> = facts.model.split(',').collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": SystemClock.wall().as_seconds().to_string().parse::<f64>().ok(),
        "uptime_s": seconds(now.since(facts.started)),
        "models": models,
        "driver": facts.driver,
        "viewers": facts.register.count(),
        "cpu": {
            "seconds": process::cpu().unwrap_or_default().as_secs_f64(),
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
        },
        "memory": {
            "rss_bytes": process::resident_bytes(),
            "frame_bytes": facts.budget.used(),
            "budget_bytes": facts.budget.limit(),
        },
        "channels": channels(site, now),
        "log": facts.journal.lines(),
    })
}

/// All channels, the default one first.
pub(super) fn channels(site: &Site, now: Monotonic) -> Vec<Value> {
    let channels = site.channels().iter();
    channels.map(|one| channel(one, now)).collect()
}

/// One channel.
pub(super) fn channel(channel: &Channel, now: Monotonic) -> Value {
    let newest = channel.ring.newest();
    let head = newest.as_ref().and_then(|payload| payload.newest());
    let size = head.map(|frame| json!([frame.head.width, frame.head.height]));
    let pace = channel.pace(now);
    let counters = &channel.counters;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let history = channel.history.as_ref().map(|history| history.span());
    let age = channel.freshness(now);
    json!({
        "name": channel.name,
        "source": source(channel, now),
        "format": match channel.current_format() {
            Format::Jpeg => "jpeg",
            Format::Opaque => "opaque",
        },
        "size": size,
        "fps": hundredths(pace.fps),
        "wanted_fps": hundredths(1.0 / channel.interval.as_secs_f64()),
        "bitrate_bps": pace.bitrate_bps.round(),
        "newest_frame_age_ms": age.map(millis),
        "frames": count(&counters.frames),
        "drops": {
            "damaged": count(&counters.damaged),
            "overtaken": count(&counters.overtaken),
        },
        "viewers": counters.viewers.load(Ordering::Relaxed),
        "has_viewers": channel.has_viewers,
        "history_s": seconds(history.unwrap_or_default()),
        "exchange": channel.exchange.as_deref().map(drop_in::told),
    })
}

fn source(channel: &Channel, now: Monotonic) -> Value {
    let (sources, counters) = (&channel.sources, &channel.counters);
    let told = sources.told();
    let state = match counters.source_state() {
        SourceState::Idle => "idle",
        _ if channel.flows(now) => "live",
        SourceState::Starting => "starting",
        SourceState::Up | SourceState::Placeholder => "away",
    };
    json!({
        "name": sources.name(sources.wanted()),
        "names": sources.names(),
        "description": told.description,
        "state": state,
        "trouble": told.trouble.filter(|_| state != "live"),
        "reconnects": counters.recovered.load(Ordering::Relaxed),
        "on_demand_s": channel.on_demand.map(seconds),
    })
}

/// A viewer's figures with what is made of them.
pub(super) struct Judged<'e> {
    pub(super) entry: &'e Entry,
    pub(super) reading: Reading,
    pub(super) verdict: Verdict,
    line: Option<kernel::Line>,
    needs: Needs,
    age: Duration,
}

impl<'e> Judged<'e> {
    /// A viewer as it fares now. `paces` are those of all channels.
    pub(super) fn new(site: &Site, entry: &'e Entry, paces: &[Pace], now: Monotonic) -> Self {
        let reading = entry.read(now);
        let line = entry.line();
        let needs = needs(site.channels(), &reading.watched, paces);
        let age = now.since(entry.since);
        Self {
            entry,
            verdict: verdict::judge(&reading, line, needs, age),
            reading,
            line,
            needs,
            age,
        }
    }

    /// Whoever fares worst comes first.
    pub(super) fn rank(&self) -> (verdict::Kind, u64) {
        (self.verdict.kind, self.entry.id)
    }

    /// It as JSON.
    pub(super) fn told(&self, site: &Site) -> Value {
        let Self { entry, reading, .. } = self;
        let lately = &reading.lately;
        let watched = reading.watched.iter();
        let ages = (lately.ages.total() > 0).then(|| {
            json!({
                "p50": millis(lately.ages.quantile(0.5)),
                "p99": millis(lately.ages.quantile(0.99)),
            })
        });
        json!({
            "id": entry.id,
            "address": entry.peer.to_string(),
            "protocol": entry.protocol.to_string(),
            "connected_s": seconds(self.age),
            "channels": watched.map(|one| watching(site, one)).collect::<Vec<_>>(),
            "verdict": {"kind": self.verdict.kind.name(), "text": self.verdict.text},
            "payloads": payloads(reading.sent, reading.thinned, reading.skipped),
            "bytes": reading.bytes,
            "lately": {
                "seconds": seconds(lately.span),
                "payloads": payloads(lately.sent, lately.thinned, lately.skipped),
                "rate": hundredths(verdict::rate(reading)),
                "needs_rate": hundredths(self.needs.rate),
                "bitrate_bps": verdict::carried(reading).round(),
                "needs_bps": self.needs.bitrate_bps.round(),
                "age_ms": ages,
            },
            "connection": self.line.map(|line| json!({
                "unsent_bytes": line.unsent,
                "packets_in_flight": line.in_flight,
                "packets_resent": line.resent,
                "round_trip_ms": millis(line.round_trip),
            })),
        })
    }
}

fn watching(site: &Site, watched: &Watched) -> Value {
    let interval = watched.wish.interval;
    json!({
        "name": site.channels()[watched.place].name,
        "max_age_ms": millis(watched.wish.max_age),
        "asks_fps": interval.map(|interval| hundredths(1.0 / interval.as_secs_f64())),
    })
}

fn payloads(sent: u64, thinned: u64, skipped: Skips) -> Value {
    json!({
        "sent": sent,
        "thinned": thinned,
        "skipped": skipped.total(),
        "skipped_for": {
            "link": skipped.link,
            "device": skipped.device,
            "server": skipped.server,
        },
    })
}

/// What the channels that are watched would have a viewer take.
fn needs(channels: &Channels, watched: &[Watched], paces: &[Pace]) -> Needs {
    let mut needs = Needs::default();
    for one in watched {
        let pace = paces[one.place];
        if pace.payloads == 0.0 {
            needs.is_starting |= channels[one.place].is_at_rest();
            continue;
        }
        needs.has_source = true;
        let asked = one.wish.interval.map(|every| 1.0 / every.as_secs_f64());
        match asked {
            // One frame of a payload at most.
            Some(asked) => {
                let rate = asked.min(pace.payloads);
                needs.is_thinned |= asked < pace.payloads;
                needs.rate += rate;
                needs.bitrate_bps += pace.bitrate_bps / pace.fps * rate;
            }
            None => {
                needs.rate += pace.payloads;
                needs.bitrate_bps += pace.bitrate_bps;
            }
        }
    }
    needs
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
