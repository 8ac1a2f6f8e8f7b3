//! The layers as their definitions read, in f64, forward and backward.

use fer_nn::{Activation, Conv2dConfig, Padding};
use ndarray::{Array1, Array2, Array3, Array4, ArrayD, Ix1, Ix2, Ix4};

/// Values of any shape.
pub type Array = ArrayD<f64>;

fn view<D: ndarray::Dimension>(array: &Array) -> ndarray::ArrayView<'_, f64, D> {
    array.view().into_dimensionality().unwrap()
}

fn activate(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Elu if x <= 0.0 => x.exp_m1(),
        _ => x,
    }
}

fn slope(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Relu if x <= 0.0 => 0.0,
        Activation::Elu if x <= 0.0 => x.exp(),
        _ => 1.0,
    }
}

/// Rows (or columns) of zeros before the image, and of the output; `None` when no window fits.
pub fn windows(padding: Padding, size: usize, kernel: usize, stride: usize) -> Option<(usize, usize)> {
    match padding {
        Padding::Valid if kernel > size => None,
        Padding::Valid => Some((0, (0..=size - kernel).step_by(stride).count())),
        Padding::Same => {
            let starts = (0..size).step_by(stride);
            let covered = starts.clone().next_back()? + kernel;
            Some((covered.saturating_sub(size) / 2, starts.count()))
        }
    }
}

/// Calls `each` with the indices into x, weight and y of every product x·weight that a convolution adds to y.
fn products(
    x: &[usize],
    weight: &[usize],
    config: Conv2dConfig,
    mut each: impl FnMut([usize; 4], [usize; 4], [usize; 4]),
) {
    let (top, out_height) = windows(config.padding, x[2], weight[2], config.stride).unwrap();
    let (left, out_width) = windows(config.padding, x[3], weight[3], config.stride).unwrap();
    for (n, o, r, c) in ndarray::indices([x[0], weight[0], out_height, out_width]) {
        for (i, kr, kc) in ndarray::indices([weight[1], weight[2], weight[3]]) {
            let (row, column) = (r * config.stride + kr, c * config.stride + kc);
            if (top..top + x[2]).contains(&row) && (left..left + x[3]).contains(&column) {
                each([n, i, row - top, column - left], [o, i, kr, kc], [n, o, r, c]);
            }
        }
    }
}

/// Before the activation.
fn conv2d_linear([x, weight, bias]: [&Array; 3], config: Conv2dConfig) -> Array {
    let (xs, ws, bias) = (view::<Ix4>(x), view::<Ix4>(weight), view::<Ix1>(bias));
    let out = |axis: usize| {
        windows(config.padding, x.shape()[axis], weight.shape()[axis], config.stride).unwrap().1
    };
    let shape = (x.shape()[0], weight.shape()[0], out(2), out(3));
    let mut y = Array4::from_shape_fn(shape, |(_, o, _, _)| bias[o]);
    products(x.shape(), weight.shape(), config, |i, k, o| y[o] += xs[i] * ws[k]);
    y.into_dyn()
}

/// activation(x ∗ weight + bias).
pub fn conv2d(inputs: [&Array; 3], config: Conv2dConfig) -> Array {
    conv2d_linear(inputs, config).mapv(|v| activate(v, config.activation))
}

/// The gradients of x, weight and bias.
pub fn conv2d_backward(inputs: [&Array; 3], dy: &Array, config: Conv2dConfig) -> [Array; 3] {
    let [x, weight, bias] = inputs;
    let dz = conv2d_linear(inputs, config).mapv(|v| slope(v, config.activation)) * dy;
    let (xs, ws, dz) = (view::<Ix4>(x), view::<Ix4>(weight), view::<Ix4>(&dz));
    let (mut dx, mut dw) = (Array4::zeros(xs.raw_dim()), Array4::zeros(ws.raw_dim()));
    products(x.shape(), weight.shape(), config, |i, k, o| {
        dx[i] += dz[o] * ws[k];
        dw[k] += dz[o] * xs[i];
    });
    let mut db = Array1::zeros(bias.len());
    dz.indexed_iter().for_each(|((_, o, _, _), g)| db[o] += g);
    [dx.into_dyn(), dw.into_dyn(), db.into_dyn()]
}

fn dense_linear([x, weight, bias]: [&Array; 3]) -> Array2<f64> {
    view::<Ix2>(x).dot(&view::<Ix2>(weight).t()) + view::<Ix1>(bias)
}

