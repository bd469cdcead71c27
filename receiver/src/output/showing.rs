//! What somebody who looks at one receiver sees beside the picture, and what they chose.
//!
//! Window and terminal differ in how they draw; which picture, which words and which keys is the
//! same for both and stands here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::{Clock, Format, Frame, Monotonic, SystemClock};

use super::schedule::Due;
use crate::figures::Figures;

/// How long people are told what has just happened.
const NOTICE: Duration = Duration::from_secs(3);

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Figures over the picture, or none.
    Overlay,
    /// The picture stands still, or goes on.
    Pause,
    /// The picture goes to a file.
    Save,
    /// The picture fills the screen, or its window.
    FullScreen,
    /// The end.
    Quit,
}

impl Command {
    /// What a key asks for, if anything; `None` for keys that have no meaning.
    #[must_use]
    pub const fn from_key(key: char) -> Option<Self> {
        match key.to_ascii_lowercase() {
            'i' => Some(Self::Overlay),
            ' ' => Some(Self::Pause),
            's' => Some(Self::Save),
            'f' => Some(Self::FullScreen),
            'q' => Some(Self::Quit),
            _ => None,
        }
    }
}

/// Whether the picture goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Motion {
    Running,
    Paused,
}

/// What is shown of one receiver.
#[derive(Debug)]
pub struct Showing {
    folder: PathBuf,
    motion: Motion,
    has_overlay: bool,
    current: Option<Frame>,
    placeholder_since: Option<Monotonic>,
    /// Why the last frame could not be painted.
    unpaintable: Option<String>,
    notice: Option<(String, Monotonic)>,
    figures: Option<Figures>,
    skipped: u64,
    late: u64,
}

