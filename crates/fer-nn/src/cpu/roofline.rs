//! Where the time of a training step goes, layer by layer, beside what the processor can do at most:
//!
//! ```sh
//! cargo test --release -p fer-nn --lib -- --ignored --nocapture roofline
//! ```
#![allow(clippy::print_stdout, reason = "its table is for a person")]

use std::hint::black_box;
use std::time::Instant;

use fer_rand::{Purpose, Stream};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::grouped_conv2d::{Source, Weight, convolve, convolve_back, weight_gradient};
use super::groups::{GROUP, Images, Norm, groups};
use super::tail::{Slopes, Tail};
use super::winograd::{self, Transformed};
use crate::Activation;
use crate::geometry::ConvShape;

/// A network's convolutions, as channels in and out, kernel and side; and its poolings, as channels and side.
struct Network {
    name: &'static str,
    batch: usize,
    convolutions: &'static [[usize; 4]],
    poolings: &'static [[usize; 2]],
}

const NETWORKS: [Network; 2] = [
    Network {
        name: "dcnn",
        batch: 32,
        convolutions: &[
            [1, 64, 5, 48],
            [64, 64, 5, 48],
            [64, 128, 3, 24],
            [128, 128, 3, 24],
            [128, 256, 3, 12],
            [256, 256, 3, 12],
        ],
        poolings: &[[64, 48], [128, 24], [256, 12]],
    },
    Network {
        name: "vgg",
        batch: 128,
        convolutions: &[
            [1, 64, 3, 48],
            [64, 64, 3, 48],
            [64, 128, 3, 24],
            [128, 128, 3, 24],
            [128, 256, 3, 12],
            [256, 256, 3, 12],
            [256, 512, 3, 6],
            [512, 512, 3, 6],
        ],
        poolings: &[[64, 48], [128, 24], [256, 12], [512, 6]],
    },
];

/// Calls, of which the fastest counts.
const CALLS: usize = 20;

fn seconds(mut work: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..CALLS).map(time).fold(f64::INFINITY, f64::min)
}

/// Multiplications and additions in registers alone.
struct Peak(usize);

impl WithSimd for Peak {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let factor = simd.splat_f32s(black_box(0.999));
        let mut sums = [simd.splat_f32s(black_box(1.0)); 12];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(factor, *sum, factor);
            }
        }
        sums.into_iter().for_each(|sum| _ = black_box(sum));
        (self.0 * sums.len() * S::F32_LANES * 2) as f64
    }
}

/// A line: the operations that are made, those of a direct convolution, and the bytes that the arrays hold.
fn line(name: &str, made: f64, direct: f64, bytes: f64, seconds: f64, peak: f64) {
    println!(
        "| {name} | {:.2} | {:.2} | {:.0} | {:.2} | {:.0} % | {:.0} | {:.1} |",
        made / 1e9,
        direct / 1e9,
        bytes / 1e6,
        seconds * 1e3,
        100.0 * made / seconds / peak,
        direct / seconds / 1e9,
        bytes / seconds / 1e9,
    );
}

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 1009) as f32 / 500.0 - 1.0).collect()
}

