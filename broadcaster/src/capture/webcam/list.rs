//! What `--list` prints: each camera with all it can do.

use std::fmt::Write as _;

use super::device::Device;
use super::{Abilities, Error, system};

/// All cameras, for people. Each begins with its number and name.
#[must_use]
pub fn cameras() -> String {
    let devices = system::devices();
    if devices.is_empty() {
        return "no camera is plugged in; --source pattern needs none\n".to_owned();
    }
    let described =
        (devices.iter()).map(|device| described(device, system::abilities(device, None)));
    described.collect()
}

fn described(device: &Device, abilities: Result<Abilities, Error>) -> String {
    let mut text = format!("{} {device}", device.index);
    if !device.bus.is_empty() {
        write!(text, " on {}", device.bus).expect("a String takes everything");
    }
    text.push('\n');
    match abilities {
        Err(error) => lines(&mut text, "  ", [error.to_string()]),
        Ok(abilities) => {
            lines(&mut text, "  ", abilities.modes.iter());
            let unused = abilities.unused.iter();
            lines(
                &mut text,
                "  ",
                unused.map(|format| format!("{format}: cannot be used")),
            );
            lines(&mut text, "  --control ", abilities.controls.iter());
        }
    }
    text
}

fn lines<T: std::fmt::Display>(text: &mut String, before: &str, of: impl IntoIterator<Item = T>) {
    for line in of {
        writeln!(text, "{before}{line}").expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::webcam::control::{Control, Kind};
    use crate::capture::webcam::mode::{Mode, Pixels, Rate};

    fn device() -> Device {
        Device {
            index: 2,
            path: "/dev/video2".into(),
            name: "HD Webcam".to_owned(),
            bus: "usb-1".to_owned(),
            serial: None,
        }
    }

    #[test]
    fn a_camera_is_listed_with_all_it_can_do() {
        let rate = |pictures| Rate {
            pictures,
            seconds: 1,
        };
        let abilities = Abilities {
            modes: vec![Mode {
                pixels: Pixels::Mjpeg,
                size: (640, 480),
                rates: vec![rate(30), rate(15)],
            }],
            unused: vec!["H264".to_owned()],
            controls: vec![Control {
                name: "brightness".to_owned(),
                id: 1,
                kind: Kind::Number {
                    least: 0,
                    most: 255,
                    step: 5,
                },
                value: Some(128),
            }],
        };
        assert_eq!(
            described(&device(), Ok(abilities)),
            "2 HD Webcam (/dev/video2) on usb-1\n  \
             MJPEG 640x480 at 30, 15 fps\n  \
             H264: cannot be used\n  \
             --control brightness: 0 to 255 by 5; now 128\n"
        );
    }

    #[test]
    fn one_that_cannot_be_opened_says_why() {
        let error = Error::Device {
            device: device().to_string(),
            what: "cannot be opened",
            error: "busy".to_owned(),
        };
        let text = described(&device(), Err(error));
        assert!(
            text.ends_with("  HD Webcam (/dev/video2) cannot be opened: busy\n"),
            "{text}"
        );
    }
}
