//! The socket of a line. Asked for more when there is nothing, it sleeps until something has come or the
//! line is rung, instead of telling somebody else to watch it.
//!
//! lapin goes round: it writes what is queued, reads until there is no more, takes apart what it read. Any
//! of these may leave something to write or a guest to poll, so the socket sleeps only when it is asked
//! for the second time with nothing having happened in between; until then it says that there is nothing
//! yet and that lapin should ask again.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Token};

use super::{Line, lock};

const SOCKET: Token = Token(0);
const BELL: Token = Token(1);
/// There is one socket and one bell.
const MAX_EVENTS: usize = 2;

/// What wakes a socket that sleeps.
#[derive(Debug)]
pub(super) struct Alarm(mio::Waker);

impl Alarm {
    /// Ends its sleep, or the next one.
    pub(super) fn wake(&self) {
        // Whoever rings has nobody to tell; the next message or heartbeat wakes it too.
        let _ = self.0.wake();
    }
}

/// A connected socket. It is read and written by one thread only, that of the connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    line: Arc<Line>,
    poll: mio::Poll,
    events: Events,
    /// Whether there may be bytes to read.
    is_readable: bool,
    /// Whether lapin may have something to do before it sleeps.
    is_restless: bool,
    /// Whom to tell when there is room to write again.
    writer: Option<Waker>,
}

impl Socket {
    /// The one socket of this line, on a stream that is connected.
    pub(crate) fn new(stream: net::TcpStream, line: Arc<Line>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = TcpStream::from_std(stream);
        let poll = mio::Poll::new()?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, SOCKET, both)?;
        let alarm = Alarm(mio::Waker::new(poll.registry(), BELL)?);
        *lock(&line.alarm) = Some(alarm);
        Ok(Self {
            stream,
            line,
            poll,
            events: Events::with_capacity(MAX_EVENTS),
            is_readable: true,
            is_restless: true,
            writer: None,
        })
    }

    /// Reads what is there, or sleeps until something is or the line is rung.
    fn read(
        &mut self,
        context: &Context<'_>,
        mut read: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.line.has_hung_up() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        loop {
            self.is_restless |= self.line.poll_guests();
            if self.is_readable {
                match without_interruption(|| read(&mut self.stream)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.is_readable = false;
                    }
                    outcome => {
                        self.is_restless = true;
                        return Poll::Ready(outcome);
                    }
                }
            }
            if self.is_restless || !self.line.may_sleep() {
                self.is_restless = false;
                self.line.listen();
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let slept = self.sleep();
            self.line.listen();
            slept?;
        }
    }

    /// Sleeps until there is something to do.
    fn sleep(&mut self) -> io::Result<()> {
        without_interruption(|| self.poll.poll(&mut self.events, None))?;
        // A bell, or room to write: lapin's to look at. Bytes are seen by themselves.
        self.is_restless = true;
        for event in self.events.iter().filter(|event| event.token() == SOCKET) {
            self.is_readable |= is_worth_reading(event);
            if event.is_writable()
                && let Some(writer) = self.writer.take()
            {
                writer.wake();
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        context: &Context<'_>,
        mut write: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.line.has_hung_up() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match without_interruption(|| write(&mut self.stream)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writer = Some(context.waker().clone());
                Poll::Pending
            }
            outcome => Poll::Ready(outcome),
        }
    }
}

/// Whether a read would say something, be it the end.
fn is_worth_reading(event: &Event) -> bool {
    event.is_readable() || event.is_read_closed() || event.is_error()
}

