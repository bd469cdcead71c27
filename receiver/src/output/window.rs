//! `--display window`: the picture in a window, on Wayland or X11.
//!
//! Policy: a frame is decoded only when it is the next to be shown; the newest wins. With `--sync`
//! it is decoded a little before its time, by as much as the last ones took.
//!
//! minifb looks for the libraries of Wayland and X11 when the window is opened, so the program
//! builds and runs without them; Wayland goes first. It tells of events only when asked, so the loop
//! turns at least every 10 ms. What it cannot do, filling the screen, is done in
//! `full_screen.rs`.

mod full_screen;
mod overlay;

use std::collections::HashSet;
use std::env;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{Clock, Monotonic, Shutdown, SystemClock};
use minifb::{InputCallback, Key, WindowOptions};
use rustix::stdio::dup2_stdout;

use self::full_screen::FullScreen;
use super::Next;
use super::picture::{self, Canvas, Painter};
use super::schedule::Due;
use super::showing::{Command, Showing};
use super::stage::{Bell, Stage};
use crate::figures::Figures;

/// How often events are looked for.
const TURN: Duration = Duration::from_millis(10);
/// How often the window is drawn anew when nothing happens, in case something covered it.
const REDRAW: Duration = Duration::from_millis(200);
/// How long the window waits to know how large the pictures are.
const FIRST_FRAME: Duration = Duration::from_millis(700);
/// A window for pictures whose size is not known.
const USUAL: (u16, u16) = (960, 540);
/// Windows are opened no smaller and no larger than this; people can change that.
const LEAST: (usize, usize) = (320, 240);
const MOST: (usize, usize) = (1600, 900);
/// Longest time before its turn that a frame is decoded.
const MOST_LEAD: Duration = Duration::from_millis(50);

/// Why there is no window.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to open one on, or the libraries are missing.
    #[error(
        "no window can be opened: {reason}. It needs a Wayland or X11 desktop and its libraries \
         (Debian: libwayland-client0 and libxkbcommon0, or libx11-6 and libxcursor1); without one, --display terminal shows the picture too"
    )]
    Open {
        /// What is missing.
        reason: String,
    },
    /// The window does not take the picture.
    #[error("the window cannot be drawn: {0}")]
    Draw(String),
    /// No decoder.
    #[error(transparent)]
    Painter(#[from] picture::Error),
}

/// A window that shows one receiver.
#[derive(Debug)]
pub struct Window {
    window: minifb::Window,
    keys: mpsc::Receiver<Key>,
    full_screen: FullScreen,
    stage: Arc<Stage>,
    bell: Bell,
    showing: Showing,
    painter: Painter,
    /// The picture alone.
    picture: Canvas,
    /// The picture with words over it.
    canvas: Canvas,
    drawn_at: Monotonic,
    /// How long frames take to be decoded.
    lead: Duration,
}

