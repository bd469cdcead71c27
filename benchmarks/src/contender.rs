//! Servers under test: real programs, started as children on free ports, ended by their id.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use common::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::load::{Protocol, Target};

mod camera;
mod ustreamer;

use camera::Camera;

/// How long a server may take to end after it was told.
const ENDING: Duration = Duration::from_secs(5);
/// Lines a server prints before its address, at most.
const MAX_LINES: usize = 16;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contender {
    /// The bare loop.
    Bare,
    /// The broadcaster, event loops.
    Multiplex,
    /// The broadcaster, a thread for each viewer.
    Threads,
    /// The broadcaster with event loops, behind a camera instead of its own pictures.
    Webcam,
    /// ustreamer behind the same camera.
    Ustreamer,
}

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// How frames leave.
    pub protocol: Protocol,
    /// How many watch.
    pub viewers: usize,
    /// Bytes of a frame.
    pub bytes: usize,
    /// Frames a second.
    pub fps: u32,
    /// Frames handed on together.
    pub frames_per_payload: usize,
    /// Further viewers that hinder.
    pub hindrance: Hindrance,
}

/// Viewers beside the measured ones that cannot or will not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hindrance {
    /// None.
    #[default]
    None,
    /// So many that never read.
    Stopped(usize),
    /// So many that read far less than they are sent.
    Throttled(usize),
    /// Ten newcomers a second who leave with their first frame.
    Joining,
}

/// Why a server is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program cannot be started.
    #[error("{}: {error}; build all programs first: cargo build --release", program.display())]
    Start {
        /// Which program.
        program: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It ended, or printed no address.
    #[error("{} did not say where it listens", program.display())]
    Silent {
        /// Which program.
        program: PathBuf,
    },
    /// It has no camera.
    #[error("no camera: {0}")]
    Camera(#[from] io::Error),
}

/// A running server. Ended when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Kept open: a program whose output nobody takes may end.
    _stdout: Option<BufReader<ChildStdout>>,
    /// Where its pictures come from, if not from itself.
    _camera: Option<Camera>,
    /// Where viewers connect.
    pub target: Target,
}

impl Contender {
    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop",
            Self::Multiplex => "multiplex",
            Self::Threads => "threads",
            Self::Webcam => "multiplex, webcam",
            Self::Ustreamer => "ustreamer",
        }
    }

    /// How one of our own programs is started.
    fn command(self, workload: &Workload, camera: Option<&Camera>) -> Command {
        let Workload {
            bytes,
            fps,
            frames_per_payload,
            ..
        } = workload;
        let line = match self {
            Self::Bare => {
                let protocol = match workload.protocol {
                    Protocol::Tcp => "tcp",
                    Protocol::Http => "http",
                };
                format!(
                    "benchmarks bare --protocol {protocol} --bytes {bytes} --fps {fps} \
                     --frames-per-payload {frames_per_payload}"
                )
            }
            _ => {
                let source = match camera {
                    Some(camera) => format!("webcam:{} --size 1280x720", camera.device().display()),
                    // A tiny picture: what is measured is the way out, and encoding should not be
                    // part of it.
                    None => format!("pattern?bytes={bytes} --size 16x16"),
                };
                let driver = match self {
                    Self::Threads => "threads",
                    _ => "multiplex",
                };
                format!(
                    "broadcaster --source {source} --fps {fps} --driver {driver} \
                     --frames-per-payload {frames_per_payload} --log error --http 127.0.0.1:0 \
                     --tcp 127.0.0.1:0"
                )
            }
        };
        let mut words = line.split_whitespace();
        let mut command = Command::new(sibling(words.next().unwrap_or_default()));
        command.args(words);
        command
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// If it does not start or does not say where it listens.
    pub fn start(self, workload: &Workload) -> Result<Server, Error> {
        let camera = match self {
            Self::Webcam | Self::Ustreamer => Some(Camera::new(workload.bytes)?),
            _ => None,
        };
        let mut server = match (self, &camera) {
            (Self::Ustreamer, Some(camera)) => {
                let (child, target) = ustreamer::start(workload, camera)?;
                Server::new(child, target)
            }
            _ => self.start_own(workload, camera.as_ref())?,
        };
        server._camera = camera;
        Ok(server)
    }

    fn start_own(self, workload: &Workload, camera: Option<&Camera>) -> Result<Server, Error> {
        let mut command = self.command(workload, camera);
        if let Some(camera) = camera {
            camera.plug_into(&mut command, workload);
        }
        let program = PathBuf::from(command.get_program());
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => return Err(Error::Start { program, error }),
        };
        let stdout = child.stdout.take().expect("stdout is piped");
        let prefix = match workload.protocol {
            Protocol::Tcp => "native  ",
            Protocol::Http => "stream  ",
        };
        let mut stdout = BufReader::new(stdout);
        let mut lines = (&mut stdout).lines().take(MAX_LINES).map_while(Result::ok);
        let url = lines.find_map(|line| line.strip_prefix(prefix).map(str::to_owned));
        let target = url.and_then(|url| Target::parse(&url).ok());
        let Some(target) = target else {
            end(&mut child);
            return Err(Error::Silent { program });
        };
        let mut server = Server::new(child, target);
        server._stdout = Some(stdout);
        Ok(server)
    }
}

impl Server {
    const fn new(child: Child, target: Target) -> Self {
        Self {
            child,
            _stdout: None,
            _camera: None,
            target,
        }
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// What is missing for ustreamer, if anything is.
pub(crate) fn missing_ustreamer() -> Option<String> {
    ustreamer::missing()
}

/// Name and version of ustreamer.
pub(crate) fn ustreamer_version() -> String {
    ustreamer::version()
}

/// Tells it to end, and ends it if it does not.
pub(crate) fn end(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Fails only if it has ended already.
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = SystemClock.monotonic() + ENDING;
    while SystemClock.monotonic() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A program in the folder of this one.
pub(crate) fn sibling(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name(name)
}
