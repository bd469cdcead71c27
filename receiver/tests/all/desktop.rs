//! A desktop without a screen, and hands and eyes for it: Xvfb, xdotool, ffmpeg.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use common::Image;
use common::barcode::{self, Stamp};

use crate::server::PATIENCE;

pub(crate) const SCREEN: (u16, u16) = (1024, 768);

/// Whether these commands are here. If not, the test is to be skipped, which `STRICT=1` forbids.
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
pub(crate) fn are_installed(commands: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    let Some(missing) = commands.iter().find(|name| !is_here(name)) else {
        return true;
    };
    let skipped = format!("skipped: {missing} is not installed");
    assert!(std::env::var("STRICT").as_deref() != Ok("1"), "{skipped}");
    eprintln!("{skipped}");
    false
}

/// Asks again and again until there is an answer.
pub(crate) fn await_some<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
}

/// A child that is ended when the test is over, however that comes.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Neither fails for a child that has not been waited for; otherwise there is nothing to do.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An X server of its own.
pub(crate) struct Desktop {
    pub(crate) name: String,
    manager: Option<Running>,
    _server: Running,
}

impl Desktop {
    /// A desktop without a window manager; `None` if the tools are missing.
    pub(crate) fn open() -> Option<Self> {
        if !are_installed(&["Xvfb", "xdotool", "ffmpeg", "openbox"]) {
            return None;
        }
        let (width, height) = SCREEN;
        let mut server = Command::new("Xvfb")
            .args([
                "-displayfd",
                "1",
                "-noreset",
                "-nolisten",
                "tcp",
                "-screen",
                "0",
            ])
            .arg(format!("{width}x{height}x24"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut number = String::new();
        let stdout = server.stdout.take().unwrap();
        let server = Running(server);
        BufReader::new(stdout).read_line(&mut number).unwrap();
        Some(Self {
            name: format!(":{}", number.trim()),
            manager: None,
            _server: server,
        })
    }

    /// Starts a window manager.
    pub(crate) fn manage(&mut self) {
        let manager = self.command("openbox").stderr(Stdio::null()).spawn();
        self.manager = Some(Running(manager.unwrap()));
        await_some("a window manager", || {
            let name = self.command("xdotool").arg("get_num_desktops").output();
            name.unwrap().status.success().then_some(())
        });
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DISPLAY", &self.name)
            .env_remove("WAYLAND_DISPLAY");
        command
            .env_remove("WAYLAND_SOCKET")
            .env_remove("XDG_RUNTIME_DIR");
        command
    }

    /// Moves the hands: what xdotool is told; what it answers.
    pub(crate) fn does(&self, words: &str) -> String {
        let done = self
            .command("xdotool")
            .args(words.split(' '))
            .output()
            .unwrap();
        assert!(done.status.success(), "xdotool {words}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Left, top, width and height of the receiver's window, once it is there.
    pub(crate) fn window(&self) -> [u16; 4] {
        let number = self.window_number();
        let text = self.does(&format!("getwindowgeometry --shell {number}"));
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim_start_matches('=').parse().unwrap()
        };
        [value("X"), value("Y"), value("WIDTH"), value("HEIGHT")]
    }

    pub(crate) fn window_number(&self) -> String {
        await_some("the window", || {
            let mut search = self.command("xdotool");
            search.args(["search", "--onlyvisible", "--name", "Framecast"]);
            let found = String::from_utf8(search.output().unwrap().stdout).unwrap();
            found.lines().next().map(str::to_owned)
        })
    }

    /// What is to be seen in a part of the screen.
    pub(crate) fn see([left, top, width, height]: [u16; 4], display: &str) -> Image {
        let mut image = Image::filled(width, height, [0; 3]);
        let shot = Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-f",
                "x11grab",
                "-draw_mouse",
                "0",
                "-video_size",
            ])
            .arg(format!("{width}x{height}"))
            .args(["-i", &format!("{display}+{left},{top}"), "-frames:v", "1"])
            .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
            .output()
            .unwrap();
        assert_eq!(shot.stdout.len(), image.pixels.len(), "{shot:?}");
        image.pixels = shot.stdout;
        image
    }

    /// What the window shows.
    pub(crate) fn look(&self) -> Image {
        Self::see(self.window(), &self.name)
    }

    /// What the bar code in the window says.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        barcode::read(&self.look())
    }

    /// Waits until the window shows this frame.
    pub(crate) fn await_seq(&self, seq: u64) {
        await_some(&format!("frame {seq}"), || {
            self.stamp().filter(|stamp| stamp.seq == seq)
        });
    }
}

/// The names of the files in a folder.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect()
}
