//! A real RabbitMQ for the tests, by `scripts/rabbitmq`: private, on ports of its own, gone at the end.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/rabbitmq");
/// What Debian's package brings.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Where `scripts/check` has started one for all tests that leave it as it is.
const SHARED: &str = "FRAMECAST_TEST_AMQP";

/// A broker in a folder of its own; it and the folder are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    folder: TempDir,
    /// Where each node is, the first one first; then, with TLS, the same for `amqps`.
    pub(crate) urls: Vec<String>,
}

impl Broker {
    /// One node without TLS.
    pub(crate) fn start() -> Self {
        Self::start_as("start")
    }

    /// As many nodes, or TLS, as these words for the script say.
    pub(crate) fn start_as(words: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut broker = Self {
            folder,
            urls: Vec::new(),
        };
        broker.urls = lines(&broker.does(words));
        broker
    }

    /// The URL of the first node.
    pub(crate) fn url(&self) -> &str {
        &self.urls[0]
    }

    /// Ends it as a crash would; what is stored stays, and so does the port.
    pub(crate) fn kill(&self) {
        self.does("kill");
    }

    /// Starts it again, at the same URL.
    pub(crate) fn restart(&self) {
        assert_eq!(lines(&self.does("start")), self.urls);
    }

    /// What rabbitmqctl says to these words.
    pub(crate) fn ctl(&self, words: &str) -> String {
        self.does(&format!("ctl -q {words}"))
    }

    /// Where its data is; `tls/ca.pem` and the others are in there.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its processes, or those of one node.
    pub(crate) fn pids(&self, node: &str) -> BTreeSet<u32> {
        let pids = lines(&self.does(&format!("pids {node}")));
        pids.iter().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Stops all its processes where they are, until what comes back is dropped.
    pub(crate) fn freeze(&self) -> Frozen {
        let frozen = Frozen(self.pids(""));
        frozen.signal("-STOP");
        frozen
    }

    /// What the script says when it does these words, which must succeed.
    pub(crate) fn does(&self, words: &str) -> String {
        let output = self.tries(words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn tries(&self, words: &str) -> Output {
        tries(self.folder.path(), words)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Whatever the test has come to, nothing is left running.
        let output = self.tries("down");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() || std::thread::panicking(),
            "{told}"
        );
    }
}

/// Processes that stand still.
pub(crate) struct Frozen(BTreeSet<u32>);

impl Frozen {
    fn signal(&self, signal: &str) {
        let pids = self.0.iter().map(u32::to_string);
        let status = Command::new("kill").arg(signal).args(pids).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

/// A broker that tests share, each with an exchange of its own; one of this process's own where there
/// is none. It ends with the process.
pub(crate) fn shared() -> (String, Option<Broker>) {
    match env::var(SHARED) {
        Ok(url) => (url, None),
        Err(_) => {
            let broker = Broker::start();
            (broker.url().to_owned(), Some(broker))
        }
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
fn say_skipped() {
    let skipped = "skipped: rabbitmq-server is not installed";
    assert!(env::var("STRICT").as_deref() != Ok("1"), "{skipped}");
    eprintln!("{skipped}");
}

/// Whether RabbitMQ is installed. If not the test is to be skipped, which `STRICT=1` forbids.
pub(crate) fn is_here() -> bool {
    let is_here = Path::new(SERVER).exists();
    if !is_here {
        say_skipped();
    }
    is_here
}

pub(crate) fn tries(folder: &Path, words: &str) -> Output {
    let mut script = Command::new(SCRIPT);
    script
        .env("FRAMECAST_RABBITMQ", folder)
        .args(words.split_whitespace())
        .stdin(Stdio::null());
    script.output().unwrap()
}

pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
