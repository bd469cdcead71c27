//! Which still is wanted, and where it comes from: the ring, the history, or a frame still to come.
//!
//! Requests that wait for a frame share one thread per channel, which sleeps on the ring while
//! somebody waits and otherwise is not there: the capture thread wakes it and never them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use common::ring::Subscriber;
use common::wire::mjpeg;
use common::{
    Clock, Format, Frame, Head, Monotonic, Payload, RecvError, Subscribe, SystemClock, Timestamp,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::accept::request::{Reply, value_in};
use crate::channel::Channel;
use crate::config;

/// How long a request waits for a frame that was captured after it.
const FRESH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the thread looks whether anybody still waits.
const LOOK_UP: Duration = Duration::from_millis(500);
/// A time that a client gives may be this far ahead of our clock.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// Which picture of a channel is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Still {
    /// The newest there is.
    Newest,
    /// One captured after the request arrived.
    Fresh,
    /// The newest captured so long ago or before.
    Ago(Duration),
    /// The newest captured at this time or before.
    At(Timestamp),
}

impl Still {
    /// What the query of a request asks for.
    ///
    /// # Errors
    /// The answer to what cannot be understood.
    pub fn parse(query: &str) -> Result<Self, Reply> {
        match (value_in(query, "at"), value_in(query, "fresh")) {
            (None, None | Some("0")) => Ok(Self::Newest),
            (None, Some("1")) => Ok(Self::Fresh),
            (Some(at), None | Some("0")) => Self::parse_at(at),
            (None, Some(other)) => {
                let text = format!("fresh={other}: right would be fresh=1");
                Err(Reply::new(400, text))
            }
            (Some(_), Some(_)) => Err(Reply::new(400, "at and fresh exclude each other")),
        }
    }

    fn parse_at(at: &str) -> Result<Self, Reply> {
        let parsed = match at.strip_prefix('-') {
            Some(ago) => config::parse_duration(ago).ok().map(Self::Ago),
            None => mjpeg::parse_seconds(at).map(|time| Self::At(end_of_microsecond(time))),
        };
        parsed.ok_or_else(|| {
            let right = "right would be -5s or -250ms, or a Unix time in seconds";
            Reply::new(400, format!("at={at}: {right}"))
        })
    }
}

/// Gives out the stills of one channel.
#[derive(Debug)]
pub struct Stills {
    channel: Arc<Channel>,
    lookout: Arc<Lookout>,
}

impl Stills {
    /// The stills of `channel`.
    #[must_use]
    pub fn new(channel: Arc<Channel>) -> Self {
        Self {
            channel,
            lookout: Arc::default(),
        }
    }

    /// The picture that `still` means.
    ///
    /// # Errors
    /// The answer to give instead.
    pub async fn take(&self, still: Still) -> Result<Frame, Reply> {
        if self.channel.current_format() == Format::Opaque {
            return Err(opaque());
        }
        let frame = self.find(still).await?;
        // A relay's upstream may have changed meanwhile.
        if frame.head.format == Format::Opaque {
            return Err(opaque());
        }
        Ok(frame)
    }

    async fn find(&self, still: Still) -> Result<Frame, Reply> {
        let (now, arrival) = (SystemClock.wall(), SystemClock.monotonic());
        match still {
            Still::Newest => {
                let _attending = self.channel.demand.attend();
                if self.channel.is_at_rest()
                    && let Ok(frame) = self.fresh(arrival).await
                {
                    return Ok(frame);
                }
                let newest = self.newest().map(|(_, frame)| frame);
                newest.ok_or_else(|| Reply::new(503, "no picture yet"))
            }
            Still::Fresh => {
                let _attending = self.channel.demand.attend();
                self.fresh(arrival).await
            }
            Still::Ago(ago) => self.at(ago_from(now, ago)),
            Still::At(time) if time.since(now) > CLOCK_TOLERANCE => {
                let now = now.as_seconds();
                let text = format!("at lies in the future, here it is {now}");
                Err(Reply::new(400, text))
            }
            Still::At(time) => self.at(time),
        }
    }

    fn newest(&self) -> Option<(Arc<Payload>, Frame)> {
        let payload = self.channel.ring.newest()?;
        let frame = payload.newest()?.clone();
        Some((payload, frame))
    }

