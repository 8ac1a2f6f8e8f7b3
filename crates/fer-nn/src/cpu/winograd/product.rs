//! The matrix products behind the transforms, on one thread.
//!
//! A block of some rows by two vectors of the product stays in registers while the inner dimension runs: each
//! value of `a` is broadcast and meets the vectors of `b` (Goto and van de Geijn 2008). Nothing is packed: the
//! transforms write both sides in the order in which they are read here, with columns in groups of sixteen lanes.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cpu::groups::{GROUP, Lanes};

/// Rows of a block at most: with two vectors each, all of AVX-512's 32 registers but four.
const MOST_ROWS: usize = 14;

/// Values of the inner dimension that are summed up before they are added to what came before: few enough for `b`
/// to stay in the L1 cache from one block of rows to the next, and for the rounding errors of long sums to stay
/// small, which the transform back enlarges.
const DEPTH: usize = 128;

/// `c = a·b`, or `c += a·b` when `accumulate`.
pub(super) struct Product<'a, const TURNED: bool> {
    pub rows: usize,
    /// The inner dimension.
    pub depth: usize,
    /// Groups of columns.
    pub groups: usize,
    /// `(⌈depth/16⌉, a_group ≥ rows, 16)`; when `TURNED` `(depth, 16)`, the rows, at most 16, in the lanes.
    pub a: &'a [Lanes],
    pub a_group: usize,
    /// `(groups, b_group ≥ depth, 16)`
    pub b: &'a [Lanes],
    pub b_group: usize,
    /// `(groups, c_group ≥ rows, 16)`
    pub c: &'a mut [Lanes],
    pub c_group: usize,
    pub accumulate: bool,
}

impl<const TURNED: bool> Product<'_, TURNED> {
    pub(super) fn run(self) {
        assert!(self.rows > 0 && self.depth > 0 && self.groups > 0);
        if TURNED {
            assert!(self.rows <= GROUP && self.depth <= self.a.len());
        } else {
            assert!((self.depth.div_ceil(GROUP) - 1) * self.a_group + self.rows <= self.a.len());
        }
        assert!((self.groups - 1) * self.b_group + self.depth <= self.b.len());
        assert!((self.groups - 1) * self.c_group + self.rows <= self.c.len());
        pulp::Arch::new().dispatch(self);
    }

    /// Adds to rows `first..first + M` of the columns from `group` on, `V` vectors of them, the products of the inner
    /// dimension's values `depth`; without `add` puts them there.
    ///
    /// # Safety
    /// The bounds that [`Product::run`] asserts, `first + M <= rows`, `V` vectors from `group` on are columns, `depth`
    /// lies in the inner dimension and begins at a group of it.
    #[inline(always)]
    unsafe fn block<S: Simd, const M: usize, const V: usize>(
        &mut self,
        simd: S,
        group: usize,
        first: usize,
        depth: Range<usize>,
        add: bool,
    ) {
        let (row, step) = if TURNED { (1, GROUP) } else { (GROUP, 1) };
        // Vector `v` lies in group `v·lanes/16` from `group` on.
        let of_vector =
            |v: usize, stride: usize| v * S::F32_LANES / GROUP * stride * GROUP + v * S::F32_LANES % GROUP;
        // SAFETY: every offset below is that of an element inside the bounds asserted by `run`.
        unsafe {
            let begin = if TURNED { depth.start } else { depth.start / GROUP * self.a_group };
            let mut a = self.a.as_ptr().add(begin).cast::<f32>().add(first * row);
            let mut b = self.b.as_ptr().add(group * self.b_group + depth.start).cast::<f32>();
            let c = self.c.as_mut_ptr().add(group * self.c_group + first).cast::<f32>();
            let mut sums = [[simd.splat_f32s(0.0); V]; M];
            for k in 1..=depth.len() {
                let mut columns = [simd.splat_f32s(0.0); V];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = b.add(of_vector(v, self.b_group)).cast::<S::f32s>().read_unaligned();
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let value = simd.splat_f32s(*a.add(m * row));
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = simd.mul_add_e_f32s(value, column, *sum);
                    }
                }
                // One loop and no nested one: with two, the compiler keeps the sums in memory.
                let to_group = if !TURNED && k % GROUP == 0 { (self.a_group - 1) * GROUP } else { 0 };
                a = a.wrapping_add(step + to_group);
                b = b.wrapping_add(GROUP);
            }
            // Two short loops, so that the compiler unrolls them and `sums` are registers from the beginning.
            if add {
                for (m, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let c = c.add(of_vector(v, self.c_group) + m * GROUP).cast::<S::f32s>();
                        *sum = simd.add_f32s(c.read_unaligned(), *sum);
                    }
                }
            }
            for (m, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    c.add(of_vector(v, self.c_group) + m * GROUP).cast::<S::f32s>().write_unaligned(sum);
                }
            }
        }
    }

    /// All rows of the columns from `group` on, `V` vectors of them, in blocks of nearly the same size.
    #[inline(always)]
    fn columns<S: Simd, const V: usize>(&mut self, simd: S, group: usize) {
        let most = (S::REGISTER_COUNT.saturating_sub(V + 1) / V).clamp(1, MOST_ROWS);
        let blocks = self.rows.div_ceil(most);
        for start in (0..self.depth).step_by(DEPTH) {
            let depth = start..self.depth.min(start + DEPTH);
            let add = self.accumulate || start > 0;
            for block in 0..blocks {
                let first = block * self.rows / blocks;
                let rows = (block + 1) * self.rows / blocks - first;
                let depth = depth.clone();
                macro_rules! of_rows {
                    ($($m:literal)*) => {
                        match rows {
                            // SAFETY: `first + rows <= self.rows`, the caller's groups are columns, and blocks of
                            // the inner dimension are whole groups of it.
                            $($m => unsafe { self.block::<S, $m, V>(simd, group, first, depth, add) },)*
                            _ => unreachable!("blocks have 1 to {MOST_ROWS} rows"),
                        }
                    };
                }
                of_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
            }
        }
    }
}