fn convolutions(network: &Network, peak: f64) {
    for (i, &[in_channels, out_channels, kernel, side]) in network.convolutions.iter().enumerate() {
        let batch = network.batch;
        let s = ConvShape {
            batch,
            in_channels,
            height: side,
            width: side,
            out_channels,
            kernel: (kernel, kernel),
            stride: 1,
            padding: (kernel / 2, kernel / 2),
            out_height: side,
            out_width: side,
            groups: 1,
        };
        let area = side * side;
        let x = values(batch * groups(in_channels) * area * GROUP);
        let mut y = values(batch * groups(out_channels) * area * GROUP);
        let mut dx = x.clone();
        let weight = values(out_channels * in_channels * kernel * kernel);
        let mut dw = weight.clone();
        let norms = vec![Norm::IDENTITY; groups(in_channels)];
        let images =
            Images { data: &x, channels: in_channels, height: side, width: side, norm: Some(&norms) };
        let source = if i == 0 { Source::Plain(&x[..batch * area]) } else { Source::Groups(images) };
        let mut kernel_memory = Transformed::default();
        let [share, of_gradient] = if i == 0 { [1.0; 2] } else { winograd::shares(&s) };
        let direct = (2 * weight.len() * batch * area) as f64;
        let bytes = 4.0 * (x.len() + y.len() + weight.len()) as f64;
        let name = format!("conv2d_{}", i + 1);

        let time = seconds(|| {
            let weight = Weight { values: &weight, constant: false, kernel: &mut kernel_memory };
            convolve(source, weight, &s, &mut y, 1, |_, from: &mut [f32], to: &mut [f32]| {
                to.copy_from_slice(from);
            });
        });
        line(&format!("{name}, output"), share * direct, direct, bytes, time, peak);
        let dy = Images { data: &y, channels: out_channels, height: side, width: side, norm: None };
        if i > 0 {
            let time = seconds(|| {
                let weight = Weight { values: &weight, constant: false, kernel: &mut kernel_memory };
                convolve_back(dy, weight, &s, &mut dx, |_, from: &mut [f32], to: &mut [f32]| {
                    to.copy_from_slice(from);
                });
            });
            line(&format!("{name}, input's gradient"), share * direct, direct, bytes, time, peak);
        }
        let time = seconds(|| weight_gradient(source, dy, &s, &mut dw));
        line(&format!("{name}, weight's gradient"), of_gradient * direct, direct, bytes, time, peak);
    }
}

fn tails(network: &Network, peak: f64) {
    for (block, &[channels, side]) in network.poolings.iter().enumerate() {
        let stream = Stream { seed: 1, purpose: Purpose::named("dropout"), epoch: 0, item: 0 };
        let (dropout, after) = (Some((0.4, stream)), Activation::Linear);
        let tail = Tail { height: side, width: side, pool: true, dropout, after };
        let y = values(network.batch * groups(channels) * side * side * GROUP);
        let (mut z, mut da) = (vec![0.0; y.len() / 4], y.clone());
        let (norms, slopes) =
            (vec![Norm::IDENTITY; groups(channels)], vec![Slopes::IDENTITY; groups(channels)]);
        let [large, small] = [4.0 * y.len() as f64, 4.0 * z.len() as f64];
        let report = |name: &str, operations: f64, bytes: f64, time| {
            let name = format!("block {}, {name}", block + 1);
            line(&name, operations * y.len() as f64, 0.0, bytes, time, peak);
        };
        let time = seconds(|| tail.forward(&y, &norms, None, &mut z));
        report("norm, pooling, dropout", 3.0, large + small, time);
        let time = seconds(|| _ = tail.backward_sums(&y, &norms, &mut z));
        report("their gradient, sums", 4.0, large + 2.0 * small, time);
        let elu = Activation::Elu;
        let time = seconds(|| _ = tail.backward_pooled(&y, &norms, &slopes, elu, &z, &mut da));
        report("their gradient with ELU's", 10.0, 2.0 * large + small, time);
        let time = seconds(|| _ = tail.backward_in_place(&y, &slopes, elu, &mut da));
        report("first norm's and ELU's gradient", 8.0, 3.0 * large, time);
    }
}

#[test]
#[ignore = "a measurement"]
fn roofline() {
    let threads = rayon::current_num_threads();
    let peaks: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            let run = |_| pulp::Arch::new().dispatch(Peak(20_000_000));
            let operations: f64 = (0..threads).into_par_iter().with_max_len(1).map(run).sum();
            operations / start.elapsed().as_secs_f64()
        })
        .collect();
    let peak = peaks.into_iter().fold(0.0, f64::max);
    println!("{threads} threads, at most {:.0} GFLOP/s", peak / 1e9);
    for network in &NETWORKS {
        println!("\n{}, batch {}:\n", network.name, network.batch);
        println!("| work | GFLOP | direct GFLOP | MB | ms | of peak | direct GFLOP/s | GB/s |");
        println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
        convolutions(network, peak);
        tails(network, peak);
    }
}
