//! Convolution of plain images of few channels into channel groups, as its definition says: stride 1, kernels of
//! 3, 5 or 7 columns, and its weight's gradient. The first layer of a network; for so few input channels neither
//! tiles nor unrolled patches pay.
//!
//! Sixteen output channels are a vector: a value of the input, broadcast, times the weights of one place in the
//! kernel adds to the outputs of a group.

use pulp::{Simd, WithSimd, bytemuck};
use rayon::prelude::*;

use super::groups::{GROUP, Strip, groups};
use super::scratch::with_scratch;
use crate::geometry::ConvShape;

/// Output columns that are computed together: their sums stay in registers.
const COLUMNS: usize = 6;

/// Whether this is the method for a convolution.
pub(super) fn suits(s: &ConvShape) -> bool {
    s.stride == 1 && s.groups == 1 && s.in_channels < GROUP / 2 && matches!(s.kernel.1, 3 | 5 | 7)
}

/// Calls `$run` with the number of the kernel's columns as a constant.
macro_rules! for_columns {
    ($s:expr, $run:ident($($argument:expr),*)) => {
        match $s.kernel.1 {
            3 => $run::<3>($($argument),*),
            5 => $run::<5>($($argument),*),
            _ => $run::<7>($($argument),*),
        }
    };
}

impl ConvShape {
    /// Rows and columns of an image with its padding; wide enough for whole blocks of [`COLUMNS`].
    fn padded_size(&self) -> (usize, usize) {
        let width = self.out_width.next_multiple_of(COLUMNS) + self.kernel.1 - 1;
        (self.out_height + self.kernel.0 - 1, width)
    }

    /// An image `(in_channels, height, width)` with zeros around it.
    fn pad(&self, image: &[f32], out: &mut [f32]) {
        let (height, width) = self.padded_size();
        out.fill(0.0);
        let (top, left) = self.padding;
        let columns = self.width.min(width - left);
        for (plane, out) in
            image.chunks_exact(self.height * self.width).zip(out.chunks_exact_mut(height * width))
        {
            let rows = out.chunks_exact_mut(width).skip(top);
            for (row, out) in plane.chunks_exact(self.width).zip(rows) {
                out[left..left + columns].copy_from_slice(&row[..columns]);
            }
        }
    }

    /// The weights of a group, `(in_channels, kernel height, kernel width, 16)`.
    fn grouped_weight(&self, weight: &[f32], group: usize, out: &mut [f32]) {
        let taps = self.in_channels * self.kernel.0 * self.kernel.1;
        for (tap, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
            *out = std::array::from_fn(|lane| {
                let channel = group * GROUP + lane;
                if channel < self.out_channels { weight[channel * taps + tap] } else { 0.0 }
            });
        }
    }

    fn taps(&self) -> usize {
        self.in_channels * self.kernel.0 * self.kernel.1
    }
}

/// The convolution of `x` `(batch, in_channels, height, width)`: `finish` gets the results of every group of every
/// image and the part of `out` that is theirs.
pub(super) fn convolve<T: Send>(
    x: &[f32],
    weight: &[f32],
    s: &ConvShape,
    out: &mut [f32],
    finish: impl Fn(Strip, &mut [f32], &mut [f32]) -> T + Sync,
) -> Vec<T> {
    let of_image = groups(s.out_channels);
    let weight_len = s.taps() * GROUP;
    let mut weights = vec![0.0; of_image * weight_len];
    for (group, out) in weights.chunks_exact_mut(weight_len).enumerate() {
        s.grouped_weight(weight, group, out);
    }
    let (height, width) = s.padded_size();
    let plane_len = out.len() / (s.batch * of_image);
    let images = out.par_chunks_exact_mut(of_image * plane_len).zip(x.par_chunks_exact(s.in_size()));
    let results = images.enumerate().flat_map_iter(|(image, (out, x))| {
        let padded_len = s.in_channels * height * width;
        with_scratch(padded_len + s.out_area() * GROUP, |scratch| {
            let (padded, y) = scratch.split_at_mut(padded_len);
            s.pad(x, padded);
            let planes = out.chunks_exact_mut(plane_len).zip(weights.chunks_exact(weight_len)).enumerate();
            let plane = |(group, (out, weight)): (usize, (&mut [f32], &[f32]))| {
                for_columns!(s, forward_plane(padded, weight, s, y));
                finish(Strip { image, group, first_row: 0, rows: s.out_height }, y, out)
            };
            planes.map(plane).collect::<Vec<T>>()
        })
    });
    results.collect()
}

