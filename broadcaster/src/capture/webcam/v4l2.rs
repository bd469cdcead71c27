//! Cameras on Linux: what there is and what each can do, asked of the kernel (V4L2) directly.
//!
//! The metadata node that many cameras have beside their own captures no pictures and is passed
//! over. Nothing here reads the format that a camera was left in, so none it was left in can do
//! harm.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use v4l::FourCC;
use v4l::capability::Flags;
use v4l::control::{Description, Flags as ControlFlags, MenuItem, Type, Value};
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::{FrameSizeEnum, Stepwise};
use v4l::video::Capture as _;

use super::control::{Control, Kind, typed_name};
use super::device::Device;
use super::mode::{Mode, Pixels, Rate};
use super::{Abilities, Error};

mod backend;

pub(super) use backend::open;

/// Sizes offered by a camera that takes any size within its limits.
const USUAL_SIZES: [(u16, u16); 8] = [
    (160, 120),
    (320, 240),
    (640, 360),
    (640, 480),
    (800, 600),
    (1280, 720),
    (1920, 1080),
    (3840, 2160),
];
/// Rates offered by a camera that takes any rate within its limits.
const USUAL_RATES: [u32; 9] = [1, 5, 10, 15, 20, 25, 30, 50, 60];

/// All cameras, by number.
pub(super) fn devices() -> Vec<Device> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("video")?.parse::<u32>().ok()
    });
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    let paths = numbers.iter().map(|number| format!("/dev/video{number}"));
    paths.filter_map(|path| at(Path::new(&path))).collect()
}

/// The camera at this node, if it is one that captures pictures.
pub(super) fn at(path: &Path) -> Option<Device> {
    let real = fs::canonicalize(path).ok()?;
    let node = real.file_name()?.to_str()?.to_owned();
    let index = node.trim_start_matches(|char: char| !char.is_ascii_digit());
    let sysfs = Path::new("/sys/class/video4linux").join(&node);
    let device = Device {
        index: index.parse().unwrap_or(0),
        path: path.to_owned(),
        name: read_line(&sysfs.join("name")).unwrap_or(node),
        bus: String::new(),
        serial: serial(&sysfs),
    };
    match v4l::Device::with_path(path) {
        Ok(open) => inspected(device, &open),
        // One that may not be looked at is still there, and opening it will say why.
        Err(error) if is_gone(&error) => None,
        Err(_) => (read_line(&sysfs.join("index"))? == "0").then_some(device),
    }
}

fn inspected(device: Device, open: &v4l::Device) -> Option<Device> {
    let capabilities = guarded(|| open.query_caps()).ok();
    if let Some(capabilities) = &capabilities {
        let needed = Flags::VIDEO_CAPTURE | Flags::STREAMING;
        if !capabilities.capabilities.contains(needed) {
            return None;
        }
    }
    if open.enum_formats().ok()?.is_empty() {
        return None;
    }
    let Some(capabilities) = capabilities else {
        return Some(device);
    };
    Some(Device {
        name: capabilities.card,
        bus: capabilities.bus,
        ..device
    })
}

fn is_gone(error: &io::Error) -> bool {
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    error.kind() == io::ErrorKind::NotFound || matches!(error.raw_os_error(), Some(ENXIO | ENODEV))
}

fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Vendor, product and serial number of a USB camera, from the device its interface belongs to.
fn serial(sysfs: &Path) -> Option<String> {
    let interface = fs::canonicalize(sysfs.join("device")).ok()?;
    let usb = interface.parent()?;
    let part = |name| read_line(&usb.join(name));
    let (vendor, product) = (part("idVendor")?, part("idProduct")?);
    Some(format!("{vendor}:{product}:{}", part("serial")?))
}

/// What a camera can do. `asked` is a size that one without fixed sizes is asked about.
pub(super) fn abilities(device: &Device, asked: Option<(u16, u16)>) -> Result<Abilities, Error> {
    let open = v4l::Device::with_path(&device.path)
        .map_err(|error| failed(device, "cannot be opened", &error))?;
    let formats = (open.enum_formats())
        .map_err(|error| failed(device, "does not tell its formats", &error))?;
    let (mut modes, mut unused) = (Vec::new(), Vec::new());
    for format in formats {
        match pixels_of(format.fourcc) {
            Some(pixels) => modes.extend(modes_of(&open, (format.fourcc, pixels), asked)),
            None => unused.push(format_name(format.fourcc, &format.description)),
        }
    }
    Ok(Abilities {
        modes,
        unused,
        controls: controls(&open),
    })
}