impl<const TURNED: bool> WithSimd for Product<'_, TURNED> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut group = 0;
        while S::F32_LANES == GROUP && group + 2 <= self.groups {
            self.columns::<S, 2>(simd, group);
            group += 2;
        }
        for group in group..self.groups {
            match S::F32_LANES {
                16 => self.columns::<S, 1>(simd, group),
                8 => self.columns::<S, 2>(simd, group),
                4 => self.columns::<S, 4>(simd, group),
                2 => self.columns::<S, 8>(simd, group),
                _ => self.columns::<S, 16>(simd, group),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, whose sums are exact.
    fn values(n: usize, factor: usize) -> Vec<Lanes> {
        let value = |i: usize| ((i * factor) % 17) as f32 - 8.0;
        (0..n).map(|i| std::array::from_fn(|lane| value(i * GROUP + lane))).collect()
    }

    fn assert_right<S: Simd, const TURNED: bool>(simd: S) {
        for (rows, depth, groups) in
            [(1, 1, 1), (3, 16, 2), (14, 17, 1), (16, 40, 3), (15, 5, 4), (16, 300, 5)]
        {
            let (a_group, b_group, c_group) = (rows + 1, depth + 2, rows + 3);
            let a = values(if TURNED { depth } else { depth.div_ceil(GROUP) * a_group }, 7);
            let b = values(groups * b_group, 5);
            let before = values(groups * c_group, 3);
            for accumulate in [false, true] {
                let mut c = before.clone();
                let (a, b) = (&a, &b);
                let c_of = &mut c[..];
                let product = Product::<TURNED> {
                    rows,
                    depth,
                    groups,
                    a,
                    a_group,
                    b,
                    b_group,
                    c: c_of,
                    c_group,
                    accumulate,
                };
                simd.vectorize(product);
                let mut want = before.clone();
                for group in 0..groups {
                    for row in 0..rows {
                        for lane in 0..GROUP {
                            let out = &mut want[group * c_group + row][lane];
                            *out = if accumulate { *out } else { 0.0 };
                            for k in 0..depth {
                                let left =
                                    if TURNED { a[k][row] } else { a[k / GROUP * a_group + row][k % GROUP] };
                                *out += left * b[group * b_group + k][lane];
                            }
                        }
                    }
                }
                assert!(c == want, "{simd:?} {rows}×{depth}×{groups} turned: {TURNED}");
            }
        }
    }

    #[test]
    fn products_are_right_on_every_instruction_set() {
        fn both<S: Simd>(simd: S) {
            assert_right::<S, false>(simd);
            assert_right::<S, true>(simd);
        }
        both(pulp::Scalar);
        #[cfg(target_arch = "x86_64")]
        {
            pulp::x86::V2::try_new().into_iter().for_each(both);
            pulp::x86::V3::try_new().into_iter().for_each(both);
            pulp::x86::V4::try_new().into_iter().for_each(both);
        }
        #[cfg(target_arch = "aarch64")]
        pulp::aarch64::Neon::try_new().into_iter().for_each(both);
    }
}
