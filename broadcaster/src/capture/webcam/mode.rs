//! What a camera can do, and which of it is asked for.

use std::fmt;
use std::time::Duration;

/// The largest picture taken when no size is asked for.
const DEFAULT_SIZE: (u16, u16) = (1280, 720);
/// Rate aimed at when none is asked for.
const DEFAULT_FPS: f64 = 30.0;
/// A rate from here on is good when none is asked for.
const FLUENT_FPS: f64 = 25.0;
/// A rate this close below the one asked for is as good as it: 30000/1001 is 30.
const CLOSE_ENOUGH: f64 = 0.99;

/// How a camera's pictures come. In the order of liking: the first needs no encoding, the others
/// are ever more bytes on the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pixels {
    /// JPEG pictures, one by one.
    Mjpeg,
    /// 4:2:0, a plane of luma and one of chroma pairs.
    Nv12,
    /// 4:2:2, packed.
    Yuyv,
    /// Luma alone.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl Pixels {
    /// Whether pictures of this size can be handled: subsampled ones have pairs of pixels.
    #[must_use]
    pub const fn takes(self, (width, height): (u16, u16)) -> bool {
        match self {
            Self::Nv12 => width.is_multiple_of(2) && height.is_multiple_of(2),
            Self::Yuyv => width.is_multiple_of(2),
            Self::Mjpeg | Self::Grey | Self::Rgb | Self::Bgr => true,
        }
    }
}

impl fmt::Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mjpeg => "MJPEG",
            Self::Nv12 => "NV12",
            Self::Yuyv => "YUYV",
            Self::Grey => "GREY",
            Self::Rgb => "RGB",
            Self::Bgr => "BGR",
        })
    }
}

/// Pictures in some seconds, exactly: 30000 in 1001 is a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many pictures.
    pub pictures: u32,
    /// In how many seconds.
    pub seconds: u32,
}

impl Rate {
    /// Pictures a second.
    #[must_use]
    pub fn fps(self) -> f64 {
        f64::from(self.pictures) / f64::from(self.seconds.max(1))
    }

    /// Whether it is as good as this many pictures a second, and no better.
    #[must_use]
    pub fn is_about(self, fps: f64) -> bool {
        (CLOSE_ENOUGH..=1.0 / CLOSE_ENOUGH).contains(&(self.fps() / fps))
    }

    /// Time between pictures.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.fps().max(f64::MIN_POSITIVE).max(1e-6))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2}", self.fps());
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// One size in one format, at some rates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    /// How the pictures come.
    pub pixels: Pixels,
    /// Width and height.
    pub size: (u16, u16),
    /// All rates; none if the camera does not say.
    pub rates: Vec<Rate>,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.size;
        write!(f, "{} {width}x{height}", self.pixels)?;
        if self.rates.is_empty() {
            return Ok(());
        }
        let rates: Vec<_> = self.rates.iter().map(Rate::to_string).collect();
        write!(f, " at {} fps", rates.join(", "))
    }
}

/// A mode to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// How the pictures come.
    pub pixels: Pixels,
    /// Width and height.
    pub size: (u16, u16),
    /// How often; `None` leaves it to the camera.
    pub rate: Option<Rate>,
}

impl Choice {
    fn fps(&self) -> f64 {
        self.rate.map_or(DEFAULT_FPS, Rate::fps)
    }

    fn area(&self) -> u32 {
        u32::from(self.size.0) * u32::from(self.size.1)
    }
}

