//! What is asked of an arm: how many viewers, which frames, how often.

use serde::{Deserialize, Serialize};

use crate::load::Protocol;

/// Loads: every combination of what is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axes {
    /// How many watch.
    pub viewers: Vec<usize>,
    /// Bytes of a frame.
    pub bytes: Vec<usize>,
    /// Pixels of a frame, as `640x480`.
    #[serde(default = "tiny")]
    pub size: String,
    /// Frames a second.
    pub fps: Vec<u32>,
    /// Frames handed on together.
    #[serde(default = "one")]
    pub frames_per_payload: Vec<usize>,
    /// Further viewers that never read.
    #[serde(default = "none")]
    pub stopped: Vec<usize>,
    /// What viewers speak where they have the choice.
    #[serde(default = "tcp")]
    pub protocol: Protocol,
}

/// What is asked of an arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// How many watch.
    pub viewers: usize,
    /// Bytes of a frame.
    pub bytes: usize,
    /// Pixels of a frame, as `640x480`.
    pub size: String,
    /// Frames a second.
    pub fps: u32,
    /// Frames handed on together.
    pub frames_per_payload: usize,
    /// Further viewers that never read.
    pub stopped: usize,
    /// What viewers speak where they have the choice.
    pub protocol: Protocol,
}

fn tiny() -> String {
    // Where nobody looks, making the picture should cost nothing.
    "16x16".to_owned()
}

fn one() -> Vec<usize> {
    vec![1]
}

fn none() -> Vec<usize> {
    vec![0]
}

const fn tcp() -> Protocol {
    Protocol::Tcp
}

impl Axes {
    /// Every combination; the number of viewers changes fastest.
    pub(super) fn loads(&self) -> Vec<Load> {
        let mut loads = Vec::new();
        for &bytes in &self.bytes {
            for &fps in &self.fps {
                for &frames_per_payload in &self.frames_per_payload {
                    for &stopped in &self.stopped {
                        loads.extend(self.viewers.iter().map(|&viewers| Load {
                            viewers,
                            bytes,
                            size: self.size.clone(),
                            fps,
                            frames_per_payload,
                            stopped,
                            protocol: self.protocol,
                        }));
                    }
                }
            }
        }
        loads
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            viewers,
            bytes,
            fps,
            ..
        } = self;
        let kilobytes = bytes / 1000;
        match bytes {
            0..1000 => write!(f, "{viewers} × {bytes} B × {fps} fps")?,
            _ => write!(f, "{viewers} × {kilobytes} kB × {fps} fps")?,
        }
        if self.frames_per_payload > 1 {
            write!(f, ", {} a payload", self.frames_per_payload)?;
        }
        if self.stopped > 0 {
            write!(f, ", {} stopped", self.stopped)?;
        }
        Ok(())
    }
}
