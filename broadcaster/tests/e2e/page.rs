//! The page in a browser, headless Chromium: what is on its screen, read off screenshots.
//!
//! The scenes are in `page.py`; here is what is on for each of them. Screenshots stay in the target
//! folder's `tmp`, to be looked at.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::clients::{are_installed, run_well, script};
use crate::program::{command, start};
use crate::relay::link::{self, Line};
use crate::relay::relay_of;
use crate::stage::{Kept, Native, Running, Stage, patient};

/// What a scene needs; `None` if it is not here and the test is to be skipped.
fn scene(name: &str, server: SocketAddr) -> Option<Command> {
    let tools = ["chromium", "chromedriver", "cv2", "axe_playwright_python"];
    let is_possible = are_installed(&tools);
    is_possible.then(|| {
        let mut scene = script("page.py");
        let url = format!("http://{server}");
        scene.args([name, &url, env!("CARGO_TARGET_TMPDIR")]);
        scene
    })
}

/// Has a scene looked at, which must be as it should be.
fn look(name: &str, stage: &Stage) {
    stage.native().seqs();
    if let Some(mut scene) = scene(name, stage.http) {
        run_well(&mut scene);
    }
}

/// A broadcaster with channels of these names, as they are described.
fn channels(names: &[&str], rest: &str) -> Stage {
    let tables = names
        .iter()
        .map(|name| format!("[[channel]]\nname = \"{name}\"\n{rest}\n"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("framecast.toml");
    std::fs::write(&file, tables.collect::<String>()).unwrap();
    Stage::with(&format!("--config {}", file.display()))
}

#[test]
fn on_a_desktop_it_shows_the_frames_it_names() {
    look("desktop", &Stage::with("--source pattern"));
}

#[test]
fn on_a_phone_it_shows_the_frames_it_names() {
    look("phone", &Stage::with("--source pattern"));
}

#[test]
fn its_pixels_change_at_the_streams_rate() {
    for stage in Stage::with_each_driver("--source pattern --fps 10") {
        look("rate", &stage);
    }
}

#[test]
fn its_age_is_that_of_what_is_on_the_screen() {
    let origin = Stage::with("--source pattern --size 320x240");
    let line = link::open(origin.tcp, Line::Long(Duration::from_millis(400)));
    look("age", &relay_of(line));
}

#[test]
fn a_picture_that_is_held_stays() {
    look("hold", &Stage::with("--source pattern"));
}

#[test]
fn the_slider_shows_the_past() {
    look("replay", &Stage::with("--source pattern --history 10s"));
}

#[test]
fn twelve_channels_run_in_one_tab_over_one_connection() {
    let names = [
        "main", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l",
    ];
    let rest = "source = \"pattern\"\nsize = \"320x180\"\nfps = 15";
    look("twelve", &channels(&names, rest));
}

#[test]
fn a_hidden_tab_gets_nothing_and_goes_on_with_the_newest_frame() {
    for stage in Stage::with_each_driver("--source pattern") {
        look("hidden", &stage);
    }
}

#[test]
fn when_the_server_is_back_so_is_the_picture() {
    let kept = [Kept::new(), Kept::new()];
    let [http, tcp] = kept.each_ref().map(|kept| kept.addr);
    let program = || {
        start(&mut command(&format!(
            "--http {http} --tcp {tcp} --source pattern"
        )))
        .0
    };
    let Some(mut scene) = scene("restart", http) else {
        return;
    };
    let mut first = Some(program());
    let mut second = None;
    let mut watching = Running(scene.stdout(Stdio::piped()).spawn().unwrap());
    let words = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    let mut heard = Vec::new();
    for word in words.map(Result::unwrap) {
        match &*word {
            "live" => drop(first.take()),
            "lost" => second = Some(program()),
            _ => {}
        }
        heard.push(word);
    }
    assert!(watching.0.wait().unwrap().success());
    assert_eq!(heard, ["live", "lost", "back"]);
    drop(second);
}

#[test]
fn axe_finds_nothing_wrong() {
    look(
        "lawful",
        &channels(&["main", "lab"], "source = \"pattern\"\nhistory = \"5s\""),
    );
}

#[test]
fn the_keyboard_is_enough() {
    look("keys", &channels(&["main", "lab"], "source = \"pattern\""));
}

#[test]
fn it_says_why_there_is_nothing_to_be_seen() {
    look("refused", &Stage::with("--source pattern?bytes=50"));
}

/// The page of figures, with a viewer that keeps up, one that asks for less, one behind a thin line, and
/// one that does not read.
fn look_at_figures(scene: &str) {
    let stage = channels(&["main", "lab"], "source = \"pattern\"");
    let keeps_up = stage.native();
    let _stopped = stage.native_of("lab");
    let mut fewer = patient(stage.http);
    write!(
        fewer,
        "GET /live/lab.mjpeg?fps=5 HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    .unwrap();
    let mut behind = Native::connect(link::open(stage.tcp, Line::Thin(150_000)));
    behind.hello("");
    // They read until the server ends.
    for mut stream in [keeps_up.stream, fewer, behind.stream] {
        thread::spawn(move || io::copy(&mut stream, &mut io::sink()));
    }
    look(scene, &stage);
}

#[test]
fn on_a_desktop_the_status_agrees_with_the_api() {
    look_at_figures("status_desktop");
}

#[test]
fn on_a_phone_the_status_agrees_with_the_api() {
    look_at_figures("status_phone");
}

#[test]
fn a_hidden_status_asks_for_nothing() {
    look("status_hidden", &Stage::with("--source pattern"));
}

#[test]
fn of_many_viewers_the_status_shows_those_that_fare_worst() {
    let stage = Stage::with("--source pattern --fps 5");
    // They read until the server ends; the last is behind a thin line.
    for _ in 1..60 {
        let mut stream = stage.native().stream;
        thread::spawn(move || io::copy(&mut stream, &mut io::sink()));
    }
    let mut behind = Native::connect(link::open(stage.tcp, Line::Thin(20_000)));
    behind.hello("");
    thread::spawn(move || io::copy(&mut behind.stream, &mut io::sink()));
    let mut scene = scene("status_crowd", stage.http).unwrap();
    run_well(&mut scene);
}

#[test]
fn without_scripts_there_is_a_picture() {
    look("plain", &Stage::with("--source pattern"));
}

#[test]
fn where_no_websocket_gets_through_there_is_a_picture_with_a_word_about_it() {
    let stage = channels(&["main", "lab"], "source = \"pattern\"");
    look("blocked", &stage);
}

#[test]
fn pictures_that_were_shown_take_no_memory() {
    look("memory_soon", &Stage::with("--source pattern"));
}

#[test]
#[ignore = "takes more than three minutes; nextest runs it with --run-ignored all"]
fn memory_stays_where_it_was() {
    let stage = Stage::with("--source pattern");
    stage.native().seqs();
    let mut scene = scene("memory", stage.http).unwrap();
    assert!(scene.status().unwrap().success());
}
