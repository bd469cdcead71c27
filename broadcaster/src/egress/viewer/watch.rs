//! One channel as one viewer sees it: its place in the ring and which payload is worth sending next.
//!
//! The rules for slow viewers that concern a channel are here; a viewer over WebSocket has a watch
//! for each of its channels, all others have one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::ring::Subscriber;
use common::wire::ws::text::Cause;
use common::{Format, Monotonic, Payload, RecvError, Subscribe};

use super::Counters;
use super::window::{Held, Window};
use crate::beat::Beat;
use crate::channel::Channel;
use crate::egress::Protocol;
use crate::egress::framing::Portion;

/// How a channel is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Payloads older than this are skipped if there is a newer one.
    pub max_age: Duration,
    /// The time from one frame to the next, if the viewer asks for fewer than there are: it then
    /// gets the newest frame at each beat, and one of a payload at most.
    pub interval: Option<Duration>,
}

/// One channel that a viewer watches. It counts among the channel's viewers while it lives.
#[derive(Debug)]
pub struct Watch {
    place: usize,
    pub(super) channel: Arc<Channel>,
    protocol: Protocol,
    max_age: Duration,
    beat: Option<Beat>,
    subscriber: Subscriber,
    /// Where payloads are acknowledged.
    pub(super) window: Option<Window>,
    /// Set once the channel has ended and all of it was handed out.
    pub(super) is_over: bool,
    /// Payloads skipped that the viewer was not told of.
    untold: u64,
    /// Payloads left out as the viewer asked, but for those that are accounted for.
    thinned: u64,
    /// How long the connection had been busy when nothing was late.
    busy_before: Duration,
}

impl Watch {
    /// A watch, over `protocol`, of the channel that stands at `place`, beginning with the newest payload.
    #[must_use]
    pub fn new(place: usize, channel: &Arc<Channel>, protocol: Protocol, wish: Wish) -> Self {
        // Before anybody hears that it is wanted: what waits for whoever comes is the newest until then.
        let subscriber = channel.ring.subscribe();
        channel.counters.viewers.fetch_add(1, Ordering::Relaxed);
        channel.traffic.joined(protocol);
        channel.demand.come();
        Self {
            place,
            channel: channel.clone(),
            protocol,
            max_age: wish.max_age,
            beat: wish.interval.map(Beat::new),
            subscriber,
            window: None,
            is_over: false,
            untold: 0,
            thinned: 0,
            busy_before: Duration::ZERO,
        }
    }

    /// The same, of which only so much is sent as is acknowledged.
    #[must_use]
    pub fn acknowledged(mut self) -> Self {
        self.window = Some(Window::default());
        self
    }

    /// The place of its channel.
    #[must_use]
    pub const fn place(&self) -> usize {
        self.place
    }

