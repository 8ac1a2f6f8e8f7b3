//! How a kernel's work is spread over blocks and threads.

use candle_core::Result;

use super::card::{Args, Gpu};

/// Threads of a block.
pub(super) const THREADS: usize = 256;

/// Multiprocessors of an H100.
const MULTIPROCESSORS: usize = 132;

/// The most blocks that leave sums to be added up: what an H100 has room for at once, of kernels that are bounded to 64 registers.
pub(super) const BLOCKS: usize = 4 * MULTIPROCESSORS;

/// The fewest threads of a block.
const FEWEST: usize = 64;

/// Channels of a block that adds up with all its other threads: what memory gives at once, in f32.
const LANES: usize = 8;

/// The most rows of a block of the kernels in `direct.cu`, which keep lines of images for each.
pub(super) const DIRECT_ROWS: usize = 32;

/// A grid of blocks, each of threads along the channels and along the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Launch {
    pub grid: [usize; 2],
    pub block: [usize; 2],
}

impl Launch {
    /// Queues a kernel.
    pub fn queue(self, gpu: &impl Gpu, kernel: &str, args: &impl Args) -> Result<()> {
        gpu.launch(kernel, self.grid, self.block, args)
    }

    /// For a kernel that adds up, channel by channel, what blocks left.
    pub fn totals(channels: usize) -> Self {
        Self { grid: [channels.div_ceil(LANES), 1], block: [LANES, THREADS / LANES] }
    }

    /// For a kernel whose blocks take all rows of their channels, one a thread along the channels.
    pub fn all_rows(channels: usize) -> Self {
        Self { grid: [1, channels.div_ceil(LANES)], ..Self::totals(channels) }
    }
}

/// How the channels of a stage are spread over threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    /// Channels of a thread.
    pub vector: usize,
    /// Threads along the channels.
    lanes: usize,
    tiles: usize,
    /// The most rows of a block.
    rows: usize,
}

impl Spread {
    /// A thread takes the first of these numbers of channels that divides theirs, or one.
    pub fn of(channels: usize, vectors: &[usize]) -> Self {
        let vector = vectors.iter().copied().find(|&vector| channels.is_multiple_of(vector)).unwrap_or(1);
        let vectors = channels / vector;
        let lanes = vectors.next_power_of_two().min(32);
        Self { vector, lanes, tiles: vectors.div_ceil(lanes), rows: THREADS / lanes }
    }

    /// In blocks of at most so many threads and rows, both powers of two, for a kernel that needs much of a multiprocessor for each.
    pub fn in_blocks_of(self, threads: usize, rows: usize) -> Self {
        Self { rows: (threads / self.lanes).clamp(1, rows), ..self }
    }

    /// For `items` rows, each thread taking one.
    pub fn each(&self, items: usize) -> Launch {
        self.launch(items, 1)
    }

    /// For `items` rows that are added up: no more blocks than there is room for, and all threads take as many rows.
    pub fn sums(&self, items: usize) -> Launch {
        let most = (BLOCKS / self.tiles).max(1);
        self.launch(items, items.div_ceil(self.rows(items) * most).max(1))
    }

    fn launch(&self, items: usize, each: usize) -> Launch {
        let rows = self.rows(items);
        Launch { grid: [items.div_ceil(rows * each).max(1), self.tiles], block: [self.lanes, rows] }
    }

    /// Rows of a block: fewer where full ones would leave multiprocessors idle.
    fn rows(&self, items: usize) -> usize {
        let mut rows = self.rows;
        while rows * self.lanes > FEWEST && items.div_ceil(rows) * self.tiles < MULTIPROCESSORS {
            rows /= 2;
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_taken_and_the_card_is_filled() {
        for channels in [1, 3, 7, 32, 64, 100, 128, 256, 1000, 5000] {
            for items in [1, 5, 32, 288, 1152, 4608, 73_728, 2_359_296] {
                let spread = Spread::of(channels, &[4]);
                let small = spread.in_blocks_of(128, 32).sums(items);
                let launches =
                    [(spread.each(items), usize::MAX), (spread.sums(items), BLOCKS), (small, BLOCKS)];
                for (launch, most) in launches {
                    let Launch { grid, block } = launch;
                    let case = format!("{items} rows of {channels} channels: {launch:?}");
                    assert!(block[1].is_power_of_two() && block[0] * block[1] <= THREADS, "{case}");
                    assert!(grid[1] * block[0] * spread.vector >= channels, "{case}");
                    assert!(grid[0] * grid[1] <= most.max(grid[1]), "{case}");
                    // Each block takes some rows, and all take as many.
                    let rounds = items.div_ceil(grid[0] * block[1]);
                    assert!((grid[0] - 1) * block[1] * rounds < items, "{case}");
                    // Where there is work for as many blocks of the fewest threads, there are as many as multiprocessors.
                    if items * block[0] * grid[1] >= MULTIPROCESSORS * FEWEST {
                        assert!(grid[0] * grid[1] >= MULTIPROCESSORS, "{case}");
                    }
                }
            }
        }
    }
}
