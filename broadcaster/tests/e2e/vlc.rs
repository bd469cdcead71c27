//! VLC plays the streams, without a screen: its `scene` filter saves the pictures that it shows.
//!
//! A player may leave out pictures that come late and show one for longer, so which ones it showed
//! is not fixed. What is: each bears a bar code that passes its check, none comes before an earlier
//! one, and many different ones are shown.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use turbojpeg::PixelFormat;

use crate::clients::{FRAMES, RUN_LIMIT, are_installed, live, seq_shown, still_says};
use crate::stage::{Running, Stage};

/// User and group `nobody`: VLC refuses to run as root.
const NOBODY: u32 = 65_534;

/// VLC, playing into a folder that is its home too.
fn player(url: &str, folder: &Path) -> Running {
    let mut vlc = Command::new("cvlc");
    vlc.args(["--quiet", "--no-audio", "--vout", "dummy"]);
    vlc.args(["--video-filter", "scene", "--scene-format", "jpg"]);
    vlc.args(["--scene-ratio", "1", "--scene-path"]).arg(folder);
    vlc.arg(url).env("HOME", folder).stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
        vlc.uid(NOBODY).gid(NOBODY);
    }
    Running(vlc.spawn().unwrap())
}

/// The pictures saved so far in the order in which they were shown, whole ones only: until then
/// they have another ending.
fn saved(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut pictures: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "jpg"))
        .collect();
    pictures.sort();
    pictures
}

/// The sequence numbers of the pictures that VLC shows until there are enough different ones.
fn shown(stage: &Stage, target: &str) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    let mut vlc = player(&stage.url(target), folder.path());
    let mut watching = stage.native();
    let mut seqs = Vec::new();
    let begun = Instant::now();
    while seqs.len() < FRAMES {
        assert_eq!(vlc.0.try_wait().unwrap(), None, "VLC gave up on {target}");
        let late = begun.elapsed() > RUN_LIMIT;
        assert!(!late, "{target}: only {seqs:?} after {RUN_LIMIT:?}");
        // The next frame is when there may be something new.
        watching.seqs();
        let pictures = saved(folder.path());
        let new = pictures.iter().map(|path| {
            let jpeg = fs::read(path).unwrap();
            fs::remove_file(path).unwrap();
            let picture = turbojpeg::decompress(&jpeg, PixelFormat::RGB).unwrap();
            assert_eq!((picture.width, picture.height), (640, 480), "{target}");
            seq_shown(&picture.pixels)
        });
        seqs.extend(new);
        seqs.dedup();
    }
    seqs
}

#[test]
fn vlc_plays_the_streams() {
    if !are_installed(&["cvlc"]) {
        return;
    }
    for target in ["/stream", "/?action=stream", "/live/main.mjpeg"] {
        let stage = live();
        let before = still_says(&stage, "X-Sequence");
        let seqs = shown(&stage, target);
        let after = still_says(&stage, "X-Sequence");
        assert!(seqs.is_sorted(), "{target}: {seqs:?}");
        assert!(seqs[0] >= before && seqs[seqs.len() - 1] <= after);
    }
}