/// activation(x·weightᵀ + bias).
pub fn dense(inputs: [&Array; 3], activation: Activation) -> Array {
    dense_linear(inputs).mapv(|v| activate(v, activation)).into_dyn()
}

/// The gradients of x, weight and bias.
pub fn dense_backward(inputs: [&Array; 3], dy: &Array, activation: Activation) -> [Array; 3] {
    let [x, weight, _] = inputs;
    let dz = dense_linear(inputs).mapv(|v| slope(v, activation)) * view::<Ix2>(dy);
    let (dx, dw) = (dz.dot(&view::<Ix2>(weight)), dz.t().dot(&view::<Ix2>(x)));
    [dx.into_dyn(), dw.into_dyn(), dz.sum_axis(ndarray::Axis(0)).into_dyn()]
}

/// The mean and the biased variance of every channel, axis 1.
pub fn moments(x: &Array) -> (Vec<f64>, Vec<f64>) {
    let of_channel = |channel: ndarray::ArrayViewD<f64>| {
        let mean = channel.mean().unwrap();
        (mean, channel.mapv(|v| (v - mean).powi(2)).mean().unwrap())
    };
    x.axis_iter(ndarray::Axis(1)).map(of_channel).unzip()
}

/// `(batch, channels, area)`.
fn by_channel(x: &Array) -> Array3<f64> {
    let (batch, channels) = (x.shape()[0], x.shape()[1]);
    let shape = (batch, channels, x.len() / (batch * channels));
    x.to_shape(shape).unwrap().to_owned()
}

/// γ·(x − mean)/√(var + ε) + β, the statistics being the batch's own unless they are given.
pub fn batch_norm(
    [x, gamma, beta]: [&Array; 3],
    epsilon: f64,
    given: Option<&(Vec<f64>, Vec<f64>)>,
) -> Array {
    let own = moments(x);
    let (mean, var) = given.unwrap_or(&own);
    let mut y = by_channel(x);
    for ((_, c, _), v) in y.indexed_iter_mut() {
        *v = gamma[c] * (*v - mean[c]) / (var[c] + epsilon).sqrt() + beta[c];
    }
    y.into_shape_with_order(x.raw_dim()).unwrap()
}

/// The gradients of x, γ and β: by the chain rule through the variance and the mean, when they are the batch's.
pub fn batch_norm_backward(
    [x, gamma, _]: [&Array; 3],
    dy: &Array,
    epsilon: f64,
    given: Option<&(Vec<f64>, Vec<f64>)>,
) -> [Array; 3] {
    let own = moments(x);
    let (mean, var) = given.unwrap_or(&own);
    let (x3, dy3) = (by_channel(x), by_channel(dy));
    let count = (x.len() / mean.len()) as f64;
    let mut dx = Array3::zeros(x3.raw_dim());
    let (mut d_gamma, mut d_beta) = (Array1::zeros(mean.len()), Array1::zeros(mean.len()));
    for c in 0..mean.len() {
        let std = (var[c] + epsilon).sqrt();
        let channel = ndarray::s![.., c, ..];
        let centred = x3.slice(channel).mapv(|v| v - mean[c]);
        let dy = dy3.slice(channel);
        d_gamma[c] = (&centred * &dy).sum() / std;
        d_beta[c] = dy.sum();
        let mut d_centred = &dy * (gamma[c] / std);
        if given.is_none() {
            let d_var = (&dy * &centred).sum() * gamma[c] * -0.5 / std.powi(3);
            d_centred = d_centred + &centred * (2.0 * d_var / count);
            let d_mean = -d_centred.sum();
            d_centred += d_mean / count;
        }
        dx.slice_mut(channel).assign(&d_centred);
    }
    let dx = dx.into_shape_with_order(x.raw_dim()).unwrap();
    [dx, d_gamma.into_dyn(), d_beta.into_dyn()]
}

/// Where each window has its first maximum, window by window in the order of the output.
fn maxima(x: &Array, size: usize, stride: usize) -> Array4<[usize; 4]> {
    let dims = x.shape();
    let out = |length| windows(Padding::Valid, length, size, stride).unwrap().1;
    Array4::from_shape_fn((dims[0], dims[1], out(dims[2]), out(dims[3])), |(n, c, r, k)| {
        let inside = ndarray::indices([size, size]).into_iter();
        let positions = inside.map(|(i, j)| [n, c, r * stride + i, k * stride + j]);
        positions.reduce(|best, at| if x[at] > x[best] { at } else { best }).unwrap()
    })
}

