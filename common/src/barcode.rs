//! Which frame a picture shows, written into its pixels so that a machine can read it back.
//!
//! The test pattern carries this code through JPEG, scaling and screenshots, so that "the viewer
//! saw frame 1234, captured then" can be checked on the very pixels.
//!
//! ```text
//! 4 rows of 32 square cells along the bottom edge, centred; black is 0, white is 1
//! cell = min(width / 32, height / 16) pixels; no code below 3 pixels
//! 128 bits, row by row, highest first:
//!   sequence number u40, captured at u56 in microseconds since 1970, CRC-32C of these 12 bytes
//! ```

use crate::frame::{Image, Timestamp};

const COLUMNS: usize = 32;
const ROWS: usize = 4;
const SMALLEST_CELL: usize = 3;
const BYTES: usize = COLUMNS * ROWS / 8;
const STAMP_BYTES: usize = 12;

/// What the code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The low 40 bits of the sequence number.
    pub seq: u64,
    /// When the picture was captured, in whole microseconds.
    pub captured_at: Timestamp,
}

impl Stamp {
    fn to_bytes(self) -> [u8; BYTES] {
        let micros = self.captured_at.as_nanos() / 1_000;
        let mut bytes = [0; BYTES];
        bytes[..5].copy_from_slice(&self.seq.to_be_bytes()[3..]);
        bytes[5..STAMP_BYTES].copy_from_slice(&micros.to_be_bytes()[1..]);
        let check = crc32c::crc32c(&bytes[..STAMP_BYTES]);
        bytes[STAMP_BYTES..].copy_from_slice(&check.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; BYTES]) -> Option<Self> {
        let check = crc32c::crc32c(&bytes[..STAMP_BYTES]).to_be_bytes();
        let number = |range: std::ops::Range<usize>| {
            (bytes[range].iter()).fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        };
        (bytes[STAMP_BYTES..] == check).then(|| Self {
            seq: number(0..5),
            captured_at: Timestamp::from_nanos(number(5..STAMP_BYTES).saturating_mul(1_000)),
        })
    }
}

/// Where the code sits in a picture.
#[derive(Debug, Clone, Copy)]
struct Layout {
    left: usize,
    top: usize,
    cell: usize,
}

impl Layout {
    fn of(image: &Image) -> Option<Self> {
        let (width, height) = (usize::from(image.width), usize::from(image.height));
        let cell = (width / COLUMNS).min(height / 16);
        (cell >= SMALLEST_CELL).then(|| Self {
            left: (width - COLUMNS * cell) / 2,
            top: height - ROWS * cell,
            cell,
        })
    }

    /// Left and top edge of a bit's cell.
    const fn cell_of(&self, bit: usize) -> (usize, usize) {
        let (column, row) = (bit % COLUMNS, bit / COLUMNS);
        (self.left + column * self.cell, self.top + row * self.cell)
    }
}

/// Writes the code along the bottom edge; false if the picture is too small for it.
pub fn draw(image: &mut Image, stamp: Stamp) -> bool {
    let Some(layout) = Layout::of(image) else {
        return false;
    };
    let bytes = stamp.to_bytes();
    for bit in 0..BYTES * 8 {
        let (x, y) = layout.cell_of(bit);
        let is_set = bytes[bit / 8] & (0x80 >> (bit % 8)) != 0;
        let colour = if is_set { [255; 3] } else { [0; 3] };
        image.fill(x..x + layout.cell, y..y + layout.cell, colour);
    }
    true
}

/// Reads the code back; `None` if there is none or it does not pass its check.
#[must_use]
pub fn read(image: &Image) -> Option<Stamp> {
    let layout = Layout::of(image)?;
    let mut bytes = [0; BYTES];
    for bit in 0..BYTES * 8 {
        let (x, y) = layout.cell_of(bit);
        if is_white(image, x, y, layout.cell) {
            bytes[bit / 8] |= 0x80 >> (bit % 8);
        }
    }
    Stamp::from_bytes(bytes)
}

/// Whether the middle third of a cell is rather white than black.
fn is_white(image: &Image, x: usize, y: usize, cell: usize) -> bool {
    let (from, to) = (cell / 3, cell - cell / 3);
    let (mut sum, mut count) = (0, 0);
    for row in y + from..y + to {
        for column in x + from..x + to {
            let pixel = 3 * (row * usize::from(image.width) + column);
            let channels = &image.pixels[pixel..pixel + 3];
            sum += channels
                .iter()
                .map(|&value| usize::from(value))
                .sum::<usize>();
            count += channels.len();
        }
    }
    sum >= 128 * count
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        seq: 1_234_567,
        captured_at: Timestamp::from_nanos(1_700_000_000_123_456_000),
    };

    #[test]
    fn what_is_drawn_is_read() {
        for (width, height) in [(96, 48), (97, 113), (640, 480), (1920, 1080)] {
            let mut image = Image::filled(width, height, [90, 120, 40]);
            assert!(draw(&mut image, STAMP));
            assert_eq!(read(&image), Some(STAMP), "{width}x{height}");
        }
    }

    #[test]
    fn no_code_and_a_damaged_code_are_not_read() {
        for colour in [0, 90, 255] {
            assert_eq!(read(&Image::filled(320, 240, [colour; 3])), None);
        }
        let mut image = Image::filled(320, 240, [0; 3]);
        draw(&mut image, STAMP);
        image.fill(100..140, 200..240, [255; 3]);
        assert_eq!(read(&image), None);
    }

    #[test]
    fn small_pictures_bear_no_code() {
        let mut image = Image::filled(95, 200, [0; 3]);
        let blank = image.clone();
        assert!(!draw(&mut image, STAMP));
        assert_eq!(image, blank);
    }
}
