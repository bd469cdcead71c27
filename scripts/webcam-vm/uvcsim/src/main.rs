//! `uvcsim FIFO [both|mjpeg|yuyv]`: a USB webcam in user space.
//!
//! It speaks the device's half of USB/IP on one end of a socket pair and gives the other end to the
//! kernel's `vhci-hcd`. The kernel then finds a USB Video Class camera, and its own `uvcvideo`
//! drives it: what programs see is a webcam like any other. Frames leave through one bulk
//! endpoint; there is none of the isochronous kind.
//!
//! The camera is plugged in at once. What is to happen to it is read from FIFO, a line each; the
//! words are in [`commands`]. What happens is said on stdout, with the time of CLOCK_MONOTONIC.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use camera::Camera;
use formats::Offer;

mod camera;
mod commands;
mod control;
mod descriptors;
mod faults;
mod formats;
mod frames;
mod journal;
mod stream;
mod usbip;
mod vhci;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (fifo, offer) = match words[..] {
        [fifo] | [fifo, "both"] => (fifo, Offer::Both),
        [fifo, "mjpeg"] => (fifo, Offer::Mjpeg),
        [fifo, "yuyv"] => (fifo, Offer::Yuyv),
        _ => {
            journal::say("usage: uvcsim FIFO [both|mjpeg|yuyv]");
            return ExitCode::from(2);
        }
    };
    let camera = Arc::new(Camera::new(offer));
    let streaming = Arc::clone(&camera);
    thread::spawn(move || stream::run(&streaming));
    match commands::obey(&camera, Path::new(fifo)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            journal::say(&format!("ends: {error}"));
            ExitCode::FAILURE
        }
    }
}
