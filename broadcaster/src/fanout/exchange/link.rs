//! From the place of one to the broker: connect, publish, lose the connection, connect again.
//!
//! One task for each exchange. What may stop it (an answer, a socket that takes nothing) is waited for
//! beside the word to end and the broker's own words, never alone. Most messages are not waited for at
//! all: a fence now and then (`flight.rs`) tells what became of them.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::wire::payload;
use common::{Clock, Monotonic, Payload, Shutdown, SystemClock};
use futures_core::Stream;
use lapin::options::{BasicPublishOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ErrorKind, Event};
use receiver::broker::{self, Address, Error, Refusal};
use receiver::ingress::backoff::Backoff;
use tracing::{debug, info, warn};

use super::flight::Flight;
use super::{Exchange, Health};

/// Longest wait before the next try, and the wait when somebody has to change something first.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const WAIT_FOR_PEOPLE: Duration = Duration::from_secs(5);
/// What the body is: the PAYLOAD of the wire format.
const CONTENT_TYPE: &str = "application/x-framecast-payload";
/// Not kept on disk.
const TRANSIENT: u8 = 1;

/// Publishes until the word to end.
pub(super) async fn run(exchange: Arc<Exchange>, shutdown: Shutdown) {
    let mut outage = Outage::new();
    for dial in 0.. {
        let opening = Link::open(&exchange, dial);
        let opened = tokio::select! {
            () = shutdown.triggered() => return,
            opened = opening => opened,
        };
        let outcome = match opened {
            Ok(link) => link.publish(&exchange, &mut outage, &shutdown).await,
            Err(error) => Err(error),
        };
        let Err(error) = outcome else { return };
        outage.note(&exchange, &error);
        tokio::select! {
            () = shutdown.triggered() => return,
            () = tokio::time::sleep(outage.wait(&error)) => {}
        }
    }
}

/// A time in which nothing gets through: what people know of it, and how long to wait in it.
///
/// It ends when the broker has taken a message, not when it is there: it may refuse each.
#[derive(Debug)]
struct Outage {
    /// `None` while messages get through.
    since: Option<Monotonic>,
    told: String,
    backoff: Backoff,
    was_through: bool,
}

impl Outage {
    fn new() -> Self {
        Self {
            since: Some(SystemClock.monotonic()),
            told: String::new(),
            backoff: Backoff::up_to(LONGEST_WAIT),
            was_through: false,
        }
    }

    /// Nothing gets through, because of `error`. People are told once, and when the cause changes.
    fn note(&mut self, exchange: &Exchange, error: &Error) {
        let (name, brokers, reason) = (&exchange.name, &exchange.brokers, error.to_string());
        self.since.get_or_insert_with(|| SystemClock.monotonic());
        if self.told == reason {
            debug!("exchange {name}: still {reason}");
        } else {
            warn!("exchange {name} at {brokers}: {reason}; its frames are dropped, trying again");
            self.told.clone_from(&reason);
        }
        exchange.set_health(Health::Away { reason });
    }

    /// How long to wait before the next try.
    fn wait(&mut self, error: &Error) -> Duration {
        if error.is_permanent() {
            WAIT_FOR_PEOPLE
        } else {
            self.backoff.next()
        }
    }

    /// A message got through.
    fn end(&mut self, exchange: &Exchange) {
        let Some(since) = self.since.take() else {
            return;
        };
        let name = &exchange.name;
        self.told.clear();
        self.backoff.reset();
        if std::mem::replace(&mut self.was_through, true) {
            let seconds = SystemClock.monotonic().since(since).as_secs_f64();
            info!("exchange {name}: publishing again after {seconds:.1} s");
            exchange.counters.reconnects.fetch_add(1, Ordering::Relaxed);
        } else {
            info!("exchange {name}: publishing");
        }
    }
}

type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;
type Answer = Pin<Box<dyn Future<Output = lapin::Result<()>> + Send>>;

/// A connection that is ours to publish on.
struct Link {
    connection: Connection,
    events: Events,
    channel: Channel,
    broker: Address,
    is_blocked: bool,
    flight: Flight<Fence>,
}

/// A question that follows what was sent.
struct Fence {
    /// When the message before it was handed over, unless it is alone.
    handed_over_at: Option<Monotonic>,
    answer: Answer,
}

/// What happened next.
enum News {
    Shutdown,
    Said(Option<Event>),
    /// The broker has taken all before so many fences.
    Passed(lapin::Result<usize>),
    Payload,
    /// The last messages are still to be asked for.
    Pause,
    GivenUp,
}

impl Link {
    /// Connects, makes the exchange, and takes the lock that only one publisher of it can have.
    async fn open(exchange: &Exchange, dial: usize) -> Result<Self, Error> {
        let name = format!("framecast publisher of {}", exchange.name);
        let (connection, broker) = broker::connect_any(&exchange.brokers, dial, &name).await?;
        let refused = |error: lapin::Error| Error::new(&broker, &error);
        let events = Box::pin(connection.events_listener());
        let channel = broker::own_exchange(&connection, &broker, &exchange.name).await?;
        let lock = format!("{}{}", exchange.name, broker::LOCK);
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let locked = channel.queue_declare(lock.into(), options, FieldTable::default());
        locked.await.map_err(refused)?;
        exchange.set_health(Health::Publishing {
            broker: broker.to_string(),
        });
        Ok(Self {
            connection,
            events,
            channel,
            broker,
            is_blocked: false,
            flight: Flight::new(),
        })
    }

