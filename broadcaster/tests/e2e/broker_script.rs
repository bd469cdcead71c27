//! `scripts/rabbitmq`: brokers start, crash, stop and leave nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::broker::{Broker, is_here, lines, tries};
use super::stage::PATIENCE;

/// The exit code of a script that was called wrongly.
const MISUSE: i32 = 2;

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