impl Window {
    /// Opens a window as large as the pictures, once it is known how large they are.
    ///
    /// # Errors
    /// If there is neither Wayland nor X11, or their libraries are missing.
    pub fn open(
        title: &str,
        stage: Arc<Stage>,
        bell: Bell,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        check_surroundings(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))?;
        let size = stage.first_size(FIRST_FRAME, shutdown).unwrap_or(USUAL);
        let (width, height) = fitting(size);
        let options = WindowOptions {
            resize: true,
            ..WindowOptions::default()
        };
        let opened = apart_from_stdout(|| minifb::Window::new(title, width, height, options));
        let mut window = opened.map_err(|error| {
            let reason = error.to_string();
            Error::Open { reason }
        })?;
        window.set_target_fps(0);
        let (pressed, keys) = mpsc::channel();
        window.set_input_callback(Box::new(Presses {
            down: HashSet::new(),
            pressed,
        }));
        Ok(Self {
            full_screen: FullScreen::of(&window),
            window,
            keys,
            stage,
            bell,
            showing: Showing::new(PathBuf::from(".")),
            painter: Painter::new()?,
            picture: Canvas::default(),
            canvas: Canvas::default(),
            drawn_at: Monotonic::default(),
            lead: Duration::ZERO,
        })
    }

    /// Shows what is due, until a time, the word to end, or the user's wish.
    ///
    /// # Errors
    /// If the window cannot be drawn.
    pub fn show_until(&mut self, until: Monotonic, shutdown: &Shutdown) -> Result<Next, Error> {
        loop {
            let now = SystemClock.monotonic();
            if shutdown.is_triggered() {
                return Ok(Next::Told);
            }
            if now >= until {
                return Ok(Next::Elapsed);
            }
            self.bell.silence();
            let due = self.stage.take(now + self.lead);
            match due.filter(|due| self.showing.take(due)) {
                Some(due) => self.show(&due)?,
                None if self.is_stale(now) => self.redraw()?,
                None => self.window.update(),
            }
            if self.obey_keys() == Next::Quit || !self.window.is_open() {
                return Ok(Next::Quit);
            }
            let turn = until.min(SystemClock.monotonic() + TURN);
            let is_due = |time: &Monotonic| *time <= turn + self.lead;
            if self.stage.next_time().filter(is_due).is_none() {
                self.bell.wait(turn);
            }
        }
    }

    /// Takes the figures of the last second.
    pub fn note_figures(&mut self, figures: &Figures) {
        self.showing.note_figures(figures);
    }

    /// Decodes a frame, waits for its time if that is still to come, and shows it.
    fn show(&mut self, due: &Due) -> Result<(), Error> {
        let begun = SystemClock.monotonic();
        self.paint();
        self.compose();
        let ready = SystemClock.monotonic();
        // Follows a slower decoder at once and a faster one slowly.
        self.lead = ready.since(begun).max(self.lead * 15 / 16).min(MOST_LEAD);
        thread::sleep(due.at.since(ready));
        self.put()?;
        self.stage.note_shown(due);
        Ok(())
    }

    fn redraw(&mut self) -> Result<(), Error> {
        if self.window.get_size() != (self.picture.width, self.picture.height) {
            self.paint();
        }
        self.compose();
        self.put()
    }

    /// Whether the window has changed its size or may have been covered.
    fn is_stale(&self, now: Monotonic) -> bool {
        self.window.get_size() != (self.canvas.width, self.canvas.height)
            || now.since(self.drawn_at) >= REDRAW
    }

    /// The frame that is shown, as large as the window. One that is damaged leaves the last.
    fn paint(&mut self) {
        let (width, height) = self.window.get_size();
        let mut canvas = Canvas::default();
        canvas.reset(width, height);
        let Some(frame) = self.showing.current() else {
            self.picture = canvas;
            return;
        };
        let painted = self.painter.paint(frame, &mut canvas);
        if painted.is_ok() || (self.picture.width, self.picture.height) != (width, height) {
            self.picture = canvas;
        }
        self.showing.note_painted(painted);
    }

    fn compose(&mut self) {
        self.canvas.clone_from(&self.picture);
        let now = SystemClock.monotonic();
        overlay::draw(
            &mut self.canvas,
            &self.showing.overlay(),
            self.showing.banner(now),
        );
    }

    fn put(&mut self) -> Result<(), Error> {
        let canvas = &self.canvas;
        if canvas.pixels.is_empty() {
            self.window.update();
            return Ok(());
        }
        let put = self
            .window
            .update_with_buffer(&canvas.pixels, canvas.width, canvas.height);
        self.drawn_at = SystemClock.monotonic();
        put.map_err(|error| Error::Draw(error.to_string()))
    }

    fn obey_keys(&mut self) -> Next {
        while let Ok(key) = self.keys.try_recv() {
            let Some(command) = command_of(key) else {
                continue;
            };
            match command {
                Command::Quit => return Next::Quit,
                Command::FullScreen => {
                    if let Err(reason) = self.full_screen.toggle() {
                        self.showing.tell(reason.to_string());
                    }
                }
                other => self.showing.obey(other),
            }
            self.drawn_at = Monotonic::default();
        }
        Next::Elapsed
    }
}

