//! The two heads of an HTTP exchange: the request we write, the response we read.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use common::DecodeError;
use common::wire::base64::base64;
use common::wire::{MAX_HEAD, ws};
use url::{Position, Url};

use super::super::Error;

const USER_AGENT: &str = concat!("framecast-receiver/", env!("CARGO_PKG_VERSION"));
const MAX_HEADERS: usize = 64;

/// The request for a stream.
pub(in crate::ingress) fn encode_request(url: &Url) -> String {
    encode(url, "Connection: close\r\n")
}

/// The request for a WebSocket.
pub(in crate::ingress) fn encode_upgrade(url: &Url, key: &str) -> String {
    let fields = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: {}\r\n\
         Sec-WebSocket-Key: {key}\r\n",
        ws::VERSION
    );
    encode(url, &fields)
}

fn encode(url: &Url, fields: &str) -> String {
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let credentials = credentials_of(url).map_or_else(String::new, |credentials| {
        format!("Authorization: Basic {}\r\n", base64(&credentials))
    });
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\n{credentials}\
         {fields}\r\n"
    )
}

/// User name and password of a URL, joined and without percent signs.
fn credentials_of(url: &Url) -> Option<Vec<u8>> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut credentials = percent_decoded(url.username());
    credentials.push(b':');
    credentials.extend(percent_decoded(url.password().unwrap_or_default()));
    Some(credentials)
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.first_chunk().filter(|_| *first == b'%').and_then(hex);
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    out
}

fn hex(&[high, low]: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// What a response head says, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`, empty if there is none.
    pub content_type: String,
    /// `Location`: where a redirect leads.
    pub location: Option<String>,
    /// `Retry-After` in whole seconds; zero if there is none, or if it is a date.
    pub retry_after: Duration,
    /// How the body is sent.
    pub coding: Coding,
    /// `Sec-WebSocket-Accept`: the proof of a handshake.
    pub accept: Option<String>,
}

/// How the body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As it is, to the end of the connection.
    Plain,
    /// In chunks, RFC 9112, section 7.1.
    Chunked,
}

impl Response {
    /// Takes the head from the front of `buffer`.
    ///
    /// # Errors
    /// `Wire(Incomplete)` until the whole head is there, `Head` if it cannot become one.
    pub fn take(buffer: &mut BytesMut) -> Result<Self, Error> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(&buffer[..buffer.len().min(MAX_HEAD)]) {
            Ok(httparse::Status::Complete(length)) => {
                let response = Self::from_parsed(&parsed);
                buffer.advance(length);
                Ok(response)
            }
            Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => {
                Err(DecodeError::Incomplete { needed: 1 }.into())
            }
            Ok(httparse::Status::Partial) => {
                Err(Error::Head(format!("a head of more than {MAX_HEAD} bytes")))
            }
            Err(error) => Err(Error::Head(error.to_string())),
        }
    }

    fn from_parsed(parsed: &httparse::Response<'_, '_>) -> Self {
        let value = |name: &str| {
            let header =
                (parsed.headers.iter()).find(|header| header.name.eq_ignore_ascii_case(name));
            header.and_then(|header| std::str::from_utf8(header.value).ok().map(str::trim))
        };
        let seconds = value("Retry-After").and_then(|value| value.parse().ok());
        let is_chunked = value("Transfer-Encoding")
            .is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"));
        Self {
            status: parsed.code.unwrap_or_default(),
            content_type: value("Content-Type").unwrap_or_default().to_owned(),
            location: value("Location").map(str::to_owned),
            retry_after: Duration::from_secs(seconds.unwrap_or(0)),
            coding: if is_chunked {
                Coding::Chunked
            } else {
                Coding::Plain
            },
            accept: value("Sec-WebSocket-Accept").map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> String {
        encode_request(&url.parse().unwrap())
    }

    #[test]
    fn requests_name_host_path_and_query() {
        let plain = request("http://cam/live/main.mjpeg?fps=5#top");
        assert!(plain.starts_with("GET /live/main.mjpeg?fps=5 HTTP/1.1\r\nHost: cam\r\n"));
        assert!(plain.ends_with("\r\nConnection: close\r\n\r\n"));
        assert!(!plain.contains("Authorization"));
        assert!(request("http://[::1]:81").contains("GET / HTTP/1.1\r\nHost: [::1]:81\r\n"));
    }

    #[test]
    fn credentials_go_into_their_own_line() {
        let request = request("http://Aladdin:open%20sesame@cam:80/");
        assert!(request.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
        assert!(request.contains("\r\nHost: cam\r\n"));
    }

    #[test]
    fn percent_signs_are_taken_out_where_they_mean_something() {
        assert_eq!(percent_decoded("a%2fb%zz%"), b"a/b%zz%");
    }

    #[test]
    fn responses_are_read_at_every_cut() {
        let head = b"HTTP/1.0 503 Busy\r\ncontent-type: multipart/x-mixed-replace;boundary=x\r\n\
            RETRY-AFTER: 7\r\nTransfer-Encoding: gzip, Chunked\r\nLocation: /there\r\n\r\n";
        for cut in 0..head.len() {
            let mut buffer = BytesMut::from(&head[..cut]);
            let error = Response::take(&mut buffer).unwrap_err();
            let is_incomplete = matches!(error, Error::Wire(DecodeError::Incomplete { .. }));
            assert!(is_incomplete, "cut at {cut}: {error}");
        }
        let mut buffer = BytesMut::from(&[&head[..], b"rest"].concat()[..]);
        let expected = Response {
            status: 503,
            content_type: "multipart/x-mixed-replace;boundary=x".to_owned(),
            location: Some("/there".to_owned()),
            retry_after: Duration::from_secs(7),
            coding: Coding::Chunked,
            accept: None,
        };
        assert_eq!(Response::take(&mut buffer).unwrap(), expected);
        assert_eq!(buffer, &b"rest"[..]);
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let refused = |text: &[u8]| Response::take(&mut BytesMut::from(text)).unwrap_err();
        assert!(matches!(refused(b"SSH-2.0-OpenSSH\r\n"), Error::Head(_)));
        let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'x'; 2 * MAX_HEAD]].concat();
        assert!(refused(&endless).to_string().contains("more than 8192"));
    }
}
