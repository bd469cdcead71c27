//! A nokhwa backend of our own for Linux.
//!
//! nokhwa's own one hands out the whole buffer with stale bytes behind the picture, passes damaged
//! pictures on, waits for ever and opens no camera at a fractional rate. This one sees how many
//! bytes are used, the error flag, the sequence and the driver's time, and waits with a limit. It
//! is made for one mode and keeps it; what would change that is refused.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::SystemClock;
use nokhwa::camera_traits::CaptureBackendTrait;
use nokhwa::utils::{
    ApiBackend, CameraControl, CameraFormat, CameraIndex, CameraInfo, ControlValueSetter,
    FrameFormat, KnownCameraControl, Resolution,
};
use nokhwa::{Buffer, Camera, NokhwaError};
use tracing::{debug, warn};
use v4l::Fraction;
use v4l::buffer::{Flags, Metadata, Type};
use v4l::control::{Control, Value};
use v4l::format::{Colorspace, Format, Quantization};
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::prelude::MmapStream;
use v4l::video::Capture as _;
use v4l::video::capture::Parameters;

use super::super::camera::{NOTHING_YET, Ready};
use super::super::control::Setting;
use super::super::device::Device;
use super::super::mode::{Choice, Pixels, Rate};
use super::super::raw::{Range, bytes_of};
use super::{Error, failed, guarded, pixels_of, rate};

/// Buffers asked for: one is read, the others fill meanwhile.
const BUFFERS: u32 = 4;
/// How long one wait for a picture takes at most.
const POLL_MS: i32 = 100;

/// Opens a camera, turns its controls, sets its mode and lets it stream. A control that it refuses
/// is logged: a picture that is too dark is better than none.
pub(in crate::capture::webcam) fn open(
    device: &Device,
    choice: &Choice,
    settings: &[Setting],
) -> Result<Ready, Error> {
    let open = v4l::Device::with_path(&device.path)
        .map_err(|error| failed(device, "cannot be opened", &error))?;
    for setting in settings {
        let value = Value::Integer(setting.value);
        let control = Control {
            id: setting.id,
            value,
        };
        if let Err(error) = open.set_control(control) {
            warn!(%device, id = setting.id, value = setting.value, %error, "control not set");
        }
    }
    let format =
        set_format(&open, choice).map_err(|error| failed(device, "refuses its mode", &error))?;
    let rate = choice.rate.and_then(|rate| set_rate(&open, rate));
    let lost = Arc::new(AtomicU64::new(0));
    let mut backend = Backend {
        info: CameraInfo::new(
            &device.name,
            "",
            &device.bus,
            CameraIndex::Index(device.index),
        ),
        device: open,
        pixels: choice.pixels,
        format: camera_format(choice),
        stride: usize::try_from(format.stride).unwrap_or(0),
        stream: None,
        last_sequence: None,
        lost: lost.clone(),
    };
    (backend.begin()).map_err(|error| failed(device, "does not stream", &error))?;
    let index = CameraIndex::Index(device.index);
    Ok(Ready {
        camera: Camera::with_custom(index, ApiBackend::Video4Linux, Box::new(backend)),
        rate: rate.or(choice.rate),
        range: range(&format),
        lost,
    })
}

fn set_format(open: &v4l::Device, choice: &Choice) -> io::Result<Format> {
    let formats = open.enum_formats()?;
    let mut fourccs = formats.into_iter().map(|format| format.fourcc);
    let fourcc = fourccs.find(|&fourcc| pixels_of(fourcc) == Some(choice.pixels));
    let fourcc = fourcc.ok_or_else(|| io::Error::other("it no longer has that format"))?;
    let (width, height) = (u32::from(choice.size.0), u32::from(choice.size.1));
    let set = guarded(|| open.set_format(&Format::new(width, height, fourcc)))?;
    if (set.width, set.height, set.fourcc) == (width, height, fourcc) {
        return Ok(set);
    }
    let (width, height, fourcc) = (set.width, set.height, set.fourcc);
    Err(io::Error::other(format!(
        "it takes {fourcc} {width}x{height} instead"
    )))
}

