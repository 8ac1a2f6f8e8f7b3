//! A row of a convolution over all channels: 1×1, or a larger kernel over few.
//!
//! What lies under one row of a kernel is one run of values in each group of a row of the input, so that every convolution
//! is a matrix product whose left side is read where it lies: some columns by one group of outputs stay in registers while the
//! sum runs, as in [`winograd`](crate::cpu::winograd)'s product.

use pulp::{Simd, WithSimd};

use super::filters::{Filters, depth};
use super::row::{Row, Under, blocks};
use super::vector::{finish, load, store};
use crate::cpu::groups::GROUP;

/// Two pixels of red, green and blue.
const COLOURS: usize = 6;

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

    /// Columns `first..first + M` of a group of outputs, of `V` vectors; the input is so many groups, and so many values under a
    /// row of the kernel. Columns are `STEP` values of the input apart; 0 is any other number.
    ///
    /// # Safety
    /// What [`Product::run`] asserts, `STEP` and the two numbers are the product's, `group` is one of the output, `first + M` at most its
    /// width, and `V` vectors are a group.
    #[inline(always)]
    unsafe fn block<S: Simd, const M: usize, const V: usize, const STEP: usize>(
        &mut self,
        simd: S,
        [in_groups, of_row]: [usize; 2],
        group: usize,
        first: usize,
    ) {
        let Self { under, filters, output, out, .. } = self;
        let (in_channels, kernel, stride) = (self.in_channels, self.kernel, self.stride);
        let input = under.row;
        let step = if STEP > 0 { STEP } else { stride * input.pitch };
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
                    let depth = depth(kernel[1], input.pitch, in_channels, in_group);
                    // Four at a time, written out, for the compiler would make a loop of them.
                    let fours = if STEP > 0 { depth / 4 } else { 0 };
                    for _ in 0..fours {
                        add(simd, &mut sums, x, step, weight);
                        add(simd, &mut sums, x.add(1), step, weight.add(GROUP));
                        add(simd, &mut sums, x.add(2), step, weight.add(2 * GROUP));
                        add(simd, &mut sums, x.add(3), step, weight.add(3 * GROUP));
                        x = x.add(4);
                        weight = weight.add(4 * GROUP);
                    }
                    for _ in 0..depth - 4 * fours {
                        add(simd, &mut sums, x, step, weight);
                        x = x.add(1);
                        weight = weight.add(GROUP);
                    }
                }
            }
            let out = out.as_mut_ptr().add(group * output.group_len() + (output.before + first) * GROUP);
            let (scale, shift) = (filters.scale[group].0.as_ptr(), filters.shift[group].0.as_ptr());
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
}

/// Adds the products of the values at `x`, `step` apart, and the vectors of a weight.
///
/// # Safety
/// `M` values and a group's weights may be read there.
#[inline(always)]
unsafe fn add<S: Simd, const M: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; M],
    x: *const f32,
    step: usize,
    weight: *const f32,
) {
    // SAFETY: as the caller says.
    unsafe {
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
    }
}

/// All columns of all groups, in blocks of at most as many as the last `$columns`, which with their `$vectors` a group fill the
/// registers.
macro_rules! in_blocks {
    ($product:ident, $simd:ident, $step:expr, $vectors:literal, $($columns:literal)*) => {{
        let most = [$($columns),*].len();
        // Once, for they take divisions.
        let sizes = [$product.in_groups(), $product.depth()];
        for group in 0..$product.output.groups {
            for (first, columns, count) in blocks($product.output.width, most) {
                match columns {
                    _ if count == 0 => {}
                    $(
                        $columns => for block in 0..count {
                            let first = first + block * $columns;
                            // SAFETY: `run` made the assertions; the step is matched; blocks lie within the width, and so many
                            // vectors are a group.
                            unsafe { $product.block::<S, $columns, $vectors, { $step }>($simd, sizes, group, first) };
                        },
                    )*
                    _ => unreachable!("blocks have 1 to {most} columns"),
                }
            }
        }
    }};
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // A step that is known becomes part of the instructions.
        match (S::F32_LANES, self.stride * self.under.row.pitch) {
            (16, GROUP) => in_blocks!(self, simd, GROUP, 1, 1 2 3 4 5 6 7 8 9 10 11 12),
            (16, COLOURS) => in_blocks!(self, simd, COLOURS, 1, 1 2 3 4 5 6 7 8 9 10 11 12),
            (16, _) => in_blocks!(self, simd, 0, 1, 1 2 3 4 5 6 7 8 9 10 11 12),
            (8, GROUP) => in_blocks!(self, simd, GROUP, 2, 1 2 3 4 5 6),
            (8, COLOURS) => in_blocks!(self, simd, COLOURS, 2, 1 2 3 4 5 6),
            (8, _) => in_blocks!(self, simd, 0, 2, 1 2 3 4 5 6),
            (4, GROUP) => in_blocks!(self, simd, GROUP, 4, 1 2 3 4 5 6),
            (4, _) => in_blocks!(self, simd, 0, 4, 1 2 3 4 5 6),
            (2, _) => in_blocks!(self, simd, 0, 8, 1),
            _ => in_blocks!(self, simd, 0, 16, 1),
        }
    }
}
