//! What the fan-out models cost, measured on the machine at hand.
//!
//! ```text
//! scenario ──► runner: starts a contender as a child, puts a load on it, samples it ──► result ──► table
//!                      contender: the broadcaster with one of its drivers or a camera, the bare
//!                      loop, or ustreamer
//! ```
//! The scenarios with a broker are a path of their own ([`brokered`]): there several programs share the
//! cost. Beside all this, [`sample`] watches any programs that run already.
//!
//! Policy: only ratios within one run count. Contenders take turns within each round, each beside
//! the bare loop of the same round; rounds are repeated and the median is given with its spread.
//! Every cell is written down as soon as it is measured. Doubts stand beside the figures.

pub mod args;
pub mod bare;
pub mod broker;
pub mod brokered;
pub mod contender;
pub mod egress;
pub mod export;
pub mod load;
pub mod machine;
pub mod measure;
pub mod plot;
pub mod program;
pub mod report;
pub mod result;
pub mod runner;
pub mod sample;
pub mod scenario;
pub mod spread;
