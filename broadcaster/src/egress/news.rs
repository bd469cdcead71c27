//! Which channels have something new, seen from one event loop.
//!
//! A loop serves the viewers of all channels. Each ring gets a waker of its own, which notes its
//! channel and then wakes the loop: so a payload concerns the viewers of its channel only. A loop
//! without viewers is not woken at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use common::ring::Ring;
use common::ring::wait::Registration;

use super::guest::Gate;
use super::viewer::Viewer;
use crate::channel::Channels;

/// What has happened on each channel since the loop last looked.
#[derive(Debug)]
pub struct News {
    calls: Box<[Arc<Call>]>,
    fresh: Box<[bool]>,
}

/// How one channel's ring calls one loop.
#[derive(Debug)]
struct Call {
    has_news: AtomicBool,
    gate: Arc<Gate>,
}

impl News {
    /// No news yet of `count` channels, for the loop behind `gate`.
    #[must_use]
    pub fn new(count: usize, gate: &Arc<Gate>) -> Self {
        let call = || Call {
            has_news: AtomicBool::new(false),
            gate: gate.clone(),
        };
        Self {
            calls: (0..count).map(|_| Arc::new(call())).collect(),
            fresh: vec![false; count].into(),
        }
    }

    /// Takes in what happened since the last call; whether anything did.
    pub fn gather(&mut self) -> bool {
        for (fresh, call) in self.fresh.iter_mut().zip(&self.calls) {
            // Acquire: pairs with the Release in Call::wake_by_ref; the payload is in the ring.
            *fresh = call.has_news.swap(false, Ordering::Acquire);
        }
        self.fresh.contains(&true)
    }

    /// Whether the last gathering brought something of the channel at this place.
    #[must_use]
    pub fn is_fresh(&self, channel: usize) -> bool {
        self.fresh[channel]
    }
}

impl News {
    /// Whether the last gathering brought something that the viewer watches.
    #[must_use]
    pub fn concern(&self, viewer: &Viewer) -> bool {
        (viewer.watches().iter()).any(|watch| self.is_fresh(watch.place()))
    }
}

/// The rings that call a loop, as long as it has viewers.
#[derive(Debug)]
pub struct Ear<'a> {
    channels: &'a Channels,
    registrations: Vec<Registration<'a>>,
}

impl<'a> Ear<'a> {
    /// One that hears nothing yet.
    #[must_use]
    pub const fn new(channels: &'a Channels) -> Self {
        Self {
            channels,
            registrations: Vec::new(),
        }
    }

    /// Has the rings call if there are viewers, each for its channel, and not if there are none.
    /// Whether that has just begun: the viewers then have to look once for themselves, since what
    /// came in between was not heard.
    #[must_use]
    pub fn listen(&mut self, news: &News, viewers: usize) -> bool {
        if viewers == 0 {
            self.registrations.clear();
            return false;
        }
        let is_new = self.registrations.is_empty();
        if is_new {
            let wakers = news.calls.iter().map(|call| Waker::from(call.clone()));
            let rings = self.channels.iter().map(|channel| &channel.ring);
            let register = |(ring, waker): (&'a Ring, Waker)| ring.wake_by(waker);
            self.registrations = rings.zip(wakers).map(register).collect();
        }
        is_new
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: pairs with the Acquire in News::gather. Noted before the loop is woken, so that
        // a loop which looked too early is woken once more.
        self.has_news.store(true, Ordering::Release);
        self.gate.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::channel;
    use common::{Format, Payload};

    #[test]
    fn news_are_of_one_channel_and_are_told_once() {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (main, mut publisher) = channel("main", Format::Jpeg);
        let (lab, lab_publisher) = channel("lab", Format::Jpeg);
        let channels = Channels::new(vec![main, lab]);
        let mut news = News::new(channels.len(), &Arc::new(Gate::new(waker)));
        let mut ear = Ear::new(&channels);
        assert!(!ear.listen(&news, 0));
        publisher.publish(Arc::new(Payload {
            index: 0,
            published_at: Default::default(),
            frames: Vec::new(),
        }));
        assert!(!news.gather(), "nobody is there to be told");
        assert!(ear.listen(&news, 2), "there may be something already");
        assert!(!ear.listen(&news, 1));
        assert!(!news.gather());
        publisher.publish(Arc::new(Payload {
            index: 1,
            published_at: Default::default(),
            frames: Vec::new(),
        }));
        assert!(news.gather() && news.is_fresh(0) && !news.is_fresh(1));
        assert!(!news.gather() && !news.is_fresh(0));
        drop(lab_publisher);
        assert!(news.gather() && news.is_fresh(1), "an end is news too");
        assert!(!ear.listen(&news, 0));
        drop(publisher);
        assert!(!news.gather());
    }
}
