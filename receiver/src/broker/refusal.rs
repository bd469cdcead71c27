//! What a broker's refusals mean: one clear line each, with what to change.
//!
//! AMQP tells refusals apart by a number only roughly; RabbitMQ's words tell the rest. Words that
//! are not known here are passed on as they are.

use std::io;
use std::time::Duration;

use lapin::ErrorKind;

use super::{Address, Tls};

/// Why a broker does not do what it was asked to.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{broker}{}{refusal}", if broker.is_empty() { "" } else { ": " })]
pub struct Error {
    /// Which broker of several; empty if there is one, whom the reader knows.
    broker: String,
    /// What is in the way.
    pub refusal: Refusal,
}

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody listens, or the way there is cut.
    #[error("{0}")]
    Unreachable(String),
    /// Something listens but does not answer as a broker does.
    #[error("no answer within {0:?}; is this a RabbitMQ broker's port?")]
    NoAnswer(Duration),
    /// The connection cannot be made private.
    #[error("TLS: {words}{hint}", hint = tls_hint(words))]
    Tls {
        /// What the library says.
        words: String,
    },
    /// Unknown user or wrong password.
    #[error(
        "user {0:?} is refused: wrong name or password, or guest from another machine; right would \
         be amqp://USER:PASSWORD@HOST"
    )]
    Credentials(String),
    /// No such virtual host.
    #[error(
        "there is no virtual host {0:?}; create it (rabbitmqctl add_vhost), or end the URL in /%2f \
         for the default one"
    )]
    NoVhost(String),
    /// The user may not use the virtual host.
    #[error(
        "user {user:?} may not use the virtual host {vhost:?}; allow it: {}",
        allowing(user, vhost, "framecast.")
    )]
    VhostDenied {
        /// Who.
        user: String,
        /// Where.
        vhost: String,
    },
    /// The user lacks a permission.
    #[error("{words}; allow it: {}", allowing(user, vhost, beginning(words)))]
    Denied {
        /// What the broker says.
        words: String,
        /// Who.
        user: String,
        /// Where.
        vhost: String,
    },
    /// A name that only the broker itself may use.
    #[error(
        "{0}: names that begin in amq. are the broker's own; name another exchange with --exchange, \
         or ?exchange= in a receiver's URL"
    )]
    Reserved(String),
    /// What answers there does not speak the protocol.
    #[error("what answers does not speak AMQP ({0}); if it is a port for TLS: amqps://")]
    NotAmqp(String),
    /// An exchange of that name is something else.
    #[error(
        "the exchange is there already as something else ({0}); delete it, or name another one \
         with --exchange, or ?exchange= in a receiver's URL"
    )]
    OtherExchange(String),
    /// There is no such exchange any more.
    #[error("{0}; somebody has deleted it")]
    NoExchange(String),
    /// Another broadcaster holds the channel.
    #[error(
        "another broadcaster publishes to {0} already (or did until a moment ago, and the broker has \
         not noticed its end); stop it, or use another --channel or --exchange"
    )]
    Published(String),
    /// A message above the broker's own limit.
    #[error(
        "{0}; send smaller pictures (--size, --quality, --frames-per-payload), or raise \
         max_message_size in the broker's configuration"
    )]
    TooLarge(String),
    /// The broker goes down, or an operator ended the connection.
    #[error("the broker ends the connection ({0})")]
    Forced(String),
    /// It did not say anything for too long.
    #[error("the broker has fallen silent")]
    Silent,
    /// The connection broke.
    #[error("the connection is lost ({0})")]
    Lost(String),
    /// The connection broke before a word was said in private, and we had not shown who we are. A broker
    /// that wants to know says so, but its end of the connection may overtake its words.
    #[error(
        "the connection is lost ({0}) before the broker said a word; if it wants to know who comes: \
         certfile= and keyfile="
    )]
    Unheard(String),
    /// The connection broke before a word was said in the open.
    #[error(
        "the connection is lost ({0}) before the broker said a word; if it is a port for TLS: amqps://"
    )]
    Unanswered(String),
    /// What is not known here.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// What lapin's error on a connection to this broker means.
    #[must_use]
    pub fn new(address: &Address, error: &lapin::Error) -> Self {
        Self::of(address, refusal(address, error.kind()))
    }

    /// What lapin's error while connecting to this broker means.
    pub(super) fn connecting(address: &Address, error: &lapin::Error) -> Self {
        let is_nobody = |tls: &Tls| tls.identity.is_none();
        Self::of(
            address,
            match refusal(address, error.kind()) {
                Refusal::Lost(words) if address.tls.as_ref().is_some_and(is_nobody) => {
                    Refusal::Unheard(words)
                }
                Refusal::Lost(words) if address.tls.is_none() => Refusal::Unanswered(words),
                refusal => refusal,
            },
        )
    }

    /// This refusal by this broker.
    #[must_use]
    pub fn of(address: &Address, refusal: Refusal) -> Self {
        Self {
            broker: if address.is_one_of_several {
                address.to_string()
            } else {
                String::new()
            },
            refusal,
        }
    }

    pub(super) fn no_answer(address: &Address, within: Duration) -> Self {
        Self::of(address, Refusal::NoAnswer(within))
    }

    pub(super) fn tls(address: &Address, error: &io::Error) -> Self {
        Self::of(
            address,
            Refusal::Tls {
                words: error.to_string(),
            },
        )
    }

    /// Whether trying again is in vain until somebody changes something.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(
            self.refusal,
            Refusal::Tls { .. }
                | Refusal::Credentials(_)
                | Refusal::NoVhost(_)
                | Refusal::VhostDenied { .. }
                | Refusal::Denied { .. }
                | Refusal::Reserved(_)
                | Refusal::OtherExchange(_)
        )
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self {
            broker: String::new(),
            refusal: Refusal::Other(error.to_string()),
        }
    }
}

