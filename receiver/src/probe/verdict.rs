//! Whether a stream is healthy, and all that is said about it, for people and for programs.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::Outcome;
use super::findings::{Findings, Spread, spread};

/// A stream that loses more is not healthy.
const LEAST_DELIVERED: f64 = 0.99;
/// Older pictures, by a clock that was compared, are not live.
const OLDEST_MS: f64 = 1_000.0;
/// A stream that is silent for longer stands still, unless it is that slow.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);
const SLOW_FACTOR: u32 = 4;

/// What is said about a stream. Figures that are not known are null.
#[derive(Debug, Serialize)]
pub struct Verdict {
    kind: &'static str,
    url: String,
    /// `healthy`, `unhealthy` or `unreachable`.
    verdict: &'static str,
    /// Why it is not healthy, in words.
    reasons: Vec<String>,
    #[serde(flatten)]
    stream: Option<Stream>,
}

/// What a stream is.
#[derive(Debug, Serialize)]
struct Stream {
    protocol: &'static str,
    format: Option<String>,
    width: Option<u16>,
    height: Option<u16>,
    frames: u64,
    seconds: f64,
    frame_bytes: f64,
    fps: f64,
    bitrate_bps: f64,
    /// Time between messages, and how far it is from its median.
    interval_ms: Option<Spread>,
    jitter_ms: Option<Spread>,
    age_ms: Option<Spread>,
    clock: &'static str,
    round_trip_ms: Option<f64>,
    gaps: u64,
    skipped: u64,
    delivered: f64,
    duplicates: u64,
    restarts: u64,
    placeholders: u64,
    damaged: u64,
    decode_errors: u64,
    mislabelled: u64,
    lost_connections: u64,
    hops: u8,
    #[serde(skip)]
    sizes: usize,
}

impl Verdict {
    /// Judges what was found.
    pub(super) fn new(url: String, findings: &Findings) -> Self {
        let stream = Stream::new(protocol(&url), findings);
        let reasons = reasons(&stream, findings);
        Self {
            kind: "probe",
            url,
            verdict: if reasons.is_empty() {
                "healthy"
            } else {
                "unhealthy"
            },
            reasons,
            stream: Some(stream),
        }
    }

    /// There is nothing to judge.
    pub(super) fn unreachable(url: String, reason: String) -> Self {
        Self {
            kind: "probe",
            url,
            verdict: "unreachable",
            reasons: vec![reason],
            stream: None,
        }
    }

    pub(super) const fn outcome(&self) -> Outcome {
        match (&self.stream, self.reasons.is_empty()) {
            (None, _) => Outcome::Unreachable,
            (Some(_), true) => Outcome::Healthy,
            (Some(_), false) => Outcome::Unhealthy,
        }
    }
}

/// Some lines for people.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.url)?;
        if let Some(stream) = &self.stream {
            stream.fmt(f)?;
        }
        f.write_str(self.verdict)?;
        for (index, reason) in self.reasons.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            f.write_str(reason)?;
        }
        Ok(())
    }
}

impl Stream {
    fn new(protocol: &'static str, findings: &Findings) -> Self {
        let (counts, pictures) = (findings.counts(), findings.pictures());
        let sizes = findings.sizes();
        let offset = findings.clock_offset();
        Self {
            protocol,
            format: findings.format(),
            width: sizes.last().map(|size| size.0),
            height: sizes.last().map(|size| size.1),
            frames: counts.frames,
            seconds: findings.seconds(),
            frame_bytes: findings.frame_bytes(),
            fps: findings.fps(),
            bitrate_bps: findings.bitrate_bps(),
            interval_ms: spread(findings.intervals()),
            jitter_ms: findings.jitter_ms(),
            age_ms: findings.age_ms(),
            clock: if offset.is_some() {
                "synchronised to server"
            } else {
                "unchecked"
            },
            round_trip_ms: offset.map(|offset| 1e3 * offset.round_trip.as_secs_f64()),
            gaps: counts.gaps,
            skipped: counts.skipped,
            delivered: counts.delivered(),
            duplicates: counts.duplicates,
            restarts: counts.restarts,
            placeholders: counts.placeholders,
            damaged: findings.damaged(),
            decode_errors: pictures.errors,
            mislabelled: pictures.mislabelled,
            lost_connections: findings.lost_connections(),
            hops: findings.hops(),
            sizes: sizes.len(),
        }
    }

    fn write_picture(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(format) = &self.format else {
            return writeln!(f, "  picture   none");
        };
        write!(f, "  picture   {format}")?;
        if let (Some(width), Some(height)) = (self.width, self.height) {
            write!(f, " {width}x{height}")?;
        }
        if self.sizes > 1 {
            write!(f, " and {} other sizes", self.sizes - 1)?;
        }
        writeln!(f, ", {:.1} kB each", self.frame_bytes / 1e3)
    }