fn forward_plane<const K: usize>(x: &[f32], weight: &[f32], s: &ConvShape, y: &mut [f32]) {
    pulp::Arch::new().dispatch(Forward::<K> { x, weight, s, y });
}

struct Forward<'a, const K: usize> {
    /// The padded image.
    x: &'a [f32],
    /// `(in_channels, kernel height, K, 16)`
    weight: &'a [f32],
    s: &'a ConvShape,
    /// `(out_height, out_width, 16)`
    y: &'a mut [f32],
}

impl<const K: usize> WithSimd for Forward<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weight, s, y } = self;
        let (height, width) = s.padded_size();
        for lane in (0..GROUP).step_by(S::F32_LANES) {
            for row in 0..s.out_height {
                for column in (0..s.out_width).step_by(COLUMNS) {
                    let mut sums = [simd.splat_f32s(0.0); COLUMNS];
                    let mut at = lane;
                    for channel in 0..s.in_channels {
                        for ky in 0..s.kernel.0 {
                            let x = &x[(channel * height + row + ky) * width + column..][..COLUMNS + K - 1];
                            for kx in 0..K {
                                let weight = load(simd, &weight[at..]);
                                for (i, sum) in sums.iter_mut().enumerate() {
                                    *sum = simd.mul_add_e_f32s(simd.splat_f32s(x[i + kx]), weight, *sum);
                                }
                                at += GROUP;
                            }
                        }
                    }
                    for (i, &sum) in sums.iter().enumerate().take(s.out_width - column) {
                        store(simd, sum, &mut y[(row * s.out_width + column + i) * GROUP + lane..]);
                    }
                }
            }
        }
    }
}

/// The gradient of the weight, `(out_channels, in_channels, kernel height, kernel width)`, from the plain input and
/// the output's gradient in groups.
pub(super) fn weight_gradient(x: &[f32], dy: &[f32], s: &ConvShape, dw: &mut [f32]) {
    let of_image = groups(s.out_channels);
    let (height, width) = s.padded_size();
    let images = x.par_chunks_exact(s.in_size()).zip(dy.par_chunks_exact(of_image * s.out_area() * GROUP));
    let of_images: Vec<Vec<f32>> = images
        .map(|(x, dy)| {
            let mut sums = vec![0.0; of_image * s.taps() * GROUP];
            with_scratch(s.in_channels * height * width, |padded| {
                s.pad(x, padded);
                let planes = dy.chunks_exact(s.out_area() * GROUP);
                for (dy, sums) in planes.zip(sums.chunks_exact_mut(s.taps() * GROUP)) {
                    for_columns!(s, gradient_plane(padded, dy, s, sums));
                }
            });
            sums
        })
        .collect();
    let mut total = vec![0.0_f64; of_image * s.taps() * GROUP];
    for sums in &of_images {
        total.iter_mut().zip(sums).for_each(|(total, &v)| *total += f64::from(v));
    }
    for (channel, dw) in dw.chunks_exact_mut(s.taps()).enumerate() {
        let (group, lane) = (channel / GROUP, channel % GROUP);
        for (tap, dw) in dw.iter_mut().enumerate() {
            *dw = total[(group * s.taps() + tap) * GROUP + lane] as f32;
        }
    }
}

fn gradient_plane<const K: usize>(x: &[f32], dy: &[f32], s: &ConvShape, sums: &mut [f32]) {
    pulp::Arch::new().dispatch(Gradient::<K> { x, dy, s, sums });
}

struct Gradient<'a, const K: usize> {
    /// The padded image.
    x: &'a [f32],
    /// `(out_height, out_width, 16)`
    dy: &'a [f32],
    s: &'a ConvShape,
    /// `(in_channels, kernel height, K, 16)`
    sums: &'a mut [f32],
}

