//! A camera plugged into this machine.
//!
//! It is found by number or name, asked for a mode ([`mode`]), and streams on a thread of its own.
//! Its MJPEG is passed on as it is, once it is known to be whole; other formats are encoded. After
//! an unplug the same camera is found again wherever it comes back ([`device`]).

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{debug, warn};

use self::camera::{Order, Running, Shot, Terms};
use self::control::Control;
use self::device::{Device, Selector};
use self::jpegs::Jpegs;
use self::mode::{Choice, Mode, Pixels, Rate};
use super::{Captured, Opened, Opener, Source};

mod camera;
pub mod control;
pub mod device;
mod jpegs;
pub mod list;
pub mod mode;
mod raw;

#[cfg(not(target_os = "linux"))]
mod native;
#[cfg(target_os = "linux")]
mod v4l2;

#[cfg(not(target_os = "linux"))]
use self::native as system;
#[cfg(target_os = "linux")]
use self::v4l2 as system;

/// How much faster a camera may be than its own word before it is thinned to what was asked: three
/// in a hundred. Who asks for 30 of a camera that agrees to 30 wants all its pictures, also if its
/// own clock is a little fast.
const LEEWAY: f64 = 1.03;

/// What is asked of a camera; what is not asked is chosen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wish {
    /// Width and height.
    pub size: Option<(u16, u16)>,
    /// Pictures a second.
    pub fps: Option<f64>,
    /// Controls to set at each opening: name and value.
    pub controls: Vec<(String, String)>,
}

/// What a camera can do.
#[derive(Debug, Clone)]
pub struct Abilities {
    /// Modes that can be used.
    pub modes: Vec<Mode>,
    /// Formats that cannot.
    pub unused: Vec<String>,
    /// What can be set.
    pub controls: Vec<Control>,
}

/// Why there is no picture from a camera.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not plugged in.
    #[error("{selector}: no such camera; there is: {there}")]
    Absent {
        /// What was asked for.
        selector: Selector,
        /// All cameras there are.
        there: String,
    },
    /// A name that does not say which.
    #[error("webcam:{name}: several cameras have that in their names: {fitting}")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// All that fit.
        fitting: String,
    },
    /// None of its formats can be read.
    #[error("{device}: none of its formats can be used ({formats})")]
    NoFormat {
        /// The camera.
        device: String,
        /// What it has.
        formats: String,
    },
    /// It has other sizes.
    #[error("{device}: no size {width}x{height}; there is:\n  {modes}", width = size.0, height = size.1)]
    NoSize {
        /// The camera.
        device: String,
        /// What was asked for.
        size: (u16, u16),
        /// What it has.
        modes: String,
    },
    /// It has other controls.
    #[error("{device}: no control {name}; there is:\n  {there}")]
    NoSuchControl {
        /// The camera.
        device: String,
        /// What was asked for.
        name: String,
        /// What it has.
        there: String,
    },
    /// The control takes other values.
    #[error("{device}: {value:?} cannot be set; {control}")]
    ControlValue {
        /// The camera.
        device: String,
        /// The control, with what it takes.
        control: String,
        /// What was asked for.
        value: String,
    },
    /// The system or the camera refuses.
    #[error("{device} {what}: {error}")]
    Device {
        /// The camera.
        device: String,
        /// What does not work.
        what: &'static str,
        /// What the system says.
        error: String,
    },
}

impl Error {
    /// Whether trying again later may help.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Device { .. })
    }
}

/// All cameras that are plugged in, by number.
#[must_use]
pub fn devices() -> Vec<Device> {
    system::devices()
}

/// Opens the camera that is meant, again and again.
#[must_use]
pub fn opener(selector: Selector, wish: Wish) -> Opener {
    let mut door = Door {
        selector,
        wish,
        known: None,
        thread: None,
    };
    Box::new(move || door.open().map_err(super::Error::from))
}

/// What is remembered of a camera from one opening to the next.
struct Door {
    selector: Selector,
    wish: Wish,
    known: Option<Device>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    fn open(&mut self) -> Result<Opened, Error> {
        // A camera that still blocks is not opened a second time: this waits until it is done.
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        let device = self.find()?;
        let (choice, settings) = {
            let abilities = system::abilities(&device, self.wish.size)?;
            let settings = control::resolve(
                &device.to_string(),
                &self.wish.controls,
                &abilities.controls,
            )?;
            (self.choose(&device, &abilities)?, settings)
        };
        let order = Order {
            device: device.clone(),
            choice,
            settings,
        };
        let (camera, terms) = Running::start(order, &mut self.thread)?;
        let opened = opened(
            (&device, self.wish.fps),
            self.description(&device, &choice, &terms),
            (camera, choice, terms),
        );
        self.known = Some(device);
        Ok(opened)
    }

