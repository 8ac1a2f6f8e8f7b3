//! How a kernel's work is spread over blocks and threads.

/// Threads of a block.
pub(super) const THREADS: usize = 256;
/// The most blocks whose sums are joined at the end of a kernel: what an H100, of 132 multiprocessors, has room for at
/// once.
pub(super) const BLOCKS: usize = 264;

/// How the channels of a stage are spread over threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    /// Channels of a thread.
    pub vector: usize,
    /// Threads along the channels and along the rows.
    pub block: [usize; 2],
    tiles: usize,
}

/// The most tiles of so many channels, whatever a thread takes of them.
pub(super) fn tiles(channels: usize) -> usize {
    channels.div_ceil(32).max(1)
}

impl Spread {
    pub fn of(channels: usize, vector: usize) -> Self {
        let vector = if channels.is_multiple_of(vector) { vector } else { 1 };
        let vectors = channels / vector;
        let lanes = vectors.next_power_of_two().min(32);
        Self { vector, block: [lanes, THREADS / lanes], tiles: vectors.div_ceil(lanes) }
    }

    /// Blocks for `items` rows, each thread taking one.
    pub fn grid(&self, items: usize) -> [usize; 2] {
        [items.div_ceil(self.block[1]), self.tiles]
    }

    /// Blocks for `items` rows, of which each thread adds up some.
    pub fn sums(&self, items: usize, each: usize) -> [usize; 2] {
        [items.div_ceil(self.block[1] * each).clamp(1, BLOCKS), self.tiles]
    }
}
