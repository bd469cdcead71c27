//! Pictures fitted into a canvas: decoded no larger than needed, scaled, with bars where the shapes
//! differ.

use std::fmt;

use common::Format;
use common::Frame;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use turbojpeg::{Decompressor, PixelFormat, ScalingFactor};

/// A picture with more pixels is refused before room is made for it.
const MAX_PIXELS: usize = 1 << 26;
/// JPEG can be decoded at eighths of its size.
const EIGHTHS: usize = 8;
const BYTES_PER_PIXEL: usize = 4;

/// Why a frame is no picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its bytes have no meaning here.
    #[error("frames without a picture (opaque bytes, for benchmarks)")]
    Opaque,
    /// It is larger than anybody can look at.
    #[error("a picture of {0}x{1} pixels is too large")]
    TooLarge(usize, usize),
    /// Its bytes are damaged.
    #[error("a damaged picture: {0}")]
    Jpeg(#[from] turbojpeg::Error),
    /// It cannot be scaled.
    #[error("a picture that cannot be scaled: {0}")]
    Scale(String),
}

/// Pixels to be shown, rows from top to bottom.
#[derive(Debug, Clone, Default)]
pub struct Canvas {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` pixels: `0x00RRGGBB`.
    pub pixels: Vec<u32>,
}

impl Canvas {
    /// Makes it so large, and black.
    pub fn reset(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        self.pixels.clear();
        self.pixels.resize(width * height, 0);
    }

    /// Red, green and blue of a pixel; black outside.
    #[must_use]
    pub fn rgb(&self, x: usize, y: usize) -> [u8; 3] {
        let pixel = (x < self.width).then(|| self.pixels.get(y * self.width + x));
        let [_, red, green, blue] = pixel.flatten().copied().unwrap_or(0).to_be_bytes();
        [red, green, blue]
    }
}

/// A rectangle in a canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Place {
    /// The largest of the picture's shape in the middle of the canvas, at least a pixel.
    fn fit(picture: (usize, usize), canvas: (usize, usize)) -> Self {
        let (width, height) = if picture.0 * canvas.1 >= picture.1 * canvas.0 {
            (canvas.0, (picture.1 * canvas.0 + picture.0 / 2) / picture.0)
        } else {
            ((picture.0 * canvas.1 + picture.1 / 2) / picture.1, canvas.1)
        };
        let (width, height) = (width.max(1), height.max(1));
        Self {
            left: (canvas.0 - width) / 2,
            top: (canvas.1 - height) / 2,
            width,
            height,
        }
    }
}

/// Decodes and scales, in buffers that it keeps.
pub struct Painter {
    decompressor: Decompressor,
    resizer: Resizer,
    decoded: Vec<u8>,
    scaled: Image<'static>,
}

impl Painter {
    /// A painter.
    ///
    /// # Errors
    /// If there is no memory for a decoder.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            decompressor: Decompressor::new()?,
            resizer: Resizer::new(),
            decoded: Vec::new(),
            scaled: Image::new(1, 1, PixelType::U8x4),
        })
    }

    /// Paints a frame as large as fits into a canvas that has been reset.
    ///
    /// # Errors
    /// If the frame is no picture, or a damaged one; the canvas is then untouched.
    pub fn paint(&mut self, frame: &Frame, canvas: &mut Canvas) -> Result<(), Error> {
        if frame.head.format != Format::Jpeg {
            return Err(Error::Opaque);
        }
        if canvas.pixels.is_empty() {
            return Ok(());
        }
        let header = self.decompressor.read_header(frame.data())?;
        let picture = (header.width, header.height);
        if picture.0 == 0 || picture.1 == 0 || picture.0.saturating_mul(picture.1) > MAX_PIXELS {
            return Err(Error::TooLarge(picture.0, picture.1));
        }
        let place = Place::fit(picture, (canvas.width, canvas.height));
        let size = self.decode(frame, picture, place)?;
        let pixels = if size == (place.width, place.height) {
            &self.decoded[..]
        } else {
            self.scale(size, place)?;
            self.scaled.buffer()
        };
        copy(pixels, place, canvas);
        Ok(())
    }

    /// Decodes at the smallest of the sizes JPEG offers that is no smaller than the place.
    fn decode(
        &mut self,
        frame: &Frame,
        picture: (usize, usize),
        place: Place,
    ) -> Result<(usize, usize), Error> {
        let factor = (1..=EIGHTHS)
            .map(|eighths| ScalingFactor::new(eighths, EIGHTHS))
            .find(|factor| {
                factor.scale(picture.0) >= place.width && factor.scale(picture.1) >= place.height
            })
            .unwrap_or(ScalingFactor::ONE);
        let (width, height) = (factor.scale(picture.0), factor.scale(picture.1));
        self.decompressor.set_scaling_factor(factor)?;
        self.decoded.resize(BYTES_PER_PIXEL * width * height, 0);
        let output = turbojpeg::Image {
            pixels: &mut self.decoded[..],
            width,
            pitch: BYTES_PER_PIXEL * width,
            height,
            format: PixelFormat::BGRX,
        };
        self.decompressor.decompress(frame.data(), output)?;
        Ok((width, height))
    }

    fn scale(&mut self, (width, height): (usize, usize), place: Place) -> Result<(), Error> {
        let side = |pixels: usize| u32::try_from(pixels).map_err(|e| Error::Scale(e.to_string()));
        let (to_width, to_height) = (side(place.width)?, side(place.height)?);
        if (self.scaled.width(), self.scaled.height()) != (to_width, to_height) {
            self.scaled = Image::new(to_width, to_height, PixelType::U8x4);
        }
        let from = ImageRef::new(side(width)?, side(height)?, &self.decoded, PixelType::U8x4);
        let from = from.map_err(|error| Error::Scale(error.to_string()))?;
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .use_alpha(false);
        let scaled = self.resizer.resize(&from, &mut self.scaled, &options);
        scaled.map_err(|error| Error::Scale(error.to_string()))
    }
}

impl fmt::Debug for Painter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Painter").finish_non_exhaustive()
    }
}

/// Copies blue, green, red and a byte of no meaning per pixel to a place.
fn copy(pixels: &[u8], place: Place, canvas: &mut Canvas) {
    let rows = canvas.pixels.chunks_exact_mut(canvas.width).skip(place.top);
    for (to, from) in rows.zip(pixels.chunks_exact(BYTES_PER_PIXEL * place.width)) {
        let to = &mut to[place.left..place.left + place.width];
        for (to, from) in to.iter_mut().zip(from.chunks_exact(BYTES_PER_PIXEL)) {
            *to = u32::from_le_bytes([from[0], from[1], from[2], 0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::{Head, Identity, Timestamp};

    const RED: u32 = 0x00e0_2010;

    fn frame(width: usize, height: usize) -> Frame {
        let pixels = [0xe0, 0x20, 0x10].repeat(width * height);
        let picture = turbojpeg::Image {
            pixels: &pixels[..],
            width,
            pitch: 3 * width,
            height,
            format: PixelFormat::RGB,
        };
        let jpeg = turbojpeg::compress(picture, 95, turbojpeg::Subsamp::None).unwrap();
        let identity = Identity { epoch: 1, seq: 1 };
        let head = Head::new(identity, Timestamp::default(), Format::Jpeg);
        Frame::new(head, Bytes::from(jpeg.to_vec()))
    }

    fn is_near(pixel: u32, expected: u32) -> bool {
        let pairs = pixel.to_be_bytes().into_iter().zip(expected.to_be_bytes());
        pairs
            .into_iter()
            .all(|(one, other)| one.abs_diff(other) <= 3)
    }

    fn painted(picture: (usize, usize), canvas: (usize, usize)) -> Canvas {
        let mut painted = Canvas::default();
        painted.reset(canvas.0, canvas.1);
        let mut painter = Painter::new().unwrap();
        painter
            .paint(&frame(picture.0, picture.1), &mut painted)
            .unwrap();
        painted
    }

    #[test]
    fn shapes_are_kept_in_the_middle() {
        let place = |picture, canvas| {
            let place = Place::fit(picture, canvas);
            (place.left, place.top, place.width, place.height)
        };
        assert_eq!(place((640, 480), (640, 480)), (0, 0, 640, 480));
        assert_eq!(place((640, 480), (1920, 1080)), (240, 0, 1440, 1080));
        assert_eq!(place((1280, 720), (640, 480)), (0, 60, 640, 360));
        assert_eq!(place((10_000, 1), (4, 4)), (0, 1, 4, 1));
        assert_eq!(place((3, 7), (1, 1)), (0, 0, 1, 1));
    }

    #[test]
    fn a_picture_is_painted_at_any_size_with_black_bars() {
        for (picture, canvas) in [
            ((64, 48), (64, 48)),
            ((64, 48), (200, 100)),
            ((640, 480), (81, 300)),
            ((17, 9), (33, 5)),
        ] {
            let place = Place::fit(picture, canvas);
            let painted = painted(picture, canvas);
            for (index, &pixel) in painted.pixels.iter().enumerate() {
                let (x, y) = (index % canvas.0, index / canvas.0);
                let is_inside = (place.left..place.left + place.width).contains(&x)
                    && (place.top..place.top + place.height).contains(&y);
                let expected = if is_inside { RED } else { 0 };
                assert!(
                    is_near(pixel, expected),
                    "{picture:?} {canvas:?} {x} {y}: {pixel:x}"
                );
            }
        }
    }

    #[test]
    fn colours_come_out_as_they_went_in() {
        let painted = painted((8, 8), (8, 8));
        let [red, green, blue] = painted.rgb(3, 3);
        assert!(red > 0xd8 && green < 0x28 && blue < 0x18);
        assert_eq!(painted.rgb(8, 0), [0; 3]);
    }

    #[test]
    fn small_places_are_decoded_small() {
        let mut painter = Painter::new().unwrap();
        let place = Place::fit((640, 480), (80, 60));
        let size = painter.decode(&frame(640, 480), (640, 480), place).unwrap();
        assert_eq!(size, (80, 60));
        let place = Place::fit((640, 480), (81, 61));
        let size = painter.decode(&frame(640, 480), (640, 480), place).unwrap();
        assert_eq!(size, (160, 120));
    }

    #[test]
    fn what_is_no_picture_leaves_the_canvas_alone() {
        let mut painter = Painter::new().unwrap();
        let mut canvas = Canvas::default();
        canvas.reset(4, 4);
        let mut opaque = frame(8, 8);
        opaque.head.format = Format::Opaque;
        assert!(matches!(
            painter.paint(&opaque, &mut canvas),
            Err(Error::Opaque)
        ));
        let whole = frame(64, 64);
        let cut = whole.data().slice(..whole.data().len() / 2);
        let cut = Frame::new(whole.head, cut);
        assert!(matches!(
            painter.paint(&cut, &mut canvas),
            Err(Error::Jpeg(_))
        ));
        assert_eq!(canvas.pixels, [0; 16]);
    }
}