/// The maximum of every window.
pub fn max_pool2d(x: &Array, size: usize, stride: usize) -> Array {
    maxima(x, size, stride).mapv(|at| x[at]).into_dyn()
}

/// The gradient of x: each window's goes to its first maximum.
pub fn max_pool2d_backward(x: &Array, dy: &Array, size: usize, stride: usize) -> Array {
    let mut dx = Array::zeros(x.raw_dim());
    for (at, g) in maxima(x, size, stride).iter().zip(dy) {
        dx[*at] += g;
    }
    dx
}

mod gradients {
    use super::*;
    use crate::compare::Random;

    /// Compares `gradients` of Σ `dy`·f(inputs) with central differences, value by value.
    fn assert_differences<const N: usize>(
        name: &str,
        inputs: &[Array; N],
        dy: &Array,
        gradients: &[Array; N],
        f: impl Fn([&Array; N]) -> Array,
    ) {
        const STEP: f64 = 1e-5;
        for (which, gradient) in gradients.iter().enumerate() {
            assert_eq!(gradient.shape(), inputs[which].shape(), "{name}: gradient {which}");
            for at in 0..gradient.len() {
                let moved = |by: f64| {
                    let mut inputs = inputs.clone();
                    inputs[which].as_slice_mut().unwrap()[at] += by;
                    (f(inputs.each_ref()) * dy).sum()
                };
                let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let found = gradient.as_standard_layout().as_slice().unwrap()[at];
                assert!(
                    (found - difference).abs() < 1e-7 * difference.abs().max(1.0),
                    "{name}: gradient {which} at {at}: {found}, difference {difference}"
                );
            }
        }
    }

    #[test]
    fn of_the_convolution_are_finite_differences() {
        for (seed, (padding, stride, kernel, activation)) in [
            (Padding::Same, 1, [3, 3], Activation::Elu),
            (Padding::Same, 2, [5, 2], Activation::Linear),
            (Padding::Valid, 1, [2, 3], Activation::Relu),
            (Padding::Valid, 3, [1, 4], Activation::Elu),
            (Padding::Same, 3, [7, 7], Activation::Elu),
        ]
        .into_iter()
        .enumerate()
        {
            let mut random = Random::new(seed as u64);
            let config = Conv2dConfig { padding, stride, activation };
            let inputs = [
                random.array(&[2, 3, 5, 4]),
                random.array(&[2, 3, kernel[0], kernel[1]]),
                random.array(&[2]),
            ];
            let dy = random.array(conv2d(inputs.each_ref(), config).shape());
            let gradients = conv2d_backward(inputs.each_ref(), &dy, config);
            assert_differences(&format!("{config:?}"), &inputs, &dy, &gradients, |i| conv2d(i, config));
        }
    }

    #[test]
    fn of_the_dense_layer_are_finite_differences() {
        for activation in [Activation::Linear, Activation::Relu, Activation::Elu] {
            let mut random = Random::new(11);
            let inputs = [random.array(&[3, 5]), random.array(&[4, 5]), random.array(&[4])];
            let dy = random.array(&[3, 4]);
            let gradients = dense_backward(inputs.each_ref(), &dy, activation);
            assert_differences("dense", &inputs, &dy, &gradients, |i| dense(i, activation));
        }
    }

    #[test]
    fn of_the_batch_norm_are_finite_differences() {
        for dims in [&[4, 3, 2, 2][..], &[5, 3], &[2, 3, 3]] {
            let mut random = Random::new(12);
            let inputs = [random.array(dims), random.array(&[3]), random.array(&[3])];
            let dy = random.array(dims);
            let moving = (vec![0.1, -0.2, 0.3], vec![0.5, 1.0, 2.0]);
            for given in [None, Some(&moving)] {
                let gradients = batch_norm_backward(inputs.each_ref(), &dy, 1e-3, given);
                assert_differences("batch_norm", &inputs, &dy, &gradients, |i| batch_norm(i, 1e-3, given));
            }
        }
    }

    #[test]
    fn of_the_pooling_are_finite_differences() {
        for (size, stride) in [(2, 2), (3, 2), (3, 1), (2, 3)] {
            let mut random = Random::new(13);
            let x = random.array(&[2, 2, 7, 6]);
            let dy = random.array(max_pool2d(&x, size, stride).shape());
            let dx = max_pool2d_backward(&x, &dy, size, stride);
            assert_differences("max_pool2d", &[x], &dy, &[dx], |[x]| max_pool2d(x, size, stride));
        }
    }
}
