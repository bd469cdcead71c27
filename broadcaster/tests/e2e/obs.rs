//! OBS Studio shows the stream in media sources, set up with what the README tells its users to type.
//!
//! It runs on a screen of its own, with both ways that the README knows side by side, and sends what
//! it would record to this test, which reads the bar codes in it. Which pictures it shows when is its
//! own matter and that of the machine. What is not: each bears a code that passes its check, none
//! comes before an earlier one, and before long there is a second of which most are shown, soon after
//! they were captured. That holds again after the broadcaster was killed and started anew.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use common::barcode::{self, Stamp};
use common::wire::DecodeError;
use common::wire::mjpeg::Parser;
use common::{Clock, Image, SystemClock, Timestamp};
use serde_json::json;
use tempfile::TempDir;
use turbojpeg::PixelFormat;

use crate::clients::{RUN_LIMIT, are_installed};
use crate::housed::quoted;
use crate::program::{command, start};
use crate::stage::{Kept, PATIENCE, Running};

/// One picture's size; two are side by side.
const WIDTH: u16 = 320;
const HEIGHT: u16 = 240;
/// More than OBS takes for granted in MJPEG, which is 25: it would fall behind by a third of a second
/// each second.
const FPS: u32 = 40;
/// For so many seconds of pictures it is watched at least, so that falling behind shows.
const SECONDS: u32 = 4;
/// No longer after its capture is the soonest picture of a second received here: 0.1 s is usual, and
/// where OBS falls behind it is 0.6 s, because then the connection is full and pictures are left out.
const DELAY_LIMIT: Duration = Duration::from_millis(350);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The parts of what OBS sends.
const CONTENT_TYPE: &str = "multipart/x-mixed-replace; boundary=ffmpeg";

/// No wizard at the first start, nothing drawn but the recording.
const GLOBAL: &str = "[General]
FirstRun=true
EnableAutoUpdates=false
[Basic]
Profile=test
ProfileDir=test
SceneCollection=test
SceneCollectionFile=test
[BasicWindow]
PreviewEnabled=false
SysTrayEnabled=false
";

/// A recording that goes out as MJPEG to this address, of as many pixels and pictures as come in.
fn profile(addr: SocketAddr) -> String {
    let width = 2 * WIDTH;
    format!(
        "[General]
Name=test
[Output]
Mode=Advanced
[AdvOut]
RecType=FFmpeg
FFOutputToFile=false
FFURL=tcp://{addr}
FFFormat=mpjpeg
FFVEncoder=mjpeg
FFVBitrate=20000
FFAudioMixes=0
[Video]
BaseCX={width}
BaseCY={HEIGHT}
OutputCX={width}
OutputCY={HEIGHT}
FPSType=1
FPSInt={FPS}
ColorFormat=I444
ColorSpace=601
ColorRange=Full
"
    )
}

/// What is to be typed into a media source.
struct Way {
    input: String,
    input_format: String,
    options: String,
    /// How many pictures a second come in.
    fps: u32,
}

/// The two ways that README knows, with this address in the place of HOST.
fn ways(http: SocketAddr) -> [Way; 2] {
    let words = quoted("OBS");
    let [thinned, whole, input_format, options] = &words[..] else {
        panic!("README shows other settings: {words:?}");
    };
    let input = |url: &str| url.replace("HOST:8080", &http.to_string());
    let (_, thinned_fps) = thinned.split_once("?fps=").unwrap();
    [
        Way {
            input: input(thinned),
            input_format: String::new(),
            options: String::new(),
            fps: thinned_fps.parse().unwrap(),
        },
        Way {
            input: input(whole),
            input_format: input_format.clone(),
            options: options.clone(),
            fps: FPS,
        },
    ]
}

