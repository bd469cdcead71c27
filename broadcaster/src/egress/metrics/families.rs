//! The list of all metrics: their names, what they mean, and where they are counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Clock, SystemClock, Timestamp};

use super::sheet::{Content, Print};
use super::{Counted, process};
use crate::channel::{Channel, SourceState};
use crate::egress::Protocol;
use crate::egress::traffic::{CAUSES, Histogram, Total};
use crate::fanout::exchange::{Exchange, Health};

/// The list of all metrics.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) counted: Counted,
    pub(super) started_at: Timestamp,
}

impl Content for Families {
    fn print(&self, print: &mut Print<'_>) -> fmt::Result {
        self.print_program(print)?;
        self.print_sources(print)?;
        self.print_presence(print)?;
        self.print_traffic(print)?;
        self.print_exchanges(print)
    }
}

impl Families {
    fn print_program(&self, print: &mut Print<'_>) -> fmt::Result {
        let Counted {
            budget,
            model,
            driver,
            ..
        } = &self.counted;
        let version = env!("CARGO_PKG_VERSION");
        let labels = [("version", version), ("model", model), ("driver", driver)];
        let info =
            "What runs: its version, how frames are handed on, what moves their bytes; always 1";
        print.gauge("framecast_build_info", info, [(labels, 1_u64)])?;
        let used = "Memory that frames hold, in ring, history and on their way to viewers";
        print.gauge("framecast_memory_used_bytes", used, [([], budget.used())])?;
        let limit = "Memory that frames may hold (--memory-budget)";
        print.gauge(
            "framecast_memory_limit_bytes",
            limit,
            [([], budget.limit())],
        )?;

        let cpu = process::cpu().map(|cpu| ([], cpu.as_secs_f64()));
        print.counter(
            "process_cpu_seconds",
            "Processor time used, in user and kernel mode",
            cpu,
        )?;
        let resident = process::resident_bytes().map(|bytes| ([], bytes));
        print.gauge("process_resident_memory_bytes", "Memory in use", resident)?;
        let open = process::open_descriptors().map(|count| ([], count));
        print.gauge(
            "process_open_fds",
            "Descriptors open; each viewer is one",
            open,
        )?;
        let most = process::most_descriptors().map(|count| ([], count));
        print.gauge("process_max_fds", "Descriptors that may be open", most)?;
        let started = [([], self.started_at.as_nanos() as f64 / 1e9)];
        print.gauge(
            "process_start_time_seconds",
            "When it started, since 1970",
            started,
        )
    }

    fn print_sources(&self, print: &mut Print<'_>) -> fmt::Result {
        let states = (self.channels()).flat_map(|channel| {
            let now = channel.counters.source_state();
            SourceState::ALL.map(|state| {
                let labels = [("channel", &*channel.name), ("state", state.name())];
                (labels, u64::from(state == now))
            })
        });
        let help = "1 for what the source is now: up while its pictures flow, placeholder while one stands \
                    for them, idle while it is closed on demand, starting before its first picture";
        print.gauge("framecast_source_state", help, states)?;
        let now = SystemClock.monotonic();
        let ages = (self.channels()).filter_map(|channel| {
            let age = channel.freshness(now)?;
            Some(([("channel", &*channel.name)], age.as_secs_f64()))
        });
        let help = "Age of the newest frame; none while a placeholder stands in its place";
        print.gauge("framecast_newest_frame_age_seconds", help, ages)?;
        for (name, help, counter) in SOURCE_COUNTERS {
            let counts = (self.channels()).map(|channel| {
                let count = counter(channel).load(Ordering::Relaxed);
                ([("channel", &*channel.name)], count)
            });
            print.counter(name, help, counts)?;
        }
        for (name, help, counter) in PUBLISHING_COUNTERS {
            let spent = (self.channels()).map(|channel| {
                let spent = counter(channel).load(Ordering::Relaxed);
                ([("channel", &*channel.name)], spent as f64 / 1e9)
            });
            print.counter(name, help, spent)?;
        }
        Ok(())
    }

