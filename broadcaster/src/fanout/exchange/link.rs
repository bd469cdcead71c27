//! The connection to a broker: connect, publish what waits in the place of one, lose it, connect again.
//!
//! One task for each exchange. What may stop it (an answer, a socket that takes nothing) is waited for
//! beside the word to end and the broker's own words, never alone but for the half second that the end of a
//! connection may take. Most messages are not waited for at
//! all, and are not even sent from here (`outlet.rs`): a fence now and then (`flight.rs`) tells what
//! became of them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use common::{Clock, Monotonic, Shutdown, SystemClock};
use futures_core::Stream;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Event};
use receiver::broker::{self, Address, Error, Line, Refusal};
use receiver::ingress::backoff::Backoff;
use tracing::{debug, info, warn};

use super::outlet::{Due, Outlet};
use super::{Exchange, Health};

/// Longest wait before the next try, and the wait when somebody has to change something first.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const WAIT_FOR_PEOPLE: Duration = Duration::from_secs(5);

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

/// A connection that is ours to publish on.
struct Link {
    connection: Connection,
    line: Arc<Line>,
    events: Events,
    broker: Address,
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
        let (connection, line, broker) =
            broker::connect_any(&exchange.brokers, dial, &name).await?;
        let events = Box::pin(connection.events_listener());
        let locking = async |connection: &Connection| lock(connection, &broker, exchange).await;
        let (connection, channel) = broker::ask(connection, &line, &broker, locking).await?;
        exchange.set_health(Health::Publishing {
            broker: broker.to_string(),
        });
        let outlet = Outlet::new(channel, line.clone(), exchange.name.clone());
        *exchange.outlet() = Some(outlet);
        Ok(Self {
            connection,
            line,
            events,
            broker,
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
                    exchange.outlet().take();
                    broker::close(self.connection, self.line).await;
                    return Ok(());
                }
                Err(error) => {
                    let outlet = exchange.outlet().take();
                    let lost = outlet.map_or(0, |outlet| outlet.len() as u64);
                    exchange.counters.dropped.fetch_add(lost, Ordering::Relaxed);
                    broker::close(self.connection, self.line).await;
                    return Err(error);
                }
            }
        }
    }

    async fn wait(&mut self, exchange: &Exchange, shutdown: &Shutdown) -> News {
        let now = SystemClock.monotonic();
        let due = exchange.with_outlet(|outlet| outlet.due(now));
        let Due {
            may_send,
            pause,
            given_up,
        } = due.unwrap_or_default();
        let events = &mut self.events;
        let poll_fences = |context: &mut Context<'_>| {
            let polled = exchange.with_outlet(|outlet| outlet.poll_fences(context));
            polled.unwrap_or(Poll::Pending)
        };
        tokio::select! {
            biased;
            () = shutdown.triggered() => News::Shutdown,
            event = poll_fn(|context| events.as_mut().poll_next(context)) => News::Said(event),
            passed = poll_fn(poll_fences) => News::Passed(passed),
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
                (0..count).for_each(|_| passed(exchange));
            }
            News::Payload => send(exchange),
            News::Pause => {
                exchange.with_outlet(|outlet| outlet.ask(SystemClock.monotonic()));
            }
            News::GivenUp => return Err(Error::of(&self.broker, Refusal::Silent)),
        }
        Ok(false)
    }

    fn block(&mut self, exchange: &Exchange, reason: String) {
        let (name, broker) = (&exchange.name, self.broker.to_string());
        warn!("exchange {name}: {broker} takes no messages ({reason}); its frames are dropped");
        exchange.with_outlet(Outlet::block);
        exchange.counters.blocks.fetch_add(1, Ordering::Relaxed);
        exchange.set_health(Health::Blocked { broker, reason });
    }

    fn unblock(&mut self, exchange: &Exchange) {
        let (name, broker) = (&exchange.name, self.broker.to_string());
        info!("exchange {name}: {broker} takes messages again");
        exchange.with_outlet(|outlet| outlet.unblock(SystemClock.monotonic()));
        exchange.set_health(Health::Publishing { broker });
    }
}

/// Makes the exchange and takes the lock; the channel to publish on.
async fn lock(
    connection: &Connection,
    broker: &Address,
    exchange: &Exchange,
) -> Result<Channel, Error> {
    let channel = broker::own_exchange(connection, broker, &exchange.name).await?;
    let lock = format!("{}{}", exchange.name, broker::LOCK);
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let locked = channel.queue_declare(lock.into(), options, FieldTable::default());
    (locked.await).map_err(|error| Error::new(broker, &error))?;
    Ok(channel)
}

/// Begins to send what is there.
fn send(exchange: &Exchange) {
    let now = SystemClock.monotonic();
    exchange.with_outlet(|outlet| {
        // Between the beginning of the wait and now there may have come an end of the room.
        let taken = outlet.may_send(now).then(|| exchange.handoff.take());
        if let Some(payload) = taken.flatten() {
            outlet.send(&payload, now);
        }
    });
}

/// The oldest fence was answered.
fn passed(exchange: &Exchange) {
    let now = SystemClock.monotonic();
    let counters = &exchange.counters;
    let passed = exchange.with_outlet(|outlet| outlet.passed(now));
    let Some((count, fence)) = passed.flatten() else {
        return;
    };
    if let Some(at) = fence.handed_over_at {
        counters.latency.record(now.since(at));
    }
    (counters.published).fetch_add(count as u64, Ordering::Relaxed);
}