/// The rate the camera agreed to; `None` if it has no rates to set.
fn set_rate(open: &v4l::Device, wanted: Rate) -> Option<Rate> {
    let interval = Fraction::new(wanted.seconds, wanted.pictures);
    let set = open.set_params(&Parameters::new(interval));
    let set = set
        .inspect_err(|error| debug!(%error, "rate not set"))
        .ok()?;
    Some(rate(set.interval)).filter(|rate| rate.pictures > 0 && rate.seconds > 0)
}

const fn range(format: &Format) -> Range {
    match (format.quantization, format.colorspace) {
        (Quantization::FullRange, _) | (Quantization::Default, Colorspace::JPEG) => Range::Full,
        (Quantization::LimitedRange | Quantization::Default, _) => Range::Limited,
    }
}

fn camera_format(choice: &Choice) -> CameraFormat {
    let format = match choice.pixels {
        Pixels::Mjpeg => FrameFormat::MJPEG,
        Pixels::Nv12 => FrameFormat::NV12,
        Pixels::Yuyv => FrameFormat::YUYV,
        Pixels::Grey => FrameFormat::GRAY,
        Pixels::Rgb => FrameFormat::RAWRGB,
        Pixels::Bgr => FrameFormat::RAWBGR,
    };
    let rounded = |rate: Rate| (rate.pictures + rate.seconds / 2) / rate.seconds.max(1);
    let fps = choice.rate.map_or(0, rounded);
    CameraFormat::new_from(choice.size.0.into(), choice.size.1.into(), format, fps)
}

struct Backend {
    info: CameraInfo,
    device: v4l::Device,
    pixels: Pixels,
    format: CameraFormat,
    /// Bytes from one row to the next, 0 for formats without rows.
    stride: usize,
    stream: Option<MmapStream<'static>>,
    last_sequence: Option<u32>,
    lost: Arc<AtomicU64>,
}

impl Backend {
    fn begin(&mut self) -> io::Result<()> {
        let mut stream = MmapStream::with_buffers(&self.device, Type::VideoCapture, BUFFERS)?;
        // Buffer 0 is queued by the first `next`, which takes it for the one it gave out last.
        CaptureStream::queue(&mut stream, 1)?;
        for index in 2..BUFFERS as usize {
            if CaptureStream::queue(&mut stream, index).is_err() {
                break;
            }
        }
        stream.start()?;
        self.stream = Some(stream);
        Ok(())
    }

    /// The next picture; `None` if none came in time or the one that came is damaged.
    fn shoot(&mut self) -> io::Result<Option<Buffer>> {
        let stream = self.stream.as_mut();
        let stream = stream.ok_or_else(|| io::Error::other("the stream was stopped"))?;
        // Not by `next` with a time limit: after one it has queued its buffer and queues it again.
        let poll_in = i16::try_from(rustix::event::PollFlags::IN.bits()).expect("is 1");
        match stream.handle().poll(poll_in, POLL_MS) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            polled => polled?,
        };
        let (bytes, meta) = CaptureStream::next(stream)?;
        let missed = missed(self.last_sequence.replace(meta.sequence), meta.sequence);
        let used = usize::try_from(meta.bytesused).unwrap_or(0);
        let bytes = bytes.get(..used).filter(|bytes| !bytes.is_empty());
        let whole = bytes.filter(|_| !meta.flags.contains(Flags::ERROR));
        self.lost
            .fetch_add(missed + u64::from(whole.is_none()), Ordering::Relaxed);
        let Some(bytes) = whole else {
            return Ok(None);
        };
        let size = self.format.resolution();
        let tight = tightened(bytes, self.pixels, self.stride, size);
        Ok(Some(Buffer::with_timestamp(
            size,
            &tight,
            self.format.format(),
            taken_at(meta),
        )))
    }
}

