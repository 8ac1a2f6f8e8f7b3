//! The weights of a convolution and of its input's gradient, transformed.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::lanes::{GROUP, Interleave};
use super::tiles::padded;
use super::transform::{Evaluate, Expand, Map, Positions};
use super::with_scratch;

/// Output channels that lie together after the transformation: what one task transforms and one product takes.
const PART: usize = 64;

/// The weights as a convolution from `in_channels` to `out_channels` sees them.
#[derive(Clone, Copy)]
pub(super) struct Kernel<'a> {
    pub data: &'a [f32],
    pub in_channels: usize,
    pub out_channels: usize,
    pub in_stride: usize,
    pub out_stride: usize,
    /// Whether rows and columns are read from the last to the first.
    pub turned: bool,
}

/// Where the transformed weights lie: `(parts, N·N positions, in_channels, width)`.
#[derive(Clone, Copy)]
pub(super) struct KernelLayout {
    /// Output channels in a part, whole groups; the last part may use fewer.
    pub width: usize,
    pub position_stride: usize,
    pub part_stride: usize,
    pub parts: usize,
}

impl Kernel<'_> {
    pub(super) fn layout<const N: usize>(&self) -> KernelLayout {
        let width = PART.min(padded(self.out_channels));
        // A line more, so that the positions do not compete for the same cache sets.
        let position_stride = self.in_channels * width + GROUP;
        KernelLayout {
            width,
            position_stride,
            part_stride: N * N * position_stride,
            parts: self.out_channels.div_ceil(width),
        }
    }

    /// G g Gᵀ of every kernel, to `parts·part_stride` values.
    pub(super) fn transform<const R: usize, const N: usize>(&self, out: &mut [f32])
    where
        Evaluate: Map<R, N>,
    {
        let layout = self.layout::<N>();
        out.par_chunks_exact_mut(layout.part_stride).enumerate().for_each(|(part, out)| {
            let channels = part * layout.width..self.out_channels.min((part + 1) * layout.width);
            with_scratch((R + N) * R * GROUP, |work| {
                let (kernels, columns) = work.split_at_mut(R * R * GROUP);
                for group in channels.clone().step_by(GROUP) {
                    for channel in 0..self.in_channels {
                        self.gather::<R>(channel, group, kernels);
                        pulp::Arch::new().dispatch(Expand::<Evaluate, R, N> {
                            map: PhantomData,
                            image: kernels,
                            width: R,
                            tiles: 1,
                            columns,
                            out: Positions {
                                values: &mut out[channel * layout.width + group - channels.start..],
                                position_stride: layout.position_stride,
                                tile_stride: 0,
                            },
                        });
                    }
                }
            });
        });
    }

    /// The kernels from one input channel to the group of output channels from `first` on, `(R, R, GROUP)`.
    fn gather<const R: usize>(&self, channel: usize, first: usize, out: &mut [f32]) {
        let channels = GROUP.min(self.out_channels - first);
        if channels < GROUP {
            out.fill(0.0);
        }
        let rows = &self.data[first * self.out_stride + channel * self.in_stride..];
        pulp::Arch::new().dispatch(Interleave { rows, stride: self.out_stride, channels, out });
        if self.turned {
            out.as_chunks_mut::<GROUP>().0.reverse();
        }
    }
}