    fn at(&self, time: Timestamp) -> Result<Frame, Reply> {
        let Some(history) = &self.channel.history else {
            let text = "no history is kept; start the broadcaster with --history 10s";
            return Err(Reply::new(404, text));
        };
        match self.newest() {
            None => return Err(Reply::new(503, "no picture yet")),
            Some((_, frame)) => self.refuse_outage(&frame.head)?,
        }
        (history.at(time)).map_err(|missing| Reply::new(404, missing.to_string()))
    }

    /// A source that is being opened because of this very request is not gone.
    fn refuse_outage(&self, head: &Head) -> Result<(), Reply> {
        if head.is_placeholder() && !self.channel.is_at_rest() {
            let text = "the source is gone, a placeholder stands in for it";
            return Err(Reply::new(503, text));
        }
        Ok(())
    }

    /// A frame captured after `arrival`; from a relay, whose clock is another one, the first that
    /// arrives after it.
    async fn fresh(&self, arrival: Monotonic) -> Result<Frame, Reply> {
        let waiting = Waiting::begin(&self.lookout, &self.channel);
        let frame = timeout(FRESH_TIMEOUT, async {
            loop {
                let news = waiting.lookout.news.notified();
                tokio::pin!(news);
                // From here on no news are missed; then look what there already is.
                news.as_mut().enable();
                if let Some((payload, frame)) = self.newest() {
                    self.refuse_outage(&frame.head)?;
                    let (wall, now) = (SystemClock.wall(), SystemClock.monotonic());
                    let age = wall.since(frame.head.captured_at);
                    let seen = Seen { now, age };
                    let is_real = !frame.head.is_placeholder();
                    if is_real && is_fresh(&frame.head, payload.published_at, arrival, seen) {
                        return Ok(frame);
                    }
                }
                news.await;
            }
        });
        let text = "no frame was captured within 5 s";
        frame.await.unwrap_or_else(|_| Err(Reply::new(503, text)))
    }
}

/// A frame's age by the wall clock, and when that was looked up.
#[derive(Debug, Clone, Copy)]
struct Seen {
    now: Monotonic,
    age: Duration,
}

/// Whether a frame was captured after `arrival`. The wall clock, which may jump, only tells how
/// long the frame took from capture to here.
fn is_fresh(head: &Head, published_at: Monotonic, arrival: Monotonic, seen: Seen) -> bool {
    let is_captured_since = arrival + seen.age <= seen.now;
    published_at >= arrival && (head.hops > 0 || is_captured_since)
}

fn opaque() -> Reply {
    let text = "this channel carries opaque frames, which only tcp:// can deliver";
    Reply::new(406, text)
}

/// `X-Timestamp` has microseconds; asked for the time it says, its frame is found again.
fn end_of_microsecond(time: Timestamp) -> Timestamp {
    Timestamp::from_nanos((time.as_nanos() / 1_000 * 1_000).saturating_add(999))
}

fn ago_from(now: Timestamp, ago: Duration) -> Timestamp {
    let nanos = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos))
}

/// Tells those who wait that a channel has news.
#[derive(Debug, Default)]
struct Lookout {
    news: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// Whether the thread is there.
    is_manned: bool,
}

impl Lookout {
    fn state(&self) -> MutexGuard<'_, State> {
        (self.state.lock()).expect("no thread panics while holding this")
    }

    /// Passes on each publication until nobody waits any more or the channel has ended.
    fn watch(&self, mut subscriber: Subscriber) {
        loop {
            let outcome = subscriber.recv(LOOK_UP);
            self.news.notify_waiters();
            let mut state = self.state();
            if state.waiting == 0 || outcome == Err(RecvError::Closed) {
                state.is_manned = false;
                return;
            }
        }
    }
}

/// One request that waits.
#[derive(Debug)]
struct Waiting {
    lookout: Arc<Lookout>,
}

