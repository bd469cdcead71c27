//! ustreamer, the best of the plain MJPEG servers. It passes a camera's JPEGs on without decoding.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Clock, SystemClock};

use super::camera::Camera;
use super::{Error, Workload, end};
use crate::load::{Protocol, Target};

const PROGRAM: &str = "ustreamer";
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where its stream is.
const PATH: &str = "/stream";

/// What is missing for it, if anything is.
pub(super) fn missing() -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).exists());
    (!is_there).then(|| format!("{PROGRAM} is not installed (Debian's package of that name)"))
}

/// Its name and version.
pub(super) fn version() -> String {
    let told = Command::new(PROGRAM).arg("--version").output();
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match told {
        Ok(version) if !version.is_empty() => format!("{PROGRAM} {version}"),
        _ => format!("no {PROGRAM}"),
    }
}

/// Starts it on `camera` and waits until it listens.
///
/// # Errors
/// If it is not installed, or does not come to listen.
pub(super) fn start(workload: &Workload, camera: &Camera) -> Result<(Child, Target), Error> {
    let failed = |error| Error::Start {
        program: PROGRAM.into(),
        error,
    };
    let addr = free_address().map_err(failed)?;
    let mut child = command(workload, camera, addr).spawn().map_err(failed)?;
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
    Ok((child, target))
}

fn command(workload: &Workload, camera: &Camera, addr: SocketAddr) -> Command {
    let line = format!(
        "--format MJPEG --encoder HW --resolution 1280x720 --desired-fps {} --tcp-nodelay --host {} \
         --port {} --log-level 0",
        workload.fps,
        addr.ip(),
        addr.port(),
    );
    let mut command = Command::new(PROGRAM);
    command.arg("--device").arg(camera.device());
    command.args(line.split_whitespace());
    camera.plug_into(&mut command, workload);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
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
