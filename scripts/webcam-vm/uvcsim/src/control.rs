//! Requests on endpoint 0: what the camera is, and which stream is wanted.
//!
//! No I/O here: a request comes in, an answer goes out, and with it what it means for the stream.
//! A host negotiates by writing its wish to the probe control and reading back what it would get;
//! by writing to the commit control it starts the stream. This camera has bulk endpoints only, so
//! a stream ends when the host selects the interface anew or clears the endpoint.

use crate::descriptors::{self, STREAMING_INTERFACE};
use crate::formats::{Mode, Offer};
use crate::usbip::TRANSFER_BYTES;

/// Bytes of the probe and commit controls in version 1.0.
const PROBE_BYTES: usize = 26;
/// Selectors of the streaming interface's controls.
const PROBE: u8 = 1;
const COMMIT: u8 = 2;

// Requests of the video class.
const SET_CUR: u8 = 0x01;
const GET_CUR: u8 = 0x81;
const GET_MIN: u8 = 0x82;
const GET_MAX: u8 = 0x83;
const GET_LEN: u8 = 0x85;
const GET_INFO: u8 = 0x86;
const GET_DEF: u8 = 0x87;

/// The eight bytes that begin a request, USB 2.0 section 9.3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    request_type: u8,
    request: u8,
    value: [u8; 2],
    index: u8,
    length: u16,
}

impl From<[u8; 8]> for Setup {
    fn from(bytes: [u8; 8]) -> Self {
        let [request_type, request, low, high, index, _, short, long] = bytes;
        Self {
            request_type,
            request,
            value: [low, high],
            index,
            length: u16::from_le_bytes([short, long]),
        }
    }
}

/// What a request means for the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// It begins, like this.
    Start(Mode),
    /// It ends.
    Stop,
}

/// The answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What the host reads; nothing if it only wrote.
    pub(crate) data: Vec<u8>,
    /// What it means for the stream.
    pub(crate) effect: Effect,
}

/// The controls' state.
#[derive(Debug)]
pub(crate) struct Control {
    offer: Offer,
    probe: Mode,
    commit: Mode,
}

impl Control {
    /// The controls of a camera that nobody has asked anything yet.
    pub(crate) fn new(offer: Offer) -> Self {
        let first = Mode::first(offer);
        Self {
            offer,
            probe: first,
            commit: first,
        }
    }

    /// The answer to a request with `data` from the host; none refuses it.
    pub(crate) fn answer(&mut self, setup: Setup, data: &[u8]) -> Option<Answer> {
        let [low, high] = setup.value;
        let to_stream = setup.index == STREAMING_INTERFACE;
        let (mut data, effect) = match (setup.request_type, setup.request) {
            (0x80, 6) => (self.descriptor(high, low)?, Effect::None),
            // GET_STATUS of device, interface, endpoint; GET_CONFIGURATION; GET_INTERFACE.
            (0x80..=0x82, 0) => (vec![0, 0], Effect::None),
            (0x80, 8) => (vec![1], Effect::None),
            (0x81, 10) => (vec![0], Effect::None),
            // CLEAR_FEATURE, SET_FEATURE, SET_ADDRESS, SET_CONFIGURATION.
            (0x00, 1 | 3 | 5 | 9) => (vec![], Effect::None),
            // SET_INTERFACE; CLEAR_FEATURE of an endpoint.
            (0x01, 11) | (0x02, 1) => (vec![], Effect::Stop),
            (0x21, SET_CUR) if to_stream => (vec![], self.set(high, data)?),
            (0xa1, request) if to_stream => (self.get(request, high)?, Effect::None),
            _ => return None,
        };
        data.truncate(setup.length.into());
        Some(Answer { data, effect })
    }

    fn set(&mut self, selector: u8, data: &[u8]) -> Option<Effect> {
        let mode = negotiate(self.offer, data);
        match selector {
            PROBE => {
                self.probe = mode;
                Some(Effect::None)
            }
            COMMIT => {
                self.commit = mode;
                Some(Effect::Start(mode))
            }
            _ => None,
        }
    }

