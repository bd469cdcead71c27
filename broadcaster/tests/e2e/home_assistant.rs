//! Home Assistant shows the stream as a camera: its stills and its stream, which it hands on.

use std::fs;
use std::process::Command;

use crate::clients::{FRAMES, assert_consecutive, live};
use crate::housed::{assert_differ, program, settings, start, taken};
use crate::stage::Kept;

#[test]
fn home_assistant_shows_stills_and_hands_on_the_stream() {
    let Some(program) = program("FRAMECAST_TEST_HASS", "hass") else {
        return;
    };
    let stage = live();
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::new();
    let addr = kept.addr;
    let port = addr.port();
    let config = format!("http:\n  server_host: 127.0.0.1\n  server_port: {port}\n");
    fs::write(folder.path().join("configuration.yaml"), config).unwrap();
    let mut hass = Command::new(program);
    hass.arg("--config").arg(folder.path());
    // What it needs is here, and it is not to ask for more.
    hass.arg("--skip-pip");
    let _hass = start(&mut hass, addr, "/api/onboarding");

    let [stream, still] = &settings("Home Assistant", &stage)[..] else {
        panic!("README shows other addresses than those of the stream and of stills");
    };
    let both = format!("{stream} {still}");
    // Stills are taken out of the stream. A generous limit of age, so that a slow test machine
    // misses no frame.
    let alone = format!("{stream}?max_age=10s");
    let words = [format!("http://{addr}"), both, alone];
    let seqs = taken(&stage, "home_assistant.py", &words);
    assert_eq!(seqs.len(), 2 * (1 + FRAMES));
    let (both, alone) = seqs.split_at(1 + FRAMES);
    assert_differ(&both[1..]);
    assert_consecutive(&alone[1..]);
}