    /// What is watched.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The age above which its payloads are skipped.
    #[must_use]
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }

    /// How it is wished.
    #[must_use]
    pub fn wish(&self) -> Wish {
        Wish {
            max_age: self.max_age,
            interval: self.beat.as_ref().map(Beat::interval),
        }
    }

    /// Goes on as it is wished now.
    pub(super) fn change(&mut self, wish: Wish) {
        self.max_age = wish.max_age;
        self.beat = wish.interval.map(Beat::new);
    }

    pub(super) fn is_open(&self) -> bool {
        !self.is_over && !self.window.as_ref().is_some_and(Window::is_full)
    }

    pub(super) const fn portion(&self) -> Portion {
        match self.beat {
            Some(_) => Portion::Newest,
            None => Portion::Whole,
        }
    }

    /// The next payload worth sending; `TimedOut` or `Closed` if there is none. `busy` is how long the
    /// connection has been busy altogether.
    pub(super) fn next(
        &mut self,
        now: Monotonic,
        busy: Duration,
        counters: &mut Counters,
    ) -> Result<Arc<Payload>, RecvError> {
        let mut passed_over = 0;
        loop {
            match self.subscriber.recv(Duration::ZERO) {
                Ok(payload) => {
                    self.count_passed_over(std::mem::take(&mut passed_over), &payload, counters);
                    if !self.is_turn(&payload) {
                        self.count_thinned(1, counters);
                    } else if self.is_stale(&payload, now) {
                        passed_over = 1 + self.subscriber.resume_newest();
                    } else {
                        self.take_turn(&payload);
                        return Ok(payload);
                    }
                }
                Err(RecvError::Lagged { skipped }) => passed_over += skipped,
                outcome => {
                    self.count_skipped(passed_over, counters);
                    if self.untold == 0 {
                        // Nothing is late, so what held up before is not what will have held up.
                        self.take_held(busy);
                    }
                    return outcome;
                }
            }
        }
    }

    /// Takes note that the payload is about to be sent.
    pub(super) fn begin(&mut self, payload: &Payload) {
        if let Some(window) = &mut self.window {
            window.begin(payload.newest().map_or(0, |frame| frame.head.identity.seq));
        }
    }

    /// Takes back a payload chosen earlier if it has grown too old; whether it has.
    pub(super) fn take_back_if_stale(
        &mut self,
        payload: &Payload,
        now: Monotonic,
        counters: &mut Counters,
    ) -> bool {
        if !self.is_stale(payload, now) {
            return false;
        }
        self.count_skipped(1, counters);
        if let Some(beat) = &mut self.beat {
            beat.give_back();
        }
        if let Some(window) = &mut self.window {
            window.take_back();
        }
        true
    }

    /// How many payloads were skipped since this was asked last, and what held them up since the viewer
    /// had all there was. `busy` is how long the connection has been busy altogether.
    pub(super) fn take_skips(&mut self, busy: Duration) -> Option<(u64, Cause)> {
        if self.untold == 0 {
            return None;
        }
        let untold = std::mem::take(&mut self.untold);
        let held = self.take_held(busy);
        // Nothing is skipped before it is so old; half, for there may be several hindrances.
        let cause = if (held.link + held.device) * 2 < self.max_age {
            Cause::Server
        } else if held.device > held.link {
            Cause::Device
        } else {
            Cause::Link
        };
        Some((untold, cause))
    }

    fn take_held(&mut self, busy: Duration) -> Held {
        let held = self.window.as_mut().map(Window::take_held);
        let mut held = held.unwrap_or_default();
        held.link += busy.saturating_sub(std::mem::replace(&mut self.busy_before, busy));
        held
    }

    /// How many payloads were left out, since this was asked last, because fewer were asked for.
    pub(super) const fn take_thinned(&mut self) -> u64 {
        std::mem::replace(&mut self.thinned, 0)
    }

    /// Whether such frames never leave but by the native protocol.
    pub(super) fn is_opaque(payload: &Payload) -> bool {
        let mut frames = payload.frames.iter();
        frames.any(|frame| frame.head.format == Format::Opaque)
    }

    fn is_stale(&self, payload: &Payload, now: Monotonic) -> bool {
        now.since(payload.published_at) > self.max_age && self.subscriber.has_unread()
    }

    /// Counts payloads passed over for `next`: skipped are those that would have been sent.
    fn count_passed_over(&mut self, count: u64, next: &Payload, counters: &mut Counters) {
        let missed = self.beat.as_ref().map(|beat| beat.missed(next));
        let skipped = missed.map_or(count, |missed| missed.min(count));
        self.count_skipped(skipped, counters);
        self.count_thinned(count - skipped, counters);
    }

    fn count_skipped(&mut self, count: u64, counters: &mut Counters) {
        counters.skipped += count;
        self.untold += count;
    }

    fn count_thinned(&mut self, count: u64, counters: &mut Counters) {
        counters.thinned += count;
        self.thinned += count;
    }

    fn is_turn(&mut self, payload: &Payload) -> bool {
        (self.beat.as_mut()).is_none_or(|beat| beat.is_turn(payload))
    }

    fn take_turn(&mut self, payload: &Payload) {
        if let Some(beat) = &mut self.beat {
            beat.take(payload);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.channel.demand.leave();
        self.channel.traffic.left(self.protocol);
        self.channel
            .counters
            .viewers
            .fetch_sub(1, Ordering::Relaxed);
    }
}