/// When a picture was taken by the wall clock, if the driver says so in a clock that is known.
fn taken_at(meta: &Metadata) -> Option<Duration> {
    if meta.flags & Flags::TIMESTAMP_MASK != Flags::TIMESTAMP_MONOTONIC {
        return None;
    }
    let seconds = u64::try_from(meta.timestamp.sec).ok()?;
    let micros = u64::try_from(meta.timestamp.usec).ok()?;
    let moment = Duration::from_secs(seconds) + Duration::from_micros(micros);
    Some(Duration::from_nanos(SystemClock.wall_at(moment).as_nanos()))
}

/// Pictures the driver counted between two that came. A jump backwards is a restart.
fn missed(before: Option<u32>, sequence: u32) -> u64 {
    let Some(before) = before else {
        return 0;
    };
    let step = sequence.wrapping_sub(before);
    if step == 0 || step > u32::MAX / 2 {
        return 0;
    }
    u64::from(step - 1)
}

/// Rows without the padding that drivers may put behind each.
fn tightened(bytes: &[u8], pixels: Pixels, stride: usize, size: Resolution) -> Cow<'_, [u8]> {
    let width = u16::try_from(size.width()).unwrap_or(u16::MAX);
    let row = match pixels {
        Pixels::Nv12 => Some(usize::from(width)),
        pixels => bytes_of(pixels, (width, 1)),
    };
    match row {
        Some(row) if stride > row => {
            let rows = bytes
                .chunks(stride)
                .flat_map(|padded| &padded[..row.min(padded.len())]);
            Cow::Owned(rows.copied().collect())
        }
        _ => Cow::Borrowed(bytes),
    }
}

fn refused<T>() -> Result<T, NokhwaError> {
    Err(NokhwaError::UnsupportedOperationError(
        ApiBackend::Video4Linux,
    ))
}

impl CaptureBackendTrait for Backend {
    fn backend(&self) -> ApiBackend {
        ApiBackend::Video4Linux
    }

    fn camera_info(&self) -> &CameraInfo {
        &self.info
    }

    fn refresh_camera_format(&mut self) -> Result<(), NokhwaError> {
        Ok(())
    }

    fn camera_format(&self) -> CameraFormat {
        self.format
    }

    fn set_camera_format(&mut self, _: CameraFormat) -> Result<(), NokhwaError> {
        refused()
    }

    fn compatible_list_by_resolution(
        &mut self,
        format: FrameFormat,
    ) -> Result<HashMap<Resolution, Vec<u32>>, NokhwaError> {
        let own = (self.resolution(), vec![self.frame_rate()]);
        Ok(if format == self.frame_format() {
            HashMap::from([own])
        } else {
            HashMap::new()
        })
    }

    fn compatible_fourcc(&mut self) -> Result<Vec<FrameFormat>, NokhwaError> {
        Ok(vec![self.frame_format()])
    }

    fn resolution(&self) -> Resolution {
        self.format.resolution()
    }

    fn set_resolution(&mut self, _: Resolution) -> Result<(), NokhwaError> {
        refused()
    }

    fn frame_rate(&self) -> u32 {
        self.format.frame_rate()
    }

    fn set_frame_rate(&mut self, _: u32) -> Result<(), NokhwaError> {
        refused()
    }

    fn frame_format(&self) -> FrameFormat {
        self.format.format()
    }

    fn set_frame_format(&mut self, _: FrameFormat) -> Result<(), NokhwaError> {
        refused()
    }

    fn camera_control(&self, _: KnownCameraControl) -> Result<CameraControl, NokhwaError> {
        refused()
    }

    fn camera_controls(&self) -> Result<Vec<CameraControl>, NokhwaError> {
        refused()
    }

