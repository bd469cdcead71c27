//! Motion JPEG over HTTP from any server, with a client of our own.
//!
//! Plain HTTP/1.1, one request a connection. Understood because servers send it: redirects, chunked
//! coding, HTTP/1.0 answers. Kept out: TLS, proxies, cookies, digest authentication.

pub mod chunked;
pub mod head;
mod numbering;

use bytes::BytesMut;
use common::wire::mjpeg::{Parser, Part};
use common::{
    Clock, DecodeError, Flags, Format, Frame, Head, Monotonic, SystemClock, Timestamp, jpeg,
};
use url::Url;

use self::head::{Coding, Response};
pub(super) use self::numbering::Numbering;
use super::connection::Memory;
use super::socket::{ANSWER_TIMEOUT, Socket};
use super::source::{host_of, without_secrets};
use super::{Error, Options};

/// Most redirects followed.
const MAX_REDIRECTS: usize = 5;
const DEFAULT_PORT: u16 = 80;

impl Memory {
    /// The frame that a part makes, `None` if it is no picture.
    fn frame(&mut self, part: &Part, arrived_at: Timestamp) -> Option<Frame> {
        let picture = match jpeg::scan(&part.data) {
            Ok(picture) if picture.length <= Frame::MAX_BYTES => picture,
            Ok(picture) => {
                let why = format!("a picture of {} bytes", picture.length);
                self.damage.note("a part", &why);
                return None;
            }
            Err(error) => {
                self.damage.note("a part", &error.to_string());
                return None;
            }
        };
        let flags = if part.head.placeholder {
            Flags::KEY.with(Flags::PLACEHOLDER)
        } else {
            Flags::KEY
        };
        let head = Head {
            identity: self.numbering.identify(&part.head, arrived_at),
            captured_at: part.head.captured_at.unwrap_or(arrived_at),
            format: Format::Jpeg,
            width: picture.width,
            height: picture.height,
            flags,
            hops: part.head.hops,
        };
        Some(Frame::new(head, part.data.slice(..picture.length)))
    }
}

/// A response whose body is a stream of parts.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    body: Body,
    parser: Parser,
    is_dated: bool,
}

impl Connection {
    /// Connects, asks, follows redirects; blocks for at most some seconds a redirect.
    pub(super) fn open(url: &Url, options: &Options) -> Result<Self, Error> {
        let mut url = with_max_age(url, options);
        for _ in 0..=MAX_REDIRECTS {
            let (socket, buffer, response) = ask(&url)?;
            match response.status {
                200 => return Self::new(socket, buffer, &response),
                301 | 302 | 303 | 307 | 308 => url = redirected(&url, &response)?,
                code => {
                    let retry_after = response.retry_after;
                    return Err(Error::Status { code, retry_after });
                }
            }
        }
        Err(Error::Redirects(MAX_REDIRECTS))
    }

    fn new(socket: Socket, buffer: BytesMut, response: &Response) -> Result<Self, Error> {
        let kind = &response.content_type;
        let Some(parser) = Parser::new(kind) else {
            return Err(if kind.to_ascii_lowercase().starts_with("image/") {
                Error::Still(kind.clone())
            } else {
                Error::NotAStream(kind.clone())
            });
        };
        Ok(Self {
            socket,
            body: Body::new(buffer, response.coding),
            parser,
            is_dated: false,
        })
    }

    /// The next picture, `None` if it is not there by the deadline.
    pub(super) fn poll(
        &mut self,
        memory: &mut Memory,
        deadline: Monotonic,
    ) -> Result<Option<Vec<Frame>>, Error> {
        loop {
            match self.parser.decode(self.body.decoded()?) {
                Ok(Some(part)) => {
                    self.socket.note_whole();
                    self.is_dated = part.head.captured_at.is_some();
                    if let Some(frame) = memory.frame(&part, SystemClock.wall()) {
                        return Ok(Some(vec![frame]));
                    }
                    // A flood of parts that are no pictures must not keep us beyond it.
                    if SystemClock.monotonic() >= deadline {
                        return Ok(None);
                    }
                }
                Ok(None) => return Err(Error::Closed),
                Err(DecodeError::Incomplete { needed }) => {
                    if self.body.is_ended() {
                        return Err(Error::Closed);
                    }
                    let is_filled = self.socket.fill(self.body.raw(), needed, deadline)?;
                    if !is_filled && SystemClock.monotonic() >= deadline {
                        return Ok(None);
                    }
                }
                Err(broken) => return Err(broken.into()),
            }
        }
    }

    /// Whether the last part said when it was captured.
    pub(super) const fn is_dated(&self) -> bool {
        self.is_dated
    }
}