/// A scene of these media sources from left to right.
fn scene(ways: &[Way]) -> String {
    let (mut sources, mut items) = (Vec::new(), Vec::new());
    for (at, way) in ways.iter().enumerate() {
        let name = format!("camera {at}");
        let pos = json!({"x": usize::from(WIDTH) * at, "y": 0});
        items.push(json!({"name": name, "id": at + 1, "visible": true, "pos": pos}));
        let settings = json!({
            "is_local_file": false,
            "input": way.input,
            "input_format": way.input_format,
            "ffmpeg_options": way.options,
            "reconnect_delay_sec": 1,
        });
        sources.push(json!({"id": "ffmpeg_source", "name": name, "settings": settings}));
    }
    let settings = json!({"items": items, "id_counter": items.len()});
    sources.push(json!({"id": "scene", "name": "test", "settings": settings}));
    let order = json!([{"name": "test"}]);
    json!({"name": "test", "current_scene": "test", "current_program_scene": "test",
        "scene_order": order, "sources": sources})
    .to_string()
}

/// A screen that nobody sees, and its name.
fn screen() -> (Running, String) {
    let mut server = Command::new("Xvfb");
    server.args(["-displayfd", "1", "-noreset", "-nolisten", "tcp"]);
    server.args(["-screen", "0", "1024x768x24"]);
    server.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Running(server.spawn().unwrap());
    let mut number = String::new();
    let stdout = server.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut number).unwrap();
    assert!(!number.is_empty(), "Xvfb gave up");
    (server, format!(":{}", number.trim()))
}

/// What starts OBS with everything it keeps in this folder.
fn obs(folder: &Path, display: &str) -> Command {
    let mut obs = Command::new("obs");
    obs.args(["--collection", "test", "--profile", "test"]);
    obs.args(["--startrecording", "--multi", "--minimize-to-tray"]);
    for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
        obs.env(variable, folder);
    }
    obs.env_remove("WAYLAND_DISPLAY").env("DISPLAY", display);
    obs.env("QT_QPA_PLATFORM", "xcb");
    obs.env("LIBGL_ALWAYS_SOFTWARE", "1");
    // It would ask the network for news about streaming services, and no proxy is there.
    obs.env("https_proxy", "http://127.0.0.1:9");
    let log = File::create(folder.join("log")).unwrap();
    obs.stdin(Stdio::null()).stdout(log.try_clone().unwrap());
    obs.stderr(log);
    obs
}

/// OBS on its screen, and what it records.
struct Studio {
    obs: Running,
    recording: TcpStream,
    parser: Parser,
    buffer: BytesMut,
    _screen: Running,
    folder: TempDir,
}

impl Studio {
    /// Starts it; it has, once it records.
    fn open(ways: &[Way]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let basic = folder.path().join("obs-studio/basic");
        fs::create_dir_all(basic.join("profiles/test")).unwrap();
        fs::create_dir_all(basic.join("scenes")).unwrap();
        let profile = profile(listener.local_addr().unwrap());
        fs::write(basic.join("profiles/test/basic.ini"), profile).unwrap();
        fs::write(basic.join("scenes/test.json"), scene(ways)).unwrap();
        fs::write(basic.with_file_name("global.ini"), GLOBAL).unwrap();
        let (screen, display) = screen();
        let mut obs = Running(obs(folder.path(), &display).spawn().unwrap());
        let begun = Instant::now();
        let recording = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            let ended = obs.0.try_wait().unwrap();
            let is_waiting = ended.is_none() && begun.elapsed() < RUN_LIMIT;
            assert!(is_waiting, "{ended:?}: {}", log(folder.path()));
            thread::sleep(LOOK_AGAIN);
        };
        recording.set_nonblocking(false).unwrap();
        recording.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            obs,
            recording,
            parser: Parser::new(CONTENT_TYPE).unwrap(),
            buffer: BytesMut::new(),
            _screen: screen,
            folder,
        }
    }

    /// The next picture that it records.
    fn next(&mut self) -> Image {
        let mut scratch = [0; 64 << 10];
        loop {
            match self.parser.decode(&mut self.buffer) {
                Ok(Some(part)) => {
                    let picture = turbojpeg::decompress(&part.data, PixelFormat::RGB).unwrap();
                    let size = (picture.width, picture.height);
                    assert_eq!(size, (2 * usize::from(WIDTH), usize::from(HEIGHT)));
                    return Image {
                        width: 2 * WIDTH,
                        height: HEIGHT,
                        pixels: picture.pixels,
                    };
                }
                Err(DecodeError::Incomplete { .. }) => {}
                other => panic!("{other:?}"),
            }
            let count = self.recording.read(&mut scratch).unwrap_or_default();
            assert!(count > 0, "no more pictures: {}", log(self.folder.path()));
            self.buffer.extend_from_slice(&scratch[..count]);
        }
    }

    /// Watches until it has shown enough of both ways, of pictures captured after a moment.
    fn shows(&mut self, ways: &[Way; 2], after: Timestamp) {
        let mut halves = [Half::default(), Half::default()];
        let begun = Instant::now();
        let is_enough =
            |halves: &[Half; 2]| (halves.iter().zip(ways)).all(|(half, way)| half.is_enough(way));
        while !is_enough(&halves) {
            let picture = self.next();
            let now = SystemClock.wall();
            for (at, half) in halves.iter_mut().enumerate() {
                half.see(barcode::read(&cut(&picture, at)), after, now);
            }
            assert_eq!(self.obs.0.try_wait().unwrap(), None, "OBS gave up");
            let late = begun.elapsed() > RUN_LIMIT;
            assert!(!late, "{halves:?}\n{}", log(self.folder.path()));
        }
    }
}

