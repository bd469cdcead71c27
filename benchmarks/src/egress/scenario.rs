//! What is run: which contenders, under which loads.

use std::time::Duration;

use crate::contender::{Contender, Hindrance, Workload};
use crate::load::Protocol;

/// Workloads that belong together, for contenders that take turns.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The name on the command line.
    pub name: &'static str,
    /// What it is to show.
    pub about: &'static str,
    /// Who takes turns. The bare loop comes first: it is what the others are measured against.
    pub contenders: Vec<Contender>,
    /// What is asked of each.
    pub workloads: Vec<Workload>,
    /// How long each is watched.
    pub window: Duration,
}

/// Long enough for some hundred frames.
const WINDOW: Duration = Duration::from_secs(4);

const ALL: [Contender; 3] = [Contender::Bare, Contender::Multiplex, Contender::Threads];

const fn workload(protocol: Protocol, viewers: usize, bytes: usize, fps: u32) -> Workload {
    Workload {
        protocol,
        viewers,
        bytes,
        fps,
        frames_per_payload: 1,
        hindrance: Hindrance::None,
    }
}

const fn in_fives(mut workload: Workload) -> Workload {
    workload.frames_per_payload = 5;
    workload
}

/// All scenarios.
#[must_use]
pub fn all() -> Vec<Scenario> {
    vec![egress(), capacity(), isolation(), joining(), ustreamer()]
}

/// A star around the two usual loads: one quantity is changed at a time.
fn egress() -> Scenario {
    use Protocol::{Http, Tcp};
    let mut workloads = Vec::new();
    workloads.extend([1, 10, 100, 300].map(|viewers| workload(Http, viewers, 90_000, 30)));
    workloads.extend([8_000, 50_000].map(|bytes| workload(Http, 300, bytes, 30)));
    workloads.push(in_fives(workload(Http, 300, 90_000, 30)));
    workloads.extend([1, 10, 100, 300, 1000].map(|viewers| workload(Tcp, viewers, 8_000, 30)));
    workloads.push(in_fives(workload(Tcp, 1000, 8_000, 30)));
    Scenario {
        name: "egress",
        about: "CPU a frame and viewer, age at arrival, memory: each driver beside the bare loop",
        contenders: ALL.to_vec(),
        workloads,
        window: WINDOW,
    }
}

/// More and more viewers on a fixed grid, until a contender no longer delivers.
fn capacity() -> Scenario {
    let grid = [1000, 2000, 3000, 5000, 7000, 9000];
    Scenario {
        name: "capacity",
        about: "how many viewers of 8 kB x 15 fps this machine carries, load generator included",
        contenders: ALL.to_vec(),
        workloads: grid
            .map(|viewers| workload(Protocol::Tcp, viewers, 8_000, 15))
            .to_vec(),
        // At the limit one frame more or less has to weigh little.
        window: 2 * WINDOW,
    }
}

/// What the healthy ones of 200 viewers feel of the others.
fn isolation() -> Scenario {
    use Hindrance::{None, Stopped, Throttled};
    // As many healthy viewers as are left of 200, each beside the same number on their own.
    let cases = [
        (200, None),
        (100, None),
        (100, Stopped(100)),
        (100, Throttled(100)),
        (20, None),
        (20, Stopped(180)),
        (20, Throttled(180)),
    ];
    let workloads = cases.map(|(healthy, hindrance)| {
        let mut workload = workload(Protocol::Http, healthy, 50_000, 30);
        workload.hindrance = hindrance;
        workload
    });
    Scenario {
        name: "isolation",
        about: "what healthy viewers feel when others are stopped or throttled",
        contenders: vec![Contender::Multiplex, Contender::Threads],
        workloads: workloads.to_vec(),
        window: WINDOW,
    }
}

/// How long a newcomer waits for its first frame.
fn joining() -> Scenario {
    let workloads = [
        workload(Protocol::Http, 300, 90_000, 30),
        workload(Protocol::Tcp, 1000, 8_000, 30),
    ];
    let with_newcomers = |mut workload: Workload| {
        workload.hindrance = Hindrance::Joining;
        workload
    };
    Scenario {
        name: "joining",
        about: "from connecting to the first whole frame, while others watch",
        contenders: ALL.to_vec(),
        workloads: workloads.map(with_newcomers).to_vec(),
        window: WINDOW,
    }
}

/// The same camera's pictures out of a server that others use.
fn ustreamer() -> Scenario {
    use Contender::{Bare, Ustreamer, Webcam};
    Scenario {
        name: "ustreamer",
        about: "the broadcaster beside ustreamer (has to be installed), both behind the same camera",
        contenders: vec![Bare, Webcam, Ustreamer],
        workloads: [1, 10, 100, 300]
            .map(|viewers| workload(Protocol::Http, viewers, 90_000, 30))
            .to_vec(),
        window: WINDOW,
    }
}
