//! Watches live streams and says what arrives: frame rate, age, gaps, synchrony.
//!
//! In path order: [`broker`] is where exchanges are, [`ingress`] brings payloads from the network, [`watch`] is one receiver,
//! [`account`] tells what it missed, [`output`] is what becomes of frames, [`figures`] and
//! [`report`] tell people. [`ingress`] is also how a broadcaster relays another one.
//!
//! Without the feature `program` there is nothing here but the ingress and the account, and the
//! crates that only a program needs stay away.
//!
//! A receiver is a thread with a blocking socket, so that what is measured is the server, not a
//! scheduler. Only connections to brokers have a runtime, which lapin needs; messages do not pass it.

pub mod account;
#[cfg(feature = "program")]
pub mod args;
pub mod broker;
#[cfg(feature = "program")]
pub mod config;
#[cfg(feature = "program")]
pub mod figures;
pub mod ingress;
#[cfg(feature = "program")]
pub mod logbook;
#[cfg(feature = "program")]
pub mod output;
#[cfg(feature = "program")]
pub mod probe;
#[cfg(feature = "program")]
pub mod report;
#[cfg(feature = "program")]
pub mod run;
#[cfg(feature = "program")]
pub mod signals;
#[cfg(feature = "program")]
pub mod watch;

#[cfg(feature = "program")]
pub use config::Config;
#[cfg(feature = "program")]
pub use run::run;
