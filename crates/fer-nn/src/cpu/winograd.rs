//! Convolution with 3×3 and 5×5 kernels, stride 1, in a quarter and less of the multiplications.
//!
//! Outputs are computed in tiles of 4×4 by minimal filtering (Winograd 1980; Lavin and Gray 2016; the points of
//! the Cook–Toom algorithm are in [`transform`]). With `d` the n×n inputs under a tile, n = 3 + r, and `g` the
//! r×r kernel,
//!
//! ```text
//! Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//! ```
//!
//! where ⊙ multiplies position by position; summed over input channels, that is one matrix product for each of
//! the n² positions: F(4×4, 3×3) needs 36 multiplications where 144 are plain, F(4×4, 5×5) 64 instead of 400.
//! The input's gradient is the convolution of the output's with the kernel turned by half; the weight's is
//! itself a minimal filtering with 4×4 tiles of the output's gradient as kernels ([`weight_gradient`]).
//!
//! Tiles are transformed with channels innermost, in groups of sixteen, and worked on in blocks whose transformed
//! inputs and products stay in cache.

mod lanes;
mod tiles;
mod transform;
mod weight_gradient;

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use self::lanes::{Deinterleave, GROUP};
use self::tiles::{Grid, Planes, expand_work, padded};
use self::transform::{Contract, Evaluate, Expand, Input, Interpolate, Map};
use super::conv2d::ConvShape;
use super::elementwise::add_bias_and_activate;
use super::matmul::{Mat, matmul};
use super::scratch::with_scratch;
use crate::Activation;

/// Rows and columns of outputs in a tile.
const TILE: usize = 4;

/// The transformed inputs and products of a block take at most about this many values: 1 MB, a core's L2 cache.
const BLOCK_VALUES: usize = 262_144;

/// Work is split into at least this many tasks where there are as many rows of tiles or groups of channels.
const MIN_TASKS: usize = 8;

/// Input channels of the weights that a task transforms.
const KERNEL_CHANNELS: usize = 8;

/// Whether this is the method for a convolution: at least half of the multiplications are saved, and there are
/// channels enough to fill the vectors.
pub(super) fn suits(s: &ConvShape) -> bool {
    let positions = (TILE + s.kernel.0 - 1).pow(2);
    let grid = Grid::over(s.out_height, s.out_width);
    s.stride == 1
        && (s.kernel == (3, 3) || s.kernel == (5, 5))
        && s.in_channels.min(s.out_channels) >= GROUP / 2
        && 2 * grid.rows * grid.columns * positions <= s.out_area() * s.kernel.0 * s.kernel.1
}

/// `activation(conv(x, weight) + bias)`: `(batch, out_channels, out_height, out_width)`.
pub(super) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    s: ConvShape,
) -> Vec<f32> {
    let r2 = s.kernel.0 * s.kernel.1;
    let kernel = Kernel {
        data: weight,
        in_channels: s.in_channels,
        out_channels: s.out_channels,
        in_stride: r2,
        out_stride: s.in_channels * r2,
        turned: false,
    };
    let x = Planes { data: x, channels: s.in_channels, height: s.height, width: s.width };
    let origin = (-(s.padding.0 as isize), -(s.padding.1 as isize));
    let mut y = vec![0.0; s.batch * s.out_size()];
    let out = Output { data: &mut y, height: s.out_height, width: s.out_width };
    match s.kernel.0 {
        3 => convolve::<3, 6>(x, kernel, origin, out, Some((bias, activation))),
        _ => convolve::<5, 8>(x, kernel, origin, out, Some((bias, activation))),
    }
    y
}

/// The gradient of the input, `(batch, in_channels, height, width)`, from that of the output.
pub(super) fn backward_input(weight: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    let r2 = s.kernel.0 * s.kernel.1;
    let kernel = Kernel {
        data: weight,
        in_channels: s.out_channels,
        out_channels: s.in_channels,
        in_stride: s.in_channels * r2,
        out_stride: r2,
        turned: true,
    };
    let dy = Planes { data: dy, channels: s.out_channels, height: s.out_height, width: s.out_width };
    let last = s.kernel.0 as isize - 1;
    let origin = (s.padding.0 as isize - last, s.padding.1 as isize - last);
    let mut dx = vec![0.0; s.batch * s.in_size()];
    let out = Output { data: &mut dx, height: s.height, width: s.width };
    match s.kernel.0 {
        3 => convolve::<3, 6>(dy, kernel, origin, out, None),
        _ => convolve::<5, 8>(dy, kernel, origin, out, None),
    }
    dx
}