    /// What there is besides skips, if there is any.
    fn others(&self) -> String {
        let mut text = String::new();
        for (name, count) in [
            ("duplicates", self.duplicates),
            ("restarts", self.restarts),
            ("placeholders", self.placeholders),
            ("damaged", self.damaged),
            ("undecodable", self.decode_errors),
            ("mislabelled", self.mislabelled),
            ("lost connections", self.lost_connections),
        ] {
            if count > 0 {
                // Writing to a string never fails.
                let _ = write!(text, ", {name} {count}");
            }
        }
        text
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_picture(f)?;
        let (fps, megabits) = (self.fps, self.bitrate_bps / 1e6);
        let (frames, seconds) = (self.frames, self.seconds);
        writeln!(
            f,
            "  rate      {fps:.1} fps, {megabits:.1} Mbit/s ({frames} frames in {seconds:.1} s)"
        )?;
        if let (Some(interval), Some(jitter)) = (self.interval_ms, self.jitter_ms) {
            let (apart, longest) = (interval.p50, interval.max);
            let (p50, p99) = (jitter.p50, jitter.p99);
            writeln!(
                f,
                "  jitter    {p50:.1}/{p99:.1} ms p50/p99; {apart:.1} ms apart, longest {longest:.1} ms"
            )?;
        }
        match self.age_ms {
            None => writeln!(f, "  age       not known")?,
            Some(age) => {
                let (p50, p99, max, clock) = (age.p50, age.p99, age.max, self.clock);
                let times = format!("{p50:.1}/{p99:.1}/{max:.1} ms p50/p99/max");
                writeln!(f, "  age       {times}, clock {clock}")?;
            }
        }
        let (delivered, others) = (100.0 * self.delivered, self.others());
        let (gaps, skipped) = (self.gaps, self.skipped);
        writeln!(
            f,
            "  losses    {delivered:.2} % delivered, gaps {gaps}, skipped {skipped}{others}"
        )?;
        let way = match self.hops {
            0 => String::new(),
            1 => ", through 1 relay".to_owned(),
            hops => format!(", through {hops} relays"),
        };
        let round_trip = (self.round_trip_ms)
            .map_or_else(String::new, |millis| format!(", round trip {millis:.2} ms"));
        writeln!(f, "  protocol  {}{way}{round_trip}", self.protocol)
    }
}

/// How frames travel, told by the address.
fn protocol(url: &str) -> &'static str {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("tcp") => "Framecast over tcp",
        Some("http") => "MJPEG over HTTP",
        Some("ws") => "Framecast over WebSocket",
        Some("amqp" | "amqps") => "Framecast over RabbitMQ",
        _ => "unknown",
    }
}

