//! Pictures become frames: JPEG from pixels, or the bytes of a source that already encodes.
//!
//! Every frame is encoded here once; from then on its bytes are shared. For benchmarks an encoder
//! can make frames of an exact size: JPEGs padded with comment segments, or, where no JPEG is that
//! small, opaque bytes.

use bytes::Bytes;
use common::{Budget, Flags, Format, Frame, Head, Identity, Image, Timestamp, jpeg};
use turbojpeg::{Compressor, Decompressor, PixelFormat, ScalingFactor, Subsamp};

use crate::capture::{Captured, Picture, Planar, Sampling};

/// Pictures above this are not decoded, so that a forged head cannot ask for all memory.
const MAX_PIXELS: usize = 100_000_000;
/// How much larger than the sample a later picture may be before it no longer fits.
const MARGIN_PERCENT: usize = 115;

/// Why a picture did not become a frame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The JPEG library refused.
    #[error("jpeg: {0}")]
    Jpeg(#[from] turbojpeg::Error),
    /// More bytes than a frame may have.
    #[error("{bytes} bytes, a frame may have at most {}", Frame::MAX_BYTES)]
    TooLarge {
        /// What it would have.
        bytes: usize,
    },
    /// More pixels than are decoded.
    #[error("{width}x{height} pixels, at most {MAX_PIXELS} are decoded")]
    TooManyPixels {
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// A picture that does not fit its exact size at any quality.
    #[error("{found} bytes at the lowest quality, exactly {wanted} were asked for")]
    DoesNotFit {
        /// What was asked for.
        wanted: usize,
        /// What it has.
        found: usize,
    },
}

/// Makes frames. Owned by the capture thread.
#[derive(Debug)]
pub struct Encoder {
    compressor: Compressor,
    quality: u8,
    shape: Shape,
}

/// What the frames are to look like on the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Jpeg,
    PaddedJpeg(usize),
    Opaque(usize),
}

impl Encoder {
    /// An encoder to JPEG of this quality, 1 to 100.
    ///
    /// # Errors
    /// If the JPEG library refuses.
    pub fn new(quality: u8) -> Result<Self, Error> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(quality.into())?;
        Ok(Self {
            compressor,
            quality,
            shape: Shape::Jpeg,
        })
    }

    /// An encoder to frames of exactly `bytes`: JPEG of at most this quality if a picture like
    /// `sample` can be made that small, else opaque.
    ///
    /// # Errors
    /// If the JPEG library refuses.
    pub fn exact(quality: u8, bytes: usize, sample: &Image) -> Result<Self, Error> {
        let smallest = Self::new(1)?.jpeg(sample)?.len();
        let mut encoder = Self::new(quality)?;
        encoder.shape = if smallest * MARGIN_PERCENT / 100 <= bytes {
            Shape::PaddedJpeg(bytes)
        } else {
            Shape::Opaque(bytes)
        };
        Ok(encoder)
    }

    /// What the frames will be.
    #[must_use]
    pub const fn format(&self) -> Format {
        match self.shape {
            Shape::Jpeg | Shape::PaddedJpeg(_) => Format::Jpeg,
            Shape::Opaque(_) => Format::Opaque,
        }
    }

    /// A frame of this picture, charged to `budget` for as long as anybody holds it.
    ///
    /// # Errors
    /// If it cannot be encoded or is larger than a frame may be.
    pub fn encode(
        &mut self,
        captured: Captured,
        identity: Identity,
        budget: &Budget,
    ) -> Result<Frame, Error> {
        let at = captured.captured_at;
        let (head, data) = match (captured.picture, self.shape) {
            (Picture::Framed(mut frame), _) => {
                frame.head.identity = identity;
                return Ok(frame.charged_to(budget));
            }
            (_, Shape::Opaque(bytes)) => {
                let head = head(identity, at, Format::Opaque, (0, 0));
                (head, Bytes::from(vec![0; bytes]))
            }
            (Picture::Raw(image), shape) => {
                let jpeg = match shape {
                    Shape::PaddedJpeg(bytes) => self.exact_jpeg(&image, bytes)?,
                    _ => self.jpeg(&image)?.into(),
                };
                let size = (image.width, image.height);
                (head(identity, at, Format::Jpeg, size), jpeg)
            }
            (Picture::Planar(planar), _) => {
                let size = (planar.width, planar.height);
                let jpeg = self.planar_jpeg(&planar)?.into();
                (head(identity, at, Format::Jpeg, size), jpeg)
            }
            (
                Picture::Encoded {
                    format,
                    width,
                    height,
                    data,
                },
                _,
            ) => (head(identity, at, format, (width, height)), data),
        };
        if data.len() > Frame::MAX_BYTES {
            return Err(Error::TooLarge { bytes: data.len() });
        }
        Ok(Frame::new(head, budget.charge(data)))
    }

    /// The image as JPEG.
    ///
    /// # Errors
    /// If the JPEG library refuses.
    pub fn jpeg(&mut self, image: &Image) -> Result<Vec<u8>, Error> {
        let width = usize::from(image.width);
        let view = turbojpeg::Image {
            pixels: &image.pixels[..],
            width,
            pitch: 3 * width,
            height: image.height.into(),
            format: PixelFormat::RGB,
        };
        // A planar picture may have set another one.
        self.compressor.set_subsamp(Subsamp::Sub2x2)?;
        Ok(self.compressor.compress_to_vec(view)?)
    }

    /// The planes as JPEG, without any change of colours.
    ///
    /// # Errors
    /// If the JPEG library refuses.
    pub fn planar_jpeg(&mut self, planar: &Planar) -> Result<Vec<u8>, Error> {
        let view = turbojpeg::YuvImage {
            pixels: &planar.data[..],
            width: planar.width.into(),
            align: 1,
            height: planar.height.into(),
            subsamp: match planar.sampling {
                Sampling::Half => Subsamp::Sub2x1,
                Sampling::Quarter => Subsamp::Sub2x2,
                Sampling::Grey => Subsamp::Gray,
            },
        };
        Ok(self.compressor.compress_yuv_to_vec(view)?)
    }

    /// Lowers the quality, for good, until the picture fits; then pads it.
    fn exact_jpeg(&mut self, image: &Image, bytes: usize) -> Result<Bytes, Error> {
        loop {
            let jpeg = self.jpeg(image)?;
            if jpeg.len() <= bytes {
                return Ok(jpeg::pad(&jpeg, bytes));
            }
            if self.quality == 1 {
                let (wanted, found) = (bytes, jpeg.len());
                return Err(Error::DoesNotFit { wanted, found });
            }
            self.quality -= self.quality.div_ceil(8);
            self.compressor.set_quality(self.quality.into())?;
        }
    }
}

