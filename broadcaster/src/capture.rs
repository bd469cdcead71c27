//! Where frames come from, and the thread that brings them in.
//!
//! A [`Source`] is asked for one picture after the other, from a thread of its own, and never
//! waits for a viewer: what it brings is encoded, numbered and published, and that is all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use common::{Budget, Format, Identity, Image, Shutdown, Timestamp};
use tracing::{error, info, warn};

use crate::channel::Channel;
use crate::config::{ChannelConfig, SourceConfig};
use crate::encode::{self, Encoder};
use crate::fanout::{Payloader, Publish};

pub mod file;
pub mod pace;
pub mod pattern;

/// How long a source may keep the capture thread before it looks whether to end.
const GRAB_TIMEOUT: Duration = Duration::from_millis(100);

/// Something that brings pictures.
pub trait Source: Send {
    /// The next picture, waiting for it up to `timeout`; `None` if none came.
    ///
    /// # Errors
    /// When the source has failed and has to be opened anew.
    fn grab(&mut self, timeout: Duration) -> Result<Option<Captured>, Error>;

    /// Pictures passed over so far because they were damaged.
    fn damaged(&self) -> u64 {
        0
    }
}

/// A picture as the source gave it.
#[derive(Debug)]
pub struct Captured {
    /// When it was taken.
    pub captured_at: Timestamp,
    /// Which frame it is, if the source is a relay; else it is numbered here.
    pub identity: Option<Identity>,
    /// The picture.
    pub picture: Picture,
}

/// A picture, still to be encoded or not.
#[derive(Debug)]
pub enum Picture {
    /// Pixels.
    Raw(Image),
    /// Already encoded; passed on as it is.
    Encoded {
        /// How to read the bytes.
        format: Format,
        /// Pixels in a row.
        width: u16,
        /// Rows.
        height: u16,
        /// The encoded bytes.
        data: Bytes,
    },
}

/// Why a source cannot be opened or has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder that cannot be used.
    #[error(transparent)]
    File(#[from] file::Error),
    /// The encoder does not take the settings.
    #[error(transparent)]
    Encode(#[from] encode::Error),
}

/// A source ready to run, with the encoder that suits it.
pub struct Opened {
    source: Box<dyn Source>,
    encoder: Encoder,
    /// What is shown, for people.
    pub description: String,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.description)
    }
}

impl Opened {
    /// What the frames will be.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.encoder.format()
    }
}

/// Opens what the configuration names.
///
/// # Errors
/// A file that cannot be read or holds no picture.
pub fn open(config: &ChannelConfig) -> Result<Opened, Error> {
    let (width, height) = config.size;
    let rate = format!("at {:.4} fps", config.fps());
    let rate = rate.replace(".0000", "");
    match &config.source {
        SourceConfig::Auto => {
            warn!("source auto: this version opens no webcams yet, showing the test pattern");
            open_pattern(
                config,
                None,
                format!("test pattern {width}x{height} {rate}"),
            )
        }
        SourceConfig::Pattern { bytes } => {
            let padding = bytes.map_or_else(String::new, |n| format!(", {n} bytes a frame"));
            let description = format!("test pattern {width}x{height} {rate}{padding}");
            open_pattern(config, *bytes, description)
        }
        SourceConfig::File(path) => {
            let source = file::open(path, config.interval)?;
            Ok(Opened {
                description: format!("{}: {} {rate}", path.display(), source.summary()),
                source: Box::new(source),
                encoder: Encoder::new(config.quality)?,
            })
        }
    }
}

fn open_pattern(
    config: &ChannelConfig,
    bytes: Option<usize>,
    description: String,
) -> Result<Opened, Error> {
    let source = pattern::Pattern::new(config.size, config.interval);
    let encoder = match bytes {
        None => Encoder::new(config.quality)?,
        Some(bytes) => Encoder::exact(config.quality, bytes, &source.sample())?,
    };
    Ok(Opened {
        source: Box::new(source),
        encoder,
        description,
    })
}

/// Starts the channel's capture thread. It ends, and closes the ring, on `shutdown`.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(
    opened: Opened,
    channel: Arc<Channel>,
    budget: Budget,
    payloader: Payloader<impl Publish + 'static>,
    shutdown: &Shutdown,
) -> std::io::Result<JoinHandle<()>> {
    let name = format!("capture-{}", channel.name);
    let shutdown = shutdown.clone();
    let mut capture = Capture {
        opened,
        channel,
        budget,
        payloader,
        next_seq: 0,
    };
    thread::Builder::new()
        .name(name)
        .spawn(move || capture.run(&shutdown))
}

struct Capture<P> {
    opened: Opened,
    channel: Arc<Channel>,
    budget: Budget,
    payloader: Payloader<P>,
    next_seq: u64,
}

impl<P: Publish> Capture<P> {
    fn run(&mut self, shutdown: &Shutdown) {
        info!(source = %self.opened.description, "capturing");
        let mut refused = 0;
        while !shutdown.is_triggered() {
            match self.opened.source.grab(GRAB_TIMEOUT) {
                Ok(Some(captured)) => refused += u64::from(!self.pass_on(captured)),
                Ok(None) => {}
                Err(error) => {
                    error!(%error, "source failed, the channel ends");
                    break;
                }
            }
            let damaged = self.opened.source.damaged() + refused;
            self.channel
                .counters
                .damaged
                .store(damaged, Ordering::Relaxed);
        }
        self.payloader.flush();
    }

    /// Encodes, numbers and publishes a picture; false if it could not be encoded.
    fn pass_on(&mut self, captured: Captured) -> bool {
        let identity = captured.identity.unwrap_or(Identity {
            epoch: self.channel.epoch,
            seq: self.next_seq,
        });
        // A picture that cannot be encoded leaves its gap: seq says what the camera saw.
        self.next_seq = identity.seq + 1;
        match self.opened.encoder.encode(captured, identity, &self.budget) {
            Ok(frame) => {
                self.channel.counters.frames.fetch_add(1, Ordering::Relaxed);
                self.payloader.push(frame);
                true
            }
            Err(error) => {
                error!(seq = identity.seq, %error, "picture not encoded");
                false
            }
        }
    }
}
