//! Convolution of `(batch, in_channels, height, width)` by unrolled patches and matrix products: any kernel,
//! stride and padding.
//!
//! `im2col` lays the patch under every output position out as a column; the convolution is then one matrix
//! product (Chellapilla, Puri and Simard 2006). Rows of outputs are taken a tile at a time, so that a tile's
//! columns stay in cache.

use rayon::prelude::*;

use super::elementwise::add_bias_and_activate;
use super::matmul::{Mat, matmul};
use crate::Activation;
use crate::geometry::ConvShape;

/// The columns of a tile take at most this many values: 1.5 MB.
const TILE_VALUES: usize = 393_216;

/// Weight gradients are summed in at most this many groups of images, whatever the number of threads.
const GROUPS: usize = 16;

impl ConvShape {
    /// The convolution of one group of channels.
    fn of_group(&self) -> Self {
        let (in_channels, out_channels) = (self.in_channels / self.groups, self.out_channels / self.groups);
        Self { in_channels, out_channels, groups: 1, ..*self }
    }

    /// The weights of one output channel, and the rows of the patch matrix.
    fn patch(&self) -> usize {
        self.in_channels * self.kernel.0 * self.kernel.1
    }

    /// Output rows in a tile.
    fn tile_rows(&self) -> usize {
        (TILE_VALUES / (self.patch() * self.out_width)).clamp(1, self.out_height)
    }

    /// The first output rows of the tiles, and the rows of each.
    fn tiles(&self) -> impl Iterator<Item = (usize, usize)> + Clone {
        let (step, height) = (self.tile_rows(), self.out_height);
        (0..height).step_by(step).map(move |row| (row, step.min(height - row)))
    }

    /// Calls `each(run, kernel column, start of the input row)` for every run: the values of the input that lie under one
    /// weight for one output row. A row of zeros has no start.
    fn for_each_run(&self, first_row: usize, rows: usize, mut each: impl FnMut(usize, usize, Option<usize>)) {
        let mut run = 0;
        for c in 0..self.in_channels {
            for ky in 0..self.kernel.0 {
                for kx in 0..self.kernel.1 {
                    for row in first_row..first_row + rows {
                        let y = (row * self.stride + ky).checked_sub(self.padding.0);
                        let source =
                            y.filter(|&y| y < self.height).map(|y| (c * self.height + y) * self.width);
                        each(run, kx, source);
                        run += 1;
                    }
                }
            }
        }
    }

    /// Output columns whose input column under weight column `kx` lies inside the image.
    pub(super) fn inside(&self, kx: usize) -> (usize, usize) {
        let first = self.padding.1.saturating_sub(kx).div_ceil(self.stride).min(self.out_width);
        let end = (self.width + self.padding.1).saturating_sub(kx).div_ceil(self.stride);
        (first, end.clamp(first, self.out_width))
    }

    /// The patches of output rows `first_row..first_row + rows`: `patch()` rows of `rows·out_width` values.
    fn im2col(&self, image: &[f32], first_row: usize, rows: usize, columns: &mut [f32]) {
        self.for_each_run(first_row, rows, |run, kx, source| {
            let out = &mut columns[run * self.out_width..][..self.out_width];
            let Some(start) = source else { return out.fill(0.0) };
            let (first, end) = self.inside(kx);
            out[..first].fill(0.0);
            out[end..].fill(0.0);
            if first < end {
                let left = first * self.stride + kx - self.padding.1;
                let row = &image[start..start + self.width][left..];
                if self.stride == 1 {
                    out[first..end].copy_from_slice(&row[..end - first]);
                } else {
                    let strided = row.iter().step_by(self.stride);
                    out[first..end].iter_mut().zip(strided).for_each(|(out, &v)| *out = v);
                }
            }
        });
    }

    /// Adds every patch value back to where `im2col` took it from.
    fn col2im(&self, columns: &[f32], first_row: usize, rows: usize, image: &mut [f32]) {
        self.for_each_run(first_row, rows, |run, kx, source| {
            let Some(start) = source else { return };
            let (first, end) = self.inside(kx);
            if first < end {
                let left = first * self.stride + kx - self.padding.1;
                let row = &mut image[start..start + self.width][left..];
                let values = &columns[run * self.out_width..][first..end];
                row.iter_mut().step_by(self.stride).zip(values).for_each(|(out, v)| *out += v);
            }
        });
    }
}

