//! What the fan-out models cost. So far: the ring itself, in `benches/ring.rs`.
