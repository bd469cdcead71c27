//! What the kernel holds for TCP sockets: memory that no process's figures contain.
//!
//! A slow viewer costs the server's process next to nothing and the kernel up to a full send
//! buffer, so a memory figure per viewer without this one would flatter the server.

use std::io;

use super::{Error, parse, read};

const IPV4: &str = "/proc/net/sockstat";
const IPV6: &str = "/proc/net/sockstat6";

/// The kernel's TCP sockets and their buffers, now. Levels, not counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketMemory {
    /// Bytes of buffers, sent and received, of all TCP sockets of the whole machine (IPv4 and
    /// IPv6, every network namespace): whole pages, as the kernel accounts for them.
    ///
    /// Since Linux 6.0 each processor keeps up to `net.core.mem_pcpu_rsv` pages (256: 1 MiB of
    /// 4 KiB pages) out of this sum, so a difference between two readings is off by up to that
    /// much per processor: compare levels that differ by more.
    pub bytes: u64,
    /// TCP sockets in use in this network namespace, IPv4 and IPv6, listeners included,
    /// TIME_WAIT excluded.
    pub in_use: u64,
    /// TCP sockets that no process holds any more and that still have bytes to send: they keep
    /// their buffers.
    pub orphaned: u64,
    /// TCP connections in TIME_WAIT: closed, no buffers.
    pub time_wait: u64,
}

/// Reads the kernel's TCP memory from `/proc/net/sockstat` (and the number of IPv6 sockets from
/// `sockstat6`, where the kernel has IPv6).
///
/// # Errors
/// [`Error::Read`] and [`Error::Format`], both with the path.
pub fn socket_memory() -> Result<SocketMemory, Error> {
    let ipv4 = read(IPV4)?;
    let ipv6 = match read(IPV6) {
        Err(Error::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let page_bytes = rustix::param::page_size() as u64;
    from_text(&ipv4, &ipv6, page_bytes).map_err(|missing| Error::Format {
        path: IPV4.to_owned(),
        missing,
    })
}

fn from_text(ipv4: &str, ipv6: &str, page_bytes: u64) -> Result<SocketMemory, &'static str> {
    let tcp = |name: &'static str| parse::named(ipv4, "TCP:", name).ok_or(name);
    let in_use_ipv6 = parse::named(ipv6, "TCP6:", "inuse").unwrap_or(0);
    Ok(SocketMemory {
        bytes: tcp("mem")?.saturating_mul(page_bytes),
        in_use: tcp("inuse")?.saturating_add(in_use_ipv6),
        orphaned: tcp("orphan")?,
        time_wait: tcp("tw")?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn pages_become_bytes_and_both_families_count() {
        let ipv4 = "sockets: used 19\nTCP: inuse 3 orphan 4 tw 2 alloc 5 mem 186\n";
        let wanted = SocketMemory {
            bytes: 186 * 4096,
            in_use: 3,
            orphaned: 4,
            time_wait: 2,
        };
        assert_eq!(from_text(ipv4, "", 4096), Ok(wanted));
        let both = from_text(ipv4, "TCP6: inuse 7\nUDP6: inuse 1\n", 4096);
        assert_eq!(both.map(|memory| memory.in_use), Ok(10));
        assert_eq!(
            from_text("TCP: inuse 3 orphan 4 tw 2\n", "", 4096),
            Err("mem")
        );
    }

    /// Fills both buffers of a connection that nobody reads; returns its ends and the bytes.
    fn stuffed(listener: &TcpListener) -> (TcpStream, TcpStream, u64) {
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        let chunk = [0; 65_536];
        let mut bytes = 0;
        while let Ok(count) = near.write(&chunk) {
            bytes += count as u64;
        }
        (near, far, bytes)
    }

    #[test]
    fn stuffed_connections_show() {
        // Far above what the processors keep out of the sum.
        const WANTED: u64 = 32 << 20;
        const ATTEMPTS: usize = 5;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // The sum is the whole machine's: another program may free its buffers meanwhile.
        let shows = (0..ATTEMPTS).any(|_| {
            let before = socket_memory().unwrap();
            let mut connections = Vec::new();
            let mut bytes = 0;
            while bytes < WANTED {
                let connection = stuffed(&listener);
                bytes += connection.2;
                connections.push(connection);
            }
            let after = socket_memory().unwrap();
            after.bytes > before.bytes + bytes / 2
                && after.in_use >= before.in_use + connections.len() as u64
        });
        assert!(shows, "{:?}", socket_memory());
    }
}