const fn head(identity: Identity, at: Timestamp, format: Format, size: (u16, u16)) -> Head {
    Head {
        identity,
        captured_at: at,
        format,
        width: size.0,
        height: size.1,
        flags: Flags::KEY,
        hops: 0,
    }
}

/// The pixels of a JPEG.
///
/// # Errors
/// If it is damaged anywhere, or larger than is decoded.
pub fn decode(jpeg: &[u8]) -> Result<Image, Error> {
    let mut decompressor = Decompressor::new()?;
    let header = decompressor.read_header(jpeg)?;
    let (width, height) = (header.width, header.height);
    let sides = (u16::try_from(width), u16::try_from(height));
    let (Ok(columns), Ok(rows), true) = (sides.0, sides.1, width * height <= MAX_PIXELS) else {
        return Err(Error::TooManyPixels { width, height });
    };
    let mut image = Image::filled(columns, rows, [0; 3]);
    decompressor.decompress(
        jpeg,
        turbojpeg::Image {
            pixels: &mut image.pixels[..],
            width,
            pitch: 3 * width,
            height,
            format: PixelFormat::RGB,
        },
    )?;
    Ok(image)
}

/// Decodes a JPEG only to see whether it can be decoded.
///
/// # Errors
/// If it is damaged anywhere, or larger than is decoded.
pub fn check(jpeg: &[u8]) -> Result<(), Error> {
    let mut decompressor = Decompressor::new()?;
    let header = decompressor.read_header(jpeg)?;
    let (width, height) = (header.width, header.height);
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(Error::TooManyPixels { width, height });
    }
    // All coefficients are read at any scale; the smallest one costs least.
    let scale = ScalingFactor::ONE_EIGHTH;
    decompressor.set_scaling_factor(scale)?;
    let (width, height) = (scale.scale(width), scale.scale(height));
    let mut pixels = vec![0; width * height];
    decompressor.decompress(
        jpeg,
        turbojpeg::Image {
            pixels: &mut pixels[..],
            width,
            pitch: width,
            height,
            format: PixelFormat::GRAY,
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::pattern::Pattern;
    use std::time::Duration;

    const ID: Identity = Identity { epoch: 1, seq: 2 };

    fn sample(width: u16, height: u16) -> Image {
        Pattern::new((width, height), Duration::from_secs(1)).sample()
    }

    fn encode(encoder: &mut Encoder, image: &Image) -> Frame {
        let captured = Captured {
            captured_at: Timestamp::default(),
            identity: None,
            picture: Picture::Raw(image.clone()),
        };
        encoder.encode(captured, ID, &Budget::new(0)).unwrap()
    }

    #[test]
    fn exact_frames_are_whole_jpegs_of_exactly_that_size() {
        let image = sample(320, 240);
        let natural = Encoder::new(80).unwrap().jpeg(&image).unwrap().len();
        let sizes = (natural..natural + 9).chain([natural * 2 / 3, 65_540 + natural, 200_000]);
        for bytes in sizes {
            let mut encoder = Encoder::exact(80, bytes, &image).unwrap();
            let frame = encode(&mut encoder, &image);
            assert_eq!(frame.data().len(), bytes);
            let scanned = jpeg::scan(frame.data()).unwrap();
            assert_eq!(scanned.length, bytes);
            assert_eq!((scanned.width, scanned.height), (320, 240));
            check(frame.data()).unwrap();
        }
    }

    #[test]
    fn below_the_smallest_jpeg_frames_are_opaque() {
        let image = sample(640, 480);
        let mut encoder = Encoder::exact(80, 64, &image).unwrap();
        assert_eq!(encoder.format(), Format::Opaque);
        let frame = encode(&mut encoder, &image);
        assert_eq!(frame.head.format, Format::Opaque);
        assert_eq!(frame.data().len(), 64);
    }

    #[test]
    fn frames_above_the_limit_are_refused() {
        let captured = Captured {
            captured_at: Timestamp::default(),
            identity: None,
            picture: Picture::Encoded {
                format: Format::Jpeg,
                width: 1,
                height: 1,
                data: vec![0; Frame::MAX_BYTES + 1].into(),
            },
        };
        let refused = (Encoder::new(80).unwrap())
            .encode(captured, ID, &Budget::new(0))
            .unwrap_err();
        assert!(refused.to_string().starts_with("16777217 bytes"));
    }

    #[test]
    fn damage_inside_the_data_is_found() {
        let jpeg = Encoder::new(80).unwrap().jpeg(&sample(64, 64)).unwrap();
        check(&jpeg).unwrap();
        let mut short = jpeg.clone();
        short.drain(jpeg.len() - 200..jpeg.len() - 2);
        assert!(jpeg::scan(&short).is_ok());
        assert!(check(&short).is_err());
    }
}
