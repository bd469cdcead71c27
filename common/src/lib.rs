//! The vocabulary of Framecast, shared by all its programs.
//!
//! In here: what a frame is, how frames are handed from one writer to many readers inside a
//! process ([`ring`]), how they are written on a wire ([`wire`]), and the small things both sides
//! need (clocks, shutdown, a JPEG scanner, the test picture's bar code).
//!
//! Kept out: sockets, threads, runtimes. Nothing here reads a clock except [`clock`], so every
//! rule about time can be tested by hand-set clocks.

pub mod barcode;
pub mod budget;
pub mod clock;
pub mod effort;
pub mod frame;
pub mod heap;
pub mod jpeg;
pub mod ring;
#[cfg(target_os = "linux")]
pub mod sampler;
pub mod secrets;
pub mod shortest;
pub mod shutdown;
pub mod subscribe;
pub mod synchrony;
pub mod wire;

mod sync;

pub use budget::Budget;
pub use clock::{Clock, ManualClock, SystemClock};
pub use effort::{Effort, Spent};
pub use frame::{Flags, Format, Frame, Head, Identity, Image, Monotonic, Payload, Timestamp};
pub use shortest::Shortest;
pub use shutdown::Shutdown;
pub use subscribe::{RecvError, Subscribe};
pub use wire::DecodeError;