    /// Publishes what is handed over until the word to end.
    async fn publish(
        mut self,
        exchange: &Exchange,
        outage: &mut Outage,
        shutdown: &Shutdown,
    ) -> Result<(), Error> {
        loop {
            let news = self.wait(exchange, shutdown).await;
            if matches!(news, News::Passed(Ok(_))) {
                outage.end(exchange);
            }
            match self.take_in(news, exchange) {
                Ok(false) => {}
                Ok(true) => {
                    broker::close(self.connection).await;
                    return Ok(());
                }
                Err(error) => {
                    let lost = self.flight.len() as u64;
                    exchange.counters.dropped.fetch_add(lost, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    async fn wait(&mut self, exchange: &Exchange, shutdown: &Shutdown) -> News {
        let now = SystemClock.monotonic();
        let may_send = !self.is_blocked && self.flight.has_room(now);
        let until = |at: Option<Monotonic>| at.filter(|_| !self.is_blocked).map(|at| at.since(now));
        let given_up = until(self.flight.given_up_at());
        let pause = until(self.flight.fence_at());
        let (events, flight) = (&mut self.events, &mut self.flight);
        tokio::select! {
            biased;
            () = shutdown.triggered() => News::Shutdown,
            event = poll_fn(|context| events.as_mut().poll_next(context)) => News::Said(event),
            passed = poll_fn(|context| poll_fences(flight, context)) => News::Passed(passed),
            () = exchange.handoff.ready(), if may_send => News::Payload,
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => News::Pause,
            () = tokio::time::sleep(given_up.unwrap_or_default()), if given_up.is_some() => {
                News::GivenUp
            }
        }
    }

    /// Acts on what happened; true at the word to end.
    fn take_in(&mut self, news: News, exchange: &Exchange) -> Result<bool, Error> {
        let refused = |error: lapin::Error| Error::new(&self.broker, &error);
        match news {
            News::Shutdown => return Ok(true),
            News::Said(Some(Event::ConnectionBlocked(reason))) => self.block(exchange, reason),
            News::Said(Some(Event::ConnectionUnblocked)) => self.unblock(exchange),
            News::Said(Some(Event::Error(error))) => return Err(refused(error)),
            News::Said(Some(_)) => {}
            News::Said(None) => {
                let words = "its end was not said".to_owned();
                return Err(Error::of(&self.broker, Refusal::Lost(words)));
            }
            News::Passed(answer) => {
                let count = answer.map_err(refused)?;
                (0..count).for_each(|_| self.passed(exchange));
            }
            News::Payload => self.send(exchange),
            News::Pause => self.ask(),
            News::GivenUp => return Err(Error::of(&self.broker, Refusal::Silent)),
        }
        Ok(false)
    }

    /// Begins to send what is there.
    fn send(&mut self, exchange: &Exchange) {
        let now = SystemClock.monotonic();
        // Between the beginning of the wait and now the oldest message may have become too old.
        let taken = self.flight.has_room(now).then(|| exchange.handoff.take());
        let Some(payload) = taken.flatten() else {
            return;
        };
        let handed_over_at = payload.published_at;
        let (channel, name) = (self.channel.clone(), exchange.name.clone());
        let (body, head) = (body(&payload), head(&payload));
        // The frames are let go of before the network is waited for.
        drop(payload);
        let send = async move {
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish(name.into(), "".into(), options, &body, head);
            sent.await.map(|_| channel)
        };
        if self.flight.add(now) {
            let answer = async move {
                // A question goes past what is not yet on the line, so it is asked only then.
                let channel = send.await?;
                ask(&channel).await
            };
            let fence = Fence {
                handed_over_at: Some(handed_over_at),
                answer: Box::pin(answer),
            };
            self.flight.fence(fence, now);
        } else {
            // It is on its way when this returns. If it is refused, the broker or lapin says why.
            let _ = pin!(send).poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Sends a fence that follows no message. It may go past messages that a stuck line has left with
    /// lapin: those are a few, and count as taken a little early.
    fn ask(&mut self) {
        let channel = self.channel.clone();
        let fence = Fence {
            handed_over_at: None,
            answer: Box::pin(async move { ask(&channel).await }),
        };
        self.flight.fence(fence, SystemClock.monotonic());
    }

    fn passed(&mut self, exchange: &Exchange) {
        let now = SystemClock.monotonic();
        let counters = &exchange.counters;
        let Some((count, fence)) = self.flight.passed(now) else {
            return;
        };
        if let Some(at) = fence.handed_over_at {
            counters.latency.record(now.since(at));
        }
        counters
            .published
            .fetch_add(count as u64, Ordering::Relaxed);
    }

    fn block(&mut self, exchange: &Exchange, reason: String) {
        let (name, broker) = (&exchange.name, self.broker.to_string());
        warn!("exchange {name}: {broker} takes no messages ({reason}); its frames are dropped");
        self.is_blocked = true;
        exchange.counters.blocks.fetch_add(1, Ordering::Relaxed);
        exchange.set_health(Health::Blocked { broker, reason });
    }

    fn unblock(&mut self, exchange: &Exchange) {
        let (name, broker) = (&exchange.name, self.broker.to_string());
        info!("exchange {name}: {broker} takes messages again");
        self.is_blocked = false;
        exchange.set_health(Health::Publishing { broker });
    }
}

/// Ready when a fence is answered, with how many are by that: answers come in turn.
fn poll_fences(
    flight: &mut Flight<Fence>,
    context: &mut Context<'_>,
) -> Poll<lapin::Result<usize>> {
    for (fence, count) in flight.fences().zip(1..) {
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

/// Ready when the broker has taken all that was said on this channel: it answers in turn. What is asked
/// has no meaning by itself, since nothing is consumed here.
async fn ask(channel: &Channel) -> lapin::Result<()> {
    channel.basic_qos(0, BasicQosOptions::default()).await
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
