//! The end of a connection that messages go into, shared by capture and the thread `exchange`.
//!
//! To send a message is to put it into a queue of lapin's and to wake lapin's thread, which writes. As long as
//! there is nothing else to do capture does that itself, since to wake the thread `exchange` for it costs
//! more than the push. What a fence is to follow, what finds no room or would take long to copy is left to
//! that thread.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::wire::payload;
use common::{Monotonic, Payload};
use lapin::options::{BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ErrorKind};
use receiver::broker::Line;

use super::flight::Flight;

/// What the body is: the PAYLOAD of the wire format.
const CONTENT_TYPE: &str = "application/x-framecast-payload";
/// Not kept on disk.
const TRANSIENT: u8 = 1;
/// The largest body that capture takes the time to copy.
const MAX_AT_ONCE: usize = 256 << 10;

type Answer = Pin<Box<dyn Future<Output = lapin::Result<()>> + Send>>;

/// A channel to publish on, with what is known of the messages on their way.
#[derive(Debug)]
pub(super) struct Outlet {
    channel: Channel,
    /// Rung after each word of ours.
    line: Arc<Line>,
    exchange: String,
    is_blocked: bool,
    flight: Flight<Fence>,
}

/// A question that follows what was sent.
pub(super) struct Fence {
    /// When the message before it was handed over, unless it is alone.
    pub(super) handed_over_at: Option<Monotonic>,
    answer: Answer,
}

impl fmt::Debug for Fence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = &self.handed_over_at;
        (formatter.debug_struct("Fence").field("handed_over_at", at)).finish_non_exhaustive()
    }
}

/// What there is to do, and how long nothing else will be.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Whether a message may be sent.
    pub(super) may_send: bool,
    /// Time until the last messages are asked for.
    pub(super) pause: Option<Duration>,
    /// Time until the broker is given up.
    pub(super) given_up: Option<Duration>,
}

impl Outlet {
    /// Nothing is on its way.
    pub(super) const fn new(channel: Channel, line: Arc<Line>, exchange: String) -> Self {
        Self {
            channel,
            line,
            exchange,
            is_blocked: false,
            flight: Flight::new(),
        }
    }

    /// The broker takes nothing for now.
    pub(super) const fn block(&mut self) {
        self.is_blocked = true;
    }

    /// It takes something again.
    pub(super) const fn unblock(&mut self, now: Monotonic) {
        self.is_blocked = false;
        self.flight.resume(now);
    }

    /// Messages on their way.
    pub(super) fn len(&self) -> usize {
        self.flight.len()
    }

    /// What is to be waited for.
    pub(super) fn due(&self, now: Monotonic) -> Due {
        let until = |at: Option<Monotonic>| at.filter(|_| !self.is_blocked).map(|at| at.since(now));
        Due {
            may_send: self.may_send(now),
            pause: until(self.flight.fence_at(now)),
            given_up: until(self.flight.given_up_at()),
        }
    }

    /// Whether one more may be on its way.
    pub(super) fn may_send(&self, now: Monotonic) -> bool {
        !self.is_blocked && self.flight.has_room(now)
    }

    /// Sends a payload, if that is all there is to do. Whether it did.
    #[must_use]
    pub(super) fn send_at_once(&mut self, payload: &Payload, now: Monotonic) -> bool {
        let is_small = payload::encoded_len(&payload.frames) <= MAX_AT_ONCE;
        let is_all = is_small && self.may_send(now) && !self.flight.wants_fence(now);
        if is_all {
            self.send(payload, now);
        }
        is_all
    }