fn refusal(address: &Address, kind: &ErrorKind) -> Refusal {
    match kind {
        ErrorKind::ProtocolError(error) => {
            said(address, error.get_id(), error.get_message().as_str())
        }
        ErrorKind::IOError(error) => broken(address, error),
        ErrorKind::MissingHeartbeatError => Refusal::Silent,
        ErrorKind::ParsingError(error) if address.tls.is_none() => {
            Refusal::NotAmqp(error.to_string())
        }
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => {
            Refusal::Lost("it is closed".to_owned())
        }
        other => Refusal::Other(lapin::Error::from(other.clone()).to_string()),
    }
}

/// What RabbitMQ says with this reply code.
fn said(address: &Address, code: u16, words: &str) -> Refusal {
    // "ACCESS_REFUSED - access to …": the name says no more than the code.
    let words = words.split_once(" - ").map_or(words, |(_, words)| words);
    let (user, vhost) = (address.user.clone(), address.vhost.clone());
    let text = words.to_owned();
    match code {
        320 => Refusal::Forced(text),
        403 if words.starts_with("Login") => Refusal::Credentials(user),
        403 if words.contains("Login was refused") => Refusal::Credentials(user),
        403 if words.contains("reserved prefix") => Refusal::Reserved(text),
        403 => Refusal::Denied {
            words: text,
            user,
            vhost,
        },
        404 => Refusal::NoExchange(text),
        405 => Refusal::Published(quoted(words)),
        406 if words.contains("larger than") => Refusal::TooLarge(text),
        406 if words.contains("for exchange") => Refusal::OtherExchange(text),
        530 if words.contains("not found") => Refusal::NoVhost(vhost),
        530 if words.contains("refused for user") => Refusal::VhostDenied { user, vhost },
        _ => Refusal::Other(format!("{code} {words}")),
    }
}

/// What gives a user all that is needed for names with this beginning.
fn allowing(user: &str, vhost: &str, beginning: &str) -> String {
    let [user, vhost] = [user, vhost].map(for_shell);
    let names = for_shell(&format!("^{}", for_pattern(beginning)));
    format!("rabbitmqctl set_permissions -p {vhost} {user} {names} {names} {names}")
}

