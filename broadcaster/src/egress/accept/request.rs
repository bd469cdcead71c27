//! The first request head of an HTTP connection: what is wanted, and the short answers.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use common::wire::mjpeg;

use super::is_http_stream;
use super::upgrade::Upgrade;
use crate::channel::{Channels, Unknown};
use crate::config;
use crate::egress::admission::RETRY_AFTER;
use crate::egress::drop_in::{self, DropIn};
use crate::egress::viewer::socket::interval_of;
use crate::egress::viewer::watch::Wish;

const MAX_HEADERS: usize = 64;
/// The part of a request head that decides where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: String,
    target: String,
    /// Bytes of its head.
    pub length: usize,
    /// What it says about becoming a WebSocket.
    pub upgrade: Upgrade,
}

/// Where a request belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The stream, to the end.
    Stream {
        /// The place of its channel.
        channel: usize,
        /// How it is wanted.
        wish: Wish,
    },
    /// A WebSocket.
    Socket {
        /// The place of the channel that is sent from the start, if there is one, and how.
        channel: Option<(usize, Wish)>,
    },
    /// Only the head of the stream's response.
    StreamHead,
    /// Everything else.
    Pages,
}

/// A short answer after which the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what would be right, one line without its end.
    pub text: String,
    /// Whether the text is sent, or only announced, as HEAD wants it.
    pub has_body: bool,
}

impl Request {
    /// The request at the front of `head`, `None` while it is not whole.
    ///
    /// # Errors
    /// The answer to what cannot become a request.
    pub fn parse(head: &[u8]) -> Result<Option<Self>, Reply> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Partial) => Ok(None),
            Ok(httparse::Status::Complete(length)) => Ok(Some(Self {
                length,
                method: request.method.unwrap_or_default().to_owned(),
                target: request.path.unwrap_or_default().to_owned(),
                upgrade: Upgrade::from_fields(request.headers),
            })),
            Err(httparse::Error::TooManyHeaders) => {
                Err(Reply::new(431, "more than 64 header fields"))
            }
            Err(error) => Err(Reply::new(400, format!("not an HTTP request: {error}"))),
        }
    }

    /// Where this belongs, for a door to `channels`; `max_age` holds for viewers who do not say.
    ///
    /// # Errors
    /// The answer to who asks for a stream that there is not.
    pub fn route(&self, channels: &Channels, max_age: Duration) -> Result<Route, Reply> {
        let found = self.find(channels, max_age);
        found.map_err(|reply| match self.method.as_str() {
            "HEAD" => reply.without_body(),
            _ => reply,
        })
    }

    fn find(&self, channels: &Channels, max_age: Duration) -> Result<Route, Reply> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        if let Some(name) = socket(path) {
            return self.find_socket(name, query, channels, max_age);
        }
        let channel = match streamed(path, query, channels) {
            Ok(Some(channel)) => channel,
            Ok(None) => return Ok(Route::Pages),
            Err(unknown) => return Err(Reply::new(404, unknown.to_string())),
        };
        refuse_unseen(channels, channel)?;
        match self.method.as_str() {
            "GET" => Ok(Route::Stream {
                channel,
                wish: wish_in(query, max_age)?,
            }),
            "HEAD" => Ok(Route::StreamHead),
            other => Err(Reply::new(
                405,
                format!("{other} makes no sense here; use GET"),
            )),
        }
    }

    fn find_socket(
        &self,
        name: &str,
        query: &str,
        channels: &Channels,
        max_age: Duration,
    ) -> Result<Route, Reply> {
        if self.method != "GET" {
            let text = format!("{} makes no sense here; use GET", self.method);
            return Err(Reply::new(405, text));
        }
        if name.is_empty() {
            return Ok(Route::Socket { channel: None });
        }
        let place = channels.find(name);
        let place = place.map_err(|unknown| Reply::new(404, unknown.to_string()))?;
        refuse_unseen(channels, place)?;
        let wish = wish_in(query, max_age)?;
        Ok(Route::Socket {
            channel: Some((place, wish)),
        })
    }
}

/// Refuses to show what cannot be shown here.
fn refuse_unseen(channels: &Channels, place: usize) -> Result<(), Reply> {
    if let Some(elsewhere) = channels[place].elsewhere() {
        return Err(Reply::new(503, elsewhere));
    }
    if is_http_stream(&channels[place]) {
        return Ok(());
    }
    let text = "this channel carries opaque frames, which only tcp:// can deliver";
    Err(Reply::new(406, text))
}

