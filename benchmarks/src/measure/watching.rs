//! Who watches: receivers that decode, a crowd that counts, or readers of an exchange that count.

use std::time::Duration;

use anyhow::Context as _;
use common::sampler::Role;
use common::{Clock, Monotonic, Shutdown, SystemClock};
use serde::Deserialize;

use super::chain::Chain;
use super::{Setting, role};
use crate::contender::Hindrance;
use crate::load::{self, Target};
use crate::program::Program;
use crate::result::{Figures, READERS, VIEWERS};
use crate::scenario::{Load, Model, Watchers};

const RECEIVERS: &str = "receivers";
/// The last sample is taken so long before the receivers end.
const MARGIN: Duration = Duration::from_millis(50);

/// Running viewers. Ended when dropped.
#[derive(Debug)]
pub(super) enum Watching {
    Receivers {
        program: Program,
        count: usize,
        begun: Monotonic,
    },
    Crowd(load::Load),
    Readers(Program),
    /// It serves itself.
    Process(Program),
}

/// The end of a window, and where its figures come from.
pub(super) enum Seen<'a> {
    Receivers(&'a mut Program, usize),
    Crowd(load::Figures),
    Readers(&'a mut Program),
}

/// What is read of a receiver's summary.
#[derive(Debug, Deserialize)]
struct Summary {
    connected: usize,
    frames: u64,
    skipped: u64,
    delivered: f64,
    age_ms: Option<Ages>,
    synchrony_ms: Option<f64>,
    fps: f64,
    fps_least: f64,
    elapsed_s: f64,
    decode_errors: u64,
}

/// What readers answer at the end of a window.
#[derive(Debug, Deserialize)]
struct Counted {
    #[serde(flatten)]
    figures: load::Figures,
    /// Told by a process that writes itself.
    writer_us: Option<f64>,
    writer_cpu_us: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Ages {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Watching {
    pub(super) fn start(setting: &Setting<'_>, chain: &Chain) -> anyhow::Result<Self> {
        let Setting {
            arm,
            load,
            warm_up,
            window,
            ..
        } = setting;
        let (url, count) = (&chain.url, load.viewers);
        if setting.watchers == Watchers::Receivers {
            let whole = humantime::format_duration(*warm_up + *window);
            let warm_up = humantime::format_duration(*warm_up);
            // Lengths of time are written with spaces, which arguments cannot have here.
            let [whole, warm_up] = [whole, warm_up].map(|span| span.to_string().replace(' ', ""));
            let begun = SystemClock.monotonic();
            let program = Program::start(format!(
                "receiver {url} --count {count} --decode --json --log warn --warm-up {warm_up} \
                 --duration {whole}"
            ))?;
            return Ok(Self::Receivers {
                program,
                count,
                begun,
            });
        }
        if arm.model == Model::Process {
            let Load {
                bytes,
                fps,
                frames_per_payload,
                ..
            } = load;
            let mut process = Program::start(format!(
                "benchmarks ring --viewers {count} --bytes {bytes} --fps {fps} \
                 --frames-per-payload {frames_per_payload}"
            ))?;
            process.line_after("ready")?;
            return Ok(Self::Process(process));
        }
        if arm.model == Model::Rabbitmq {
            let (url, exchange) = url.split_once("?exchange=").context("no exchange")?;
            let bytes = load.bytes;
            let mut readers = Program::start(format!(
                "benchmarks readers {url} --exchange {exchange} --viewers {count} --bytes {bytes} \
                 --through ingress"
            ))?;
            readers.line_after("ready ")?;
            return Ok(Self::Readers(readers));
        }
        let hindrance = match load.stopped {
            0 => Hindrance::None,
            count => Hindrance::Stopped(count),
        };
        Ok(Self::Crowd(load::Load::start(
            &Target::parse(url)?,
            count,
            hindrance,
        )?))
    }

    pub(super) fn role(&self) -> Role {
        match self {
            Self::Receivers { program, .. } => role(RECEIVERS, vec![program.pid()]),
            Self::Crowd(_) => role(VIEWERS, vec![std::process::id()]),
            Self::Readers(program) => role(READERS, vec![program.pid()]),
            Self::Process(program) => role("process", vec![program.pid()]),
        }
    }

    /// Waits until figures count.
    pub(super) fn warm_up(&self, warm_up: Duration, shutdown: &Shutdown) {
        let since = match self {
            Self::Receivers { begun, .. } => SystemClock.monotonic().since(*begun),
            Self::Crowd(_) | Self::Readers(_) | Self::Process(_) => Duration::ZERO,
        };
        let _ = shutdown.wait(warm_up.saturating_sub(since));
    }

    /// Lets them watch until the end of the window.
    pub(super) fn watch(
        &mut self,
        window: Duration,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Seen<'_>> {
        match self {
            Self::Receivers { program, count, .. } => {
                let _ = shutdown.wait(window.saturating_sub(MARGIN));
                Ok(Seen::Receivers(program, *count))
            }
            Self::Crowd(load) => Ok(Seen::Crowd(load.watch(window, shutdown, || ()).0)),
            Self::Readers(program) | Self::Process(program) => {
                program.ask("begin")?;
                let _ = shutdown.wait(window);
                Ok(Seen::Readers(program))
            }
        }
    }
}

impl Seen<'_> {
    /// What they saw.
    pub(super) fn figures(self) -> anyhow::Result<Figures> {
        match self {
            Self::Receivers(program, count) => {
                let line = program.last_line()?;
                match serde_json::from_str::<Summary>(&line) {
                    Ok(summary) => summary.figures(count),
                    Err(_) => Err(program.failed("printed no summary")),
                }
            }
            Self::Crowd(figures) => Ok(Figures::of_crowd(&figures)),
            Self::Readers(program) => {
                let figures: Counted = serde_json::from_str(&program.ask("end")?)?;
                Ok(Figures {
                    writer_us: figures.writer_us,
                    writer_cpu_us: figures.writer_cpu_us,
                    ..Figures::of_crowd(&figures.figures)
                })
            }
        }
    }
}

impl Summary {
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    fn figures(self, count: usize) -> anyhow::Result<Figures> {
        anyhow::ensure!(
            self.decode_errors == 0,
            "{} of {} pictures could not be decoded",
            self.decode_errors,
            self.frames
        );
        let ages = self.age_ms.context("no frame came within the window")?;
        let all = (self.frames + self.skipped) as f64;
        // Who is not connected does not know what it misses.
        let connected = self.connected as f64 / count.max(1) as f64;
        Ok(Figures {
            window_s: self.elapsed_s,
            published_fps: all / self.connected.max(1) as f64 / self.elapsed_s,
            fps: self.fps,
            fps_least: self.fps_least,
            delivered: self.delivered * connected,
            age_p50_ms: ages.p50,
            age_p99_ms: ages.p99,
            age_max_ms: ages.max,
            synchrony_ms: self.synchrony_ms,
            lost: (count - self.connected.min(count)) as u64,
            edges_cut: 0,
            writer_us: None,
            writer_cpu_us: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(connected: usize, decode_errors: u64) -> Summary {
        let json = format!(
            r#"{{"kind":"summary","connected":{connected},"frames":590,"skipped":10,"delivered":0.983,
                "age_ms":{{"p50":1.0,"p90":2.0,"p99":3.0,"max":4.0}},"synchrony_ms":0.5,"fps":29.5,
                "fps_least":29.0,"elapsed_s":2.0,"decode_errors":{decode_errors}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn what_receivers_saw_is_read_of_their_summary() {
        let figures = summary(10, 0).figures(10).unwrap();
        assert!((figures.published_fps - 30.0).abs() < 1e-9, "{figures:?}");
        assert!((figures.delivered - 0.983).abs() < 1e-9, "{figures:?}");
        assert_eq!((figures.age_p99_ms, figures.lost), (3.0, 0));
    }

    #[test]
    fn a_receiver_without_connection_counts_as_one_that_gets_nothing() {
        let figures = summary(5, 0).figures(10).unwrap();
        assert!(
            (figures.delivered - 0.983 / 2.0).abs() < 1e-9,
            "{figures:?}"
        );
        assert_eq!(figures.lost, 5);
    }

    #[test]
    fn broken_pictures_are_no_measurement() {
        let error = summary(10, 3).figures(10).unwrap_err().to_string();
        assert_eq!(error, "3 of 590 pictures could not be decoded");
    }
}
