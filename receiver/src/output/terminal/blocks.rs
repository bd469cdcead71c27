//! A picture in half blocks: each cell shows two pixels, the upper in the letter's colour and the
//! lower in the ground's.

use common::{Clock, SystemClock};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::Widget;

use super::super::picture::{Canvas, Error, Painter};
use super::super::showing::Showing;

const UPPER_HALF: &str = "\u{2580}";
const KEYS: &str = "i info  space pause  s save  q quit";
/// Red, green and blue of the 6 x 6 x 6 cube of xterm's 256 colours take these values.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];
/// Where the cube begins, and the 24 greys behind it.
const FIRST_OF_CUBE: u8 = 16;
const FIRST_GREY: u8 = 232;
const GREYS: u8 = 24;

/// Which colours the terminal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// All of 24 bits.
    True,
    /// xterm's 256.
    Palette,
}

impl Colours {
    /// What the variable COLORTERM says.
    pub(super) fn from_name(colorterm: Option<&str>) -> Self {
        match colorterm {
            Some("truecolor" | "24bit") => Self::True,
            _ => Self::Palette,
        }
    }

    fn nearest(self, [red, green, blue]: [u8; 3]) -> Color {
        match self {
            Self::True => Color::Rgb(red, green, blue),
            Self::Palette => Color::Indexed(nearest([red, green, blue])),
        }
    }
}

/// Shows pictures as large as the terminal allows, with a line of figures below.
#[derive(Debug)]
pub(super) struct Picture {
    painter: Painter,
    canvas: Canvas,
    colours: Colours,
}

impl Picture {
    pub(super) fn new(colours: Colours) -> Result<Self, Error> {
        Ok(Self {
            painter: Painter::new()?,
            canvas: Canvas::default(),
            colours,
        })
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, showing: &mut Showing) {
        let area = frame.area();
        let [above, below] = split(area);
        self.paint(above, showing);
        let blocks = Blocks {
            canvas: &self.canvas,
            colours: self.colours,
        };
        frame.render_widget(blocks, above);
        let buffer = frame.buffer_mut();
        let words = Style::new().fg(Color::White).bg(Color::Black);
        let lines = showing.overlay();
        let longest = lines.iter().map(|line| line.chars().count()).max();
        let longest = longest.unwrap_or_default();
        for (row, line) in (above.y..above.bottom()).zip(lines) {
            let line = format!(" {line:longest$} ");
            buffer.set_stringn(above.x, row, line, above.width.into(), words);
        }
        if let Some(text) = showing.banner(SystemClock.monotonic()) {
            let text = format!("  {text}  ");
            let width = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
            let left = above.x + above.width.saturating_sub(width) / 2;
            let row = above.y + above.height * 2 / 3;
            let loud = words.add_modifier(Modifier::BOLD);
            if row < above.bottom() {
                buffer.set_stringn(left, row, text, above.width.into(), loud);
            }
        }
        let status = status_line(&showing.status(), KEYS, below.width.into());
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        buffer.set_stringn(below.x, below.y, status, below.width.into(), reversed);
    }

    /// A damaged picture leaves the last one, if that has the right size.
    fn paint(&mut self, area: Rect, showing: &mut Showing) {
        let (width, height) = (usize::from(area.width), 2 * usize::from(area.height));
        let mut canvas = Canvas::default();
        canvas.reset(width, height);
        let Some(frame) = showing.current() else {
            self.canvas = canvas;
            return;
        };
        let painted = self.painter.paint(frame, &mut canvas);
        if painted.is_ok() || (self.canvas.width, self.canvas.height) != (width, height) {
            self.canvas = canvas;
        }
        showing.note_painted(painted);
    }
}

/// The area without its last line, and that line.
pub(super) fn split(area: Rect) -> [Rect; 2] {
    let height = area.height.saturating_sub(1);
    let above = Rect { height, ..area };
    let below = Rect {
        y: area.y + height,
        height: area.height - height,
        ..area
    };
    [above, below]
}

