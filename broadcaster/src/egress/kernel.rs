//! What the kernel knows of a connection (`TCP_INFO`). Read only when somebody asks.

use std::net::TcpStream;
use std::time::Duration;

/// A connection as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Bytes that wait to be sent.
    pub unsent: u32,
    /// Packets sent and not acknowledged.
    pub in_flight: u32,
    /// Packets that were sent again.
    pub resent: u32,
    /// The round trip, smoothed.
    pub round_trip: Duration,
}

/// What the kernel says of this connection; `None` if it does not.
#[must_use]
pub fn line(stream: &TcpStream) -> Option<Line> {
    #[cfg(target_os = "linux")]
    return linux::line(stream);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = stream;
        None
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Duration, Line, TcpStream};

    use nix::sys::socket::getsockopt;
    use nix::{getsockopt_impl, libc, sockopt_impl};

    /// The beginning of `struct tcp_info` in linux/tcp.h, as far as every kernel since 4.9 has it. A
    /// newer one fills as much as is asked for.
    #[repr(C)]
    #[derive(Debug, Clone, Copy)]
    #[expect(unreachable_pub, reason = "what the macro makes of it is public")]
    pub struct TcpInfo {
        state: [u8; 8],
        rto: u32,
        ato: u32,
        snd_mss: u32,
        rcv_mss: u32,
        unacked: u32,
        lost: [u32; 10],
        rtt: u32,
        rttvar: u32,
        windows: [u32; 6],
        total_retrans: u32,
        bytes: [u64; 4],
        segments: [u32; 2],
        notsent_bytes: u32,
        min_rtt: u32,
    }

    // tcp(7).
    sockopt_impl!(
        /// Figures of a connection.
        Info,
        GetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        TcpInfo
    );

    pub(super) fn line(stream: &TcpStream) -> Option<Line> {
        let info = getsockopt(stream, Info).ok()?;
        Some(Line {
            unsent: info.notsent_bytes,
            in_flight: info.unacked,
            resent: info.total_retrans,
            round_trip: Duration::from_micros(info.rtt.into()),
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn what_is_not_read_waits_and_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(b"hello").unwrap();
        far.read_exact(&mut [0; 5]).unwrap();
        let calm = line(&near).unwrap();
        assert_eq!(calm.unsent, 0);
        assert!(calm.round_trip > Duration::ZERO && calm.round_trip < Duration::from_secs(1));
        near.set_nonblocking(true).unwrap();
        let chunk = [0; 65_536];
        while near.write(&chunk).is_ok() {}
        let stuck = line(&near).unwrap();
        assert!(stuck.unsent > 0, "{stuck:?}");
    }
}