/// The bytes of a body as they were sent and as they were meant.
#[derive(Debug)]
enum Body {
    Plain(BytesMut),
    Chunked {
        decoder: chunked::Decoder,
        raw: BytesMut,
        decoded: BytesMut,
    },
}

impl Body {
    fn new(raw: BytesMut, coding: Coding) -> Self {
        match coding {
            Coding::Plain => Self::Plain(raw),
            Coding::Chunked => Self::Chunked {
                decoder: chunked::Decoder::default(),
                raw,
                decoded: BytesMut::new(),
            },
        }
    }

    /// Where bytes from the socket go.
    const fn raw(&mut self) -> &mut BytesMut {
        match self {
            Self::Plain(raw) | Self::Chunked { raw, .. } => raw,
        }
    }

    /// All that has arrived, without the coding.
    fn decoded(&mut self) -> Result<&mut BytesMut, Error> {
        match self {
            Self::Plain(raw) => Ok(raw),
            Self::Chunked {
                decoder,
                raw,
                decoded,
            } => {
                let outcome = decoder.decode(raw, decoded);
                outcome.map_err(|error| Error::Head(error.to_string()))?;
                Ok(decoded)
            }
        }
    }

    fn is_ended(&self) -> bool {
        matches!(self, Self::Chunked { decoder, .. } if decoder.is_ended())
    }
}

/// Connects, sends the request and reads the response's head; what came behind it is in the buffer.
fn ask(url: &Url) -> Result<(Socket, BytesMut, Response), Error> {
    let mut socket = Socket::connect(&host_of(url), url.port().unwrap_or(DEFAULT_PORT))?;
    socket.send(head::encode_request(url).as_bytes())?;
    let deadline = SystemClock.monotonic() + ANSWER_TIMEOUT;
    let mut buffer = BytesMut::new();
    loop {
        match Response::take(&mut buffer) {
            Ok(response) => return Ok((socket, buffer, response)),
            Err(Error::Wire(DecodeError::Incomplete { needed })) => {
                if SystemClock.monotonic() >= deadline {
                    return Err(Error::NoAnswer(ANSWER_TIMEOUT));
                }
                socket.fill(&mut buffer, needed, deadline)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Where a redirect leads. Credentials go along only if the new address has its own.
fn redirected(from: &Url, response: &Response) -> Result<Url, Error> {
    let location = response.location.as_deref().unwrap_or_default();
    let to = from.join(location).ok().filter(|to| to.scheme() == "http");
    let to = to.ok_or_else(|| Error::Redirect(location.to_owned()))?;
    let is_same_server = to.host() == from.host() && to.port() == from.port();
    let is_elsewhere = !is_same_server && to.username() == from.username();
    Ok(if is_elsewhere {
        without_secrets(&to)
    } else {
        to
    })
}

/// The address with the wish about ages.
pub(super) fn with_max_age(url: &Url, options: &Options) -> Url {
    let mut url = url.clone();
    if let Some(max_age) = options.max_age {
        let value = format!("{}ms", max_age.as_millis());
        url.query_pairs_mut().append_pair("max_age", &value);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::wire::mjpeg::PartHead;
    use std::time::Duration;

    #[test]
    fn max_age_goes_into_the_query_only_if_wanted() {
        let url: Url = "http://cam/stream?fps=5".parse().unwrap();
        let mut options = Options::default();
        assert_eq!(with_max_age(&url, &options), url);
        options.max_age = Some(Duration::from_millis(250));
        let query = with_max_age(&url, &options);
        assert_eq!(query.as_str(), "http://cam/stream?fps=5&max_age=250ms");
    }

    #[test]
    fn redirects_stay_within_http_and_keep_secrets_at_home() {
        let from: Url = "http://me:secret@cam/a/b".parse().unwrap();
        let redirected = |location: &str| {
            let response = Response {
                status: 302,
                content_type: String::new(),
                location: Some(location.to_owned()),
                retry_after: Duration::ZERO,
                coding: Coding::Plain,
                accept: None,
            };
            redirected(&from, &response).map(String::from)
        };
        assert_eq!(redirected("c").unwrap(), "http://me:secret@cam/a/c");
        assert_eq!(redirected("//other/c").unwrap(), "http://other/c");
        for elsewhere in ["https://cam/", "ftp://cam/", "http://"] {
            assert!(matches!(redirected(elsewhere), Err(Error::Redirect(_))));
        }
    }

    #[test]
    fn a_part_that_is_no_picture_is_counted_and_takes_no_number() {
        let mut memory = Memory::default();
        let part = Part {
            head: PartHead::default(),
            data: Bytes::from_static(b"GIF89a"),
        };
        assert_eq!(memory.frame(&part, Timestamp::from_nanos(5)), None);
        assert_eq!(memory.damage.count(), 1);
    }
}
