//! The convolution itself, block by block: transformed inputs, a product for each position, transformed back.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::kernel::Kernel;
use super::lanes::{Deinterleave, GROUP};
use super::tiles::{Grid, Planes, Region, expand_work, padded};
use super::transform::{Contract, Evaluate, Input, Interpolate, Map, Positions};
use super::{Mat, TILE, add_bias_and_activate, matmul, with_scratch};
use crate::Activation;

/// The transformed inputs and products of a block take at most about this many values: 1 MB, a core's L2 cache.
const BLOCK_VALUES: usize = 262_144;

/// Work is split into at least this many tasks where there are as many rows of tiles or parts of channels.
const MIN_TASKS: usize = 8;

/// Where the output of a convolution goes: `(batch, channels, height, width)`.
pub(super) struct Output<'a> {
    pub data: &'a mut [f32],
    pub height: usize,
    pub width: usize,
}

/// The output rows and channels that one task computes.
struct Block<'a> {
    /// Rows of tiles.
    rows: Range<usize>,
    channels: Range<usize>,
    /// The rows of each image and channel, image by image.
    planes: Vec<&'a mut [f32]>,
}

impl<'a> Output<'a> {
    /// The output in blocks of `rows` rows of tiles by `channels` of the `all` channels.
    fn blocks(self, all: usize, rows: usize, channels: usize) -> Vec<Block<'a>> {
        let grid = Grid::over(self.height, self.width);
        let area = self.height * self.width;
        let all_rows = self.data.len() / (all * area) * grid.rows;
        let splits = all.div_ceil(channels);
        let mut blocks: Vec<_> = (0..all_rows.div_ceil(rows) * splits)
            .map(|block| {
                let (row, channel) = (block / splits * rows, block % splits * channels);
                Block {
                    rows: row..all_rows.min(row + rows),
                    channels: channel..all.min(channel + channels),
                    planes: Vec::new(),
                }
            })
            .collect();
        for (plane, mut values) in self.data.chunks_exact_mut(area).enumerate() {
            let (image, channel) = (plane / all, plane % all);
            let (mut row, end) = (image * grid.rows, (image + 1) * grid.rows);
            while row < end {
                let next = end.min((row / rows + 1) * rows);
                let lines =
                    self.height.min((next - image * grid.rows) * TILE) - (row - image * grid.rows) * TILE;
                let (here, rest) = values.split_at_mut(lines * self.width);
                blocks[row / rows * splits + channel / channels].planes.push(here);
                (values, row) = (rest, next);
            }
        }
        blocks
    }
}

/// The convolution of `x` whose n×n values under the first tile begin at `origin`.
pub(super) fn convolve<const R: usize, const N: usize>(
    x: Planes,
    kernel: Kernel,
    origin: (isize, isize),
    out: Output,
    epilogue: Option<(&[f32], Activation)>,
) where
    Evaluate: Map<R, N>,
    Input: Map<N, N>,
    Interpolate: Map<N, TILE>,
{
    let grid = Grid::over(out.height, out.width);
    let width = out.width;
    let all = kernel.out_channels;
    let (in_padded, layout) = (padded(kernel.in_channels), kernel.layout::<N>());
    let rows = out.data.len() / (all * out.height * out.width) * grid.rows;
    // As many rows as fit the cache, but some for every task.
    let tile_values = N * N * (in_padded + padded(all));
    let block_rows = (BLOCK_VALUES / (tile_values * grid.columns)).clamp(1, rows.div_ceil(MIN_TASKS / 2));
    let splits = MIN_TASKS.div_ceil(rows.div_ceil(block_rows)).min(layout.parts);
    let channels = layout.parts.div_ceil(splits) * layout.width;

    with_scratch(layout.parts * layout.part_stride, |weights| {
        kernel.transform::<R, N>(weights);
        let weights = &*weights;
        out.blocks(all, block_rows, channels).into_par_iter().for_each(|block| {
            let tiles = block.rows.len() * grid.columns;
            let out_channels = padded(block.channels.len());
            // A line more, so that the positions do not compete for the same cache sets.
            let (x_stride, y_stride) = (tiles * in_padded + GROUP, tiles * out_channels + GROUP);
            let strip = TILE * block.rows.len() * TILE * grid.columns * GROUP;
            let work = expand_work::<N, N>(grid, block.rows.len()).max(strip);
            with_scratch(N * N * (x_stride + y_stride) + work, |scratch| {
                let (inputs, scratch) = scratch.split_at_mut(N * N * x_stride);
                let (products, work) = scratch.split_at_mut(N * N * y_stride);
                let region = Region { grid, rows: block.rows.clone(), origin };
                let out = Positions { values: inputs, position_stride: x_stride, tile_stride: in_padded };
                x.expand::<Input, N, N>(region, 0..x.channels, out, work);
                for position in 0..N * N {
                    let inputs = &inputs[position * x_stride..];
                    let inputs = Mat::new(inputs, tiles, kernel.in_channels, in_padded);
                    for first in (0..out_channels).step_by(layout.width) {
                        let part = (block.channels.start + first) / layout.width;
                        let weights =
                            &weights[part * layout.part_stride + position * layout.position_stride..];
                        let width = layout.width.min(out_channels - first);
                        let weights = Mat::new(weights, kernel.in_channels, width, layout.width);
                        let products = &mut products[position * y_stride + first..];
                        matmul(products, out_channels, inputs, weights, false);
                    }
                }
                block.finish::<N>(grid, width, products, y_stride, work, epilogue);
            });
        });
    });
}

impl Block<'_> {
    /// Aᵀ M A of the products, bias and activation.
    fn finish<const N: usize>(
        mut self,
        grid: Grid,
        width: usize,
        products: &[f32],
        position_stride: usize,
        strip: &mut [f32],
        epilogue: Option<(&[f32], Activation)>,
    ) where
        Interpolate: Map<N, TILE>,
    {
        let tile_stride = padded(self.channels.len());
        let strip_width = TILE * grid.columns;
        let mut planes = &mut self.planes[..];
        let mut tiles = 0;
        for (_, rows) in grid.images(self.rows.clone()) {
            for first in self.channels.clone().step_by(GROUP) {
                for row in 0..rows.len() {
                    let at = (tiles + row * grid.columns) * tile_stride + first - self.channels.start;
                    pulp::Arch::new().dispatch(Contract::<Interpolate, N, TILE> {
                        map: PhantomData,
                        products: &products[at..],
                        position_stride,
                        tile_stride,
                        tiles: grid.columns,
                        out: &mut strip[row * TILE * strip_width * GROUP..],
                    });
                }
                let (group, rest) = planes.split_at_mut(GROUP.min(self.channels.end - first));
                pulp::Arch::new().dispatch(Deinterleave { strip, strip_width, planes: group, width });
                if let Some((bias, activation)) = epilogue {
                    for (plane, &bias) in group.iter_mut().zip(&bias[first..]) {
                        add_bias_and_activate(plane, bias, activation);
                    }
                }
                planes = rest;
            }
            tiles += rows.len() * grid.columns;
        }
    }
}