/// Does something whose words must not stand between the figures: minifb prints on stdout what a
/// Wayland desktop lacks. They go to stderr.
fn apart_from_stdout<T>(talk: impl FnOnce() -> T) -> T {
    let Ok(stdout) = io::stdout().as_fd().try_clone_to_owned() else {
        return talk();
    };
    let moved = dup2_stdout(io::stderr());
    let outcome = talk();
    // Neither fails for what has just worked.
    let _ = io::stdout().flush();
    let _ = moved.and_then(|()| dup2_stdout(stdout));
    outcome
}

/// Says what is missing before anything is waited for.
fn check_surroundings(is_set: impl Fn(&str) -> bool) -> Result<(), Error> {
    // Wayland's library also takes an open connection, or the usual name in the runtime folder.
    let names = [
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "WAYLAND_SOCKET",
        "XDG_RUNTIME_DIR",
    ];
    if cfg!(not(target_os = "linux")) || names.into_iter().any(is_set) {
        return Ok(());
    }
    let reason = "neither WAYLAND_DISPLAY nor DISPLAY is set".to_owned();
    Err(Error::Open { reason })
}

/// The size of the window for pictures of this size: theirs, or their shape within the bounds.
fn fitting((width, height): (u16, u16)) -> (usize, usize) {
    let (width, height) = (usize::from(width.max(1)), usize::from(height.max(1)));
    let (mut fitted_width, mut fitted_height) = (width, height);
    if fitted_width > MOST.0 {
        (fitted_width, fitted_height) = (MOST.0, height * MOST.0 / width);
    }
    if fitted_height > MOST.1 {
        (fitted_width, fitted_height) = (width * MOST.1 / height, MOST.1);
    }
    (fitted_width.max(LEAST.0), fitted_height.max(LEAST.1))
}

const fn command_of(key: Key) -> Option<Command> {
    match key {
        Key::I => Some(Command::Overlay),
        Key::Space => Some(Command::Pause),
        Key::S => Some(Command::Save),
        Key::F | Key::F11 => Some(Command::FullScreen),
        Key::Q | Key::Escape => Some(Command::Quit),
        _ => None,
    }
}

/// Passes on each key that goes down, once, however short: between two looks at the keyboard's state
/// a key can go down and up.
struct Presses {
    down: HashSet<Key>,
    pressed: mpsc::Sender<Key>,
}

impl InputCallback for Presses {
    fn add_char(&mut self, _: u32) {}

    fn set_key_state(&mut self, key: Key, is_down: bool) {
        if !is_down {
            self.down.remove(&key);
        } else if self.down.insert(key) {
            // The window is closing if nobody listens.
            let _ = self.pressed.send(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_the_shape_of_the_pictures_within_bounds() {
        assert_eq!(fitting((640, 480)), (640, 480));
        assert_eq!(fitting((1920, 1080)), (1600, 900));
        assert_eq!(fitting((1080, 1920)), (506, 900));
        assert_eq!(fitting((3, 2)), (320, 240));
    }

    #[test]
    fn without_a_desktop_the_error_says_what_to_install() {
        let error = check_surroundings(|_| false).unwrap_err().to_string();
        assert!(
            error.contains("DISPLAY is set") && error.contains("libx11-6"),
            "{error}"
        );
        check_surroundings(|name| name == "DISPLAY").unwrap();
    }

    #[test]
    fn a_key_counts_once_until_it_is_released() {
        let (pressed, keys) = mpsc::channel();
        let down = HashSet::new();
        let mut presses = Presses { down, pressed };
        for is_down in [true, true, false, true] {
            presses.set_key_state(Key::S, is_down);
        }
        assert_eq!(keys.try_iter().count(), 2);
    }
}
