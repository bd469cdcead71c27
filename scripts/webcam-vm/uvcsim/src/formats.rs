//! What the camera offers: one or two encodings, four sizes, four rates.

/// Width and height, in the order of their frame indices (from 1). The first is the default.
pub(crate) const SIZES: [(u16, u16); 4] = [(640, 480), (160, 120), (320, 240), (1280, 720)];
/// Time between frames in units of 100 ns: 30, 25, 15 and 5 frames a second.
pub(crate) const INTERVALS: [u32; 4] = [333_333, 400_000, 666_666, 2_000_000];

/// How pictures are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// A JPEG each.
    Mjpeg,
    /// Packed 4:2:2: Y0 U Y1 V.
    Yuyv,
}

/// The encodings a camera has, in the order of their format indices (from 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Offer {
    /// Both, as most cameras.
    #[default]
    Both,
    /// MJPEG only.
    Mjpeg,
    /// YUYV only.
    Yuyv,
}

impl Offer {
    /// The encodings.
    pub(crate) const fn encodings(self) -> &'static [Encoding] {
        match self {
            Self::Both => &[Encoding::Mjpeg, Encoding::Yuyv],
            Self::Mjpeg => &[Encoding::Mjpeg],
            Self::Yuyv => &[Encoding::Yuyv],
        }
    }

    /// The one with this format index, or the nearest.
    fn encoding(self, format_index: u8) -> Encoding {
        let encodings = self.encodings();
        let place = usize::from(format_index).saturating_sub(1);
        encodings[place.min(encodings.len() - 1)]
    }

    /// The format index of an encoding that is offered.
    pub(crate) fn format_index(self, encoding: Encoding) -> u8 {
        let place = self
            .encodings()
            .iter()
            .position(|&offered| offered == encoding);
        let place = place.expect("only what is offered is asked for");
        u8::try_from(place + 1).expect("there are few encodings")
    }
}

/// What the camera sends, or would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// How pictures are encoded.
    pub(crate) encoding: Encoding,
    /// The frame index: place in [`SIZES`], from 1.
    pub(crate) frame_index: u8,
    /// Time between frames in units of 100 ns.
    pub(crate) interval: u32,
}

impl Mode {
    /// What a camera streams if its host has no wish.
    pub(crate) fn first(offer: Offer) -> Self {
        Self::nearest(offer, [1, 1], INTERVALS[0])
    }

    /// Of all that is offered, what is nearest to the host's wish.
    pub(crate) fn nearest(
        offer: Offer,
        [format_index, frame_index]: [u8; 2],
        interval: u32,
    ) -> Self {
        let last = u8::try_from(SIZES.len()).expect("there are few sizes");
        Self {
            encoding: offer.encoding(format_index),
            frame_index: frame_index.clamp(1, last),
            interval: (INTERVALS.into_iter())
                .min_by_key(|offered| offered.abs_diff(interval))
                .expect("there is an interval"),
        }
    }

    /// Width and height.
    pub(crate) fn size(self) -> (u16, u16) {
        SIZES[usize::from(self.frame_index) - 1]
    }

    /// Most bytes of a frame.
    pub(crate) fn max_frame_bytes(self) -> u32 {
        let (width, height) = self.size();
        max_frame_bytes(width, height)
    }
}

/// Most bytes of a frame of this size, whatever its encoding.
pub(crate) fn max_frame_bytes(width: u16, height: u16) -> u32 {
    u32::from(width) * u32::from(height) * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_answered_with_what_is_nearest() {
        let nearest = |indices, interval| Mode::nearest(Offer::Both, indices, interval);
        let mode = nearest([2, 4], 500_000);
        assert_eq!((mode.encoding, mode.size()), (Encoding::Yuyv, (1280, 720)));
        assert_eq!(mode.interval, 400_000);
        assert_eq!(nearest([0, 0], 0), Mode::first(Offer::Both));
        assert_eq!(nearest([9, 9], u32::MAX).interval, 2_000_000);
        assert_eq!(nearest([9, 9], 0).size(), (1280, 720));
    }

    #[test]
    fn a_camera_with_one_encoding_has_no_other() {
        let mode = Mode::nearest(Offer::Yuyv, [1, 1], 0);
        assert_eq!(mode.encoding, Encoding::Yuyv);
        assert_eq!(Offer::Yuyv.format_index(Encoding::Yuyv), 1);
        assert_eq!(Offer::Both.format_index(Encoding::Yuyv), 2);
        assert_eq!(Mode::first(Offer::Mjpeg).encoding, Encoding::Mjpeg);
    }
}