    fn find(&self) -> Result<Device, Error> {
        match &self.selector {
            // A path says for ever which camera is meant, and may be a link to its node.
            Selector::Path(path) => system::at(Path::new(path)).ok_or_else(|| Error::Absent {
                selector: self.selector.clone(),
                there: device::listed(&system::devices()),
            }),
            _ => device::find(&system::devices(), &self.selector, self.known.as_ref()),
        }
    }

    fn choose(&self, device: &Device, abilities: &Abilities) -> Result<Choice, Error> {
        let Wish { size, fps, .. } = self.wish;
        if abilities.modes.is_empty() {
            return Err(Error::NoFormat {
                device: device.to_string(),
                formats: abilities.unused.join(", "),
            });
        }
        mode::choose(&abilities.modes, size, fps).ok_or_else(|| {
            let modes = abilities.modes.iter().map(Mode::to_string);
            Error::NoSize {
                device: device.to_string(),
                size: size.unwrap_or_default(),
                modes: modes.collect::<Vec<_>>().join("\n  "),
            }
        })
    }

    fn description(&self, device: &Device, choice: &Choice, terms: &Terms) -> String {
        let Choice { pixels, size, rate } = choice;
        let (width, height) = size;
        let rate = terms.rate.or(*rate);
        let thinned = match (self.wish.fps, rate) {
            (Some(fps), Some(rate)) if rate.fps() > fps && !rate.is_about(fps) => {
                format!(", thinned to {fps}")
            }
            _ => String::new(),
        };
        let rate = rate.map_or_else(String::new, |rate| format!(" at {rate} fps"));
        let is_chosen = self.wish.size.is_none() && self.wish.fps.is_none();
        let chosen = if is_chosen { ", chosen by default" } else { "" };
        format!("webcam {device}: {pixels} {width}x{height}{rate}{thinned}{chosen}")
    }
}

fn opened(
    (device, fps): (&Device, Option<f64>),
    description: String,
    (camera, choice, terms): (Running, Choice, Terms),
) -> Opened {
    let rate = terms.rate.or(choice.rate);
    Opened {
        description,
        interval: rate.map_or(Duration::ZERO, Rate::interval),
        source: Box::new(Webcam {
            name: device.to_string(),
            spacing: fps.map(|fps| spacing(fps, rate)),
            camera,
            jpegs: Jpegs::new(&device.to_string(), choice.size),
            choice,
            terms,
            damaged: 0,
        }),
    }
}

/// Least time between pictures for who asked for this rate of a camera that agreed to that one.
fn spacing(fps: f64, agreed: Option<Rate>) -> Duration {
    let is_agreed = agreed.is_some_and(|rate| rate.is_about(fps));
    let most = if is_agreed { fps * LEEWAY } else { fps };
    Duration::from_secs_f64(1.0 / most)
}

/// A camera that streams.
struct Webcam {
    name: String,
    /// Least time between pictures that are wanted.
    spacing: Option<Duration>,
    camera: Running,
    jpegs: Jpegs,
    choice: Choice,
    terms: Terms,
    damaged: u64,
}

impl Source for Webcam {
    fn grab(&mut self, timeout: Duration) -> Result<Option<Captured>, super::Error> {
        let shot = self.camera.next(timeout).map_err(|error| Error::Device {
            device: self.name.clone(),
            what: "has failed",
            error,
        })?;
        let Some(Shot { captured_at, data }) = shot else {
            return Ok(None);
        };
        let Choice { pixels, size, .. } = self.choice;
        let picture = if pixels == Pixels::Mjpeg {
            self.jpegs.checked(&data)
        } else {
            raw::picture(pixels, size, self.terms.range, &data)
                .ok_or_else(|| format!("{} bytes are too few", data.len()))
        };
        match picture {
            Ok(picture) => Ok(Some(Captured {
                captured_at,
                identity: None,
                picture,
            })),
            Err(reason) => {
                self.count_damage(&reason);
                Ok(None)
            }
        }
    }

    fn damaged(&self) -> u64 {
        self.damaged + self.camera.lost()
    }

    fn overtaken(&self) -> u64 {
        self.camera.overtaken()
    }

    fn spacing(&self) -> Option<Duration> {
        self.spacing
    }
}

impl Webcam {
    /// The first damage is worth a line, the rest is counted.
    fn count_damage(&mut self, reason: &str) {
        if self.damaged == 0 {
            warn!(camera = %self.name, reason, "damaged picture left out; more of them are only counted");
        } else {
            debug!(camera = %self.name, reason, "damaged picture left out");
        }
        self.damaged += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_agrees_to_the_rate_may_be_a_little_fast() {
        let rate = |pictures| {
            Some(Rate {
                pictures,
                seconds: 1,
            })
        };
        let fastest = |fps, agreed| (1.0 / spacing(fps, agreed).as_secs_f64() * 10.0).round();
        assert_eq!(fastest(30.0, rate(30)), 309.0);
        assert_eq!(fastest(10.0, rate(30)), 100.0);
        assert_eq!(fastest(10.0, None), 100.0);
    }
}
