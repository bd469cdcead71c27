//! The broker is killed, blocked, or full of garbage: the camera and the ring's viewers do not
//! notice, and the others come back.

use common::Head;

use super::attended::threads;
use super::*;

/// Frames of the ring's viewer until `until`, which must be all there are, at the camera's rate.
fn ring_loses_nothing(stage: &Stage, until: impl FnOnce() + Send) {
    let mut viewer = reader_of(&format!("tcp://{}", stage.tcp));
    let is_over = Shutdown::default();
    let begun = Instant::now();
    let (frames, longest) = thread::scope(|scope| {
        let following = scope.spawn(|| {
            let mut frames = Vec::new();
            let mut longest = Duration::ZERO;
            while !is_over.is_triggered() {
                let begun = Instant::now();
                frames.extend(take(&mut viewer, 1));
                longest = longest.max(begun.elapsed());
            }
            (frames, longest)
        });
        let over = Over(&is_over);
        until();
        drop(over);
        following.join().unwrap()
    });
    assert_eq!(gaps(&frames), 0);
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    let expected = begun.elapsed().as_secs_f64() / FRAME_TIME.as_secs_f64();
    let share = frames.len() as f64 / expected;
    assert!((0.9..1.1).contains(&share), "{share}");
}

/// Ends the wait for it also if the test has failed.
struct Over<'a>(&'a Shutdown);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

#[test]
fn a_broker_that_is_killed_and_comes_back_is_found_again() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    let place = Place::at(broker.url().to_owned(), None);
    let stage = place.stage("--source pattern --model ring,rabbitmq");
    let edge = place.edge("");
    let mut reader = place.reader();
    let before = take(&mut reader, 10).pop().unwrap().head.identity;
    // One that does not connect again.
    let mut at_edge = edge.native();
    let mut wait_at_edge = |is_meant: fn(&Head) -> bool| {
        let begun = Instant::now();
        while !at_edge.heads().iter().all(is_meant) {
            assert!(begun.elapsed() < PATIENCE);
        }
    };
    wait_at_edge(|head| !head.is_placeholder());
    ring_loses_nothing(&stage, || {
        broker.kill();
        while reader.recv(Duration::from_millis(300)).is_ok() {}
        wait_until("away", || exchange(&stage)["state"] == "away");
        // The edge's viewers stay and are told.
        wait_at_edge(Head::is_placeholder);
        broker.restart();
        let back = Instant::now();
        let after = take(&mut reader, 1).pop().unwrap().head.identity;
        assert!(
            back.elapsed() < Duration::from_secs(2),
            "{:?}",
            back.elapsed()
        );
        assert_eq!(after.epoch, before.epoch);
        assert!(after.seq > before.seq + 10);
        wait_at_edge(|head| !head.is_placeholder());
    });
    wait_until("publishing", || count(&stage, "reconnects") == 1);
    assert!(count(&stage, "dropped") > 10);
}

#[test]
fn a_broker_short_of_memory_blocks_nobody_but_its_own_readers() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    let place = Place::at(broker.url().to_owned(), None);
    let stage = place.stage("--source pattern --model ring,rabbitmq");
    let mut reader = place.reader();
    take(&mut reader, 10);
    ring_loses_nothing(&stage, || {
        broker.ctl("set_vm_memory_high_watermark 0.0001");
        wait_until("blocked", || exchange(&stage)["state"] == "blocked");
        let state = exchange(&stage);
        assert!(
            state["reason"].as_str().unwrap().contains("memory"),
            "{state}"
        );
        while reader.recv(Duration::from_millis(300)).is_ok() {}
        let dropped = count(&stage, "dropped");
        // Longer than a broker may keep an answer that it owes.
        assert!(is_quiet(&mut reader, Duration::from_secs(7)));
        wait_until("dropped", || count(&stage, "dropped") > dropped + 20);
        broker.ctl("set_vm_memory_high_watermark 0.4");
        wait_until("publishing", || exchange(&stage)["state"] == "publishing");
        // What had left before the broker said that it takes no more comes late; then it is live.
        take(&mut reader, 3);
        let frames = take(&mut reader, 30);
        assert_eq!(gaps(&frames), 0, "{:?}", seqs(&frames));
    });
    assert_eq!(count(&stage, "blocks"), 1);
    assert_eq!(count(&stage, "reconnects"), 0);
}

