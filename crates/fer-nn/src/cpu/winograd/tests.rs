//! Every output and gradient against a plain convolution in `f64`.

use fer_rand::{Purpose, Stream};
use proptest::prelude::*;

use super::*;
use crate::cpu::im2col;

fn shape(batch: usize, channels: (usize, usize), size: (usize, usize), r: usize) -> ConvShape {
    padded_shape(batch, channels, size, r, (r / 2, r / 2), size)
}

fn padded_shape(
    batch: usize,
    channels: (usize, usize),
    size: (usize, usize),
    r: usize,
    padding: (usize, usize),
    out: (usize, usize),
) -> ConvShape {
    ConvShape {
        batch,
        in_channels: channels.0,
        height: size.0,
        width: size.1,
        out_channels: channels.1,
        kernel: (r, r),
        stride: 1,
        padding,
        out_height: out.0,
        out_width: out.1,
    }
}

/// Sums of four uniform numbers: near enough to normal ones, with deviation 0.58.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let stream = Stream { seed, purpose: Purpose::named("winograd test"), epoch: 0, item: 0 };
    (0..n as u32)
        .map(|i| stream.block(i).iter().map(|&word| word as f32 / u32::MAX as f32 - 0.5).sum())
        .collect()
}

/// Calls `each(output index, input index, weight index)` for every product of a convolution.
fn products(s: &ConvShape, mut each: impl FnMut(usize, usize, usize)) {
    for n in 0..s.batch {
        for k in 0..s.out_channels {
            for c in 0..s.in_channels {
                for y in 0..s.out_height {
                    for x in 0..s.out_width {
                        for i in 0..s.kernel.0 {
                            for j in 0..s.kernel.1 {
                                let (row, column) = (y + i, x + j);
                                if row < s.padding.0
                                    || column < s.padding.1
                                    || row - s.padding.0 >= s.height
                                    || column - s.padding.1 >= s.width
                                {
                                    continue;
                                }
                                let row = (n * s.in_channels + c) * s.height + row - s.padding.0;
                                each(
                                    ((n * s.out_channels + k) * s.out_height + y) * s.out_width + x,
                                    row * s.width + column - s.padding.1,
                                    ((k * s.in_channels + c) * s.kernel.0 + i) * s.kernel.1 + j,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A tensor of plain sums, with the squares of the summands: `‖summands‖` is the norm it has when their signs
/// are independent, and keeps its size where a few outputs happen to cancel.
struct Plain {
    sums: Vec<f64>,
    squares: f64,
}

impl Plain {
    fn new(sums: Vec<f64>) -> Self {
        Self { squares: sums.iter().map(|v| v * v).sum(), sums }
    }

    fn add(&mut self, at: usize, a: f32, b: f32) {
        let product = f64::from(a) * f64::from(b);
        self.sums[at] += product;
        self.squares += product * product;
    }

    /// ‖got − sums‖ / ‖sums‖
    fn relative_error(&self, got: &[f32]) -> f64 {
        assert_eq!(got.len(), self.sums.len());
        let error: f64 = got.iter().zip(&self.sums).map(|(&g, w)| (f64::from(g) - w).powi(2)).sum();
        let norm = self.sums.iter().map(|w| w * w).sum::<f64>().max(self.squares);
        if norm == 0.0 { error } else { (error / norm).sqrt() }
    }
}

/// The relative errors of the output and of both gradients.
fn errors(s: ConvShape) -> [f64; 3] {
    let x = values(s.batch * s.in_size(), 1);
    let weight = values(s.out_channels * s.in_channels * s.kernel.0 * s.kernel.1, 2);
    let bias = values(s.out_channels, 3);
    let dy = values(s.batch * s.out_size(), 4);
    let channel = |at_y: usize| at_y / s.out_area() % s.out_channels;
    let mut y = Plain::new((0..dy.len()).map(|at_y| f64::from(bias[channel(at_y)])).collect());
    let mut dx = Plain::new(vec![0.0; x.len()]);
    let mut dw = Plain::new(vec![0.0; weight.len()]);
    products(&s, |at_y, at_x, at_w| {
        y.add(at_y, x[at_x], weight[at_w]);
        dx.add(at_x, dy[at_y], weight[at_w]);
        dw.add(at_w, dy[at_y], x[at_x]);
    });
    [
        y.relative_error(&forward(&x, &weight, &bias, Activation::Linear, s)),
        dx.relative_error(&backward_input(&weight, &dy, s)),
        dw.relative_error(&backward_weight(&x, &dy, s)),
    ]
}

fn assert_accurate(s: ConvShape) {
    let errors = errors(s);
    assert!(errors.iter().all(|&e| e <= 1e-5), "{s:?}: {errors:?}");
}

#[test]
fn errors_are_below_a_hundred_thousandth_of_the_norm() {
    for s in
        [shape(2, (64, 64), (48, 48), 5), shape(2, (64, 128), (24, 24), 3), shape(2, (256, 256), (12, 12), 3)]
    {
        let errors = errors(s);
        assert!(errors.iter().all(|&e| e <= 1e-5), "{s:?}: {errors:?}");
    }
}

#[test]
fn awkward_shapes_agree_with_the_plain_convolution() {
    for r in [3, 5] {
        assert_accurate(shape(1, (1, 1), (1, 1), r));
        assert_accurate(shape(1, (1, 17), (1, 9), r));
        assert_accurate(shape(3, (17, 1), (9, 1), r));
        assert_accurate(shape(2, (3, 33), (5, 7), r));
        assert_accurate(shape(9, (16, 16), (4, 4), r));
        // A kernel as large as the image, without padding: one output.
        assert_accurate(padded_shape(2, (5, 6), (r, r), r, (0, 0), (1, 1)));
        // Every value padded away from one side, more padding than the kernel reaches.
        assert_accurate(padded_shape(1, (2, 3), (6, 6), r, (r + 1, 0), (12, 3)));
        assert_accurate(padded_shape(1, (2, 3), (2, 30), r, (1, 7), (1, 41)));
        // The image far beyond the first outputs, in all sixteen channels of a group.
        assert_accurate(padded_shape(1, (16, 16), (3, 3), r, (15, 20), (4, 5)));
    }
}

#[test]
fn bias_and_activation_are_applied_to_every_output() {
    let s = shape(2, (9, 18), (10, 11), 3);
    let (x, bias) = (values(s.batch * s.in_size(), 1), values(18, 3));
    let weight = values(18 * 9 * 9, 2);
    for activation in [Activation::Linear, Activation::Relu, Activation::Elu] {
        let want = im2col::forward(&x, &weight, &bias, activation, s).into_iter().map(f64::from).collect();
        let got = forward(&x, &weight, &bias, activation, s);
        assert!(Plain::new(want).relative_error(&got) < 1e-5);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for s in
        [shape(5, (16, 40), (18, 10), 5), shape(1, (40, 64), (11, 30), 3), shape(33, (48, 32), (8, 8), 3)]
    {
        let x = values(s.batch * s.in_size(), 1);
        let weight = values(s.out_channels * s.in_channels * s.kernel.0 * s.kernel.1, 2);
        let bias = values(s.out_channels, 3);
        let dy = values(s.batch * s.out_size(), 4);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                (
                    forward(&x, &weight, &bias, Activation::Elu, s),
                    backward_input(&weight, &dy, s),
                    backward_weight(&x, &dy, s),
                )
            })
        };
        let alone = on(1);
        assert!(alone == on(2) && alone == on(3), "{s:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_shapes_agree_with_the_plain_convolution(
        batch in 1..4_usize,
        channels in (1..40_usize, 1..40_usize),
        size in (1..20_usize, 1..20_usize),
        r in prop_oneof![Just(3_usize), Just(5)],
        padding in (0..6_usize, 0..6_usize),
        end in (0..6_usize, 0..6_usize),
    ) {
        let out = (
            (size.0 + padding.0 + end.0).saturating_sub(r - 1),
            (size.1 + padding.1 + end.1).saturating_sub(r - 1),
        );
        prop_assume!(out.0 > 0 && out.1 > 0);
        assert_accurate(padded_shape(batch, channels, size, r, padding, out));
    }
}
