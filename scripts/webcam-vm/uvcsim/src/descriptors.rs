//! What the camera says of itself when it is plugged in: its USB descriptors.
//!
//! The numbers are from USB 2.0 (chapter 9), the Interface Association ECN, and the USB Device
//! Class Definition for Video Devices 1.0a with its MJPEG and Uncompressed payloads.

use crate::formats::{Encoding, INTERVALS, Offer, SIZES, max_frame_bytes};

/// The interface that streams; requests about the stream are addressed to it.
pub(crate) const STREAMING_INTERFACE: u8 = 1;
/// The endpoint that frames leave through.
pub(crate) const VIDEO_ENDPOINT: u8 = 1;

// Descriptor types.
const DEVICE: u8 = 1;
const CONFIGURATION: u8 = 2;
const STRING: u8 = 3;
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;
const INTERFACE_ASSOCIATION: u8 = 0x0b;
const CS_INTERFACE: u8 = 0x24;

// The class, and its subclasses.
const CC_VIDEO: u8 = 0x0e;
const SC_VIDEOCONTROL: u8 = 1;
const SC_VIDEOSTREAMING: u8 = 2;
const SC_INTERFACE_COLLECTION: u8 = 3;

// Subtypes of the class's own descriptors.
const VC_HEADER: u8 = 1;
const VC_INPUT_TERMINAL: u8 = 2;
const VC_OUTPUT_TERMINAL: u8 = 3;
const VS_INPUT_HEADER: u8 = 1;
const VS_FORMAT_UNCOMPRESSED: u8 = 4;
const VS_FRAME_UNCOMPRESSED: u8 = 5;
const VS_FORMAT_MJPEG: u8 = 6;
const VS_FRAME_MJPEG: u8 = 7;
const VS_COLORFORMAT: u8 = 0x0d;

const SENSOR: u8 = 1;
const OUTPUT: u8 = 3;
/// What names the camera: [`string`] 2.
const PRODUCT: u8 = 2;
const YUY2: [u8; 16] = *b"YUY2\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71";
const CLOCK_HZ: u32 = 48_000_000;

/// A device of several functions, with pid.codes' number for tests (1209:0001).
pub(crate) fn device() -> Vec<u8> {
    let usb_2 = [0x00, 0x02];
    let miscellaneous_with_association = [0xef, 2, 1];
    let endpoint_0_bytes = [64];
    let vendor_product_release = [0x09, 0x12, 0x01, 0x00, 0x00, 0x01];
    let strings_and_configurations = [1, PRODUCT, 3, 1];
    descriptor(
        DEVICE,
        &[
            &usb_2,
            &miscellaneous_with_association,
            &endpoint_0_bytes,
            &vendor_product_release,
            &strings_and_configurations,
        ],
    )
}

/// The one configuration, with all that belongs to it.
pub(crate) fn configuration(offer: Offer) -> Vec<u8> {
    let function = [0, 2, CC_VIDEO, SC_INTERFACE_COLLECTION, 0, PRODUCT];
    let control = [0, 0, 0, CC_VIDEO, SC_VIDEOCONTROL, 0, PRODUCT];
    let streaming = [STREAMING_INTERFACE, 0, 1, CC_VIDEO, SC_VIDEOSTREAMING, 0, 0];
    let bulk_in = [0x80 | VIDEO_ENDPOINT, 2, 0x00, 0x02, 0];
    let below = [
        descriptor(INTERFACE_ASSOCIATION, &[&function]),
        descriptor(INTERFACE, &[&control]),
        control_part(),
        descriptor(INTERFACE, &[&streaming]),
        streaming_part(offer),
        descriptor(ENDPOINT, &[&bulk_in]),
    ]
    .concat();
    let two_interfaces_bus_powered_500_ma = [2, 1, 0, 0x80, 250];
    let total = total_length(9, &below);
    let own = descriptor(CONFIGURATION, &[&total, &two_interfaces_bus_powered_500_ma]);
    [own, below].concat()
}

/// A name: 0 the languages (English), 1 the maker, 2 the product, 3 the serial number.
pub(crate) fn string(index: u8) -> Vec<u8> {
    let text = match index {
        0 => return descriptor(STRING, &[&[0x09, 0x04]]),
        1 => "uvcsim",
        PRODUCT => "uvcsim USB Camera",
        _ => "0001",
    };
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    descriptor(STRING, &[&units])
}

/// The camera's inside: a sensor whose pictures go to USB, and nothing to be adjusted.
fn control_part() -> Vec<u8> {
    let optics_without_controls = [0, 0, 0, 0, 0, 0, 3, 0, 0, 0];
    let terminals = [
        class_specific(
            VC_INPUT_TERMINAL,
            &[&[SENSOR, 0x01, 0x02, 0, 0], &optics_without_controls],
        ),
        class_specific(VC_OUTPUT_TERMINAL, &[&[OUTPUT, 0x01, 0x01, 0, SENSOR, 0]]),
    ]
    .concat();
    let version_1_0 = [0x00, 0x01];
    let header = class_specific(
        VC_HEADER,
        &[
            &version_1_0,
            &total_length(13, &terminals),
            &CLOCK_HZ.to_le_bytes(),
            &[1, STREAMING_INTERFACE],
        ],
    );
    [header, terminals].concat()
}

