//! `/metrics`: what goes on, in numbers for Prometheus and all who read its formats.
//!
//! Nothing is kept here: each answer is made from the counters that are there anyway. Names follow
//! Prometheus's conventions (base units, `_total` for what only grows); labels are a channel, a protocol,
//! a reason or a state, each from a short list, and never a viewer.
//!
//! Prometheus asks for OpenMetrics and gets it; whoever does not name that gets the same in the older
//! text format, which every reader knows and browsers show.

mod families;
pub(super) mod process;
mod sheet;

use std::sync::Arc;

use common::{Budget, Clock, SystemClock};

use self::families::Families;
use self::sheet::Sheet;
use super::admission::Admission;
use crate::channel::Channels;

const OPEN_METRICS: &str = "application/openmetrics-text";

/// All that is counted, ready to be asked for.
#[derive(Debug, Clone)]
pub struct Metrics {
    sheet: Arc<Sheet>,
}

/// What is counted.
#[derive(Debug)]
pub struct Counted {
    /// What is served.
    pub channels: Channels,
    /// Memory that frames hold.
    pub budget: Budget,
    /// Who came and went.
    pub admission: Arc<Admission>,
    /// How frames get from the writer to the viewers, in a word.
    pub model: &'static str,
    /// What moves bytes to the viewers, in a word.
    pub driver: &'static str,
}

/// An answer to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What to say it is.
    pub content_type: &'static str,
    /// The answer.
    pub text: String,
}

impl Metrics {
    /// Metrics of a broadcaster that starts now.
    #[must_use]
    pub fn new(counted: Counted) -> Self {
        let started_at = SystemClock.wall();
        let families = Families {
            counted,
            started_at,
        };
        Self {
            sheet: Arc::new(Sheet::new(families)),
        }
    }

    /// All metrics as they are now, in the format that suits the request's `Accept` best.
    #[must_use]
    pub fn answer(&self, accept: &str) -> Answer {
        let text = self.sheet.print();
        if is_open_metrics_wanted(accept) {
            return Answer {
                content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
                text,
            };
        }
        Answer {
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            text: classic(&text),
        }
    }
}

fn is_open_metrics_wanted(accept: &str) -> bool {
    let mut types = accept.split(',').map(|one| one.split(';').next());
    types.any(|one| one.is_some_and(|one| one.trim().eq_ignore_ascii_case(OPEN_METRICS)))
}

/// OpenMetrics in the older format: there a counter's name has its `_total` in the comments too, and
/// units and the end are not said.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut lines = open.lines().peekable();
    while let Some(line) = lines.next() {
        let is_of_counter = lines.peek().is_some_and(|next| is_counter_type(next));
        match line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            Some((name, help)) if is_of_counter => text += &format!("# HELP {name}_total {help}"),
            _ if is_counter_type(line) => {
                text += line.trim_end_matches(" counter");
                text += "_total counter";
            }
            _ if line.starts_with("# UNIT ") || line == "# EOF" => continue,
            _ => text += line,
        }
        text.push('\n');
    }
    text
}

fn is_counter_type(line: &str) -> bool {
    line.starts_with("# TYPE ") && line.ends_with(" counter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_name_it() {
        // As Prometheus 2.42 and 3.5 ask.
        for accept in [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "text/plain;version=1.0.0;q=0.5, Application/OpenMetrics-Text ;version=1.0.0;q=0.6",
        ] {
            assert!(is_open_metrics_wanted(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html,application/xml;q=0.9,*/*;q=0.8",
            "text/plain",
        ] {
            assert!(!is_open_metrics_wanted(accept), "{accept}");
        }
    }

    #[test]
    fn in_the_older_format_counters_bear_their_whole_name_and_units_go() {
        let open = "# HELP a_bytes All bytes\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                    a_bytes_total{x=\"# EOF\"} 1\n# HELP b B\n# TYPE b gauge\nb 2\n# EOF\n";
        let expected = "# HELP a_bytes_total All bytes\n# TYPE a_bytes_total counter\n\
                        a_bytes_total{x=\"# EOF\"} 1\n# HELP b B\n# TYPE b gauge\nb 2\n";
        assert_eq!(classic(open), expected);
    }
}
