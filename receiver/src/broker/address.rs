//! Where brokers are, as it is typed: one URL for each, checked before anything is opened.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

/// Most brokers in one list.
const MAX_BROKERS: usize = 16;
/// Keys of a URL's query that are about the connection. The names are those of RabbitMQ's own URI
/// scheme (<https://www.rabbitmq.com/docs/uri-query-parameters>).
const KEYS: &str = "heartbeat, frame_max, cacertfile, certfile, keyfile";

/// One broker: where it is, who we are there, and how to be sure that it is the right one.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User name.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// Virtual host; `/` is the default one.
    pub vhost: String,
    /// Seconds between heartbeats, if not the default.
    pub heartbeat: Option<u16>,
    /// Most bytes of an AMQP frame, if not what the broker offers. Buffers grow with it.
    pub frame_max: Option<u32>,
    /// How to talk in private, if at all (`amqps://`).
    pub tls: Option<Tls>,
    /// Whether it is one of several, so that errors have to say which.
    pub is_one_of_several: bool,
}

/// Who is trusted, and how to show who we are. All files are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Certificates of the authorities that may vouch for the broker; `None`: the system's.
    pub authorities: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Brokers of one exchange, at least one: nodes of a cluster, tried one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(Vec<Address>);

/// Why a list of brokers cannot be used. The texts bear no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a URL at all.
    #[error("not a URL ({0}); right would be {FORM}")]
    Url(url::ParseError),
    /// Another scheme.
    #[error("{0}:// is not a broker's scheme; right would be {FORM}")]
    Scheme(String),
    /// No host.
    #[error("no host is named; right would be {FORM}")]
    Host,
    /// Port 0.
    #[error("{0} names port 0; right would be a port from 1 to 65535, 5672 by default")]
    PortZero(String),
    /// A user name, password or vhost whose bytes are not text.
    #[error("{0}: the {1} is not UTF-8 behind its %-escapes")]
    Text(String, &'static str),
    /// More than a vhost behind the host.
    #[error("{0}: more than a virtual host; write / inside its name as %2f")]
    Vhost(String),
    /// A key of the query that says nothing here.
    #[error("{0}: {1}= is not known; known are {2}")]
    Key(String, String, String),
    /// A key's value that cannot be.
    #[error("{0}: {1}= is {2}")]
    Value(String, &'static str, &'static str),
    /// A file that is not there.
    #[error("{0}: {1}={2}: {3}")]
    File(String, &'static str, String, String),
    /// Files without TLS.
    #[error("{0}: {1}= needs amqps://")]
    Plain(String, &'static str),
    /// More brokers than anybody has.
    #[error("{0} brokers; at most {MAX_BROKERS} are tried")]
    Many(usize),
}

// Not amqp://USER:PASSWORD@HOST: where passwords are masked, this one would be, too.
const FORM: &str = "amqp://HOST:PORT/VHOST with USER:PASSWORD@ before the host, the default being \
                    guest:guest@127.0.0.1:5672/%2f";

impl Addresses {
    /// The brokers in a list of URLs with commas between them, and the keys of their queries that
    /// are not about connections. `known` names those that the caller understands.
    ///
    /// # Errors
    /// The first thing that is wrong, with what would be right.
    pub fn parse(text: &str, known: &[&str]) -> Result<(Self, Vec<(String, String)>), Error> {
        let mut list = Vec::new();
        let mut others = Vec::new();
        for one in text.split(',') {
            let (address, keys) = Address::parse(one.trim(), known)?;
            list.push(address);
            others.extend(keys);
        }
        let count = list.len();
        if count > MAX_BROKERS {
            return Err(Error::Many(count));
        }
        for address in &mut list {
            address.is_one_of_several = count > 1;
        }
        Ok((Self(list), others))
    }

    /// All of them, beginning with the one at `first` modulo their number.
    pub fn from(&self, first: usize) -> impl Iterator<Item = &Address> {
        let first = first % self.0.len();
        self.0[first..].iter().chain(&self.0[..first])
    }

    /// Whether one of these brokers is one of those: host, port and virtual host, as they are written.
    #[must_use]
    pub fn have_one_of(&self, others: &Self) -> bool {
        let place = |one: &Address| (one.host.clone(), one.port, one.vhost.clone());
        let those: Vec<_> = others.0.iter().map(place).collect();
        self.0.iter().any(|one| those.contains(&place(one)))
    }
}

impl FromStr for Addresses {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text, &[]).map(|(addresses, _)| addresses)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, address) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

impl Address {
    fn parse(text: &str, known: &[&str]) -> Result<(Self, Vec<(String, String)>), Error> {
        let url = Url::parse(text).map_err(Error::Url)?;
        let (default_port, tls) = match url.scheme() {
            "amqp" => (5672, None),
            "amqps" => (5671, Some(Tls::default())),
            other => return Err(Error::Scheme(other.to_owned())),
        };
        let host = crate::ingress::host_of(&url);
        if host.is_empty() {
            return Err(Error::Host);
        }
        let mut address = Self {
            host,
            port: url.port().unwrap_or(default_port),
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
            heartbeat: None,
            frame_max: None,
            tls,
            is_one_of_several: false,
        };
        if address.port == 0 {
            return Err(Error::PortZero(address.to_string()));
        }
        if !url.username().is_empty() {
            address.user = address.decoded("user name", url.username())?;
            address.password = address.decoded("password", url.password().unwrap_or_default())?;
        }
        if let Some(vhost) = url.path().strip_prefix('/') {
            if vhost.contains('/') {
                return Err(Error::Vhost(address.to_string()));
            }
            address.vhost = address.decoded("virtual host", vhost)?;
        }
        let mut others = Vec::new();
        for (key, value) in url.query_pairs() {
            if !address.set(&key, &value)? {
                if !known.contains(&&*key) {
                    let known = [&[KEYS], known].concat().join(", ");
                    return Err(Error::Key(address.to_string(), key.into_owned(), known));
                }
                others.push((key.into_owned(), value.into_owned()));
            }
        }
        match &address.tls {
            Some(tls) if tls.identity.as_ref().is_some_and(is_half) => {
                let right = "half of what is needed: certfile= and keyfile= go together";
                Err(Error::Value(address.to_string(), "certfile", right))
            }
            _ => Ok((address, others)),
        }
    }

    fn decoded(&self, what: &'static str, text: &str) -> Result<String, Error> {
        let bytes = percent_decode_str(text);
        let decoded = bytes.decode_utf8();
        let decoded = decoded.map_err(|_| Error::Text(self.to_string(), what))?;
        Ok(decoded.into_owned())
    }

    /// Takes in a key of the query; false if it is none of a connection.
    fn set(&mut self, key: &str, value: &str) -> Result<bool, Error> {
        match key {
            "heartbeat" => {
                let right = "no number of seconds from 1 to 600";
                let seconds = value.parse().ok().filter(|one| (1..=600).contains(one));
                let wrong = || Error::Value(self.to_string(), "heartbeat", right);
                self.heartbeat = Some(seconds.ok_or_else(wrong)?);
            }
            "frame_max" => {
                let right = "no number of bytes from 4096 to 131072";
                let bytes = value.parse().ok();
                let bytes = bytes.filter(|one| (4_096..=131_072).contains(one));
                let wrong = || Error::Value(self.to_string(), "frame_max", right);
                self.frame_max = Some(bytes.ok_or_else(wrong)?);
            }
            "cacertfile" => {
                let file = self.file("cacertfile", value)?;
                self.tls("cacertfile")?.authorities = Some(file);
            }
            "certfile" => {
                let file = self.file("certfile", value)?;
                self.tls("certfile")?.identity.get_or_insert_default().0 = file;
            }
            "keyfile" => {
                let file = self.file("keyfile", value)?;
                self.tls("keyfile")?.identity.get_or_insert_default().1 = file;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn tls(&mut self, key: &'static str) -> Result<&mut Tls, Error> {
        let plain = Error::Plain(self.to_string(), key);
        self.tls.as_mut().ok_or(plain)
    }

    /// A file that is there now; it is read at each connection, so that it can be renewed.
    fn file(&self, key: &'static str, path: &str) -> Result<PathBuf, Error> {
        match std::fs::File::open(path) {
            Ok(_) => Ok(path.into()),
            Err(error) => {
                let (broker, path) = (self.to_string(), path.to_owned());
                Err(Error::File(broker, key, path, error.to_string()))
            }
        }
    }
}

fn is_half((certificate, key): &(PathBuf, PathBuf)) -> bool {
    certificate.as_os_str().is_empty() || key.as_os_str().is_empty()
}

/// Without the password, so that it can stand in a log; and without what is not needed to know the
/// broker again.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "amqps" } else { "amqp" };
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)?;
        write!(f, "/{}", escaped(&self.vhost))
    }
}

/// Text as it stands in a URL.
pub(crate) fn escaped(text: &str) -> impl fmt::Display {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');
    utf8_percent_encode(text, ESCAPED)
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} as {}", self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Address {
        let (addresses, _) = Addresses::parse(text, &["channel"]).unwrap();
        let mut all = addresses.from(0);
        all.next().unwrap().clone()
    }

    fn complaint(text: &str) -> String {
        Addresses::parse(text, &["channel"])
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn addresses_are_taken_apart() {
        let bare = one("amqp://rabbit");
        assert_eq!(
            (&*bare.host, bare.port, &*bare.vhost),
            ("rabbit", 5672, "/")
        );
        assert_eq!((&*bare.user, &*bare.password), ("guest", "guest"));
        let full = one("amqps://m%65:p%40ss@[::1]:99/a%2fb?heartbeat=5&frame_max=16384");
        assert_eq!((&*full.host, full.port, &*full.vhost), ("::1", 99, "a/b"));
        assert_eq!((&*full.user, &*full.password), ("me", "p@ss"));
        assert_eq!((full.heartbeat, full.frame_max), (Some(5), Some(16_384)));
        assert_eq!(full.tls, Some(Tls::default()));
        assert_eq!(one("amqps://rabbit").port, 5671);
        assert_eq!(one("amqp://rabbit/").vhost, "");
        assert_eq!(one("amqp://me@rabbit").password, "");
    }

    #[test]
    fn what_is_displayed_can_be_read_again_and_holds_no_password() {
        for text in ["amqp://h:1/%2F", "amqps://[::1]:2/a%2Fb", "amqp://h:3/"] {
            assert_eq!(one(text).to_string(), text);
        }
        let list: Addresses = "amqp://me:secret@a:1/%2f, amqp://b:2/%2f".parse().unwrap();
        assert_eq!(list.to_string(), "amqp://a:1/%2F,amqp://b:2/%2F");
        assert!(!format!("{list:?}").contains("secret"));
    }

    #[test]
    fn a_list_is_gone_through_from_anywhere() {
        let list: Addresses = "amqp://a,amqp://b,amqp://c".parse().unwrap();
        let hosts = |first| -> String { list.from(first).map(|one| &*one.host).collect() };
        assert_eq!(
            (hosts(0), hosts(1), hosts(5)),
            ("abc".into(), "bca".into(), "cab".into())
        );
    }

    #[test]
    fn what_is_for_others_is_handed_on() {
        let (_, others) = Addresses::parse("amqp://a?channel=lab,amqp://b", &["channel"]).unwrap();
        assert_eq!(others, [("channel".to_owned(), "lab".to_owned())]);
    }

    #[test]
    fn every_refusal_says_what_would_be_right_and_holds_no_password() {
        for (text, part) in [
            ("rabbit:5672", "amqp://HOST:PORT/VHOST"),
            ("", "amqp://HOST:PORT/VHOST"),
            (
                "http://u:secret@rabbit/",
                "http:// is not a broker's scheme",
            ),
            ("amqp:///%2f", "no host is named"),
            ("amqp://u:secret@rabbit:0", "a port from 1 to 65535"),
            (
                "amqp://u:secret@rabbit/a/b",
                "write / inside its name as %2f",
            ),
            (
                "amqp://u:secret@rabbit/%ff",
                "the virtual host is not UTF-8",
            ),
            (
                "amqp://u:secret@rabbit?heart=1",
                "heart= is not known; known are heartbeat",
            ),
            ("amqp://u:secret@rabbit?heartbeat=0", "from 1 to 600"),
            ("amqp://u:secret@rabbit?frame_max=1", "from 4096 to 131072"),
            (
                "amqps://rabbit?cacertfile=/nowhere.pem",
                "cacertfile=/nowhere.pem: No such file",
            ),
            ("amqp://rabbit?cacertfile=/etc/hosts", "needs amqps://"),
            (
                "amqps://rabbit?keyfile=/etc/hosts",
                "certfile= and keyfile= go together",
            ),
            ("amqp://a,nonsense", "not a URL"),
            (&["amqp://a"; 17].join(","), "at most 16"),
        ] {
            let complaint = complaint(text);
            assert!(complaint.contains(part), "{text}: {complaint}");
            assert!(!complaint.contains("secret"), "{complaint}");
        }
    }
}