    /// Sends a payload, and behind it a fence if one is due.
    pub(super) fn send(&mut self, payload: &Payload, now: Monotonic) {
        let (channel, name) = (self.channel.clone(), self.exchange.clone());
        let (body, head) = (body(payload), head(payload));
        let send = async move {
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish(name.into(), "".into(), options, &body, head);
            sent.await.map(|_| channel)
        };
        if self.flight.add(now) {
            let line = self.line.clone();
            let answer = async move {
                // A question goes past what is not yet on the line, so it is asked only then.
                let channel = send.await?;
                ask(&channel, &line).await
            };
            let fence = Fence {
                handed_over_at: Some(payload.published_at),
                answer: begin(answer),
            };
            self.flight.fence(fence, now);
        } else {
            // If it is refused, the broker or lapin says why.
            let _ = pin!(send).poll(&mut Context::from_waker(Waker::noop()));
        }
        self.line.ring();
    }

    /// Sends a fence that follows no message, if something is still to be asked for. It may go past
    /// messages that a stuck line has left with lapin: those are a few, and count as taken a little early.
    pub(super) fn ask(&mut self, now: Monotonic) {
        if !self.flight.has_unasked() {
            return;
        }
        let (channel, line) = (self.channel.clone(), self.line.clone());
        let fence = Fence {
            handed_over_at: None,
            answer: Box::pin(async move { ask(&channel, &line).await }),
        };
        self.flight.fence(fence, now);
    }

    /// Ready when a fence is answered, with how many are by that: answers come in turn.
    pub(super) fn poll_fences(&mut self, context: &mut Context<'_>) -> Poll<lapin::Result<usize>> {
        for (fence, count) in self.flight.fences().zip(1..) {
            match fence.answer.as_mut().poll(context) {
                // The broker closes the channel. Why is among its own words, soon.
                Poll::Ready(Err(error))
                    if matches!(error.kind(), ErrorKind::InvalidChannelState(..)) =>
                {
                    fence.answer = Box::pin(std::future::pending());
                }
                Poll::Ready(answer) => return Poll::Ready(answer.map(|()| count)),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// The oldest fence was answered: how many messages arrived by that, and the fence.
    pub(super) fn passed(&mut self, now: Monotonic) -> Option<(usize, Fence)> {
        self.flight.passed(now)
    }
}

/// Does what can be done without waiting; the rest is for whoever waits for it.
fn begin(answer: impl Future<Output = lapin::Result<()>> + Send + 'static) -> Answer {
    let mut answer = Box::pin(answer);
    match (answer.as_mut()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Box::pin(std::future::ready(output)),
        Poll::Pending => answer,
    }
}

/// Ready when the broker has taken all that was said on this channel: it answers in turn. What is asked
/// has no meaning by itself, since nothing is consumed here.
async fn ask(channel: &Channel, line: &Line) -> lapin::Result<()> {
    let mut asking = pin!(channel.basic_qos(0, BasicQosOptions::default()));
    let mut is_asked = false;
    poll_fn(|context| {
        let answer = asking.as_mut().poll(context);
        // To look for the answer is nothing to ring for.
        if !std::mem::replace(&mut is_asked, true) {
            line.ring();
        }
        answer
    })
    .await
}

/// The message's body, in one piece as lapin wants it.
fn body(payload: &Payload) -> Vec<u8> {
    let mut body = Vec::with_capacity(payload::encoded_len(&payload.frames));
    for piece in payload::encode(b"", &payload.frames) {
        body.extend_from_slice(&piece);
    }
    body
}

/// What is said of the payload's newest frame beside the body. No more than programs choose by: each
/// field is taken apart by every reader.
fn head(payload: &Payload) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(TRANSIENT);
    let Some(frame) = payload.newest() else {
        return properties;
    };
    let head = &frame.head;
    let number = |value: u64| AMQPValue::LongLongInt(value.cast_signed());
    let mut headers = FieldTable::default();
    headers.insert("epoch".into(), number(head.identity.epoch));
    headers.insert("seq".into(), number(head.identity.seq));
    headers.insert("captured_at_ns".into(), number(head.captured_at.as_nanos()));
    headers.insert("flags".into(), AMQPValue::ShortShortUInt(head.flags.bits()));
    properties.with_headers(headers)
}
