//! Who may call the API: no page of another site, no name that was bent to this machine, and to change
//! something only somebody on this very machine.
//!
//! A browser says where it thinks it is (`Host`) and whose page asks (`Origin`). A page that has its own
//! name resolve to 127.0.0.1 (DNS rebinding) is of our origin for the browser, but bears its name in
//! `Host`. A form or a plain script of another site cannot send JSON without asking first, and nobody
//! here answers that question.

use std::net::{IpAddr, SocketAddr};

/// What a call wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// To know something.
    Read,
    /// To change something.
    Change,
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who asks.
    pub peer: SocketAddr,
    /// Where it was asked.
    pub local: SocketAddr,
}

/// What a call says of itself. A field that is said twice is like one that is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What it wants.
    pub aim: Aim,
    /// Who and where.
    pub ends: Ends,
    /// Its field `Host`.
    pub host: Option<&'a str>,
    /// Its field `Origin`.
    pub origin: Option<&'a str>,
    /// Its field `Content-Type`.
    pub content_type: Option<&'a str>,
}

impl Call<'_> {
    /// Whether it may be answered.
    ///
    /// # Errors
    /// Why not, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        match self.aim {
            Aim::Read => self.check_reading(),
            Aim::Change => self.check_changing(),
        }
    }

    /// Off loopback whoever reaches this server may watch, and may call it by any name.
    fn check_reading(&self) -> Result<(), String> {
        let host = self.host.unwrap_or_default();
        if !is_loopback(self.ends.local.ip()) || is_here(split(host).0, self.ends.local) {
            return Ok(());
        }
        Err(self.foreign_host())
    }

    fn check_changing(&self) -> Result<(), String> {
        if !is_loopback(self.ends.peer.ip()) {
            let peer = self.ends.peer.ip();
            return Err(format!(
                "{peer} may not change anything: only programs on the server's own machine may"
            ));
        }
        let host = self.host.unwrap_or_default();
        if !self.is_ours(host) {
            return Err(self.foreign_host());
        }
        if let Some(origin) = self.origin {
            let page = origin.strip_prefix("http://");
            if !page.is_some_and(|page| self.is_ours(page)) {
                let right = self.right_host();
                return Err(format!(
                    "pages of {origin:?} may not change anything here; right would be http://{right}"
                ));
            }
        }
        let content_type = self.content_type.unwrap_or_default();
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        Err(format!(
            "Content-Type {content_type:?}: right would be application/json"
        ))
    }

    fn is_ours(&self, host: &str) -> bool {
        let (name, port) = split(host);
        let port = match port {
            Some(port) => port.parse().ok(),
            None => Some(80),
        };
        port == Some(self.ends.local.port()) && is_here(name, self.ends.local)
    }

    fn right_host(&self) -> String {
        format!("localhost:{}", self.ends.local.port())
    }

    fn foreign_host(&self) -> String {
        let (host, right) = (self.host.unwrap_or_default(), self.right_host());
        format!("Host {host:?} is not this server; right would be {right}")
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether this is the machine itself in words that nobody else can bend, or the very address.
fn is_here(name: &str, local: SocketAddr) -> bool {
    let ip = name.trim_start_matches('[').trim_end_matches(']').parse();
    name.eq_ignore_ascii_case("localhost")
        || ip.is_ok_and(|ip: IpAddr| is_loopback(ip) || ip == local.ip().to_canonical())
}

/// Name and port.
fn split(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(peer: &str, local: &str) -> Ends {
        Ends {
            peer: peer.parse().unwrap(),
            local: local.parse().unwrap(),
        }
    }

    fn near() -> Ends {
        ends("127.0.0.1:50000", "127.0.0.1:8080")
    }

    fn changing(host: &'static str) -> Call<'static> {
        Call {
            aim: Aim::Change,
            ends: near(),
            host: Some(host),
            origin: None,
            content_type: Some("application/json; charset=utf-8"),
        }
    }

    fn reading(host: &'static str) -> Call<'static> {
        Call {
            aim: Aim::Read,
            content_type: None,
            ..changing(host)
        }
    }

    #[test]
    fn names_of_this_machine_are_ours() {
        for host in [
            "localhost:8080",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
        ] {
            assert_eq!(changing(host).check(), Ok(()), "{host}");
            assert_eq!(reading(host).check(), Ok(()), "{host}");
        }
        assert_eq!(
            reading("localhost:9000").check(),
            Ok(()),
            "a forwarded port"
        );
    }

    #[test]
    fn a_name_that_was_bent_to_this_machine_learns_nothing() {
        for host in [
            "evil.example:8080",
            "evil.example",
            "127.0.0.1.evil.example:8080",
            "localhost.evil.example:8080",
            "192.168.1.5:8080",
            "",
            ":8080",
            "[]:8080",
        ] {
            assert!(reading(host).check().is_err(), "{host}");
            assert!(changing(host).check().is_err(), "{host}");
        }
        let nameless = Call {
            host: None,
            ..reading("")
        };
        let text = nameless.check().unwrap_err();
        assert_eq!(
            text,
            "Host \"\" is not this server; right would be localhost:8080"
        );
    }

    #[test]
    fn changes_need_our_port() {
        for host in ["localhost:9000", "localhost", "localhost:", "localhost:x"] {
            assert!(changing(host).check().is_err(), "{host}");
        }
        let plain = Call {
            ends: ends("127.0.0.1:50000", "127.0.0.1:80"),
            ..changing("localhost")
        };
        assert_eq!(plain.check(), Ok(()));
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let from = |origin| Call {
            origin: Some(origin),
            ..changing("127.0.0.1:8080")
        };
        for origin in ["http://127.0.0.1:8080", "http://localhost:8080"] {
            assert_eq!(from(origin).check(), Ok(()), "{origin}");
        }
        for origin in [
            "null",
            "http://evil.example",
            "http://evil.example:8080",
            "http://localhost:9000",
            "https://localhost:8080",
            "",
        ] {
            assert!(from(origin).check().is_err(), "{origin}");
        }
    }

    #[test]
    fn what_a_form_can_send_changes_nothing() {
        for content_type in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("text/plain; application/json"),
        ] {
            let call = Call {
                content_type,
                ..changing("localhost:8080")
            };
            assert!(call.check().is_err(), "{content_type:?}");
        }
    }

    #[test]
    fn others_may_read_what_is_open_and_change_nothing() {
        let open = ends("192.168.1.9:50000", "192.168.1.5:8080");
        let called = |host| Call {
            ends: open,
            ..reading(host)
        };
        assert_eq!(called("camera.lan:8080").check(), Ok(()));
        let text = Call {
            ends: open,
            ..changing("192.168.1.5:8080")
        };
        let text = text.check().unwrap_err();
        assert!(text.starts_with("192.168.1.9 may not change"), "{text}");
        let mapped = ends("[::ffff:127.0.0.1]:50000", "[::ffff:127.0.0.1]:8080");
        let call = Call {
            ends: mapped,
            ..changing("localhost:8080")
        };
        assert_eq!(call.check(), Ok(()));
    }
}