/// All that is wrong, the gravest first.
fn reasons(stream: &Stream, findings: &Findings) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut add = |is_so: bool, words: String| reasons.extend(is_so.then_some(words));
    let seconds = stream.seconds;
    let is_empty = stream.frames == 0;
    add(
        is_empty && stream.placeholders == 0,
        format!("no frame came within {seconds:.1} s"),
    );
    add(
        stream.placeholders > 0 && (is_empty || findings.ends_with_placeholder()),
        "the source is gone, only a placeholder comes".to_owned(),
    );
    add(
        stream.placeholders > 0 && !is_empty && !findings.ends_with_placeholder(),
        "the source was gone for a while".to_owned(),
    );
    let lost = stream.lost_connections;
    add(
        lost > 0,
        format!("the connection was lost, {}", times(lost)),
    );
    let interval = stream.interval_ms.map_or(0.0, |interval| interval.p50);
    let usual = Duration::from_secs_f64(interval / 1e3);
    let silence = findings.longest_silence();
    add(
        !is_empty && silence > LONGEST_SILENCE.max(SLOW_FACTOR * usual),
        format!("nothing came for {:.1} s", silence.as_secs_f64()),
    );
    let skipped = 100.0 * (1.0 - stream.delivered);
    add(
        stream.delivered < LEAST_DELIVERED,
        format!("{skipped:.1} % of the frames were skipped: the link or this machine is too slow"),
    );
    let age = (stream.age_ms).filter(|_| stream.clock != "unchecked");
    let age = age.map_or(0.0, |age| age.p50);
    add(
        age > OLDEST_MS,
        format!("pictures are {:.1} s old", age / 1e3),
    );
    let broken = stream.damaged + stream.decode_errors;
    add(
        broken > 0,
        format!("{broken} pictures or messages were damaged"),
    );
    let mislabelled = stream.mislabelled;
    add(
        mislabelled > 0,
        format!("{mislabelled} pictures show another number than they bear"),
    );
    add(
        stream.restarts > 0,
        format!("the source restarted, {}", times(stream.restarts)),
    );
    reasons
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::{Flags, Format, Frame, Head, Identity, Monotonic, Timestamp};

    const FRAME_TIME: Duration = Duration::from_millis(40);

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(1_000_000 * millis)
    }

    fn frame(epoch: u64, seq: u64) -> Frame {
        let identity = Identity { epoch, seq };
        let mut head = Head::new(identity, Timestamp::default(), Format::Opaque);
        (head.width, head.height) = (640, 480);
        Frame::new(head, Bytes::from_static(&[7; 1000]))
    }

    /// 50 frames in two seconds, but for those that `change` takes away or changes.
    fn findings(change: impl Fn(u64) -> Option<Frame>) -> Findings {
        let mut findings = Findings::new(at(0)).unwrap();
        for seq in 0..50 {
            if let Some(frame) = change(seq) {
                findings.note_message(at(0) + FRAME_TIME * u32::try_from(seq).unwrap());
                findings.add(&frame);
                findings.note_age(Some(Duration::from_millis(seq)));
            }
        }
        let shutdown = common::Shutdown::default();
        let source = "tcp://h:1".parse().unwrap();
        let ingress = crate::ingress::Ingress::open(source, Default::default(), shutdown);
        findings.end(at(2_000), &ingress);
        findings
    }

    fn verdict(findings: &Findings) -> Verdict {
        Verdict::new("tcp://h:1/main".to_owned(), findings)
    }

    fn reasons(change: impl Fn(u64) -> Option<Frame>) -> Vec<String> {
        let verdict = verdict(&findings(change));
        assert_eq!(verdict.outcome(), Outcome::Unhealthy);
        verdict.reasons
    }

    #[test]
    fn a_regular_stream_is_healthy_and_described() {
        let verdict = verdict(&findings(|seq| Some(frame(1, seq))));
        assert_eq!(verdict.outcome(), Outcome::Healthy);
        let text = verdict.to_string();
        let expected = "tcp://h:1/main\n\
            \x20 picture   opaque bytes 640x480, 1.0 kB each\n\
            \x20 rate      24.5 fps, 0.2 Mbit/s (50 frames in 2.0 s)\n\
            \x20 jitter    0.0/0.0 ms p50/p99; 40.0 ms apart, longest 40.0 ms\n\
            \x20 age       24.0/49.0/49.0 ms p50/p99/max, clock unchecked\n\
            \x20 losses    100.00 % delivered, gaps 0, skipped 0\n\
            \x20 protocol  Framecast over tcp\n\
            healthy";
        assert_eq!(text, expected);
    }

    #[test]
    fn each_fault_is_told_in_words() {
        assert_eq!(reasons(|_| None), ["no frame came within 2.0 s"]);
        let placeholder = |seq: u64| {
            let mut frame = frame(1, seq);
            frame.head.flags = Flags::KEY.with(Flags::PLACEHOLDER);
            Some(frame)
        };
        let gone = ["the source is gone, only a placeholder comes"];
        assert_eq!(reasons(placeholder), gone);
        assert_eq!(
            reasons(|seq| if seq < 30 {
                Some(frame(1, seq))
            } else {
                placeholder(seq)
            }),
            gone
        );
        let back = reasons(|seq| {
            if seq == 30 {
                placeholder(29)
            } else {
                Some(frame(1, seq))
            }
        });
        assert_eq!(back[0], "the source was gone for a while");
        let one_in_five = reasons(|seq| (seq % 5 != 4).then(|| frame(1, seq)));
        assert_eq!(one_in_five.len(), 1, "{one_in_five:?}");
        assert!(
            one_in_five[0].contains("% of the frames were skipped"),
            "{one_in_five:?}"
        );
        assert_eq!(
            reasons(|seq| (seq < 20).then(|| frame(1, seq))),
            ["nothing came for 1.2 s"]
        );
        let restarted = reasons(|seq| Some(frame(1 + seq / 20, seq % 20)));
        assert_eq!(restarted, ["the source restarted, 2 times"]);
        let damaged = reasons(|seq| {
            let mut frame = frame(1, seq);
            frame.head.format = Format::Jpeg;
            Some(frame)
        });
        assert_eq!(damaged, ["50 pictures or messages were damaged"]);
    }

    #[test]
    fn a_slow_stream_is_no_silent_one() {
        let mut findings = Findings::new(at(0)).unwrap();
        for seq in 0..5 {
            findings.note_message(at(2_000 * seq));
            findings.add(&frame(1, seq));
        }
        let shutdown = common::Shutdown::default();
        let source = "tcp://h:1".parse().unwrap();
        let ingress = crate::ingress::Ingress::open(source, Default::default(), shutdown);
        findings.end(at(9_000), &ingress);
        assert_eq!(verdict(&findings).outcome(), Outcome::Healthy);
    }

    #[test]
    fn a_lost_connection_counts_once_until_it_is_back() {
        let mut findings = findings(|seq| Some(frame(1, seq)));
        for is_connected in [true, false, false, true, false] {
            findings.note_connection(is_connected);
        }
        let verdict = verdict(&findings);
        assert_eq!(verdict.reasons, ["the connection was lost, 2 times"]);
        assert!(
            verdict
                .to_string()
                .ends_with("\nunhealthy: the connection was lost, 2 times")
        );
    }
}
