//! `--display terminal`: the picture of one receiver, or the figures of several.
//!
//! Policy: the terminal is given back as it was, whatever ends the program: a key, a signal, an error,
//! a panic of any thread. While it is ours, log lines for it are held back. The newest frame wins;
//! a terminal that is slow to take one sees fewer.

mod blocks;
mod dashboard;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;
use std::{env, panic};

use common::{Clock, Monotonic, Shutdown, SystemClock};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use self::blocks::{Colours, Picture};
use self::dashboard::Dashboard;
use super::showing::{Command, Showing};
use super::stage::{Bell, Stage};
use super::{Discard, Next, picture};
use crate::config::Config;
use crate::figures::Figures;
use crate::logbook::LOGBOOK;

/// How often keys are looked for.
const TURN: Duration = Duration::from_millis(15);
/// How often words over a still picture are brought up to date.
const REDRAW: Duration = Duration::from_millis(250);

/// Whether the terminal is ours and has to be given back.
static IS_OURS: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The terminal does not do what it should.
    #[error("the terminal cannot be used: {0}")]
    Io(#[from] io::Error),
    /// It was given back so that people can read what went wrong.
    #[error("the terminal was given back after a panic")]
    GivenBack,
    /// No decoder.
    #[error(transparent)]
    Painter(#[from] picture::Error),
}

/// Whether pictures can be shown on stdout.
#[must_use]
pub fn is_here() -> bool {
    io::stdout().is_terminal()
}

/// Gives the terminal back, if it is ours; may be called at any time from any thread.
pub fn give_back() {
    if IS_OURS.swap(false, Ordering::SeqCst) {
        // There is nothing to do for a terminal that is gone.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
        LOGBOOK.release();
    }
}

/// A terminal that shows pictures or figures, and is given back when dropped.
#[derive(Debug)]
pub struct Terminal {
    screen: ratatui::Terminal<CrosstermBackend<io::Stdout>>,
    view: View,
    bell: Bell,
    drawn_at: Monotonic,
}

/// What is shown.
#[derive(Debug)]
enum View {
    /// One receiver: its picture.
    Picture {
        stage: Arc<Stage>,
        showing: Showing,
        picture: Box<Picture>,
    },
    /// Several: their figures.
    Dashboard {
        dashboard: Dashboard,
        discard: Discard,
    },
}

impl Terminal {
    /// Takes the terminal that is stdout.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn open(config: &Config, stages: Vec<Arc<Stage>>, bell: Bell) -> Result<Self, Error> {
        let colours = Colours::from_name(env::var("COLORTERM").ok().as_deref());
        let view = match stages.first() {
            Some(stage) if config.count.get() == 1 => View::Picture {
                stage: stage.clone(),
                showing: Showing::new(PathBuf::from(".")),
                picture: Box::new(Picture::new(colours)?),
            },
            _ => View::Dashboard {
                dashboard: Dashboard::default(),
                discard: Discard::new(stages, bell.clone()),
            },
        };
        take()?;
        // Dropped on the way out if anything below fails.
        let screen = ratatui::Terminal::new(CrosstermBackend::new(io::stdout()));
        if screen.is_err() {
            give_back();
        }
        Ok(Self {
            screen: screen?,
            view,
            bell,
            drawn_at: Monotonic::default(),
        })
    }

    /// Shows what is due, until a time, the word to end, or the user's wish.
    ///
    /// # Errors
    /// If the terminal does not take it.
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
            self.show_due(now)?;
            if self.obey_keys()? == Next::Quit {
                return Ok(Next::Quit);
            }
            if now.since(self.drawn_at) >= REDRAW {
                self.draw()?;
            }
            self.rest(until.min(SystemClock.monotonic() + TURN), shutdown);
        }
    }

    /// Takes the figures of the last second.
    pub fn note_figures(&mut self, figures: &Figures) {
        match &mut self.view {
            View::Picture { showing, .. } => showing.note_figures(figures),
            View::Dashboard { dashboard, .. } => dashboard.note_figures(figures),
        }
        self.drawn_at = Monotonic::default();
    }

    fn show_due(&mut self, now: Monotonic) -> Result<(), Error> {
        let View::Picture { stage, showing, .. } = &mut self.view else {
            return Ok(());
        };
        let stage = stage.clone();
        if let Some(due) = stage.take(now).filter(|due| showing.take(due)) {
            self.draw()?;
            stage.note_shown(&due);
        }
        Ok(())
    }

    /// Sleeps until a time or a frame's time.
    fn rest(&mut self, until: Monotonic, shutdown: &Shutdown) {
        match &mut self.view {
            View::Picture { stage, .. } => {
                let time = stage.next_time().unwrap_or(until);
                self.bell.wait(time.min(until));
            }
            View::Dashboard { discard, .. } => {
                discard.show_until(until, shutdown);
            }
        }
    }

    fn draw(&mut self) -> Result<(), Error> {
        if !IS_OURS.load(Ordering::SeqCst) {
            return Err(Error::GivenBack);
        }
        self.drawn_at = SystemClock.monotonic();
        let view = &mut self.view;
        self.screen.draw(|frame| match view {
            View::Picture {
                showing, picture, ..
            } => picture.draw(frame, showing),
            View::Dashboard { dashboard, .. } => dashboard.draw(frame),
        })?;
        Ok(())
    }

    /// A key that comes in the same moment as a change of size is seen together with the next one:
    /// crossterm 0.29 passes over it.
    fn obey_keys(&mut self) -> Result<Next, Error> {
        while event::poll(Duration::ZERO)? {
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Release => {}
                Event::Key(key) if is_end(&key) => return Ok(Next::Quit),
                Event::Key(key) => self.obey(key.code),
                _ => {}
            }
            self.drawn_at = Monotonic::default();
        }
        Ok(Next::Elapsed)
    }

    fn obey(&mut self, key: KeyCode) {
        match &mut self.view {
            View::Picture { showing, .. } => {
                let command = key.as_char().and_then(Command::from_key);
                if let Some(command) = command {
                    showing.obey(command);
                }
            }
            View::Dashboard { dashboard, .. } => match key {
                KeyCode::Up => dashboard.scroll(-1),
                KeyCode::Down => dashboard.scroll(1),
                KeyCode::PageUp => dashboard.scroll(-10),
                KeyCode::PageDown => dashboard.scroll(10),
                _ => {}
            },
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn is_end(key: &KeyEvent) -> bool {
    let is_control_c =
        key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c'));
    is_control_c || matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc)
}

/// Makes the terminal ours.
fn take() -> Result<(), Error> {
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            usual(panic);
        }));
    });
    LOGBOOK.hold();
    IS_OURS.store(true, Ordering::SeqCst);
    let taken = enable_raw_mode().and_then(|()| execute!(io::stdout(), EnterAlternateScreen, Hide));
    if let Err(error) = taken {
        give_back();
        return Err(error.into());
    }
    Ok(())
}