    fn get(&self, request: u8, selector: u8) -> Option<Vec<u8>> {
        let length = u8::try_from(PROBE_BYTES).expect("the control is short");
        let mode = match request {
            GET_CUR if selector == COMMIT => self.commit,
            GET_CUR => self.probe,
            GET_MIN | GET_MAX | GET_DEF => Mode::first(self.offer),
            GET_LEN => return Some(vec![length, 0]),
            // Both GET and SET are supported.
            GET_INFO => return Some(vec![3]),
            _ => return None,
        };
        Some(probe_bytes(self.offer.format_index(mode.encoding), mode))
    }

    fn descriptor(&self, kind: u8, index: u8) -> Option<Vec<u8>> {
        match kind {
            1 => Some(descriptors::device()),
            2 => Some(descriptors::configuration(self.offer)),
            3 => Some(descriptors::string(index)),
            _ => None,
        }
    }
}

/// What the host gets for its wish. It may leave out the end of the control.
fn negotiate(offer: Offer, wish: &[u8]) -> Mode {
    let mut control = [0; PROBE_BYTES];
    let count = wish.len().min(PROBE_BYTES);
    control[..count].copy_from_slice(&wish[..count]);
    let [_, _, format, frame, i0, i1, i2, i3, ..] = control;
    Mode::nearest(offer, [format, frame], u32::from_le_bytes([i0, i1, i2, i3]))
}

/// A mode as probe and commit control, table 4-47.
fn probe_bytes(format_index: u8, mode: Mode) -> Vec<u8> {
    let keep_the_interval = [1, 0];
    let no_compression_settings_no_delay = [0; 10];
    let transfer = u32::try_from(TRANSFER_BYTES).expect("transfers are short");
    [
        &keep_the_interval[..],
        &[format_index, mode.frame_index],
        &mode.interval.to_le_bytes(),
        &no_compression_settings_no_delay,
        &mode.max_frame_bytes().to_le_bytes(),
        &transfer.to_le_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(control: &mut Control, setup: [u8; 8], data: &[u8]) -> Option<Answer> {
        control.answer(setup.into(), data)
    }

    #[test]
    fn a_wish_is_probed_read_back_and_committed() {
        let mut control = Control::new(Offer::Both);
        let mut wish = [0; PROBE_BYTES];
        wish[2..8].copy_from_slice(&[2, 4, 0x40, 0x42, 0x0f, 0]);
        let set = |selector| [0x21, SET_CUR, 0, selector, 1, 0, 26, 0];
        let get = |selector| [0xa1, GET_CUR, 0, selector, 1, 0, 26, 0];
        let probed = ask(&mut control, set(PROBE), &wish).unwrap();
        assert_eq!(probed.effect, Effect::None);
        let offered = ask(&mut control, get(PROBE), &[]).unwrap().data;
        assert_eq!(offered.len(), PROBE_BYTES);
        assert_eq!(offered[2..8], [2, 4, 0x2a, 0x2c, 0x0a, 0]);
        assert_eq!(offered[18..22], (1280_u32 * 720 * 2).to_le_bytes());
        let committed = ask(&mut control, set(COMMIT), &offered).unwrap();
        let mode = Mode::nearest(Offer::Both, [2, 4], 666_666);
        assert_eq!(committed.effect, Effect::Start(mode));
        assert_eq!(ask(&mut control, get(COMMIT), &[]).unwrap().data, offered);
    }

    #[test]
    fn an_answer_is_no_longer_than_asked_for() {
        let get_device = [0x80, 6, 0, 1, 0, 0, 8, 0];
        let answer = ask(&mut Control::new(Offer::Both), get_device, &[]).unwrap();
        assert_eq!(answer.data, descriptors::device()[..8]);
    }

    #[test]
    fn selecting_the_interface_stops_the_stream_and_the_unknown_is_refused() {
        let mut control = Control::new(Offer::Both);
        let select = ask(&mut control, [0x01, 11, 0, 0, 1, 0, 0, 0], &[]).unwrap();
        assert_eq!(select.effect, Effect::Stop);
        for unknown in [
            [0x80, 6, 0, 6, 0, 0, 10, 0],
            [0xa1, GET_CUR, 0, 1, 0, 0, 26, 0],
            [0xc0, 1, 0, 0, 0, 0, 1, 0],
        ] {
            assert_eq!(ask(&mut control, unknown, &[]), None);
        }
    }
}
