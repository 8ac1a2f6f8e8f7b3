//! The layers as their definitions read, in f64, forward and backward.

use fer_nn::{Activation, Conv2dConfig, Padding};
use ndarray::{Array1, Array2, Array3, Array4, ArrayD, Ix1, Ix2, Ix4};

/// Values of any shape.
pub type Array = ArrayD<f64>;

fn view<D: ndarray::Dimension>(array: &Array) -> ndarray::ArrayView<'_, f64, D> {
    array.view().into_dimensionality().unwrap()
}

pub fn activate(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Elu if x <= 0.0 => x.exp_m1(),
        Activation::LeakyRelu(slope) if x <= 0.0 => f64::from(slope) * x,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        _ => x,
    }
}

pub fn slope(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Relu if x <= 0.0 => 0.0,
        Activation::Elu if x <= 0.0 => x.exp(),
        Activation::LeakyRelu(slope) if x <= 0.0 => f64::from(slope),
        Activation::Silu => {
            let logistic = 1.0 / (1.0 + (-x).exp());
            logistic * (1.0 + x * (1.0 - logistic))
        }
        Activation::Sigmoid => (-x).exp() / (1.0 + (-x).exp()).powi(2),
        _ => 1.0,
    }
}

/// Rows (axis 0) or columns (axis 1) of zeros before the image, and of the output; `None` when no window fits.
pub fn windows(
    padding: Padding,
    axis: usize,
    size: usize,
    kernel: usize,
    stride: usize,
) -> Option<(usize, usize)> {
    let with = |before: usize, after: usize| {
        let size = size + before + after;
        (kernel <= size).then(|| (before, (0..=size - kernel).step_by(stride).count()))
    };
    match padding {
        Padding::Valid => with(0, 0),
        Padding::Explicit { top, bottom, .. } if axis == 0 => with(top, bottom),
        Padding::Explicit { left, right, .. } => with(left, right),
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
    let (top, out_height) = windows(config.padding, 0, x[2], weight[2], config.stride).unwrap();
    let (left, out_width) = windows(config.padding, 1, x[3], weight[3], config.stride).unwrap();
    for (n, o, r, c) in ndarray::indices([x[0], weight[0], out_height, out_width]) {
        for (i, kr, kc) in ndarray::indices([weight[1], weight[2], weight[3]]) {
            let (row, column) = (r * config.stride + kr, c * config.stride + kc);
            if (top..top + x[2]).contains(&row) && (left..left + x[3]).contains(&column) {
                let channel = o / (weight[0] / config.groups) * weight[1] + i;
                each([n, channel, row - top, column - left], [o, i, kr, kc], [n, o, r, c]);
            }
        }
    }
}

/// Before the activation.
fn conv2d_linear([x, weight, bias]: [&Array; 3], config: Conv2dConfig) -> Array {
    let (xs, ws, bias) = (view::<Ix4>(x), view::<Ix4>(weight), view::<Ix1>(bias));
    let out = |axis: usize| {
        windows(config.padding, axis - 2, x.shape()[axis], weight.shape()[axis], config.stride).unwrap().1
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

/// The places of the values of every window, window by window in the order of the output.
fn places(x: &Array, size: usize, stride: usize, padding: Padding) -> Array4<Vec<[usize; 4]>> {
    let dims = x.shape();
    let [(top, height), (left, width)] =
        [0, 1].map(|axis| windows(padding, axis, dims[2 + axis], size, stride).unwrap());
    Array4::from_shape_fn((dims[0], dims[1], height, width), |(n, c, r, k)| {
        let inside = ndarray::indices([size, size]).into_iter();
        let at = inside.map(|(i, j)| (r * stride + i, k * stride + j));
        let at =
            at.filter(|&(i, j)| (top..top + dims[2]).contains(&i) && (left..left + dims[3]).contains(&j));
        at.map(|(i, j)| [n, c, i - top, j - left]).collect()
    })
}

/// Where each window has its first maximum.
fn maxima(x: &Array, size: usize, stride: usize, padding: Padding) -> Array4<[usize; 4]> {
    let first = |window: &Vec<[usize; 4]>| {
        window.iter().copied().reduce(|best, at| if x[at] > x[best] { at } else { best }).unwrap()
    };
    places(x, size, stride, padding).map(first)
}

/// The maximum of every window.
pub fn max_pool2d(x: &Array, size: usize, stride: usize, padding: Padding) -> Array {
    maxima(x, size, stride, padding).mapv(|at| x[at]).into_dyn()
}

/// The gradient of x: each window's goes to its first maximum.
pub fn max_pool2d_backward(x: &Array, dy: &Array, size: usize, stride: usize, padding: Padding) -> Array {
    let mut dx = Array::zeros(x.raw_dim());
    for (at, g) in maxima(x, size, stride, padding).iter().zip(dy) {
        dx[*at] += g;
    }
    dx
}

/// The mean of every window's values.
pub fn mean_pool2d(x: &Array, size: usize, stride: usize, padding: Padding) -> Array {
    let mean = |window: &Vec<[usize; 4]>| window.iter().map(|&at| x[at]).sum::<f64>() / window.len() as f64;
    places(x, size, stride, padding).map(mean).into_dyn()
}

/// The gradient of x: each window's in equal parts.
pub fn mean_pool2d_backward(x: &Array, dy: &Array, size: usize, stride: usize, padding: Padding) -> Array {
    let mut dx = Array::zeros(x.raw_dim());
    for (window, g) in places(x, size, stride, padding).iter().zip(dy) {
        window.iter().for_each(|&at| dx[at] += g / window.len() as f64);
    }
    dx
}

/// Every value adds its multiple of the kernel `(in, out, rows, columns)` to windows `stride` apart, of which `cut` rows and
/// columns are left out above and to the left, and as many at the other side.
pub fn conv_transpose2d([x, weight]: [&Array; 2], stride: usize, cut: usize) -> Array {
    let (xs, ws) = (view::<Ix4>(x), view::<Ix4>(weight));
    let out = |axis: usize| (x.shape()[axis] - 1) * stride + weight.shape()[axis];
    let mut y = Array4::zeros((x.shape()[0], weight.shape()[1], out(2), out(3)));
    for ((n, i, r, c), value) in xs.indexed_iter() {
        for ((_, o, kr, kc), weight) in ws.slice(ndarray::s![i..=i, .., .., ..]).indexed_iter() {
            y[[n, o, r * stride + kr, c * stride + kc]] += value * weight;
        }
    }
    let (rows, columns) = (y.dim().2 - cut, y.dim().3 - cut);
    y.slice(ndarray::s![.., .., cut..rows, cut..columns]).to_owned().into_dyn()
}

/// The gradients of x and weight.
pub fn conv_transpose2d_backward(
    [x, weight]: [&Array; 2],
    dy: &Array,
    stride: usize,
    cut: usize,
) -> [Array; 2] {
    let (xs, ws, dy) = (view::<Ix4>(x), view::<Ix4>(weight), view::<Ix4>(dy));
    let (mut dx, mut dw) = (Array4::zeros(xs.raw_dim()), Array4::zeros(ws.raw_dim()));
    for ((n, i, r, c), value) in xs.indexed_iter() {
        for ((_, o, kr, kc), weight) in ws.slice(ndarray::s![i..=i, .., .., ..]).indexed_iter() {
            let (row, column) = (r * stride + kr, c * stride + kc);
            if row < cut || column < cut || row - cut >= dy.dim().2 || column - cut >= dy.dim().3 {
                continue;
            }
            let g = dy[[n, o, row - cut, column - cut]];
            dx[[n, i, r, c]] += g * weight;
            dw[[i, o, kr, kc]] += g * value;
        }
    }
    [dx.into_dyn(), dw.into_dyn()]
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
            (Padding::Explicit { top: 2, bottom: 0, left: 1, right: 3 }, 2, [3, 3], Activation::Silu),
            (Padding::all(1), 1, [3, 3], Activation::LeakyRelu(0.1)),
            (Padding::Valid, 1, [2, 2], Activation::Sigmoid),
        ]
        .into_iter()
        .enumerate()
        {
            let mut random = Random::new(seed as u64);
            for (channels, outputs, groups) in [(3, 2, 1), (4, 6, 2), (3, 6, 3)] {
                let config = Conv2dConfig { padding, stride, activation, groups, ..Default::default() };
                let inputs = [
                    random.array(&[2, channels, 5, 4]),
                    random.array(&[outputs, channels / groups, kernel[0], kernel[1]]),
                    random.array(&[outputs]),
                ];
                let dy = random.array(conv2d(inputs.each_ref(), config).shape());
                let gradients = conv2d_backward(inputs.each_ref(), &dy, config);
                assert_differences(&format!("{config:?}"), &inputs, &dy, &gradients, |i| conv2d(i, config));
            }
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
        let uneven = Padding::Explicit { top: 1, bottom: 0, left: 0, right: 1 };
        for (size, stride, padding) in
            [(2, 2, Padding::Valid), (3, 2, Padding::Same), (3, 1, Padding::Valid), (2, 3, uneven)]
        {
            let mut random = Random::new(13);
            let x = [random.array(&[2, 2, 7, 6])];
            let dy = random.array(max_pool2d(&x[0], size, stride, padding).shape());
            let dx = [max_pool2d_backward(&x[0], &dy, size, stride, padding)];
            assert_differences("max_pool2d", &x, &dy, &dx, |[x]| max_pool2d(x, size, stride, padding));
            let dx = [mean_pool2d_backward(&x[0], &dy, size, stride, padding)];
            assert_differences("mean_pool2d", &x, &dy, &dx, |[x]| mean_pool2d(x, size, stride, padding));
        }
    }

    #[test]
    fn of_the_transposed_convolution_are_finite_differences() {
        for (kernel, stride, cut) in [(2, 2, 0), (3, 1, 1), (3, 2, 1), (2, 3, 0)] {
            let mut random = Random::new(14);
            let inputs = [random.array(&[2, 3, 4, 3]), random.array(&[3, 2, kernel, kernel])];
            let dy = random.array(conv_transpose2d(inputs.each_ref(), stride, cut).shape());
            let gradients = conv_transpose2d_backward(inputs.each_ref(), &dy, stride, cut);
            let forward = |i: [&Array; 2]| conv_transpose2d(i, stride, cut);
            assert_differences("conv_transpose2d", &inputs, &dy, &gradients, forward);
        }
    }

    #[test]
    fn of_the_activations_are_finite_differences() {
        use Activation::*;
        for activation in [Linear, Relu, Elu, LeakyRelu(0.2), Silu, Sigmoid] {
            let mut random = Random::new(15);
            let x = [random.array(&[40]) * 4.0];
            let dy = random.array(&[40]);
            let dx = [x[0].mapv(|v| slope(v, activation)) * &dy];
            assert_differences("activation", &x, &dy, &dx, |[x]| x.mapv(|v| activate(v, activation)));
        }
    }
}
