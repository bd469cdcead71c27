//! A camera's own JPEGs: passed on as they are, once they are known to be whole.
//!
//! Each says its own size. Some cameras say another one than was set, such as 1088 lines for 1080
//! because they encode whole blocks: two in a row are believed. A single one of another size is
//! damaged, or one that stale bytes completed.

use bytes::Bytes;
use common::wire::DecodeError;
use common::{Format, jpeg};
use tracing::warn;

use crate::capture::Picture;

/// Looks a camera's JPEGs over, one after the other.
#[derive(Debug)]
pub(super) struct Jpegs {
    camera: String,
    /// Width and height: those that were set, then those that the pictures have.
    size: (u16, u16),
    /// Another size, which the last picture had.
    other: Option<(u16, u16)>,
    is_told: bool,
}

impl Jpegs {
    /// Those of a camera that was set to this size.
    pub(super) fn new(camera: &str, size: (u16, u16)) -> Self {
        Self {
            camera: camera.to_owned(),
            size,
            other: None,
            is_told: false,
        }
    }

    /// A picture up to its own end, with the Huffman tables that some cameras leave out.
    ///
    /// # Errors
    /// If it is not whole, or is the first of another size; the text says which.
    pub(super) fn checked(&mut self, data: &Bytes) -> Result<Picture, String> {
        let found = jpeg::scan(data).map_err(|error| match error {
            DecodeError::Incomplete { .. } => "cut off at the end".to_owned(),
            DecodeError::Invalid { .. } => error.to_string(),
        })?;
        let (width, height) = (found.width, found.height);
        self.check_size((width, height))?;
        let own = data.slice(..found.length);
        Ok(Picture::Encoded {
            format: Format::Jpeg,
            width,
            height,
            data: jpeg::with_tables(&own).map_or(own, Bytes::from),
        })
    }

    fn check_size(&mut self, found: (u16, u16)) -> Result<(), String> {
        let before = self.other.take();
        if found == self.size {
            return Ok(());
        }
        let ((width, height), (set_width, set_height)) = (found, self.size);
        if before != Some(found) {
            self.other = Some(found);
            return Err(format!(
                "{width}x{height} pixels instead of {set_width}x{set_height}"
            ));
        }
        if !self.is_told {
            self.is_told = true;
            warn!(
                camera = %self.camera,
                "its pictures measure {width}x{height}, though {set_width}x{set_height} was set; \
                 they are shown as they are"
            );
        }
        self.size = found;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{self, Encoder};
    use common::Image;

    fn jpegs() -> Jpegs {
        Jpegs::new("camera", (64, 48))
    }

    fn picture() -> Bytes {
        picture_of(64, 48)
    }

    fn picture_of(width: u16, height: u16) -> Bytes {
        let mut image = Image::filled(width, height, [200, 100, 50]);
        image.fill(10..30, 10..30, [0, 0, 255]);
        Encoder::new(80).unwrap().jpeg(&image).unwrap().into()
    }

    /// The segments of a picture up to its first scan: marker and where each stands.
    fn segments(jpeg: &[u8]) -> Vec<(u8, std::ops::Range<usize>)> {
        let mut at = 2;
        let mut segments = Vec::new();
        while jpeg[at + 1] != 0xda {
            let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            segments.push((jpeg[at + 1], at..at + 2 + length));
            at += 2 + length;
        }
        segments
    }

    /// All Huffman tables of a picture, sorted.
    fn tables(jpeg: &[u8]) -> Vec<Vec<u8>> {
        let huffman = segments(jpeg)
            .into_iter()
            .filter(|(marker, _)| *marker == 0xc4);
        let mut tables = Vec::new();
        for (_, place) in huffman {
            let mut rest = &jpeg[place.start + 4..place.end];
            while !rest.is_empty() {
                let codes: usize = rest[1..17].iter().map(|&count| usize::from(count)).sum();
                let (table, tail) = rest.split_at(17 + codes);
                tables.push(table.to_vec());
                rest = tail;
            }
        }
        tables.sort();
        tables
    }

    fn without_tables(jpeg: &[u8]) -> Vec<u8> {
        let mut bare = jpeg.to_vec();
        for (marker, place) in segments(jpeg).into_iter().rev() {
            if marker == 0xc4 {
                bare.drain(place);
            }
        }
        bare
    }

    fn data(picture: Picture) -> Bytes {
        match picture {
            Picture::Encoded { data, .. } => data,
            _ => panic!("not encoded"),
        }
    }

    #[test]
    fn tables_that_a_camera_left_out_are_put_in() {
        let whole = picture();
        assert_eq!(tables(&whole).len(), 4);
        let bare = without_tables(&whole);
        assert_eq!(tables(&bare).len(), 0);
        let mended = data(jpegs().checked(&bare.into()).unwrap());
        assert_eq!(tables(&mended), tables(&whole));
        let pixels = |jpeg: &[u8]| encode::decode(jpeg).unwrap().pixels;
        assert_eq!(pixels(&mended), pixels(&whole));
    }

    #[test]
    fn a_whole_picture_is_passed_on_without_what_is_stale_behind_it() {
        let whole = picture();
        let stale = Bytes::from([&whole[..], &whole[100..]].concat());
        let passed_on = data(jpegs().checked(&stale).unwrap());
        assert_eq!(passed_on, whole);
        assert_eq!(passed_on.as_ptr(), stale.as_ptr(), "copied");
    }

    #[test]
    fn a_cut_picture_is_not_passed_on() {
        let whole = picture();
        let cut = whole.slice(..whole.len() - 40);
        assert_eq!(jpegs().checked(&cut).unwrap_err(), "cut off at the end");
    }

    #[test]
    fn another_size_is_believed_from_the_second_picture_in_a_row_on() {
        let tall = picture_of(64, 56);
        let mut jpegs = jpegs();
        let refused = jpegs.checked(&tall).unwrap_err();
        assert_eq!(refused, "64x56 pixels instead of 64x48");
        for _ in 0..2 {
            let Picture::Encoded { width, height, .. } = jpegs.checked(&tall).unwrap() else {
                panic!("not encoded");
            };
            assert_eq!((width, height), (64, 56));
        }
        assert!(jpegs.checked(&picture()).is_err());
    }

    #[test]
    fn sizes_that_differ_from_picture_to_picture_are_damage() {
        let mut jpegs = jpegs();
        for height in [56, 64, 56, 64] {
            assert!(jpegs.checked(&picture_of(64, height)).is_err());
        }
        for _ in 0..3 {
            assert!(jpegs.checked(&picture_of(64, 56)).is_err());
            jpegs.checked(&picture()).unwrap();
        }
    }
}
