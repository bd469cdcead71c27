//! The thread that sends frames at the rate the host has chosen.
//!
//! A frame is cut into payloads, each with a header of two bytes and as large as the transfer it
//! answers (UVC 1.0a, section 2.4.3.2.2). A host that is too slow makes frames come later; none is
//! numbered that is not sent. So a gap in the numbers is a frame that was lost on the way.

use std::thread;
use std::time::{Duration, Instant};

use crate::camera::{Camera, Session, Turn};
use crate::faults::Treatment;
use crate::frames::Album;
use crate::journal::say;
use crate::usbip::{self, Status, TRANSFER_BYTES};

/// Bytes of a payload header without clocks.
const HEADER_BYTES: u8 = 2;
// Bits of its second byte.
const FRAME_ID: u8 = 0x01;
const END_OF_FRAME: u8 = 0x02;
const ERROR: u8 = 0x40;
const END_OF_HEADER: u8 = 0x80;

/// Sends frames for ever, whenever the host wants a stream.
pub(crate) fn run(camera: &Camera) {
    let mut streamer = Streamer {
        camera,
        album: Album::default(),
        sequence: 0,
        frame_id: 0,
    };
    loop {
        streamer.stream(&camera.next_session());
    }
}

struct Streamer<'a> {
    camera: &'a Camera,
    album: Album,
    /// Of the next frame; goes on for as long as the program runs.
    sequence: u64,
    /// Changes with every frame, so that the host sees where one ends.
    frame_id: u8,
}

impl Streamer<'_> {
    fn stream(&mut self, session: &Session) {
        let mode = session.mode;
        let lengths: Vec<usize> = self.album.pictures(mode).iter().map(Vec::len).collect();
        let (width, height) = mode.size();
        let interval = Duration::from_nanos(u64::from(mode.interval) * 100);
        say(&format!(
            "streams {:?} {width}x{height} every {interval:?} from frame {}, pictures of {lengths:?} bytes",
            mode.encoding, self.sequence
        ));
        let mut due = Instant::now();
        loop {
            due = wait_until(due + interval);
            match self.camera.turn(session) {
                Turn::Over => break,
                Turn::Pause => {}
                Turn::Send(treatment) => self.send(session, treatment),
            }
        }
        say(&format!("streamed up to frame {}", self.sequence));
    }

    fn send(&mut self, session: &Session, treatment: Treatment) {
        let mut frame = self.album.frame(session.mode, self.sequence);
        self.sequence += 1;
        if treatment.dropped {
            return;
        }
        if treatment.truncated {
            frame.truncate(frame.len() / 3);
        }
        self.frame_id ^= FRAME_ID;
        let error = if treatment.damaged { ERROR } else { 0 };
        let flags = END_OF_HEADER | self.frame_id | error;
        let mut rest = &frame[..];
        while !rest.is_empty() {
            let Some(transfer) = self.camera.next_transfer(session) else {
                return;
            };
            let room = transfer.bytes.min(TRANSFER_BYTES) - usize::from(HEADER_BYTES);
            let (part, after) = rest.split_at(room.min(rest.len()));
            rest = after;
            let last = if rest.is_empty() { END_OF_FRAME } else { 0 };
            let payload = [&[HEADER_BYTES, flags | last], part].concat();
            session
                .wire
                .send(&usbip::answer(transfer.number, Status::Done, &payload));
        }
    }
}

/// Waits until then, or not at all if it is late; returns what counts as that moment.
fn wait_until(due: Instant) -> Instant {
    let now = Instant::now();
    thread::sleep(due.saturating_duration_since(now));
    due.max(now)
}
