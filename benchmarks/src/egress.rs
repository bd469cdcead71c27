//! What the way out costs: the drivers and a peer beside the bare loop, under a crowd of viewers.
//!
//! [`scenario`] says who is measured under which loads, [`runner`] lets them take turns, [`result`] is
//! what is kept, [`table`] what people read.

pub mod result;
pub mod runner;
pub mod scenario;
pub mod table;

/// Whether a result of this name is one of ours.
#[must_use]
pub fn is_name(name: &str) -> bool {
    scenario::all().iter().any(|scenario| scenario.name == name)
}
