//! OctoPrint shows the stream and takes pictures: what the buttons in its settings test, and the
//! timelapse of a print on the printer that it simulates.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::clients::{are_installed, live};
use crate::housed::{assert_differ, program, settings, start, taken};
use crate::stage::Kept;

const KEY: &str = "0123456789ABCDEF0123456789ABCDEF";
/// The picture that the test of its address shows, and those of the timelapse.
const PICTURES: usize = 1 + 3;
/// How often it is looked at the picture that the test of the stream's address shows.
const LOOKS: usize = 2;

/// What its wizard would ask at first, and nothing that asks others: no checks whether there is a
/// network or a newer version, no discovery, no news. Nor does it look through what it is to print, or
/// put up messages over the picture.
const CONFIG: &str = "
server:
  firstRun: false
  onlineCheck: {enabled: false}
  pluginBlacklist: {enabled: false}
  pythonEolCheck: {enabled: false}
accessControl:
  autologinLocal: true
  autologinAs: somebody
  autologinHeadsupAcknowledged: true
gcodeAnalysis: {runAt: never}
devel:
  showLoadingAnimation: false
  webassets: {minify: false}
plugins:
  _disabled: [achievements, announcements, discovery, errortracking, file_check, firmware_check,
    health_check, pi_support, pluginmanager, softwareupdate, tracking]
  virtual_printer: {enabled: true}
";

/// Whom it logs in from this machine.
fn users() -> String {
    format!("somebody: {{active: true, apikey: {KEY}, groups: [admins, users], password: none}}\n")
}

/// What starts it in this folder.
fn octoprint(program: &Path, folder: &Path, port: u16) -> Command {
    fs::write(folder.join("config.yaml"), CONFIG).unwrap();
    fs::write(folder.join("users.yaml"), users()).unwrap();
    let mut octoprint = Command::new(program);
    octoprint.arg("--basedir").arg(folder).arg("serve");
    octoprint.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    // That it may run as root.
    octoprint.arg("--iknowwhatimdoing");
    octoprint
}

#[test]
fn octoprint_shows_the_stream_and_takes_pictures() {
    let Some(program) = program("FRAMECAST_TEST_OCTOPRINT", "octoprint") else {
        return;
    };
    let stage = live();
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::new();
    let addr = kept.addr;
    let mut octoprint = octoprint(program.as_ref(), folder.path(), addr.port());
    let _octoprint = start(&mut octoprint, addr, &format!("/api/version?apikey={KEY}"));

    let url = format!("http://{addr}");
    let mut words = vec![url.clone(), KEY.into(), folder.path().display().to_string()];
    words.extend(settings("OctoPrint", &stage));
    let seqs = taken(&stage, "octoprint.py", &words);
    assert_eq!(seqs.len(), PICTURES);
    assert_differ(&seqs[1..]);

    if are_installed(&["chromium", "chromedriver"]) {
        let seqs = taken(&stage, "octoprint_page.py", &[url]);
        assert_eq!(seqs.len(), LOOKS);
        assert_differ(&seqs);
    }
}
