//! Single layers on the emulated card against the CPU's.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use fer_rand::{Purpose, Stream};

use super::random;
use crate::Activation;
use crate::channel::Channel;
use crate::cpu;
use crate::geometry::{ConvShape, DenseShape, Padding, Windows};
use crate::gpu::card::{Address, Gpu};
use crate::gpu::emulator::Emulator;
use crate::gpu::planar::Planar;
use crate::primitive::Primitive;

fn tensor(dims: &[usize], item: u32) -> Tensor {
    Tensor::from_vec(random(dims.iter().product(), item), dims, &Device::Cpu).unwrap()
}

/// What a primitive makes of these operands on the card and on the CPU.
fn both(primitive: &Primitive, operands: &[&Tensor], dims: &[usize]) -> Option<[Vec<f32>; 2]> {
    let emulator = Emulator::new()?;
    let wanted = primitive.tensor("wanted", operands, dims).unwrap();
    let wanted = wanted.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mut values: Vec<Vec<f32>> =
        operands.iter().map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap()).collect();
    let places: Vec<Address> = values.iter_mut().map(|v| Address(v.as_mut_ptr() as u64)).collect();
    let mut found = vec![f32::NAN; wanted.len()];
    let to = Address(found.as_mut_ptr() as u64);
    Planar::new(Arc::new(emulator)).perform(primitive, &places, operands[0].dims(), to).unwrap();
    Some([found, wanted])
}

fn check(primitive: Primitive, operands: &[&Tensor], dims: &[usize]) {
    let Some([found, wanted]) = both(&primitive, operands, dims) else { return };
    let norm = wanted.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-3);
    let error = found.iter().zip(&wanted).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
    assert!(error <= 1e-5 * norm, "{primitive:?}: {error} of {norm}");
}

const ACTIVATIONS: [Activation; 7] = [
    Activation::Linear,
    Activation::Relu,
    Activation::Elu,
    Activation::LeakyRelu(0.3),
    Activation::LeakyRelu(-0.3),
    Activation::Silu,
    Activation::Sigmoid,
];

#[test]
fn convolutions_are_the_cpus() {
    for (batch, in_channels, out_channels, (height, width), kernel, stride, padding, groups) in [
        (2, 3, 8, (7, 9), (3, 3), 1, (1, 1), 1),
        (3, 1, 5, (8, 8), (5, 5), 1, (2, 2), 1),
        (1, 4, 6, (9, 6), (3, 2), 2, (0, 0), 1),
        // Depthwise, and in two groups.
        (2, 6, 6, (7, 5), (3, 3), 1, (1, 1), 6),
        (2, 4, 8, (6, 7), (3, 3), 2, (1, 1), 2),
    ] {
        let out = |size: usize, kernel: usize, padding: usize| (size + 2 * padding - kernel) / stride + 1;
        let s = ConvShape {
            batch,
            in_channels,
            height,
            width,
            out_channels,
            kernel,
            stride,
            padding,
            out_height: out(height, kernel.0, padding.0),
            out_width: out(width, kernel.1, padding.1),
            groups,
        };
        let (x, dy) = (tensor(&[batch, in_channels, height, width], 1), tensor(&s.out_dims(), 4));
        let w = tensor(&[out_channels, in_channels / groups, kernel.0, kernel.1], 2);
        let b = tensor(&[out_channels], 3);
        for activation in ACTIVATIONS {
            check(Primitive::Conv2d(s, activation), &[&x, &w, &b], &s.out_dims());
        }
        check(Primitive::Conv2d(s, Activation::Relu), &[&x, &w], &s.out_dims());
        check(Primitive::Conv2dInput(s), &[&w, &dy], x.dims());
        check(Primitive::Conv2dWeight(s), &[&x, &dy], w.dims());
        check(Primitive::ChannelSums(out_channels, s.out_area()), &[&dy], &[out_channels]);
    }
}

#[test]
fn dense_layers_are_the_cpus() {
    for (batch, inputs, outputs) in [(4, 9, 8), (1, 5, 3), (7, 16, 1)] {
        let s = DenseShape { batch, inputs, outputs };
        let (x, w) = (tensor(&[batch, inputs], 1), tensor(&[outputs, inputs], 2));
        let (b, dy) = (tensor(&[outputs], 3), tensor(&[batch, outputs], 4));
        check(Primitive::Dense(s, Activation::Elu), &[&x, &w, &b], dy.dims());
        check(Primitive::Dense(s, Activation::Linear), &[&x, &w], dy.dims());
        check(Primitive::DenseInput(s), &[&w, &dy], x.dims());
        check(Primitive::DenseWeight(s), &[&x, &dy], w.dims());
        check(Primitive::ChannelSums(outputs, 1), &[&dy], &[outputs]);
    }
}

