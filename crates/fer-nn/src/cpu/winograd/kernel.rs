//! The weights of a convolution and of its input's gradient, transformed.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::transform::{Evaluate, Map};
use super::vector::Vector;
use crate::cpu::groups::{GROUP, Lanes, groups};

/// The weights as a convolution from `in_channels` to `out_channels` sees them.
#[derive(Clone, Copy)]
pub(super) struct Kernel<'a> {
    pub weight: &'a [f32],
    pub in_channels: usize,
    pub out_channels: usize,
    pub in_stride: usize,
    pub out_stride: usize,
    /// Whether rows and columns are read from the last to the first.
    pub turned: bool,
}

/// The lanes of one group of output channels, `(N·N, in_channels + 1, 16)`: a line more for each position, so that
/// the positions do not compete for the same cache sets.
pub(super) fn group_stride<const N: usize>(in_channels: usize) -> usize {
    N * N * (in_channels + 1)
}

impl Kernel<'_> {
    /// G g Gᵀ of every kernel, `(groups of output channels, N·N, in_channels + 1, 16)`.
    pub(super) fn transform<const R: usize, const N: usize>(self, out: &mut Vec<f32>)
    where
        Evaluate: Map<R, N>,
    {
        let stride = group_stride::<N>(self.in_channels);
        out.resize(groups(self.out_channels) * stride * GROUP, 0.0);
        out.par_chunks_exact_mut(stride * GROUP).enumerate().for_each(|(group, out)| {
            let out = out.as_chunks_mut().0;
            pulp::Arch::new().dispatch(Expand::<R, N> { kernel: self, group, out });
        });
    }

    /// The kernels from one input channel to a group of output channels; other lanes stay as they are.
    #[inline(always)]
    fn gather<const R: usize>(&self, channel: usize, group: usize, kernels: &mut [[Lanes; R]; R]) {
        let kernels = kernels.as_flattened_mut();
        let outputs = group * GROUP..self.out_channels.min((group + 1) * GROUP);
        for (lane, output) in outputs.enumerate() {
            let weight = &self.weight[output * self.out_stride + channel * self.in_stride..][..R * R];
            for (i, &value) in weight.iter().enumerate() {
                kernels[if self.turned { R * R - 1 - i } else { i }][lane] = value;
            }
        }
    }
}

/// The kernels to one group of output channels.
struct Expand<'a, const R: usize, const N: usize> {
    kernel: Kernel<'a>,
    group: usize,
    out: &'a mut [Lanes],
}

impl<const R: usize, const N: usize> WithSimd for Expand<'_, R, N>
where
    Evaluate: Map<R, N>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { kernel, group, out } = self;
        let mut kernels = [[[0.0; GROUP]; R]; R];
        let mut columns = [[Vector::splat(simd, 0.0); R]; N];
        for channel in 0..kernel.in_channels {
            kernel.gather(channel, group, &mut kernels);
            for lane in (0..GROUP).step_by(S::F32_LANES) {
                for column in 0..R {
                    let mut x = [Vector::splat(simd, 0.0); R];
                    for (x, row) in x.iter_mut().zip(&kernels) {
                        *x = Vector::load(simd, &row[column][lane..]);
                    }
                    for (row, y) in columns.iter_mut().zip(Evaluate::apply(x)) {
                        row[column] = y;
                    }
                }
                for (i, &x) in columns.iter().enumerate() {
                    for (j, y) in Evaluate::apply(x).into_iter().enumerate() {
                        y.store(&mut out[(i * N + j) * (kernel.in_channels + 1) + channel][lane..]);
                    }
                }
            }
        }
    }
}
