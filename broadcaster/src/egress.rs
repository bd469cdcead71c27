//! Payloads leave: from the ring over the network to each viewer.
//!
//! ```text
//! accept   takes connections, reads who wants what ──► a Viewer ──► multiplex   moves its bytes
//!                                                 └─► pages       everything that is not a stream
//! ```
//!
//! A [`viewer::Viewer`] is one peer as a state machine without any I/O; [`framing`] makes the bytes
//! that all viewers of a protocol share; a driver moves bytes between viewers and sockets.

pub mod accept;
pub mod ages;
pub mod framing;
pub mod multiplex;
pub mod pages;
pub mod viewer;

/// What a viewer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The native protocol.
    Tcp,
    /// Motion JPEG over HTTP.
    Http,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
        })
    }
}
