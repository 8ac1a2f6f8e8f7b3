//! Batch normalisation over `(batch, channels, area)`.

use rayon::prelude::*;

use super::elementwise::{sum, sum_of};
use super::vectorized;

/// The mean and the biased variance of every channel.
///
/// Each plane is measured around its own mean and the planes are joined in f64 (Chan, Golub and LeVeque 1979),
/// so a mean far from zero costs no precision.
pub(crate) fn batch_statistics(x: &[f32], channels: usize, area: usize) -> (Vec<f64>, Vec<f64>) {
    let planes: Vec<(f64, f64)> = x
        .par_chunks(area)
        .map(|plane| {
            let mean = sum(plane) / area as f64;
            let center = mean as f32;
            let squares = sum_of(plane, plane, |v, _| (v - center) * (v - center));
            (mean, squares)
        })
        .collect();
    let batch = planes.len() / channels;
    (0..channels)
        .map(|c| {
            let of_channel = || planes[c..].iter().step_by(channels);
            let mean = of_channel().map(|(mean, _)| mean).sum::<f64>() / batch as f64;
            let squares: f64 = of_channel().map(|(m, s)| s + area as f64 * (m - mean) * (m - mean)).sum();
            (mean, squares / (batch * area) as f64)
        })
        .unzip()
}

/// `y = x·scale + shift`, channel by channel.
pub(crate) fn scale_and_shift(x: &[f32], scale: &[f32], shift: &[f32], area: usize) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(area).zip(x.par_chunks(area)).enumerate().for_each(|(plane, (y, x))| {
        let c = plane % scale.len();
        let (scale, shift) = (scale[c], shift[c]);
        vectorized(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * scale + shift));
    });
    y
}

/// For every channel Σ dy·(x − mean)·`inv_std`, the gradient of gamma, and Σ dy, the gradient of beta; one
/// after the other, `2·channels` values.
pub(crate) fn gradient_sums(x: &[f32], dy: &[f32], mean: &[f32], inv_std: &[f32], area: usize) -> Vec<f32> {
    let channels = mean.len();
    let planes: Vec<(f64, f64)> = x
        .par_chunks(area)
        .zip(dy.par_chunks(area))
        .enumerate()
        .map(|(plane, (x, dy))| {
            let mean = mean[plane % channels];
            (sum_of(x, dy, |x, dy| dy * (x - mean)), sum(dy))
        })
        .collect();
    let mut sums = vec![0.0_f64; 2 * channels];
    for (plane, (products, gradients)) in planes.iter().enumerate() {
        let c = plane % channels;
        sums[c] += products * f64::from(inv_std[c]);
        sums[channels + c] += gradients;
    }
    sums.iter().map(|&s| s as f32).collect()
}

/// The gradient of the input: `dx = scale·dy + slope·(x − mean) + constant`, channel by channel.
pub(crate) fn input_gradient(x: &[f32], dy: &[f32], terms: &[InputGradient], area: usize) -> Vec<f32> {
    let mut dx = vec![0.0; x.len()];
    (dx.par_chunks_mut(area), x.par_chunks(area), dy.par_chunks(area)).into_par_iter().enumerate().for_each(
        |(plane, (dx, x, dy))| {
            let InputGradient { scale, slope, mean, constant } = terms[plane % terms.len()];
            vectorized(|| {
                for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
                    *dx = scale * dy + slope * (x - mean) + constant;
                }
            });
        },
    );
    dx
}

/// The terms of [`input_gradient`] for one channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputGradient {
    pub scale: f32,
    pub slope: f32,
    pub mean: f32,
    pub constant: f32,
}
