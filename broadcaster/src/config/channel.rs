//! One channel: what it shows, how, and where its frames go.

use std::time::Duration;

use common::{Payload, secrets};
use receiver::broker::{self, Addresses};

use super::origin::Settings;
use super::{Error, SourceConfig, units, within, wrong};
use crate::args::Args;
use crate::capture::relay::Upstream;
use crate::capture::webcam::Wish;

/// Widest and highest picture.
const MAX_SIDE: u16 = 16_384;
const MAX_FPS: f64 = 1_000.0;
/// A picture a day is slower still; intervals are added up and must not overflow.
const MIN_FPS: f64 = 0.000_01;
const MAX_RING: usize = 1 << 16;
/// Sources that a channel can be switched among.
const MAX_SOURCES: usize = 16;
/// AMQP's own limit of a name, less what is put behind it for queues.
const MAX_EXCHANGE: usize = 200;

/// What a channel shows and how.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// `[a-z0-9][a-z0-9_-]{0,63}`.
    pub name: String,
    /// Where frames come from at first.
    pub source: SourceConfig,
    /// Where else they may come from, once somebody asks for it.
    pub spares: Vec<SourceConfig>,
    /// What all of these are called, the first one first: as they were typed, passwords masked.
    pub source_names: Vec<String>,
    /// Width and height in pixels, for sources that can choose.
    pub size: (u16, u16),
    /// Time between frames.
    pub interval: Duration,
    /// What is asked of a webcam.
    pub camera: Wish,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Frames in a payload, 1 to 64.
    pub frames_per_payload: usize,
    /// Payloads in the ring.
    pub ring_capacity: usize,
    /// How much of the past is kept, if any is.
    pub history: Option<Duration>,
    /// How long the source is kept after the last viewer left, if it is opened on demand.
    pub on_demand: Option<Duration>,
    /// Name of the exchange, if there are any.
    pub exchange: String,
}

impl ChannelConfig {
    /// A webcam is asked only for what was said: its own defaults are better than ours.
    pub(super) fn from_args(args: &Args, said: &Settings) -> Result<Self, Error> {
        let name = args.channel.clone();
        if !units::is_channel_name(&name) {
            let right = "a name of a-z, 0-9, _ and -, beginning with a letter or digit, at most 64";
            return Err(wrong("--channel", name, right));
        }
        let fps = args.fps;
        if !(MIN_FPS..=MAX_FPS).contains(&fps) {
            let right = format!("from {MIN_FPS} to {MAX_FPS}");
            return Err(wrong("--fps", fps, right));
        }
        let quality = args.quality;
        within("--quality", quality.into(), 1, 100)?;
        let frames_per_payload = args.frames_per_payload;
        within(
            "--frames-per-payload",
            frames_per_payload,
            1,
            Payload::MAX_FRAMES,
        )?;
        let ring_capacity = args.ring_capacity;
        within("--ring-capacity", ring_capacity, 2, MAX_RING)?;
        let size = parse_size(&args.size)?;
        let exchange = args.exchange.clone();
        let exchange = exchange.unwrap_or_else(|| broker::exchange_of(&name));
        if !(1..=MAX_EXCHANGE).contains(&exchange.len()) {
            let right = format!("a name of 1 to {MAX_EXCHANGE} bytes");
            return Err(wrong("--exchange", exchange, right));
        }
        let mut sources = args.source.iter().map(|text| SourceConfig::parse(text));
        let source = sources.next().unwrap_or(Ok(SourceConfig::Auto))?;
        let controls = args.control.iter().map(|text| parse_control(text));
        Ok(Self {
            name,
            source,
            spares: sources.collect::<Result<_, _>>()?,
            source_names: source_names(&args.source)?,
            size,
            interval: Duration::from_secs_f64(1.0 / fps),
            camera: Wish {
                size: said.contains_key("size").then_some(size),
                fps: said.contains_key("fps").then_some(fps),
                controls: controls.collect::<Result<_, _>>()?,
            },
            quality,
            frames_per_payload,
            ring_capacity,
            history: (!args.history.is_zero()).then_some(args.history),
            on_demand: args.on_demand.0,
            exchange,
        })
    }

    /// Frames a second.
    #[must_use]
    pub fn fps(&self) -> f64 {
        1.0 / self.interval.as_secs_f64()
    }
}

/// What sources are called; they have to differ, so that each can be asked for.
fn source_names(sources: &[String]) -> Result<Vec<String>, Error> {
    if sources.len() > MAX_SOURCES {
        let right = format!("at most {MAX_SOURCES} sources for a channel");
        return Err(wrong("--source", sources.len(), right));
    }
    let names: Vec<_> = sources.iter().map(|text| secrets::mask(text)).collect();
    for (place, name) in names.iter().enumerate() {
        if names[..place].contains(name) {
            let right = "the channel has this source already; the sources of a list have to differ";
            return Err(wrong("--source", name, right));
        }
    }
    Ok(names)
}

fn parse_control(text: &str) -> Result<(String, String), Error> {
    let right = "NAME=VALUE such as brightness=128; --list shows what there is";
    units::parse_pair(text).ok_or_else(|| wrong("--control", text, right))
}

fn parse_size(text: &str) -> Result<(u16, u16), Error> {
    units::parse_size(text, MAX_SIDE).ok_or_else(|| {
        let right = format!("WIDTHxHEIGHT such as 1280x720, each from 1 to {MAX_SIDE}");
        wrong("--size", text, right)
    })
}

/// An exchange has one publisher.
pub(super) fn differ(channels: &[ChannelConfig]) -> Result<(), Error> {
    for (place, channel) in channels.iter().enumerate() {
        let mut before = channels[..place].iter();
        if let Some(other) = before.find(|other| other.exchange == channel.exchange) {
            let right = format!("channel {} has this exchange already", other.name);
            return Err(wrong("--exchange", &channel.exchange, right));
        }
    }
    Ok(())
}

/// What a channel publishes it cannot have as its source.
pub(super) fn are_no_circles(channels: &[ChannelConfig], brokers: &Addresses) -> Result<(), Error> {
    for channel in channels {
        let mut sources = std::iter::once(&channel.source).chain(&channel.spares);
        let place = sources.position(|source| match source {
            SourceConfig::Relay(Upstream::Amqp(amqp)) => {
                amqp.exchange == channel.exchange && amqp.brokers.have_one_of(brokers)
            }
            _ => false,
        });
        if let Some(place) = place {
            let right = "another exchange; this one is what the channel itself publishes to";
            return Err(wrong("--source", &channel.source_names[place], right));
        }
    }
    Ok(())
}
