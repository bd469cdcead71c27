//! ustreamer, the best of the plain MJPEG servers, on a camera that is none.
//!
//! It reads only V4L2 devices, so it gets `scripts/fakecam` in front of libc, whose frames have as
//! many bytes as those of the other contenders. It passes them on without decoding.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Clock, SystemClock, jpeg};

use super::{Error, Workload, end};
use crate::load::{Protocol, Target};

const PROGRAM: &str = "ustreamer";
/// Bytes that fakecam adds to a picture: its stamp.
const STAMP_BYTES: usize = 32;
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where its stream is.
const PATH: &str = "/stream";

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

/// Starts it and waits until it listens.
///
/// # Errors
/// If it, or a C compiler, is not installed, or it does not come to listen.
pub(super) fn start(workload: &Workload) -> Result<(Child, Target, Camera), Error> {
    let failed = |error| Error::Start {
        program: PROGRAM.into(),
        error,
    };
    let camera = Camera::new(workload.bytes).map_err(failed)?;
    let addr = free_address().map_err(failed)?;
    let mut child = camera.command(workload, addr).spawn().map_err(failed)?;
    if !is_listening(addr) {
        end(&mut child);
        return Err(Error::Silent {
            program: PROGRAM.into(),
        });
    }
    let target = Target {
        protocol: Protocol::Http,
        addr,
        path: PATH.to_owned(),
    };
    Ok((child, target, camera))
}

impl Camera {
    fn new(bytes: usize) -> io::Result<Self> {
        let folder =
            std::env::temp_dir().join(format!("framecast-ustreamer-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let camera = Self { folder };
        fs::write(camera.path("device"), [])?;
        fs::write(camera.path("clip.mjpeg"), picture(bytes)?)?;
        camera.compile()?;
        Ok(camera)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn compile(&self) -> io::Result<()> {
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]);
        compiler.arg(self.path("fakecam.so"));
        compiler.arg(in_project("scripts/fakecam/fakecam.c"));
        if compiler.status()?.success() {
            Ok(())
        } else {
            Err(io::Error::other("scripts/fakecam/fakecam.c not compiled"))
        }
    }

    fn command(&self, workload: &Workload, addr: SocketAddr) -> Command {
        let fps = workload.fps;
        let line = format!(
            "--format MJPEG --encoder HW --resolution 1280x720 --desired-fps {fps} --tcp-nodelay \
             --host {} --port {} --log-level 0",
            addr.ip(),
            addr.port(),
        );
        let mut command = Command::new(PROGRAM);
        command.arg("--device").arg(self.path("device"));
        command.args(line.split_whitespace());
        command.env("LD_PRELOAD", self.path("fakecam.so"));
        command.env("FAKECAM_DEV", self.path("device"));
        command.env("FAKECAM_FILE", self.path("clip.mjpeg"));
        command.env("FAKECAM_FPS", fps.to_string());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// A real picture, padded so that it has `bytes` bytes behind the camera.
fn picture(bytes: usize) -> io::Result<bytes::Bytes> {
    let footage = fs::read(in_project("broadcaster/assets/footage.mjpeg"))?;
    let length = jpeg::scan(&footage).map_err(io::Error::other)?.length;
    let padded = jpeg::pad(&footage[..length], bytes.saturating_sub(STAMP_BYTES));
    if padded.len() + STAMP_BYTES == bytes {
        Ok(padded)
    } else {
        let least = length + STAMP_BYTES;
        Err(io::Error::other(format!(
            "frames of at least {least} bytes"
        )))
    }
}

/// A file of this checkout.
fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// An address nobody listens on now; it cannot be asked to take a free one itself.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn is_listening(addr: SocketAddr) -> bool {
    let deadline = SystemClock.monotonic() + PATIENCE;
    while SystemClock.monotonic() < deadline {
        if TcpStream::connect(addr).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