    fn set_camera_control(
        &mut self,
        _: KnownCameraControl,
        _: ControlValueSetter,
    ) -> Result<(), NokhwaError> {
        refused()
    }

    fn open_stream(&mut self) -> Result<(), NokhwaError> {
        if self.stream.is_some() {
            return Ok(());
        }
        (self.begin()).map_err(|error| NokhwaError::OpenStreamError(error.to_string()))
    }

    fn is_stream_open(&self) -> bool {
        self.stream.is_some()
    }

    fn frame(&mut self) -> Result<Buffer, NokhwaError> {
        match self.shoot() {
            Ok(Some(buffer)) => Ok(buffer),
            Ok(None) => Err(NokhwaError::ReadFrameError(NOTHING_YET.to_owned())),
            Err(error) => Err(NokhwaError::ReadFrameError(error.to_string())),
        }
    }

    fn frame_raw(&mut self) -> Result<Cow<'_, [u8]>, NokhwaError> {
        Ok(Cow::Owned(self.frame()?.buffer().to_vec()))
    }

    /// Never fails: `Camera` panics when it is dropped if this does.
    fn stop_stream(&mut self) -> Result<(), NokhwaError> {
        const ENODEV: i32 = 19;
        let Some(mut stream) = self.stream.take() else {
            return Ok(());
        };
        match stream.stop() {
            Ok(()) => drop(stream),
            Err(error) if error.raw_os_error() == Some(ENODEV) => drop(stream),
            Err(error) => {
                // Dropping it would stop it again, and panic. Leaking it costs its buffers.
                warn!(%error, "camera does not stop");
                std::mem::forget(stream);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v4l::FourCC;

    #[test]
    fn pictures_that_the_driver_dropped_are_counted_and_restarts_are_not() {
        assert_eq!(missed(None, 7), 0);
        assert_eq!(missed(Some(7), 8), 0);
        assert_eq!(missed(Some(7), 11), 3);
        assert_eq!(missed(Some(u32::MAX), 1), 1);
        assert_eq!(missed(Some(500), 0), 0);
    }

    #[test]
    fn padding_behind_rows_is_taken_out() {
        let size = Resolution::new(2, 2);
        let padded = [1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0];
        let tight = tightened(&padded, Pixels::Yuyv, 6, size);
        assert_eq!(*tight, [1, 2, 3, 4, 5, 6, 7, 8]);
        let cut = tightened(&padded[..8], Pixels::Yuyv, 6, size);
        assert_eq!(*cut, [1, 2, 3, 4, 5, 6]);
        assert_eq!(*tightened(&padded, Pixels::Yuyv, 4, size), padded);
        assert_eq!(*tightened(&padded, Pixels::Mjpeg, 6, size), padded);
        let planes = [1, 2, 0, 3, 4, 0, 5, 6, 0];
        assert_eq!(
            *tightened(&planes, Pixels::Nv12, 3, size),
            [1, 2, 3, 4, 5, 6]
        );
    }

    #[test]
    fn only_times_of_a_known_clock_are_taken() {
        let meta = |flags| Metadata {
            flags,
            timestamp: v4l::Timestamp::new(1, 0),
            ..Metadata::default()
        };
        assert!(taken_at(&meta(Flags::TIMESTAMP_MONOTONIC)).is_some());
        assert!(taken_at(&meta(Flags::TIMESTAMP_COPY)).is_none());
        assert!(taken_at(&meta(Flags::DONE)).is_none());
    }

    #[test]
    fn values_are_limited_unless_the_driver_says_otherwise() {
        let mut format = Format::new(2, 2, FourCC::new(b"YUYV"));
        assert_eq!(range(&format), Range::Limited);
        format.colorspace = Colorspace::JPEG;
        assert_eq!(range(&format), Range::Full);
        format.quantization = Quantization::LimitedRange;
        assert_eq!(range(&format), Range::Limited);
    }
}
