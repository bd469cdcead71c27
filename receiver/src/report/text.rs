//! Figures as text for people.

use crate::figures::{Figures, Sync};

/// One line for a second.
pub(super) fn second(figures: &Figures) -> String {
    if figures.receivers == 1 {
        one_receiver(figures)
    } else {
        several_receivers(figures)
    }
}

/// Some lines for the whole run.
pub(super) fn summary(figures: &Figures) -> String {
    let receivers = match figures.receivers {
        1 => "1 receiver".to_owned(),
        count => format!("{count} receivers"),
    };
    let mut text = format!(
        "\n{}: {} frames in {:.1} s, {receivers}\n  \
         rate       {:.1} fps each, {}, {}\n  \
         delivered  {:.2} %{}",
        figures.url,
        figures.frames,
        figures.elapsed_s,
        figures.fps,
        size(figures),
        bitrate(figures),
        100.0 * figures.delivered,
        losses(figures),
    );
    if let Some(age) = figures.age_ms {
        let (p50, p90, p99, max, clock) = (age.p50, age.p90, age.p99, age.max, figures.clock);
        let times = format!("{p50:.1}/{p90:.1}/{p99:.1}/{max:.1} ms p50/p90/p99/max");
        text.push_str(&format!("\n  age        {times}, clock {clock}"));
    }
    if let Some(millis) = figures.synchrony_ms {
        text.push_str(&format!("\n  synchrony  {millis:.1} ms p99"));
    }
    if let Some(sync) = figures.sync {
        text.push_str(&format!("\n  sync       {}", kept(&sync)));
    }
    text.push_str(&format!("\n  cpu        {:.1} % of a core", figures.cpu));
    text
}

fn one_receiver(figures: &Figures) -> String {
    if figures.connected == 0 && figures.frames == 0 {
        let reason = figures.trouble.as_deref();
        return format!("not connected: {}", reason.unwrap_or("connecting"));
    }
    let (fps, size, bitrate) = (figures.fps, size(figures), bitrate(figures));
    let (age, losses) = (age(figures), losses(figures));
    let sync = sync(figures);
    format!("{fps:.1} fps  {size}  {bitrate}{age}{sync}{losses}")
}

fn several_receivers(figures: &Figures) -> String {
    let (connected, receivers) = (figures.connected, figures.receivers);
    let mut text = format!("{connected} of {receivers} connected");
    if let Some(reason) = figures.trouble.as_deref().filter(|_| connected < receivers) {
        text.push_str(&format!(" ({reason})"));
    }
    let (min, median) = (figures.rates.min, figures.rates.median);
    text.push_str(&format!("  {min:.1}/{median:.1} fps min/median  "));
    text.push_str(&format!("{}{}", bitrate(figures), age(figures)));
    if let Some(millis) = figures.synchrony_ms {
        text.push_str(&format!("  synchrony {millis:.1} ms p99"));
    }
    text + &sync(figures) + &losses(figures)
}

fn sync(figures: &Figures) -> String {
    (figures.sync).map_or_else(String::new, |sync| format!("  sync {}", kept(&sync)))
}

/// How a schedule was kept.
fn kept(sync: &Sync) -> String {
    let mut text = format!("{:.0} ms", sync.sync_ms);
    if let Some(off) = sync.sync_off_ms {
        text.push_str(&format!(", off {:.1}/{:.1} ms p50/p99", off.p50, off.p99));
    }
    if let Some(spread) = sync.sync_spread_ms {
        text.push_str(&format!(", spread {spread:.1} ms p99"));
    }
    text + &format!(", late {}", sync.late)
}

fn size(figures: &Figures) -> String {
    match figures.frames {
        0 => "no frame".to_owned(),
        _ => format!("{:.1} kB/frame", figures.frame_bytes / 1e3),
    }
}

fn bitrate(figures: &Figures) -> String {
    match figures.bitrate_bps {
        rate if rate >= 1e9 => format!("{:.2} Gbit/s", rate / 1e9),
        rate => format!("{:.1} Mbit/s", rate / 1e6),
    }
}