/// The mode to set for what is asked; `None` if the camera does not have the size.
///
/// MJPEG that reaches the rate comes before any raw format that does; where none does, the fastest.
/// Without a size it is the largest up to 1280x720 that reaches the rate; without a rate, 25 fps
/// are enough and 30 are best. Pictures too many are left out later.
#[must_use]
pub fn choose(modes: &[Mode], size: Option<(u16, u16)>, fps: Option<f64>) -> Option<Choice> {
    let enough = fps.map_or(FLUENT_FPS, |fps| fps * CLOSE_ENOUGH);
    let candidates: Vec<Choice> = (modes.iter())
        .filter(|mode| size.is_none_or(|size| mode.size == size))
        .map(|mode| at_rate(mode, fps))
        .collect();
    let fits = |choice: &&Choice| {
        size.is_some() || (choice.size.0 <= DEFAULT_SIZE.0 && choice.size.1 <= DEFAULT_SIZE.1)
    };
    let fitting = candidates.iter().filter(fits);
    let fluent = fitting.clone().filter(|choice| choice.fps() >= enough);
    let best_fluent = fluent.max_by_key(|choice| {
        let is_mjpeg = choice.pixels == Pixels::Mjpeg;
        (is_mjpeg, choice.area(), std::cmp::Reverse(choice.pixels))
    });
    let fastest = || {
        fitting.max_by(|a, b| {
            let by_liking = (a.area().cmp(&b.area())).then(b.pixels.cmp(&a.pixels));
            a.fps().total_cmp(&b.fps()).then(by_liking)
        })
    };
    let smallest = || candidates.iter().min_by_key(|choice| choice.area());
    best_fluent.or_else(fastest).or_else(smallest).copied()
}

