//! RabbitMQ brokers: how to connect to one, and what its refusals mean to people.
//!
//! Both sides of an exchange begin here: the receiver's ingress and the broadcaster's publisher.
//! Recovery is theirs, not lapin's: a connection that is lost stays lost. A reader's connection is a
//! [`Line`], on which messages wake one thread only.

mod address;
mod line;
mod refusal;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_rs::Runtime;
use async_rs::traits::RuntimeKit;
use lapin::options::ExchangeDeclareOptions;
use lapin::runtime::default_runtime;
use lapin::tcp::AsyncTcpStream;
use lapin::types::FieldTable;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::runtime::Handle;

pub(crate) use self::address::escaped;
pub use self::address::{Address, Addresses, Error as AddressError, Tls};
use self::line::Kit;
pub(crate) use self::line::Line;
pub use self::refusal::{Error, Refusal};

/// Longest wait for a broker, from the first packet to its consent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
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

/// Connects to one broker, on the runtime of the caller. Operators see `name`.
///
/// # Errors
/// Why there is no connection, for people.
pub async fn connect(address: &Address, name: &str) -> Result<Connection, Error> {
    let runtime = default_runtime().map_err(|error| Error::new(address, &error))?;
    within_time(address, connection(address, name, runtime)).await
}

/// Connects to one broker, with a thread that sleeps in the connection's socket. Whoever says something on
/// the connection rings the line.
async fn connect_line(address: &Address, name: &str) -> Result<(Connection, Arc<Line>), Error> {
    let line = Line::new(Handle::current());
    let connecting = connection(address, name, Kit::new(line.clone()).into());
    let connected = within_time(address, line.clone().ringing(connecting)).await;
    match connected {
        Ok(connection) => Ok((connection, line)),
        Err(error) => {
            line.hang_up();
            Err(error)
        }
    }
}

async fn within_time(
    address: &Address,
    connecting: impl Future<Output = Result<Connection, Error>>,
) -> Result<Connection, Error> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(Error::no_answer(address, CONNECT_TIMEOUT)),
    }
}

async fn connection<K: RuntimeKit + Clone + Send + Sync + 'static>(
    address: &Address,
    name: &str,
    runtime: Runtime<K>,
) -> Result<Connection, Error> {
    let connector = address.tls.as_ref().map(tls::connector).transpose();
    let connector = connector.map_err(|error| Error::tls(address, &error))?;
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let host = address.host.clone();
    let connecting = Connection::connector(
        uri(address),
        runtime,
        async move |uri, runtime| {
            let to = (uri.authority.host, uri.authority.port);
            let addresses = runtime.to_socket_addrs(to);
            let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
            Ok(match &connector {
                Some(connector) => stream.into_rustls(connector, &host).await?,
                None => stream,
            })
        },
        properties,
    );
    (connecting.await).map_err(|error| Error::connecting(address, &error))
}

/// Ends a connection as the protocol wants it, within a moment. A broker that has blocked it hears
/// nothing.
pub async fn close(connection: Connection) {
    let closing = connection.close(200, "goodbye".into());
    // Too late or refused: then the connection ends without its consent.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
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
) -> Result<(Connection, Address), Error> {
    let connect = |address: Address| async move {
        let connection = connect(&address, name).await?;
        Ok((connection, address))
    };
    consenting(addresses, first, connect).await
}

/// The same, with a thread that sleeps in the connection's socket.
pub(crate) async fn connect_any_line(
    addresses: &Addresses,
    first: usize,
    name: &str,
) -> Result<(Connection, Arc<Line>, Address), Error> {
    let connect = |address: Address| async move {
        let (connection, line) = connect_line(&address, name).await?;
        Ok((connection, line, address))
    };
    consenting(addresses, first, connect).await
}

async fn consenting<C, F: Future<Output = Result<C, Error>>>(
    addresses: &Addresses,
    first: usize,
    connect: impl Fn(Address) -> F,
) -> Result<C, Error> {
    let mut refused: Option<Error> = None;
    for address in addresses.from(first) {
        match connect(address.clone()).await {
            Ok(connection) => return Ok(connection),
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