/// What OBS and its libraries have said.
fn log(folder: &Path) -> String {
    String::from_utf8_lossy(&fs::read(folder.join("log")).unwrap()).into_owned()
}

/// One of the pictures side by side.
fn cut(picture: &Image, at: usize) -> Image {
    let row = 3 * usize::from(WIDTH);
    let rows = picture.pixels.chunks(row).skip(at).step_by(2);
    Image {
        width: WIDTH,
        height: HEIGHT,
        pixels: rows.flatten().copied().collect(),
    }
}

/// What came in one of the places, each picture once: its number, and the delay from its capture to
/// its arrival here.
#[derive(Debug, Default)]
struct Half(Vec<(u64, Duration)>);

impl Half {
    /// Nothing and what is older than this may be seen only until the first newer one.
    fn see(&mut self, stamp: Option<Stamp>, after: Timestamp, now: Timestamp) {
        let new = stamp.filter(|stamp| stamp.captured_at > after);
        let last = self.0.last().map(|(seq, _)| *seq);
        match (new, last) {
            (Some(stamp), Some(last)) if stamp.seq == last => {}
            (Some(stamp), _) => {
                assert!(last < Some(stamp.seq), "{} after {last:?}", stamp.seq);
                self.0.push((stamp.seq, now.since(stamp.captured_at)));
            }
            (None, last) => assert_eq!(
                last, None,
                "then {stamp:?}, not of a picture after {after:?}"
            ),
        }
    }

    /// Whether the last of many seconds has brought most pictures, and soon.
    fn is_enough(&self, way: &Way) -> bool {
        let (Some((first, _)), Some((last, _))) = (self.0.first(), self.0.last()) else {
            return false;
        };
        let second = self
            .0
            .iter()
            .rev()
            .take_while(|(seq, _)| seq + u64::from(FPS) > *last);
        let delays: Vec<_> = second.map(|(_, delay)| *delay).collect();
        let is_long = last - first >= u64::from(SECONDS * FPS);
        let are_most = 3 * delays.len() >= 2 * way.fps as usize;
        is_long && are_most && delays.iter().min() < Some(&DELAY_LIMIT)
    }
}

/// The broadcaster at these addresses, as a program that can be killed.
fn broadcaster(http: SocketAddr, tcp: SocketAddr) -> Running {
    let line =
        format!("--http {http} --tcp {tcp} --source pattern --size {WIDTH}x{HEIGHT} --fps {FPS}");
    start(&mut command(&line)).0
}

#[test]
fn obs_shows_the_stream_and_takes_it_up_again() {
    if !are_installed(&["obs", "Xvfb"]) {
        return;
    }
    let kept = [Kept::new(), Kept::new()];
    let [http, tcp] = [kept[0].addr, kept[1].addr];
    let ways = ways(http);
    let begun = SystemClock.wall();
    let first = broadcaster(http, tcp);
    let mut studio = Studio::open(&ways);
    studio.shows(&ways, begun);

    // Killed.
    drop(first);
    let restarted = SystemClock.wall();
    let _second = broadcaster(http, tcp);
    studio.shows(&ways, restarted);
}
