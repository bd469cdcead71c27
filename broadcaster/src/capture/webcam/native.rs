//! Cameras elsewhere than on Linux, through nokhwa's own backends.
//!
//! Those hand out pictures without saying where they end, which the scan finds, and may block for
//! ever, which the thread they run on keeps from everybody else. A truncated picture that stale
//! bytes complete cannot be told from a whole one there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nokhwa::pixel_format::RgbFormat;
use nokhwa::utils::{
    ApiBackend, CameraControl, CameraFormat, CameraIndex, ControlValueDescription,
    ControlValueSetter, FrameFormat, KnownCameraControl, RequestedFormat, RequestedFormatType,
    all_known_camera_controls, frame_formats,
};
use nokhwa::{Camera, NokhwaError};
use tracing::warn;

use super::camera::Ready;
use super::control::{Control, Kind, Setting, typed_name};
use super::device::Device;
use super::mode::{Choice, Mode, Pixels, Rate};
use super::raw::Range;
use super::{Abilities, Error};

/// All cameras, by number.
pub(super) fn devices() -> Vec<Device> {
    let found = nokhwa::query(ApiBackend::Auto).unwrap_or_default();
    let device = |info: nokhwa::utils::CameraInfo| {
        let index = info.index().as_index().ok()?;
        Some(Device {
            index,
            path: format!("camera {index}").into(),
            name: info.human_name(),
            bus: info.misc(),
            serial: None,
        })
    };
    let mut devices: Vec<_> = found.into_iter().filter_map(device).collect();
    devices.sort_by_key(|device| device.index);
    devices
}

/// Cameras have no path here.
pub(super) const fn at(_: &Path) -> Option<Device> {
    None
}

/// What a camera can do.
pub(super) fn abilities(device: &Device, _: Option<(u16, u16)>) -> Result<Abilities, Error> {
    let any = RequestedFormat::new::<RgbFormat>(RequestedFormatType::None);
    let index = CameraIndex::Index(device.index);
    let mut camera =
        Camera::new(index, any).map_err(|error| failed(device, "cannot be opened", &error))?;
    let formats = camera.compatible_camera_formats();
    let formats = formats.map_err(|error| failed(device, "does not tell its formats", &error))?;
    let mut modes: Vec<Mode> = Vec::new();
    for format in formats {
        add(&mut modes, &format);
    }
    let controls = camera.camera_controls().unwrap_or_default();
    let controls = controls.iter().filter_map(control).collect();
    Ok(Abilities {
        modes,
        unused: Vec::new(),
        controls,
    })
}

fn add(modes: &mut Vec<Mode>, format: &CameraFormat) {
    let (Ok(width), Ok(height)) = (format.width().try_into(), format.height().try_into()) else {
        return;
    };
    let (pixels, size) = (pixels_of(format.format()), (width, height));
    if !pixels.takes(size) {
        return;
    }
    let rate = Rate {
        pictures: format.frame_rate(),
        seconds: 1,
    };
    match modes
        .iter_mut()
        .find(|mode| mode.pixels == pixels && mode.size == size)
    {
        Some(mode) => mode.rates.push(rate),
        None => modes.push(Mode {
            pixels,
            size,
            rates: vec![rate],
        }),
    }
}

const fn pixels_of(format: FrameFormat) -> Pixels {
    match format {
        FrameFormat::MJPEG => Pixels::Mjpeg,
        FrameFormat::YUYV => Pixels::Yuyv,
        FrameFormat::NV12 => Pixels::Nv12,
        FrameFormat::GRAY => Pixels::Grey,
        FrameFormat::RAWRGB => Pixels::Rgb,
        FrameFormat::RAWBGR => Pixels::Bgr,
    }
}

fn control(control: &CameraControl) -> Option<Control> {
    let (kind, value) = match *control.description() {
        ControlValueDescription::Integer { value, step, .. } => {
            let (least, most) = (i64::MIN, i64::MAX);
            (Kind::Number { least, most, step }, value)
        }
        ControlValueDescription::IntegerRange {
            min,
            max,
            value,
            step,
            ..
        } => {
            let (least, most) = (min, max);
            (Kind::Number { least, most, step }, value)
        }
        ControlValueDescription::Boolean { value, .. } => (Kind::Switch, value.into()),
        _ => return None,
    };
    Some(Control {
        name: typed_name(control.name()),
        id: number_of(control.control())?,
        kind,
        value: Some(value),
    })
}

/// A control's place among those that nokhwa knows.
fn number_of(control: KnownCameraControl) -> Option<u32> {
    let place = all_known_camera_controls()
        .iter()
        .position(|known| *known == control)?;
    u32::try_from(place).ok()
}

/// Opens a camera, sets its mode, turns its controls and lets it stream.
pub(super) fn open(device: &Device, choice: &Choice, settings: &[Setting]) -> Result<Ready, Error> {
    let format = frame_formats()
        .iter()
        .copied()
        .find(|&format| pixels_of(format) == choice.pixels);
    let format = format.unwrap_or(FrameFormat::MJPEG);
    let fps = choice.rate.map_or(30, |rate| rate.pictures);
    let (width, height) = (choice.size.0.into(), choice.size.1.into());
    let exact = RequestedFormatType::Exact(CameraFormat::new_from(width, height, format, fps));
    let requested = RequestedFormat::with_formats(exact, frame_formats());
    let index = CameraIndex::Index(device.index);
    let mut camera = Camera::new(index, requested)
        .map_err(|error| failed(device, "cannot be opened", &error))?;
    for setting in settings {
        set(&mut camera, setting);
    }
    (camera.open_stream()).map_err(|error| failed(device, "does not stream", &error))?;
    Ok(Ready {
        camera,
        rate: choice.rate,
        range: Range::Limited,
        lost: Arc::new(AtomicU64::new(0)),
    })
}

fn set(camera: &mut Camera, setting: &Setting) {
    let known = all_known_camera_controls();
    let place = usize::try_from(setting.id)
        .ok()
        .and_then(|place| known.get(place).copied());
    let value = if setting.is_switch {
        ControlValueSetter::Boolean(setting.value != 0)
    } else {
        ControlValueSetter::Integer(setting.value)
    };
    let Some(control) = place else {
        return;
    };
    if let Err(error) = camera.set_camera_control(control, value) {
        warn!(%control, value = setting.value, %error, "control not set");
    }
}

fn failed(device: &Device, what: &'static str, error: &NokhwaError) -> Error {
    Error::Device {
        device: device.to_string(),
        what,
        error: error.to_string(),
    }
}
