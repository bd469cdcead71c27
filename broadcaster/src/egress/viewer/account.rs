//! What a viewer counts: for itself, and for the channels it watches.
//!
//! What one viewer alone got is in its [`Counters`](super::Counters), and in its
//! [`Figures`](super::figures::Figures) for whoever asks while it watches. All viewers of a worker add to
//! the same counters of a channel ([`Traffic`](crate::egress::traffic::Traffic)): none of them can be
//! told apart there.

use common::{Monotonic, Payload};

use super::{Protocol, Sending, Viewer, is_placeholder};
use crate::channel::Channel;
use crate::egress::framing::Portion;
use crate::egress::traffic::Tally;

impl Viewer {
    /// It is served by the worker with this number from now on, and counted there.
    pub const fn set_lane(&mut self, lane: usize) {
        self.lane = lane;
    }

    /// Where what is sent of the channel at `place` is counted. A watch may have ended while the last
    /// of it was on its way.
    fn tally(&self, place: usize) -> Option<&Tally> {
        let mut watches = self.watches.iter();
        let watched = watches.find(|watch| watch.place() == place);
        let channel: &Channel = match (watched, &self.lobby) {
            (Some(watch), _) => watch.channel(),
            (None, Some(lobby)) => lobby.channels.get(place)?,
            (None, None) => return None,
        };
        Some(channel.traffic.tally(self.lane, self.protocol))
    }

    /// The kernel took so many bytes of what is being sent; `is_first` if none before.
    pub(super) fn account_for_bytes(&mut self, bytes: usize, is_first: bool, now: Monotonic) {
        self.counters.bytes += bytes as u64;
        let sending = self.sending.as_ref();
        let Some((payload, place)) =
            sending.and_then(|sending| sending.payload.as_ref().zip(sending.place))
        else {
            return;
        };
        let tally = self.tally(place);
        if let Some(tally) = tally {
            tally.took(bytes);
        }
        if is_first && !is_placeholder(payload) {
            let age = now.since(payload.published_at);
            if let Some(tally) = tally {
                tally.began(age);
            }
            self.figures.age(self.counters.ages.record(age));
        }
    }

    /// A message has left whole.
    pub(super) fn note_sent(&mut self, sent: &Sending, now: Monotonic) {
        let took = now.since(sent.begun_at);
        self.counters.sent += u64::from(sent.payload.is_some());
        self.note_busy(took);
        if let Some(place) = sent.place {
            if sent.frames > 0
                && let Some(tally) = self.tally(place)
            {
                tally.sent(sent.frames, took);
            }
            let watch = self.watch_mut(place);
            if let Some(window) = watch.and_then(|watch| watch.window.as_mut()) {
                window.sent(now);
                self.note_silence();
            }
        }
        self.figures.count(&self.counters, now);
    }

    /// The next payload is about to be sent: counts what was passed over before it by what held it up,
    /// and tells of it where that can be told, behind the payload.
    pub(super) fn account_for_gap(&mut self, index: usize) {
        let watch = &mut self.watches[index];
        let (place, thinned) = (watch.place(), watch.take_thinned());
        let skipped = watch.take_skips(self.busy);
        let tally = watch.channel.traffic.tally(self.lane, self.protocol);
        if thinned > 0 {
            tally.thinned(thinned);
        }
        if let Some((count, why)) = skipped {
            tally.skipped(count, why);
            self.counters.why.add(count, why);
            if self.protocol == Protocol::Ws {
                self.tell_skips(place, count, why);
            }
        }
    }
}

/// Frames that a viewer gets with this portion of a payload; placeholders are none.
pub(super) fn frames_in(payload: &Payload, portion: Portion) -> usize {
    match portion {
        _ if is_placeholder(payload) => 0,
        Portion::Newest => payload.frames.len().min(1),
        Portion::Whole => payload.frames.len(),
    }
}
