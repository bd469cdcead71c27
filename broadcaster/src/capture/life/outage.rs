//! What viewers are shown while no pictures come, and what is said about it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Clock, Frame, Monotonic};
use tracing::{debug, error, info, warn};

use super::Life;
use crate::capture::placeholder::{self, Before};
use crate::channel::SourceState;
use crate::fanout::Publish;

/// How often a placeholder is published.
pub(super) const REMINDER: Duration = Duration::from_secs(1);
/// A source that is opened on demand and brings nothing for this long does not start, it is gone.
const STARTING: Duration = Duration::from_secs(5);

/// No pictures come.
pub(super) struct Outage {
    pub(super) since: Monotonic,
    pub(super) reason: Reason,
    pub(super) placeholder: Option<Frame>,
    pub(super) shown_at: Monotonic,
}

/// Why none come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::capture) enum Reason {
    /// The source is gone.
    Gone,
    /// It is being opened because somebody wants it.
    Starting,
}

impl<P: Publish, C: Clock> Life<P, C> {
    /// Whether the source is being opened on demand and nothing has failed yet.
    pub(super) fn is_starting(&self) -> bool {
        (self.outage.as_ref()).is_some_and(|outage| outage.reason == Reason::Starting)
    }

    /// Whoever is relayed has lost its source: viewers here get the very placeholder.
    pub(super) fn pass_on_outage(&mut self, frame: Frame) {
        let why = "the source sends a placeholder: its own source is gone";
        if self.outage.is_none() {
            warn!("{why}");
            self.note_loss();
        }
        // One that is opened on demand may begin with it.
        if !self.is_starting() {
            self.channel.sources.lost(why);
        }
        let now = self.clock.monotonic();
        let known = self.outage.as_ref();
        let (since, reason) =
            known.map_or((now, Reason::Gone), |known| (known.since, known.reason));
        self.show(&frame);
        self.outage = Some(Outage {
            since,
            reason,
            placeholder: Some(frame),
            shown_at: now,
        });
    }

    /// A real picture is here.
    pub(super) fn recover(&mut self) {
        let now = self.clock.monotonic();
        if self.flowing_since.is_none() || self.outage.is_some() {
            self.channel.counters.set_source_state(SourceState::Up);
        }
        self.flowing_since.get_or_insert(now);
        let Some(outage) = self.outage.take() else {
            return;
        };
        self.channel.sources.untroubled();
        let took_ms = now.since(outage.since).as_millis();
        match outage.reason {
            Reason::Starting => debug!(took_ms, "pictures flow"),
            Reason::Gone => {
                (self.channel.counters.recovered).fetch_add(1, Ordering::Relaxed);
                info!(away_ms = took_ms, "pictures flow again");
            }
        }
    }

    /// The source is away and will come back by itself; why, it says by itself.
    pub(super) fn wait_for_return(&mut self) {
        if !self.is_starting() {
            self.channel.sources.lost("no picture comes");
        }
        if self.outage.is_none() {
            info!("no picture comes, a placeholder is shown until one does");
            self.show_placeholder();
        }
    }

    pub(super) fn begin_outage(&mut self, reason: &str) {
        self.channel.sources.lost(reason);
        if self.outage.is_some() && !self.is_starting() {
            debug!(reason, "source still away");
            return;
        }
        warn!(
            reason,
            "no source, a placeholder is shown until there is one"
        );
        self.show_placeholder();
    }

    fn note_loss(&self) {
        let counters = &self.channel.counters;
        counters.lost.fetch_add(1, Ordering::Relaxed);
        counters.set_source_state(SourceState::Placeholder);
    }

    /// The outage begins.
    fn show_placeholder(&mut self) {
        self.note_loss();
        let placeholder = self.make_placeholder(Reason::Gone);
        if let Some(frame) = &placeholder {
            self.show(frame);
        }
        let now = self.clock.monotonic();
        self.outage = Some(Outage {
            since: now,
            reason: Reason::Gone,
            placeholder,
            shown_at: now,
        });
    }

    /// A picture that says what is the matter.
    pub(super) fn make_placeholder(&mut self, reason: Reason) -> Option<Frame> {
        let before = Before {
            last: self.last.as_ref(),
            epoch: self.channel.epoch,
            format: self.channel.format,
            size: self.size,
            reason,
        };
        let placeholder = placeholder::frame(&before, &mut self.encoder);
        placeholder
            .inspect_err(|error| error!(%error, "no placeholder"))
            .ok()
    }

    /// Publishes the placeholder again when it is time.
    pub(super) fn remind(&mut self) {
        let now = self.clock.monotonic();
        let Some(outage) = &mut self.outage else {
            return;
        };
        if outage.reason == Reason::Starting && now.since(outage.since) >= STARTING {
            self.begin_outage(&format!("no picture for {STARTING:?}"));
            return;
        }
        if now.since(outage.shown_at) < REMINDER {
            return;
        }
        outage.shown_at = now;
        if let Some(frame) = outage.placeholder.clone() {
            self.show(&frame);
        }
    }

    /// Publishes a placeholder by itself, without waiting for a payload to fill.
    pub(super) fn show(&mut self, placeholder: &Frame) {
        self.payloader.flush();
        self.payloader.push(placeholder.clone());
        self.payloader.flush();
    }
}
