//! The camera as all threads see it: plugged in or not, what it streams, what is wrong with it.
//!
//! One thread serves the kernel's requests for as long as the camera is plugged in
//! ([`Camera::plug`]), one sends frames ([`crate::stream`]), and the main thread does what it is
//! told ([`crate::commands`]). A stream that was begun anew, or a camera that was plugged in anew,
//! is another [`Session`]: what belongs to an earlier one has no effect on it.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use crate::control::{Control, Effect};
use crate::descriptors::VIDEO_ENDPOINT;
use crate::faults::{Faults, Treatment};
use crate::formats::{Mode, Offer};
use crate::journal::say;
use crate::usbip::{self, Request, Status};
use crate::vhci;

/// Most transfers that the kernel has waiting at once; `uvcvideo` has five.
const MAX_TRANSFERS: usize = 64;
/// A transfer below this has no room for a payload header and a byte.
const MIN_TRANSFER_BYTES: usize = 16;

/// A transfer the host waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    /// The request's number.
    pub(crate) number: u32,
    /// Most bytes it takes.
    pub(crate) bytes: usize,
}

/// The connection to the kernel.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: UnixStream,
    /// Held while a message is written, so that messages stay whole.
    writing: Mutex<()>,
}

impl Wire {
    /// Sends a message. When the connection is gone nobody misses it.
    pub(crate) fn send(&self, message: &[u8]) {
        let _writing = self.writing.lock().expect("no thread panics while writing");
        let _ = (&self.stream).write_all(message);
    }
}

/// A stream from its start to its end.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    number: u64,
    /// What is sent.
    pub(crate) mode: Mode,
    /// Where it is sent.
    pub(crate) wire: Arc<Wire>,
}

/// Whether the next frame is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Yes, and like this.
    Send(Treatment),
    /// Not now: the camera is stalled, or the host does not ask for anything.
    Pause,
    /// No: the session has ended.
    Over,
}

#[derive(Debug, Default)]
struct State {
    wire: Option<Arc<Wire>>,
    /// Counts the sessions, and their ends.
    session: u64,
    mode: Option<Mode>,
    transfers: VecDeque<Transfer>,
    faults: Faults,
}

/// The camera.
#[derive(Debug, Default)]
pub(crate) struct Camera {
    offer: Offer,
    state: Mutex<State>,
    changed: Condvar,
}

impl Camera {
    /// A camera with these encodings, not plugged in.
    pub(crate) fn new(offer: Offer) -> Self {
        Self {
            offer,
            ..Self::default()
        }
    }

    /// Plugs the camera in; a thread then serves the kernel until it is unplugged. What is wrong
    /// with it remains, except for counted faults.
    pub(crate) fn plug(self: &Arc<Self>) -> Result<(), vhci::Error> {
        let stream = vhci::plug()?;
        let wire = Arc::new(Wire {
            stream: stream.try_clone()?,
            writing: Mutex::default(),
        });
        self.change(|state| {
            let Faults {
                stalled, silent, ..
            } = state.faults;
            state.end_session();
            state.wire = Some(Arc::clone(&wire));
            state.faults = Faults {
                stalled,
                silent,
                ..Faults::default()
            };
        });
        say("plugged in");
        let camera = Arc::clone(self);
        thread::spawn(move || camera.serve(stream, &wire));
        Ok(())
    }

    /// Unplugs the camera. Nothing happens if it is not plugged in.
    pub(crate) fn unplug(&self) {
        let Some(wire) = self.change(|state| state.wire.take()) else {
            return;
        };
        // Fails only if the kernel was faster.
        let _ = wire.stream.shutdown(Shutdown::Both);
    }

    /// Changes what is wrong with the camera.
    pub(crate) fn set_faults(&self, set: impl FnOnce(&mut Faults)) {
        self.change(|state| set(&mut state.faults));
    }

    /// Waits until the host wants a stream.
    pub(crate) fn next_session(&self) -> Session {
        let mut state = self.lock();
        loop {
            if let (Some(mode), Some(wire)) = (state.mode, &state.wire) {
                return Session {
                    number: state.session,
                    mode,
                    wire: Arc::clone(wire),
                };
            }
            state = self.wait(state);
        }
    }

    /// Whether the next frame of a session is sent.
    pub(crate) fn turn(&self, session: &Session) -> Turn {
        let mut state = self.lock();
        if state.session != session.number {
            Turn::Over
        } else if state.faults.stalled || state.transfers.is_empty() {
            Turn::Pause
        } else {
            Turn::Send(state.faults.treat())
        }
    }

    /// Waits for the next transfer that the host asks for; none once the session has ended.
    pub(crate) fn next_transfer(&self, session: &Session) -> Option<Transfer> {
        let mut state = self.lock();
        loop {
            if state.session != session.number {
                return None;
            }
            if !state.faults.silent
                && let Some(transfer) = state.transfers.pop_front()
            {
                return Some(transfer);
            }
            state = self.wait(state);
        }
    }

    fn serve(&self, mut stream: UnixStream, wire: &Arc<Wire>) {
        let mut control = Control::new(self.offer);
        let error = loop {
            match usbip::read(&mut stream) {
                Ok(request) => self.take(request, &mut control, wire),
                Err(error) => break error,
            }
        };
        match error.kind() {
            io::ErrorKind::InvalidData => say(&format!("not understood: {error}")),
            _ => say("unplugged"),
        }
        self.change(|state| {
            // By now it may be plugged in again.
            if state
                .wire
                .as_ref()
                .is_none_or(|current| Arc::ptr_eq(current, wire))
            {
                state.wire = None;
                state.end_session();
            }
        });
    }

