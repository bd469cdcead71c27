//! Pages of other servers show the stream in a browser, as 3D printers' dashboards do: their page
//! has one address, the camera another one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::clients::{are_installed, printed, run_well, script, still_says};
use crate::stage::Stage;

const PAGE: &str = include_str!("dashboard.html");

/// The address of a server that answers everything with the page, until the test's process ends.
fn page_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A browser's request head; it comes in one piece. What it gives up is its own matter.
            let _ = stream.read(&mut [0; 8 << 10]);
            let length = PAGE.len();
            let head = format!("Content-Type: text/html\r\nContent-Length: {length}\r\n");
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\n{head}Connection: close\r\n\r\n{PAGE}"
            );
        }
    });
    addr
}

/// A page of another origin shows this address of a broadcaster with these flags in this way, live.
fn is_shown(way: &str, target: &str, flags: &str) {
    if !are_installed(&["chromium", "chromedriver", "cv2"]) {
        return;
    }
    let stage = Stage::with(&format!("--source pattern {flags}"));
    stage.native().seqs();
    let before = still_says(&stage, "X-Sequence");
    // An address within an address.
    let camera = stage.url(target).replace('?', "%3F").replace('&', "%26");
    let page = format!("http://{}/?way={way}&camera={camera}", page_server());
    let shown = printed(&run_well(script("dashboard.py").arg(page)));
    let after = still_says(&stage, "X-Sequence");
    assert_eq!(shown.len(), 2, "{shown:?}");
    let seqs = [before, shown[0], shown[1], after];
    assert!(seqs.is_sorted() && shown[0] < shown[1], "{seqs:?}");
}

#[test]
fn a_browser_reads_the_stream_itself() {
    is_shown("img", "/?action=stream", "");
}

#[test]
fn a_page_asks_for_one_still_after_the_other() {
    is_shown("stills", "/?action=snapshot", "");
}

#[test]
fn a_script_takes_the_stream_apart() {
    is_shown("stream", "/?action=stream", "--allow-origin *");
}
