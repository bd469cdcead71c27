//! RabbitMQ brokers: how to connect to one, and what its refusals mean to people.
//!
//! Both sides of an exchange begin here: the receiver's ingress and the broadcaster's publisher.
//! Recovery is theirs, not lapin's: a connection that is lost stays lost. Each has a [`Line`]:
//! who says something on a connection rings it afterwards.

mod address;
mod line;
mod refusal;
mod tls;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_rs::Runtime;
use lapin::options::ExchangeDeclareOptions;
use lapin::tcp::AsyncTcpStream;
use lapin::types::FieldTable;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

pub(crate) use self::address::escaped;
pub use self::address::{Address, Addresses, Error as AddressError, Tls};
pub use self::line::Line;
use self::line::{Kit, Socket};
pub use self::refusal::{Error, Refusal};

/// Longest wait for a broker, from the first packet to its consent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for all that is asked of a broker once it is connected; many others may ask, too.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a broker's consent to the end.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Seconds between heartbeats where the URL does not say: twice this long after it fell silent a
/// broker is given up.
const HEARTBEAT_S: u16 = 10;
/// Largest frame of AMQP in bytes where the URL does not say. The size of lapin's buffers follows it: a
/// reader takes 1.3 MB, and 4.5 with what brokers suggest, for about the same CPU time (`benchmarks run
/// exchange`).
const FRAME_MAX: u32 = 32 << 10;

/// The exchange that a channel has where none is named.
#[must_use]
pub fn exchange_of(channel: &str) -> String {
    format!("framecast.{channel}")
}

/// Behind an exchange's name: the name of the queue that its one publisher holds.
pub const LOCK: &str = ".publisher";
/// Behind an exchange's name, and before what differs: the name of a reader's queue.
pub(crate) const READER: &str = ".reader-";

/// Connects to one broker; all but the socket is done on the runtime of the caller. Operators see `name`.
async fn connect(address: &Address, name: &str) -> Result<(Connection, Arc<Line>), Error> {
    let line = Line::new(Handle::current());
    let connecting = line.clone().ringing(connection(address, name, &line));
    let connected = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(Error::no_answer(address, CONNECT_TIMEOUT)),
    };
    match connected {
        Ok(connection) => Ok((connection, line)),
        Err(error) => {
            line.hang_up();
            Err(error)
        }
    }
}

async fn connection(address: &Address, name: &str, line: &Arc<Line>) -> Result<Connection, Error> {
    let connector = address.tls.as_ref().map(tls::connector).transpose();
    let connector = connector.map_err(|error| Error::tls(address, &error))?;
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let place = (address.host.as_str(), address.port);
    let refused = |error: lapin::Error| Error::connecting(address, &error);
    let stream = TcpStream::connect(place)
        .await
        .and_then(TcpStream::into_std);
    let socket = stream.and_then(|stream| Socket::new(stream, line.clone()));
    // lapin connects once, since recovery is not its own.
    let socket = Mutex::new(Some(socket.map_err(|error| refused(error.into()))?));
    let host = address.host.clone();
    let connecting = Connection::connector(
        uri(address),
        Runtime::new(Kit::new(line.clone())),
        async move |_, _| {
            let socket = socket.lock().map_or(None, |mut socket| socket.take());
            let nothing_left = || io::Error::from(io::ErrorKind::NotConnected);
            let stream = AsyncTcpStream::Plain(socket.ok_or_else(nothing_left)?);
            Ok(match &connector {
                Some(connector) => stream.into_rustls(connector, &host).await?,
                None => stream,
            })
        },
        properties,
    );
    connecting.await.map_err(refused)
}

/// What is asked of a broker on a new connection, before anything else is done with it. If it refuses, or
/// does not answer, the connection is closed.
///
/// # Errors
/// What `asking` says, or that there is no answer.
pub async fn ask<T>(
    connection: Connection,
    line: &Arc<Line>,
    broker: &Address,
    asking: impl AsyncFnOnce(&Connection) -> Result<T, Error>,
) -> Result<(Connection, T), Error> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, asking(&connection));
    let answer = line.clone().ringing(answer).await;
    match answer.unwrap_or_else(|_| Err(Error::no_answer(broker, ANSWER_TIMEOUT))) {
        Ok(answer) => Ok((connection, answer)),
        Err(error) => {
            close(connection, line.clone()).await;
            Err(error)
        }
    }
}

/// Ends a connection as the protocol wants it, within a moment. A broker that has blocked it hears
/// nothing.
pub async fn close(connection: Connection, line: Arc<Line>) {
    let closing = connection.close(200, "goodbye".into());
    let closing = tokio::time::timeout(CLOSE_TIMEOUT, closing);
    // Too late or refused: then the connection ends without its consent.
    let _ = line.clone().ringing(closing).await;
    line.hang_up();
}

/// Written out here: lapin's own reading of URLs takes IPv6 addresses for `localhost`.
fn uri(address: &Address) -> AMQPUri {
    AMQPUri {
        scheme: match address.tls {
            Some(_) => AMQPScheme::AMQPS,
            None => AMQPScheme::AMQP,
        },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: address.user.clone(),
                password: address.password.clone(),
            },
            host: address.host.clone(),
            port: address.port,
        },
        vhost: address.vhost.clone(),
        query: AMQPQueryString {
            frame_max: Some(address.frame_max.unwrap_or(FRAME_MAX)),
            heartbeat: Some(address.heartbeat.unwrap_or(HEARTBEAT_S)),
            ..AMQPQueryString::default()
        },
    }
}

/// Goes through the brokers, beginning with the one at `first`, until one consents.
///
/// # Errors
/// What the first broker said, unless a later one only has to be waited for.
pub async fn connect_any(
    addresses: &Addresses,
    first: usize,
    name: &str,
) -> Result<(Connection, Arc<Line>, Address), Error> {
    let mut refused: Option<Error> = None;
    for address in addresses.from(first) {
        match connect(address, name).await {
            Ok((connection, line)) => return Ok((connection, line, address.clone())),
            Err(error) => {
                let known = refused.take().filter(|known| !known.is_permanent());
                refused = Some(known.unwrap_or(error));
            }
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::other("there is no broker in the list").into()))
}

/// A channel of the exchange, which is made if it is not there. Who may not make it can still use
/// it.
///
/// # Errors
/// What the broker says: it may be something else, or not there and not ours to make.
pub async fn own_exchange(
    connection: &Connection,
    broker: &Address,
    name: &str,
) -> Result<Channel, Error> {
    let make = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let find = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    let refused = |error: lapin::Error| Error::new(broker, &error);
    match declare(connection, name, make).await.map_err(refused) {
        Err(error) if matches!(error.refusal, Refusal::Denied { .. }) => {
            let found = declare(connection, name, find).await.map_err(refused);
            // That it may not be made is what has to be changed, if it is not there.
            found.map_err(|_| error)
        }
        made => made,
    }
}

async fn declare(
    connection: &Connection,
    name: &str,
    options: ExchangeDeclareOptions,
) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    let kind = ExchangeKind::Fanout;
    let declared = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
    declared.await?;
    Ok(channel)
}
