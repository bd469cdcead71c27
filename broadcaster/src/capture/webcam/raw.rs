//! Pixels as cameras send them become planes as JPEG has them: full range, each component for
//! itself. The encoder takes those as they are; going over RGB would compute every pixel twice.

use common::Image;

use super::mode::Pixels;
use crate::capture::{Picture, Planar, Sampling};

/// What the darkest and lightest values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// 0 to 255, as in JPEG.
    Full,
    /// 16 to 235, and 16 to 240 for chroma, as in video.
    Limited,
}

/// Bytes of a picture; `None` for MJPEG, which has as many as it needs.
pub(super) const fn bytes_of(pixels: Pixels, (width, height): (u16, u16)) -> Option<usize> {
    let count = width as usize * height as usize;
    match pixels {
        Pixels::Mjpeg => None,
        Pixels::Grey => Some(count),
        Pixels::Nv12 => Some(count * 3 / 2),
        Pixels::Yuyv => Some(count * 2),
        Pixels::Rgb | Pixels::Bgr => Some(count * 3),
    }
}

/// The picture in `bytes`, which has rows without padding; `None` if bytes are missing, or for
/// MJPEG.
pub(super) fn picture(
    pixels: Pixels,
    size: (u16, u16),
    range: Range,
    bytes: &[u8],
) -> Option<Picture> {
    let bytes = bytes.get(..bytes_of(pixels, size)?)?;
    let stretch = Stretch::new(range);
    let picture = match pixels {
        Pixels::Mjpeg => return None,
        Pixels::Yuyv => Picture::Planar(yuyv(bytes, size, &stretch)),
        Pixels::Nv12 => Picture::Planar(nv12(bytes, size, &stretch)),
        // Grey cameras use the full range, whatever their drivers say about colours.
        Pixels::Grey => Picture::Planar(planar(size, Sampling::Grey, bytes.to_vec())),
        Pixels::Rgb => Picture::Raw(image(size, bytes.to_vec())),
        Pixels::Bgr => {
            let mut rgb = bytes.to_vec();
            rgb.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
            Picture::Raw(image(size, rgb))
        }
    };
    Some(picture)
}

const fn planar((width, height): (u16, u16), sampling: Sampling, data: Vec<u8>) -> Planar {
    Planar {
        width,
        height,
        sampling,
        data,
    }
}

const fn image((width, height): (u16, u16), pixels: Vec<u8>) -> Image {
    Image {
        width,
        height,
        pixels,
    }
}

fn yuyv(bytes: &[u8], size: (u16, u16), stretch: &Stretch) -> Planar {
    let mut data = vec![0; bytes.len()];
    let (luma, chroma) = data.split_at_mut(bytes.len() / 2);
    let (blue, red) = chroma.split_at_mut(bytes.len() / 4);
    let pairs = luma.chunks_exact_mut(2).zip(blue).zip(red);
    for (from, ((luma, blue), red)) in bytes.chunks_exact(4).zip(pairs) {
        luma[0] = stretch.luma[usize::from(from[0])];
        luma[1] = stretch.luma[usize::from(from[2])];
        *blue = stretch.chroma[usize::from(from[1])];
        *red = stretch.chroma[usize::from(from[3])];
    }
    planar(size, Sampling::Half, data)
}

fn nv12(bytes: &[u8], size: (u16, u16), stretch: &Stretch) -> Planar {
    let luma_bytes = bytes.len() * 2 / 3;
    let mut data = vec![0; bytes.len()];
    let (luma, chroma) = data.split_at_mut(luma_bytes);
    let (blue, red) = chroma.split_at_mut(bytes.len() / 6);
    for (from, luma) in bytes.iter().zip(luma) {
        *luma = stretch.luma[usize::from(*from)];
    }
    for (from, (blue, red)) in bytes[luma_bytes..]
        .chunks_exact(2)
        .zip(blue.iter_mut().zip(red))
    {
        *blue = stretch.chroma[usize::from(from[0])];
        *red = stretch.chroma[usize::from(from[1])];
    }
    planar(size, Sampling::Quarter, data)
}

/// What each value becomes in full range.
struct Stretch {
    luma: [u8; 256],
    chroma: [u8; 256],
}

impl Stretch {
    fn new(range: Range) -> Self {
        match range {
            Range::Full => {
                let same = std::array::from_fn(|value| value.to_le_bytes()[0]);
                Self {
                    luma: same,
                    chroma: same,
                }
            }
            // ITU-R BT.601: luma has 219 steps from 16 on, chroma 224 around 128.
            Range::Limited => Self {
                luma: std::array::from_fn(|value| stretched(value, 16, 0, 219)),
                chroma: std::array::from_fn(|value| stretched(value, 128, 128, 224)),
            },
        }
    }
}

