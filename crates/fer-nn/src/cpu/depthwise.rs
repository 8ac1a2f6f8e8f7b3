//! Depthwise convolution: every output channel reads one input channel. Too little arithmetic for matrix products, so
//! it is done row by row.

use rayon::prelude::*;

use super::elementwise::{add_bias_and_activate, sum_of};
use super::vectorized;
use crate::Activation;
use crate::geometry::ConvShape;

/// Whether this is the method for a convolution.
pub(super) fn suits(s: &ConvShape) -> bool {
    s.groups > 1 && s.groups == s.in_channels
}

/// Calls `each(output row, input row, first output column, end, first input column, weight)` for every row of a plane's
/// output and every weight of a kernel: the columns `first..end` read every `stride`-th input column.
fn rows(s: &ConvShape, mut each: impl FnMut(usize, usize, (usize, usize), usize, usize)) {
    for row in 0..s.out_height {
        for ky in 0..s.kernel.0 {
            let Some(y) = (row * s.stride + ky).checked_sub(s.padding.0).filter(|&y| y < s.height) else {
                continue;
            };
            for kx in 0..s.kernel.1 {
                let (first, end) = s.inside(kx);
                if first < end {
                    let left = first * s.stride + kx - s.padding.1;
                    each(row, y, (first, end), left, ky * s.kernel.1 + kx);
                }
            }
        }
    }
}

impl ConvShape {
    /// Output channels that read one input channel.
    fn multiplier(&self) -> usize {
        self.out_channels / self.in_channels
    }

    /// The plane of the input that plane `i` of the output reads, and its weights.
    fn reads(&self, i: usize) -> (usize, std::ops::Range<usize>) {
        let (image, channel) = (i / self.out_channels, i % self.out_channels);
        let taps = self.kernel.0 * self.kernel.1;
        (image * self.in_channels + channel / self.multiplier(), channel * taps..(channel + 1) * taps)
    }
}

/// `activation(conv(x, weight) + bias)`: `(batch, out_channels, out_height, out_width)`.
pub(super) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    s: ConvShape,
) -> Vec<f32> {
    let mut y = vec![0.0; s.batch * s.out_size()];
    let area = s.height * s.width;
    y.par_chunks_mut(s.out_area()).enumerate().for_each(|(i, y)| {
        let (plane, taps) = s.reads(i);
        let (x, weight) = (&x[plane * area..][..area], &weight[taps]);
        vectorized(
            #[inline(always)]
            || {
                rows(&s, |row, from, (first, end), left, tap| {
                    let out = &mut y[row * s.out_width..][first..end];
                    let x = &x[from * s.width..][left..s.width];
                    let weight = weight[tap];
                    match s.stride {
                        1 => out.iter_mut().zip(x).for_each(|(out, x)| *out += weight * x),
                        _ => out
                            .iter_mut()
                            .zip(x.iter().step_by(s.stride))
                            .for_each(|(out, x)| *out += weight * x),
                    }
                });
            },
        );
        add_bias_and_activate(y, bias.get(i % s.out_channels).copied().unwrap_or(0.0), activation);
    });
    y
}

/// The gradient of the input, from that of the output.
pub(super) fn backward_input(weight: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    let mut dx = vec![0.0; s.batch * s.in_size()];
    let taps = s.kernel.0 * s.kernel.1;
    let of_plane = s.multiplier() * s.out_area();
    dx.par_chunks_mut(s.height * s.width).zip(dy.par_chunks(of_plane)).enumerate().for_each(
        |(i, (dx, dy))| {
            let first = i % s.in_channels * s.multiplier();
            for (k, dy) in dy.chunks(s.out_area()).enumerate() {
                let weight = &weight[(first + k) * taps..][..taps];
                rows(&s, |row, from, (first, end), left, tap| {
                    let dy = &dy[row * s.out_width..][first..end];
                    let dx = &mut dx[from * s.width..][left..s.width];
                    dx.iter_mut().step_by(s.stride).zip(dy).for_each(|(dx, dy)| *dx += weight[tap] * dy);
                });
            }
        },
    );
    dx
}

/// The gradient of the weight, `(out_channels, 1, kernel height, kernel width)`.
pub(super) fn backward_weight(x: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    let (area, taps) = (s.height * s.width, s.kernel.0 * s.kernel.1);
    let mut dw = vec![0.0; s.out_channels * taps];
    dw.par_chunks_mut(taps).enumerate().for_each(|(channel, dw)| {
        let mut sums = vec![0.0_f64; taps];
        for image in 0..s.batch {
            let i = image * s.out_channels + channel;
            let (x, dy) = (&x[s.reads(i).0 * area..][..area], &dy[i * s.out_area()..][..s.out_area()]);
            rows(&s, |row, from, (first, end), left, tap| {
                let dy = &dy[row * s.out_width..][first..end];
                let x = &x[from * s.width..][left..s.width];
                sums[tap] += match s.stride {
                    1 => sum_of(&x[..dy.len()], dy, |x, dy| x * dy),
                    _ => x.iter().step_by(s.stride).zip(dy).map(|(x, dy)| f64::from(x * dy)).sum(),
                };
            });
        }
        dw.iter_mut().zip(sums).for_each(|(dw, sum)| *dw = sum as f32);
    });
    dw
}