fn wish_in(query: &str, max_age: Duration) -> Result<Wish, Reply> {
    Ok(Wish {
        max_age: max_age_in(query)?.unwrap_or(max_age),
        interval: interval_in(query)?,
    })
}

/// The channel whose WebSocket this is the address of, empty for the one of all channels; `None` if
/// it is none.
fn socket(path: &str) -> Option<&str> {
    if path == "/live.ws" {
        return Some("");
    }
    let name = path.strip_prefix("/live/")?.strip_suffix(".ws")?;
    Some(name).filter(|name| !name.is_empty())
}

/// The place of the channel whose stream this is the address of; `None` if it is no stream's.
fn streamed(path: &str, query: &str, channels: &Channels) -> Result<Option<usize>, Unknown> {
    let name = path.strip_prefix("/live/");
    if let Some(name) = name.and_then(|rest| rest.strip_suffix(".mjpeg")) {
        return channels.find(name).map(Some);
    }
    Ok(match drop_in::asked(path, query, channels)? {
        Some(DropIn::Stream(channel)) => Some(channel),
        _ => None,
    })
}

/// The value of the first `name=value` in a query.
pub(in crate::egress) fn value_in<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

/// The time between frames for a viewer who wants `fps=N`.
fn interval_in(query: &str) -> Result<Option<Duration>, Reply> {
    let Some(value) = value_in(query, "fps") else {
        return Ok(None);
    };
    match value.parse().ok().and_then(interval_of) {
        Some(interval) => Ok(Some(interval)),
        None => {
            let right = "right would be a number above 0, such as 10 or 0.5";
            Err(Reply::new(400, format!("fps={value}: {right}")))
        }
    }
}

fn max_age_in(query: &str) -> Result<Option<Duration>, Reply> {
    let Some(value) = value_in(query, "max_age") else {
        return Ok(None);
    };
    match config::parse_duration(value) {
        Ok(max_age) => Ok(Some(max_age)),
        Err(error) => Err(Reply::new(400, format!("max_age={value}: {error}"))),
    }
}

impl Reply {
    /// An answer.
    #[must_use]
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            has_body: true,
        }
    }

    /// The answer to HEAD: it announces the body and does not send it.
    fn without_body(self) -> Self {
        Self {
            has_body: false,
            ..self
        }
    }

    /// No place for now; come back.
    pub(super) fn busy(reason: impl ToString) -> Self {
        Self::new(503, reason.to_string())
    }

    /// The whole response, which says that the connection closes behind it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let Self { status, text, .. } = self;
        let name = match status {
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            406 => "Not Acceptable",
            408 => "Request Timeout",
            426 => "Upgrade Required",
            503 => "Service Unavailable",
            _ => "Request Header Fields Too Large",
        };
        let extra = match status {
            405 => "Allow: GET, HEAD\r\n".to_owned(),
            426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
            503 => format!("Retry-After: {}\r\n", RETRY_AFTER.as_secs()),
            _ => String::new(),
        };
        let length = text.len() + 1;
        let mut answer = format!(
            "HTTP/1.1 {status} {name}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\n{extra}Cache-Control: no-store\r\nConnection: close\r\n\
             \r\n"
        );
        if self.has_body {
            answer.push_str(text);
            answer.push('\n');
        }
        answer.into()
    }
}

