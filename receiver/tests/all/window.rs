//! `--display window`, as somebody sees it who sits before it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use common::wire::tcp::Message;
use common::{Flags, Frame, Image};
use rustix::process::{Pid, Signal, kill_process};

use crate::desktop::{Desktop, Running, SCREEN, are_installed, await_some, files};
use crate::server::{picture, serve_one};

/// A native server that sends the frames it is given.
fn stream() -> (String, mpsc::Sender<Frame>) {
    let (send, frames) = mpsc::channel::<Frame>();
    let port = serve_one(move |peer| {
        peer.welcome();
        for frame in frames {
            peer.say(Message::Payload(vec![frame]));
        }
    });
    (format!("tcp://127.0.0.1:{port}"), send)
}

fn watch(desktop: &Desktop, url: &str, folder: &Path) -> Running {
    let mut command = desktop.command(env!("CARGO_BIN_EXE_receiver"));
    command.args([url, "--display", "window", "--json"]);
    command.current_dir(folder).stdout(Stdio::piped());
    Running(command.spawn().unwrap())
}

/// How many frames have arrived, second by second.
fn arrivals(receiver: &mut Running) -> impl Iterator<Item = u64> + use<> {
    let lines = BufReader::new(receiver.0.stdout.take().unwrap()).lines();
    lines.scan(0, |sum, line| {
        let figures: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        *sum += figures["frames"].as_u64().unwrap();
        Some(*sum)
    })
}

/// The share of pure white pixels between two rows, of a hundred.
fn whiteness(image: &Image, rows: std::ops::Range<usize>) -> usize {
    let row = 3 * usize::from(image.width);
    let pixels = image.pixels[rows.start * row..rows.end * row].chunks_exact(3);
    let count = pixels.len();
    100 * pixels.filter(|pixel| *pixel == [255; 3]).count() / count
}

#[test]
fn the_window_shows_the_frame_that_was_sent_and_obeys_keys() {
    let Some(desktop) = Desktop::open() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (url, send) = stream();
    let sent = picture(1, 7, (640, 480));
    send.send(sent.clone()).unwrap();
    let mut receiver = watch(&desktop, &url, folder.path());
    let mut arrivals = arrivals(&mut receiver);

    desktop.await_seq(7);
    assert_eq!(desktop.window()[2..], [640, 480]);
    let plain = desktop.look();

    desktop.does("key i");
    await_some("the figures", || {
        (whiteness(&desktop.look(), 0..100) > 2).then_some(())
    });
    desktop.does("key i");
    await_some("the plain picture", || {
        (desktop.look() == plain).then_some(())
    });

    desktop.does("key s");
    let name = await_some("the file", || files(folder.path()).pop());
    assert!(
        name.starts_with("framecast-2023-11-14T") && name.ends_with("-7.jpg"),
        "{name}"
    );
    assert_eq!(
        std::fs::read(folder.path().join(name)).unwrap(),
        sent.data().to_vec()
    );

    desktop.does("key space");
    await_some("the word that it is paused", || {
        (whiteness(&desktop.look(), 320..345) > 0).then_some(())
    });
    send.send(picture(1, 8, (640, 480))).unwrap();
    assert!(arrivals.any(|sum| sum == 2), "frame 8 has arrived");
    assert_eq!(desktop.stamp().map(|stamp| stamp.seq), Some(7));
    desktop.does("key space");
    send.send(picture(1, 9, (640, 480))).unwrap();
    desktop.await_seq(9);

    desktop.does("key q");
    assert_eq!(receiver.0.wait().unwrap().code(), Some(0));
}

