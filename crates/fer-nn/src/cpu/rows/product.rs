//! A row of a convolution over all channels: 1×1, or a larger kernel over few.
//!
//! What lies under one row of a kernel is one run of values in each group of a row of the input, so that every convolution
//! is a matrix product whose left side is read where it lies: some columns by one group of outputs stay in registers while the
//! sum runs, as in [`winograd`](crate::cpu::winograd)'s product.

use pulp::{Simd, WithSimd};

use super::filters::{Filters, depth};
use super::row::{Row, Under};
use super::vector::{finish, load, store};
use crate::cpu::groups::GROUP;

/// Columns of a block at most.
const MOST_COLUMNS: usize = 12;

pub(super) struct Product<'a> {
    pub under: Under<'a>,
    pub in_channels: usize,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub filters: &'a Filters<'a>,
    pub output: Row,
    pub out: &'a mut [f32],
}

impl Product<'_> {
    /// # Panics
    /// When the row of the input is shorter than the output reads, the weights are of another shape, or `out` is not a row of
    /// the output.
    pub fn run(self) {
        let input = self.under.row;
        assert!(self.output.width > 0 && input.pitch > 0 && self.in_channels <= input.groups * input.pitch);
        let last = (self.output.width - 1) * self.stride + self.kernel[1];
        assert!(last <= input.before + input.width + input.after);
        assert!(self.under.rows().iter().all(|row| row.len() == input.len()));
        assert!(self.under.first + self.under.rows().len() <= self.kernel[0]);
        let (groups, depth) = (self.output.groups, self.depth());
        let Filters { weight, scale, shift, .. } = self.filters;
        assert!(weight.len() == groups * self.kernel[0] * depth);
        assert!(scale.len() == groups && shift.len() == groups);
        assert!(self.out.len() == self.output.len() && self.output.pitch == GROUP);
        pulp::Arch::new().dispatch(self);
    }

    fn in_groups(&self) -> usize {
        self.in_channels.div_ceil(self.under.row.pitch)
    }

    /// The values under one row of the kernel.
    fn depth(&self) -> usize {
        let of = |group| depth(self.kernel[1], self.under.row.pitch, self.in_channels, group);
        (0..self.in_groups()).map(of).sum()
    }

    /// Columns `first..first + M` of a group of outputs, of `V` vectors.
    ///
    /// # Safety
    /// What [`Product::run`] asserts, `group` is one of the output, `first + M` at most its width, and `V` vectors are a group.
    #[inline(always)]
    unsafe fn block<S: Simd, const M: usize, const V: usize>(&mut self, simd: S, group: usize, first: usize) {
        let Self { under, in_channels, kernel, stride, filters, output, .. } = *self;
        let input = under.row;
        let (step, of_row) = (stride * input.pitch, self.depth());
        let in_groups = self.in_groups();
        // SAFETY: a row's group holds, from column `first` on, what `M` columns of the output read, as `run` asserts of all
        // columns; the weights are walked in their order, from the row of the kernel that lies on the first row; scales, shifts
        // and the output's columns are there.
        unsafe {
            let mut weight =
                filters.weight.as_ptr().add((group * kernel[0] + under.first) * of_row).cast::<f32>();
            let mut sums = [[simd.splat_f32s(0.0); V]; M];
            for row in under.rows() {
                for in_group in 0..in_groups {
                    let mut x = row.as_ptr().add(in_group * input.group_len() + first * step);
                    for _ in 0..depth(kernel[1], input.pitch, in_channels, in_group) {
                        let mut weights = [simd.splat_f32s(0.0); V];
                        for (v, of_lanes) in weights.iter_mut().enumerate() {
                            *of_lanes = load(simd, weight.add(v * S::F32_LANES));
                        }
                        for (m, sums) in sums.iter_mut().enumerate() {
                            let value = simd.splat_f32s(*x.add(m * step));
                            for (sum, &weight) in sums.iter_mut().zip(&weights) {
                                *sum = simd.mul_add_e_f32s(value, weight, *sum);
                            }
                        }
                        x = x.add(1);
                        weight = weight.add(GROUP);
                    }
                }
            }
            let out = self.out.as_mut_ptr();
            let out = out.add(group * output.group_len() + (output.before + first) * GROUP);
            let (scale, shift) = (filters.scale[group].as_ptr(), filters.shift[group].as_ptr());
            for v in 0..V {
                let lane = v * S::F32_LANES;
                let affine = [load(simd, scale.add(lane)), load(simd, shift.add(lane))];
                for (m, sums) in sums.iter().enumerate() {
                    let y = finish(simd, sums[v], affine, filters.relu);
                    store(simd, y, out.add(m * GROUP + lane));
                }
            }
        }
    }

    /// All columns, in blocks of nearly the same size, of which so many sums are held in registers.
    #[inline(always)]
    fn blocks<S: Simd, const V: usize>(&mut self, simd: S) {
        let most = (S::REGISTER_COUNT.saturating_sub(V + 1) / V).clamp(1, MOST_COLUMNS);
        let width = self.output.width;
        let blocks = width.div_ceil(most);
        for group in 0..self.output.groups {
            let mut first = 0;
            for block in 0..blocks {
                let columns = (width - first).div_ceil(blocks - block);
                macro_rules! of_columns {
                    ($($m:literal)*) => {
                        match columns {
                            // SAFETY: `run` made the assertions; `first + columns` is at most the width.
                            $($m => unsafe { self.block::<S, $m, V>(simd, group, first) },)*
                            _ => unreachable!("blocks have 1 to {MOST_COLUMNS} columns"),
                        }
                    };
                }
                of_columns!(1 2 3 4 5 6 7 8 9 10 11 12);
                first += columns;
            }
        }
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match S::F32_LANES {
            16 => self.blocks::<S, 1>(simd),
            8 => self.blocks::<S, 2>(simd),
            4 => self.blocks::<S, 4>(simd),
            2 => self.blocks::<S, 8>(simd),
            _ => self.blocks::<S, 16>(simd),
        }
    }
}
