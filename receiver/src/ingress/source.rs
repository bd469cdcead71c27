//! Where a stream comes from: a URL, checked before anything is opened.

use std::fmt;
use std::str::FromStr;

use common::wire::MAX_CHANNEL;
use url::{Host, Url};

use crate::broker::{self, AddressError, Addresses};

/// A stream's address. Displayed without user name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `tcp://HOST:PORT[/CHANNEL]`: the native protocol.
    Tcp(Tcp),
    /// `http://[USER:PASSWORD@]HOST[:PORT]/path?query`: any MJPEG server.
    Http(Url),
    /// A fanout exchange of a RabbitMQ broker.
    Amqp(Amqp),
}

/// An exchange and how to read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amqp {
    /// Where it is.
    pub brokers: Addresses,
    /// Its name.
    pub exchange: String,
    /// Messages that may be on their way unacknowledged; 0: acknowledgements are not wanted; `None`:
    /// the default. Only for measuring.
    pub prefetch: Option<u16>,
}

/// The address of one channel of a native server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Name or address of the machine, IPv6 without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// Channel name, empty for the server's default one.
    pub channel: String,
}

/// Why a URL is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a URL at all.
    #[error("{0:?} is not a URL ({1}); right would be {FORMS}")]
    Url(String, url::ParseError),
    /// A protocol that is not spoken here.
    #[error("scheme {1}:// in {0:?} is not known; right would be {FORMS}")]
    Scheme(String, String),
    /// The native protocol has no usual port.
    #[error("{0:?} names no port; right would be tcp://HOST:PORT, for example tcp://HOST:7400")]
    Port(String),
    /// A port that nobody can listen on.
    #[error("{0:?} names port 0; right would be a port from 1 to 65535")]
    PortZero(String),
    /// A channel name that no server accepts.
    #[error(
        "{1:?} in {0:?} is not a channel; right would be a-z, 0-9, _ and -, at most {MAX_CHANNEL}, \
         beginning with a letter or digit"
    )]
    Channel(String, String),
    /// More than the native protocol has room for.
    #[error("{0:?} has more than tcp://HOST:PORT/CHANNEL")]
    Surplus(String),
    /// Not a broker's URL.
    #[error(transparent)]
    Broker(#[from] AddressError),
    /// A wrong value in a broker's URL.
    #[error("?{0}={1}: right would be {2}")]
    Key(String, String, &'static str),
}

const FORMS: &str = "tcp://HOST:PORT[/CHANNEL], http://HOST[:PORT]/path or \
                     amqp://USER:PASSWORD@HOST/VHOST?channel=NAME";
/// Keys of an AMQP URL's query that are about the exchange.
const AMQP_KEYS: [&str; 3] = ["channel", "exchange", "prefetch"];
/// AMQP's own limit.
const MAX_EXCHANGE: usize = 127;
const DEFAULT_CHANNEL: &str = "main";

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.starts_with("amqp:") || text.starts_with("amqps:") {
            return Amqp::parse(text).map(Self::Amqp);
        }
        let url = Url::parse(text).map_err(|error| Error::Url(text.to_owned(), error))?;
        match url.scheme() {
            "tcp" => Tcp::from_url(&url).map(Self::Tcp),
            "http" if url.port() == Some(0) => Err(Error::PortZero(text.to_owned())),
            "http" => Ok(Self::Http(url)),
            other => Err(Error::Scheme(text.to_owned(), other.to_owned())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(tcp) => tcp.fmt(f),
            Self::Http(url) => without_secrets(url).fmt(f),
            Self::Amqp(amqp) => amqp.fmt(f),
        }
    }
}

impl Tcp {
    fn from_url(url: &Url) -> Result<Self, Error> {
        let text = || url.as_str().to_owned();
        let port = match url.port() {
            None => return Err(Error::Port(text())),
            Some(0) => return Err(Error::PortZero(text())),
            Some(port) => port,
        };
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(Error::Surplus(text()));
        }
        let channel = url.path().trim_start_matches('/');
        if !channel.is_empty() && !is_channel(channel) {
            return Err(Error::Channel(text(), channel.to_owned()));
        }
        Ok(Self {
            host: host_of(url),
            port,
            channel: channel.to_owned(),
        })
    }
}

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "tcp://[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "tcp://{}:{}", self.host, self.port)?;
        }
        match self.channel.as_str() {
            "" => Ok(()),
            channel => write!(f, "/{channel}"),
        }
    }
}

