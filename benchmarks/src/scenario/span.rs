//! Lengths of time in files: as people write them, for example `250ms` or `20s`.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

const RIGHT: &str = "right would be for example 250ms or 20s";

pub(super) fn serialize<S: Serializer>(span: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&humantime::format_duration(*span))
}

pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(|error| D::Error::custom(format!("{error}; {RIGHT}")))
}

pub(super) mod list {
    //! Several of them.

    use super::{Deserialize, Deserializer, Duration, RIGHT, Serializer};
    use serde::de::Error as _;

    pub(in super::super) fn serialize<S: Serializer>(
        spans: &[Duration],
        out: S,
    ) -> Result<S::Ok, S::Error> {
        let texts = spans
            .iter()
            .map(|span| humantime::format_duration(*span).to_string());
        out.collect_seq(texts)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Vec<Duration>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let parse = |text: &String| humantime::parse_duration(text);
        let spans: Result<_, _> = texts.iter().map(parse).collect();
        spans.map_err(|error| D::Error::custom(format!("{error}; {RIGHT}")))
    }
}

pub(super) mod maybe {
    //! One that may be left out.

    use super::{Deserialize, Deserializer, Duration, RIGHT, Serializer};
    use serde::de::Error as _;

    pub(in super::super) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::serialize(span, out),
            None => out.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let span = text
            .map(|text| humantime::parse_duration(&text))
            .transpose();
        span.map_err(|error| D::Error::custom(format!("{error}; {RIGHT}")))
    }
}