    fn print_presence(&self, print: &mut Print<'_>) -> fmt::Result {
        let watching = self.ways().map(|(channel, protocol)| {
            let watching = channel.traffic.watching(protocol) as u64;
            (way(channel, protocol), watching)
        });
        let help = "Viewers there are now; one over WebSocket counts for each channel it watches";
        print.gauge("framecast_viewers", help, watching)?;

        let counters = self.counted.admission.counters();
        let admitted = Protocol::ALL
            .map(|protocol| ([("protocol", protocol.name())], counters.taken_in(protocol)));
        print.counter("framecast_viewers_admitted", "Viewers let in", admitted)?;
        let refused = counters.refused();
        let refused = refused.map(|(reason, count)| ([("reason", reason)], count));
        let help = "Viewers turned away: no memory left for frames, no place left, none left for their \
                    address, or a crowd at the door";
        print.counter("framecast_viewers_refused", help, refused)?;
        let gone = Protocol::ALL.into_iter().flat_map(|protocol| {
            let labels = move |reason| [("protocol", protocol.name()), ("reason", reason)];
            let gone = counters.gone(protocol);
            gone.map(move |(reason, count)| (labels(reason), count))
        });
        print.counter("framecast_viewers_gone", "Viewers gone, and why", gone)
    }

    fn print_traffic(&self, print: &mut Print<'_>) -> fmt::Result {
        let totals = self.ways();
        let totals = totals
            .map(|(channel, protocol)| (way(channel, protocol), channel.traffic.total(protocol)));
        let totals: Vec<_> = totals.collect();
        let each = |value: fn(&Total) -> u64| {
            let totals = totals.iter();
            totals.map(move |(labels, total)| (*labels, value(total)))
        };
        let help = "Frames sent whole to viewers";
        print.counter(
            "framecast_viewer_frames_sent",
            help,
            each(|total| total.frames),
        )?;
        let help = "Bytes of frames, with their heads, handed to the kernel for viewers";
        print.counter(
            "framecast_viewer_sent_bytes",
            help,
            each(|total| total.bytes),
        )?;
        let help = "Payloads not sent because a viewer asked for fewer";
        print.counter(
            "framecast_viewer_payloads_thinned",
            help,
            each(|total| total.thinned),
        )?;
        let skipped = totals.iter().flat_map(|([channel, protocol], total)| {
            let counts = CAUSES.into_iter().zip(total.skipped);
            counts.map(|(cause, count)| ([*channel, *protocol, ("reason", cause)], count))
        });
        let help = "Payloads passed over because they had become too old, and what held them up: the \
                    link, the viewer's device, or the server";
        print.counter("framecast_viewer_payloads_skipped", help, skipped)?;
        let each = |value: fn(&Total) -> &Histogram| {
            let totals = totals.iter();
            totals.map(move |(labels, total)| {
                let histogram = value(total);
                (*labels, (histogram.sum, histogram.classes().collect()))
            })
        };
        let help = "Age of frames, from publishing, when their first byte is handed to the kernel for a viewer";
        print.histogram(
            "framecast_viewer_frame_age_seconds",
            help,
            each(|total| &total.ages),
        )?;
        let help = "From the choice of a frame until the kernel has its last byte for a viewer; 0 if it \
                    takes all at once";
        print.histogram(
            "framecast_viewer_send_seconds",
            help,
            each(|total| &total.sends),
        )
    }

    fn print_exchanges(&self, print: &mut Print<'_>) -> fmt::Result {
        let exchanges = (self.channels()).filter_map(|channel| {
            Some((("channel", &*channel.name), channel.exchange.as_deref()?))
        });
        let exchanges: Vec<_> = exchanges.collect();
        let states = exchanges.iter().flat_map(|(channel, exchange)| {
            let now = state_of(exchange);
            EXCHANGE_STATES.map(|state| ([*channel, ("state", state)], u64::from(state == now)))
        });
        let help = "1 for how it stands with the broker: publishing, or blocked (it takes nothing for lack \
                    of memory or disk), or away, or connecting for the first time";
        print.gauge("framecast_exchange_state", help, states)?;
        for (name, help, counter) in EXCHANGE_COUNTERS {
            let counts = (exchanges.iter())
                .map(|(channel, exchange)| ([*channel], counter(exchange).load(Ordering::Relaxed)));
            print.counter(name, help, counts)?;
        }
        let latencies = exchanges.iter().map(|(channel, exchange)| {
            let latency = &exchange.counters.latency;
            ([*channel], (latency.sum(), latency.classes().collect()))
        });
        let help = "From capture's hand to the broker's confirmation";
        print.histogram("framecast_exchange_publish_seconds", help, latencies)
    }

    fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.counted.channels.iter().map(|channel| &**channel)
    }

    /// Each channel over each protocol.
    fn ways(&self) -> impl Iterator<Item = (&Channel, Protocol)> {
        let protocols = |channel| Protocol::ALL.map(|protocol| (channel, protocol));
        self.channels().flat_map(protocols)
    }
}

fn way(channel: &Channel, protocol: Protocol) -> [(&str, &str); 2] {
    [("channel", &channel.name), ("protocol", protocol.name())]
}

/// Name, help, and where it is counted.
type Counter<T> = (&'static str, &'static str, fn(&T) -> &AtomicU64);

/// In nanoseconds.
const PUBLISHING_COUNTERS: [Counter<Channel>; 2] = [
    (
        "framecast_frames_publishing_seconds",
        "Time that handing frames on to all models has taken the thread that captures",
        |channel| &channel.counters.publishing_ns,
    ),
    (
        "framecast_frames_publishing_cpu_seconds",
        "Processor time of that; for the rest others had its processor",
        |channel| &channel.counters.publishing_cpu_ns,
    ),
];

const SOURCE_COUNTERS: [Counter<Channel>; 7] = [
    (
        "framecast_source_pictures",
        "Pictures that the source has brought",
        |channel| &channel.counters.captured,
    ),
    (
        "framecast_source_pictures_damaged",
        "Pictures that could not be used",
        |channel| &channel.counters.damaged,
    ),
    (
        "framecast_source_pictures_overtaken",
        "Pictures left out because they came faster than they could be encoded",
        |channel| &channel.counters.overtaken,
    ),
    (
        "framecast_source_lost",
        "Times the source was lost: it failed, fell silent, or was not there at the start",
        |channel| &channel.counters.lost,
    ),
    (
        "framecast_source_recovered",
        "Times its pictures flowed again after that",
        |channel| &channel.counters.recovered,
    ),
    (
        "framecast_frames_published",
        "Frames published, placeholders not counted",
        |channel| &channel.counters.frames,
    ),
    (
        "framecast_frames_published_bytes",
        "Bytes of those frames, encoded, each counted once however many viewers there are",
        |channel| &channel.counters.bytes,
    ),
];

const EXCHANGE_COUNTERS: [Counter<Exchange>; 5] = [
    (
        "framecast_exchange_payloads_handed_over",
        "Payloads that capture has handed over to the exchange",
        |exchange| &exchange.counters.handed_over,
    ),
    (
        "framecast_exchange_payloads_published",
        "Payloads that the broker has taken, as far as it has said so",
        |exchange| &exchange.counters.published,
    ),
    (
        "framecast_exchange_payloads_dropped",
        "Payloads that did not get there: overtaken by newer ones, refused, or lost with a connection",
        |exchange| &exchange.counters.dropped,
    ),
    (
        "framecast_exchange_reconnects",
        "Times a lost connection was had again",
        |exchange| &exchange.counters.reconnects,
    ),
    (
        "framecast_exchange_blocks",
        "Times the broker took nothing for lack of memory or disk",
        |exchange| &exchange.counters.blocks,
    ),
];

const EXCHANGE_STATES: [&str; 4] = ["connecting", "publishing", "blocked", "away"];

fn state_of(exchange: &Exchange) -> &'static str {
    match exchange.health() {
        Health::Connecting => "connecting",
        Health::Publishing { .. } => "publishing",
        Health::Blocked { .. } => "blocked",
        Health::Away { .. } => "away",
    }
}
