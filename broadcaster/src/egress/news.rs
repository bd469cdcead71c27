//! Which channels have something new, seen from one event loop.
//!
//! A loop serves the viewers of all channels. Each ring gets a waker of its own, which notes its
//! channel and then wakes the loop: so a payload concerns the viewers of its channel only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

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

    /// Has the rings call, each for its channel, until the registrations are dropped.
    #[must_use = "dropping the registrations ends it"]
    pub fn ask<'a>(&self, channels: &'a Channels) -> Vec<Registration<'a>> {
        let wakers = self.calls.iter().map(|call| Waker::from(call.clone()));
        let rings = channels.iter().map(|channel| &channel.ring);
        rings
            .zip(wakers)
            .map(|(ring, waker)| ring.wake_by(waker))
            .collect()
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
        let registrations = news.ask(&channels);
        assert!(!news.gather());
        publisher.publish(Arc::new(Payload {
            index: 0,
            published_at: Default::default(),
            frames: Vec::new(),
        }));
        assert!(news.gather() && news.is_fresh(0) && !news.is_fresh(1));
        assert!(!news.gather() && !news.is_fresh(0));
        drop(lab_publisher);
        assert!(news.gather() && news.is_fresh(1), "an end is news too");
        drop(registrations);
        drop(publisher);
        assert!(!news.gather());
    }
}
