//! The gradient of the weight as a minimal filtering, F(r×r, m×m): the n×n inputs under a tile filtered with the
//! tile's m×m output gradients give r×r products; their sums over all tiles are the gradient.
//!
//! The tiles are taken a chunk at a time: transformed, a group of channels a task, then multiplied and added up, a
//! position a task. So each sum takes the same order on any number of threads. The sums are transformed back once.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::product::Product;
use super::tiles::{Contract, Grid, Region};
use super::transform::{Evaluate, Input, Interpolate, Map};
use crate::cpu::groups::{GROUP, Images, Lanes, groups};
use crate::cpu::scratch::with_scratch;

/// The transformed tiles of a chunk take about this many values, 4 MB, or as many as the sums where those are more.
const CHUNK_VALUES: usize = 1_048_576;

/// `(out_channels, in_channels, R, R)`, from the input and the output's gradient of `batch` images, in tiles of M×M.
pub(super) fn weight_gradient<const R: usize, const M: usize, const N: usize>(
    x: Images,
    dy: Images,
    batch: usize,
    origin: (isize, isize),
    dw: &mut [f32],
) where
    Input: Map<N, N>,
    Evaluate: Map<M, N>,
    Interpolate: Map<N, R>,
{
    let grid = Grid::over(dy.height, dy.width, M);
    let rows = batch * grid.rows;
    let (x_groups, dy_groups) = (groups(x.channels), groups(dy.channels));
    let sums_stride = dy_groups * x.channels;
    let tile_values = N * N * (x_groups + dy_groups) * GROUP;
    let chunk_values = CHUNK_VALUES.max(N * N * sums_stride * GROUP);
    let chunk_rows = (chunk_values / (tile_values * grid.columns)).clamp(1, rows);
    // An odd number of lines, so that the positions do not compete for the same cache sets.
    let stride = (chunk_rows * grid.columns) | 1;
    let of_group = N * N * stride;

    with_scratch((N * N * sums_stride + (x_groups + dy_groups) * of_group) * GROUP, |scratch| {
        let scratch = scratch.as_chunks_mut::<GROUP>().0;
        let (sums, tiles) = scratch.split_at_mut(N * N * sums_stride);
        for first in (0..rows).step_by(chunk_rows) {
            let rows = first..rows.min(first + chunk_rows);
            let depth = rows.len() * grid.columns;
            let region = |origin| Region { grid, rows: rows.clone(), origin };
            tiles.par_chunks_exact_mut(of_group).enumerate().for_each(|(group, out)| {
                match group.checked_sub(x_groups) {
                    None => x.expand::<Input, M, N, N>(&region(origin), group, out, stride),
                    Some(group) => dy.expand::<Evaluate, M, M, N>(&region((0, 0)), group, out, stride),
                }
            });
            let (xs, dys) = tiles.split_at(x_groups * of_group);
            sums.par_chunks_exact_mut(sums_stride).enumerate().for_each(|(position, sums)| {
                for group in 0..x_groups {
                    let channel = group * GROUP;
                    Product::<true> {
                        rows: GROUP.min(x.channels - channel),
                        depth,
                        groups: dy_groups,
                        a: &xs[group * of_group + position * stride..],
                        a_group: 0,
                        b: &dys[position * stride..],
                        b_group: of_group,
                        c: &mut sums[channel..],
                        c_group: x.channels,
                        accumulate: first > 0,
                    }
                    .run();
                }
            });
        }
        contract::<R, N>(sums, x.channels, dw);
    });
}

/// Aᵀ M A of the summed products, `(N·N, groups of output channels, in_channels, 16)`.
fn contract<const R: usize, const N: usize>(sums: &[Lanes], in_channels: usize, dw: &mut [f32])
where
    Interpolate: Map<N, R>,
{
    let stride = sums.len() / (N * N);
    let of_output = in_channels * R * R;
    dw.par_chunks_mut(GROUP * of_output).enumerate().for_each(|(group, dw)| {
        for channel in 0..in_channels {
            let mut kernels = [[[0.0; GROUP]; R]; R];
            pulp::Arch::new().dispatch(Contract::<Interpolate, N, R> {
                map: PhantomData,
                products: &sums[group * in_channels + channel..],
                stride,
                out: kernels.as_flattened_mut(),
                width: R,
            });
            for (lane, dw) in dw.chunks_exact_mut(of_output).enumerate() {
                let dw = &mut dw[channel * R * R..][..R * R];
                dw.iter_mut().zip(kernels.as_flattened()).for_each(|(dw, lanes)| *dw = lanes[lane]);
            }
        }
    });
}
