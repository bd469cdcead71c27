//! What a load was given between two moments: shares, rates and ages.

use super::Mark;

/// What a load received between two moments.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    /// Viewers of both kinds.
    pub viewers: usize,
    /// Length of the window.
    pub seconds: f64,
    /// Frames published in the window, as the samples saw them numbered.
    pub published: u64,
    /// Whole frames at the viewers ÷ (published × viewers), 0 to 1.
    pub delivered: f64,
    /// The same for the viewer that got least.
    pub delivered_least: f64,
    /// Bytes of one frame on the wire.
    pub wire_bytes: f64,
    /// Age at arrival at the samples: median, 99th percentile, largest.
    pub age_p50_ms: f64,
    /// See `age_p50_ms`.
    pub age_p99_ms: f64,
    /// See `age_p50_ms`.
    pub age_max_ms: f64,
    /// 99th percentile of last minus first arrival, over the frames that all samples got.
    pub synchrony_ms: f64,
    /// From connecting to the first whole frame, if there were newcomers: median, largest.
    pub first_frame_ms: Option<(f64, f64)>,
    /// Connections that ended during the window.
    pub lost: u64,
    /// How many of the window's two edges frames were on their way across.
    #[serde(default)]
    pub edges_cut: u32,
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    pub(super) fn between(from: &Mark, to: &Mark) -> Self {
        let published = to
            .samples
            .newest_seq
            .saturating_sub(from.samples.newest_seq);
        let sampled = to.samples.frames - from.samples.frames;
        let wire_bytes = (to.samples.bytes - from.samples.bytes) as f64 / sampled.max(1) as f64;
        let expected = published.max(1) as f64;
        let of_crowd = (from.crowd.iter().zip(&to.crowd))
            .map(|(from, to)| (to - from) as f64 / wire_bytes.max(1.0) / expected);
        let of_samples = (from.samples.each.iter().zip(&to.samples.each))
            .map(|(from, to)| (to - from) as f64 / expected);
        let shares: Vec<f64> = of_samples.chain(of_crowd).collect();
        let ages = &to.samples.ages;
        let ms = |micros: u64| micros as f64 / 1e3;
        Self {
            viewers: shares.len(),
            seconds: to.at.since(from.at).as_secs_f64(),
            published,
            delivered: shares.iter().sum::<f64>() / shares.len().max(1) as f64,
            delivered_least: shares.iter().copied().fold(f64::INFINITY, f64::min),
            wire_bytes,
            age_p50_ms: ms(ages.value_at_quantile(0.5)),
            age_p99_ms: ms(ages.value_at_quantile(0.99)),
            age_max_ms: ms(ages.max()),
            synchrony_ms: ms(to.samples.apart.value_at_quantile(0.99)),
            first_frame_ms: (to.first_frames.as_ref())
                .map(|times| (ms(times.value_at_quantile(0.5)), ms(times.max()))),
            lost: to.samples.lost - from.samples.lost,
            edges_cut: 0,
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            viewers,
            seconds,
            published,
            ..
        } = self;
        writeln!(
            f,
            "{viewers} viewers, {seconds:.1} s, {published} frames published"
        )?;
        writeln!(
            f,
            "  delivered  {:.2} %, least {:.2} %, connections lost {}",
            100.0 * self.delivered,
            100.0 * self.delivered_least,
            self.lost,
        )?;
        write!(
            f,
            "  age        {:.1}/{:.1}/{:.1} ms p50/p99/max, synchrony {:.1} ms, \
             {:.0} bytes a frame on the wire",
            self.age_p50_ms, self.age_p99_ms, self.age_max_ms, self.synchrony_ms, self.wire_bytes,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use common::Monotonic;

    use crate::load::sample;

    #[test]
    fn shares_are_counted_in_whole_windows() {
        let mark = |millis, crowd: &[u64], each: &[u64], newest_seq| Mark {
            at: Monotonic::default() + Duration::from_millis(millis),
            crowd: crowd.to_vec(),
            samples: sample::Totals {
                each: each.to_vec(),
                frames: each.iter().sum(),
                bytes: each.iter().sum::<u64>() * 100,
                newest_seq,
                ages: sample::empty_times(),
                apart: sample::empty_times(),
                lost: 0,
            },
            first_frames: None,
        };
        let from = mark(1000, &[500, 0], &[5], 5);
        let to = mark(3000, &[1500, 500], &[15], 15);
        let figures = Figures::between(&from, &to);
        assert_eq!((figures.viewers, figures.published), (3, 10));
        assert!((figures.delivered - 2.5 / 3.0).abs() < 1e-9);
        assert!((figures.delivered_least - 0.5).abs() < 1e-9);
        assert!((figures.seconds - 2.0).abs() < 1e-9);
    }
}