    fn take(&self, request: Request, control: &mut Control, wire: &Wire) {
        match request {
            Request::Submit {
                number,
                endpoint: 0,
                answer_bytes,
                setup,
                data,
            } => {
                let reply = match control.answer(setup.into(), &data) {
                    None => usbip::answer(number, Status::Refused, &[]),
                    Some(answer) => {
                        self.apply(answer.effect);
                        match answer_bytes {
                            Some(_) => usbip::answer(number, Status::Done, &answer.data),
                            None => usbip::written(number, data.len()),
                        }
                    }
                };
                wire.send(&reply);
            }
            Request::Submit {
                number,
                endpoint,
                answer_bytes: Some(bytes),
                ..
            } if endpoint == VIDEO_ENDPOINT.into() && bytes >= MIN_TRANSFER_BYTES => {
                if !self.queue(Transfer { number, bytes }) {
                    wire.send(&usbip::answer(number, Status::Refused, &[]));
                }
            }
            Request::Submit { number, .. } => {
                wire.send(&usbip::answer(number, Status::Refused, &[]));
            }
            Request::Unlink { number, victim } => {
                wire.send(&usbip::unlinked(number, self.take_back(victim)));
            }
        }
    }

    fn apply(&self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Stop => self.change(State::end_stream),
            Effect::Start(mode) => self.change(|state| {
                state.end_stream();
                state.mode = Some(mode);
            }),
        }
    }

    fn queue(&self, transfer: Transfer) -> bool {
        self.change(|state| {
            let has_room = state.transfers.len() < MAX_TRANSFERS;
            if has_room {
                state.transfers.push_back(transfer);
            }
            has_room
        })
    }

    fn take_back(&self, victim: u32) -> Status {
        self.change(|state| {
            let before = state.transfers.len();
            state.transfers.retain(|transfer| transfer.number != victim);
            if state.transfers.len() < before {
                Status::TakenBack
            } else {
                Status::Done
            }
        })
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no thread panics while holding this")
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .expect("no thread panics while holding this")
    }
}

impl State {
    /// The stream ends; transfers that wait are taken back by the host itself.
    fn end_stream(&mut self) {
        self.mode = None;
        self.session += 1;
    }

    /// The camera is gone, and nobody waits any more.
    fn end_session(&mut self) {
        self.end_stream();
        self.transfers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: [u8; 8] = [0x21, 1, 0, 2, 1, 0, 26, 0];
    const SELECT: [u8; 8] = [0x01, 11, 0, 0, 1, 0, 0, 0];

    struct Plugged {
        camera: Camera,
        control: Control,
        wire: Arc<Wire>,
        kernel: UnixStream,
    }

    /// A camera with one end of its wire in the test's hands.
    fn plugged() -> Plugged {
        let (stream, kernel) = UnixStream::pair().unwrap();
        let wire = Arc::new(Wire {
            stream,
            writing: Mutex::default(),
        });
        let camera = Camera::default();
        camera.change(|state| state.wire = Some(Arc::clone(&wire)));
        Plugged {
            camera,
            control: Control::new(Offer::Both),
            wire,
            kernel,
        }
    }

    impl Plugged {
        fn control(&mut self, setup: [u8; 8]) {
            let data = vec![0; 26];
            let request = Request::Submit {
                number: 1,
                endpoint: 0,
                answer_bytes: None,
                setup,
                data,
            };
            self.camera.take(request, &mut self.control, &self.wire);
        }

        fn ask(&mut self, number: u32, bytes: usize) {
            let request = Request::Submit {
                number,
                endpoint: 1,
                answer_bytes: Some(bytes),
                setup: [0; 8],
                data: vec![],
            };
            self.camera.take(request, &mut self.control, &self.wire);
        }

        fn replies(self) -> usize {
            use std::io::Read as _;
            drop((self.camera, self.wire));
            let mut all = Vec::new();
            (&self.kernel).read_to_end(&mut all).unwrap();
            all.len() / 48
        }
    }

    #[test]
    fn frames_are_sent_while_the_host_asks_and_nothing_is_wrong() {
        let mut plugged = plugged();
        plugged.control(START);
        let session = plugged.camera.next_session();
        assert_eq!(plugged.camera.turn(&session), Turn::Pause);
        plugged.ask(2, 16384);
        assert_eq!(
            plugged.camera.turn(&session),
            Turn::Send(Treatment::default())
        );
        plugged.camera.set_faults(|faults| faults.stalled = true);
        assert_eq!(plugged.camera.turn(&session), Turn::Pause);
        assert_eq!(plugged.camera.next_transfer(&session).unwrap().number, 2);
    }

    #[test]
    fn a_stream_begun_anew_is_another_session() {
        let mut plugged = plugged();
        plugged.control(START);
        let first = plugged.camera.next_session();
        plugged.control(SELECT);
        assert_eq!(plugged.camera.turn(&first), Turn::Over);
        plugged.control(START);
        assert!(plugged.camera.next_transfer(&first).is_none());
        plugged.ask(2, 16384);
        let second = plugged.camera.next_session();
        assert!(plugged.camera.next_transfer(&second).is_some());
    }

    #[test]
    fn transfers_are_bounded_and_can_be_taken_back() {
        let mut plugged = plugged();
        plugged.ask(1, MIN_TRANSFER_BYTES - 1);
        for number in 0..=64 {
            plugged.ask(number, 16384);
        }
        assert_eq!(plugged.camera.take_back(7), Status::TakenBack);
        assert_eq!(plugged.camera.take_back(7), Status::Done);
        // The one that was too small, and the one too many.
        assert_eq!(plugged.replies(), 2);
    }
}
