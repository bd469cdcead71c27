//! The test pattern: a picture that says which one it is.
//!
//! Colour bars that move, the sequence number and the capture time as digits, and both once more
//! as a bar code ([`common::barcode`]), so that people and programs can tell which frame they see
//! and how old it is.

use std::time::Duration;

use common::barcode::{self, Stamp};
use common::{Clock, Image, SystemClock, Timestamp};

use super::pace::Pace;
use super::{Captured, Error, Picture, Source};

pub(super) mod text;

/// White, yellow, cyan, green, magenta, red, blue, black at three quarters: the classic order.
const BARS: [[u8; 3]; 8] = [
    [191, 191, 191],
    [191, 191, 0],
    [0, 191, 191],
    [0, 191, 0],
    [191, 0, 191],
    [191, 0, 0],
    [0, 0, 191],
    [16, 16, 16],
];

/// Frames in which the bars move once across the picture.
const FRAMES_ACROSS: u64 = 150;

/// A camera that sees nothing but itself.
#[derive(Debug)]
pub struct Pattern {
    /// One row of bars twice over, so that any shift of it is one slice.
    bars: Vec<u8>,
    size: (u16, u16),
    pace: Pace,
    next_seq: u64,
}

impl Pattern {
    /// A pattern of `size` pixels with a picture every `interval`.
    #[must_use]
    pub fn new(size: (u16, u16), interval: Duration) -> Self {
        let width = usize::from(size.0);
        let row = (0..width).flat_map(|x| BARS[x * BARS.len() / width]);
        Self {
            bars: row.clone().chain(row).collect(),
            size,
            pace: Pace::new(interval),
            next_seq: 0,
        }
    }

    /// A picture like those to come.
    #[must_use]
    pub fn sample(&self) -> Image {
        self.draw(Stamp {
            seq: 0,
            captured_at: SystemClock.wall(),
        })
    }

    fn draw(&self, stamp: Stamp) -> Image {
        let (width, height) = self.size;
        let row_bytes = 3 * usize::from(width);
        let shift = stamp.seq % FRAMES_ACROSS * u64::from(width) / FRAMES_ACROSS;
        let start = 3 * usize::try_from(shift).expect("below the width");
        let mut image = Image {
            width,
            height,
            pixels: self.bars[start..start + row_bytes].repeat(height.into()),
        };
        text::draw(&mut image, 0, &format!("frame {}", stamp.seq));
        text::draw(&mut image, 1, &clock_face(stamp.captured_at));
        barcode::draw(&mut image, stamp);
        image
    }
}

impl Source for Pattern {
    fn grab(&mut self, timeout: Duration) -> Result<Option<Captured>, Error> {
        if !self.pace.wait(timeout) {
            return Ok(None);
        }
        let captured_at = SystemClock.wall();
        let stamp = Stamp {
            seq: self.next_seq,
            captured_at,
        };
        self.next_seq += 1;
        Ok(Some(Captured {
            captured_at,
            identity: None,
            picture: Picture::Raw(self.draw(stamp)),
        }))
    }
}

/// Date and time of day in UTC with milliseconds.
pub(super) fn clock_face(time: Timestamp) -> String {
    let since = Duration::from_nanos(time.as_nanos());
    let time = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since);
    time.to_string().replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picture_bears_its_number_and_time() {
        let mut pattern = Pattern::new((320, 240), Duration::from_micros(1));
        for seq in 0..3 {
            let captured = pattern.grab(Duration::from_secs(1)).unwrap().unwrap();
            let Picture::Raw(image) = captured.picture else {
                panic!("patterns are raw");
            };
            let stamp = barcode::read(&image).unwrap();
            assert_eq!(stamp.seq, seq);
            let age = captured.captured_at.since(stamp.captured_at);
            assert!(age < Duration::from_micros(1), "{age:?}");
        }
    }

    #[test]
    fn any_size_can_be_drawn() {
        for size in [(1, 1), (7, 3), (16, 400), (1000, 16), (97, 61)] {
            let image = Pattern::new(size, Duration::from_secs(1)).sample();
            let bytes = 3 * usize::from(size.0) * usize::from(size.1);
            assert_eq!(image.pixels.len(), bytes);
        }
    }

    #[test]
    fn the_bars_move() {
        let pattern = Pattern::new((320, 240), Duration::from_secs(1));
        let at = |seq| {
            let captured_at = Timestamp::default();
            let image = pattern.draw(Stamp { seq, captured_at });
            image.pixels[3 * 320 * 150..3 * 320 * 151].to_vec()
        };
        assert_ne!(at(0), at(10));
        assert_eq!(at(3), at(3 + FRAMES_ACROSS));
    }

    #[test]
    fn the_clock_face_is_readable() {
        let time = Timestamp::from_nanos(1_700_000_000_123_456_789);
        assert_eq!(clock_face(time), "2023-11-14 22:13:20.123Z");
    }
}