impl<const K: usize> WithSimd for Gradient<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, dy, s, sums } = self;
        let (height, width) = s.padded_size();
        let mut at = 0;
        for channel in 0..s.in_channels {
            for ky in 0..s.kernel.0 {
                for lane in (0..GROUP).step_by(S::F32_LANES) {
                    let mut of_row = [simd.splat_f32s(0.0); K];
                    for row in 0..s.out_height {
                        let x = &x[(channel * height + row + ky) * width..][..s.out_width + K - 1];
                        let dy = &dy[row * s.out_width * GROUP..][..s.out_width * GROUP];
                        for (column, dy) in dy.as_chunks::<GROUP>().0.iter().enumerate() {
                            let dy = load(simd, &dy[lane..]);
                            for (kx, sum) in of_row.iter_mut().enumerate() {
                                *sum = simd.mul_add_e_f32s(simd.splat_f32s(x[column + kx]), dy, *sum);
                            }
                        }
                    }
                    for (kx, &sum) in of_row.iter().enumerate() {
                        store(simd, sum, &mut sums[at + kx * GROUP + lane..]);
                    }
                }
                at += K * GROUP;
            }
        }
    }
}

#[inline(always)]
fn load<S: Simd>(_: S, from: &[f32]) -> S::f32s {
    bytemuck::pod_read_unaligned(bytemuck::cast_slice(&from[..S::F32_LANES]))
}

#[inline(always)]
fn store<S: Simd>(_: S, values: S::f32s, to: &mut [f32]) {
    let to: &mut [u8] = bytemuck::cast_slice_mut(&mut to[..S::F32_LANES]);
    to.copy_from_slice(bytemuck::bytes_of(&values));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::groups::{from_groups, to_groups};
    use crate::cpu::plain::{Plain, products, values};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn output_and_weight_gradient_are_their_definition(
            (batch, in_channels, out_channels) in (1..4_usize, 1..8_usize, 1..40_usize),
            (height, width) in (1..20_usize, 1..20_usize),
            kernel in (1..8_usize, prop_oneof![Just(3_usize), Just(5), Just(7)]),
            same in any::<bool>(),
        ) {
            let padding = if same { ((kernel.0 - 1) / 2, (kernel.1 - 1) / 2) } else { (0, 0) };
            prop_assume!(same || height >= kernel.0 && width >= kernel.1);
            let (out_height, out_width) =
                if same { (height, width) } else { (height + 1 - kernel.0, width + 1 - kernel.1) };
            let s = ConvShape {
                batch, in_channels, height, width, out_channels, kernel, stride: 1, padding, out_height, out_width, groups: 1,
            };
            prop_assert!(suits(&s));
            let x = values(batch * s.in_size(), 1);
            let weight = values(out_channels * s.taps(), 2);
            let dy = values(batch * s.out_size(), 3);
            let (mut y, mut dw) = (Plain::new(vec![0.0; dy.len()]), Plain::new(vec![0.0; weight.len()]));
            products(&s, |at_y, at_x, at_w| {
                y.add(at_y, x[at_x], weight[at_w]);
                dw.add(at_w, dy[at_y], x[at_x]);
            });

            let mut grouped = vec![f32::NAN; batch * groups(out_channels) * s.out_area() * GROUP];
            convolve(&x, &weight, &s, &mut grouped, |_, from, to| to.copy_from_slice(from));
            let mut found = vec![0.0; dy.len()];
            from_groups(&grouped, out_channels, s.out_area(), &mut found);
            prop_assert!(y.relative_error(&found) <= 1e-6, "{s:?}: {:e}", y.relative_error(&found));

            to_groups(&dy, out_channels, s.out_area(), &mut grouped);
            let mut found = vec![f32::NAN; weight.len()];
            weight_gradient(&x, &grouped, &s, &mut found);
            prop_assert!(dw.relative_error(&found) <= 1e-6, "{s:?}: {:e}", dw.relative_error(&found));
        }
    }
}