/// What is known on the left and the keys on the right, if there is room for them.
pub(super) fn status_line(left: &str, right: &str, width: usize) -> String {
    let (left, right) = (format!(" {left}"), format!("{right} "));
    let used = left.chars().count() + right.chars().count();
    if used < width {
        format!("{left}{}{right}", " ".repeat(width - used))
    } else {
        format!("{left:width$}")
    }
}

/// A canvas as cells, twice as many rows as the area has.
struct Blocks<'a> {
    canvas: &'a Canvas,
    colours: Colours,
}

impl Widget for Blocks<'_> {
    fn render(self, area: Rect, buffer: &mut ratatui::buffer::Buffer) {
        for (row, y) in (area.y..area.bottom()).enumerate() {
            for (column, x) in (area.x..area.right()).enumerate() {
                let colour = |half: usize| {
                    let pixel = self.canvas.rgb(column, 2 * row + half);
                    self.colours.nearest(pixel)
                };
                if let Some(cell) = buffer.cell_mut((x, y)) {
                    cell.set_symbol(UPPER_HALF)
                        .set_fg(colour(0))
                        .set_bg(colour(1));
                }
            }
        }
    }
}

/// The nearest of xterm's 256 colours, by distance, without the first 16, which people change.
fn nearest(pixel: [u8; 3]) -> u8 {
    let step = |value: u8| {
        let steps = (0_u8..).zip(CUBE);
        steps
            .min_by_key(|(_, at)| at.abs_diff(value))
            .map_or(0, |(step, _)| step)
    };
    let [red, green, blue] = pixel.map(step);
    let in_cube = [red, green, blue].map(|step| CUBE[usize::from(step)]);
    let mean = pixel.iter().map(|&value| u16::from(value)).sum::<u16>() / 3;
    // Greys are 8, 18, 28 and so on to 238.
    let grey = u8::try_from((mean.saturating_sub(3) / 10).min(u16::from(GREYS) - 1)).unwrap_or(0);
    if distance(pixel, [8 + 10 * grey; 3]) < distance(pixel, in_cube) {
        FIRST_GREY + grey
    } else {
        FIRST_OF_CUBE + 36 * red + 6 * green + blue
    }
}

fn distance(one: [u8; 3], other: [u8; 3]) -> u32 {
    let pairs = one.into_iter().zip(other);
    pairs
        .map(|(one, other)| u32::from(one.abs_diff(other)).pow(2))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::buffer::Buffer;

    #[test]
    fn a_cell_is_two_pixels() {
        let canvas = Canvas {
            width: 2,
            height: 4,
            pixels: (1..=8).map(|value| value << 16).collect(),
        };
        let area = Rect::new(3, 1, 2, 2);
        let mut buffer = Buffer::empty(Rect::new(0, 0, 6, 4));
        let colours = Colours::True;
        let canvas = &canvas;
        Blocks { canvas, colours }.render(area, &mut buffer);
        let cell = buffer.cell((4, 2)).unwrap();
        assert_eq!(
            (cell.symbol(), cell.fg, cell.bg),
            ("▀", Color::Rgb(6, 0, 0), Color::Rgb(8, 0, 0))
        );
        assert_eq!(buffer.cell((2, 1)).unwrap().symbol(), " ");
    }

    #[test]
    fn the_nearest_of_256_colours() {
        for (pixel, expected) in [
            ([0, 0, 0], 16),
            ([255, 255, 255], 231),
            ([255, 0, 0], 196),
            ([0, 95, 135], 24),
            ([128, 128, 128], 244),
            ([9, 8, 7], 232),
            ([239, 238, 238], 255),
        ] {
            assert_eq!(nearest(pixel), expected, "{pixel:?}");
        }
    }

    #[test]
    fn true_colours_only_where_the_terminal_says_so() {
        assert_eq!(Colours::from_name(Some("truecolor")), Colours::True);
        assert_eq!(Colours::from_name(Some("24bit")), Colours::True);
        assert_eq!(Colours::from_name(Some("yes")), Colours::Palette);
        assert_eq!(Colours::from_name(None), Colours::Palette);
    }

    #[test]
    fn keys_give_way_to_figures() {
        assert_eq!(status_line("30 fps", "q quit", 20), " 30 fps      q quit ");
        assert_eq!(status_line("30 fps", "q quit", 12), " 30 fps     ");
    }
}
