//! One connection, whatever the protocol, and what is kept from one to the next.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use common::{Frame, Head, Monotonic, Timestamp};

use super::damage::Damage;
use super::offset::ClockOffset;
use super::source::Source;
use super::{Error, Options, exchange, http, tcp, ws};
use crate::broker::Line;

/// A connection on which the server sends frames.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp(tcp::Connection),
    Http(http::Connection),
    Ws(ws::Connection),
    Exchange(Box<exchange::Connection>),
}

/// What outlives a connection.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) numbering: http::Numbering,
    /// Messages and parts that were left out.
    pub(super) damage: Damage,
    /// The task to wake when there is something to take; without one the calling thread sleeps until then.
    pub(super) task: Option<Waker>,
}

impl Connection {
    /// The connection number `dial` since the beginning; blocks for some seconds at most.
    pub(super) fn open(source: &Source, options: &Options, dial: usize) -> Result<Self, Error> {
        match source {
            Source::Tcp(tcp) => tcp::Connection::open(tcp, options).map(Self::Tcp),
            Source::Http(url) => http::Connection::open(url, options).map(Self::Http),
            Source::Ws(url) => ws::Connection::open(url, options).map(Self::Ws),
            Source::Amqp(amqp) => {
                let connection = exchange::Connection::open(amqp, dial)?;
                Ok(Self::Exchange(Box::new(connection)))
            }
        }
    }

    /// The frames of the next payload, waiting for it until the deadline.
    pub(super) fn poll(
        &mut self,
        memory: &mut Memory,
        deadline: Monotonic,
    ) -> Result<Option<Vec<Frame>>, Error> {
        match self {
            Self::Tcp(connection) => connection.poll(deadline),
            Self::Http(connection) => connection.poll(memory, deadline),
            Self::Ws(connection) => connection.poll(deadline),
            Self::Exchange(connection) => connection.poll(memory, deadline),
        }
    }

    /// The thread on which a broker's messages come.
    pub(super) fn line(&self) -> Option<&Arc<Line>> {
        match self {
            Self::Exchange(connection) => Some(connection.line()),
            Self::Tcp(_) | Self::Http(_) | Self::Ws(_) => None,
        }
    }

    /// Ends it, as a task.
    pub(super) async fn close(self) {
        match self {
            Self::Exchange(connection) => connection.close().await,
            Self::Tcp(_) | Self::Http(_) | Self::Ws(_) => {}
        }
    }

    /// How far the server's clock is ahead of ours, if it says.
    pub(super) fn clock_offset(&self) -> Option<ClockOffset> {
        match self {
            Self::Tcp(connection) => connection.clock_offset(),
            Self::Ws(connection) => connection.clock_offset(),
            Self::Http(_) | Self::Exchange(_) => None,
        }
    }

    /// How old a frame was that arrived at `arrived_at` of our wall clock, if that can be known.
    pub(super) fn age(&self, head: &Head, arrived_at: Timestamp) -> Option<Duration> {
        match self {
            Self::Tcp(_) | Self::Ws(_) => {
                let offset = self.clock_offset()?;
                Some(offset.age(head.captured_at, arrived_at))
            }
            Self::Http(connection) if !connection.is_dated() => None,
            Self::Http(_) | Self::Exchange(_) => Some(arrived_at.since(head.captured_at)),
        }
    }
}
