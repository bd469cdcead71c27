//! Programs that watch cameras and are servers themselves: OctoPrint, Moonraker and Home Assistant, each
//! in a folder of its own, set up with what the README tells their users to type.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use crate::clients::{are_installed, printed, run_well, script, still_says};
use crate::stage::{PATIENCE, Running, Stage};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
const HOST: &str = "http://HOST:8080";
/// How long one may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The program that this variable names, if it is here and so is what its script needs.
pub(crate) fn program(variable: &str, name: &str) -> Option<OsString> {
    let program = env::var_os(variable).unwrap_or_else(|| name.into());
    let is_possible = are_installed(&["cv2", program.to_str().unwrap()]);
    is_possible.then_some(program)
}

/// What README's row of a program has its users type.
pub(crate) fn quoted(program: &str) -> Vec<String> {
    let readme = fs::read_to_string(README).unwrap();
    let begins = format!("| {program} ");
    let row = readme.lines().find(|line| line.starts_with(&begins));
    let quoted = row.unwrap().split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

/// The same with this stage in the place of HOST.
pub(crate) fn typed(program: &str, stage: &Stage) -> Vec<String> {
    let (quoted, here) = (quoted(program), stage.url(""));
    let words = quoted.iter();
    words.map(|words| words.replace(HOST, &here)).collect()
}

/// The addresses among that.
pub(crate) fn settings(program: &str, stage: &Stage) -> Vec<String> {
    let here = stage.url("");
    let mut typed = typed(program, stage);
    typed.retain(|words| words.starts_with(&here));
    typed
}

/// Starts a program; it has, once this path of its is answered with 200.
pub(crate) fn start(command: &mut Command, addr: SocketAddr, path: &str) -> Running {
    let mut running = Running(command.stdin(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    while !matches!(status(addr, path), Ok(200)) {
        assert_eq!(running.0.try_wait().unwrap(), None, "{command:?} gave up");
        let late = begun.elapsed() > START_LIMIT;
        assert!(!late, "{command:?} is not up after {START_LIMIT:?}");
        thread::sleep(LOOK_AGAIN);
    }
    running
}

/// The status of the answer to a GET.
fn status(addr: SocketAddr, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n")?;
    let mut begin = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut begin)?;
    let words = str::from_utf8(&begin).map_err(io::Error::other)?;
    let code = words.rsplit(' ').next().unwrap();
    code.parse().map_err(io::Error::other)
}

/// The numbers that the pictures showed that a script had taken: of now, none before an earlier one.
pub(crate) fn taken(stage: &Stage, name: &str, words: &[String]) -> Vec<u64> {
    let before = still_says(stage, "X-Sequence");
    let seqs = printed(&run_well(script(name).args(words)));
    let after = still_says(stage, "X-Sequence");
    assert!(seqs.is_sorted(), "{seqs:?}");
    let is_of_now = |seq| (before..=after).contains(seq);
    assert!(seqs.iter().all(is_of_now), "{before} {seqs:?} {after}");
    seqs
}

/// That no picture came twice.
pub(crate) fn assert_differ(seqs: &[u64]) {
    assert!(seqs.is_sorted_by(|seq, next| seq < next), "{seqs:?}");
}
