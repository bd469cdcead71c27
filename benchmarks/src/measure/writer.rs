//! How long the one who writes is held up, as the broadcaster itself tells at `/metrics`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The broadcaster answers at once or is in trouble.
const PATIENCE: Duration = Duration::from_secs(1);
const SECONDS: &str = "framecast_frames_publishing_seconds_total";
const CPU_SECONDS: &str = "framecast_frames_publishing_cpu_seconds_total";
const FRAMES: &str = "framecast_frames_published_total";
/// More of an answer is not read.
const MOST_BYTES: u64 = 1 << 20;

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mark {
    seconds: f64,
    cpu_seconds: f64,
    frames: f64,
}

/// Microseconds a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct HeldUp {
    /// From the begin of handing it on to its end.
    pub(super) micros: f64,
    /// For how much of that the writer had a processor.
    pub(super) cpu_micros: f64,
}

impl Mark {
    /// Those of a broadcaster whose page is `http://ADDR/`; `None` if it does not tell.
    pub(super) fn of(page: &str) -> Option<Self> {
        let addr = page.strip_prefix("http://")?.trim_end_matches('/');
        let mut stream = TcpStream::connect(addr).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.take(MOST_BYTES).read_to_string(&mut answer).ok()?;
        Self::read(&answer)
    }

    fn read(answer: &str) -> Option<Self> {
        let sum = |name: &str| {
            let values = answer.lines().filter_map(|line| {
                let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
                labels.starts_with('{').then(|| value.parse::<f64>().ok())?
            });
            let values: Vec<_> = values.collect();
            (!values.is_empty()).then(|| values.iter().sum())
        };
        Some(Self {
            seconds: sum(SECONDS)?,
            cpu_seconds: sum(CPU_SECONDS)?,
            frames: sum(FRAMES)?,
        })
    }

    /// What there was since an earlier moment, if there were frames.
    pub(super) fn since(self, earlier: Self) -> Option<HeldUp> {
        let frames = self.frames - earlier.frames;
        let micros = |seconds: f64| 1e6 * seconds / frames;
        (frames > 0.0).then(|| HeldUp {
            micros: micros(self.seconds - earlier.seconds),
            cpu_micros: micros(self.cpu_seconds - earlier.cpu_seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_in_an_answer() {
        let answer = "HTTP/1.1 200 OK\r\n\r\n# TYPE framecast_frames_published counter\n\
            framecast_frames_published_total{channel=\"main\"} 300\n\
            framecast_frames_published_bytes_total{channel=\"main\"} 7\n\
            framecast_frames_publishing_seconds_total{channel=\"main\"} 0.003\n\
            framecast_frames_publishing_cpu_seconds_total{channel=\"main\"} 0.002\n";
        let mark = Mark::read(answer).unwrap();
        let earlier = Mark {
            seconds: 0.001,
            cpu_seconds: 0.001,
            frames: 100.0,
        };
        let held_up = mark.since(earlier).unwrap();
        assert!((held_up.micros - 10.0).abs() < 1e-9, "{held_up:?}");
        assert!((held_up.cpu_micros - 5.0).abs() < 1e-9, "{held_up:?}");
        assert_eq!(mark.since(mark), None);
        assert_eq!(Mark::read("HTTP/1.1 404 Not Found\r\n\r\n"), None);
        assert_eq!(Mark::of("http://127.0.0.1:1/"), None);
    }
}
