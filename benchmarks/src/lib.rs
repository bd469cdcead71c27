//! What the fan-out models cost, measured on the machine at hand.
//!
//! ```text
//! scenario (TOML) ──► runner ──► measure: who serves, who watches, samples ──► result (JSON)
//!                                                  result ──► export, plot ──► report
//! ```
//! That is the question what each model costs. Two sets of scenarios with results of their own form
//! compare parts with the least there can be: [`egress`] the drivers, [`brokered`] both sides of an
//! exchange. Beside all this, [`sample`] watches any programs that run already.
//!
//! Policy: only ratios within one run count. Whoever is compared takes turns within each round; rounds
//! are repeated and the median is given with its spread. Every cell is written down as soon as it is
//! measured. Doubts stand beside the figures.

pub mod args;
pub mod bare;
mod beside;
pub mod broker;
pub mod brokered;
pub mod contender;
pub mod egress;
pub mod export;
pub mod inprocess;
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
