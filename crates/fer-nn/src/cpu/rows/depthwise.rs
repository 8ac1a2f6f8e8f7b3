//! A row of a depthwise convolution: every channel by itself.
//!
//! Some columns of a vector of channels stay in registers. Where the kernel moves by one column, each vector of a row is read once
//! and meets all of the kernel's columns.

use pulp::{Simd, WithSimd};

use super::filters::Filters;
use super::row::{Row, Under, blocks};
use super::vector::{finish, load, store};
use crate::cpu::groups::GROUP;

/// Columns of a block at most.
const MOST_COLUMNS: usize = 10;

pub(super) struct Depthwise<'a> {
    pub under: Under<'a>,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub filters: &'a Filters<'a>,
    pub output: Row,
    pub out: &'a mut [f32],
}

impl Depthwise<'_> {
    /// # Panics
    /// When the row of the input is shorter than the output reads, the weights are of another shape, or `out` is not a row of
    /// the output.
    pub fn run(self) {
        let input = self.under.row;
        let last = (self.output.width - 1) * self.stride + self.kernel[1];
        assert!(self.output.width > 0 && last <= input.before + input.width + input.after);
        assert!(input.pitch == GROUP && self.output.pitch == GROUP && input.groups == self.output.groups);
        assert!(self.under.rows().iter().all(|row| row.len() == input.len()));
        assert!(self.under.first + self.under.rows().len() <= self.kernel[0]);
        let Filters { weight, scale, shift, .. } = self.filters;
        let groups = self.output.groups;
        assert!(weight.len() == groups * self.kernel[0] * self.kernel[1]);
        assert!(scale.len() == groups && shift.len() == groups);
        assert!(self.out.len() == self.output.len());
        pulp::Arch::new().dispatch(self);
    }

    /// Columns `first..first + M` of a vector of a group. The kernel is `K` wide and moves by a column; 0 is any other.
    ///
    /// # Safety
    /// What [`Depthwise::run`] asserts, `group` is one of the output, `first + M` at most its width, and a vector from `lane` on is
    /// of a group.
    #[inline(always)]
    unsafe fn block<S: Simd, const M: usize, const K: usize>(
        &mut self,
        simd: S,
        [group, lane]: [usize; 2],
        first: usize,
    ) {
        let Self { under, filters, output, out, .. } = self;
        let (kernel, stride) = (self.kernel, self.stride);
        let input = under.row;
        // SAFETY: a row's group holds, from column `first` on, what `M` columns of the output read, as `run` asserts of all
        // columns; the weights begin with the row of the kernel that lies on the first row; scales, shifts and the output's
        // columns are there.
        unsafe {
            let weight = filters.weight.as_ptr().add((group * kernel[0] + under.first) * kernel[1]);
            let mut weight = weight.cast::<f32>().add(lane);
            let mut sums = [simd.splat_f32s(0.0); M];
            for row in under.rows() {
                let x = row.as_ptr().add(group * input.group_len() + first * stride * GROUP + lane);
                if K > 0 {
                    let mut weights = [simd.splat_f32s(0.0); K];
                    for (kx, of_lanes) in weights.iter_mut().enumerate() {
                        *of_lanes = load(simd, weight.add(kx * GROUP));
                    }
                    for column in 0..M + K - 1 {
                        let x = load(simd, x.add(column * GROUP));
                        for (kx, &weight) in weights.iter().enumerate() {
                            if kx <= column && column - kx < M {
                                sums[column - kx] = simd.mul_add_e_f32s(x, weight, sums[column - kx]);
                            }
                        }
                    }
                } else {
                    for kx in 0..kernel[1] {
                        let weight = load(simd, weight.add(kx * GROUP));
                        for (m, sum) in sums.iter_mut().enumerate() {
                            let x = load(simd, x.add((m * stride + kx) * GROUP));
                            *sum = simd.mul_add_e_f32s(x, weight, *sum);
                        }
                    }
                }
                weight = weight.add(kernel[1] * GROUP);
            }
            let out =
                out.as_mut_ptr().add(group * output.group_len() + (output.before + first) * GROUP + lane);
            let scale = load(simd, filters.scale[group].0.as_ptr().add(lane));
            let shift = load(simd, filters.shift[group].0.as_ptr().add(lane));
            for (m, &sum) in sums.iter().enumerate() {
                store(simd, finish(simd, sum, [scale, shift], filters.relu), out.add(m * GROUP));
            }
        }
    }

    /// All columns, in blocks of nearly the same size.
    #[inline(always)]
    fn all<S: Simd, const K: usize>(&mut self, simd: S) {
        for group in 0..self.output.groups {
            for (first, columns, count) in blocks(self.output.width, MOST_COLUMNS) {
                macro_rules! of_columns {
                    ($($m:literal)*) => {
                        match columns {
                            _ if count == 0 => {}
                            $($m => for block in 0..count {
                                // All lanes of a block's cache lines while these are near.
                                for lane in (0..GROUP).step_by(S::F32_LANES) {
                                    // SAFETY: `run` made the assertions; blocks lie within the width.
                                    unsafe { self.block::<S, $m, K>(simd, [group, lane], first + block * $m) };
                                }
                            },)*
                            _ => unreachable!("blocks have 1 to {MOST_COLUMNS} columns"),
                        }
                    };
                }
                of_columns!(1 2 3 4 5 6 7 8 9 10);
            }
        }
    }
}

impl WithSimd for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match (self.stride, self.kernel[1]) {
            (1, 3) => self.all::<S, 3>(simd),
            (1, 5) => self.all::<S, 5>(simd),
            _ => self.all::<S, 0>(simd),
        }
    }
}
