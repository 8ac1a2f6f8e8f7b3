//! The convolution itself, block by block: transformed inputs, a product for each position, transformed back.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::kernel::group_stride;
use super::product::Product;
use super::tiles::{Contract, Grid, Region};
use super::transform::{Input, Interpolate, Map};
use crate::cpu::groups::{GROUP, Images, Lanes, Strip, groups};
use crate::cpu::scratch::with_scratch;

/// The transformed inputs and products of a block take at most about this many values: 1 MB, a core's L2 cache.
const BLOCK_VALUES: usize = 262_144;

/// Work is split into at least this many tasks where there are as many rows of tiles or groups of channels.
const MIN_TASKS: usize = 8;

/// Where a convolution goes: `(batch, groups, height/pool, width/pool, 16)`.
pub(super) struct Output<'a> {
    pub data: &'a mut [f32],
    pub batch: usize,
    pub channels: usize,
    /// Of the convolution, before pooling.
    pub height: usize,
    pub width: usize,
    pub pool: usize,
}

/// The output rows and groups of channels that one task computes.
struct Block<'a> {
    /// Rows of tiles.
    rows: Range<usize>,
    groups: Range<usize>,
    /// The parts of the output: a strip of rows of each image and group, image by image.
    strips: Vec<(Strip, &'a mut [f32])>,
}

impl<'a> Output<'a> {
    /// The output in blocks of `rows` rows of tiles by `width` groups.
    fn blocks(self, grid: Grid, rows: usize, width: usize) -> Vec<Block<'a>> {
        let (all_rows, all_groups) = (self.batch * grid.rows, groups(self.channels));
        let splits = all_groups.div_ceil(width);
        let mut blocks: Vec<_> = (0..all_rows.div_ceil(rows) * splits)
            .map(|block| {
                let (row, group) = (block / splits * rows, block % splits * width);
                let (rows, groups) = (row..all_rows.min(row + rows), group..all_groups.min(group + width));
                Block { rows, groups, strips: Vec::new() }
            })
            .collect();
        let mut data = self.data;
        for image in 0..self.batch {
            for group in 0..all_groups {
                let (mut row, end) = (image * grid.rows, (image + 1) * grid.rows);
                while row < end {
                    let next = end.min((row / rows + 1) * rows);
                    let first_row = (row - image * grid.rows) * grid.step;
                    let end_row = self.height.min((next - image * grid.rows) * grid.step);
                    let pooled = end_row / self.pool - first_row / self.pool;
                    let (here, rest) = data.split_at_mut(pooled * (self.width / self.pool) * GROUP);
                    let strip = Strip { image, group, first_row, rows: end_row - first_row };
                    blocks[row / rows * splits + group / width].strips.push((strip, here));
                    (data, row) = (rest, next);
                }
            }
        }
        blocks
    }
}

/// The convolution of `x` whose N×N values under the first tile begin at `origin`, in tiles of M×M.
pub(super) fn convolve<const M: usize, const N: usize, T: Send>(
    x: Images,
    kernel: &[f32],
    origin: (isize, isize),
    out: Output,
    finish: impl Fn(Strip, &mut [f32], &mut [f32]) -> T + Sync,
) -> Vec<T>
where
    Input: Map<N, N>,
    Interpolate: Map<N, M>,
{
    let grid = Grid::over(out.height, out.width, M);
    let (channels, width) = (out.channels, out.width);
    let (in_groups, out_groups) = (groups(x.channels), groups(channels));
    let kernel = kernel.as_chunks().0;
    // As many rows as fit the cache, but some for every task.
    let rows = out.batch * grid.rows;
    let tile_values = N * N * (in_groups + out_groups) * GROUP;
    let block_rows = (BLOCK_VALUES / (tile_values * grid.columns)).clamp(1, rows.div_ceil(MIN_TASKS / 2));
    let splits = MIN_TASKS.div_ceil(rows.div_ceil(block_rows)).min(out_groups);
    let block_groups = out_groups.div_ceil(splits);

    let of_block = |mut block: Block| {
        let tiles = block.rows.len() * grid.columns;
        let block_groups = block.groups.len();
        // An odd number of lines, so that the positions do not compete for the same cache sets.
        let stride = tiles | 1;
        let of_group = N * N * stride;
        let work = block.rows.len() * M * width;
        with_scratch(((in_groups + block_groups) * of_group + work) * GROUP, |scratch| {
            let scratch = scratch.as_chunks_mut().0;
            let (inputs, scratch) = scratch.split_at_mut(in_groups * of_group);
            let (products, work) = scratch.split_at_mut(block_groups * of_group);
            let region = Region { grid, rows: block.rows.clone(), origin };
            for (group, inputs) in inputs.chunks_exact_mut(of_group).enumerate() {
                x.expand::<Input, M, N, N>(&region, group, inputs, stride);
            }
            let kernel = &kernel[block.groups.start * group_stride::<N>(x.channels)..];
            for position in 0..N * N {
                Product::<false> {
                    rows: tiles,
                    depth: x.channels,
                    groups: block_groups,
                    a: &inputs[position * stride..],
                    a_group: of_group,
                    b: &kernel[position * (x.channels + 1)..],
                    b_group: group_stride::<N>(x.channels),
                    c: &mut products[position * stride..],
                    c_group: of_group,
                    accumulate: false,
                }
                .run();
            }
            block.finish::<M, N, T>(grid, channels, width, products, stride, work, &finish)
        })
    };
    let blocks = out.blocks(grid, block_rows, block_groups);
    let results: Vec<Vec<T>> = blocks.into_par_iter().map(of_block).collect();
    results.into_iter().flatten().collect()
}

impl Block<'_> {
    /// Aᵀ M A of the products, handed to `finish`.
    #[expect(clippy::too_many_arguments, reason = "")]
    fn finish<const M: usize, const N: usize, T>(
        &mut self,
        grid: Grid,
        channels: usize,
        width: usize,
        products: &[Lanes],
        stride: usize,
        work: &mut [Lanes],
        finish: impl Fn(Strip, &mut [f32], &mut [f32]) -> T,
    ) -> Vec<T>
    where
        Interpolate: Map<N, M>,
    {
        let strips = self.strips.iter_mut().map(|(strip, out)| {
            let raw = &mut work[..strip.rows * width];
            let first = strip.image * grid.rows + strip.first_row / M - self.rows.start;
            for (row, raw) in raw.chunks_mut(M * width).enumerate() {
                let at = (strip.group - self.groups.start) * N * N * stride + (first + row) * grid.columns;
                pulp::Arch::new().dispatch(Contract::<Interpolate, N, M> {
                    map: PhantomData,
                    products: &products[at..],
                    stride,
                    out: raw,
                    width,
                });
            }
            let used = channels - strip.group * GROUP;
            if used < GROUP {
                raw.iter_mut().for_each(|lanes| lanes[used..].fill(0.0));
            }
            finish(*strip, raw.as_flattened_mut(), out)
        });
        strips.collect()
    }
}
