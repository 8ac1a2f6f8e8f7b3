//! The linear maps of Winograd's minimal filtering along one axis, and their application along two.
//!
//! Products of polynomials are computed at the points 0, 1, −1, ½, −2 and ∞ (six values) or 0, ±1, ±2, ±½ and ∞
//! (eight values), after Cook and Toom. Both sets are chosen for their error in f32, far below that of 0, ±1, ±2,
//! ±3 …

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::lanes::{GROUP, Lanes};

/// A linear map from `L` to `N` values.
pub(super) trait Map<const L: usize, const N: usize> {
    fn apply<S: Simd>(x: [Lanes<S>; L]) -> [Lanes<S>; N];
}

/// Bᵀ: the input's map. Row `i` holds the coefficients of the product of (x − pₖ) over the other points.
pub(super) struct Input;

/// G: the values of a polynomial at the points, divided by the products of (pᵢ − pₖ) over the other points.
pub(super) struct Evaluate;

/// Aᵀ: the sums of the points' powers, the transposed evaluation.
pub(super) struct Interpolate;

impl Map<6, 6> for Input {
    #[inline(always)]
    fn apply<S: Simd>(d: [Lanes<S>; 6]) -> [Lanes<S>; 6] {
        // x² + 1.5x − 1 = (x − ½)(x + 2) is a factor of four of the six products.
        let q = |k: usize| (d[k + 2] - d[k]).plus(1.5, d[k + 1]);
        let (q0, q1, q2, q3) = (q(0), q(1), q(2), q(3));
        let (even, odd) = (d[4] - d[2], d[3] - d[1]);
        [q2 - q0, q2 + q1, q2 - q1, even.plus(2.0, odd), even.plus(-0.5, odd), q3 - q1]
    }
}

impl Map<8, 8> for Input {
    #[inline(always)]
    fn apply<S: Simd>(d: [Lanes<S>; 8]) -> [Lanes<S>; 8] {
        let even_1 = (d[2] + d[6]).plus(-4.25, d[4]);
        let odd_1 = (d[1] + d[5]).plus(-4.25, d[3]);
        let even_2 = d[6].plus(0.25, d[2]).plus(-1.25, d[4]);
        let odd_2 = d[1].times(0.5).plus(-2.5, d[3]).plus(2.0, d[5]);
        let even_3 = d[6].plus(4.0, d[2]).plus(-5.0, d[4]);
        let odd_3 = d[5].times(0.5).plus(-2.5, d[3]).plus(2.0, d[1]);
        [
            (d[0] - d[6]).plus(5.25, d[4] - d[2]),
            even_1 + odd_1,
            even_1 - odd_1,
            even_2 + odd_2,
            even_2 - odd_2,
            even_3 + odd_3,
            even_3 - odd_3,
            (d[7] - d[1]).plus(5.25, d[3] - d[5]),
        ]
    }
}

/// The polynomial with coefficients `g`, lowest first, at `point`.
#[inline(always)]
fn horner<S: Simd, const L: usize>(g: &[Lanes<S>; L], point: f32) -> Lanes<S> {
    let mut value = g[L - 1];
    for k in (0..L - 1).rev() {
        value = g[k].plus(point, value);
    }
    value
}

impl<const L: usize> Map<L, 6> for Evaluate {
    #[inline(always)]
    fn apply<S: Simd>(g: [Lanes<S>; L]) -> [Lanes<S>; 6] {
        [
            g[0],
            horner(&g, 1.0).times(1.0 / 3.0),
            horner(&g, -1.0).times(-1.0 / 3.0),
            horner(&g, 0.5).times(-16.0 / 15.0),
            horner(&g, -2.0).times(1.0 / 15.0),
            g[L - 1],
        ]
    }
}

impl<const L: usize> Map<L, 8> for Evaluate {
    #[inline(always)]
    fn apply<S: Simd>(g: [Lanes<S>; L]) -> [Lanes<S>; 8] {
        [
            g[0],
            horner(&g, 1.0).times(-2.0 / 9.0),
            horner(&g, -1.0).times(-2.0 / 9.0),
            horner(&g, 2.0).times(1.0 / 90.0),
            horner(&g, -2.0).times(1.0 / 90.0),
            horner(&g, 0.5).times(32.0 / 45.0),
            horner(&g, -0.5).times(32.0 / 45.0),
            g[L - 1],
        ]
    }
}

/// The powers of 2, of ½ and of −2.
const TWO: [f32; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];
const HALF: [f32; 5] = [1.0, 0.5, 0.25, 0.125, 0.0625];
const MINUS_TWO: [f32; 5] = [1.0, -2.0, 4.0, -8.0, 16.0];