#[test]
fn normalisation_is_the_cpus_far_from_zero_too() {
    for (planes, shift) in [([3, 8, 35], 0.0), ([2, 5, 9], 1e4), ([6, 4, 1], -3.0), ([1, 130, 6], 1.0)] {
        let [batch, channels, area] = planes;
        let x = (tensor(&planes, 1) + shift).unwrap();
        let dy = tensor(&planes, 2);
        let (gamma, beta) = (random(channels, 3), random(channels, 4));
        let (mut x_values, mut dy_values): (Vec<f32>, Vec<f32>) =
            (x.flatten_all().unwrap().to_vec1().unwrap(), dy.flatten_all().unwrap().to_vec1().unwrap());
        let (mean, var) = cpu::normalize::batch_statistics(&x_values, channels, area);
        let Some(emulator) = Emulator::new() else { return };
        let planar = Planar::new(Arc::new(emulator));
        let [x_at, dy_at] = [&mut x_values, &mut dy_values].map(|v| Address(v.as_mut_ptr() as u64));
        let [found_mean, found_var] = planar.moments(x_at, planes).unwrap();
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
        check(Primitive::BatchNorm(&of_channels, &beta), &[&x], &planes);
        let sums = cpu::normalize::gradient_sums(&x_values, &dy_values, &of_channels, area);
        let found = planar.gradient_sums([x_at, dy_at], &of_channels, planes).unwrap();
        for (found, wanted) in found.iter().zip(&sums) {
            assert!(
                (found.0 - wanted.0).abs() < 1e-4 && (found.1 - wanted.1).abs() < 1e-4,
                "{found:?} {wanted:?}"
            );
        }
        for count in [(batch * area) as f64, f64::INFINITY] {
            check(Primitive::BatchNormInput(&of_channels, &sums, count), &[&x, &dy], &planes);
        }
    }
}

#[test]
fn dropout_draws_the_cpus_masks() {
    let shapes: [&[usize]; 5] = [&[2, 16, 12], &[3, 20, 7], &[5, 37], &[1, 1, 6, 5], &[33]];
    for dims in shapes {
        let x = tensor(dims, 1);
        let stream = Stream { seed: 1 << 40 | 5, purpose: Purpose::named("dropout_1"), epoch: 2, item: 9 };
        let Some([found, wanted]) = both(&Primitive::Dropout(0.4, stream), &[&x], dims) else { return };
        assert_eq!(found, wanted);
    }
}

#[test]
fn pooling_of_any_windows_is_the_cpus_to_the_bit() {
    let around = |top, bottom, left, right| Padding::Explicit { top, bottom, left, right };
    for (size, kernel, stride, padding) in [
        ([6, 8], 2, 2, Padding::Valid),
        ([7, 5], 2, 2, Padding::Valid),
        ([9, 9], 3, 2, Padding::Valid),
        ([6, 6], 3, 1, Padding::Valid),
        ([4, 4], 1, 1, Padding::Valid),
        ([7, 5], 2, 2, Padding::Same),
        ([7, 8], 3, 2, Padding::Same),
        ([5, 6], 3, 1, Padding::Same),
        ([6, 7], 3, 2, Padding::all(1)),
        ([5, 5], 4, 3, around(2, 1, 0, 3)),
    ] {
        let windows = Windows::new("pool", size, kernel, stride, padding).unwrap();
        let mut values = random(6 * size[0] * size[1], 1);
        values[9] = values[8];
        let dims = [2, 3, size[0], size[1]];
        let x = Tensor::from_vec(values.clone(), &dims, &Device::Cpu).unwrap();
        let out = [2, 3, windows.out_height, windows.out_width];
        let dy = tensor(&out, 2);
        check(Primitive::MaxPool2dBackward(windows), &[&x, &dy], &dims);
        check(Primitive::MeanPool2d(windows), &[&x], &out);
        check(Primitive::MeanPool2dBackward(windows), &[&dy], &dims);
        values[7] = f32::NAN;
        let x = Tensor::from_vec(values, &dims, &Device::Cpu).unwrap();
        let Some(results) = both(&Primitive::MaxPool2d(windows), &[&x], &out) else { return };
        let [found, wanted] =
            results.map(|values| values.iter().map(|v| v.to_bits() & 0x7fff_ffff).collect::<Vec<_>>());
        assert_eq!(found, wanted, "{windows:?}");
    }
}

#[test]
fn activations_and_their_gradients_are_the_cpus() {
    let (told, dy) = (tensor(&[1000], 1), tensor(&[1000], 2));
    for activation in ACTIVATIONS {
        check(Primitive::Activation(activation), &[&told], &[1000]);
        check(Primitive::ActivationBackward(activation), &[&told, &dy], &[1000]);
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