/// How the names begin that somebody needs who was refused with these words: all of ours if it is one
/// of them, else that of the exchange.
fn beginning(words: &str) -> &str {
    let name = quoted_name(words).unwrap_or("framecast.");
    if name.starts_with("framecast.") {
        return "framecast.";
    }
    let name = name.strip_suffix(super::LOCK).unwrap_or(name);
    name.rsplit_once(super::READER)
        .map_or(name, |(name, _)| name)
}

/// As a regular expression that matches it.
fn for_pattern(name: &str) -> String {
    let each = name.chars().map(|char| match char {
        '\\' | '^' => format!("\\{char}"),
        char if char.is_alphanumeric() || "_-/: ".contains(char) => char.to_string(),
        char => format!("[{char}]"),
    });
    each.collect()
}

/// As one word for a shell.
fn for_shell(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-./:@".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The name of the exchange whose lock `queue 'EXCHANGE.publisher'` is.
fn quoted(words: &str) -> String {
    let name = quoted_name(words).unwrap_or(words);
    name.strip_suffix(super::LOCK).unwrap_or(name).to_owned()
}

/// The first name in the broker's words.
fn quoted_name(words: &str) -> Option<&str> {
    words.split('\'').nth(1)
}

fn broken(address: &Address, error: &io::Error) -> Refusal {
    use io::ErrorKind as Kind;
    match error.kind() {
        kind @ (Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable) => {
            Refusal::Unreachable(kind.to_string())
        }
        kind @ (Kind::ConnectionReset | Kind::BrokenPipe | Kind::UnexpectedEof) => {
            Refusal::Lost(kind.to_string())
        }
        Kind::ConnectionAborted => Refusal::Lost("closed by the broker".to_owned()),
        Kind::InvalidData if address.tls.is_some() => Refusal::Tls {
            words: error.to_string(),
        },
        _ => Refusal::Unreachable(error.to_string()),
    }
}

fn tls_hint(words: &str) -> &'static str {
    if words.contains("UnknownIssuer") {
        "; name its authority with cacertfile="
    } else if words.contains("NotValidForName") {
        "; connect by a name that its certificate bears"
    } else if words.contains("CertificateRequired") {
        "; it wants to know who comes: certfile= and keyfile="
    } else if words.contains("InvalidContentType") {
        "; what answers does not speak TLS: amqp://, or the broker's port for it (5671 by default)"
    } else if words.to_lowercase().contains("expired") {
        "; its certificate has to be renewed (or this machine's clock is wrong)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        let list: super::super::Addresses = "amqp://bob:secret@h:1/lab,amqp://i".parse().unwrap();
        let mut all = list.from(0);
        all.next().unwrap().clone()
    }

    #[test]
    fn what_rabbitmq_says_becomes_what_to_change() {
        for (code, words, part) in [
            (
                403,
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.",
                "\"bob\" is refused: wrong name or password",
            ),
            (
                403,
                "ACCESS_REFUSED - access to exchange 'framecast.main' in vhost 'lab' refused for user 'bob'",
                "allow it: rabbitmqctl set_permissions -p lab bob '^framecast[.]' '^framecast[.]'",
            ),
            (
                403,
                "ACCESS_REFUSED - access to exchange 'cams (2)' in vhost 'lab' refused for user 'bob'",
                "bob '^cams [(]2[)]' '^cams [(]2[)]' '^cams [(]2[)]'",
            ),
            (
                403,
                "ACCESS_REFUSED - access to queue 'cams.publisher' in vhost 'lab' refused for user 'bob'",
                "bob '^cams' '^cams' '^cams'",
            ),
            (
                403,
                "ACCESS_REFUSED - access to queue 'cams.reader-00c0ffee00c0ffee' in vhost 'lab' refused for user 'bob'",
                "bob '^cams' '^cams' '^cams'",
            ),
            (
                403,
                "ACCESS_REFUSED - queue name 'amq.fanout.publisher' contains reserved prefix 'amq.*'",
                "names that begin in amq. are the broker's own; name another exchange",
            ),
            (
                405,
                "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'framecast.main.publisher' in vhost 'lab'.",
                "publishes to framecast.main already",
            ),
            (
                406,
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost 'lab': received 'fanout' but current is 'direct'",
                "delete it, or name another",
            ),
            (
                406,
                "PRECONDITION_FAILED - message size 9 is larger than configured max size 5",
                "message size 9 is larger than configured max size 5; send smaller",
            ),
            (
                530,
                "NOT_ALLOWED - vhost lab not found",
                "no virtual host \"lab\"; create it",
            ),
            (
                530,
                "NOT_ALLOWED - access to vhost 'lab' refused for user 'bob'",
                "may not use the virtual host \"lab\"",
            ),
            (
                320,
                "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
                "reason 'shutdown'",
            ),
            (541, "INTERNAL_ERROR", "541 INTERNAL_ERROR"),
        ] {
            let error = Error::of(&address(), said(&address(), code, words)).to_string();
            assert!(error.contains(part), "{error}");
            assert!(error.starts_with("amqp://h:1/lab: "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn certificates_that_are_too_old_are_told_whatever_the_library_calls_it() {
        for words in [
            "invalid peer certificate: Expired",
            "invalid peer certificate: certificate expired: verification time 9 (UNIX), but certificate is \
             not valid after 8",
        ] {
            assert!(tls_hint(words).contains("has to be renewed"), "{words}");
        }
        assert_eq!(tls_hint("handshake failure"), "");
    }

    #[test]
    fn what_is_to_be_typed_can_be_typed() {
        assert_eq!(
            allowing("o'neil", "/", "framecast."),
            r"rabbitmqctl set_permissions -p / 'o'\''neil' '^framecast[.]' '^framecast[.]' '^framecast[.]'"
        );
        assert_eq!(for_shell("my lab"), "'my lab'");
        assert_eq!(for_shell(""), "''");
        assert_eq!(for_pattern(r"a^\$"), r"a\^\\[$]");
    }

    #[test]
    fn the_broker_is_named_where_there_are_several() {
        let list: super::super::Addresses = "amqp://h".parse().unwrap();
        let one = list.from(0).next().unwrap();
        assert_eq!(
            Error::of(one, Refusal::Silent).to_string(),
            Refusal::Silent.to_string()
        );
    }

    #[test]
    fn only_what_somebody_has_to_mend_is_permanent() {
        let error = |code, words| Error::of(&address(), said(&address(), code, words));
        assert!(error(403, "ACCESS_REFUSED - Login was refused").is_permanent());
        assert!(error(530, "NOT_ALLOWED - vhost lab not found").is_permanent());
        assert!(!error(320, "CONNECTION_FORCED - shutdown").is_permanent());
        assert!(!error(405, "RESOURCE_LOCKED - queue 'a.publisher'").is_permanent());
    }

    #[test]
    fn who_is_cut_off_before_a_word_is_asked_who_it_is() {
        let reset = lapin::Error::from(ErrorKind::IOError(std::sync::Arc::new(io::Error::from(
            io::ErrorKind::ConnectionReset,
        ))));
        let told = |address: &Address| {
            let told = Error::connecting(address, &reset);
            assert!(!told.is_permanent());
            told.to_string()
        };
        let list: super::super::Addresses = "amqps://h".parse().unwrap();
        let nobody = list.from(0).next().unwrap();
        assert!(told(nobody).contains("certfile= and keyfile="));
        let lost = "the connection is lost (connection reset)";
        let unanswered = "the connection is lost (connection reset) before the broker said a word; if it \
                          is a port for TLS: amqps://";
        let mut somebody = nobody.clone();
        let tls = somebody.tls.as_mut().unwrap();
        tls.identity = Some(("a.pem".into(), "b.pem".into()));
        assert_eq!(told(&somebody), lost);
        let mut open = nobody.clone();
        open.tls = None;
        assert_eq!(told(&open), unanswered);
    }
}
