//! Where a channel's frames come from, as it is typed.

use std::path::{Path, PathBuf};

use common::{Frame, secrets};

use super::{Error, wrong};
use crate::capture::relay::Upstream;
use crate::capture::webcam::device::Selector;

/// Where frames come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceConfig {
    /// The best there is on this machine.
    Auto,
    /// The test pattern, padded to a fixed number of bytes if one is given.
    Pattern {
        /// Exact bytes of every frame.
        bytes: Option<usize>,
    },
    /// A file of JPEGs, or a folder of such files.
    File(PathBuf),
    /// Another server's stream.
    Relay(Upstream),
    /// A camera of this machine.
    Webcam(Selector),
}

/// Schemes of other servers' streams.
const RELAYS: [&str; 5] = ["http:", "tcp:", "ws:", "amqp:", "amqps:"];

impl SourceConfig {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let (kind, query) = text.split_once('?').unwrap_or((text, ""));
        match kind {
            "auto" if query.is_empty() => Ok(Self::Auto),
            "pattern" => Ok(Self::Pattern {
                bytes: parse_pattern_query(text, query)?,
            }),
            _ if RELAYS.iter().any(|scheme| text.starts_with(scheme)) => {
                Ok(Self::Relay(text.parse()?))
            }
            _ if text == "webcam" || text.starts_with("webcam:") => {
                let selector = text.strip_prefix("webcam").and_then(Selector::parse);
                let right = "webcam, webcam:INDEX, webcam:NAME or webcam:/dev/videoN";
                Ok(Self::Webcam(
                    selector.ok_or_else(|| wrong("--source", text, right))?,
                ))
            }
            _ if Path::new(text).exists() => Ok(Self::File(text.into())),
            _ => Err(Error::NoSuchSource(secrets::mask_refused(text))),
        }
    }

    /// What it is, for people, before it is looked at.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Auto => "the first webcam, else the test pattern".to_owned(),
            Self::Pattern { .. } => "test pattern".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Relay(upstream) => format!("relay of {upstream}"),
            Self::Webcam(selector) => selector.to_string(),
        }
    }
}

fn parse_pattern_query(text: &str, query: &str) -> Result<Option<usize>, Error> {
    if query.is_empty() {
        return Ok(None);
    }
    let bytes = query.strip_prefix("bytes=").and_then(|n| n.parse().ok());
    match bytes {
        Some(bytes) if (1..=Frame::MAX_BYTES).contains(&bytes) => Ok(Some(bytes)),
        _ => {
            let right = format!("pattern?bytes=N with N from 1 to {}", Frame::MAX_BYTES);
            Err(wrong("--source", text, right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let source = |text: &str| SourceConfig::parse(text).unwrap();
        assert_eq!(source("pattern"), SourceConfig::Pattern { bytes: None });
        let padded = SourceConfig::Pattern { bytes: Some(8000) };
        assert_eq!(source("pattern?bytes=8000"), padded);
        assert_eq!(source("src"), SourceConfig::File("src".into()));
        for text in [
            "tcp://cam:7400/main",
            "http://cam/?action=stream",
            "amqp://rabbit?channel=lab",
            "ws://cam",
        ] {
            assert_eq!(source(text), SourceConfig::Relay(text.parse().unwrap()));
        }
    }
}
