//! Frames become payloads and go out to every reader: through the ring of this process, through an
//! exchange of a broker ([`exchange`]), or both.

use std::sync::Arc;

use common::wire::{MAX_PAYLOAD, payload};
use common::{Clock, Frame, Payload, SystemClock, ring};

pub mod exchange;

/// A fan-out model's writing end.
pub trait Publish: Send {
    /// Hands a payload to all readers. Never blocks: what a reader cannot take, it misses.
    fn publish(&mut self, payload: Arc<Payload>);
}

impl Publish for ring::Publisher {
    fn publish(&mut self, payload: Arc<Payload>) {
        Self::publish(self, payload);
    }
}

/// All writing ends of a channel. The ring is always there: pages and readiness look at it.
#[derive(Debug)]
pub struct Models {
    /// The ring's.
    pub ring: ring::Publisher,
    /// The exchange's, if there is one.
    pub exchange: Option<exchange::Publisher>,
}

impl Publish for Models {
    fn publish(&mut self, payload: Arc<Payload>) {
        self.ring.publish(payload.clone());
        if let Some(exchange) = &mut self.exchange {
            exchange.publish(payload);
        }
    }
}

/// Bundles consecutive frames into payloads and numbers those.
#[derive(Debug)]
pub struct Payloader<P> {
    publisher: P,
    frames_per_payload: usize,
    frames: Vec<Frame>,
    next_index: u64,
}

impl<P: Publish> Payloader<P> {
    /// Publishes every `frames_per_payload` frames together.
    pub const fn new(publisher: P, frames_per_payload: usize) -> Self {
        Self {
            publisher,
            frames_per_payload,
            frames: Vec::new(),
            next_index: 0,
        }
    }

    /// Takes the next frame; publishes if that makes a payload full.
    pub fn push(&mut self, frame: Frame) {
        let bytes = payload::encoded_len(&self.frames) + payload::HEAD_BYTES + frame.data().len();
        if bytes > MAX_PAYLOAD {
            self.flush();
        }
        self.frames.push(frame);
        if self.frames.len() >= self.frames_per_payload {
            self.flush();
        }
    }

    /// Publishes what there is.
    pub fn flush(&mut self) {
        if self.frames.is_empty() {
            return;
        }
        self.publisher.publish(Arc::new(Payload {
            index: self.next_index,
            published_at: SystemClock.monotonic(),
            frames: std::mem::take(&mut self.frames),
        }));
        self.next_index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::{Format, Head, Identity, Timestamp};

    #[derive(Default)]
    struct Kept(Vec<Arc<Payload>>);

    impl Publish for Kept {
        fn publish(&mut self, payload: Arc<Payload>) {
            self.0.push(payload);
        }
    }

    fn frame(seq: u64, bytes: usize) -> Frame {
        let head = Head::new(
            Identity { epoch: 1, seq },
            Timestamp::default(),
            Format::Opaque,
        );
        Frame::new(head, Bytes::from(vec![0; bytes]))
    }

    fn shapes(payloader: &Payloader<Kept>) -> Vec<(u64, usize)> {
        let payloads = payloader.publisher.0.iter();
        payloads
            .map(|payload| (payload.index, payload.frames.len()))
            .collect()
    }

    #[test]
    fn frames_are_bundled_and_the_rest_is_flushed() {
        let mut payloader = Payloader::new(Kept::default(), 3);
        (0..7).for_each(|seq| payloader.push(frame(seq, 10)));
        payloader.flush();
        payloader.flush();
        assert_eq!(shapes(&payloader), [(0, 3), (1, 3), (2, 1)]);
    }

    #[test]
    fn a_payload_never_grows_above_its_bound() {
        let mut payloader = Payloader::new(Kept::default(), 64);
        (0..9).for_each(|seq| payloader.push(frame(seq, Frame::MAX_BYTES)));
        payloader.flush();
        assert_eq!(shapes(&payloader), [(0, 3), (1, 3), (2, 3)]);
        for payload in &payloader.publisher.0 {
            assert!(payload::encoded_len(&payload.frames) <= MAX_PAYLOAD);
        }
    }
}
