//! The gradient of the weight as a minimal filtering, F(r×r, m×m): the n×n inputs under a tile filtered with the
//! tile's m×m output gradients give r×r products; their sums over all tiles are the gradient.
//!
//! The tiles are taken a chunk at a time: transformed along the columns, a group of channels a task, then a row of
//! positions a task: transformed along the rows, multiplied and added up. So each sum takes the same order on any
//! number of threads. The sums are transformed back once.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::product::Product;
use super::tiles::{ContractColumns, ContractRows, ExpandRows, Grid, Region};
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
    // Odd numbers of lines, so that the positions do not compete for the same cache sets.
    let x_columns = (chunk_rows * grid.width(N)) | 1;
    let dy_columns = (chunk_rows * grid.width(M)) | 1;
    let stride = (chunk_rows * grid.columns) | 1;

    let sizes = [N * N * sums_stride, x_groups * N * x_columns, dy_groups * N * dy_columns];
    with_scratch(sizes.iter().sum::<usize>() * GROUP, |scratch| {
        let scratch = scratch.as_chunks_mut::<GROUP>().0;
        let (sums, scratch) = scratch.split_at_mut(sizes[0]);
        let (xs, dys) = scratch.split_at_mut(sizes[1]);
        for first in (0..rows).step_by(chunk_rows) {
            let rows = first..rows.min(first + chunk_rows);
            let (x_region, dy_region) =
                (Region { grid, rows: rows.clone(), origin }, Region { grid, rows, origin: (0, 0) });
            rayon::join(
                || {
                    xs.par_chunks_exact_mut(N * x_columns).enumerate().for_each(|(group, out)| {
                        x.expand_columns::<Input, N, N>(&x_region, group, out, x_columns);
                    });
                },
                || {
                    dys.par_chunks_exact_mut(N * dy_columns).enumerate().for_each(|(group, out)| {
                        dy.expand_columns::<Evaluate, M, N>(&dy_region, group, out, dy_columns);
                    });
                },
            );
            let (xs, dys) = (&*xs, &*dys);
            let of_group = N * stride;
            sums.par_chunks_exact_mut(N * sums_stride).enumerate().for_each(|(i, sums)| {
                with_scratch((x_groups + dy_groups) * of_group * GROUP, |scratch| {
                    let (x_tiles, dy_tiles) = scratch.as_chunks_mut().0.split_at_mut(x_groups * of_group);
                    let xs = xs.chunks_exact(N * x_columns);
                    for (columns, out) in xs.zip(x_tiles.chunks_exact_mut(of_group)) {
                        let (region, columns) = (&x_region, &columns[i * x_columns..]);
                        let map = PhantomData;
                        let expand = ExpandRows::<Input, N, N> { map, region, columns, out, stride };
                        pulp::Arch::new().dispatch(expand);
                    }
                    let dys = dys.chunks_exact(N * dy_columns);
                    for (columns, out) in dys.zip(dy_tiles.chunks_exact_mut(of_group)) {
                        let (region, columns) = (&dy_region, &columns[i * dy_columns..]);
                        let map = PhantomData;
                        let expand = ExpandRows::<Evaluate, M, N> { map, region, columns, out, stride };
                        pulp::Arch::new().dispatch(expand);
                    }
                    for (j, sums) in sums.chunks_exact_mut(sums_stride).enumerate() {
                        for group in 0..x_groups {
                            let channel = group * GROUP;
                            Product::<true> {
                                rows: GROUP.min(x.channels - channel),
                                depth: x_region.tiles(),
                                groups: dy_groups,
                                a: &x_tiles[group * of_group + j * stride..],
                                a_group: 0,
                                b: &dy_tiles[j * stride..],
                                b_group: of_group,
                                c: &mut sums[channel..],
                                c_group: x.channels,
                                accumulate: first > 0,
                            }
                            .run();
                        }
                    }
                });
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
    let sums_stride = sums.len() / (N * N);
    let of_output = in_channels * R * R;
    let width = in_channels * R;
    dw.par_chunks_mut(GROUP * of_output).enumerate().for_each(|(group, dw)| {
        with_scratch((N + R) * width * GROUP, |scratch| {
            let (rows, kernels) = scratch.as_chunks_mut().0.split_at_mut(N * width);
            for (i, out) in rows.chunks_exact_mut(width).enumerate() {
                pulp::Arch::new().dispatch(ContractRows::<Interpolate, N, R> {
                    map: PhantomData,
                    products: &sums[i * N * sums_stride + group * in_channels..],
                    stride: sums_stride,
                    out,
                });
            }
            pulp::Arch::new().dispatch(ContractColumns::<Interpolate, N, R> {
                map: PhantomData,
                rows,
                stride: width,
                out: &mut kernels[..R * width],
                width,
            });
            for (lane, dw) in dw.chunks_exact_mut(of_output).enumerate() {
                for (channel, dw) in dw.chunks_exact_mut(R * R).enumerate() {
                    for (i, dw) in dw.chunks_exact_mut(R).enumerate() {
                        let kernels = &kernels[i * width + channel * R..][..R];
                        dw.iter_mut().zip(kernels).for_each(|(dw, lanes)| *dw = lanes[lane]);
                    }
                }
            }
        });
    });
}
