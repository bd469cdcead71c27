//! What becomes of frames, besides being counted.
//!
//! [`Outputs`] belong to one receiver and take every frame on its thread. A [`Display`] belongs to
//! the program: it shows what the receivers left on their [`Stage`]s, on the main thread, which is
//! where some systems want windows.

pub mod decode;
pub mod discard;
pub mod picture;
pub mod save;
pub mod schedule;
pub mod showing;
pub mod stage;
pub mod terminal;
#[cfg(feature = "window")]
pub mod window;

use std::sync::Arc;

use common::{Frame, Monotonic, Shutdown};

pub use self::decode::{Decoder, Tally};
pub use self::discard::Discard;
pub use self::save::Saver;
pub use self::stage::{Bell, Stage};
use crate::args::Screen;
use crate::config::Config;
use crate::figures::Figures;
use crate::ingress::Work;

/// Why frames cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be written.
    #[error(transparent)]
    Save(#[from] save::Error),
    /// There is no decoder.
    #[error(transparent)]
    Decode(#[from] decode::Unavailable),
    /// The terminal cannot be used.
    #[error(transparent)]
    Terminal(#[from] terminal::Error),
    /// There is no window.
    #[cfg(feature = "window")]
    #[error(transparent)]
    Window(#[from] window::Error),
}

/// Why a display hands back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The time given is over.
    Elapsed,
    /// The word to end was said.
    Told,
    /// Whoever looks has seen enough.
    Quit,
}

/// Where frames are shown.
#[derive(Debug)]
pub enum Display {
    /// Nowhere.
    Discard(Discard),
    /// In the terminal.
    Terminal(Box<terminal::Terminal>),
    /// In a window.
    #[cfg(feature = "window")]
    Window(Box<window::Window>),
}

impl Display {
    /// Opens the display that is wanted.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn open(
        config: &Config,
        stages: Vec<Arc<Stage>>,
        bell: Bell,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        #[cfg(not(feature = "window"))]
        let _ = shutdown;
        match (config.screen, stages.first()) {
            (Screen::Terminal, _) => {
                let terminal = terminal::Terminal::open(config, stages, bell)?;
                Ok(Self::Terminal(Box::new(terminal)))
            }
            #[cfg(feature = "window")]
            (Screen::Window, Some(stage)) => {
                let title = format!("{} - Framecast", config.source);
                let window = window::Window::open(&title, stage.clone(), bell, shutdown)?;
                Ok(Self::Window(Box::new(window)))
            }
            _ => Ok(Self::Discard(Discard::new(stages, bell))),
        }
    }

    /// Shows what is due, until a time or until there is a reason to end.
    ///
    /// # Errors
    /// If nothing can be shown any more.
    pub fn show_until(&mut self, until: Monotonic, shutdown: &Shutdown) -> Result<Next, Error> {
        match self {
            Self::Discard(discard) => Ok(discard.show_until(until, shutdown)),
            Self::Terminal(terminal) => Ok(terminal.show_until(until, shutdown)?),
            #[cfg(feature = "window")]
            Self::Window(window) => Ok(window.show_until(until, shutdown)?),
        }
    }

    /// Takes the figures of the last second, for people to see.
    pub fn note_figures(&mut self, figures: &Figures) {
        match self {
            Self::Discard(_) => {}
            Self::Terminal(terminal) => terminal.note_figures(figures),
            #[cfg(feature = "window")]
            Self::Window(window) => window.note_figures(figures),
        }
    }
}

/// The outputs of one receiver; without any, frames are counted and dropped.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Writes frames to files.
    pub saver: Option<Saver>,
    /// Decodes pictures to see whether they are whole.
    pub decoder: Option<Decoder>,
}

impl Outputs {
    /// Takes a frame that is new and no placeholder.
    ///
    /// # Errors
    /// If it cannot be saved. A picture that cannot be decoded is counted, not an error.
    pub fn take(&mut self, frame: &Frame) -> Result<(), Error> {
        if let Some(decoder) = &mut self.decoder {
            decoder.take(frame);
        }
        match &mut self.saver {
            Some(saver) => Ok(saver.take(frame)?),
            None => Ok(()),
        }
    }

    /// What taking a frame amounts to.
    #[must_use]
    pub const fn work(&self) -> Work {
        match (&self.saver, &self.decoder) {
            (None, None) => Work::Brief,
            _ => Work::Long,
        }
    }

    /// What the decoder has counted, zeros without one.
    #[must_use]
    pub fn tally(&self) -> Tally {
        (self.decoder.as_ref()).map_or_else(Tally::default, Decoder::tally)
    }
}