/// The gradient of the weight, `(out_channels, in_channels, kernel height, kernel width)`.
pub(super) fn backward_weight(x: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    let x = Planes { data: x, channels: s.in_channels, height: s.height, width: s.width };
    let dy = Planes { data: dy, channels: s.out_channels, height: s.out_height, width: s.out_width };
    let origin = (-(s.padding.0 as isize), -(s.padding.1 as isize));
    match s.kernel.0 {
        3 => weight_gradient::weight_gradient::<3, 6>(x, dy, s.batch, origin),
        _ => weight_gradient::weight_gradient::<5, 8>(x, dy, s.batch, origin),
    }
}

/// The weights as a convolution from `in_channels` to `out_channels` sees them.
#[derive(Clone, Copy)]
struct Kernel<'a> {
    data: &'a [f32],
    in_channels: usize,
    out_channels: usize,
    in_stride: usize,
    out_stride: usize,
    /// Whether rows and columns are read from the last to the first.
    turned: bool,
}

impl Kernel<'_> {
    /// G g Gᵀ of every kernel: `(N·N positions, in_channels, padded out_channels)`.
    fn transform<const R: usize, const N: usize>(&self, out: &mut [f32])
    where
        Evaluate: Map<R, N>,
    {
        let padded = padded(self.out_channels);
        let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
        tasks.resize_with(self.in_channels.div_ceil(KERNEL_CHANNELS), Vec::new);
        for position in out.chunks_exact_mut(self.in_channels * padded) {
            for (task, out) in tasks.iter_mut().zip(position.chunks_mut(KERNEL_CHANNELS * padded)) {
                task.push(out);
            }
        }
        let position_stride = KERNEL_CHANNELS * padded;
        tasks.into_par_iter().enumerate().for_each(|(task, out)| {
            with_scratch(N * N * position_stride + (R + N) * R * GROUP, |work| {
                let (transformed, work) = work.split_at_mut(N * N * position_stride);
                let (kernels, columns) = work.split_at_mut(R * R * GROUP);
                let first = task * KERNEL_CHANNELS;
                let channels = KERNEL_CHANNELS.min(self.in_channels - first);
                for channel in 0..channels {
                    for group in 0..padded / GROUP {
                        self.gather::<R>(first + channel, group, kernels);
                        pulp::Arch::new().dispatch(Expand::<Evaluate, R, N> {
                            map: PhantomData,
                            image: kernels,
                            width: R,
                            tiles: 1,
                            columns,
                            out: &mut transformed[channel * padded + group * GROUP..],
                            position_stride,
                            tile_stride: 0,
                        });
                    }
                }
                for (out, transformed) in out.into_iter().zip(transformed.chunks_exact(position_stride)) {
                    out.copy_from_slice(&transformed[..channels * padded]);
                }
            });
        });
    }

    /// The kernels from one input channel to a group of output channels, `(R, R, GROUP)`.
    fn gather<const R: usize>(&self, channel: usize, group: usize, out: &mut [f32]) {
        let first = group * GROUP;
        out.fill(0.0);
        for lane in 0..GROUP.min(self.out_channels - first) {
            let at = (first + lane) * self.out_stride + channel * self.in_stride;
            let kernel = &self.data[at..at + R * R];
            for (i, &v) in kernel.iter().enumerate() {
                let i = if self.turned { R * R - 1 - i } else { i };
                out[i * GROUP + lane] = v;
            }
        }
    }
}

/// Where the output of a convolution goes: `(batch, channels, height, width)`.
struct Output<'a> {
    data: &'a mut [f32],
    height: usize,
    width: usize,
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
fn convolve<const R: usize, const N: usize>(
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
    let (in_padded, out_padded) = (padded(kernel.in_channels), padded(all));
    let rows = out.data.len() / (all * out.height * out.width) * grid.rows;
    // As many rows as fit the cache, but some for every task.
    let tile_values = N * N * (in_padded + out_padded);
    let block_rows = (BLOCK_VALUES / (tile_values * grid.columns)).clamp(1, rows.div_ceil(MIN_TASKS / 2));
    let splits = MIN_TASKS.div_ceil(rows.div_ceil(block_rows)).min(out_padded / GROUP);
    let channels = (out_padded / GROUP).div_ceil(splits) * GROUP;

    with_scratch(N * N * kernel.in_channels * out_padded, |weights| {
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
                x.expand::<Input, N, N>(
                    grid,
                    block.rows.clone(),
                    0..x.channels,
                    origin,
                    inputs,
                    x_stride,
                    in_padded,
                    work,
                );
                for position in 0..N * N {
                    let weights = &weights[position * kernel.in_channels * out_padded..];
                    let weights = &weights[block.channels.start..];
                    let inputs = &inputs[position * x_stride..];
                    matmul(
                        &mut products[position * y_stride..],
                        out_channels,
                        Mat::new(inputs, tiles, kernel.in_channels, in_padded),
                        Mat::new(weights, kernel.in_channels, out_channels, out_padded),
                        false,
                    );
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

#[cfg(test)]
mod tests;
