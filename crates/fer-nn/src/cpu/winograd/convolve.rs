//! The convolution itself, block by block: inputs transformed, a product for each position, transformed back.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::kernel::group_stride;
use super::product::Product;
use super::tiles::{ContractColumns, ContractRows, ExpandRows, Grid, Region};
use super::transform::{Input, Interpolate, Map};
use crate::cpu::groups::{GROUP, Images, Strip, groups};
use crate::cpu::scratch::with_scratch;

/// What a block keeps from its beginning to its end takes at most about this many values: 1 MB, a core's L2 cache.
const BLOCK_VALUES: usize = 262_144;

/// Work is split into at least this many tasks where there are as many rows of tiles or groups of channels.
const MIN_TASKS: usize = 8;

/// A block that outgrows the cache reads and writes what it keeps about this many times more. That pays where its many tiles
/// share one reading of a large weight.
const PASSES: usize = 3;

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

/// Some rows of tiles: their inputs are transformed once.
struct Block<'a> {
    rows: Range<usize>,
    parts: Vec<Part<'a>>,
}

/// Some groups of output channels of a block: what one task computes.
struct Part<'a> {
    groups: Range<usize>,
    /// The parts of the output: a strip of rows of each image and group, image by image.
    strips: Vec<(Strip, &'a mut [f32])>,
}

impl<'a> Output<'a> {
    /// The output in blocks of `rows` rows of tiles, in parts of `width` groups.
    fn blocks(self, grid: Grid, rows: usize, width: usize) -> Vec<Block<'a>> {
        let (all_rows, all_groups) = (self.batch * grid.rows, groups(self.channels));
        let part = |first| Part { groups: first..all_groups.min(first + width), strips: Vec::new() };
        let block = |first| Block {
            rows: first..all_rows.min(first + rows),
            parts: (0..all_groups).step_by(width).map(part).collect(),
        };
        let mut blocks: Vec<_> = (0..all_rows).step_by(rows).map(block).collect();
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
                    blocks[row / rows].parts[group / width].strips.push((strip, here));
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
    // As many rows as fit the cache, but some for every task. Where reading the weight costs more than leaving the cache
    // does, more of them, in parts.
    let rows = out.batch * grid.rows;
    let row_values = N * (M + 1) * grid.columns * (in_groups + out_groups) * GROUP;
    let cached_rows = (BLOCK_VALUES / row_values).min(rows.div_ceil(MIN_TASKS / 2));
    let rows_for_weight = kernel.len() * GROUP / (PASSES * row_values);
    let block_rows = cached_rows.max(rows_for_weight).clamp(1, rows);
    let parts = MIN_TASKS.div_ceil(rows.div_ceil(block_rows)).min(out_groups);

    let of_block = |block: Block| {
        let region = Region { grid, rows: block.rows, origin };
        let tiles = region.tiles();
        // Odd numbers of lines, so that the positions do not compete for the same cache sets.
        let columns_stride = (region.rows.len() * grid.width(N)) | 1;
        let (stride, rows_stride) = (tiles | 1, (tiles * M) | 1);
        with_scratch(in_groups * N * columns_stride * GROUP, |columns| {
            let columns = columns.as_chunks_mut().0;
            let at_once = if parts > 1 { 1 } else { in_groups };
            let of_groups = columns.par_chunks_exact_mut(N * columns_stride).enumerate();
            of_groups.with_min_len(at_once).for_each(|(group, columns)| {
                x.expand_columns::<Input, N, N>(&region, group, columns, columns_stride);
            });
            let columns = &*columns;
            let of_part = |mut part: Part| {
                let out_groups = part.groups.len();
                let sizes = [
                    in_groups * N * stride,
                    out_groups * N * stride,
                    out_groups * N * rows_stride,
                    region.rows.len() * M * width,
                ];
                with_scratch(sizes.iter().sum::<usize>() * GROUP, |scratch| {
                    let scratch = scratch.as_chunks_mut().0;
                    let (inputs, scratch) = scratch.split_at_mut(sizes[0]);
                    let (products, scratch) = scratch.split_at_mut(sizes[1]);
                    let (rows, strip_values) = scratch.split_at_mut(sizes[2]);
                    let kernel = &kernel[part.groups.start * group_stride::<N>(x.channels)..];
                    for i in 0..N {
                        let columns = columns.chunks_exact(N * columns_stride);
                        for (columns, out) in columns.zip(inputs.chunks_exact_mut(N * stride)) {
                            pulp::Arch::new().dispatch(ExpandRows::<Input, N, N> {
                                map: PhantomData,
                                region: &region,
                                columns: &columns[i * columns_stride..],
                                out,
                                stride,
                            });
                        }
                        for j in 0..N {
                            Product::<false> {
                                rows: tiles,
                                depth: x.channels,
                                groups: out_groups,
                                a: &inputs[j * stride..],
                                a_group: N * stride,
                                b: &kernel[(i * N + j) * (x.channels + 1)..],
                                b_group: group_stride::<N>(x.channels),
                                c: &mut products[j * stride..],
                                c_group: N * stride,
                                accumulate: false,
                            }
                            .run();
                        }
                        let out = rows.chunks_exact_mut(N * rows_stride);
                        for (products, out) in products.chunks_exact(N * stride).zip(out) {
                            pulp::Arch::new().dispatch(ContractRows::<Interpolate, N, M> {
                                map: PhantomData,
                                products,
                                stride,
                                out: &mut out[i * rows_stride..][..tiles * M],
                            });
                        }
                    }
                    let strips = part.strips.iter_mut().map(|(strip, out)| {
                        let raw = &mut strip_values[..strip.rows * width];
                        let first = strip.image * grid.rows + strip.first_row / M - region.rows.start;
                        let rows = &rows[(strip.group - part.groups.start) * N * rows_stride..];
                        for (row, raw) in raw.chunks_mut(M * width).enumerate() {
                            pulp::Arch::new().dispatch(ContractColumns::<Interpolate, N, M> {
                                map: PhantomData,
                                rows: &rows[(first + row) * grid.columns * M..],
                                stride: rows_stride,
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
                    strips.collect::<Vec<T>>()
                })
            };
            block.parts.into_par_iter().map(of_part).collect::<Vec<_>>()
        })
    };
    let blocks = out.blocks(grid, block_rows, out_groups.div_ceil(parts));
    let results: Vec<Vec<Vec<T>>> = blocks.into_par_iter().map(of_block).collect();
    results.into_iter().flatten().flatten().collect()
}
