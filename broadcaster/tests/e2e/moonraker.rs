//! Moonraker tells the pages of 3D printers where the cameras are: it reaches the snapshot, and the
//! addresses it tells lead to the pictures, whether they were set in its configuration or over its API.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::clients::{FRAMES, assert_consecutive, live};
use crate::housed::{assert_differ, program, settings, start, taken, typed};
use crate::relay::free_address;

/// No printer, nobody else's services to look after, and nothing that asks others: no announcements.
fn config(folder: &Path, port: u16, webcam: &str) -> String {
    let klippy = folder.join("klippy");
    format!(
        "[server]
host: 127.0.0.1
port: {port}
klippy_uds_address: {}
[authorization]
trusted_clients: 127.0.0.1
[machine]
provider: none
[announcements]
enable_moonlight: False
{webcam}
",
        klippy.display()
    )
}

/// What starts it in this folder, with this section on the camera.
fn moonraker(program: &Path, folder: &Path, port: u16, webcam: &str) -> Command {
    let file = folder.join("moonraker.conf");
    fs::write(&file, config(folder, port, webcam)).unwrap();
    // It would fetch the names of USB devices.
    fs::create_dir(folder.join("misc")).unwrap();
    fs::write(folder.join("misc/usb.ids"), "").unwrap();
    let mut moonraker = Command::new(program);
    moonraker.arg("--datapath").arg(folder);
    moonraker.arg("--configfile").arg(file).arg("--nologfile");
    moonraker
}

#[test]
fn moonraker_reaches_the_snapshot_and_tells_the_addresses() {
    let Some(program) = program("FRAMECAST_TEST_MOONRAKER", "moonraker") else {
        return;
    };
    let stage = live();
    let folder = tempfile::tempdir().unwrap();
    let addr = free_address();
    let webcam = typed("Moonraker", &stage).join("\n");
    let mut moonraker = moonraker(program.as_ref(), folder.path(), addr.port(), &webcam);
    let _moonraker = start(&mut moonraker, addr, "/server/info");

    // Its users type the same two addresses.
    let [stream, still] = &settings("OctoPrint", &stage)[..] else {
        panic!("README shows other addresses than those of the stream and of stills");
    };
    // A generous limit of age, so that a slow test machine misses no frame.
    let patient = format!("{stream}&max_age=10s");
    let words = [format!("http://{addr}"), patient, still.clone()];
    let seqs = taken(&stage, "moonraker.py", &words);
    assert_eq!(seqs.len(), 2 * (1 + FRAMES));
    let (configured, added) = seqs.split_at(1 + FRAMES);
    assert_differ(&configured[1..]);
    assert_consecutive(&added[1..]);
}
