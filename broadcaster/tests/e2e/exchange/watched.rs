//! What `/metrics` tells of an exchange, and the dashboard that is drawn from all of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use common::Subscribe;

use super::{Place, wait_until};
use crate::clients::{are_installed, run_well, script};
use crate::metrics::{Metrics, TOOLS};

/// Where the dashboard lies.
const DASHBOARD: &str = "../scripts/grafana/framecast.json";

#[test]
fn payloads_are_counted_on_their_way_to_the_broker() {
    if !are_installed(&TOOLS) {
        return;
    }
    let Some(place) = Place::shared() else {
        return;
    };
    let stage = place.stage("--source pattern --model ring,rabbitmq");
    let mut reader = place.reader();
    reader.recv(Duration::from_secs(20)).unwrap();
    let sum =
        |metrics: &Metrics, name: &str| metrics.sum(&format!("framecast_exchange_{name}"), &[]);
    // The reader may have it before the broker has said so.
    let mut metrics = Metrics::of(&stage);
    wait_until("taken", || {
        metrics = Metrics::of(&stage);
        sum(&metrics, "payloads_published_total") > 0.0
    });
    // Counters go on while they are read, one after the other.
    let later = Metrics::of(&stage);
    let now = |name: &str| sum(&metrics, name);
    assert_eq!(now("state"), 1.0);
    let publishing = [("channel", "main"), ("state", "publishing")];
    assert_eq!(metrics.sum("framecast_exchange_state", &publishing), 1.0);
    let gone = now("payloads_published_total") + now("payloads_dropped_total");
    let handed_over = sum(&later, "payloads_handed_over_total");
    assert!(gone <= handed_over, "{gone} of {handed_over}");
    // Of one in six at most the broker is asked.
    let timed = sum(&later, "publish_seconds_count");
    assert!(timed > 0.0 && now("publish_seconds_count") <= sum(&later, "payloads_published_total"));
    let mean = sum(&later, "publish_seconds_sum") / timed;
    assert!(mean > 0.0 && mean < 10.0, "{mean} s");
    assert_eq!(now("reconnects_total") + now("blocks_total"), 0.0);
    let info = metrics
        .samples()
        .find(|one| one.name == "framecast_build_info");
    assert_eq!(info.unwrap().labels["model"], "ring,rabbitmq");
}

#[test]
fn the_dashboard_asks_only_for_what_there_is() {
    if !are_installed(&TOOLS) {
        return;
    }
    let Some(place) = Place::shared() else {
        return;
    };
    let stage = place.stage("--source pattern --model ring,rabbitmq");
    let mut told = BTreeSet::new();
    // The age of the newest frame is there once there is one.
    wait_until("frames", || {
        let metrics = Metrics::of(&stage);
        told = metrics.samples().map(|one| one.name.clone()).collect();
        told.contains("framecast_newest_frame_age_seconds")
    });
    let dashboard = Path::new(env!("CARGO_MANIFEST_DIR")).join(DASHBOARD);
    let output = run_well(script("metrics.py").arg("asked").arg(dashboard));
    let asked: BTreeSet<String> = serde_json::from_slice(&output).unwrap();
    assert!(asked.len() > 20, "{asked:?}");
    let missing: Vec<_> = asked.difference(&told).collect();
    assert!(missing.is_empty(), "nobody tells {missing:?}");
    // What is drawn nowhere should not be counted; the sums and counts of histograms come with them.
    let is_part = |name: &&String| name.ends_with("_sum") || name.ends_with("_count");
    let unseen: Vec<_> = told
        .difference(&asked)
        .filter(|name| !is_part(name))
        .collect();
    assert!(unseen.is_empty(), "nobody looks at {unseen:?}");
}