/// The mode at its slowest rate that reaches `fps`, else at its fastest. If nothing was asked for,
/// at its rate nearest to the usual one, the faster of two.
fn at_rate(mode: &Mode, fps: Option<f64>) -> Choice {
    let rates = mode.rates.iter().copied();
    let by_speed = |a: &Rate, b: &Rate| a.fps().total_cmp(&b.fps());
    let distance = |rate: &Rate| (rate.fps() - DEFAULT_FPS).abs();
    let rate = match fps {
        Some(fps) => {
            let reaching = rates
                .clone()
                .filter(|rate| rate.fps() >= fps * CLOSE_ENOUGH);
            reaching.min_by(by_speed).or(rates.max_by(by_speed))
        }
        None => rates.min_by(|a, b| (distance(a).total_cmp(&distance(b))).then(by_speed(b, a))),
    };
    Choice {
        pixels: mode.pixels,
        size: mode.size,
        rate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(pixels: Pixels, size: (u16, u16), rates: &[u32]) -> Mode {
        let rates = rates.iter().map(|&pictures| Rate {
            pictures,
            seconds: 1,
        });
        Mode {
            pixels,
            size,
            rates: rates.collect(),
        }
    }

    /// What most cameras are like: raw pictures are slow when large.
    fn usual() -> Vec<Mode> {
        vec![
            mode(Pixels::Yuyv, (640, 480), &[30, 15]),
            mode(Pixels::Yuyv, (1280, 720), &[10, 5]),
            mode(Pixels::Mjpeg, (640, 480), &[60, 30, 15]),
            mode(Pixels::Mjpeg, (1280, 720), &[30, 15]),
            mode(Pixels::Mjpeg, (1920, 1080), &[30]),
        ]
    }

    fn chosen(modes: &[Mode], size: Option<(u16, u16)>, fps: Option<f64>) -> String {
        let choice = choose(modes, size, fps).unwrap();
        let (width, height) = choice.size;
        let rate = choice.rate.map_or("-".to_owned(), |rate| rate.to_string());
        format!("{} {width}x{height} {rate}", choice.pixels)
    }

    #[test]
    fn by_default_it_is_the_largest_mjpeg_up_to_720_lines() {
        assert_eq!(chosen(&usual(), None, None), "MJPEG 1280x720 30");
        let slow_when_large = [
            mode(Pixels::Mjpeg, (1280, 720), &[10]),
            mode(Pixels::Mjpeg, (800, 600), &[25]),
            mode(Pixels::Mjpeg, (320, 240), &[30]),
        ];
        assert_eq!(chosen(&slow_when_large, None, None), "MJPEG 800x600 25");
    }

    #[test]
    fn without_mjpeg_it_is_the_largest_fluent_raw_mode() {
        let raw = &usual()[..2];
        assert_eq!(chosen(raw, None, None), "YUYV 640x480 30");
        assert_eq!(chosen(&raw[1..], None, None), "YUYV 1280x720 10");
        let huge = [
            mode(Pixels::Rgb, (4000, 3000), &[30]),
            mode(Pixels::Rgb, (2000, 1500), &[30]),
        ];
        assert_eq!(chosen(&huge, None, None), "RGB 2000x1500 30");
    }

    #[test]
    fn mjpeg_is_taken_at_the_size_and_rate_asked_for_else_what_can_do_it() {
        let asked = |size, fps| chosen(&usual(), Some(size), Some(fps));
        assert_eq!(asked((640, 480), 30.0), "MJPEG 640x480 30");
        assert_eq!(asked((640, 480), 60.0), "MJPEG 640x480 60");
        let slow_mjpeg = [
            mode(Pixels::Mjpeg, (640, 480), &[15]),
            mode(Pixels::Yuyv, (640, 480), &[30]),
            mode(Pixels::Nv12, (640, 480), &[30]),
        ];
        let asked = |fps| chosen(&slow_mjpeg, Some((640, 480)), Some(fps));
        assert_eq!(asked(15.0), "MJPEG 640x480 15");
        assert_eq!(asked(30.0), "NV12 640x480 30");
        assert_eq!(asked(90.0), "NV12 640x480 30");
    }

    #[test]
    fn a_rate_alone_moves_the_size() {
        assert_eq!(chosen(&usual(), None, Some(60.0)), "MJPEG 640x480 60");
        assert_eq!(chosen(&usual(), None, Some(15.0)), "MJPEG 1280x720 15");
    }

    #[test]
    fn a_rate_between_two_is_made_from_the_faster() {
        assert_eq!(chosen(&usual(), None, Some(16.0)), "MJPEG 1280x720 30");
        assert_eq!(chosen(&usual(), None, Some(1.0)), "MJPEG 1280x720 15");
        let odd = [mode(Pixels::Mjpeg, (640, 480), &[60, 25])];
        assert_eq!(chosen(&odd, None, None), "MJPEG 640x480 25");
        assert_eq!(chosen(&odd, None, Some(30.0)), "MJPEG 640x480 60");
    }

    #[test]
    fn a_rate_of_television_is_as_good_as_the_round_one() {
        let television = Mode {
            pixels: Pixels::Mjpeg,
            size: (640, 480),
            rates: vec![Rate {
                pictures: 30_000,
                seconds: 1_001,
            }],
        };
        let raw = mode(Pixels::Yuyv, (640, 480), &[30]);
        let modes = [raw, television];
        let expected = "MJPEG 640x480 29.97";
        assert_eq!(chosen(&modes, Some((640, 480)), Some(30.0)), expected);
    }

    #[test]
    fn a_size_that_is_not_there_is_no_choice() {
        assert_eq!(choose(&usual(), Some((641, 480)), None), None);
        assert_eq!(choose(&[], None, None), None);
    }

    #[test]
    fn cameras_that_tell_no_rates_are_taken_at_their_word() {
        let silent = [mode(Pixels::Yuyv, (640, 480), &[])];
        assert_eq!(
            chosen(&silent, Some((640, 480)), Some(30.0)),
            "YUYV 640x480 -"
        );
    }

    #[test]
    fn modes_read_well() {
        let text = mode(Pixels::Mjpeg, (640, 480), &[30, 15]).to_string();
        assert_eq!(text, "MJPEG 640x480 at 30, 15 fps");
        let odd = Rate {
            pictures: 25,
            seconds: 2,
        };
        assert_eq!(odd.to_string(), "12.5");
        assert_eq!(odd.interval(), Duration::from_millis(80));
    }
}
