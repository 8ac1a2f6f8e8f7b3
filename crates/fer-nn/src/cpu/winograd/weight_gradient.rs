//! The gradient of the weight as a minimal filtering, F(r×r, 4×4): the n×n inputs under a tile filtered with the
//! tile's 4×4 output gradients give r×r products; their sums over all tiles are the gradient.
//!
//! The tiles are taken a chunk at a time: transformed, a part of the channels a task, then multiplied and added
//! up, a position a task. So each sum takes the same order on any number of threads. The sums are transformed
//! back once.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::lanes::GROUP;
use super::tiles::{Grid, Planes, Region, expand_work, padded};
use super::transform::{Contract, Evaluate, Input, Interpolate, Map, Positions};
use super::{Mat, TILE, matmul, with_scratch};

/// The transformed tiles of a chunk take about this many values: 4 MB.
const CHUNK_VALUES: usize = 1_048_576;

/// Channels of the input and of the gradient that one task transforms and one product takes: small enough for
/// `gemm` to work on them where they lie, without packing.
const X_PART: usize = 32;
const DY_PART: usize = 64;

/// `(out_channels, in_channels, R, R)`, from the input and the output's gradient of `batch` images.
pub(super) fn weight_gradient<const R: usize, const N: usize>(
    x: Planes,
    dy: Planes,
    batch: usize,
    origin: (isize, isize),
) -> Vec<f32>
where
    Input: Map<N, N>,
    Evaluate: Map<TILE, N>,
    Interpolate: Map<N, R>,
{
    let grid = Grid::over(dy.height, dy.width);
    let rows = batch * grid.rows;
    let (x_width, dy_width) = (X_PART.min(padded(x.channels)), DY_PART.min(padded(dy.channels)));
    let (x_parts, dy_parts) = (x.channels.div_ceil(x_width), dy.channels.div_ceil(dy_width));
    let tile_values = N * N * (x_parts * x_width + dy_parts * dy_width);
    let chunk_rows = (CHUNK_VALUES / (tile_values * grid.columns)).clamp(1, rows);
    let tiles = chunk_rows * grid.columns;
    let (x_stride, dy_stride) = (tiles * x_width + GROUP, tiles * dy_width + GROUP);
    let (x_part, dy_part) = (N * N * x_stride, N * N * dy_stride);
    let sum_stride = padded(dy.channels);
    let sum_values = x.channels * sum_stride;
    let work = expand_work::<N, N>(grid, chunk_rows).max(expand_work::<TILE, N>(grid, chunk_rows));

    with_scratch(N * N * sum_values + x_parts * x_part + dy_parts * dy_part, |scratch| {
        let (sums, scratch) = scratch.split_at_mut(N * N * sum_values);
        let (xs, dys) = scratch.split_at_mut(x_parts * x_part);
        for first in (0..rows).step_by(chunk_rows) {
            let chunk = first..rows.min(first + chunk_rows);
            let tiles = chunk.len() * grid.columns;
            let region = |origin| Region { grid, rows: chunk.clone(), origin };
            let expand_x = |(part, values): (usize, &mut [f32])| {
                let channels = part * x_width..x.channels.min((part + 1) * x_width);
                let out = Positions { values, position_stride: x_stride, tile_stride: x_width };
                with_scratch(work, |work| x.expand::<Input, N, N>(region(origin), channels, out, work));
            };
            let expand_dy = |(part, values): (usize, &mut [f32])| {
                let channels = part * dy_width..dy.channels.min((part + 1) * dy_width);
                let out = Positions { values, position_stride: dy_stride, tile_stride: dy_width };
                with_scratch(work, |work| {
                    dy.expand::<Evaluate, TILE, N>(region((0, 0)), channels, out, work);
                });
            };
            rayon::join(
                || xs.par_chunks_exact_mut(x_part).enumerate().for_each(expand_x),
                || dys.par_chunks_exact_mut(dy_part).enumerate().for_each(expand_dy),
            );
            let (xs, dys) = (&*xs, &*dys);
            sums.par_chunks_exact_mut(sum_values).enumerate().for_each(|(position, sum)| {
                for (part, xs) in xs.chunks_exact(x_part).enumerate() {
                    let c = part * x_width;
                    let xs = &xs[position * x_stride..];
                    let xs = Mat::new(xs, tiles, x_width.min(x.channels - c), x_width);
                    for (part, dys) in dys.chunks_exact(dy_part).enumerate() {
                        let k = part * dy_width;
                        let dys = &dys[position * dy_stride..];
                        let dys = Mat::new(dys, tiles, dy_width.min(sum_stride - k), dy_width);
                        matmul(&mut sum[c * sum_stride + k..], sum_stride, xs.t(), dys, first > 0);
                    }
                }
            });
        }
        contract::<R, N>(sums, x.channels, dy.channels)
    })
}

/// Aᵀ M A of the summed products, `(N·N positions, in_channels, padded out_channels)`.
fn contract<const R: usize, const N: usize>(sums: &[f32], in_channels: usize, out_channels: usize) -> Vec<f32>
where
    Interpolate: Map<N, R>,
{
    let padded = padded(out_channels);
    let mut dw = vec![0.0; out_channels * in_channels * R * R];
    dw.par_chunks_mut(GROUP * in_channels * R * R).enumerate().for_each(|(group, dw)| {
        with_scratch(R * R * GROUP, |kernels| {
            for channel in 0..in_channels {
                pulp::Arch::new().dispatch(Contract::<Interpolate, N, R> {
                    map: PhantomData,
                    products: &sums[channel * padded + group * GROUP..],
                    position_stride: in_channels * padded,
                    tile_stride: 0,
                    tiles: 1,
                    out: kernels,
                });
                for (lane, dw) in dw.chunks_exact_mut(in_channels * R * R).enumerate() {
                    let dw = &mut dw[channel * R * R..][..R * R];
                    dw.iter_mut().enumerate().for_each(|(i, dw)| *dw = kernels[i * GROUP + lane]);
                }
            }
        });
    });
    dw
}
