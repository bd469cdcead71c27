//! A camera that is none, for servers that take their pictures from V4L2 devices.
//!
//! `scripts/fakecam` stands in front of libc and hands out one real picture, padded so that its
//! frames have as many bytes as those of the other contenders.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use common::jpeg;

use super::Workload;

/// Bytes that fakecam adds to a picture: its stamp.
const STAMP_BYTES: usize = 32;
/// What it sees.
const PICTURE: &[u8] = include_bytes!("../../assets/720p.jpg");

/// A folder with what the camera needs. Removed when dropped.
#[derive(Debug)]
pub(super) struct Camera {
    folder: PathBuf,
}

impl Drop for Camera {
    fn drop(&mut self) {
        // What is left lies in the system's folder for temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Camera {
    /// A camera with frames of `bytes`.
    ///
    /// # Errors
    /// If that is fewer than the picture has, there is no C compiler, or a file is not written.
    pub(super) fn new(bytes: usize) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("framecast-camera-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder)?;
        let camera = Self { folder };
        fs::write(camera.device(), [])?;
        fs::write(camera.path("clip.mjpeg"), picture(bytes)?)?;
        camera.compile()?;
        Ok(camera)
    }

    /// The node to be opened.
    pub(super) fn device(&self) -> PathBuf {
        self.path("video0")
    }

    /// Puts the camera before the program's libc.
    pub(super) fn plug_into(&self, program: &mut Command, workload: &Workload) {
        program.env("LD_PRELOAD", self.path("fakecam.so"));
        program.env("FAKECAM_DEV", self.device());
        program.env("FAKECAM_FILE", self.path("clip.mjpeg"));
        program.env("FAKECAM_FPS", workload.fps.to_string());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn compile(&self) -> io::Result<()> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fakecam/fakecam.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]);
        compiler.arg(self.path("fakecam.so")).arg(&source);
        if compiler.status()?.success() {
            Ok(())
        } else {
            let what = format!("{} not compiled", source.display());
            Err(io::Error::other(what))
        }
    }
}

/// A real picture, padded so that it has `bytes` bytes behind the camera.
fn picture(bytes: usize) -> io::Result<bytes::Bytes> {
    let padded = jpeg::pad(PICTURE, bytes.saturating_sub(STAMP_BYTES));
    if padded.len() + STAMP_BYTES == bytes {
        Ok(padded)
    } else {
        let least = PICTURE.len() + STAMP_BYTES;
        let what = format!("frames of {bytes} bytes from a camera: at least {least}");
        Err(io::Error::other(what))
    }
}
