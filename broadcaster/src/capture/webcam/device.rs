//! Which camera is meant, and how it is known again when it comes back.

use std::fmt;
use std::path::PathBuf;

use super::Error;

/// Which camera is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The first there is.
    First,
    /// The one with this number: N of /dev/videoN on Linux.
    Index(u32),
    /// The one with this in its name, in small or capital letters.
    Name(String),
    /// The one at this device node.
    Path(PathBuf),
}

impl Selector {
    /// What stands behind `webcam`: nothing, `:INDEX`, `:NAME` or `:/PATH`; `None` otherwise.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::First);
        }
        let which = text.strip_prefix(':').filter(|which| !which.is_empty())?;
        if which.starts_with('/') {
            return Some(Self::Path(which.into()));
        }
        let index = which.parse().map(Self::Index);
        Some(index.unwrap_or_else(|_| Self::Name(which.to_owned())))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("webcam"),
            Self::Index(index) => write!(f, "webcam:{index}"),
            Self::Name(name) => write!(f, "webcam:{name}"),
            Self::Path(path) => write!(f, "webcam:{}", path.display()),
        }
    }
}

/// A camera that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number now; another one after it was unplugged, perhaps.
    pub index: u32,
    /// Where it is: the device node on Linux.
    pub path: PathBuf,
    /// What it calls itself.
    pub name: String,
    /// The socket it is plugged into, as far as that is known.
    pub bus: String,
    /// Vendor, product and serial number, if it has one.
    pub serial: Option<String>,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.path.display())
    }
}

/// The camera that is meant, of those there are. Once one was open it is this one and no other:
/// `known` is found by its serial number, else by name and socket, else as the only one of its
/// name.
///
/// # Errors
/// If it is not there, or a name fits several.
pub fn find(
    devices: &[Device],
    selector: &Selector,
    known: Option<&Device>,
) -> Result<Device, Error> {
    let found = match known {
        Some(known) => find_again(devices, known),
        None => match selector {
            Selector::First => devices.first(),
            Selector::Index(index) => devices.iter().find(|device| device.index == *index),
            Selector::Path(path) => devices.iter().find(|device| device.path == *path),
            Selector::Name(name) => find_by_name(devices, name)?,
        },
    };
    found.cloned().ok_or_else(|| Error::Absent {
        selector: selector.clone(),
        there: listed(devices),
    })
}

fn find_again<'a>(devices: &'a [Device], known: &Device) -> Option<&'a Device> {
    let twins = devices.iter().filter(|device| {
        let is_it = known.serial.is_none() || device.serial == known.serial;
        is_it && device.name == known.name
    });
    let twins: Vec<_> = twins.collect();
    match &twins[..] {
        [one] => Some(one),
        // Also with a serial number: some makers give all their cameras the same.
        _ => twins.into_iter().find(|device| device.bus == known.bus),
    }
}

fn find_by_name<'a>(devices: &'a [Device], name: &str) -> Result<Option<&'a Device>, Error> {
    let wanted = name.to_lowercase();
    let fitting: Vec<_> = (devices.iter())
        .filter(|device| device.name.to_lowercase().contains(&wanted))
        .collect();
    // A whole name means that camera, even if it is a part of another name.
    let exact = fitting.iter().copied();
    let exact = exact.filter(|device| device.name.to_lowercase() == wanted);
    match (&fitting[..], &exact.collect::<Vec<_>>()[..]) {
        ([], _) => Ok(None),
        ([one], _) | (_, [one]) => Ok(Some(one)),
        _ => Err(Error::Ambiguous {
            name: name.to_owned(),
            fitting: listed(fitting),
        }),
    }
}

/// Cameras by number and name, in one line.
pub(super) fn listed<'a>(devices: impl IntoIterator<Item = &'a Device>) -> String {
    let names = devices
        .into_iter()
        .map(|device| format!("{} {device}", device.index));
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, name: &str, bus: &str, serial: Option<&str>) -> Device {
        Device {
            index,
            path: format!("/dev/video{index}").into(),
            name: name.to_owned(),
            bus: bus.to_owned(),
            serial: serial.map(str::to_owned),
        }
    }

    fn three() -> Vec<Device> {
        vec![
            device(0, "HD Webcam", "usb-1", None),
            device(2, "Logitech C920", "usb-2", Some("a")),
            device(4, "Logitech C920 Pro", "usb-3", Some("b")),
        ]
    }

    fn index(devices: &[Device], text: &str) -> Result<u32, String> {
        let found = find(devices, &Selector::parse(text).unwrap(), None);
        found
            .map(|device| device.index)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn cameras_are_chosen_by_number_name_or_place() {
        let devices = three();
        assert_eq!(index(&devices, ""), Ok(0));
        assert_eq!(index(&devices, ":2"), Ok(2));
        assert_eq!(index(&devices, ":webcam"), Ok(0));
        assert_eq!(index(&devices, ":c920 pro"), Ok(4));
        assert_eq!(index(&devices, ":logitech c920"), Ok(2), "a whole name");
        assert_eq!(index(&devices, ":/dev/video4"), Ok(4));
    }

    #[test]
    fn what_is_not_there_and_what_is_there_twice_is_said() {
        let devices = three();
        let absent = index(&devices, ":1").unwrap_err();
        assert!(absent.contains("0 HD Webcam (/dev/video0)"), "{absent}");
        let ambiguous = index(&devices, ":logi").unwrap_err();
        assert!(
            ambiguous.contains("2 Logitech C920 (/dev/video2)"),
            "{ambiguous}"
        );
        assert!(ambiguous.contains("4 Logitech C920 Pro"), "{ambiguous}");
        assert!(!ambiguous.contains("HD Webcam"), "{ambiguous}");
        assert!(index(&[], "").unwrap_err().contains("none"));
    }

    #[test]
    fn selectors_are_told_apart() {
        assert_eq!(Selector::parse(":"), None);
        assert_eq!(Selector::parse("s"), None);
        for text in ["", ":3", ":Some Name", ":/dev/video1"] {
            let selector = Selector::parse(text).unwrap();
            assert_eq!(selector.to_string(), format!("webcam{text}"));
        }
    }

    #[test]
    fn a_camera_is_known_again_wherever_it_comes_back() {
        let again = |known: &Device, devices: &[Device]| {
            let found = find(devices, &Selector::First, Some(known));
            found.ok().map(|device| device.index)
        };
        let known = device(2, "C920", "usb-2", Some("a"));
        let other = device(0, "C920", "usb-2", Some("b"));
        let moved = device(7, "C920", "usb-9", Some("a"));
        assert_eq!(again(&known, &[other.clone(), moved.clone()]), Some(7));
        assert_eq!(
            again(&known, std::slice::from_ref(&other)),
            None,
            "never another one"
        );
        let same_number = device(8, "C920", "usb-2", Some("a"));
        assert_eq!(again(&known, &[moved, same_number]), Some(8));

        let nameless = device(2, "Cam", "usb-2", None);
        let here = device(3, "Cam", "usb-2", None);
        let there = device(1, "Cam", "usb-5", None);
        assert_eq!(again(&nameless, &[there.clone(), here]), Some(3));
        assert_eq!(again(&nameless, std::slice::from_ref(&there)), Some(1));
        let elsewhere = device(6, "Cam", "usb-6", None);
        assert_eq!(again(&nameless, &[there, elsewhere]), None);
    }
}
