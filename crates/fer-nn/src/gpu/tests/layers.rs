//! Single layers on the emulated card against the CPU's.

use std::sync::Arc;

use fer_rand::{Purpose, Stream};

use super::random;
use crate::Activation;
use crate::cpu;
use crate::cpu::conv2d::ConvShape;
use crate::cpu::dense::DenseShape;
use crate::cpu::normalize::Channel;
use crate::cpu::pool::Windows;
use crate::gpu::emulator::Emulator;
use crate::gpu::layers::Layers;
use crate::gpu::{Address, Gpu};

/// Values where the emulated card reads and writes them.
struct Values(Vec<f32>);

impl Values {
    fn random(len: usize, item: u32) -> Self {
        Self(random(len, item))
    }

    fn at(&mut self) -> Address {
        Address(self.0.as_mut_ptr() as u64)
    }
}

/// What `work` writes to `len` values that are not numbers, against what is wanted.
fn check(
    what: &str,
    wanted: &[f32],
    work: impl FnOnce(&Layers<Emulator>, Address) -> candle_core::Result<()>,
) {
    let Some(emulator) = Emulator::new() else { return };
    let mut found = Values(vec![f32::NAN; wanted.len()]);
    work(&Layers::new(Arc::new(emulator)), found.at()).unwrap();
    let norm = wanted.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-3);
    let error = found.0.iter().zip(wanted).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
    assert!(error <= 1e-5 * norm, "{what}: {error} of {norm}");
}

#[test]
fn convolutions_are_the_cpus() {
    for (batch, in_channels, out_channels, size, kernel, stride, padding) in [
        (2, 3, 8, (7, 9), (3, 3), 1, (1, 1)),
        (3, 1, 5, (8, 8), (5, 5), 1, (2, 2)),
        (1, 4, 6, (9, 6), (3, 2), 2, (0, 0)),
    ] {
        let out = |size: usize, kernel: usize, padding: usize| (size + 2 * padding - kernel) / stride + 1;
        let s = ConvShape {
            batch,
            in_channels,
            height: size.0,
            width: size.1,
            out_channels,
            kernel,
            stride,
            padding,
            out_height: out(size.0, kernel.0, padding.0),
            out_width: out(size.1, kernel.1, padding.1),
        };
        let weights = out_channels * in_channels * kernel.0 * kernel.1;
        let mut x = Values::random(batch * in_channels * size.0 * size.1, 1);
        let (mut w, mut b) = (Values::random(weights, 2), Values::random(out_channels, 3));
        let mut dy = Values::random(batch * out_channels * s.out_height * s.out_width, 4);
        for activation in [Activation::Linear, Activation::Relu, Activation::Elu] {
            let wanted = cpu::conv2d::forward(&x.0, &w.0, &b.0, activation, s);
            check("conv2d", &wanted, |layers, y| layers.conv2d([x.at(), w.at(), b.at()], y, activation, &s));
        }
        let wanted = cpu::conv2d::backward_input(&w.0, &dy.0, s);
        check("input", &wanted, |layers, dx| layers.conv2d_input([w.at(), dy.at()], dx, &s));
        let wanted = cpu::conv2d::backward_weight(&x.0, &dy.0, s);
        check("weight", &wanted, |layers, dw| layers.conv2d_weight([x.at(), dy.at()], dw, &s));
    }
}

#[test]
fn dense_layers_are_the_cpus() {
    for (batch, inputs, outputs) in [(4, 9, 8), (1, 5, 3), (7, 16, 1)] {
        let s = DenseShape { batch, inputs, outputs };
        let (mut x, mut w) = (Values::random(batch * inputs, 1), Values::random(outputs * inputs, 2));
        let (mut b, mut dy) = (Values::random(outputs, 3), Values::random(batch * outputs, 4));
        let elu = Activation::Elu;
        let wanted = cpu::dense::forward(&x.0, &w.0, &b.0, elu, s);
        check("dense", &wanted, |layers, y| layers.dense([x.at(), w.at(), b.at()], y, elu, s));
        let wanted = cpu::dense::backward_input(&w.0, &dy.0, s);
        check("input", &wanted, |layers, dx| layers.dense_input([w.at(), dy.at()], dx, s));
        let wanted = cpu::dense::backward_weight(&x.0, &dy.0, s);
        check("weight", &wanted, |layers, dw| layers.dense_weight([x.at(), dy.at()], dw, s));
    }
}