/// The host as the resolver wants it: IPv6 without brackets.
impl Amqp {
    fn parse(text: &str) -> Result<Self, Error> {
        let (brokers, keys) = Addresses::parse(text, &AMQP_KEYS)?;
        let (mut channel, mut exchange, mut prefetch) = (None, None, None);
        for (key, value) in keys {
            let wrong = |right| Error::Key(key.clone(), value.clone(), right);
            match &*key {
                "channel" if !is_channel(&value) => {
                    return Err(Error::Channel(brokers.to_string(), value));
                }
                "channel" => keep(&mut channel, value.clone()).ok_or_else(|| wrong(ONE))?,
                "exchange" if (1..=MAX_EXCHANGE).contains(&value.len()) => {
                    keep(&mut exchange, value.clone()).ok_or_else(|| wrong(ONE))?;
                }
                "exchange" => return Err(wrong("a name of 1 to 127 bytes")),
                _ => {
                    let right = "a number from 0 to 65535";
                    let count = value.parse().map_err(|_| wrong(right))?;
                    keep(&mut prefetch, count).ok_or_else(|| wrong(ONE))?;
                }
            }
        }
        let channel = channel.as_deref().unwrap_or(DEFAULT_CHANNEL);
        Ok(Self {
            brokers,
            exchange: exchange.unwrap_or_else(|| broker::exchange_of(channel)),
            prefetch,
        })
    }
}

const ONE: &str = "one value for all brokers of the list";

/// Keeps a value; `None` if another one was said before.
fn keep<T: PartialEq>(slot: &mut Option<T>, value: T) -> Option<()> {
    if slot.as_ref().is_some_and(|known| *known != value) {
        return None;
    }
    *slot = Some(value);
    Some(())
}

impl fmt::Display for Amqp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}?exchange={}",
            self.brokers,
            broker::escaped(&self.exchange)
        )
    }
}

pub(crate) fn host_of(url: &Url) -> String {
    match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => String::new(),
    }
}

/// The same URL, fit for a log.
pub(super) fn without_secrets(url: &Url) -> Url {
    let mut url = url.clone();
    // Both fail only for URLs that cannot have a user, and those have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

fn is_channel(name: &str) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= MAX_CHANNEL
        && bytes.first().is_some_and(is_plain)
        && bytes
            .iter()
            .all(|byte| is_plain(byte) || b"_-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> (String, u16, String) {
        match text.parse() {
            Ok(Source::Tcp(tcp)) => (tcp.host, tcp.port, tcp.channel),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn native_addresses_are_taken_apart() {
        assert_eq!(tcp("tcp://cam:7400"), ("cam".into(), 7400, "".into()));
        assert_eq!(tcp("tcp://cam:7400/"), ("cam".into(), 7400, "".into()));
        assert_eq!(
            tcp("tcp://1.2.3.4:9/a-b"),
            ("1.2.3.4".into(), 9, "a-b".into())
        );
        assert_eq!(tcp("tcp://[::1]:9/x"), ("::1".into(), 9, "x".into()));
    }

    #[test]
    fn what_is_displayed_can_be_read_again_and_holds_no_secret() {
        for text in [
            "tcp://[::1]:9/x",
            "tcp://cam:7400",
            "http://cam/stream?fps=5",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        let source: Source = "http://me:secret@cam/".parse().unwrap();
        assert_eq!(source.to_string(), "http://cam/");
    }

    #[test]
    fn every_refusal_says_what_would_be_right() {
        for text in [
            "cam:7400",
            "nonsense",
            "ftp://cam/",
            "https://cam/",
            "http://",
            "tcp://cam",
            "tcp://:7400",
            "tcp:///main",
            "tcp:cam:7400",
            "tcp://cam:1/UPPER",
            "tcp://cam:1/a/b",
            "tcp://cam:1/a?max_age=5",
            "tcp://me@cam:1/a",
        ] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains("tcp://") || error.contains("a-z"), "{error}");
        }
        for text in ["tcp://cam:0", "http://cam:0/stream"] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains("a port from 1 to 65535"), "{error}");
        }
    }
}