fn pixels_of(fourcc: FourCC) -> Option<Pixels> {
    match &fourcc.repr {
        b"MJPG" | b"JPEG" => Some(Pixels::Mjpeg),
        b"NV12" => Some(Pixels::Nv12),
        b"YUYV" => Some(Pixels::Yuyv),
        b"GREY" => Some(Pixels::Grey),
        b"RGB3" => Some(Pixels::Rgb),
        b"BGR3" => Some(Pixels::Bgr),
        _ => None,
    }
}

/// A format for people: its four letters, and what the driver calls it. Some have no letters.
fn format_name(FourCC { repr }: FourCC, description: &str) -> String {
    // Big endian variants have the highest bit set.
    let mut letters = repr;
    letters[3] &= 0x7f;
    let is_readable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let mut name = match str::from_utf8(&letters) {
        Ok(text) if letters.iter().all(is_readable) && !text.trim().is_empty() => {
            let ending = if letters == repr { "" } else { "-BE" };
            format!("{}{ending}", text.trim_end())
        }
        _ => format!("{:#010x}", u32::from_le_bytes(repr)),
    };
    let description = description.trim();
    if !description.is_empty() && description != name {
        name = format!("{name} ({description})");
    }
    name
}

fn modes_of(
    open: &v4l::Device,
    (fourcc, pixels): (FourCC, Pixels),
    asked: Option<(u16, u16)>,
) -> Vec<Mode> {
    let sizes = open.enum_framesizes(fourcc).unwrap_or_default();
    let mut sizes: Vec<_> = (sizes.into_iter())
        .flat_map(|size| match size.size {
            FrameSizeEnum::Discrete(size) => vec![(size.width, size.height)],
            FrameSizeEnum::Stepwise(range) => sizes_within(&range, asked),
        })
        .filter_map(|(width, height)| Some((width.try_into().ok()?, height.try_into().ok()?)))
        .filter(|&size| pixels.takes(size))
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mode = |size: (u16, u16)| Mode {
        pixels,
        size,
        rates: rates_of(open, fourcc, size),
    };
    sizes.into_iter().map(mode).collect()
}

fn sizes_within(range: &Stepwise, asked: Option<(u16, u16)>) -> Vec<(u32, u32)> {
    let is_on_step = |value: u32, least: u32, most: u32, step: u32| {
        (least..=most).contains(&value) && (value - least).is_multiple_of(step.max(1))
    };
    let sizes = asked.into_iter().chain(USUAL_SIZES);
    let sizes = sizes.map(|(width, height)| (u32::from(width), u32::from(height)));
    sizes
        .filter(|&(width, height)| {
            is_on_step(width, range.min_width, range.max_width, range.step_width)
                && is_on_step(
                    height,
                    range.min_height,
                    range.max_height,
                    range.step_height,
                )
        })
        .collect()
}

/// All rates of a mode, fastest first.
fn rates_of(open: &v4l::Device, fourcc: FourCC, (width, height): (u16, u16)) -> Vec<Rate> {
    let intervals = open.enum_frameintervals(fourcc, width.into(), height.into());
    let mut rates: Vec<_> = (intervals.unwrap_or_default().into_iter())
        .flat_map(|interval| match interval.interval {
            FrameIntervalEnum::Discrete(interval) => vec![rate(interval)],
            FrameIntervalEnum::Stepwise(range) => {
                let (fastest, slowest) = (rate(range.min), rate(range.max));
                let usual = USUAL_RATES.map(|pictures| Rate {
                    pictures,
                    seconds: 1,
                });
                let within = |rate: &Rate| rate.fps() > slowest.fps() && rate.fps() < fastest.fps();
                let usual = usual.into_iter().filter(within);
                usual.chain([fastest, slowest]).collect()
            }
        })
        .filter(|rate| rate.pictures > 0 && rate.seconds > 0)
        .collect();
    rates.sort_by(|a, b| b.fps().total_cmp(&a.fps()));
    rates.dedup();
    rates
}

