//! The gradient of the weight as a minimal filtering, F(r×r, 4×4): the n×n inputs under a tile filtered with the
//! tile's 4×4 output gradients give r×r products; their sums over all tiles are the gradient.
//!
//! The transformed tiles of a chunk are laid out first; then each of the n² positions is one task that adds up
//! its products, block by block. The sums take the same order on any number of threads, and their sum is
//! transformed back once.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::tiles::{Grid, Planes, expand_work, padded};
use super::transform::{Contract, Evaluate, GROUP, Input, Interpolate, Map};
use super::{Mat, TILE, matmul, with_scratch};

/// The transformed tiles of a block take about this many values.
const BLOCK_VALUES: usize = 262_144;

/// The transformed tiles of a chunk take about this many values: 16 MB.
const CHUNK_VALUES: usize = 4_194_304;

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
    let (x_padded, dy_padded) = (padded(x.channels), padded(dy.channels));
    let rows = batch * grid.rows;
    let tile_values = N * N * (x_padded + dy_padded);
    let block_rows = (BLOCK_VALUES / (tile_values * grid.columns)).clamp(1, rows);
    let block_tiles = block_rows * grid.columns;
    let (x_stride, dy_stride) = (block_tiles * x_padded + GROUP, block_tiles * dy_padded + GROUP);
    let block_values = N * N * (x_stride + dy_stride);
    let chunk_rows = (CHUNK_VALUES / block_values).max(1).min(rows.div_ceil(block_rows)) * block_rows;
    let sum_values = x.channels * dy_padded;
    let work = expand_work::<N, N>(grid, block_rows).max(expand_work::<TILE, N>(grid, block_rows));

    with_scratch(N * N * sum_values + chunk_rows / block_rows * block_values, |scratch| {
        let (sums, chunk) = scratch.split_at_mut(N * N * sum_values);
        for first in (0..rows).step_by(chunk_rows) {
            let blocks = chunk_rows.min(rows - first).div_ceil(block_rows);
            let block = |block: usize| first + block * block_rows..rows.min(first + (block + 1) * block_rows);
            let chunk = &mut chunk[..blocks * block_values];
            chunk.par_chunks_exact_mut(block_values).enumerate().for_each(|(index, values)| {
                let (xs, dys) = values.split_at_mut(N * N * x_stride);
                with_scratch(work, |work| {
                    x.expand::<Input, N, N>(grid, block(index), origin, xs, x_stride, work);
                    dy.expand::<Evaluate, TILE, N>(grid, block(index), (0, 0), dys, dy_stride, work);
                });
            });
            let chunk = &*chunk;
            sums.par_chunks_exact_mut(sum_values).enumerate().for_each(|(position, sum)| {
                for (index, values) in chunk.chunks_exact(block_values).enumerate() {
                    let tiles = block(index).len() * grid.columns;
                    let (xs, dys) = values.split_at(N * N * x_stride);
                    let xs = Mat::new(&xs[position * x_stride..], tiles, x.channels, x_padded);
                    let dys = Mat::new(&dys[position * dy_stride..], tiles, dy_padded, dy_padded);
                    matmul(sum, dy_padded, xs.t(), dys, first + index > 0);
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
