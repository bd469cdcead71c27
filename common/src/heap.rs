//! How the allocator treats memory that frames leave behind.

use std::hint::black_box;

/// Freed once at the start.
const BLOCK_BYTES: usize = 1 << 20;

/// Has the allocator keep the memory of frames for the next ones. For the start of a program.
///
/// glibc gives free memory back to the system as soon as there are more than 128 KiB of it at the end
/// of a heap. That is the size of pictures: nearly each is put into pages that the kernel has to find
/// and clear first, and takes them away again when it goes, which stops all threads for a moment.
/// The limit adapts by itself: freeing one large block raises it to twice that block (`mallopt(3)`,
/// "dynamic mmap threshold"). With it readers of 90 kB frames from an exchange cost less than the least
/// that leaves the allocator alone (`benchmarks run exchange`). Each arena, of which there are up to
/// eight a core, may then keep 2 MiB. Other allocators do not mind.
pub fn keep_freed() {
    drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
}
