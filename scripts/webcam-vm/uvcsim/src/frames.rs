//! The pictures the camera sees, and the stamp that tells each frame from all others.
//!
//! Pictures are made once and sent in turn, since a slow machine could not encode them in time;
//! they differ in size, as those of real cameras do. What makes a frame its own:
//!
//! * MJPEG: a comment right behind the start of the picture, 24 bytes: `ff fe 00 16`, `SEQ:`, the
//!   sequence number (u64, big endian), nanoseconds of CLOCK_MONOTONIC (u64, big endian).
//! * YUYV: the same two numbers in the first 16 bytes. Since these do not outlive an encoder, the
//!   lower 32 bits of the sequence number are also a bar code in rows 16 to 31: 32 bars from left
//!   to right across the whole width, the highest bit first, white is 1.

use std::collections::HashMap;

use jpeg_encoder::{ColorType, EncodingError};

use crate::formats::{Encoding, Mode};
use crate::journal::monotonic_ns;

/// Of the pictures in turn: large, small, middling.
const QUALITIES: [u8; 3] = [90, 30, 60];
/// Where the bar code is.
const BAR_ROWS: std::ops::Range<usize> = 16..32;
const BARS: usize = 32;
/// Luma, as video has it.
const WHITE: u8 = 235;
const BLACK: u8 = 16;
const GREY: u8 = 128;

/// Pictures, made when they are first asked for.
#[derive(Debug, Default)]
pub(crate) struct Album {
    pictures: HashMap<(Encoding, u8), Vec<Vec<u8>>>,
}

impl Album {
    /// The frame with this sequence number.
    pub(crate) fn frame(&mut self, mode: Mode, sequence: u64) -> Vec<u8> {
        let pictures = self.pictures(mode);
        let count = pictures.len() as u64;
        let turn = usize::try_from(sequence % count).expect("there are few pictures");
        let picture = &pictures[turn];
        match mode.encoding {
            Encoding::Mjpeg => stamp_jpeg(picture, sequence, monotonic_ns()),
            Encoding::Yuyv => stamp_yuyv(picture, mode, sequence, monotonic_ns()),
        }
    }

    /// Makes the pictures of a mode; that takes a while.
    pub(crate) fn pictures(&mut self, mode: Mode) -> &[Vec<u8>] {
        let key = (mode.encoding, mode.frame_index);
        (self.pictures.entry(key)).or_insert_with(|| {
            (0..QUALITIES.len())
                .map(|turn| picture(mode, turn))
                .collect()
        })
    }
}

fn picture(mode: Mode, turn: usize) -> Vec<u8> {
    let scene = Scene::new(mode.size(), turn);
    match mode.encoding {
        Encoding::Mjpeg => {
            let rgb: Vec<u8> = scene.pixels().flatten().collect();
            jpeg(&rgb, mode.size(), QUALITIES[turn]).expect("the picture has the size it says")
        }
        Encoding::Yuyv => {
            let pixels: Vec<[u8; 3]> = scene.pixels().collect();
            pixels
                .chunks_exact(2)
                .flat_map(|pair| yuyv(pair[0], pair[1]))
                .collect()
        }
    }
}

fn jpeg(rgb: &[u8], (width, height): (u16, u16), quality: u8) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, quality).encode(rgb, width, height, ColorType::Rgb)?;
    Ok(bytes)
}

/// Colour bars with a white square that moves, above a quarter of noise.
struct Scene {
    width: usize,
    height: usize,
    turn: usize,
}

impl Scene {
    fn new((width, height): (u16, u16), turn: usize) -> Self {
        Self {
            width: width.into(),
            height: height.into(),
            turn,
        }
    }

    /// Red, green, blue: row by row from the top left.
    fn pixels(&self) -> impl Iterator<Item = [u8; 3]> {
        let mut noise = 12_345;
        (0..self.height).flat_map(move |y| {
            let row: Vec<_> = (0..self.width)
                .map(|x| self.pixel(x, y, &mut noise))
                .collect();
            row
        })
    }

    fn pixel(&self, x: usize, y: usize, noise: &mut u32) -> [u8; 3] {
        if y > self.height * 3 / 4 {
            return [next(noise); 3];
        }
        let square = self.height / 6;
        if y / square == 2 && x / square == self.turn * 2 {
            return [255; 3];
        }
        let bar = 7 - x * 8 / self.width;
        [0, 1, 2].map(|channel| if bar >> channel & 1 == 1 { 220 } else { 20 })
    }
}