#[test]
fn any_size_of_the_window_shows_the_whole_picture() {
    let Some(desktop) = Desktop::open() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (url, send) = stream();
    send.send(picture(1, 1, (320, 240))).unwrap();
    let mut receiver = watch(&desktop, &url, folder.path());
    desktop.await_seq(1);

    let number = desktop.window_number();
    desktop.does(&format!("windowmove {number} 100 200"));
    desktop.does(&format!("windowsize {number} 700 240"));
    let wide = await_some("a wide window", || {
        let image = desktop.look();
        let centre = |image: &Image| {
            let [left, top, ..] = desktop.window();
            let seen = Desktop::see([left + 190, top, 320, 240], &desktop.name);
            common::barcode::read(&seen).map(|_| image.clone())
        };
        (image.width == 700).then(|| centre(&image)).flatten()
    });
    for x in [0, 189, 510, 699] {
        let at = 3 * (120 * 700 + x);
        assert_eq!(wide.pixels[at..at + 3], [0; 3], "a bar at {x}");
    }

    // Without a window manager, then with one.
    desktop.does("key f");
    let is_full = |desktop: &Desktop| desktop.window() == [0, 0, SCREEN.0, SCREEN.1];
    await_some("the full screen", || is_full(&desktop).then_some(()));
    desktop.await_seq(1);
    desktop.does("key f");
    await_some("the window", || {
        (desktop.window()[2..] == [700, 240]).then_some(())
    });
    desktop.does("key Escape");
    assert_eq!(receiver.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_window_manager_is_asked_for_the_full_screen_and_may_close_the_window() {
    let Some(mut desktop) = Desktop::open() else {
        return;
    };
    desktop.manage();
    let folder = tempfile::tempdir().unwrap();
    let (url, send) = stream();
    send.send(picture(1, 1, (640, 480))).unwrap();
    let mut receiver = watch(&desktop, &url, folder.path());
    // Where the window is, under its frame, xdotool does not tell truly; how large it is, it does.
    let size = |desktop: &Desktop| desktop.window()[2..].to_owned();
    await_some("the window", || {
        (size(&desktop) == [640, 480]).then_some(())
    });
    desktop.does("key f");
    await_some("the full screen", || {
        (desktop.window() == [0, 0, SCREEN.0, SCREEN.1]).then_some(())
    });
    desktop.await_seq(1);
    desktop.does("key f");
    await_some("the window", || {
        (size(&desktop) == [640, 480]).then_some(())
    });
    // As its close button does.
    desktop.does("key alt+F4");
    assert_eq!(receiver.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_placeholder_is_shown_as_such_and_signals_end_it() {
    let Some(desktop) = Desktop::open() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (url, send) = stream();
    let frame = picture(1, 3, (640, 480));
    send.send(frame.clone()).unwrap();
    let mut receiver = watch(&desktop, &url, folder.path());
    desktop.await_seq(3);
    let words = 320..345;
    await_some("the bare picture", || {
        (whiteness(&desktop.look(), words.clone()) == 0).then_some(())
    });
    let mut placeholder = frame;
    placeholder.head.flags = Flags::KEY.with(Flags::PLACEHOLDER);
    send.send(placeholder).unwrap();
    await_some("words", || {
        (whiteness(&desktop.look(), words.clone()) > 2).then_some(())
    });
    send.send(picture(1, 4, (640, 480))).unwrap();
    desktop.await_seq(4);
    await_some("no words", || {
        (whiteness(&desktop.look(), words.clone()) == 0).then_some(())
    });
    kill_process(Pid::from_child(&receiver.0), Signal::TERM).unwrap();
    assert_eq!(receiver.0.wait().unwrap().code(), Some(0));
}

/// Where the ground of our pictures is to be seen on the whole screen, with room for the bar code.
fn find_picture(desktop: &Desktop) -> Option<[u16; 4]> {
    let screen = Desktop::see([0, 0, SCREEN.0, SCREEN.1], &desktop.name);
    let is_ground = |pixel: &[u8]| {
        let pairs = pixel.iter().zip([90, 120, 40]);
        pairs
            .into_iter()
            .all(|(one, other)| one.abs_diff(other) < 4)
    };
    let found = screen.pixels.chunks_exact(3).zip(0_u32..);
    let found = found.filter(|(pixel, _)| is_ground(pixel));
    let places: Vec<_> = found
        .map(|(_, at)| (at % u32::from(SCREEN.0), at / u32::from(SCREEN.0)))
        .collect();
    let left = places.iter().map(|place| place.0).min()?;
    let right = places.iter().map(|place| place.0).max()?;
    let top = places.iter().map(|place| place.1).min()?;
    let number = |value: u32| u16::try_from(value).unwrap();
    Some([number(left), number(top), number(right - left + 1), 480])
}

#[test]
fn a_window_on_wayland_shows_the_frame_and_obeys_keys() {
    let Some(desktop) = Desktop::open().filter(|_| are_installed(&["weston"])) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(folder.path(), permissions).unwrap();
    // A Wayland desktop within the other one. Were the pointer there already as it starts, Weston 10
    // would take it to be at 0, 0, where a click starts a terminal that takes the keyboard.
    desktop.does(&format!("mousemove {} {}", SCREEN.0 - 1, SCREEN.1 - 1));
    let mut weston = desktop.command("weston");
    weston.args([
        "--backend=x11-backend.so",
        "--socket=wayland-test",
        "--use-pixman",
    ]);
    weston.args(["--width=1000", "--height=740", "--idle-time=0"]);
    weston.env("XDG_RUNTIME_DIR", folder.path());
    weston.stdout(Stdio::null()).stderr(Stdio::null());
    let _weston = Running(weston.spawn().unwrap());
    await_some("the Wayland desktop", || {
        files(folder.path())
            .contains(&"wayland-test".to_owned())
            .then_some(())
    });

    let (url, send) = stream();
    send.send(picture(1, 11, (640, 480))).unwrap();
    let mut command = desktop.command(env!("CARGO_BIN_EXE_receiver"));
    command
        .args([&url, "--display", "window", "--json"])
        .env_remove("DISPLAY");
    command
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("WAYLAND_DISPLAY", "wayland-test");
    let mut receiver = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut arrivals = arrivals(&mut receiver);

    let place = await_some("frame 11", || {
        let place = find_picture(&desktop).filter(|place| place[2] == 640)?;
        let stamp = common::barcode::read(&Desktop::see(place, &desktop.name))?;
        (stamp.seq == 11).then_some(place)
    });
    // There may have been seconds before it.
    let first = arrivals.find(|sum| *sum > 0);
    assert_eq!(first, Some(1), "stdout is for figures only");
    desktop.does(&format!(
        "mousemove {} {} click 1",
        place[0] + 320,
        place[1] + 200
    ));
    // Some time after the click the window has the keyboard, which cannot be seen from outside.
    let status = await_some("the end", || {
        desktop.does("key q");
        receiver.0.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
}

#[test]
fn without_a_desktop_the_end_is_1_and_says_what_to_install() {
    for display in [None, Some(":987")] {
        let (url, _send) = stream();
        let mut command = Command::new(env!("CARGO_BIN_EXE_receiver"));
        for name in [
            "DISPLAY",
            "WAYLAND_DISPLAY",
            "WAYLAND_SOCKET",
            "XDG_RUNTIME_DIR",
        ] {
            command.env_remove(name);
        }
        command
            .args([&url, "--display", "window"])
            .envs(display.map(|name| ("DISPLAY", name)));
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(
            error.starts_with("receiver: no window can be opened: "),
            "{error}"
        );
        assert!(
            error.contains("libx11-6") && error.contains("--display terminal"),
            "{error}"
        );
    }
}
