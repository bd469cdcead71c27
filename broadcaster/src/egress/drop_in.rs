//! The addresses and the status that clients of ustreamer and mjpg-streamer ask for.
//!
//! As ustreamer 4.9 and mjpg-streamer 1.0 answer them; the options of ustreamer's stream (`key`,
//! `extra_headers`, `advance_headers`, `dual_final_frames`) are read past: ours needs none of them
//! to be shown at once. `/state` bears what is known here and leaves out what is not.

use std::sync::atomic::Ordering;

use common::Monotonic;
use serde_json::{Value, json};

use super::accept::request::value_in;
use crate::channel::{Channel, Channels, Unknown};
use crate::fanout::exchange::{Exchange, Health};

/// What is asked for in the words of other servers, and of which channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropIn {
    /// The stream of the channel at a place.
    Stream(usize),
    /// A still of the channel at a place.
    Snapshot(usize),
}

/// What an address of another server means here: `/stream`, `/snapshot`, `/?action=stream`,
/// `/?action=snapshot`, all of the default channel. `/?action=stream_1` and the like name the
/// channels by their places, as mjpg-streamer names its inputs. `None` for other addresses.
///
/// # Errors
/// If there is no channel at that place.
pub fn asked(path: &str, query: &str, channels: &Channels) -> Result<Option<DropIn>, Unknown> {
    let action = match path {
        "/stream" => "stream",
        "/snapshot" => "snapshot",
        "/" => value_in(query, "action").unwrap_or_default(),
        _ => "",
    };
    let (action, place) = match action.split_once('_') {
        None => (action, 0),
        Some((action, number)) => match number.parse() {
            Ok(place) if place < channels.len() => (action, place),
            _ if matches!(action, "stream" | "snapshot") => return Err(channels.unknown(number)),
            _ => ("", 0),
        },
    };
    Ok(match action {
        "stream" => Some(DropIn::Stream(place)),
        "snapshot" => Some(DropIn::Snapshot(place)),
        _ => None,
    })
}

/// What ustreamer tells at `/state`, as JSON: as much of it as is known of a channel.
#[must_use]
pub fn state(channel: &Channel, now: Monotonic) -> String {
    let newest = channel.ring.newest();
    let size = newest.as_ref().and_then(|payload| payload.newest());
    let resolution = size.map_or_else(String::new, |frame| {
        let (width, height) = (frame.head.width, frame.head.height);
        format!(r#""resolution": {{"width": {width}, "height": {height}}}, "#)
    });
    let is_online = channel.is_ready(now);
    let desired_fps = (1.0 / channel.interval.as_secs_f64()).round();
    let captured_fps = channel.captured_fps(now).round();
    let clients = channel.counters.viewers.load(Ordering::Relaxed);
    let exchange = channel.exchange.as_deref();
    let exchange =
        exchange.map_or_else(String::new, |one| format!(r#", "exchange": {}"#, told(one)));
    let state = channel.counters.source_state().name();
    // What ustreamer does not have: a source that is closed while nobody watches.
    let on_demand =
        (channel.on_demand).map_or_else(String::new, |_| format!(r#", "on_demand": "{state}""#));
    format!(
        r#"{{"ok": true, "result": {{"source": {{{resolution}"online": {is_online}, "desired_fps": {desired_fps}, "captured_fps": {captured_fps}{on_demand}}}, "stream": {{"clients": {clients}}}{exchange}}}}}"#
    )
}

/// What ustreamer does not have: how the channel's exchange fares.
pub(super) fn told(exchange: &Exchange) -> Value {
    let (state, broker, reason) = match exchange.health() {
        Health::Connecting => ("connecting", None, None),
        Health::Publishing { broker } => ("publishing", Some(broker), None),
        Health::Blocked { broker, reason } => ("blocked", Some(broker), Some(reason)),
        Health::Away { reason } => ("away", None, Some(reason)),
    };
    let counters = &exchange.counters;
    let millis = |percent| {
        let latency = counters.latency.percentile(percent);
        latency.map(|latency| latency.as_secs_f64() * 1e3)
    };
    json!({
        "name": exchange.name,
        "state": state,
        "broker": broker,
        "reason": reason,
        "published": counters.published.load(Ordering::Relaxed),
        "dropped": counters.dropped.load(Ordering::Relaxed),
        "reconnects": counters.reconnects.load(Ordering::Relaxed),
        "blocks": counters.blocks.load(Ordering::Relaxed),
        "publish_ms": {"p50": millis(50), "p99": millis(99)},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::channel;
    use bytes::Bytes;
    use common::{Format, Frame, Head, Identity, Payload, Timestamp};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn addresses_of_other_servers_are_understood() {
        let named = |name| channel(name, Format::Jpeg).0;
        let channels = Channels::new(vec![named("main"), named("lab")]);
        let asked = |target: &str| {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            asked(path, query, &channels)
        };
        for target in [
            "/stream",
            "/stream?key=abc&advance_headers=1",
            "/?action=stream",
            "/?action=stream&1700000000000",
            "/?timestamp=1&action=stream",
            "/?action=stream_0",
        ] {
            assert_eq!(asked(target), Ok(Some(DropIn::Stream(0))), "{target}");
        }
        for target in ["/snapshot", "/?action=snapshot&bypassCache=1700000000000"] {
            assert_eq!(asked(target), Ok(Some(DropIn::Snapshot(0))), "{target}");
        }
        assert_eq!(asked("/?action=stream_1"), Ok(Some(DropIn::Stream(1))));
        assert_eq!(asked("/?action=snapshot_1"), Ok(Some(DropIn::Snapshot(1))));
        let error = asked("/?action=stream_2").unwrap_err().to_string();
        assert_eq!(error, "no channel \"2\" here; there are: main, lab");
        for target in [
            "/",
            "/?action=",
            "/?action=command_2",
            "/streams",
            "/x?action=stream",
        ] {
            assert_eq!(asked(target), Ok(None), "{target}");
        }
    }

    #[test]
    fn the_state_tells_what_is_known_and_nothing_else() {
        let (channel, mut publisher) = channel("main", Format::Jpeg);
        let at = |millis| Monotonic::default() + Duration::from_millis(millis);
        let before = r#"{"ok": true, "result": {"source": {"online": false, "desired_fps": 30, "captured_fps": 0}, "stream": {"clients": 0}}}"#;
        assert_eq!(state(&channel, at(0)), before);
        for index in 0..2 {
            let identity = Identity {
                epoch: 1,
                seq: index,
            };
            let mut head = Head::new(identity, Timestamp::default(), Format::Jpeg);
            (head.width, head.height) = (640, 480);
            publisher.publish(Arc::new(Payload {
                index,
                published_at: at(40 * index),
                frames: vec![Frame::new(head, Bytes::new())],
            }));
        }
        channel.counters.viewers.store(3, Ordering::Relaxed);
        let after = r#"{"ok": true, "result": {"source": {"resolution": {"width": 640, "height": 480}, "online": true, "desired_fps": 30, "captured_fps": 25}, "stream": {"clients": 3}}}"#;
        assert_eq!(state(&channel, at(50)), after);
    }
}
