//! `--display terminal`, as somebody sees it who sits before tmux.

use std::process::{Command, Output};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::Frame;
use common::wire::tcp::Message;

use crate::desktop::{are_installed, await_some};
use crate::server::{PATIENCE, Script, picture, serve, serve_one};

/// A terminal of its own, with a shell in it.
struct Tmux {
    socket: String,
}

impl Tmux {
    /// `None` if tmux is missing. `name` tells it from those of other tests.
    fn open(name: &str, columns: u16, rows: u16) -> Option<Self> {
        if !are_installed(&["tmux"]) {
            return None;
        }
        let socket = format!("framecast-test-{name}-{}", std::process::id());
        let tmux = Self { socket };
        let size = [columns.to_string(), rows.to_string()];
        tmux.does(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &size[0],
            "-y",
            &size[1],
            "sh",
        ]);
        tmux.does(&["set", "-g", "remain-on-exit", "on"]);
        tmux.types("PS1='ready> '; unset COLORTERM");
        Some(tmux)
    }

    fn tmux(&self, words: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command
            .args(["-L", &self.socket])
            .args(words)
            .env_remove("TMUX");
        command.output().unwrap()
    }

    fn does(&self, words: &[&str]) -> String {
        let done = self.tmux(words);
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Types a line and the return key.
    fn types(&self, line: &str) {
        self.does(&["send-keys", "-l", line]);
        self.does(&["send-keys", "Enter"]);
    }

    fn presses(&self, key: &str) {
        self.does(&["send-keys", key]);
    }

    /// Starts the receiver, and says afterwards how it ended.
    fn watches(&self, environment: &str, arguments: &str) {
        let program = env!("CARGO_BIN_EXE_receiver");
        self.types(&format!(
            "clear; {environment} {program} {arguments}; echo \"ended: $?\""
        ));
    }

    fn text(&self) -> String {
        self.does(&["capture-pane", "-p"])
    }

    /// With the escape sequences of colours.
    fn coloured(&self) -> String {
        self.does(&["capture-pane", "-p", "-e"])
    }

    fn await_text(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let seen = self.text();
            if seen.contains(text) {
                return seen;
            }
            assert!(begun.elapsed() < PATIENCE, "no {text:?} in {seen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Sends SIGTERM to what the shell runs.
    fn terminate(&self) {
        let pid = self.does(&["display-message", "-p", "#{pane_pid}"]);
        let children = Command::new("pgrep")
            .args(["-P", pid.trim()])
            .output()
            .unwrap();
        let child = String::from_utf8(children.stdout).unwrap();
        let sent = Command::new("kill").args(["-TERM", child.trim()]).status();
        assert!(sent.unwrap().success());
    }

    /// The terminal is as it was: no raw mode, no alternate screen, and the cursor is there.
    fn assert_sane(&self) {
        let state = "#{alternate_on} #{cursor_flag} #{mouse_any_flag}";
        assert_eq!(self.does(&["display-message", "-p", state]).trim(), "0 1 0");
        self.types("stty -a | tr ';' ' ' | sed 's/^/stty: /'");
        let text = self.await_text("stty: ");
        let all = await_some("all of it", || {
            Some(self.text()).filter(|seen| seen.matches("echoctl").count() > 0)
        });
        assert!(all.contains(" icanon") && all.contains(" echo "), "{text}");
        assert!(!all.contains("-icanon") && !all.contains("-echo "), "{all}");
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        drop(self.tmux(&["kill-server"]));
    }
}

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

/// Servers of numbered pictures, 20 a second, until the receiver leaves.
fn several(count: usize) -> String {
    let script = || -> Script {
        Box::new(|peer| {
            peer.welcome();
            for seq in 0..1_000 {
                peer.say(Message::Payload(vec![picture(1, seq, (96, 48))]));
                std::thread::sleep(Duration::from_millis(50));
            }
        })
    };
    let port = serve((0..count).map(|_| script()).collect());
    format!("tcp://127.0.0.1:{port}")
}

#[test]
fn the_picture_has_its_colours_and_the_terminal_is_given_back() {
    let Some(tmux) = Tmux::open("picture", 80, 25) else {
        return;
    };
    let (url, send) = stream();
    // Green-brown above, the bar code below; 64 x 48 pixels of it in 80 x 48 half blocks.
    send.send(picture(1, 5, (640, 480))).unwrap();
    tmux.watches("COLORTERM=truecolor", &format!("{url} --display terminal"));
    tmux.await_text("▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀");
    tmux.await_text("skipped 0");
    let coloured = tmux.coloured();
    // 64 columns of the picture in the middle of 80, bars beside it.
    let colours = &cells(&coloured)[3];
    assert_eq!(colours.len(), 80, "{coloured}");
    assert_eq!((colours[0], colours[79]), ("0;0;0", "0;0;0"));
    for near in [colours[8], colours[40], colours[71]] {
        let channels: Vec<u8> = near.split(';').map(|text| text.parse().unwrap()).collect();
        let expected = [90_u8, 120, 40];
        let is_near = |(one, other): (&u8, u8)| one.abs_diff(other) <= 4;
        assert!(
            channels.iter().zip(expected).all(is_near),
            "{near} in {coloured}"
        );
    }

    tmux.presses("i");
    tmux.await_text("picture  640x480 ");
    tmux.presses("Space");
    tmux.await_text("paused");
    let has_size = |rows: usize, columns: usize| {
        let coloured = tmux.coloured();
        let cells = cells(&coloured);
        (cells.len() == rows && cells[3].len() == columns).then_some(())
    };
    tmux.does(&["resize-window", "-x", "40", "-y", "13"]);
    await_some("a smaller picture", || has_size(13, 40));
    tmux.does(&["resize-window", "-x", "80", "-y", "25"]);
    await_some("a larger picture", || has_size(25, 80));
    // Not by a key: one that comes while a change of size is not yet heard of waits for the next.
    tmux.terminate();
    tmux.await_text("ended: 0");
    tmux.assert_sane();
}

/// The letter's colour of each cell, line by line; a colour goes on until there is another.
fn cells(screen: &str) -> Vec<Vec<&str>> {
    let mut colour = "";
    let mut row = |line| {
        let mut cells = Vec::new();
        for piece in str::split(line, '\u{1b}') {
            let escape = piece
                .strip_prefix('[')
                .and_then(|rest| rest.split_once('m'));
            let (codes, text) = escape.unwrap_or(("", piece));
            if let Some((_, foreground)) = codes.split_once("38;2;") {
                let end = foreground.match_indices(';').nth(2);
                colour = &foreground[..end.map_or(foreground.len(), |(at, _)| at)];
            }
            cells.extend(text.chars().map(|_| colour));
        }
        cells
    };
    screen.lines().map(&mut row).collect()
}

#[test]
fn without_true_colours_there_are_256_and_signals_give_the_terminal_back() {
    let Some(tmux) = Tmux::open("palette", 60, 20) else {
        return;
    };
    let (url, send) = stream();
    send.send(picture(1, 5, (640, 480))).unwrap();
    tmux.watches("", &format!("{url} --display terminal"));
    tmux.await_text("skipped 0");
    let coloured = tmux.coloured();
    // The nearest of (90, 120, 40) is (95, 135, 0) or so, never a true colour.
    assert!(coloured.contains("38;5;64"), "{coloured}");
    assert!(!coloured.contains("38;2;"), "{coloured}");
    tmux.terminate();
    tmux.await_text("ended: 0");
    tmux.assert_sane();

    // Ctrl-C is a key like any other while the terminal is raw.
    tmux.watches("", &format!("{url} --display terminal"));
    tmux.await_text("connected");
    tmux.presses("C-c");
    tmux.await_text("ended: 0");
    tmux.assert_sane();
}

#[test]
fn several_receivers_are_a_dashboard() {
    let Some(tmux) = Tmux::open("dashboard", 90, 14) else {
        return;
    };
    let url = several(12);
    tmux.watches("", &format!("{url} --display terminal --count 12"));
    tmux.await_text("12 of 12 connected");
    let text = await_some("two seconds of it", || {
        let row = |text: &str| text.lines().nth(5).map(str::to_owned);
        let text = tmux.text();
        let bars = row(&text)?.matches('▇').count();
        (bars >= 2).then_some(text)
    });
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[1].contains("fps min/median"), "{text}");
    assert!(
        lines[2].contains("synchrony ") && lines[2].contains("skipped 0"),
        "{text}"
    );
    let words: Vec<_> = lines[5].split_whitespace().collect();
    assert_eq!((words[0], words[3]), ("0", "0"), "{text}");
    let fps: f64 = words[1].parse().unwrap();
    assert!((5.0..=25.0).contains(&fps), "{text}");
    assert!(lines[13].contains("receivers 1 to 8 of 12"), "{text}");
    tmux.presses("Down");
    tmux.await_text("receivers 2 to 9 of 12");
    tmux.presses("PageDown");
    tmux.await_text("receivers 5 to 12 of 12");
    tmux.presses("q");
    let text = tmux.await_text("ended: 0");
    assert!(text.contains("12 receivers"), "the summary stays: {text}");
    tmux.assert_sane();
}

#[test]
fn a_panic_anywhere_gives_the_terminal_back_first() {
    let Some(tmux) = Tmux::open("panic", 80, 40) else {
        return;
    };
    let tests = std::env::current_exe().unwrap();
    let name = "terminal::panics_with_the_terminal_in_hand";
    tmux.types(&format!(
        "RUST_BACKTRACE=0 {} --ignored --exact {name} --nocapture; echo \"ended: $?\"",
        tests.display()
    ));
    let text = tmux.await_text("ended: 101");
    assert!(text.contains("a panic on another thread"), "{text}");
    assert!(
        text.contains("the terminal was given back after a panic"),
        "{text}"
    );
    tmux.assert_sane();
}

/// Run by the test above, in a terminal.
#[test]
#[ignore = "needs a terminal"]
fn panics_with_the_terminal_in_hand() {
    use clap::Parser;
    use common::{Clock, Shutdown, SystemClock};
    use receiver::args::Args;
    use receiver::output::{Bell, Display};

    let line = "receiver tcp://127.0.0.1:1 --display terminal --count 2";
    let config = receiver::Config::from_args(Args::parse_from(line.split(' '))).unwrap();
    let shutdown = Shutdown::default();
    let mut display = Display::open(&config, Vec::new(), Bell::default(), &shutdown).unwrap();
    let panicking = std::thread::spawn(|| panic!("a panic on another thread"));
    assert!(panicking.join().is_err());
    let until = SystemClock.monotonic() + Duration::from_secs(5);
    let shown = display.show_until(until, &shutdown);
    drop(display);
    let error = shown.unwrap_err();
    panic!("{error}");
}

#[test]
fn without_a_terminal_the_end_is_2() {
    for (arguments, words) in [
        (
            &["--display", "terminal"][..],
            "needs stdout to be a terminal",
        ),
        (
            &["--display", "window", "--count", "2"],
            "shows one receiver, not 2",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_receiver"));
        let output = command
            .arg("tcp://127.0.0.1:1")
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains(words) && error.contains("right would be"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
