//! A real RabbitMQ for the tests, by `scripts/rabbitmq`: private, on ports of its own, gone at the end.
//!
//! The tests in here are those of the script itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::clients::skip_without;
use super::stage::PATIENCE;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/rabbitmq");
/// What Debian's package brings.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// The exit code of a script that was called wrongly.
const MISUSE: i32 = 2;

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
    fn pids(&self, node: &str) -> BTreeSet<u32> {
        let pids = lines(&self.does(&format!("pids {node}")));
        pids.iter().map(|pid| pid.parse().unwrap()).collect()
    }

    /// What the script says when it does these words, which must succeed.
    fn does(&self, words: &str) -> String {
        let output = self.tries(words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn tries(&self, words: &str) -> Output {
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

/// Whether RabbitMQ is installed. If not the test is to be skipped, which `STRICT=1` forbids.
pub(crate) fn is_here() -> bool {
    let is_here = Path::new(SERVER).exists();
    if !is_here {
        skip_without("rabbitmq-server");
    }
    is_here
}

fn tries(folder: &Path, words: &str) -> Output {
    let mut script = Command::new(SCRIPT);
    script
        .env("FRAMECAST_RABBITMQ", folder)
        .args(words.split_whitespace())
        .stdin(Stdio::null());
    script.output().unwrap()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// The name of a process, unless it has ended.
fn name_of(pid: u32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ended = status.lines().any(|line| line.starts_with("State:\tZ"));
    let name = status.lines().next()?.strip_prefix("Name:\t")?;
    (!ended).then(|| name.to_owned())
}

fn names(pids: &BTreeSet<u32>) -> Vec<String> {
    pids.iter().filter_map(|pid| name_of(*pid)).collect()
}

/// Whether a broker at this URL answers a greeting with its own, a frame of type 1 on channel 0.
fn answers(url: &str) -> bool {
    let (_, place) = url.split_once('@').unwrap();
    let Ok(mut stream) = TcpStream::connect(place.trim_end_matches("/%2f")) else {
        return false;
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
    let mut head = [0; 3];
    stream.read_exact(&mut head).unwrap();
    head == [1, 0, 0]
}

#[test]
fn its_life_from_start_to_down() {
    if !is_here() {
        return;
    }
    let broker = Broker::start();
    assert_eq!(broker.urls.len(), 1);
    assert!(
        broker.url().starts_with("amqp://guest:guest@127.0.0.1:"),
        "{broker:?}"
    );
    assert!(answers(broker.url()));
    assert_eq!(lines(&broker.does("status")), broker.urls);

    let first = broker.pids("");
    let names_first = names(&first);
    for needed in ["beam.smp", "epmd", "erl_child_setup"] {
        assert!(
            names_first.iter().any(|name| name == needed),
            "{names_first:?}"
        );
    }
    assert!(!names(&broker.pids("1")).contains(&"epmd".to_owned()));
    // It runs already: nothing new is started.
    broker.restart();
    let beam = |pids: &BTreeSet<u32>| {
        let is_beam = |pid: &&u32| name_of(**pid).as_deref() == Some("beam.smp");
        pids.iter().find(is_beam).copied()
    };
    assert_eq!(beam(&broker.pids("")), beam(&first));
    broker.ctl("add_vhost kept");

    broker.kill();
    assert!(!answers(broker.url()));
    let status = broker.tries("status");
    assert_eq!((status.status.code(), status.stdout.len()), (Some(1), 0));
    assert_eq!(names(&first), ["epmd"], "what a crash leaves");
    assert_eq!(broker.tries("kill").status.code(), Some(1), "kill what?");

    broker.restart();
    assert!(answers(broker.url()));
    assert!(broker.ctl("list_vhosts").contains("kept"));
    let second = broker.pids("");

    broker.does("stop");
    assert!(!answers(broker.url()));
    assert!(names(&second).is_empty(), "{:?}", names(&second));
    assert!(broker.pids("").is_empty());
    broker.does("stop");

    let folder = PathBuf::from(broker.folder());
    broker.does("down");
    assert!(!folder.exists());
    broker.does("down");
}

#[test]
fn brokers_do_not_know_each_other() {
    if !is_here() {
        return;
    }
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(Broker::start);
        let other = scope.spawn(Broker::start);
        (one.join().unwrap(), other.join().unwrap())
    });
    assert_ne!(one.url(), other.url());
    assert!(one.pids("").is_disjoint(&other.pids("")));
    one.ctl("add_vhost mine");
    assert!(!other.ctl("list_vhosts").contains("mine"));

    let pids = one.pids("");
    one.kill();
    assert!(answers(other.url()));
    one.restart();
    drop(other);
    assert!(answers(one.url()));
    drop(one);
    assert!(names(&pids).is_empty(), "{:?}", names(&pids));
}

#[test]
fn with_tls_clients_need_the_certificate_of_its_authority() {
    if !is_here() {
        return;
    }
    let broker = Broker::start_as("start --mtls");
    let url = broker.urls.last().unwrap();
    let place = url.strip_prefix("amqps://guest:guest@").unwrap();
    let place = place.strip_suffix("/%2f").unwrap();
    let says = |with_certificate: bool| {
        let mut client = Command::new("openssl");
        client
            .current_dir(broker.folder().join("tls"))
            .args(
                "s_client -quiet -verify_return_error -verify_ip 127.0.0.1 -CAfile ca.pem"
                    .split(' '),
            )
            .args(["-connect", place])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if with_certificate {
            client.args("-cert client.pem -key client-key.pem".split(' '));
        }
        let mut child = client.spawn().unwrap();
        // A protocol of no broker: it answers with the one it speaks, and closes.
        let _ = child.stdin.take().unwrap().write_all(b"AMQP\0\x09\x09\x09");
        let output = child.wait_with_output().unwrap();
        (
            output.stdout,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (answer, log) = says(true);
    assert_eq!(answer, b"AMQP\0\0\x09\x01", "{log}");
    let (answer, log) = says(false);
    assert!(answer.is_empty() && log.contains("alert"), "{log}");
    let mismatch = broker.tries("start --tls");
    assert_eq!(mismatch.status.code(), Some(1), "it runs with --mtls");
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let complaint = |words: &str| {
        let output = tries(folder.path(), words);
        assert_eq!(output.stdout, b"");
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    for (words, told) in [
        ("begin", "no command begin; there are start, cluster"),
        ("start --tsl", "no option --tsl; there are"),
        ("stop --tls", "belong to start"),
        ("cluster 1", "2 to 5"),
        ("start 1 2", "too many words"),
        ("--data", "--data takes a folder"),
        ("--data /tmp/a$b status", "RabbitMQ cannot live in"),
    ] {
        let (code, text) = complaint(words);
        assert_eq!(code, Some(MISUSE), "{words}: {text}");
        assert!(text.contains(told), "{words}: {text}");
    }
    assert_eq!(complaint("status").0, Some(1));
    assert_eq!(complaint("ctl status").0, Some(1));

    fs::write(folder.path().join("mine"), "").unwrap();
    let (code, text) = complaint("start");
    assert_eq!(code, Some(MISUSE));
    assert!(
        text.contains("neither empty nor the folder of a broker"),
        "{text}"
    );
    assert_eq!(complaint("down").0, Some(0));
    assert!(folder.path().join("mine").exists());
}

#[test]
#[ignore = "three nodes take half a minute of a small machine"]
fn a_node_of_a_cluster_comes_back() {
    if !is_here() {
        return;
    }
    let cluster = Broker::start_as("cluster 3");
    assert_eq!(cluster.urls.len(), 3);
    let running = |node| {
        let listed = cluster.does(&format!("ctl {node} -q cluster_status --formatter json"));
        listed
            .split("\"running_nodes\":[")
            .nth(1)
            .unwrap()
            .split(']')
            .next()
            .unwrap()
            .matches('@')
            .count()
    };
    assert_eq!((running(1), running(2), running(3)), (3, 3, 3));
    cluster.does("kill 2");
    assert_eq!(running(1), 2);
    let status = cluster.tries("status");
    assert_eq!(status.status.code(), Some(1));
    let left = String::from_utf8(status.stdout).unwrap();
    assert_eq!(lines(&left), [&cluster.urls[0][..], &cluster.urls[2][..]]);
    cluster.restart();
    assert_eq!(running(2), 3);
    cluster.does("stop");
    cluster.restart();
    assert_eq!(running(3), 3);
}
