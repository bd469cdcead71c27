//! Where frames come from, and the thread that brings them in.
//!
//! A [`Source`] is asked for one picture after the other, from a thread of its own, and never
//! waits for a viewer: what it brings is encoded, numbered and published, and that is all. What
//! happens when a source goes and comes back is told in `life.rs`.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use common::{Budget, Format, Frame, Identity, Image, Shutdown, SystemClock, Timestamp};
use tracing::warn;

use crate::channel::Channel;
use crate::config::{ChannelConfig, SourceConfig};
use crate::encode::{self, Encoder};
use crate::fanout::{Payloader, Publish};
use crate::vital;

mod life;
mod placeholder;
mod watch;

pub mod file;
pub mod pace;
pub mod pattern;
pub mod relay;
pub mod webcam;

use webcam::device::Selector;

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

    /// Pictures so far that a newer one replaced before they were asked for.
    fn overtaken(&self) -> u64 {
        0
    }

    /// Least time between pictures that are wanted of it, if it may bring more than that: those too
    /// many are left out before they are encoded.
    fn spacing(&self) -> Option<Duration> {
        None
    }

    /// Whether it finds its way back by itself, and says by itself what is in its way. Then it is
    /// kept when no picture comes for long; any other source is dropped and opened anew.
    fn reconnects(&self) -> bool {
        false
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

impl Captured {
    /// Whether it stands in for a picture that is missing elsewhere.
    #[must_use]
    pub const fn is_placeholder(&self) -> bool {
        matches!(&self.picture, Picture::Framed(frame) if frame.head.is_placeholder())
    }
}

/// A picture, still to be encoded or not.
#[derive(Debug)]
pub enum Picture {
    /// Pixels.
    Raw(Image),
    /// Luma and chroma, each for itself.
    Planar(Planar),
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
    /// A frame of another broadcaster, with its checksum, flags and hops.
    Framed(Frame),
}

/// A picture as JPEG has it inside: planes of luma, blue and red difference one behind the other,
/// rows without padding, values in full range (JFIF).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planar {
    /// Pixels in a row; even if the sampling makes pairs of them.
    pub width: u16,
    /// Rows; even if the sampling makes pairs of them.
    pub height: u16,
    /// What share of the chroma there is.
    pub sampling: Sampling,
    /// All planes.
    pub data: Vec<u8>,
}

/// How much chroma there is for the luma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// One pair of values for two pixels of a row (4:2:2).
    Half,
    /// One pair of values for two pixels of two rows (4:2:0).
    Quarter,
    /// None at all.
    Grey,
}

/// Why a source cannot be opened or has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder that cannot be used.
    #[error(transparent)]
    File(#[from] file::Error),
    /// A camera that gives no pictures.
    #[error(transparent)]
    Webcam(#[from] webcam::Error),
    /// The encoder does not take the settings.
    #[error(transparent)]
    Encode(#[from] encode::Error),
}

impl Error {
    /// Whether trying again later may help. What cannot become right is said at the start.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Webcam(error) => error.may_pass(),
            Self::File(_) | Self::Encode(_) => false,
        }
    }
}

/// Opens a source, and opens it again each time it was lost. May block: it is called on a thread
/// of its own, but for the first time.
pub type Opener = Box<dyn FnMut() -> Result<Opened, Error> + Send>;

/// A source that is open.
pub struct Opened {
    /// What brings the pictures.
    pub source: Box<dyn Source>,
    /// What is shown, for people.
    pub description: String,
    /// Time between pictures, as far as the source knows it.
    pub interval: Duration,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.description)
    }
}

/// What it takes to open a source, and to make frames of what it brings.
struct Spare {
    opener: Opener,
    encoder: Encoder,
}

/// Makes a spare when it is wanted.
type Preparer = Box<dyn Fn(usize) -> Result<Spare, Error> + Send>;

/// A channel's source, tried once, with what it takes to open it again, or another in its place.
pub struct Feed {
    opener: Opener,
    first: First,
    encoder: Encoder,
    size: (u16, u16),
    prepare: Preparer,
}

/// What came of opening a source for the first time.
enum First {
    Opened(Opened),
    /// The error may pass.
    Failed(Error),
    /// It was not tried: that is for the first viewer. The source is named as it was said.
    OnDemand(String),
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.description())
    }
}

impl Feed {
    /// What is shown, for people.
    #[must_use]
    pub fn description(&self) -> String {
        match &self.first {
            First::Opened(opened) => opened.description.clone(),
            First::Failed(error) => format!("a placeholder, until there is a source ({error})"),
            First::OnDemand(source) => format!("{source}, opened while somebody watches"),
        }
    }

    /// What the frames will be.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.encoder.format()
    }
}

