//! Batch normalisation over `(batch, channels, area)`.
//!
//! Values are measured from a centre, the mean rounded to f32, and what the rounding left goes into the constant
//! terms: a mean far from zero costs no precision.

use rayon::prelude::*;

use super::elementwise::{sum, sum_of};
use super::vectorized;
use crate::channel::Channel;

/// The mean and the biased variance of every channel.
///
/// Each plane is measured around its own mean and the planes are joined in f64 (Chan, Golub and LeVeque 1979).
pub(crate) fn batch_statistics(x: &[f32], channels: usize, area: usize) -> (Vec<f64>, Vec<f64>) {
    let planes: Vec<(f64, f64)> = x
        .par_chunks(area)
        .map(|plane| {
            let first = plane[0];
            let mean = f64::from(first) + sum_of(plane, plane, |v, _| v - first) / area as f64;
            let center = mean as f32;
            let squares = sum_of(plane, plane, |v, _| (v - center) * (v - center));
            (mean, squares - area as f64 * (mean - f64::from(center)).powi(2))
        })
        .collect();
    let batch = planes.len() / channels;
    (0..channels)
        .map(|c| {
            let of_channel = || planes[c..].iter().step_by(channels);
            let mean = of_channel().map(|(mean, _)| mean).sum::<f64>() / batch as f64;
            let squares: f64 = of_channel().map(|(m, s)| s + area as f64 * (m - mean) * (m - mean)).sum();
            // Rounding may leave a little less than nothing.
            (mean, squares.max(0.0) / (batch * area) as f64)
        })
        .unzip()
}

/// `y = x̂·gamma + beta`, channel by channel.
pub(crate) fn forward(x: &[f32], channels: &[Channel], beta: &[f32], area: usize) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(area).zip(x.par_chunks(area)).enumerate().for_each(|(plane, (y, x))| {
        let c = plane % channels.len();
        let (center, [scale, shift]) = (channels[c].center(), channels[c].affine(beta[c]));
        vectorized(
            #[inline(always)]
            || y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - center) * scale + shift),
        );
    });
    y
}

/// For every channel (Σ dy·x̂, Σ dy): the gradients of gamma and of beta.
pub(crate) fn gradient_sums(x: &[f32], dy: &[f32], channels: &[Channel], area: usize) -> Vec<(f64, f64)> {
    let planes: Vec<(f64, f64)> = x
        .par_chunks(area)
        .zip(dy.par_chunks(area))
        .enumerate()
        .map(|(plane, (x, dy))| {
            let center = channels[plane % channels.len()].center();
            (sum_of(x, dy, |x, dy| dy * (x - center)), sum(dy))
        })
        .collect();
    let of_channel = |(c, channel): (usize, &Channel)| {
        let of_channel = planes[c..].iter().step_by(channels.len());
        let (products, gradients) = of_channel.fold((0.0, 0.0), |sums, p| (sums.0 + p.0, sums.1 + p.1));
        channel.gradient_sums(products, gradients)
    };
    channels.iter().enumerate().map(of_channel).collect()
}

/// The gradient of the input, `gamma·inv_std·(dy − (Σdy + x̂·Σ(dy·x̂))/count)`, channel by channel; `sums` are
/// those of [`gradient_sums`]. An infinite `count` leaves the sums out.
pub(crate) fn input_gradient(
    x: &[f32],
    dy: &[f32],
    channels: &[Channel],
    sums: &[(f64, f64)],
    count: f64,
    area: usize,
) -> Vec<f32> {
    let mut dx = vec![0.0; x.len()];
    (dx.par_chunks_mut(area), x.par_chunks(area), dy.par_chunks(area)).into_par_iter().enumerate().for_each(
        |(plane, (dx, x, dy))| {
            let c = plane % channels.len();
            let center = channels[c].center();
            let [scale, slope, constant] = channels[c].input_gradient(sums[c], count);
            vectorized(
                #[inline(always)]
                || {
                    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
                        *dx = scale * dy + slope * (x - center) + constant;
                    }
                },
            );
        },
    );
    dx
}