/// `value` moved from around `from` to around `to`, with `steps` spread over 255.
fn stretched(value: usize, from: i32, to: i32, steps: i32) -> u8 {
    let value = i32::try_from(value).expect("below 256");
    let scaled = (value - from) * 255;
    let rounded = (scaled + steps / 2 * scaled.signum()) / steps;
    (to + rounded).clamp(0, 255).to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;

    const SIZE: (u16, u16) = (32, 16);
    /// Red, as BT.601 has it in full range.
    const RED: [u8; 3] = [76, 85, 255];

    fn limited([luma, blue, red]: [u8; 3]) -> [u8; 3] {
        let scale = |value: u8, from: f64, to: f64, steps: f64| {
            let value = (f64::from(value) - from) * steps / 255.0 + to;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "within 16 to 240"
            )]
            let value = value.round() as u8;
            value
        };
        [
            scale(luma, 0.0, 16.0, 219.0),
            scale(blue, 128.0, 128.0, 224.0),
            scale(red, 128.0, 128.0, 224.0),
        ]
    }

    fn filled(pixels: Pixels, [luma, blue, red]: [u8; 3]) -> Vec<u8> {
        let count = usize::from(SIZE.0) * usize::from(SIZE.1);
        match pixels {
            Pixels::Yuyv => [luma, blue, luma, red].repeat(count / 2),
            Pixels::Nv12 => [vec![luma; count], [blue, red].repeat(count / 4)].concat(),
            Pixels::Grey => vec![luma; count],
            Pixels::Rgb => [254, 0, 0].repeat(count),
            Pixels::Bgr => [0, 0, 254].repeat(count),
            Pixels::Mjpeg => unreachable!("has no pixels"),
        }
    }

    /// The colour that viewers see in the middle.
    fn seen(picture: Picture) -> [u8; 3] {
        let mut encoder = encode::Encoder::new(95).unwrap();
        let jpeg = match picture {
            Picture::Raw(image) => encoder.jpeg(&image).unwrap(),
            Picture::Planar(planar) => encoder.planar_jpeg(&planar).unwrap(),
            Picture::Encoded { .. } | Picture::Framed(_) => panic!("pixels are not encoded"),
        };
        let mut image = encode::decode(&jpeg).unwrap();
        assert_eq!((image.width, image.height), SIZE);
        image.span_mut(16, 8, 1).try_into().unwrap()
    }

    fn is_near(seen: [u8; 3], wanted: [u8; 3]) -> bool {
        seen.iter()
            .zip(wanted)
            .all(|(seen, wanted)| seen.abs_diff(wanted) <= 4)
    }

    #[test]
    fn red_stays_red_in_every_format_and_range() {
        for pixels in [Pixels::Yuyv, Pixels::Nv12, Pixels::Rgb, Pixels::Bgr] {
            for (range, colour) in [(Range::Full, RED), (Range::Limited, limited(RED))] {
                let picture = picture(pixels, SIZE, range, &filled(pixels, colour)).unwrap();
                let seen = seen(picture);
                assert!(is_near(seen, [254, 0, 0]), "{pixels} {range:?}: {seen:?}");
            }
        }
    }

    #[test]
    fn limited_black_and_white_become_full() {
        for (luma, expected) in [(16, 0), (235, 255), (0, 0), (255, 255)] {
            let bytes = filled(Pixels::Yuyv, [luma, 128, 128]);
            let picture = picture(Pixels::Yuyv, SIZE, Range::Limited, &bytes).unwrap();
            assert_eq!(seen(picture), [expected; 3], "{luma}");
        }
        let grey = picture(
            Pixels::Grey,
            SIZE,
            Range::Limited,
            &filled(Pixels::Grey, RED),
        );
        assert!(is_near(seen(grey.unwrap()), [76; 3]));
    }

    #[test]
    fn pixels_stay_in_their_places() {
        let mut bytes = filled(Pixels::Yuyv, [0, 128, 128]);
        bytes[2 * 33] = 200;
        let Some(Picture::Planar(planar)) = picture(Pixels::Yuyv, SIZE, Range::Full, &bytes) else {
            panic!("not planar");
        };
        let lit = planar.data.iter().position(|&value| value == 200);
        assert_eq!(lit, Some(33));
    }

    #[test]
    fn a_picture_with_missing_bytes_is_none() {
        for pixels in [
            Pixels::Yuyv,
            Pixels::Nv12,
            Pixels::Grey,
            Pixels::Rgb,
            Pixels::Bgr,
        ] {
            let mut bytes = filled(pixels, RED);
            bytes.push(0);
            assert!(
                picture(pixels, SIZE, Range::Full, &bytes).is_some(),
                "{pixels}"
            );
            bytes.truncate(bytes.len() - 2);
            assert!(
                picture(pixels, SIZE, Range::Full, &bytes).is_none(),
                "{pixels}"
            );
        }
        assert!(picture(Pixels::Mjpeg, SIZE, Range::Full, &[0; 9_999]).is_none());
    }
}