#[test]
fn normalisation_is_the_cpus_far_from_zero_too() {
    for (planes, shift) in [([3, 8, 35], 0.0), ([2, 5, 9], 1e4), ([6, 4, 1], -3.0), ([1, 130, 6], 1.0)] {
        let [batch, channels, area] = planes;
        let mut x = Values::random(batch * channels * area, 1);
        x.0.iter_mut().for_each(|v| *v += shift);
        let mut dy = Values::random(batch * channels * area, 2);
        let (gamma, beta) = (random(channels, 3), random(channels, 4));
        let (mean, var) = cpu::normalize::batch_statistics(&x.0, channels, area);
        let Some(emulator) = Emulator::new() else { return };
        let layers = Layers::new(Arc::new(emulator));
        let [found_mean, found_var] = layers.moments(x.at(), planes).unwrap();
        for c in 0..channels {
            assert!(
                (found_mean[c] - mean[c]).abs() <= 1e-6 * mean[c].abs().max(1.0),
                "{} {}",
                found_mean[c],
                mean[c]
            );
            assert!((found_var[c] - var[c]).abs() <= 1e-4 * var[c], "{} {}", found_var[c], var[c]);
        }
        let channel = |c: usize| Channel {
            mean: mean[c],
            inv_std: (var[c] + 1e-3).sqrt().recip(),
            gamma: f64::from(gamma[c]),
        };
        let of_channels: Vec<Channel> = (0..channels).map(channel).collect();
        let wanted = cpu::normalize::forward(&x.0, &of_channels, &beta, area);
        check("forward", &wanted, |layers, y| layers.batch_norm(x.at(), y, &of_channels, &beta, planes));
        let sums = cpu::normalize::gradient_sums(&x.0, &dy.0, &of_channels, area);
        let found = layers.batch_norm_sums([x.at(), dy.at()], &of_channels, planes).unwrap();
        for (found, wanted) in found.iter().zip(&sums) {
            assert!(
                (found.0 - wanted.0).abs() < 1e-4 && (found.1 - wanted.1).abs() < 1e-4,
                "{found:?} {wanted:?}"
            );
        }
        for count in [(batch * area) as f64, f64::INFINITY] {
            let wanted = cpu::normalize::input_gradient(&x.0, &dy.0, &of_channels, &sums, count, area);
            check("input", &wanted, |layers, dx| {
                layers.batch_norm_input([x.at(), dy.at()], dx, &of_channels, &sums, count, planes)
            });
        }
    }
}

#[test]
fn dropout_draws_the_cpus_masks() {
    for planes in [[2, 16, 12], [3, 20, 7], [5, 37, 1], [1, 1, 30]] {
        let [batch, channels, area] = planes;
        let mut x = Values::random(batch * channels * area, 1);
        let stream = Stream { seed: 1 << 40 | 5, purpose: Purpose::named("dropout_1"), epoch: 2, item: 9 };
        let wanted = cpu::elementwise::dropout(&x.0, channels, area, 0.4, stream);
        let Some(emulator) = Emulator::new() else { return };
        let mut found = Values(vec![f32::NAN; wanted.len()]);
        Layers::new(Arc::new(emulator)).dropout(x.at(), found.at(), 0.4, stream, planes).unwrap();
        assert_eq!(found.0, wanted);
    }
}

#[test]
fn pooling_and_activations_are_the_cpus_to_the_bit() {
    for (height, width, size, stride) in
        [(6, 8, 2, 2), (7, 5, 2, 2), (9, 9, 3, 2), (6, 6, 3, 1), (4, 4, 1, 1)]
    {
        let windows = Windows { height, width, size, stride };
        let mut x = Values::random(6 * height * width, 1);
        x.0[7] = f32::NAN;
        x.0[9] = x.0[8];
        let wanted = cpu::pool::max_pool2d(&x.0, windows);
        let mut dy = Values::random(wanted.len(), 2);
        let Some(emulator) = Emulator::new() else { return };
        let layers = Layers::new(Arc::new(emulator));
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits() & 0x7fff_ffff).collect::<Vec<_>>();
        let mut found = Values(vec![-1.0; wanted.len()]);
        layers.max_pool2d(x.at(), found.at(), 6, windows).unwrap();
        assert_eq!(bits(&found.0), bits(&wanted), "{windows:?}");
        let wanted = cpu::pool::max_pool2d_backward(&x.0, &dy.0, windows);
        check("pooling", &wanted, |layers, dx| layers.max_pool2d_backward([x.at(), dy.at()], dx, 6, windows));
    }
    let (mut y, mut dy) = (Values::random(1000, 1), Values::random(1000, 2));
    for activation in [Activation::Linear, Activation::Relu, Activation::Elu] {
        let wanted = cpu::elementwise::activation_backward(&y.0, &dy.0, activation);
        check("activation", &wanted, |layers, dx| {
            layers.activation_backward([y.at(), dy.at()], dx, activation, 1000)
        });
    }
}

#[test]
fn a_kernel_that_is_not_there_or_takes_other_arguments_is_an_error() {
    let Some(emulator) = Emulator::new() else { return };
    let args = crate::gpu::args::State::default();
    let error = |kernel: &str| emulator.launch(kernel, [1, 1], [1, 1], &args).unwrap_err().to_string();
    assert!(error("nothing").contains("no kernel"));
    assert!(error("optimizer_f32").contains("does not take arguments of 16 bytes"));
}
