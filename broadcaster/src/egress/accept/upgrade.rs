//! From a request to a WebSocket, RFC 6455, section 4.2: what a request says of it, and the answer.
//!
//! Browsers let any page open a WebSocket to any server and say in `Origin` which page it is: pages of
//! another host may not watch unless `--allow-origin` says so. Whoever is no browser says nothing.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use common::wire::ws;
use common::{Clock, SystemClock};
use httparse::Header;
use tokio::net::TcpStream;

use super::request::Reply;
use super::{Arrival, Door};
use crate::egress::Protocol;
use crate::egress::viewer::Viewer;
use crate::egress::viewer::socket;
use crate::egress::viewer::watch::Wish;

/// Characters of a key: 16 bytes in base 64.
const KEY_CHARS: usize = 24;

/// What a request says about becoming a WebSocket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upgrade {
    is_wanted: bool,
    version: Option<String>,
    key: Option<String>,
    host: String,
    origin: Option<String>,
}

impl Upgrade {
    pub(super) fn from_fields(fields: &[Header<'_>]) -> Self {
        let values = |name: &str| {
            let fields = fields
                .iter()
                .filter(|field| field.name.eq_ignore_ascii_case(name));
            let texts = fields.filter_map(|field| std::str::from_utf8(field.value).ok());
            texts.map(str::trim).collect::<Vec<_>>()
        };
        let has_token = |name, token: &str| {
            let values = values(name);
            let mut tokens = values.iter().flat_map(|value| value.split(','));
            tokens.any(|one| one.trim().eq_ignore_ascii_case(token))
        };
        let only = |name| match values(name)[..] {
            [only] => Some(only.to_owned()),
            _ => None,
        };
        Self {
            is_wanted: has_token("Connection", "upgrade") && has_token("Upgrade", "websocket"),
            version: only("Sec-WebSocket-Version"),
            key: only("Sec-WebSocket-Key"),
            host: only("Host").unwrap_or_default(),
            // Several are none that is allowed.
            origin: (!values("Origin").is_empty()).then(|| values("Origin").join(", ")),
        }
    }

    /// The head that agrees to it.
    ///
    /// # Errors
    /// The answer to who must not or cannot have one.
    pub fn accept(&self, allow_origin: Option<&str>) -> Result<Bytes, Reply> {
        if !self.is_wanted {
            let text = "this address is a WebSocket; say Upgrade: websocket";
            return Err(Reply::new(426, text));
        }
        if self.version.as_deref() != Some(ws::VERSION) {
            return Err(Reply::new(
                426,
                "only version 13 of WebSocket is spoken here",
            ));
        }
        let key = self.key.as_deref().filter(|key| key.len() == KEY_CHARS);
        let Some(key) = key else {
            return Err(Reply::new(400, "Sec-WebSocket-Key has to be 24 characters"));
        };
        if let Some(origin) = self
            .origin
            .as_deref()
            .filter(|origin| !self.is_ours(origin))
            && allow_origin != Some(origin)
            && allow_origin != Some("*")
        {
            let text =
                format!("pages of {origin} must not watch; --allow-origin {origin} would let them");
            return Err(Reply::new(403, text));
        }
        let accept = ws::accept(key);
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        Ok(head.into())
    }

    /// Whether pages of this origin come from the very host that is asked.
    fn is_ours(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else {
            return false;
        };
        let port = if scheme == "https" { ":443" } else { ":80" };
        let bare = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
        !authority.is_empty() && bare(authority) == bare(&self.host)
    }
}

impl Door {
    /// Makes a WebSocket of a connection whose request asks for one, beginning with the channel that its
    /// path names; `early` is what came behind the request.
    pub(super) async fn welcome_socket(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        upgrade: &Upgrade,
        first: Option<(usize, Wish)>,
        early: &[u8],
    ) -> io::Result<()> {
        let answer = match upgrade.accept(self.allow_origin.as_deref()) {
            Ok(answer) => answer,
            Err(reply) => return self.refuse_http(stream, peer, &reply).await,
        };
        let attendance = match self.admission.admit(peer.ip()) {
            Ok(attendance) => attendance,
            Err(refusal) => return self.refuse_http(stream, peer, &Reply::busy(refusal)).await,
        };
        let watches =
            first.map(|(place, wish)| self.watch(place, Protocol::Ws, wish).acknowledged());
        let watches = Vec::from_iter(watches);
        let list = self.lobby.list(SystemClock.monotonic());
        let mut greeting = vec![answer, list];
        greeting.extend(watches.iter().map(socket::subscribed));
        let terms = self.terms(Protocol::Ws, greeting.concat().into());
        let mut viewer = Viewer::new(terms, watches, SystemClock.monotonic());
        viewer.receive(early, &SystemClock);
        self.seat(stream, Arrival { peer, attendance }, viewer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Request;
    use super::*;

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const REST: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                        Sec-WebSocket-Version: 13\r\n";

    fn answer(fields: &str, allow_origin: Option<&str>) -> Result<Bytes, (u16, String)> {
        let head = format!("GET /live.ws HTTP/1.1\r\n{fields}\r\n");
        let request = Request::parse(head.as_bytes()).unwrap().unwrap();
        let answer = request.upgrade.accept(allow_origin);
        answer.map_err(|reply| (reply.status, reply.text))
    }

    fn from_page(host: &str, origin: &str, allow_origin: Option<&str>) -> Result<Bytes, u16> {
        let fields = format!("Host: {host}\r\nOrigin: {origin}\r\n{KEY}{REST}");
        answer(&fields, allow_origin).map_err(|(status, _)| status)
    }

    #[test]
    fn the_handshake_of_rfc_6455_is_agreed_to() {
        let head = answer(&format!("Host: x\r\n{KEY}{REST}"), None).unwrap();
        let head = str::from_utf8(&head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn what_is_no_handshake_learns_what_would_be_one() {
        let status = |fields: &str| answer(fields, None).unwrap_err().0;
        assert_eq!(status("Host: x\r\n"), 426);
        assert_eq!(status(&format!("{KEY}Upgrade: websocket\r\n")), 426);
        assert_eq!(status(&format!("{KEY}{}", REST.replace("13", "8"))), 426);
        assert_eq!(status(&format!("Sec-WebSocket-Key: x\r\n{REST}")), 400);
        assert_eq!(status(REST), 400);
        let reply = Reply::new(426, "").encode();
        let reply = str::from_utf8(&reply).unwrap();
        assert!(reply.contains("Upgrade Required\r\n"), "{reply}");
        assert!(reply.contains("Sec-WebSocket-Version: 13\r\n"), "{reply}");
    }

    #[test]
    fn pages_of_other_hosts_do_not_watch_unless_they_are_allowed() {
        for (host, origin) in [
            ("cam:8080", "http://cam:8080"),
            ("cam", "http://cam"),
            ("cam:80", "http://cam"),
            ("CAM", "https://cam:443"),
            ("[::1]:8080", "http://[::1]:8080"),
        ] {
            assert!(from_page(host, origin, None).is_ok(), "{origin} at {host}");
        }
        for (host, origin) in [
            ("cam:8080", "http://cam"),
            ("cam:8080", "http://evil:8080"),
            ("cam", "http://cam.evil"),
            ("cam", "null"),
            ("", "file://"),
            ("cam", "http://cam\r\nOrigin: http://cam"),
        ] {
            assert_eq!(
                from_page(host, origin, None),
                Err(403),
                "{origin} at {host}"
            );
        }
        let elsewhere = Some("https://home.example");
        assert!(from_page("cam", "https://home.example", elsewhere).is_ok());
        assert_eq!(
            from_page("cam", "https://other.example", elsewhere),
            Err(403)
        );
        assert!(from_page("cam", "https://other.example", Some("*")).is_ok());
    }
}