/// The head of a stream's response, up to and including the first boundary.
pub(super) fn stream_head(allow_origin: Option<&str>) -> Bytes {
    let mut head = BytesMut::new();
    let fixed = "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nConnection: close\r\n";
    head.put_slice(b"HTTP/1.1 200 OK\r\nContent-Type: ");
    head.put_slice(mjpeg::CONTENT_TYPE.as_bytes());
    head.put_slice(b"\r\n");
    head.put_slice(fixed.as_bytes());
    if let Some(origin) = allow_origin {
        head.put_slice(format!("Access-Control-Allow-Origin: {origin}\r\n").as_bytes());
    }
    head.put_slice(b"\r\n");
    head.put_slice(&mjpeg::encode_start());
    head.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::channel;
    use common::Format;

    const MAX_AGE: Duration = Duration::from_millis(250);
    /// What is meant when nothing is said.
    const WISH: Wish = Wish {
        max_age: MAX_AGE,
        interval: None,
    };

    fn channels() -> Channels {
        let main = channel("main", Format::Jpeg).0;
        let lab = channel("lab", Format::Jpeg).0;
        let raw = channel("raw", Format::Opaque).0;
        Channels::new(vec![main, lab, raw])
    }

    fn route(line: &str) -> Result<Route, Reply> {
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n");
        let request = Request::parse(head.as_bytes()).unwrap().unwrap();
        request.route(&channels(), MAX_AGE)
    }

    /// The route of a stream about which nothing was said.
    const fn stream(channel: usize) -> Route {
        Route::Stream {
            channel,
            wish: WISH,
        }
    }

    #[test]
    fn only_streams_are_taken_from_the_pages() {
        for target in [
            "/",
            "/live/main.jpg",
            "/live/",
            "/live.mjpeg",
            "/healthz?x=/live/a.mjpeg",
        ] {
            assert_eq!(
                route(&format!("GET {target}")),
                Ok(Route::Pages),
                "{target}"
            );
        }
        for (place, name) in ["main", "lab"].into_iter().enumerate() {
            let asked = route(&format!("GET /live/{name}.mjpeg"));
            assert_eq!(asked, Ok(stream(place)));
        }
        assert_eq!(route("HEAD /live/main.mjpeg"), Ok(Route::StreamHead));
        assert_eq!(route("GET /?action=stream_1"), Ok(stream(1)));
        assert_eq!(route("GET /?action=stream_9").unwrap_err().status, 404);
        assert_eq!(route("GET /?action=snapshot"), Ok(Route::Pages));
        assert_eq!(route("HEAD /stream"), Ok(Route::StreamHead));
    }

    #[test]
    fn max_age_and_rate_are_read_from_the_query() {
        let wish = Wish {
            max_age: Duration::from_secs(2),
            interval: Some(Duration::from_millis(400)),
        };
        let wanted = Route::Stream { channel: 0, wish };
        let asked = route("GET /live/main.mjpeg?x=1&fps=2.5&max_age=2s");
        assert_eq!(asked, Ok(wanted));
        let refused = route("GET /live/main.mjpeg?max_age=long").unwrap_err();
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains("right would be 250ms"));
        let endless = "GET /live/main.mjpeg?max_age=18446744073709551615s1000ms";
        let refused = route(endless).unwrap_err();
        assert!(refused.text.contains("longer than 16 bytes"));
        for fps in ["", "0", "-1", "many", "NaN", "inf", "1e-300"] {
            let refused = route(&format!("GET /live/main.mjpeg?fps={fps}")).unwrap_err();
            assert_eq!(refused.status, 400, "{fps}");
            assert!(refused.text.contains("a number above 0"), "{fps}");
        }
    }

    #[test]
    fn sockets_are_of_all_channels_or_begin_with_one() {
        assert_eq!(route("GET /live.ws"), Ok(Route::Socket { channel: None }));
        let channel = Some((1, WISH));
        assert_eq!(route("GET /live/lab.ws"), Ok(Route::Socket { channel }));
        let wish = Wish {
            interval: Some(Duration::from_millis(100)),
            ..WISH
        };
        let channel = Some((0, wish));
        assert_eq!(
            route("GET /live/main.ws?fps=10"),
            Ok(Route::Socket { channel })
        );
        assert_eq!(route("GET /live/other.ws").unwrap_err().status, 404);
        assert_eq!(route("GET /live/raw.ws").unwrap_err().status, 406);
        assert_eq!(route("POST /live.ws").unwrap_err().status, 405);
        assert_eq!(route("GET /live/.ws"), Ok(Route::Pages));
    }

    #[test]
    fn refusals_say_what_would_be_right() {
        let unknown = route("GET /live/other.mjpeg").unwrap_err();
        assert_eq!(
            (unknown.status, &*unknown.text),
            (404, "no channel \"other\" here; there are: main, lab, raw")
        );
        assert_eq!(route("POST /live/main.mjpeg").unwrap_err().status, 405);
        let unseen = route("HEAD /live/other.mjpeg").unwrap_err();
        assert!(unseen.encode().ends_with(b"\r\n\r\n"));
        assert_eq!(route("GET /live/raw.mjpeg").unwrap_err().status, 406);
    }

    #[test]
    fn a_head_in_pieces_is_waited_for_and_garbage_is_refused() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(Request::parse(&head[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(Request::parse(b"\x16\x03\x01\x00").unwrap_err().status, 400);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
        assert_eq!(Request::parse(many.as_bytes()).unwrap_err().status, 431);
    }

    #[test]
    fn replies_announce_their_length() {
        let reply = Reply::new(405, "no").encode();
        let text = std::str::from_utf8(&reply).unwrap();
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
        assert!(text.contains("Content-Length: 3\r\nAllow: GET, HEAD\r\n"));
        assert!(text.ends_with("\r\n\r\nno\n"));
    }
}
