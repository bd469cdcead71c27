//! The picture that stands in while the source is gone: the last one, dimmed, with words; grey
//! before there was any.

use bytes::Bytes;
use common::{Flags, Format, Frame, Head, Identity, Image, Timestamp};

use super::life::Reason;
use super::pattern::{clock_face, text};
use crate::encode::{self, Encoder, Error};

const GREY: [u8; 3] = [72; 3];
/// The last picture keeps this share of its light.
const DIMMED_TO: u8 = 3;

/// What a placeholder is made from.
#[derive(Debug)]
pub(super) struct Before<'a> {
    /// The last real frame, if there was one.
    pub(super) last: Option<&'a Frame>,
    /// When the channel was opened, wall clock ns.
    pub(super) epoch: u64,
    /// What the channel's frames are.
    pub(super) format: Format,
    /// How large to be without a last picture.
    pub(super) size: (u16, u16),
    /// What is the matter.
    pub(super) reason: Reason,
}

/// A placeholder. It bears the identity and capture time of the last real frame. An opaque
/// channel's has no bytes at all: what stands for nothing needs no picture.
///
/// # Errors
/// If the JPEG library refuses.
pub(super) fn frame(before: &Before<'_>, encoder: &mut Encoder) -> Result<Frame, Error> {
    let mut head = before.last.map_or_else(|| first(before), |last| last.head);
    head.flags = head.flags.with(Flags::PLACEHOLDER);
    if head.format == Format::Opaque {
        return Ok(Frame::new(head, Bytes::new()));
    }
    let image = draw(before);
    (head.width, head.height) = (image.width, image.height);
    Ok(Frame::new(head, encoder.jpeg(&image)?.into()))
}

const fn first(before: &Before<'_>) -> Head {
    let epoch = before.epoch;
    let identity = Identity { epoch, seq: 0 };
    Head::new(identity, Timestamp::from_nanos(epoch), before.format)
}

fn draw(before: &Before<'_>) -> Image {
    let (what, then) = match before.reason {
        Reason::Gone => ("no signal", None),
        Reason::Starting => ("starting", Some("the source is being opened")),
    };
    let (mut image, lines) = match before.last {
        None => {
            let lines = [what].into_iter().chain(then);
            (grey(before.size), lines.map(str::to_owned).collect())
        }
        Some(last) => {
            // The last picture may be one that only looked whole.
            let image = encode::decode(last.data())
                .map_or_else(|_| grey((last.head.width, last.head.height)), dimmed);
            let since = clock_face(last.head.captured_at);
            let lines = [what, "last picture", &since].map(str::to_owned);
            (image, Vec::from(lines))
        }
    };
    let room = text::rows(&image);
    let top = room.saturating_sub(lines.len()) / 2;
    for (row, line) in lines.iter().enumerate() {
        text::draw_centred(&mut image, top + row, line);
    }
    image
}

fn grey((width, height): (u16, u16)) -> Image {
    Image::filled(width.max(1), height.max(1), GREY)
}

fn dimmed(mut image: Image) -> Image {
    for value in &mut image.pixels {
        *value /= DIMMED_TO;
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Identity = Identity { epoch: 5, seq: 9 };

    fn frame_of(image: &Image) -> Frame {
        let captured_at = Timestamp::from_nanos(1_700_000_000_000_000_000);
        let head = Head {
            width: image.width,
            height: image.height,
            ..Head::new(LAST, captured_at, Format::Jpeg)
        };
        let jpeg = Encoder::new(90).unwrap().jpeg(image).unwrap();
        Frame::new(head, jpeg.into())
    }

    fn placeholder(last: Option<&Frame>, format: Format) -> Frame {
        let before = Before {
            last,
            epoch: 5,
            format,
            size: (320, 240),
            reason: Reason::Gone,
        };
        frame(&before, &mut Encoder::new(90).unwrap()).unwrap()
    }

    fn pixel(frame: &Frame, x: usize, y: usize) -> u8 {
        let mut image = encode::decode(frame.data()).unwrap();
        image.span_mut(x, y, 1)[0]
    }

    #[test]
    fn the_last_picture_is_dimmed_and_has_words_on_it() {
        let last = frame_of(&Image::filled(240, 240, [240; 3]));
        let placeholder = placeholder(Some(&last), Format::Jpeg);
        let head = placeholder.head;
        assert!(head.is_placeholder() && head.flags.contains(Flags::KEY));
        assert_eq!(head.identity, LAST);
        assert_eq!(head.captured_at, last.head.captured_at);
        assert_eq!((head.width, head.height), (240, 240));
        assert!((70..90).contains(&pixel(&placeholder, 230, 20)));
        let image = encode::decode(placeholder.data()).unwrap();
        assert!(image.pixels.iter().any(|&value| value > 200), "no words");
    }

    #[test]
    fn before_any_picture_it_is_grey_at_the_size_asked_for() {
        let placeholder = placeholder(None, Format::Jpeg);
        let head = placeholder.head;
        assert_eq!((head.width, head.height), (320, 240));
        assert_eq!(head.identity, Identity { epoch: 5, seq: 0 });
        assert!(pixel(&placeholder, 300, 20).abs_diff(GREY[0]) < 4);
    }

    #[test]
    fn a_last_picture_that_is_broken_is_no_obstacle() {
        let whole = frame_of(&Image::filled(64, 48, [240; 3]));
        let broken = Frame::new(whole.head, whole.data().slice(..300));
        let placeholder = placeholder(Some(&broken), Format::Jpeg);
        assert!(encode::check(placeholder.data()).is_ok());
        assert_eq!((placeholder.head.width, placeholder.head.height), (64, 48));
    }

    #[test]
    fn an_opaque_channel_has_one_without_bytes() {
        let placeholder = placeholder(None, Format::Opaque);
        assert!(placeholder.head.is_placeholder());
        assert_eq!(placeholder.head.format, Format::Opaque);
        assert!(placeholder.data().is_empty());
    }
}
