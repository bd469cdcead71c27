//! Words over a picture: white on a darkened ground, large enough to be read.

use font8x8::legacy::BASIC_LEGACY;

use super::super::picture::Canvas;

/// Pixels of a glyph's side before scaling.
const GLYPH: usize = 8;
/// Pixels from one line to the next, before scaling.
const LINE: usize = 11;
const MOST_SCALE: usize = 3;
/// Figures take at most this share of the width, so that most of the picture stays free.
const FIGURES_SHARE: (usize, usize) = (9, 10);
/// Figures are as large as if they had so many characters, so that they do not change their size.
const FIGURES_COLUMNS: usize = 34;
const WHITE: u32 = 0x00ff_ffff;
/// Between the words and the end of their ground, before scaling.
const MARGIN: usize = 4;

/// Draws figures at the top left, and what must be known in the middle of the lower half.
pub(super) fn draw(canvas: &mut Canvas, lines: &[String], banner: Option<String>) {
    if let Some(longest) = lines.iter().map(String::len).max() {
        let room = canvas.width * FIGURES_SHARE.0 / FIGURES_SHARE.1;
        let scale = scale(room, longest.max(FIGURES_COLUMNS));
        let height = lines.len() * LINE * scale;
        ground(canvas, (0, 0), (longest * GLYPH * scale, height), scale);
        for (row, line) in lines.iter().enumerate() {
            let top = MARGIN * scale + row * LINE * scale;
            write(canvas, (MARGIN * scale, top), scale, line);
        }
    }
    if let Some(text) = banner {
        let scale = scale(canvas.width, text.len());
        let width = (text.len() * GLYPH + 2 * MARGIN) * scale;
        let left = canvas.width.saturating_sub(width) / 2;
        let top = canvas.height * 2 / 3;
        let size = (text.len() * GLYPH * scale, (GLYPH + 1) * scale);
        ground(canvas, (left, top), size, scale);
        let at = (left + MARGIN * scale, top + MARGIN * scale);
        write(canvas, at, scale, &text);
    }
}

/// How large so many characters can be.
fn scale(room: usize, characters: usize) -> usize {
    (room / (characters * GLYPH + 2 * MARGIN)).clamp(1, MOST_SCALE)
}

/// Darkens the ground of words of this size.
fn ground(
    canvas: &mut Canvas,
    (left, top): (usize, usize),
    (width, height): (usize, usize),
    scale: usize,
) {
    let right = canvas.width.min(left + width + 2 * MARGIN * scale);
    let bottom = canvas.height.min(top + height + 2 * MARGIN * scale);
    for y in top..bottom {
        let row = y * canvas.width;
        for pixel in &mut canvas.pixels[row + left.min(right)..row + right] {
            // A quarter of each colour.
            *pixel = *pixel >> 2 & 0x003f_3f3f;
        }
    }
}

/// Writes ASCII; other characters are question marks, and what does not fit is cut.
fn write(canvas: &mut Canvas, (left, top): (usize, usize), scale: usize, text: &str) {
    for (column, char) in text.chars().enumerate() {
        let code = u32::from(char) as usize;
        let glyph = BASIC_LEGACY
            .get(code)
            .unwrap_or(&BASIC_LEGACY[usize::from(b'?')]);
        let at = (left + column * GLYPH * scale, top);
        for (row, bits) in glyph.iter().enumerate() {
            for bit in (0..GLYPH).filter(|bit| bits & (1 << bit) != 0) {
                block(canvas, (at.0 + bit * scale, at.1 + row * scale), scale);
            }
        }
    }
}

fn block(canvas: &mut Canvas, (left, top): (usize, usize), side: usize) {
    let right = canvas.width.min(left + side);
    for y in top..canvas.height.min(top + side) {
        let row = y * canvas.width;
        canvas.pixels[row + left.min(right)..row + right].fill(WHITE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(width: usize, height: usize) -> Canvas {
        Canvas {
            width,
            height,
            pixels: vec![0x0080_4020; width * height],
        }
    }

    #[test]
    fn words_are_white_on_a_darkened_ground() {
        let mut canvas = canvas(448, 100);
        draw(&mut canvas, &["I".to_owned()], None);
        assert_eq!(canvas.rgb(0, 0), [0x20, 0x10, 0x08]);
        assert_eq!(canvas.rgb(7, 5), [0xff; 3]);
        assert_eq!(canvas.rgb(100, 90), [0x80, 0x40, 0x20]);
        let whites = canvas
            .pixels
            .iter()
            .filter(|&&pixel| pixel == WHITE)
            .count();
        let glyph: u32 = BASIC_LEGACY[usize::from(b'I')]
            .iter()
            .map(|row| row.count_ones())
            .sum();
        assert_eq!(whites, glyph as usize);
    }

    #[test]
    fn words_that_do_not_fit_are_cut() {
        for (width, height) in [(0, 0), (1, 1), (10, 3), (3, 100)] {
            let text = "longer than any window, \u{e9}\u{20ac}".to_owned();
            draw(
                &mut canvas(width, height),
                &[text.clone(), text.clone()],
                Some(text),
            );
        }
    }
}