const fn rate(interval: v4l::Fraction) -> Rate {
    Rate {
        pictures: interval.denominator,
        seconds: interval.numerator,
    }
}

/// What can be set; a camera that does not tell has nothing to set.
fn controls(open: &v4l::Device) -> Vec<Control> {
    let described = guarded(|| open.query_controls()).unwrap_or_default();
    described
        .into_iter()
        .filter(|control| {
            let fixed = ControlFlags::DISABLED | ControlFlags::READ_ONLY;
            !control.flags.intersects(fixed)
        })
        .filter_map(|control| {
            Some(Control {
                name: typed_name(&control.name),
                id: control.id,
                value: value(open, control.id),
                kind: kind(control)?,
            })
        })
        .collect()
}

fn kind(control: Description) -> Option<Kind> {
    match control.typ {
        Type::Integer | Type::Integer64 => Some(Kind::Number {
            least: control.minimum,
            most: control.maximum,
            step: i64::try_from(control.step).unwrap_or(1),
        }),
        Type::Boolean => Some(Kind::Switch),
        Type::Menu | Type::IntegerMenu => {
            let items = control.items?.into_iter().map(|(value, item)| {
                let name = match item {
                    MenuItem::Name(name) => name,
                    MenuItem::Value(value) => value.to_string(),
                };
                (value.into(), name)
            });
            Some(Kind::Menu(items.collect()))
        }
        _ => None,
    }
}

fn value(open: &v4l::Device, id: u32) -> Option<i64> {
    match guarded(|| open.control(id)).ok()?.value {
        Value::Integer(value) => Some(value),
        Value::Boolean(value) => Some(value.into()),
        _ => None,
    }
}

/// Calls into the v4l crate where it panics on what it does not know: names that are cut inside a
/// letter, kinds of controls and colour spaces newer than itself.
fn guarded<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(io::Error::other(
            "the driver says what the v4l crate cannot read",
        ))
    })
}

fn failed(device: &Device, what: &'static str, error: &io::Error) -> Error {
    const EBUSY: i32 = 16;
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "; is this user in the group video?",
        _ if error.raw_os_error() == Some(EBUSY) => "; another program uses it",
        _ => "",
    };
    Error::Device {
        device: device.to_string(),
        what,
        error: format!("{error}{hint}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_a_camera_without_fixed_ones_are_the_usual_and_the_asked_one() {
        let range = Stepwise {
            min_width: 2,
            max_width: 1280,
            step_width: 2,
            min_height: 1,
            max_height: 720,
            step_height: 1,
        };
        let sizes = sizes_within(&range, Some((642, 333)));
        assert_eq!(sizes[0], (642, 333));
        assert!(sizes.contains(&(1280, 720)) && !sizes.contains(&(1920, 1080)));
        assert!(!sizes_within(&range, Some((641, 333))).contains(&(641, 333)));
    }

    #[test]
    fn formats_have_a_name_whatever_their_code() {
        for (code, description, name) in [
            (*b"H264", "H.264", "H264 (H.264)"),
            (*b"Y16 ", "", "Y16"),
            (
                *b"Y16\xa0",
                "16-bit Greyscale BE",
                "Y16-BE (16-bit Greyscale BE)",
            ),
            ([0; 4], "", "0x00000000"),
            (*b"    ", " ", "0x20202020"),
            ([1, 2, 3, 4], "Vendor", "0x04030201 (Vendor)"),
            (*b"\xff\xfe\0M", "", "0x4d00feff"),
            (*b"ABCD", "ABCD", "ABCD"),
        ] {
            assert_eq!(format_name(FourCC::new(&code), description), name);
        }
    }

    #[test]
    fn what_panics_inside_the_bindings_is_an_error_here() {
        let refused = guarded(|| -> io::Result<()> { panic!("unknown kind") });
        assert!(refused.is_err());
        assert_eq!(guarded(|| Ok(1)).unwrap(), 1);
    }

    #[test]
    fn a_plain_file_is_no_camera() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(at(file.path()), None);
        assert_eq!(at(Path::new("/nowhere/video0")), None);
    }
}
