//! Where a stream comes from: a URL, checked before anything is opened.

mod amqp;

use std::fmt;
use std::str::FromStr;

use common::secrets;
use common::wire::MAX_CHANNEL;
use url::{Host, Url};

pub use self::amqp::Amqp;
use crate::broker::AddressError;

/// A stream's address. Displayed without user name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `tcp://HOST:PORT[/CHANNEL]`: the native protocol.
    Tcp(Tcp),
    /// `http://[USER:PASSWORD@]HOST[:PORT]/path?query`: any MJPEG server.
    Http(Url),
    /// `ws://[USER:PASSWORD@]HOST[:PORT]/live/CHANNEL.ws`, or without a path for the default channel:
    /// a broadcaster over WebSocket.
    Ws(Url),
    /// A fanout exchange of a RabbitMQ broker.
    Amqp(Amqp),
}

/// Where a broadcaster's channels are all on one WebSocket.
pub(super) const ALL_CHANNELS: &str = "/live.ws";

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

/// Why a URL is no source. Texts in it have their passwords masked.
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
    /// A path at which no broadcaster has a WebSocket.
    #[error("{0:?} is no broadcaster's WebSocket; right would be ws://HOST[:PORT]/live/CHANNEL.ws")]
    Socket(String),
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

const FORMS: &str = "tcp://HOST:PORT[/CHANNEL], http://HOST[:PORT]/path, \
                     ws://HOST[:PORT][/live/CHANNEL.ws] or \
                     amqp://USER:PASSWORD@HOST/VHOST?channel=NAME";

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.starts_with("amqp:") || text.starts_with("amqps:") {
            return Amqp::parse(text).map(Self::Amqp);
        }
        let url = Url::parse(text);
        let url = url.map_err(|error| Error::Url(secrets::mask_refused(text), error))?;
        match url.scheme() {
            "tcp" => Tcp::from_url(&url).map(Self::Tcp),
            "http" | "ws" if url.port() == Some(0) => Err(Error::PortZero(refused(&url))),
            "http" => Ok(Self::Http(url)),
            "ws" => socket_of(url).map(Self::Ws),
            other => Err(Error::Scheme(refused(&url), other.to_owned())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(tcp) => tcp.fmt(f),
            Self::Http(url) | Self::Ws(url) => without_secrets(url).fmt(f),
            Self::Amqp(amqp) => amqp.fmt(f),
        }
    }
}

impl Tcp {
    fn from_url(url: &Url) -> Result<Self, Error> {
        let text = || refused(url);
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

/// The address of a broadcaster's WebSocket: that of all channels if none is named.
fn socket_of(mut url: Url) -> Result<Url, Error> {
    let path = url.path();
    if matches!(path, "" | "/") {
        url.set_path(ALL_CHANNELS);
        return Ok(url);
    }
    let name = path.strip_prefix("/live/");
    let name = name.and_then(|name| name.strip_suffix(".ws"));
    if path == ALL_CHANNELS || name.is_some_and(is_channel) {
        return Ok(url);
    }
    Err(Error::Socket(refused(&url)))
}

/// The host as the resolver wants it: IPv6 without brackets.
pub(crate) fn host_of(url: &Url) -> String {
    match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => String::new(),
    }
}

/// A URL that leads to no stream, fit for a log. Without an authority anything may be its password.
fn refused(url: &Url) -> String {
    if url.has_authority() {
        secrets::mask(url.as_str())
    } else {
        secrets::mask_refused(url.as_str())
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
            "ws://cam:8080/live/main.ws?fps=5",
            "ws://cam/live.ws",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        let source: Source = "http://me:secret@cam/".parse().unwrap();
        assert_eq!(source.to_string(), "http://cam/");
        let source: Source = "ws://me:secret@cam".parse().unwrap();
        assert_eq!(source.to_string(), "ws://cam/live.ws");
    }

    #[test]
    fn no_refusal_shows_a_password() {
        for text in [
            "http://me:secret@cam:99999/",
            "http://me:sec/ret@cam/",
            "http//me:secret@cam/",
            "ftp://me:secret@cam/",
            "me:secret@cam:8080/stream",
            "http://me:secret@cam:0/",
            "ws://me:secret@cam/nothing",
            "tcp://me:secret@cam",
            "tcp:me:secret@cam:7400",
            "tcp://me:secret@cam:7400/UPPER",
            "tcp://me:secret@cam:7400/main",
        ] {
            let error = text.parse::<Source>().unwrap_err();
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains("ret"), "{text}: {shown}");
                assert!(shown.contains("***@cam"), "{text}: {shown}");
            }
        }
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
            "ws://",
            "ws://cam/live/main.mjpeg",
            "ws://cam/live/UPPER.ws",
            "ws://cam/live/.ws",
        ] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            let forms = ["tcp://", "a-z", "ws://HOST"];
            assert!(forms.iter().any(|form| error.contains(form)), "{error}");
        }
        for text in ["tcp://cam:0", "http://cam:0/stream", "ws://cam:0"] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains("a port from 1 to 65535"), "{error}");
        }
    }
}
