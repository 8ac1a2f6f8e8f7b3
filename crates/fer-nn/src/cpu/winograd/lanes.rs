//! Vectors of channels, and the way from planes to channels innermost and back.

use std::ops::{Add, Sub};

use pulp::{Simd, WithSimd, bytemuck};

/// Channels are worked on in groups of this many, one vector or several.
pub(super) const GROUP: usize = 16;

/// A vector of channels.
#[derive(Clone, Copy)]
pub(super) struct Lanes<S: Simd> {
    simd: S,
    values: S::f32s,
}

impl<S: Simd> Lanes<S> {
    #[inline(always)]
    pub fn zero(simd: S) -> Self {
        Self { simd, values: simd.splat_f32s(0.0) }
    }

    #[inline(always)]
    pub fn load(simd: S, from: &[f32], at: usize) -> Self {
        let values = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&from[at..at + S::F32_LANES]));
        Self { simd, values }
    }

    #[inline(always)]
    pub fn store(self, to: &mut [f32], at: usize) {
        let to: &mut [u8] = bytemuck::cast_slice_mut(&mut to[at..at + S::F32_LANES]);
        to.copy_from_slice(bytemuck::bytes_of(&self.values));
    }

    #[inline(always)]
    pub fn times(self, factor: f32) -> Self {
        Self { values: self.simd.mul_f32s(self.simd.splat_f32s(factor), self.values), ..self }
    }

    /// `self + factor·other`
    #[inline(always)]
    pub fn plus(self, factor: f32, other: Self) -> Self {
        let factor = self.simd.splat_f32s(factor);
        Self { values: self.simd.mul_add_e_f32s(factor, other.values, self.values), ..self }
    }
}

impl<S: Simd> Add for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self { values: self.simd.add_f32s(self.values, other.values), ..self }
    }
}

impl<S: Simd> Sub for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self { values: self.simd.sub_f32s(self.values, other.values), ..self }
    }
}

/// Values that [`Interleave`] and [`Deinterleave`] move along a row at a time.
const RUN: usize = 4;

/// A vector as blocks of [`RUN`] values, at most `GROUP / RUN` of them.
type Blocks = [[f32; RUN]; GROUP / RUN];

/// `out[column·GROUP + channel] = rows[channel·stride + column]` for a row of a group of channels.
pub(super) struct Interleave<'a> {
    pub rows: &'a [f32],
    pub stride: usize,
    pub channels: usize,
    /// `(columns, GROUP)`
    pub out: &'a mut [f32],
}

impl WithSimd for Interleave<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let columns = self.out.len() / GROUP;
        let mut done = 0;
        if self.channels == GROUP && S::F32_LANES >= RUN {
            while done + RUN <= columns {
                for first in (0..GROUP).step_by(S::F32_LANES) {
                    // Block b of vector i holds channel 4b + i, so each column's channels come out in order.
                    let mut x = [Lanes::zero(simd).values; RUN];
                    for (i, x) in x.iter_mut().enumerate() {
                        let mut blocks = Blocks::default();
                        for (b, block) in blocks.iter_mut().enumerate().take(S::F32_LANES / RUN) {
                            let at = (first + RUN * b + i) * self.stride + done;
                            block.copy_from_slice(&self.rows[at..at + RUN]);
                        }
                        *x = Lanes::load(simd, blocks.as_flattened(), 0).values;
                    }
                    for (i, values) in simd.deinterleave_shfl_f32s(x).into_iter().enumerate() {
                        Lanes { simd, values }.store(self.out, (done + i) * GROUP + first);
                    }
                }
                done += RUN;
            }
        }
        for column in done..columns {
            for channel in 0..self.channels {
                self.out[column * GROUP + channel] = self.rows[channel * self.stride + column];
            }
        }
    }
}

/// `planes[channel][row·width + column] = strip[(row·strip_width + column)·GROUP + channel]`
pub(super) struct Deinterleave<'a, 'b> {
    /// `(rows, strip_width, GROUP)`
    pub strip: &'a [f32],
    pub strip_width: usize,
    pub planes: &'a mut [&'b mut [f32]],
    pub width: usize,
}

impl WithSimd for Deinterleave<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.width;
        let rows = self.planes.first().map_or(0, |plane| plane.len() / width);
        for row in 0..rows {
            let strip = &self.strip[row * self.strip_width * GROUP..][..width * GROUP];
            let mut done = 0;
            if self.planes.len() == GROUP && S::F32_LANES >= RUN {
                while done + RUN <= width {
                    for first in (0..GROUP).step_by(S::F32_LANES) {
                        let mut x = [Lanes::zero(simd).values; RUN];
                        for (i, x) in x.iter_mut().enumerate() {
                            *x = Lanes::load(simd, strip, (done + i) * GROUP + first).values;
                        }
                        for (i, values) in simd.interleave_shfl_f32s(x).into_iter().enumerate() {
                            let mut blocks = Blocks::default();
                            Lanes { simd, values }.store(blocks.as_flattened_mut(), 0);
                            for (b, block) in blocks.iter().enumerate().take(S::F32_LANES / RUN) {
                                let plane = &mut self.planes[first + RUN * b + i];
                                plane[row * width + done..][..RUN].copy_from_slice(block);
                            }
                        }
                    }
                    done += RUN;
                }
            }
            for (channel, plane) in self.planes.iter_mut().enumerate() {
                for column in done..width {
                    plane[row * width + column] = strip[column * GROUP + channel];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_channels_stay_in_order<S: Simd>(simd: S) {
        let (rows, columns, strip_width) = (3, 11, 13);
        for channels in [GROUP, 5] {
            let planes: Vec<f32> = (0..channels * rows * columns).map(|i| i as f32).collect();
            let mut strip = vec![-1.0; rows * strip_width * GROUP];
            for (row, out) in strip.chunks_exact_mut(strip_width * GROUP).enumerate() {
                let (rows, out) = (&planes[row * columns..], &mut out[..columns * GROUP]);
                simd.vectorize(Interleave { rows, stride: 3 * columns, channels, out });
                for (column, values) in out.chunks_exact(GROUP).enumerate() {
                    for (channel, &v) in values[..channels].iter().enumerate() {
                        assert_eq!(v, planes[(channel * 3 + row) * columns + column], "{simd:?}");
                    }
                }
            }
            let mut back = vec![0.0; planes.len()];
            let mut planes_back: Vec<&mut [f32]> = back.chunks_exact_mut(rows * columns).collect();
            let planes_back = &mut planes_back[..];
            simd.vectorize(Deinterleave { strip: &strip, strip_width, planes: planes_back, width: columns });
            assert_eq!(back, planes, "{simd:?}");
        }
    }

    #[test]
    fn channels_stay_in_order_on_every_instruction_set() {
        assert_channels_stay_in_order(pulp::Scalar);
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = pulp::x86::V2::try_new() {
                assert_channels_stay_in_order(simd);
            }
            if let Some(simd) = pulp::x86::V3::try_new() {
                assert_channels_stay_in_order(simd);
            }
            if let Some(simd) = pulp::x86::V4::try_new() {
                assert_channels_stay_in_order(simd);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(simd) = pulp::aarch64::Neon::try_new() {
            assert_channels_stay_in_order(simd);
        }
    }
}