impl Showing {
    /// Nothing yet; pictures are saved to `folder`.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            motion: Motion::Running,
            has_overlay: false,
            current: None,
            placeholder_since: None,
            unpaintable: None,
            notice: None,
            figures: None,
            skipped: 0,
            late: 0,
        }
    }

    /// Takes the frame that is shown from now on; false if the picture stands still instead.
    pub fn take(&mut self, due: &Due) -> bool {
        if self.motion == Motion::Paused {
            return false;
        }
        if due.frame.head.is_placeholder() {
            let now = SystemClock.monotonic();
            self.placeholder_since.get_or_insert(now);
        } else {
            self.placeholder_since = None;
        }
        self.current = Some(due.frame.clone());
        true
    }

    /// The frame that is shown.
    #[must_use]
    pub const fn current(&self) -> Option<&Frame> {
        self.current.as_ref()
    }

    /// Notes whether the frame could be painted.
    pub fn note_painted(&mut self, painted: Result<(), super::picture::Error>) {
        self.unpaintable = painted.err().map(|error| error.to_string());
    }

    /// Takes the figures of the last second.
    pub fn note_figures(&mut self, figures: &Figures) {
        self.skipped += figures.skipped;
        self.late += figures.sync.map_or(0, |sync| sync.late);
        self.figures = Some(figures.clone());
    }

    /// Tells people something for a few seconds.
    pub fn tell(&mut self, notice: String) {
        self.notice = Some((notice, SystemClock.monotonic()));
    }

    /// Does what needs no window.
    pub fn obey(&mut self, command: Command) {
        match command {
            Command::Overlay => self.has_overlay = !self.has_overlay,
            Command::Pause => {
                self.motion = match self.motion {
                    Motion::Running => Motion::Paused,
                    Motion::Paused => Motion::Running,
                }
            }
            Command::Save => self.save(),
            Command::FullScreen | Command::Quit => {}
        }
    }

    fn save(&mut self) {
        let Some(frame) = &self.current else {
            return self.tell("no picture to save yet".to_owned());
        };
        let path = self.folder.join(file_name(frame));
        let notice = match fs::write(&path, frame.data()) {
            Ok(()) => format!("saved {}", shortened(&path)),
            Err(error) => format!("cannot save {}: {error}", shortened(&path)),
        };
        self.tell(notice);
    }

    /// What must be known at any time, most important first: there is no picture or it is an old
    /// one, and why; what has just happened.
    #[must_use]
    pub fn banner(&self, now: Monotonic) -> Option<String> {
        if let Some((text, _)) = (self.notice.as_ref()).filter(|(_, at)| now.since(*at) < NOTICE) {
            return Some(text.clone());
        }
        if self.motion == Motion::Paused {
            return Some("paused".to_owned());
        }
        let figures = self.figures.as_ref();
        if let Some(figures) = figures.filter(|figures| figures.connected == 0) {
            let reason = figures.trouble.as_deref().unwrap_or("connecting");
            return Some(format!("not connected: {reason}"));
        }
        if let Some(since) = self.placeholder_since {
            let seconds = now.since(since).as_secs();
            return Some(format!("no picture from the source for {seconds} s"));
        }
        if let Some(reason) = &self.unpaintable {
            return Some(reason.clone());
        }
        self.current
            .is_none()
            .then(|| "waiting for the first picture".to_owned())
    }

    /// The figures over the picture, if they are wanted.
    #[must_use]
    pub fn overlay(&self) -> Vec<String> {
        if !self.has_overlay {
            return Vec::new();
        }
        let mut lines = vec![self.picture_line()];
        if let Some(figures) = &self.figures {
            let (fps, megabits) = (figures.fps, figures.bitrate_bps / 1e6);
            lines.push(format!("rate     {fps:.1} fps, {megabits:.1} Mbit/s"));
            lines.push(format!("age      {}", age(figures)));
            if figures.clock == "unchecked" {
                lines.push("clock    unchecked".to_owned());
            }
            lines.push(format!("skipped  {}", self.skipped));
            if let Some(sync) = figures.sync {
                lines.push(format!(
                    "sync     {:.0} ms, late {}",
                    sync.sync_ms, self.late
                ));
                if let Some(off) = sync.sync_off_ms {
                    lines.push(format!("off      {:.1}/{:.1} ms p50/p99", off.p50, off.p99));
                }
            }
        }
        lines
    }

    /// The same on one line.
    #[must_use]
    pub fn status(&self) -> String {
        let Some(figures) = &self.figures else {
            return "connecting".to_owned();
        };
        let age = figures.age_ms.map_or_else(
            || "unknown".to_owned(),
            |age| format!("{:.1}/{:.1} ms", age.p50, age.p99),
        );
        let (fps, skipped) = (figures.fps, self.skipped);
        let mut text = format!("{fps:.1} fps  age {age}  skipped {skipped}");
        if let Some(sync) = figures.sync {
            let off = sync
                .sync_off_ms
                .map_or_else(String::new, |off| format!(" {:.1} ms off p99", off.p99));
            text.push_str(&format!("  sync{off}  late {}", self.late));
        }
        text
    }

    fn picture_line(&self) -> String {
        let Some(frame) = &self.current else {
            return "picture  none yet".to_owned();
        };
        let (head, kilobytes) = (&frame.head, frame.data().len() as f64 / 1e3);
        let (width, height, seq) = (head.width, head.height, head.identity.seq);
        let what = if head.is_placeholder() {
            "placeholder"
        } else {
            "number"
        };
        format!("picture  {width}x{height} {kilobytes:.1} kB {what} {seq}")
    }
}

fn age(figures: &Figures) -> String {
    let Some(age) = figures.age_ms else {
        return "unknown".to_owned();
    };
    format!("{:.1}/{:.1} ms p50/p99", age.p50, age.p99)
}

/// `framecast-2026-11-21T121652.048Z-42.jpg`: unique, and sorted by time.
fn file_name(frame: &Frame) -> String {
    let captured = Duration::from_nanos(frame.head.captured_at.as_nanos());
    let time = SystemTime::UNIX_EPOCH
        .checked_add(captured)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let time = humantime::format_rfc3339_millis(time)
        .to_string()
        .replace(':', "");
    let extension = match frame.head.format {
        Format::Jpeg => "jpg",
        Format::Opaque => "bin",
    };
    format!("framecast-{time}-{}.{extension}", frame.head.identity.seq)
}

/// The path as it was given, without the dot of the working folder.
fn shortened(path: &Path) -> impl std::fmt::Display {
    path.strip_prefix(".").unwrap_or(path).display()
}