fn age(figures: &Figures) -> String {
    figures.age_ms.map_or_else(String::new, |age| {
        format!("  age {:.1}/{:.1} ms p50/p99", age.p50, age.p99)
    })
}

/// Gaps and skipped frames always, the rest only if there is any.
fn losses(figures: &Figures) -> String {
    let mut text = format!("  gaps {}  skipped {}", figures.gaps, figures.skipped);
    let (errors, mislabelled) = (figures.pictures).map_or((0, 0), |pictures| {
        (pictures.decode_errors, pictures.mislabelled)
    });
    for (name, count) in [
        ("duplicates", figures.duplicates),
        ("restarts", figures.restarts),
        ("placeholders", figures.placeholders),
        ("damaged", figures.damaged),
        ("undecodable", errors),
        ("mislabelled", mislabelled),
    ] {
        if count > 0 {
            text.push_str(&format!("  {name} {count}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Ages, Kind, Rates};

    fn figures() -> Figures {
        Figures {
            kind: Kind::Second,
            url: "tcp://cam:7400".to_owned(),
            receivers: 1,
            connected: 1,
            frames: 30,
            gaps: 0,
            duplicates: 0,
            restarts: 0,
            skipped: 0,
            placeholders: 0,
            damaged: 0,
            delivered: 1.0,
            age_ms: Some(Ages {
                p50: 1.23,
                p90: 2.0,
                p99: 2.34,
                max: 5.0,
            }),
            clock: "unchecked",
            synchrony_ms: None,
            bitrate_bps: 21_624_000.0,
            fps: 30.0,
            fps_least: 29.0,
            cpu: 1.0,
            elapsed_s: 1.0,
            pictures: None,
            shown: None,
            sync: None,
            frame_bytes: 90_100.0,
            rates: Rates {
                min: 29.0,
                median: 30.0,
            },
            each: Vec::new(),
            trouble: None,
            failure: None,
        }
    }

    #[test]
    fn one_receiver_on_one_line() {
        let line =
            "30.0 fps  90.1 kB/frame  21.6 Mbit/s  age 1.2/2.3 ms p50/p99  gaps 0  skipped 0";
        assert_eq!(second(&figures()), line);
    }

    #[test]
    fn who_gets_nothing_is_told_why() {
        let mut figures = figures();
        (figures.connected, figures.frames) = (0, 0);
        assert_eq!(second(&figures), "not connected: connecting");
        figures.trouble = Some("connection refused".to_owned());
        assert_eq!(second(&figures), "not connected: connection refused");
    }

    #[test]
    fn several_receivers_on_one_line() {
        let mut figures = figures();
        (figures.receivers, figures.connected) = (20, 19);
        figures.trouble = Some("connection reset".to_owned());
        figures.synchrony_ms = Some(4.2);
        figures.restarts = 1;
        let line = "19 of 20 connected (connection reset)  29.0/30.0 fps min/median  21.6 Mbit/s  \
            age 1.2/2.3 ms p50/p99  synchrony 4.2 ms p99  gaps 0  skipped 0  restarts 1";
        assert_eq!(second(&figures), line);
    }

    #[test]
    fn how_a_schedule_was_kept_is_said_in_both() {
        let mut figures = figures();
        figures.sync = Some(Sync {
            sync_ms: 200.0,
            sync_spread_ms: Some(0.84),
            sync_off_ms: figures.age_ms,
            late: 3,
        });
        let words = "200 ms, off 1.2/2.3 ms p50/p99, spread 0.8 ms p99, late 3";
        assert!(second(&figures).contains(&format!("  sync {words}  gaps 0")));
        assert!(summary(&figures).contains(&format!("\n  sync       {words}\n")));
    }

    #[test]
    fn the_summary_says_how_ages_were_told() {
        let text = summary(&figures());
        assert!(
            text.contains("tcp://cam:7400: 30 frames in 1.0 s, 1 receiver\n"),
            "{text}"
        );
        assert!(
            text.contains("1.2/2.0/2.3/5.0 ms p50/p90/p99/max, clock unchecked\n"),
            "{text}"
        );
    }
}
