//! End to end: real frames over real sockets, to real clients and to hostile ones.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod bad_input;
#[path = "../support/broker.rs"]
mod broker;
mod broker_script;
mod channels;
mod clients;
mod configuration;
mod dashboard;
mod drop_in;
mod exchange;
mod home_assistant;
mod housed;
mod logs;
mod metrics;
mod moonraker;
mod obs;
mod octoprint;
mod on_demand;
mod page;
mod program;
mod relay;
mod stage;
mod status;
mod stills;
mod storm;
mod viewers;
mod vlc;
mod webcam;
mod wire_page;