impl First {
    /// Opens the source, unless that is for its first viewer.
    fn of(config: &ChannelConfig, opener: &mut Opener) -> Result<Self, Error> {
        let is_on_demand = config.on_demand.is_some();
        // A file is looked at all the same: what is wrong with it is said at the start.
        let is_tried = !is_on_demand || matches!(config.source, SourceConfig::File(_));
        match is_tried.then(opener) {
            Some(Err(error)) if !error.may_pass() => Err(error),
            Some(Ok(opened)) if !is_on_demand => Ok(Self::Opened(opened)),
            Some(Err(error)) if !is_on_demand => Ok(Self::Failed(error)),
            _ => Ok(Self::OnDemand(config.source.describe())),
        }
    }
}

/// Opens what the configuration names. A source that is not there yet is no error: its channel
/// begins with a placeholder.
///
/// # Errors
/// What can never become right: a file that cannot be read or holds no picture, a size that the
/// camera does not have.
pub fn open(config: &ChannelConfig) -> Result<Feed, Error> {
    let Spare {
        mut opener,
        encoder,
    } = prepare(config, &config.source)?;
    let first = First::of(config, &mut opener)?;
    let config = config.clone();
    let size = config.size;
    let prepare = move |place: usize| {
        let spare = place.checked_sub(1).map(|place| &config.spares[place]);
        prepare(&config, spare.unwrap_or(&config.source))
    };
    Ok(Feed {
        opener,
        first,
        encoder,
        size,
        prepare: Box::new(prepare),
    })
}

/// What it takes to open this source of the channel.
fn prepare(config: &ChannelConfig, source: &SourceConfig) -> Result<Spare, Error> {
    match source {
        SourceConfig::Auto if webcam::devices().is_empty() => {
            warn!("source auto: no webcam is plugged in, showing the test pattern");
            prepare_pattern(config, None)
        }
        SourceConfig::Auto => prepare_webcam(config, Selector::First),
        SourceConfig::Webcam(selector) => prepare_webcam(config, selector.clone()),
        SourceConfig::Pattern { bytes } => prepare_pattern(config, *bytes),
        SourceConfig::File(path) => {
            let (path, interval, rate) = (path.clone(), config.interval, rate(config));
            let opener = move || {
                let source = file::open(&path, interval)?;
                Ok(Opened {
                    description: format!("{}: {} {rate}", path.display(), source.summary()),
                    source: Box::new(source),
                    interval,
                })
            };
            Spare::new(opener, config)
        }
        SourceConfig::Relay(upstream) => {
            let upstream = upstream.clone();
            let opener = move || {
                Ok(Opened {
                    description: format!("relay of {upstream}"),
                    source: Box::new(relay::Relay::new(upstream.clone())),
                    interval: relay::INTERVAL,
                })
            };
            Spare::new(opener, config)
        }
    }
}

impl Spare {
    fn new(
        opener: impl FnMut() -> Result<Opened, Error> + Send + 'static,
        config: &ChannelConfig,
    ) -> Result<Self, Error> {
        Ok(Self {
            opener: Box::new(opener),
            encoder: Encoder::new(config.quality)?,
        })
    }
}

fn prepare_webcam(config: &ChannelConfig, selector: Selector) -> Result<Spare, Error> {
    Spare::new(webcam::opener(selector, config.camera.clone()), config)
}

fn prepare_pattern(config: &ChannelConfig, bytes: Option<usize>) -> Result<Spare, Error> {
    let (size, interval) = (config.size, config.interval);
    let encoder = match bytes {
        None => Encoder::new(config.quality)?,
        Some(bytes) => {
            let sample = pattern::Pattern::new(size, interval).sample();
            Encoder::exact(config.quality, bytes, &sample)?
        }
    };
    let padding = bytes.map_or_else(String::new, |n| format!(", {n} bytes a frame"));
    let (width, height) = size;
    let description = format!("test pattern {width}x{height} {}{padding}", rate(config));
    let opener = move || {
        Ok(Opened {
            source: Box::new(pattern::Pattern::new(size, interval)),
            description: description.clone(),
            interval,
        })
    };
    Ok(Spare {
        opener: Box::new(opener),
        encoder,
    })
}

fn rate(config: &ChannelConfig) -> String {
    format!("at {:.4} fps", config.fps()).replace(".0000", "")
}

/// Starts the channel's capture thread. It ends, and closes the ring, on `shutdown`.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(
    feed: Feed,
    channel: Arc<Channel>,
    budget: Budget,
    payloader: Payloader<impl Publish + 'static>,
    shutdown: &Shutdown,
) -> std::io::Result<JoinHandle<()>> {
    let name = format!("capture-{}", channel.name);
    let until = shutdown.clone();
    vital::spawn(name, shutdown, move || {
        let life = life::Life::new(feed, (channel, budget), payloader, SystemClock);
        life.run(&until);
    })
}
