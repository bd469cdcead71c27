//! MJPEG over HTTP, as all kinds of servers send it.

use common::{Identity, RecvError, Subscribe};
use receiver::ingress::Error;

use crate::server::{JPEG, PATIENCE, content_type, open, part, serve, serve_one};

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/live/main.mjpeg")
}

fn identities(url: &str, count: usize) -> Vec<(u64, u64)> {
    let mut ingress = open(url);
    let identity = |_| {
        let payload = ingress.recv(PATIENCE).unwrap();
        let Identity { epoch, seq } = payload.frames[0].head.identity;
        (epoch, seq)
    };
    (0..count).map(identity).collect()
}

#[test]
fn our_own_parts_keep_their_identity_size_and_time() {
    let port = serve_one(|peer| {
        peer.begin_stream();
        peer.send(&part(5, 42));
        peer.hold();
    });
    let mut ingress = open(&url(port));
    let payload = ingress.recv(PATIENCE).unwrap();
    let head = payload.frames[0].head;
    assert_eq!(head.identity, Identity { epoch: 5, seq: 42 });
    assert_eq!((head.width, head.height), (3, 2));
    assert_eq!(payload.frames[0].data(), JPEG);
    assert_eq!(
        head.captured_at.as_seconds().to_string(),
        "1700000000.000000"
    );
    assert!(ingress.clock_offset().is_none());
}

#[test]
fn foreign_parts_without_anything_are_numbered_over_reconnects() {
    let bare = |count: usize| {
        move |peer: &mut crate::server::Peer| {
            peer.answer(
                "200 OK",
                "Content-Type: multipart/x-mixed-replace;boundary=foo\r\n",
            );
            for _ in 0..count {
                peer.send(b"--foo\r\nContent-Type: image/jpeg\r\n\r\n");
                peer.send(JPEG);
                peer.send(b"\r\n");
            }
            peer.send(b"--foo\r\n");
        }
    };
    let port = serve(vec![Box::new(bare(2)), Box::new(bare(1))]);
    let identities = identities(&url(port), 3);
    let epoch = identities[0].0;
    assert!(epoch > 1_600_000_000_000_000_000);
    assert_eq!(identities, [(epoch, 0), (epoch, 1), (epoch, 2)]);
}

#[test]
fn chunks_are_undone() {
    let port = serve_one(|peer| {
        peer.answer("200 OK", &content_type("Transfer-Encoding: chunked\r\n"));
        let body = [&b"--framecast\r\n"[..], &part(5, 1), &part(5, 2)].concat();
        for piece in body.chunks(11) {
            peer.send(format!("{:x}\r\n", piece.len()).as_bytes());
            peer.send(piece);
            peer.send(b"\r\n");
        }
        peer.hold();
    });
    assert_eq!(identities(&url(port), 2), [(5, 1), (5, 2)]);
}

#[test]
fn redirects_are_followed() {
    let port = serve(vec![
        Box::new(|peer| {
            let request = peer.answer("302 Found", "Location: /elsewhere?x=1\r\n");
            assert!(
                request.starts_with("GET /live/main.mjpeg HTTP/1.1\r\n"),
                "{request}"
            );
            assert!(
                request.contains("\r\nAuthorization: Basic bWU6c2VjcmV0\r\n"),
                "{request}"
            );
        }),
        Box::new(|peer| {
            let request = peer.answer("200 OK", &content_type(""));
            assert!(
                request.starts_with("GET /elsewhere?x=1 HTTP/1.1\r\n"),
                "{request}"
            );
            peer.send(b"--framecast\r\n");
            peer.send(&part(5, 1));
            peer.hold();
        }),
    ]);
    let url = url(port).replace("http://", "http://me:secret@");
    assert_eq!(identities(&url, 1), [(5, 1)]);
}

#[test]
fn damaged_parts_are_left_out_and_counted() {
    let port = serve_one(|peer| {
        peer.begin_stream();
        peer.send(b"Content-Length: 6\r\n\r\nGIF89a\r\n--framecast\r\n");
        peer.send(b"Content-Length: 4\r\n\r\n\xff\xd8\xff\xe0\r\n--framecast\r\n");
        peer.send(&part(5, 1));
        peer.hold();
    });
    let mut ingress = open(&url(port));
    assert_eq!(
        ingress.recv(PATIENCE).unwrap().frames[0].head.identity.seq,
        1
    );
    assert_eq!(ingress.damaged(), 2);
}

#[test]
fn garbage_in_a_stream_is_damage_and_the_stream_is_opened_again() {
    let port = serve(vec![
        Box::new(|peer| {
            peer.begin_stream();
            peer.send(b"Content-Length: many\r\n\r\n");
            peer.hold();
        }),
        Box::new(|peer| {
            peer.begin_stream();
            peer.send(&part(5, 1));
            peer.hold();
        }),
    ]);
    let mut ingress = open(&url(port));
    assert_eq!(
        ingress.recv(PATIENCE).unwrap().frames[0].head.identity.seq,
        1
    );
    assert_eq!(ingress.damaged(), 1);
}

#[test]
fn what_is_no_stream_is_final_at_first() {
    let refusal = |status: &'static str, fields: &'static str| {
        let port = serve_one(move |peer| drop(peer.answer(status, fields)));
        let mut ingress = open(&url(port));
        assert_eq!(ingress.recv(PATIENCE), Err(RecvError::Closed));
        ingress.last_error().unwrap().to_string()
    };
    let not_found = refusal("404 Not Found", "Content-Length: 0\r\n");
    assert_eq!(not_found, "the server answers 404 (not found)");
    assert!(refusal("200 OK", "Content-Type: image/jpeg\r\n").starts_with("a still (image/jpeg)"));
    assert!(refusal("200 OK", "Content-Type: text/html\r\n").starts_with("not an MJPEG stream"));
    let away = refusal("301 Moved", "Location: https://elsewhere/\r\n");
    assert!(
        away.starts_with("redirected to \"https://elsewhere/\""),
        "{away}"
    );
}

#[test]
fn a_busy_server_is_asked_again() {
    let port = serve(vec![
        Box::new(|peer| drop(peer.answer("503 Service Unavailable", "Retry-After: 1\r\n"))),
        Box::new(|peer| {
            peer.begin_stream();
            peer.send(&part(5, 1));
            peer.hold();
        }),
    ]);
    let mut ingress = open(&url(port));
    assert_eq!(
        ingress.recv(PATIENCE).unwrap().frames[0].head.identity.seq,
        1
    );
    assert!(matches!(
        ingress.last_error(),
        Some(Error::Status { code: 503, .. })
    ));
}
