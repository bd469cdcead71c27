//! How a viewer fares, in words: what it is short of, or that it is short of nothing.
//!
//! Judged from what happened in the last seconds, from what the kernel says of the connection, and from
//! what the viewer's channels would have it take. The worst that is true is said.

use std::time::Duration;

use super::kernel::Line;
use super::viewer::figures::{Reading, Skips};

/// A peer that takes nothing for this long, though something waits for it, does not read.
const STOPPED_AFTER: Duration = Duration::from_secs(2);
/// Who has been here for less is not judged.
const NEW: Duration = Duration::from_secs(1);
/// One of so many payloads may be skipped by somebody who keeps up.
const KEEPS_UP: u64 = 100;

/// What a viewer's channels would have it take.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Needs {
    /// Bits a second.
    pub bitrate_bps: f64,
    /// Payloads a second, of all its channels together.
    pub rate: f64,
    /// Whether it has asked for fewer frames than there are, on some channel.
    pub is_thinned: bool,
    /// Whether any of its channels has a picture.
    pub has_source: bool,
    /// Whether a channel that has none is opened on demand and about to have one.
    pub is_starting: bool,
}

/// What is the matter with a viewer. From the worst to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It takes nothing.
    Stopped,
    /// Nothing gets through to it.
    Cut,
    /// The server has no time for it.
    Server,
    /// Its link is too thin.
    Link,
    /// Its machine is too slow.
    Device,
    /// It is being sent away.
    Leaving,
    /// There is nothing to be sent: the sources are gone, or not opened yet.
    Source,
    /// It has just come.
    New,
    /// It watches nothing.
    Idle,
    /// It gets as few frames as it asked for.
    Fewer,
    /// It gets everything.
    Well,
}

impl Kind {
    /// The word for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Cut => "cut",
            Self::Server => "server",
            Self::Link => "link",
            Self::Device => "device",
            Self::Leaving => "leaving",
            Self::Source => "source",
            Self::New => "new",
            Self::Idle => "idle",
            Self::Fewer => "fewer",
            Self::Well => "well",
        }
    }
}

/// What is the matter with a viewer, and the words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Of what sort it is.
    pub kind: Kind,
    /// In words.
    pub text: String,
}

/// How a viewer fares that has been here for `age`.
#[must_use]
pub fn judge(reading: &Reading, line: Option<Line>, needs: Needs, age: Duration) -> Verdict {
    let kind = kind(reading, line, needs, age);
    let text = match kind {
        Kind::Stopped => stopped(reading),
        Kind::Cut => format!(
            "nothing gets through to it for {} s",
            reading.quiet_for.as_secs()
        ),
        Kind::Server => "the server is short of CPU".to_owned(),
        Kind::Link => format!(
            "link carries {}, needs {}",
            bitrate(carried(reading)),
            megabits(needs.bitrate_bps)
        ),
        Kind::Device => format!(
            "its machine shows {} of {} frames a second",
            words(rate(reading)),
            words(needs.rate)
        ),
        Kind::Leaving => "is being sent away".to_owned(),
        Kind::Source if needs.is_starting => {
            "gets a placeholder: the source is being opened".to_owned()
        }
        Kind::Source => "gets a placeholder: the source is gone".to_owned(),
        Kind::New => "has just come".to_owned(),
        Kind::Idle => "watches nothing now".to_owned(),
        Kind::Fewer => format!(
            "asks for {} frames a second and gets them",
            words(needs.rate)
        ),
        Kind::Well => "keeps up".to_owned(),
    };
    Verdict { kind, text }
}

fn kind(reading: &Reading, line: Option<Line>, needs: Needs, age: Duration) -> Kind {
    let lately = &reading.lately;
    if reading.is_dismissed {
        return Kind::Leaving;
    }
    if reading
        .silent_for
        .is_some_and(|silent| silent >= STOPPED_AFTER)
    {
        return Kind::Stopped;
    }
    let waits = line.is_none_or(|line| line.unsent > 0);
    if waits && needs.has_source && reading.quiet_for >= patience(needs) {
        // Bytes on their way that nobody acknowledges are the network's; a peer that has acknowledged all
        // and takes no more has closed its window.
        let is_cut = line.is_some_and(|line| line.in_flight > 0);
        return if is_cut { Kind::Cut } else { Kind::Stopped };
    }
    let skipped = lately.skipped.total();
    if skipped * KEEPS_UP > lately.sent + skipped {
        return worst(lately.skipped);
    }
    if reading.watched.is_empty() {
        Kind::Idle
    } else if !needs.has_source {
        Kind::Source
    } else if age < NEW {
        Kind::New
    } else if needs.is_thinned {
        Kind::Fewer
    } else {
        Kind::Well
    }
}

/// How long nothing need be taken: frames may be rare.
fn patience(needs: Needs) -> Duration {
    let interval = Duration::try_from_secs_f64(1.0 / needs.rate).unwrap_or_default();
    STOPPED_AFTER.max(2 * interval.min(Duration::from_secs(3_600)))
}

/// What held up most.
const fn worst(skips: Skips) -> Kind {
    if skips.link >= skips.device && skips.link >= skips.server {
        Kind::Link
    } else if skips.device >= skips.server {
        Kind::Device
    } else {
        Kind::Server
    }
}

