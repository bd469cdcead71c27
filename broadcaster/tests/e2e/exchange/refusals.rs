//! What a broker refuses is said in one line that tells what to change.

use std::process::Stdio;

use super::*;
use crate::program::command;
use crate::stage::Running;
use std::io::{BufRead, BufReader};

/// The first warning about its exchange that a broadcaster with these arguments logs.
fn warning(line: &str) -> String {
    let mut program = command("--source pattern --http 127.0.0.1:0 --tcp 127.0.0.1:0");
    program.args(line.split_whitespace());
    let program = program.stderr(Stdio::piped()).stdout(Stdio::null());
    let mut program = Running(program.spawn().unwrap());
    let said = BufReader::new(program.0.stderr.take().unwrap());
    let mut lines = said.lines().map(Result::unwrap);
    lines.find(|line| line.contains("WARN")).unwrap()
}

/// Why a receiver of this source ends.
fn ending(source: &str) -> String {
    let mut ingress = opened(source);
    let begun = Instant::now();
    while ingress.recv(Duration::from_millis(100)) != Err(RecvError::Closed) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", ingress.last_error());
    }
    ingress.last_error().unwrap().to_string()
}

/// Both sides say so of this broker and this exchange.
fn both_say(url: &str, exchange: &str, part: &str) {
    let warned = warning(&format!(
        "--model ring,rabbitmq --amqp {url} --exchange {exchange}"
    ));
    assert!(warned.contains(part), "{warned}");
    let ended = ending(&format!("{url}?exchange={exchange}"));
    assert!(ended.contains(part), "{ended}");
    for line in [warned, ended] {
        assert!(!line.contains("secret"), "{line}");
    }
}

#[test]
fn refusals_say_what_to_change() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    let (_, host) = broker.url().split_once('@').unwrap();
    let (host, _) = host.split_once('/').unwrap();
    let wrong = format!("amqp://bob:secret@{host}/%2f");
    both_say(&wrong, "framecast.x", "wrong name or password");
    broker.ctl("add_user bob secret");
    both_say(
        &wrong,
        "framecast.x",
        "may not use the virtual host \"/\"; allow it: rabbitmqctl set_permissions -p / bob",
    );
    broker.ctl("set_permissions bob nothing nothing nothing");
    both_say(&wrong, "framecast.x", "set_permissions -p / bob");
    broker.ctl("set_permissions bob ^framecast[.] ^framecast[.] ^framecast[.]");
    let missing = format!("amqp://guest:guest@{host}/nowhere");
    both_say(
        &missing,
        "framecast.x",
        "no virtual host \"nowhere\"; create it",
    );
    // amq.direct is there already, and is no fanout exchange.
    both_say(
        broker.url(),
        "amq.direct",
        "is there already as something else",
    );
    both_say(
        broker.url(),
        "amq.fanout",
        "names that begin in amq. are the broker's own",
    );
    let private = wrong.replacen("amqp:", "amqps:", 1);
    both_say(
        &private,
        "framecast.x",
        "what answers does not speak TLS: amqp://",
    );
    // What the hint allows is enough.
    let place = Place::at(wrong, None);
    let _stage = place.stage("--source pattern --model rabbitmq");
    assert_eq!(gaps(&take(&mut place.reader(), 10)), 0);
}

#[test]
fn who_names_an_exchange_is_told_what_that_one_needs() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    let (_, host) = broker.url().split_once('@').unwrap();
    let url = format!("amqp://ann:secret@{host}");
    broker.ctl("add_user ann secret");
    broker.ctl("set_permissions ann nothing nothing nothing");
    let hint = "rabbitmqctl set_permissions -p / ann '^cams' '^cams' '^cams'";
    both_say(&url, "cams", hint);
    broker.ctl("set_permissions ann ^cams ^cams ^cams");
    let place = Place {
        name: "cams".to_owned(),
        ..Place::at(url, None)
    };
    let _stage = place.stage("--source pattern --model rabbitmq");
    assert_eq!(gaps(&take(&mut place.reader(), 10)), 0);
}

#[test]
fn a_second_publisher_is_told_and_takes_over_when_the_first_ends() {
    let Some(place) = Place::shared() else {
        return;
    };
    let first = place.stage("--source pattern --model rabbitmq");
    let line = format!(
        "--model ring,rabbitmq --amqp {} --exchange {}",
        place.url, place.name
    );
    let said = warning(&line);
    assert!(
        said.contains(&format!("publishes to {} already", place.name)),
        "{said}"
    );
    let mut reader = place.reader();
    let before = take(&mut reader, 5)[0].head.identity.epoch;
    let second = Stage::with(&format!("--source pattern {line}"));
    wait_until("refused", || exchange(&second)["state"] == "away");
    assert!(
        take(&mut reader, 10)
            .iter()
            .all(|frame| frame.head.identity.epoch == before)
    );
    drop(first);
    wait_until("publishing", || exchange(&second)["state"] == "publishing");
    let after = take(&mut reader, 20);
    assert!(after[19].head.identity.epoch > before);
}

/// A message that the broker refuses ends the connection each time.
#[test]
fn pictures_above_the_brokers_limit_are_told_of_once() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    broker.ctl("eval application:set_env(rabbit,max_message_size,10000).");
    let mut program = command("--source pattern?bytes=20000 --http 127.0.0.1:0 --model rabbitmq");
    let program = program.args(["--amqp", broker.url()]);
    let program = program.stderr(Stdio::piped()).stdout(Stdio::null());
    let mut program = Running(program.spawn().unwrap());
    let said = BufReader::new(program.0.stderr.take().unwrap());
    let mut lines = said.lines().map(Result::unwrap);
    let is_meant = |line: &String| line.contains("exchange");
    let told = lines.find(is_meant).unwrap();
    // It goes on to be refused, and nobody says so.
    thread::sleep(4 * SECOND);
    drop(program.0.kill());
    let more: Vec<_> = lines.filter(is_meant).collect();
    assert!(more.is_empty(), "{more:?}");
    let part = "larger than configured max size 10000; send smaller pictures (--size, --quality";
    assert!(told.contains(part), "{told}");
}

#[test]
fn private_connections_know_the_broker_and_are_known_by_it() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start_as("start --mtls");
    let url = broker
        .urls
        .iter()
        .find(|url| url.starts_with("amqps:"))
        .unwrap();
    let file = |name: &str| broker.folder().join("tls").join(name).display().to_string();
    let trusting = format!("{url}?cacertfile={}", file("ca.pem"));
    let (certificate, key) = (file("client.pem"), file("client-key.pem"));
    let known = format!("{trusting}&certfile={certificate}&keyfile={key}");
    let stranger = ending(&format!("{url}?exchange=framecast.x"));
    assert!(
        stranger.contains("name its authority with cacertfile="),
        "{stranger}"
    );
    let open = url.replacen("amqps:", "amqp:", 1);
    let unspoken = warning(&format!("--model rabbitmq --amqp {open}"));
    assert!(
        unspoken.contains("if it is a port for TLS: amqps://"),
        "{unspoken}"
    );
    let anonymous = warning(&format!("--model rabbitmq --amqp {trusting}"));
    assert!(anonymous.contains("certfile= and keyfile="), "{anonymous}");
    let stage = Stage::with(&format!(
        "--source pattern --model rabbitmq --amqp {known} --exchange framecast.x"
    ));
    wait_until("publishing", || exchange(&stage)["state"] == "publishing");
    let mut reader = reader_of(&format!("{known}&exchange=framecast.x"));
    assert_eq!(gaps(&take(&mut reader, 30)), 0);
}
