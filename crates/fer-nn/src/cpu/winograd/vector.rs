//! Vectors of channels, as wide as the processor's.

use std::ops::{Add, Sub};

use pulp::{Simd, bytemuck};

/// Some channels of a group.
#[derive(Clone, Copy)]
pub(super) struct Vector<S: Simd> {
    simd: S,
    values: S::f32s,
}

impl<S: Simd> Vector<S> {
    #[inline(always)]
    pub fn splat(simd: S, value: f32) -> Self {
        Self { simd, values: simd.splat_f32s(value) }
    }

    /// The first values of a slice.
    #[inline(always)]
    pub fn load(simd: S, from: &[f32]) -> Self {
        let values = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&from[..S::F32_LANES]));
        Self { simd, values }
    }

    #[inline(always)]
    pub fn store(self, to: &mut [f32]) {
        let to: &mut [u8] = bytemuck::cast_slice_mut(&mut to[..S::F32_LANES]);
        to.copy_from_slice(bytemuck::bytes_of(&self.values));
    }

    #[inline(always)]
    pub fn times(self, factor: f32) -> Self {
        Self { values: self.simd.mul_f32s(self.simd.splat_f32s(factor), self.values), ..self }
    }

    /// `self + factor·other`
    #[inline(always)]
    pub fn plus(self, factor: f32, other: Self) -> Self {
        Self::splat(self.simd, factor).times_plus(other, self)
    }

    /// `self·factor + other`
    #[inline(always)]
    pub fn times_plus(self, factor: Self, other: Self) -> Self {
        Self { values: self.simd.mul_add_e_f32s(self.values, factor.values, other.values), ..self }
    }
}

impl<S: Simd> Add for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self { values: self.simd.add_f32s(self.values, other.values), ..self }
    }
}

impl<S: Simd> Sub for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self { values: self.simd.sub_f32s(self.values, other.values), ..self }
    }
}