fn without_interruption<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = |stream: &mut TcpStream| stream.read(buffer);
        self.get_mut().read(context, read)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let read = |stream: &mut TcpStream| stream.read_vectored(buffers);
        self.get_mut().read(context, read)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = |stream: &mut TcpStream| stream.write(bytes);
        self.get_mut().write(context, write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = |stream: &mut TcpStream| stream.write_vectored(pieces);
        self.get_mut().write(context, write)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is held back.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(net::Shutdown::Write))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.line.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, poll_fn, ready};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;
    use std::task::Wake;
    use std::thread::{self, JoinHandle, ThreadId};

    use tokio::runtime::{Builder, Runtime};

    use super::super::ASLEEP;

    /// A waker that counts.
    #[derive(Default)]
    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A connection with a thread that goes round as lapin's does, up to the end of the stream.
    struct Connection {
        line: Arc<Line>,
        peer: net::TcpStream,
        /// What was queued, and the last of that which the thread has seen.
        queued: Arc<AtomicU64>,
        seen: Arc<AtomicU64>,
        read: mpsc::Receiver<Vec<u8>>,
        thread: JoinHandle<io::Error>,
        runtime: Runtime,
    }

    impl Connection {
        fn new() -> Self {
            let (runtime, line, mut socket, peer) = connected();
            let (queued, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let (sender, read) = mpsc::channel();
            let (queue, found) = (queued.clone(), seen.clone());
            let thread = thread::spawn(move || {
                let (count, mut buffer) = (Arc::new(Count::default()), [0; 64]);
                let waker = Waker::from(count.clone());
                let mut context = Context::from_waker(&waker);
                for round in 1.. {
                    found.store(queue.load(Ordering::SeqCst), Ordering::SeqCst);
                    loop {
                        let read = Pin::new(&mut socket).poll_read(&mut context, &mut buffer);
                        match read {
                            Poll::Ready(Ok(0)) => return io::ErrorKind::UnexpectedEof.into(),
                            Poll::Ready(Ok(count)) => sender.send(buffer[..count].into()).unwrap(),
                            Poll::Ready(Err(error)) => return error,
                            Poll::Pending => break,
                        }
                    }
                    assert_eq!(
                        count.0.load(Ordering::SeqCst),
                        round,
                        "wants to be asked again"
                    );
                }
                unreachable!("there are more rounds than anybody waits for");
            });
            Self {
                line,
                peer,
                queued,
                seen,
                read,
                thread,
                runtime,
            }
        }

        fn wait_until_asleep(&self) {
            while self.line.bell.load(Ordering::SeqCst) != ASLEEP {
                thread::yield_now();
            }
        }
    }

    fn connected() -> (Runtime, Arc<Line>, Socket, net::TcpStream) {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build();
        let runtime = runtime.unwrap();
        let line = Line::new(runtime.handle().clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket::new(stream, line.clone()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        (runtime, line, socket, peer)
    }

    #[test]
    fn bytes_wake_it_and_so_does_their_end() {
        let mut connection = Connection::new();
        for bytes in [b"one", b"two"] {
            connection.wait_until_asleep();
            connection.peer.write_all(bytes).unwrap();
            assert_eq!(connection.read.recv().unwrap(), bytes);
        }
        connection.wait_until_asleep();
        drop(connection.peer);
        let error = connection.thread.join().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn whoever_rings_is_heard_asleep_or_not() {
        let connection = Connection::new();
        for number in 1..=50_000 {
            connection.queued.store(number, Ordering::SeqCst);
            connection.line.ring();
            if number % 100 == 0 {
                while connection.seen.load(Ordering::SeqCst) < number {
                    thread::yield_now();
                }
            }
            if number % 1_000 == 0 {
                connection.wait_until_asleep();
            }
        }
    }

    #[test]
    fn whoever_hangs_up_ends_it() {
        let connection = Connection::new();
        connection.wait_until_asleep();
        connection.line.hang_up();
        let error = connection.thread.join().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[test]
    fn lapins_tasks_end_when_somebody_hangs_up() {
        let (runtime, line, _socket, _peer) = connected();
        let tasks = [1, 2].map(|_| runtime.spawn(line.clone().ringing_until_end(pending::<()>())));
        assert_eq!(
            runtime.block_on(line.clone().ringing_until_end(ready(7))),
            Some(7)
        );
        line.hang_up();
        for task in tasks {
            assert_eq!(runtime.block_on(task).unwrap(), None);
        }
        // Those that begin too late, too.
        let late = line.clone().ringing_until_end(pending::<()>());
        assert_eq!(runtime.block_on(late), None);
    }

    #[test]
    fn what_takes_too_long_ends_the_connection() {
        let (runtime, line, mut socket, _peer) = connected();
        let until_refused =
            poll_fn(
                |context| match Pin::new(&mut socket).poll_write(context, &[7; 4_096]) {
                    Poll::Ready(Ok(_)) => {
                        context.waker().wake_by_ref();
                        Poll::Pending
                    }
                    polled => polled,
                },
            );
        let limit = std::time::Duration::from_millis(50);
        let outcome = runtime.block_on(line.within(limit, until_refused));
        assert_eq!(
            outcome.unwrap_err().kind(),
            io::ErrorKind::ConnectionAborted
        );
    }

    /// Tells the thread that polls it, each time it is woken.
    fn tell_thread(told: mpsc::Sender<(ThreadId, Waker)>) -> impl Future<Output = ()> {
        poll_fn(move |context| {
            let told = told.send((thread::current().id(), context.waker().clone()));
            told.map_or(Poll::Ready(()), |()| Poll::Pending)
        })
    }

    #[test]
    fn guests_are_polled_on_its_thread_and_elsewhere_once_it_is_gone() {
        let connection = Connection::new();
        let (sender, told) = mpsc::channel();
        let line = connection.line.clone();
        let run = async move { line.run(tell_thread(sender)).await };
        let running = connection.runtime.spawn(run);
        let (first, waker) = told.recv().unwrap();
        assert_eq!(first, connection.thread.thread().id());
        connection.wait_until_asleep();
        waker.wake_by_ref();
        assert_eq!(told.recv().unwrap().0, first);
        drop(connection.peer);
        connection.thread.join().unwrap();
        waker.wake_by_ref();
        assert_ne!(told.recv().unwrap().0, first);
        drop(told);
        waker.wake();
        assert_eq!(connection.runtime.block_on(running).unwrap(), Some(()));
    }

    #[test]
    fn a_guest_whose_thread_ends_before_its_turn_is_polled_all_the_same() {
        let (runtime, line, socket, _peer) = connected();
        let run = async move { line.run(async { 7 }).await };
        let running = runtime.spawn(run);
        drop(socket);
        assert_eq!(runtime.block_on(running).unwrap(), Some(7));
    }

    #[test]
    fn a_panic_ends_the_guest_and_nobody_else() {
        let mut connection = Connection::new();
        let line = connection.line.clone();
        let run = async move { line.run(async { panic!("of a test") }).await };
        let running = connection.runtime.spawn(run);
        let output: Option<()> = connection.runtime.block_on(running).unwrap();
        assert_eq!(output, None);
        connection.peer.write_all(b"more").unwrap();
        assert_eq!(connection.read.recv().unwrap(), b"more");
    }

    #[test]
    fn room_to_write_is_told() {
        let (_runtime, _line, mut socket, mut peer) = connected();
        let [reads, writes] = [(); 2].map(|()| Arc::new(Count::default()));
        let [reader, writer] = [&reads, &writes].map(|count| Waker::from(count.clone()));
        let mut written = 0;
        let mut context = Context::from_waker(&writer);
        while let Poll::Ready(count) = Pin::new(&mut socket).poll_write(&mut context, &[7; 4_096]) {
            written += count.unwrap();
        }
        let drain = thread::spawn(move || {
            let mut left = vec![0; written];
            peer.read_exact(&mut left).unwrap();
            peer
        });
        let mut context = Context::from_waker(&reader);
        while writes.0.load(Ordering::SeqCst) == 0 {
            let polled = Pin::new(&mut socket).poll_read(&mut context, &mut [0; 8]);
            assert!(polled.is_pending());
        }
        let _peer = drain.join().unwrap();
        let mut context = Context::from_waker(&writer);
        let polled = Pin::new(&mut socket).poll_write(&mut context, &[7; 4_096]);
        assert!(matches!(polled, Poll::Ready(Ok(1..))));
    }
}