/// One that hangs is left, with all that was opened for it, however often it is tried.
#[test]
fn a_broker_that_hangs_is_given_up_and_leaves_nothing_behind() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    let place = Place::at(broker.url().to_owned(), None);
    let stage = place.stage("--source pattern --model ring,rabbitmq");
    let mut reader = place.reader();
    take(&mut reader, 10);
    ring_loses_nothing(&stage, || {
        let frozen = broker.freeze();
        let mut most = 0;
        // Both sides give it up, and then try again some times.
        let begun = Instant::now();
        while begun.elapsed() < 20 * SECOND {
            let _ = reader.recv(FRAME_TIME);
            most = most.max(threads("lapin-io-loop").0);
        }
        assert_eq!(exchange(&stage)["state"], "away");
        // One of each, and one of each that is being given up.
        assert!(most <= 4, "{most}");
        drop(frozen);
        wait_until("publishing", || exchange(&stage)["state"] == "publishing");
        take(&mut reader, 30);
    });
    wait_until("gone", || threads("lapin-io-loop").0 == 2);
}

/// Who deletes an exchange takes away what binds the readers' queues to it; nobody tells them.
#[test]
fn an_exchange_that_is_deleted_comes_back_with_its_readers() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    let place = Place::at(broker.url().to_owned(), None);
    let stage = place.stage("--source pattern --model ring,rabbitmq");
    let edge = place.edge("");
    let mut reader = place.reader();
    let epoch = take(&mut reader, 10)[0].head.identity.epoch;
    let mut at_edge = reader_of(&format!("tcp://{}", edge.tcp));
    take(&mut at_edge, 10);
    ring_loses_nothing(&stage, || {
        let name = &place.name;
        broker.ctl(&format!(
            "eval rabbit_exchange:delete(rabbit_misc:r(<<\"/\">>,exchange,<<\"{name}\">>),false,<<\"x\">>)."
        ));
        while reader.recv(SECOND).is_ok() {}
        let begun = Instant::now();
        let after = take(&mut reader, 30);
        assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
        assert_eq!((gaps(&after), after[0].head.identity.epoch), (0, epoch));
        take(&mut at_edge, 30);
    });
}

/// A program that ends while its broker listens to nobody does not wait for it.
#[test]
fn a_blocked_broker_does_not_delay_the_end() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    let place = Place::at(broker.url().to_owned(), None);
    let stage = place.stage("--source pattern --model rabbitmq");
    broker.ctl("set_vm_memory_high_watermark 0.0001");
    wait_until("blocked", || exchange(&stage)["state"] == "blocked");
    let took = stage.end();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_broker_that_never_was_there_is_found_when_it_comes() {
    if !broker::is_here() {
        return;
    }
    let broker = Broker::start();
    broker.does("stop");
    let place = Place::at(broker.url().to_owned(), None);
    let line = format!(
        "--model ring,rabbitmq --amqp {} --exchange {}",
        place.url, place.name
    );
    let stage = Stage::with(&format!("--source pattern {line}"));
    wait_until("away", || exchange(&stage)["state"] == "away");
    wait_until("ready", || stage.get("/readyz").starts_with("HTTP/1.1 200"));
    let mut reader = opened(&place.source());
    assert!(is_quiet(&mut reader, FRAME_TIME));
    broker.restart();
    assert_eq!(gaps(&take(&mut reader, 30)), 0);
}

#[test]
fn the_next_broker_of_the_list_is_taken() {
    if !broker::is_here() {
        return;
    }
    let brokers = [Broker::start(), Broker::start()];
    let list = brokers.each_ref().map(|one| one.url().to_owned()).join(",");
    let place = Place::at(list, None);
    let stage = place.stage("--source pattern --model rabbitmq");
    let mut reader = opened(&place.source());
    take(&mut reader, 10);
    brokers[0].kill();
    let killed = Instant::now();
    while exchange(&stage)["broker"]
        .as_str()
        .is_none_or(|broker| !brokers[1].url().contains(&broker[10..20]))
    {
        assert!(
            killed.elapsed() < Duration::from_secs(5),
            "{}",
            exchange(&stage)
        );
        thread::sleep(FRAME_TIME);
    }
    take(&mut reader, 10);
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "{:?}",
        killed.elapsed()
    );
}

/// Three nodes of one cluster; the one that both sides use is killed.
#[test]
#[ignore = "starts three brokers: run by hand, with --run-ignored only"]
fn the_next_node_of_a_cluster_is_taken() {
    let cluster = Broker::start_as("cluster 3");
    let place = Place::at(cluster.urls.join(","), None);
    let stage = place.stage("--source pattern --model ring,rabbitmq");
    let mut reader = opened(&place.source());
    take(&mut reader, 10);
    ring_loses_nothing(&stage, || {
        cluster.does("kill 1");
        let killed = Instant::now();
        let last = take(&mut reader, 1)[0].head.identity.seq;
        let later = last + 90;
        while take(&mut reader, 1)[0].head.identity.seq < later {}
        assert!(
            killed.elapsed() < Duration::from_secs(3 + 5),
            "{:?}",
            killed.elapsed()
        );
    });
    wait_until("publishing", || count(&stage, "reconnects") == 1);
}
