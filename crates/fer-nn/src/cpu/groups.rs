//! The layout of images inside the kernels: channels in groups of sixteen, innermost.
//!
//! A batch lies as `(batch, ⌈channels/16⌉, height, width, 16)`, the lanes beyond the last channel 0. A group fills
//! one vector of AVX-512, two of AVX2 or four of NEON, so that whatever goes value by value goes vector by vector,
//! a channel's constants are a vector, and windows and tiles begin anywhere in a row.

use rayon::prelude::*;

use super::vectorized;

/// Channels that lie together.
pub(crate) const GROUP: usize = 16;

/// One value of each channel of a group.
pub(crate) type Lanes = [f32; GROUP];

/// The groups that hold `channels` channels.
pub(crate) fn groups(channels: usize) -> usize {
    channels.div_ceil(GROUP)
}

/// One value a channel, in groups, 0 beyond the last.
pub(crate) fn in_lanes(values: &[f32]) -> Vec<Lanes> {
    let lanes = |values: &[f32]| std::array::from_fn(|i| values.get(i).copied().unwrap_or(0.0));
    values.chunks(GROUP).map(lanes).collect()
}

/// What the channels of a layer's input are normalised by as they are read: `(x − center)·scale + shift`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Norm {
    pub center: Lanes,
    pub scale: Lanes,
    pub shift: Lanes,
}

impl Norm {
    /// Leaves values as they are.
    pub const IDENTITY: Self = Self { center: [0.0; GROUP], scale: [1.0; GROUP], shift: [0.0; GROUP] };

    #[inline(always)]
    pub fn apply(&self, x: &Lanes) -> Lanes {
        let mut y = [0.0; GROUP];
        for i in 0..GROUP {
            y[i] = (x[i] - self.center[i]) * self.scale[i] + self.shift[i];
        }
        y
    }
}

/// A batch of images as a kernel reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Images<'a> {
    pub data: &'a [f32],
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    /// For every group, how to normalise it on the way; zeros outside the images stay zeros.
    pub norm: Option<&'a [Norm]>,
}

impl Images<'_> {
    /// The normalised values as `(batch, channels, height, width)`.
    pub fn to_plain(self) -> Vec<f32> {
        let area = self.height * self.width;
        let batch = self.data.len() / (groups(self.channels) * area * GROUP);
        let mut plain = vec![0.0; batch * self.channels * area];
        match self.norm {
            None => from_groups(self.data, self.channels, area, &mut plain),
            Some(norms) => {
                let mut data = vec![0.0; self.data.len()];
                let planes =
                    data.par_chunks_exact_mut(area * GROUP).zip(self.data.par_chunks_exact(area * GROUP));
                planes.enumerate().for_each(|(plane, (to, from))| {
                    let pairs = to.as_chunks_mut::<GROUP>().0.iter_mut().zip(from.as_chunks::<GROUP>().0);
                    pairs.for_each(|(to, from)| *to = norms[plane % norms.len()].apply(from));
                });
                from_groups(&data, self.channels, area, &mut plain);
            }
        }
        plain
    }
}

/// Some rows of one group of channels of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strip {
    pub image: usize,
    pub group: usize,
    pub first_row: usize,
    pub rows: usize,
}

/// From `(batch, channels, area)` to groups.
pub(crate) fn to_groups(x: &[f32], channels: usize, area: usize, out: &mut [f32]) {
    let of_image = groups(channels);
    let images = x.par_chunks_exact(channels * area);
    out.par_chunks_exact_mut(of_image * area * GROUP).zip(images).for_each(|(out, x)| {
        for (out, planes) in out.chunks_exact_mut(area * GROUP).zip(x.chunks(GROUP * area)) {
            let out = out.as_chunks_mut::<GROUP>().0;
            vectorized(
                #[inline(always)]
                || {
                    for (i, lanes) in out.iter_mut().enumerate() {
                        *lanes = [0.0; GROUP];
                        for (lane, plane) in lanes.iter_mut().zip(planes.chunks_exact(area)) {
                            *lane = plane[i];
                        }
                    }
                },
            );
        }
    });
}

/// From groups to `(batch, channels, area)`.
pub(crate) fn from_groups(x: &[f32], channels: usize, area: usize, out: &mut [f32]) {
    let of_image = groups(channels);
    let images = x.par_chunks_exact(of_image * area * GROUP);
    out.par_chunks_exact_mut(channels * area).zip(images).for_each(|(out, x)| {
        for (planes, x) in out.chunks_mut(GROUP * area).zip(x.chunks_exact(area * GROUP)) {
            let x = x.as_chunks::<GROUP>().0;
            for (lane, plane) in planes.chunks_exact_mut(area).enumerate() {
                plane.iter_mut().zip(x).for_each(|(v, lanes)| *v = lanes[lane]);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grouping_and_back_keeps_every_value_and_fills_the_last_group_with_zeros() {
        for (batch, channels, area) in [(2, 1, 9), (3, 16, 4), (1, 21, 7), (2, 64, 1)] {
            let x: Vec<f32> = (1..=batch * channels * area).map(|i| i as f32).collect();
            let mut grouped = vec![-1.0; batch * groups(channels) * area * GROUP];
            to_groups(&x, channels, area, &mut grouped);
            let zeros = grouped.iter().filter(|&&v| v == 0.0).count();
            assert_eq!(zeros, grouped.len() - x.len());
            assert_eq!(grouped[0], 1.0);
            let mut back = vec![-1.0; x.len()];
            from_groups(&grouped, channels, area, &mut back);
            assert_eq!(back, x);
        }
    }
}