fn stopped(reading: &Reading) -> String {
    match reading.silent_for {
        Some(silent) if silent >= STOPPED_AFTER => {
            let seconds = silent.as_secs();
            format!("client does not read: it has acknowledged nothing for {seconds} s")
        }
        _ => {
            let seconds = reading.quiet_for.as_secs();
            format!("client does not read: it has taken nothing for {seconds} s")
        }
    }
}

/// Bits a second that got through lately.
#[must_use]
pub fn carried(reading: &Reading) -> f64 {
    8.0 * per_second(reading.lately.bytes, reading.lately.span)
}

/// Payloads a second lately.
#[must_use]
pub fn rate(reading: &Reading) -> f64 {
    per_second(reading.lately.sent, reading.lately.span)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
fn per_second(count: u64, span: Duration) -> f64 {
    // Right after joining a few bytes would make an absurd rate.
    count as f64 / span.max(NEW).as_secs_f64()
}

fn bitrate(bps: f64) -> String {
    format!("{} Mbit/s", megabits(bps))
}

fn megabits(bps: f64) -> String {
    let megabits = bps / 1e6;
    if megabits < 1.0 {
        format!("{megabits:.2}")
    } else {
        format!("{megabits:.1}")
    }
}

/// With a decimal only where there is one.
fn words(rate: f64) -> String {
    let rounded = (10.0 * rate).round() / 10.0;
    rounded.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::viewer::figures::{Lately, Watched};
    use crate::egress::viewer::watch::Wish;

    const OLD: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);
    const NEEDS: Needs = Needs {
        bitrate_bps: 21_600_000.0,
        rate: 30.0,
        is_thinned: false,
        has_source: true,
        is_starting: false,
    };

    /// One that was sent 30 frames a second for the last five.
    fn reading() -> Reading {
        let wish = Wish {
            max_age: SECOND,
            interval: None,
        };
        Reading {
            sent: 1_000,
            thinned: 0,
            bytes: 1,
            skipped: Skips::default(),
            quiet_for: Duration::from_millis(10),
            silent_for: None,
            is_dismissed: false,
            watched: vec![Watched { place: 0, wish }],
            lately: Lately {
                span: 5 * SECOND,
                sent: 150,
                bytes: 5 * 3_100_000 / 8,
                ..Lately::default()
            },
        }
    }

    fn line(unsent: u32, in_flight: u32) -> Option<Line> {
        Some(Line {
            unsent,
            in_flight,
            resent: 0,
            round_trip: SECOND,
        })
    }

    fn skipping(skipped: Skips) -> String {
        let mut reading = reading();
        reading.lately.skipped = skipped;
        judge(&reading, line(9, 9), NEEDS, OLD).text
    }

    #[test]
    fn what_held_up_most_is_named() {
        let (link, device, server) = (40, 2, 1);
        let skips = Skips {
            link,
            device,
            server,
        };
        assert_eq!(skipping(skips), "link carries 3.1 Mbit/s, needs 21.6");
        let skips = Skips {
            link: 2,
            device: 40,
            server,
        };
        assert_eq!(
            skipping(skips),
            "its machine shows 30 of 30 frames a second"
        );
        let skips = Skips {
            link: 2,
            device,
            server: 40,
        };
        assert_eq!(skipping(skips), "the server is short of CPU");
        let skips = Skips {
            link: 1,
            ..Skips::default()
        };
        assert_eq!(skipping(skips), "keeps up", "one of 151");
    }

    #[test]
    fn a_client_that_stops_is_told_from_a_line_that_is_cut() {
        let mut reading = reading();
        reading.quiet_for = Duration::from_millis(7_400);
        let text = |reading: &Reading, line| judge(reading, line, NEEDS, OLD).text;
        assert_eq!(
            text(&reading, line(20_000, 0)),
            "client does not read: it has taken nothing for 7 s"
        );
        assert_eq!(
            text(&reading, line(20_000, 3)),
            "nothing gets through to it for 7 s"
        );
        assert_eq!(text(&reading, line(0, 0)), "keeps up", "nothing waits");
        reading.silent_for = Some(Duration::from_secs(4));
        assert_eq!(
            text(&reading, line(0, 0)),
            "client does not read: it has acknowledged nothing for 4 s"
        );
        reading.is_dismissed = true;
        assert_eq!(text(&reading, line(0, 0)), "is being sent away");
    }

    #[test]
    fn rare_frames_are_no_silence() {
        let mut reading = reading();
        reading.quiet_for = Duration::from_secs(7);
        let needs = Needs { rate: 0.2, ..NEEDS };
        let kind = |reading: &Reading| judge(reading, line(1, 0), needs, OLD).kind;
        assert_eq!(kind(&reading), Kind::Well);
        reading.quiet_for = Duration::from_secs(11);
        assert_eq!(kind(&reading), Kind::Stopped);
    }

    #[test]
    fn who_is_short_of_nothing_is_told_so() {
        let reading = reading();
        let needs = Needs {
            rate: 5.0,
            is_thinned: true,
            ..NEEDS
        };
        let text = |needs, age| judge(&reading, line(0, 0), needs, age).text;
        assert_eq!(text(needs, OLD), "asks for 5 frames a second and gets them");
        assert_eq!(text(NEEDS, OLD), "keeps up");
        assert_eq!(text(NEEDS, Duration::ZERO), "has just come");
        let needs = Needs::default();
        assert_eq!(text(needs, OLD), "gets a placeholder: the source is gone");
        let needs = Needs {
            is_starting: true,
            ..needs
        };
        let starting = "gets a placeholder: the source is being opened";
        assert_eq!(text(needs, OLD), starting);
    }
}