impl<const M: usize> Map<6, M> for Interpolate {
    #[inline(always)]
    fn apply<S: Simd>(t: [Lanes<S>; 6]) -> [Lanes<S>; M] {
        let of_one = [t[1] + t[2], t[1] - t[2]];
        let mut y = [t[0]; M];
        y[0] = t[0] + of_one[0] + (t[3] + t[4]);
        for k in 1..M {
            y[k] = of_one[k % 2].plus(HALF[k], t[3]).plus(MINUS_TWO[k], t[4]);
        }
        y[M - 1] = y[M - 1] + t[5];
        y
    }
}

impl<const M: usize> Map<8, M> for Interpolate {
    #[inline(always)]
    fn apply<S: Simd>(t: [Lanes<S>; 8]) -> [Lanes<S>; M] {
        let of_one = [t[1] + t[2], t[1] - t[2]];
        let of_two = [t[3] + t[4], t[3] - t[4]];
        let of_half = [t[5] + t[6], t[5] - t[6]];
        let mut y = [t[0]; M];
        y[0] = (t[0] + of_one[0]) + (of_two[0] + of_half[0]);
        for k in 1..M {
            y[k] = of_one[k % 2].plus(TWO[k], of_two[k % 2]).plus(HALF[k], of_half[k % 2]);
        }
        y[M - 1] = y[M - 1] + t[7];
        y
    }
}

/// Transformed tiles: `(N·N positions, tiles, channels)`.
pub(super) struct Positions<'a> {
    pub values: &'a mut [f32],
    pub position_stride: usize,
    pub tile_stride: usize,
}

/// Applies `T` along the columns, then along the rows of a horizontal row of tiles, `L`×`L` values each, whose
/// first columns are [`TILE`](super::TILE) apart, for one group of channels.
pub(super) struct Expand<'a, T, const L: usize, const N: usize> {
    pub map: PhantomData<T>,
    /// `(L, width, GROUP)`
    pub image: &'a [f32],
    pub width: usize,
    pub tiles: usize,
    /// `(N, width, GROUP)`
    pub columns: &'a mut [f32],
    pub out: Positions<'a>,
}

impl<T: Map<L, N>, const L: usize, const N: usize> WithSimd for Expand<'_, T, L, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let out = self.out;
        let row = self.width * GROUP;
        for at in (0..row).step_by(S::F32_LANES) {
            let mut x = [Lanes::zero(simd); L];
            for (i, x) in x.iter_mut().enumerate() {
                *x = Lanes::load(simd, self.image, i * row + at);
            }
            for (i, y) in T::apply(x).into_iter().enumerate() {
                y.store(self.columns, i * row + at);
            }
        }
        for tile in 0..self.tiles {
            for lane in (0..GROUP).step_by(S::F32_LANES) {
                for i in 0..N {
                    let mut x = [Lanes::zero(simd); L];
                    for (j, x) in x.iter_mut().enumerate() {
                        let column = tile * super::TILE + j;
                        *x = Lanes::load(simd, self.columns, i * row + column * GROUP + lane);
                    }
                    let at = tile * out.tile_stride + lane;
                    for (j, y) in T::apply(x).into_iter().enumerate() {
                        y.store(out.values, (i * N + j) * out.position_stride + at);
                    }
                }
            }
        }
    }
}

/// Applies `T` along the columns, then along the rows of `N`×`N` positions, to `M`×`M` values a tile, for one
/// group of channels.
pub(super) struct Contract<'a, T, const N: usize, const M: usize> {
    pub map: PhantomData<T>,
    /// `(N·N positions, tiles, channels)`, from the first tile's and the group's first value on.
    pub products: &'a [f32],
    pub position_stride: usize,
    pub tile_stride: usize,
    pub tiles: usize,
    /// `(M, tiles·M, GROUP)`
    pub out: &'a mut [f32],
}

impl<T: Map<N, M>, const N: usize, const M: usize> WithSimd for Contract<'_, T, N, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for tile in 0..self.tiles {
            for lane in (0..GROUP).step_by(S::F32_LANES) {
                let mut columns = [[Lanes::zero(simd); N]; M];
                for column in 0..N {
                    let mut x = [Lanes::zero(simd); N];
                    for (i, x) in x.iter_mut().enumerate() {
                        let at = (i * N + column) * self.position_stride + tile * self.tile_stride + lane;
                        *x = Lanes::load(simd, self.products, at);
                    }
                    for (row, y) in columns.iter_mut().zip(T::apply(x)) {
                        row[column] = y;
                    }
                }
                for (i, &x) in columns.iter().enumerate() {
                    for (j, y) in T::apply(x).into_iter().enumerate() {
                        let column = (i * self.tiles + tile) * M + j;
                        y.store(self.out, column * GROUP + lane);
                    }
                }
            }
        }
    }
}
