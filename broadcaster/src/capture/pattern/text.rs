//! Lines of text in a picture: white on black, as large as the picture allows.

use common::Image;
use font8x8::legacy::BASIC_LEGACY;

/// Pixels of a glyph's side before scaling.
const GLYPH: usize = 8;
/// Characters that the picture's width should have room for.
const COLUMNS: usize = 30;

/// Writes a line of ASCII text at the left, `line` counted from 0. What does not fit is cut.
pub(in crate::capture) fn draw(image: &mut Image, line: usize, text: &str) {
    draw_from(image, 0, line, text);
}

/// The same in the middle between left and right.
pub(in crate::capture) fn draw_centred(image: &mut Image, line: usize, text: &str) {
    let width = width_of(text, scale(image));
    let left = usize::from(image.width).saturating_sub(width) / 2;
    draw_from(image, left, line, text);
}

fn draw_from(image: &mut Image, begin: usize, line: usize, text: &str) {
    let scale = scale(image);
    let top = line * (GLYPH + 2) * scale;
    let end = begin + width_of(text, scale);
    image.fill(begin..end, top..top + (GLYPH + 2) * scale, [0; 3]);
    for (column, char) in text.bytes().enumerate() {
        let glyph = BASIC_LEGACY
            .get(usize::from(char))
            .unwrap_or(&BASIC_LEGACY[0]);
        let left = begin + (column * GLYPH + GLYPH / 2) * scale;
        draw_glyph(image, (left, top + scale), scale, *glyph);
    }
}

/// How many lines the picture has room for.
pub(in crate::capture) fn rows(image: &Image) -> usize {
    usize::from(image.height) / ((GLYPH + 2) * scale(image))
}

/// Half a glyph stays free at both ends.
const fn width_of(text: &str, scale: usize) -> usize {
    (text.len() + 1) * GLYPH * scale
}

fn scale(image: &Image) -> usize {
    (usize::from(image.width) / (COLUMNS * GLYPH)).max(1)
}

/// A glyph is eight rows of eight bits, the leftmost pixel lowest.
fn draw_glyph(image: &mut Image, (left, top): (usize, usize), scale: usize, glyph: [u8; GLYPH]) {
    for (row, bits) in glyph.into_iter().enumerate() {
        for column in (0..GLYPH).filter(|column| bits & (1 << column) != 0) {
            let (x, y) = (left + column * scale, top + row * scale);
            image.fill(x..x + scale, y..y + scale, [255; 3]);
        }
    }
}
