//! The linear maps of Winograd's minimal filtering along one axis.
//!
//! Products of polynomials are computed at the points 0, 1, −1 and ∞ (four values), 0, 1, −1, ½, −2 and ∞ (six values) or
//! 0, ±1, ±2, ±½ and ∞ (eight values), after Cook and Toom. The sets are chosen for their error in f32, far below that of 0, ±1,
//! ±2, ±3 …

use pulp::Simd;

use super::vector::Vector;

/// A linear map from `L` to `N` values.
pub(super) trait Map<const L: usize, const N: usize> {
    fn apply<S: Simd>(x: [Vector<S>; L]) -> [Vector<S>; N];
}

/// Bᵀ: the input's map. Row `i` holds the coefficients of the product of (x − pₖ) over the other points.
pub(super) struct Input;

/// G: the values of a polynomial at the points, divided by the products of (pᵢ − pₖ) over the other points.
pub(super) struct Evaluate;

/// Aᵀ: the sums of the points' powers, the transposed evaluation.
pub(super) struct Interpolate;

impl Map<4, 4> for Input {
    #[inline(always)]
    fn apply<S: Simd>(d: [Vector<S>; 4]) -> [Vector<S>; 4] {
        [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]]
    }
}

impl Map<6, 6> for Input {
    #[inline(always)]
    fn apply<S: Simd>(d: [Vector<S>; 6]) -> [Vector<S>; 6] {
        // x² + 1.5x − 1 = (x − ½)(x + 2) is a factor of four of the six products.
        let q = |k: usize| (d[k + 2] - d[k]).plus(1.5, d[k + 1]);
        let (q0, q1, q2, q3) = (q(0), q(1), q(2), q(3));
        let (even, odd) = (d[4] - d[2], d[3] - d[1]);
        [q2 - q0, q2 + q1, q2 - q1, even.plus(2.0, odd), even.plus(-0.5, odd), q3 - q1]
    }
}

impl Map<8, 8> for Input {
    #[inline(always)]
    fn apply<S: Simd>(d: [Vector<S>; 8]) -> [Vector<S>; 8] {
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
fn horner<S: Simd, const L: usize>(g: &[Vector<S>; L], point: f32) -> Vector<S> {
    let mut value = g[L - 1];
    for k in (0..L - 1).rev() {
        value = g[k].plus(point, value);
    }
    value
}

impl<const L: usize> Map<L, 4> for Evaluate {
    #[inline(always)]
    fn apply<S: Simd>(g: [Vector<S>; L]) -> [Vector<S>; 4] {
        [g[0], horner(&g, 1.0).times(0.5), horner(&g, -1.0).times(0.5), g[L - 1]]
    }
}

impl<const L: usize> Map<L, 6> for Evaluate {
    #[inline(always)]
    fn apply<S: Simd>(g: [Vector<S>; L]) -> [Vector<S>; 6] {
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
    fn apply<S: Simd>(g: [Vector<S>; L]) -> [Vector<S>; 8] {
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
const TWO: [f32; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
const HALF: [f32; 6] = [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125];
const MINUS_TWO: [f32; 6] = [1.0, -2.0, 4.0, -8.0, 16.0, -32.0];

impl<const M: usize> Map<4, M> for Interpolate {
    #[inline(always)]
    fn apply<S: Simd>(t: [Vector<S>; 4]) -> [Vector<S>; M] {
        let of_one = [t[1] + t[2], t[1] - t[2]];
        let mut y = [t[0]; M];
        y[0] = t[0] + of_one[0];
        for k in 1..M {
            y[k] = of_one[k % 2];
        }
        y[M - 1] = y[M - 1] + t[3];
        y
    }
}

impl<const M: usize> Map<6, M> for Interpolate {
    #[inline(always)]
    fn apply<S: Simd>(t: [Vector<S>; 6]) -> [Vector<S>; M] {
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
    fn apply<S: Simd>(t: [Vector<S>; 8]) -> [Vector<S>; M] {
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