/// A number that looks random (xorshift32), for noise.
fn next(noise: &mut u32) -> u8 {
    *noise ^= *noise << 13;
    *noise ^= *noise >> 17;
    *noise ^= *noise << 5;
    noise.to_be_bytes()[2]
}

/// Two pixels as Y0 U Y1 V, by ITU-R BT.601 with 8-bit coefficients; the colour is the first one's.
fn yuyv(first: [u8; 3], second: [u8; 3]) -> [u8; 4] {
    let mix = |[red, green, blue]: [u8; 3], [r, g, b]: [i32; 3], offset: i32| {
        let sum = (r * i32::from(red) + g * i32::from(green) + b * i32::from(blue)) / 256 + offset;
        u8::try_from(sum).expect("the coefficients keep it within a byte")
    };
    let luma = |pixel| mix(pixel, [66, 129, 25], 16);
    [
        luma(first),
        mix(first, [-38, -74, 112], 128),
        luma(second),
        mix(first, [112, -94, -18], 128),
    ]
}

fn stamp_jpeg(picture: &[u8], sequence: u64, taken_at_ns: u64) -> Vec<u8> {
    let (start, rest) = picture.split_at(2);
    [
        start,
        &[0xff, 0xfe, 0, 22],
        b"SEQ:",
        &sequence.to_be_bytes(),
        &taken_at_ns.to_be_bytes(),
        rest,
    ]
    .concat()
}

fn stamp_yuyv(picture: &[u8], mode: Mode, sequence: u64, taken_at_ns: u64) -> Vec<u8> {
    let mut frame = picture.to_vec();
    frame[..8].copy_from_slice(&sequence.to_be_bytes());
    frame[8..16].copy_from_slice(&taken_at_ns.to_be_bytes());
    let width = usize::from(mode.size().0);
    let bars: Vec<u8> = (0..width)
        .map(|x| BARS - 1 - x * BARS / width)
        .flat_map(|bit| {
            [
                if sequence >> bit & 1 == 1 {
                    WHITE
                } else {
                    BLACK
                },
                GREY,
            ]
        })
        .collect();
    for row in frame
        .chunks_exact_mut(2 * width)
        .skip(BAR_ROWS.start)
        .take(BAR_ROWS.len())
    {
        row.copy_from_slice(&bars);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Offer;

    fn mode(encoding: Encoding) -> Mode {
        let offer = Offer::Both;
        Mode::nearest(offer, [offer.format_index(encoding), 2], 0)
    }

    #[test]
    fn a_jpeg_bears_its_number_in_a_comment_and_is_otherwise_as_it_was() {
        let mut album = Album::default();
        let frame = album.frame(mode(Encoding::Mjpeg), 0x0102);
        assert_eq!(frame[..6], [0xff, 0xd8, 0xff, 0xfe, 0, 22]);
        assert_eq!(frame[6..18], *b"SEQ:\0\0\0\0\0\0\x01\x02");
        let pictures = album.pictures(mode(Encoding::Mjpeg));
        assert_eq!(frame[26..], pictures[0x0102 % 3][2..]);
        let mut lengths: Vec<usize> = pictures.iter().map(Vec::len).collect();
        lengths.dedup();
        assert_eq!(lengths.len(), 3, "pictures differ in size");
    }

    #[test]
    fn yuyv_bears_its_number_as_bytes_and_as_bars() {
        let frame = Album::default().frame(mode(Encoding::Yuyv), 0x8000_0001);
        assert_eq!(frame.len(), 160 * 120 * 2);
        assert_eq!(frame[..8], 0x8000_0001_u64.to_be_bytes());
        let row = &frame[20 * 320..21 * 320];
        let bars: Vec<u8> = (0..32).map(|bar| row[2 * (bar * 5 + 2)]).collect();
        assert_eq!((bars[0], bars[31]), (WHITE, WHITE));
        assert!(bars[1..31].iter().all(|&luma| luma == BLACK));
        assert!(row.iter().skip(1).step_by(2).all(|&chroma| chroma == GREY));
    }

    #[test]
    fn colours_stay_within_video_range() {
        assert_eq!(yuyv([255; 3], [0; 3]), [235, 128, 16, 128]);
        let [_, u, _, v] = yuyv([0, 0, 255], [0; 3]);
        assert!(u > 200 && v < 128);
    }
}