/// `activation(conv(x, weight) + bias)`: `(batch, out_channels, out_height, out_width)`.
pub(crate) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    s: ConvShape,
) -> Vec<f32> {
    let mut y = vec![0.0; s.batch * s.out_size()];
    let (s, groups) = (s.of_group(), s.groups);
    let none = vec![0.0; if bias.is_empty() { s.out_channels * groups } else { 0 }];
    let bias = if bias.is_empty() { &none[..] } else { bias };
    y.par_chunks_mut(s.out_size()).zip(x.par_chunks(s.in_size())).enumerate().for_each_init(
        || vec![0.0; s.patch() * s.tile_rows() * s.out_width],
        |columns, (i, (y, x))| {
            let group = i % groups;
            let weight = &weight[group * s.weight_len()..][..s.weight_len()];
            let weight = Mat::new(weight, s.out_channels, s.patch(), s.patch());
            let bias = &bias[group * s.out_channels..][..s.out_channels];
            for (row, rows) in s.tiles() {
                let n = rows * s.out_width;
                s.im2col(x, row, rows, columns);
                let columns = Mat::new(columns, s.patch(), n, n);
                matmul(&mut y[row * s.out_width..], s.out_area(), weight, columns, false);
                for (plane, &bias) in y.chunks_mut(s.out_area()).zip(bias) {
                    add_bias_and_activate(&mut plane[row * s.out_width..][..n], bias, activation);
                }
            }
        },
    );
    y
}

/// The gradient of the input, `(batch, in_channels, height, width)`, from that of the output.
pub(crate) fn backward_input(weight: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    let mut dx = vec![0.0; s.batch * s.in_size()];
    let (s, groups) = (s.of_group(), s.groups);
    dx.par_chunks_mut(s.in_size()).zip(dy.par_chunks(s.out_size())).enumerate().for_each_init(
        || vec![0.0; s.patch() * s.tile_rows() * s.out_width],
        |columns, (i, (dx, dy))| {
            let weight = &weight[i % groups * s.weight_len()..][..s.weight_len()];
            let weight = Mat::new(weight, s.out_channels, s.patch(), s.patch()).t();
            for (row, rows) in s.tiles() {
                let n = rows * s.out_width;
                let dy = Mat::new(&dy[row * s.out_width..], s.out_channels, n, s.out_area());
                matmul(columns, n, weight, dy, false);
                s.col2im(columns, row, rows, dx);
            }
        },
    );
    dx
}

/// The gradient of the weight, `(out_channels, in_channels, kernel height, kernel width)`.
pub(crate) fn backward_weight(x: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    let images = s.batch.div_ceil(GROUPS);
    let all = s;
    let s = all.of_group();
    let parts: Vec<Vec<f32>> = x
        .par_chunks(images * all.in_size())
        .zip(dy.par_chunks(images * all.out_size()))
        .map(|(x, dy)| {
            let mut columns = vec![0.0; s.patch() * s.tile_rows() * s.out_width];
            let mut dw = vec![0.0; all.weight_len()];
            for (i, (x, dy)) in x.chunks(s.in_size()).zip(dy.chunks(s.out_size())).enumerate() {
                let dw = &mut dw[i % all.groups * s.weight_len()..][..s.weight_len()];
                for (row, rows) in s.tiles() {
                    let n = rows * s.out_width;
                    s.im2col(x, row, rows, &mut columns);
                    let dy = Mat::new(&dy[row * s.out_width..], s.out_channels, n, s.out_area());
                    matmul(dw, s.patch(), dy, Mat::new(&columns, s.patch(), n, n).t(), true);
                }
            }
            dw
        })
        .collect();
    parts
        .into_iter()
        .reduce(|mut sum, part| {
            sum.par_iter_mut().zip(part).for_each(|(sum, v)| *sum += v);
            sum
        })
        .unwrap_or_else(|| vec![0.0; all.weight_len()])
}
