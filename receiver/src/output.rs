//! What becomes of the frames of one receiver, besides being counted.

pub mod decode;
pub mod save;

use common::Frame;

pub use self::decode::{Decoder, Tally};
pub use self::save::Saver;

/// Why frames cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be written.
    #[error(transparent)]
    Save(#[from] save::Error),
    /// There is no decoder.
    #[error(transparent)]
    Decode(#[from] decode::Unavailable),
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

    /// What the decoder has counted, zeros without one.
    #[must_use]
    pub fn tally(&self) -> Tally {
        (self.decoder.as_ref()).map_or_else(Tally::default, Decoder::tally)
    }
}
