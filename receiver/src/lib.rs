//! Watches live streams and says what arrives: frame rate, age, gaps, synchrony.
//!
//! In path order: [`ingress`] brings payloads from the network, [`watch`] is one receiver,
//! [`account`] tells what it missed, [`output`] is what becomes of frames, [`figures`] and
//! [`report`] tell people. [`ingress`] is also how a broadcaster relays another one.
//!
//! A receiver is a thread with a blocking socket: there is no runtime here, and what is measured
//! is the server, not a scheduler.

pub mod account;
pub mod args;
pub mod config;
pub mod figures;
pub mod ingress;
pub mod output;
pub mod report;
pub mod run;
pub mod signals;
pub mod watch;

pub use config::Config;
pub use run::run;
