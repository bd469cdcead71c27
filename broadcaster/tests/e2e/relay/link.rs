//! A line between two programs that is slower than loopback: everything takes longer, or no more
//! than so many bytes a second get through to the one who connected.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// Pieces on their way; as good as no bound at the rates used here.
const MOST_PIECES: usize = 1 << 12;
const PIECE_BYTES: usize = 8 << 10;
/// Small, so that what does not get through waits at the server, which can skip it.
const RECEIVE_BUFFER: usize = 32 << 10;

/// What a line does to what the server sends.
#[derive(Clone, Copy)]
pub(crate) enum Line {
    /// Everything arrives this much later.
    Long(Duration),
    /// No more than this many bytes a second.
    Thin(u32),
}

/// Opens a line to `server`; where to connect. It lasts as long as the test.
pub(crate) fn open(server: SocketAddr, line: Line) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for viewer in listener.incoming() {
            let viewer = viewer.unwrap();
            thread::spawn(move || carry(&viewer, &connect(server).unwrap(), line));
        }
    });
    addr
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// Carries both ways until either side leaves; then the other one is told.
fn carry(viewer: &TcpStream, server: &TcpStream, line: Line) {
    viewer.set_nodelay(true).unwrap();
    let (sender, pieces) = mpsc::sync_channel(MOST_PIECES);
    thread::scope(|scope| {
        scope.spawn(|| {
            drop(io::copy(&mut &*viewer, &mut &*server));
            hang_up(viewer, server);
        });
        scope.spawn(|| {
            drop(deliver(viewer, pieces));
            hang_up(viewer, server);
        });
        let mut piece = [0; PIECE_BYTES];
        while let Ok(count @ 1..) = (&*server).read(&mut piece) {
            let due = match line {
                Line::Long(delay) => Instant::now() + delay,
                Line::Thin(rate) => {
                    let bytes = u32::try_from(count).unwrap();
                    thread::sleep(Duration::from_secs(1) * bytes / rate);
                    Instant::now()
                }
            };
            if sender.send((due, piece[..count].to_vec())).is_err() {
                break;
            }
        }
        drop(sender);
    });
}

fn deliver(mut viewer: &TcpStream, pieces: Receiver<(Instant, Vec<u8>)>) -> io::Result<()> {
    for (due, piece) in pieces {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        viewer.write_all(&piece)?;
    }
    Ok(())
}

fn hang_up(viewer: &TcpStream, server: &TcpStream) {
    // Whoever has left already need not be told.
    drop(viewer.shutdown(Shutdown::Both));
    drop(server.shutdown(Shutdown::Both));
}