impl Waiting {
    fn begin(lookout: &Arc<Lookout>, channel: &Channel) -> Self {
        let waiting = Self {
            lookout: lookout.clone(),
        };
        let mut state = lookout.state();
        state.waiting += 1;
        if !state.is_manned {
            state.is_manned = true;
            let (lookout, subscriber) = (lookout.clone(), channel.ring.subscribe());
            tokio::task::spawn_blocking(move || lookout.watch(subscriber));
        }
        drop(state);
        waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.lookout.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::channel;
    use crate::history::History;
    use common::{Flags, Identity, ring};

    #[test]
    fn queries_say_which_still_is_wanted() {
        let seconds = |nanos| Ok(Still::At(Timestamp::from_nanos(nanos)));
        let ago = |millis| Ok(Still::Ago(Duration::from_millis(millis)));
        for (query, wanted) in [
            ("", Ok(Still::Newest)),
            ("timestamp=1", Ok(Still::Newest)),
            ("fresh=0", Ok(Still::Newest)),
            ("x=1&fresh=1", Ok(Still::Fresh)),
            ("at=-5s", ago(5_000)),
            ("at=-1.5s", ago(1_500)),
            ("at=-250ms&fresh=0", ago(250)),
            ("at=1700000000.25", seconds(1_700_000_000_250_000_999)),
        ] {
            assert_eq!(Still::parse(query), wanted, "{query}");
        }
        for query in [
            "at=",
            "at=-",
            "at=-5",
            "at=5s",
            "at=soon",
            "fresh=yes",
            "at=-5s&fresh=1",
        ] {
            assert_eq!(Still::parse(query).unwrap_err().status, 400, "{query}");
        }
    }

    #[test]
    fn fresh_is_what_was_captured_after_the_request_and_from_relays_what_came_after_it() {
        let identity = Identity { epoch: 1, seq: 1 };
        let mut head = Head::new(identity, Timestamp::default(), Format::Jpeg);
        let at = |millis: u64| Monotonic::from_nanos(millis * 1_000_000);
        let seen = |now, age| Seen {
            now: at(now),
            age: Duration::from_millis(age),
        };
        let arrival = at(1_000);
        assert!(!is_fresh(&head, at(999), arrival, seen(1_000, 0)));
        assert!(!is_fresh(&head, at(1_001), arrival, seen(1_010, 11)));
        assert!(is_fresh(&head, at(1_001), arrival, seen(1_010, 10)));
        head.hops = 1;
        assert!(is_fresh(&head, at(1_001), arrival, seen(1_010, 60_000)));
        assert!(!is_fresh(&head, at(999), arrival, seen(1_010, 0)));
    }

    #[test]
    fn while_a_placeholder_stands_only_the_newest_still_is_given() {
        let (mut publisher, ring) = ring::new(2);
        let identity = Identity { epoch: 1, seq: 1 };
        let mut head = Head::new(identity, Timestamp::default(), Format::Jpeg);
        head.flags = Flags::KEY.with(Flags::PLACEHOLDER);
        let mut channel = Arc::into_inner(channel("main", Format::Jpeg).0).unwrap();
        channel.ring = ring;
        channel.history = Some(History::new(Duration::MAX, u64::MAX));
        let stills = Stills::new(Arc::new(channel));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let take = |still| runtime.block_on(stills.take(still));
        let ago = Still::Ago(Duration::from_secs(1));
        assert_eq!(take(Still::Newest).unwrap_err().status, 503, "none yet");
        assert_eq!(take(ago).unwrap_err().status, 503, "none yet");
        publisher.publish(Arc::new(Payload {
            index: 0,
            published_at: Monotonic::default(),
            frames: vec![Frame::new(head, bytes::Bytes::from_static(b"jpeg"))],
        }));
        assert!(take(Still::Newest).unwrap().head.is_placeholder());
        for still in [Still::Fresh, ago] {
            let refused = take(still).unwrap_err();
            assert_eq!(refused.status, 503, "{still:?}");
            assert!(refused.text.contains("placeholder"), "{still:?}");
        }
    }

    #[test]
    fn times_beyond_what_can_be_told_are_the_first_and_the_last() {
        let now = Timestamp::from_nanos(5);
        assert_eq!(ago_from(now, Duration::MAX), Timestamp::default());
        let last = Timestamp::from_nanos(u64::MAX);
        assert_eq!(end_of_microsecond(last), last);
    }
}
