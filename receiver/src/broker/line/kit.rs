//! The runtime that lapin is given for a line: tokio, but for the socket, which is connected before.
//!
//! What lapin spawns rings the line each time it was polled, and ends when somebody hangs up: lapin itself
//! leaves its tasks behind for good if a connection does not come about.

use std::future::ready;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::{Task, TaskImpl};
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::{Line, Socket};

/// What lapin waits for on the connection's own thread (the handshake of TLS, the goodbye of one that has
/// fallen silent) may take so long.
const LONGEST_BLOCK: Duration = Duration::from_secs(5);

/// tokio with a socket that sleeps, for one connection.
#[derive(Debug, Clone)]
pub(crate) struct Kit {
    line: Arc<Line>,
    tokio: Tokio,
}

impl Kit {
    /// For the connection of this line.
    pub(crate) fn new(line: Arc<Line>) -> Self {
        let tokio = Tokio::default().with_handle(line.runtime.clone());
        Self { line, tokio }
    }
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = Spawned<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.tokio.block_on(self.line.within(LONGEST_BLOCK, future))
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        let future = self.line.clone().ringing_until_end(future);
        Spawned(self.line.runtime.spawn(future)).into()
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        let work = move || Some(work());
        Spawned(self.line.runtime.spawn_blocking(work)).into()
    }
}

impl Reactor for Kit {
    type TcpStream = Socket;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        // There is nothing but the line's socket.
        Err::<Socket, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, every: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(every)
    }

    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Socket>> + Send + 'static {
        ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

/// A task of lapin's. One that was ended early never has an output.
#[derive(Debug)]
pub(crate) struct Spawned<T>(JoinHandle<Option<T>>);

impl<T: Send + 'static> TaskImpl for Spawned<T> {}

impl<T> Future for Spawned<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match pin!(&mut self.0).poll(context) {
            Poll::Ready(Ok(Some(output))) => Poll::Ready(output),
            Poll::Ready(Ok(None) | Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}