fn streaming_part(offer: Offer) -> Vec<u8> {
    let encodings = offer.encodings();
    let formats: Vec<u8> = (encodings.iter())
        .flat_map(|&encoding| format_part(encoding, offer.format_index(encoding)))
        .collect();
    let count = u8::try_from(encodings.len()).expect("there are few encodings");
    let one_byte_of_controls_each =
        [&[0, OUTPUT, 0, 0, 0, 1][..], &vec![0; encodings.len()]].concat();
    let header_bytes = 13 + encodings.len();
    let header = class_specific(
        VS_INPUT_HEADER,
        &[
            &[count],
            &total_length(header_bytes, &formats),
            &[0x80 | VIDEO_ENDPOINT],
            &one_byte_of_controls_each,
        ],
    );
    [header, formats].concat()
}

/// An encoding, its sizes, and what its colours mean.
fn format_part(encoding: Encoding, index: u8) -> Vec<u8> {
    let sizes = u8::try_from(SIZES.len()).expect("there are few sizes");
    let (format, frame_subtype) = match encoding {
        Encoding::Mjpeg => (
            class_specific(VS_FORMAT_MJPEG, &[&[index, sizes, 0, 1, 0, 0, 0, 0]]),
            VS_FRAME_MJPEG,
        ),
        Encoding::Yuyv => (
            class_specific(
                VS_FORMAT_UNCOMPRESSED,
                &[&[index, sizes], &YUY2, &[16, 1, 0, 0, 0, 0]],
            ),
            VS_FRAME_UNCOMPRESSED,
        ),
    };
    let frames: Vec<u8> = (1..=sizes)
        .zip(SIZES)
        .flat_map(|(index, size)| frame_part(frame_subtype, index, size))
        .collect();
    let bt_709_and_601 = [1, 1, 4];
    let colours = class_specific(VS_COLORFORMAT, &[&bt_709_and_601]);
    [format, frames, colours].concat()
}

fn frame_part(subtype: u8, index: u8, (width, height): (u16, u16)) -> Vec<u8> {
    let bytes = max_frame_bytes(width, height);
    let intervals: Vec<u8> = INTERVALS.into_iter().flat_map(u32::to_le_bytes).collect();
    let count = u8::try_from(INTERVALS.len()).expect("there are few rates");
    class_specific(
        subtype,
        &[
            &[index, 0],
            &width.to_le_bytes(),
            &height.to_le_bytes(),
            &(bytes * 8 * 5).to_le_bytes(),
            &(bytes * 8 * 30).to_le_bytes(),
            &bytes.to_le_bytes(),
            &INTERVALS[0].to_le_bytes(),
            &[count],
            &intervals,
        ],
    )
}

fn class_specific(subtype: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    descriptor(CS_INTERFACE, &[&[subtype], &body])
}

fn descriptor(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u8::try_from(2 + body.len()).expect("a descriptor is short");
    [&[length, kind], &body[..]].concat()
}

/// The length of a descriptor of `own` bytes with those that belong to it.
fn total_length(own: usize, below: &[u8]) -> [u8; 2] {
    u16::try_from(own + below.len())
        .expect("all descriptors together are short")
        .to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type and body of each descriptor in a row of them.
    fn walk(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
        let mut found = Vec::new();
        while let [length, kind, ..] = *bytes {
            let (this, rest) = bytes.split_at(usize::from(length));
            found.push((kind, &this[2..]));
            bytes = rest;
        }
        assert_eq!(bytes, []);
        found
    }

    fn length_at(body: &[u8], at: usize) -> usize {
        usize::from(u16::from_le_bytes([body[at], body[at + 1]]))
    }

    /// The class's own descriptor with this subtype, and the bytes from it to the last of its kind.
    fn header<'a>(parts: &[(u8, &'a [u8])], subtype: u8) -> (&'a [u8], usize) {
        let own = |(kind, _): &&(u8, &[u8])| *kind == CS_INTERFACE;
        let all: Vec<_> = parts
            .iter()
            .skip_while(|part| !own(part))
            .take_while(own)
            .collect();
        assert_eq!(all[0].1[0], subtype);
        (all[0].1, all.iter().map(|(_, body)| body.len() + 2).sum())
    }

    #[test]
    fn every_length_is_that_of_what_follows() {
        for offer in [Offer::Both, Offer::Mjpeg, Offer::Yuyv] {
            let all = configuration(offer);
            let parts = walk(&all);
            assert_eq!(length_at(parts[0].1, 0), all.len());
            let streaming = parts
                .iter()
                .rposition(|(kind, _)| *kind == INTERFACE)
                .unwrap();
            let (body, sum) = header(&parts[..streaming], VC_HEADER);
            assert_eq!(length_at(body, 3), sum);
            let (body, sum) = header(&parts[streaming..], VS_INPUT_HEADER);
            assert_eq!(length_at(body, 2), sum);
        }
    }

    #[test]
    fn both_encodings_have_every_size_at_every_rate() {
        let all = configuration(Offer::Both);
        let parts = walk(&all);
        let streaming = parts
            .iter()
            .rposition(|(kind, _)| *kind == INTERFACE)
            .unwrap();
        for subtype in [VS_FRAME_MJPEG, VS_FRAME_UNCOMPRESSED] {
            let frames: Vec<_> = (parts[streaming..].iter())
                .filter(|(kind, body)| *kind == CS_INTERFACE && body[0] == subtype)
                .map(|(_, body)| (length_at(body, 3), length_at(body, 5), body[23]))
                .collect();
            let expected = SIZES.map(|(width, height)| (width.into(), height.into(), 4));
            assert_eq!(frames, expected);
        }
    }

    #[test]
    fn the_device_and_its_names_are_as_long_as_they_say() {
        assert_eq!(device()[..2], [18, DEVICE]);
        assert_eq!(device().len(), 18);
        assert_eq!(string(0), [4, STRING, 9, 4]);
        assert_eq!(string(3), [10, STRING, b'0', 0, b'0', 0, b'0', 0, b'1', 0]);
    }
}
