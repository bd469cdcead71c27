//! The text of metrics, written with prometheus-client: the only place that knows it.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// What is told, made anew each time.
pub(super) trait Content: fmt::Debug + Send + Sync + 'static {
    /// Tells all of it.
    fn print(&self, print: &mut Print<'_>) -> fmt::Result;
}

/// Content that can be asked for.
#[derive(Debug)]
pub(super) struct Sheet {
    registry: Registry,
}

#[derive(Debug)]
struct Adapter<C>(C);

impl<C: Content> Collector for Adapter<C> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.print(&mut Print(encoder))
    }
}

impl Sheet {
    pub(super) fn new(content: impl Content) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Adapter(content)));
        Self { registry }
    }

    /// The content as it is now, as OpenMetrics.
    pub(super) fn print(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a string takes all that is written");
        text
    }
}

/// A metric's labels: each a name and a value.
type Labels<'a, const N: usize> = [(&'a str, &'a str); N];
/// All durations added up, and each class's upper bound with its count; `None` for the last class.
pub(super) type Classes = (Duration, Vec<(Option<Duration>, u64)>);

/// Takes families of metrics, one after the other. One without a metric leaves nothing.
#[derive(Debug)]
pub(super) struct Print<'a>(DescriptorEncoder<'a>);

impl Print<'_> {
    /// What only grows. `_total` is added to its name.
    pub(super) fn counter<'a, const N: usize, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a, N>, V)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, values, |mut one, value| {
            one.encode_counter::<NoLabelSet, V, u64>(&value, None)
        })
    }

    /// What goes up and down.
    pub(super) fn gauge<'a, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a, N>, V)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, values, |mut one, value| {
            one.encode_gauge(&value)
        })
    }

    /// Durations.
    pub(super) fn histogram<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a, N>, Classes)>,
    ) -> fmt::Result {
        let write = |mut one: MetricEncoder<'_>, (sum, classes): Classes| {
            let count = classes.iter().map(|(_, count)| count).sum();
            let bound =
                |bound: Option<Duration>| bound.map_or(f64::INFINITY, |at| at.as_secs_f64());
            let classes = classes.into_iter().map(|(at, count)| (bound(at), count));
            let classes: Vec<_> = classes.collect();
            one.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &classes, None)
        };
        self.family(name, help, MetricType::Histogram, values, write)
    }

    fn family<'a, const N: usize, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels<'a, N>, V)>,
        write: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let (name, unit) = split_unit(name);
        let mut family = (self.0).encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, value) in values {
            if N == 0 {
                // Never reached twice: without labels there is one value.
                return write(family, value);
            }
            write(family.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}

/// A name and the unit at its end, which OpenMetrics tells apart.
fn split_unit(name: &str) -> (&str, Option<Unit>) {
    let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
    for (ending, unit) in units {
        if let Some(name) = name.strip_suffix(ending) {
            return (name, Some(unit));
        }
    }
    (name, None)
}
