//! The fast way through an image: all its pixels, in vectors, with the nearest pixel outside, or the image's mirror
//! where it was laid out beside the image.
//!
//! The place in the input of the output's pixel (r, c) is linear in r and c, so that whole numbers follow it:
//!
//! ```text
//! place(r, c) = origin + r·by_row + c·by_column                      per axis, 40 bits behind the point
//! pixel       = clamp(⌊place⌋, −1, last)      w = place − ⌊place⌋     23 bits behind the point
//! value       = lerp(lerp(a, b, w_column), lerp(c, d, w_column), w_row)          lerp(x, y, w) = x + (y − x)·w
//! ```
//!
//! In the input with its border repeated, `a b` are the pixel and the next one, `c d` those below. Beyond an edge
//! the two across it are the same pixel, and the weight between them is of no account. [`Pairs`] hold the four as
//! `a c b d`: one load an output pixel, and four such loads are transposed in registers.
//!
//! Indices go through memory, from the vectors that they are computed in to the registers that loads need them in.
//! So that they are there in time, and arithmetic and loads overlap, each row is loaded while the places of the
//! next are computed.
//!
//! Neither the vectors' width nor the machine changes a bit of the result: products are not fused with sums.

use pulp::{Scalar128b, Simd, bytemuck};

use crate::affine::Affine;
use crate::pairs::Pairs;

/// Columns in a run of a row: places in it are at most [`REACH`] from its first.
const LEN: usize = 64;
/// The bits behind the point of a place along a run, as many as a weight in `f32` has.
const PART: u32 = 23;
/// The bits behind the point of any other place: sums over many rows and columns stay exact.
const FINE: u32 = 40;
/// How far a place in a run is from the run's first, in pixels: half of what the bits before the point count.
const REACH: i32 = 1 << (31 - PART);
/// How far from the image places may be, in pixels, for their sums not to overflow.
const FAR: f64 = (1 << 21) as f64;
const MASK: i64 = (1 << PART) - 1;
/// Half of the last of [`PART`] bits: what is cut off after adding it is rounded.
const HALF: i64 = 1 << (FINE - PART - 1);

/// An affine map in whole numbers, per axis, [`FINE`] bits behind the point. Places count from the margin's corner.
#[derive(Clone, Copy)]
struct FixedMap {
    origin: [i64; 2],
    by_row: [i64; 2],
    by_column: [i64; 2],
}

impl FixedMap {
    /// None where the map leads too far or too fast for whole numbers of this size.
    fn new(affine: &Affine, pairs: &Pairs) -> Option<Self> {
        let (bottom, right) = (pairs.height - 1, pairs.width - 1);
        // The map is linear: its corners tell.
        let is_near = |(row, column)| affine.at(row, column).iter().all(|place| place.abs() < FAR);
        let corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)];
        let [by_row, by_column] = affine.steps();
        let is_slow = by_column.iter().all(|step| step.abs() * (LEN as f64) < f64::from(REACH));
        let is_small = pairs.as_slice().len() < i32::MAX as usize;
        let fixed = |place: f64| (place * (1_i64 << FINE) as f64) as i64;
        let [down, across] = [pairs.margin.above, pairs.margin.left].map(|margin| (margin as i64) << FINE);
        let [row, column] = affine.at(0, 0).map(fixed);
        (corners.into_iter().all(is_near) && is_slow && is_small).then(|| Self {
            origin: [row.wrapping_add(down), column.wrapping_add(across)],
            by_row: by_row.map(fixed),
            by_column: by_column.map(fixed),
        })
    }

    #[inline(always)]
    fn at(&self, row: usize, column: usize, axis: usize) -> i64 {
        // The row after the last may lie beyond all bounds.
        let moved = (row as i64).wrapping_mul(self.by_row[axis]);
        (self.origin[axis] + column as i64 * self.by_column[axis]).wrapping_add(moved)
    }
}

/// What is known of a run of one row before its pixels are loaded.
#[repr(align(64))]
struct Run {
    /// Indices of pairs, two to an element: half the loads to read them.
    index: [u64; LEN / 2],
    down: [f32; LEN],
    across: [f32; LEN],
}

impl Run {
    #[inline(always)]
    fn new() -> Self {
        Self { index: [0; LEN / 2], down: [0.0; LEN], across: [0.0; LEN] }
    }

    #[inline(always)]
    fn vectors<S: Simd>(&self) -> impl Iterator<Item = (&[u64], S::f32s, S::f32s)> {
        let weights = S::as_simd_f32s(&self.down).0.iter().zip(S::as_simd_f32s(&self.across).0);
        let vectors = self.index.chunks_exact(S::F32_LANES / 2).zip(weights);
        vectors.map(|(index, (&down, &across))| (index, down, across))
    }

    #[inline(always)]
    fn vectors_mut<S: Simd>(&mut self) -> impl Iterator<Item = (&mut [u64], &mut S::f32s, &mut S::f32s)> {
        let (down, across) = (S::as_mut_simd_f32s(&mut self.down).0, S::as_mut_simd_f32s(&mut self.across).0);
        let vectors = self.index.chunks_exact_mut(S::F32_LANES / 2).zip(down.iter_mut().zip(across));
        vectors.map(|(index, (down, across))| (index, down, across))
    }
}

/// Replaces an image by what the map reads from its `pairs`; false where it leaves it as it is, because the map
/// leads too far.
#[inline(always)]
pub(crate) fn blend<S: Simd>(simd: S, image: &mut [f32], pairs: &Pairs, affine: &Affine) -> bool {
    if S::F32_LANES < 4 {
        return blend(Scalar128b, image, pairs, affine);
    }
    let Some(map) = FixedMap::new(affine, pairs) else { return false };
    let mut steps = [[0; LEN]; 2];
    for (steps, by_column) in steps.iter_mut().zip(map.by_column) {
        for (column, step) in (0..).zip(steps) {
            *step = (((column * by_column + HALF) >> (FINE - PART)) + (i64::from(REACH) << PART)) as u32;
        }
    }
    let steps = steps.each_ref().map(|steps| S::as_simd_u32s(steps).0);
    let (mut now, mut next) = (&mut Run::new(), &mut Run::new());
    for first in (0..pairs.width).step_by(LEN) {
        let len = LEN.min(pairs.width - first);
        let places = Places::new(simd, &map, 0, first, pairs);
        places.write_all(steps, now);
        for (row, line) in image.chunks_exact_mut(pairs.width).enumerate() {
            let places = Places::new(simd, &map, row + 1, first, pairs);
            advance(&places, steps, next, now, pairs, &mut line[first..first + len]);
            std::mem::swap(&mut now, &mut next);
        }
    }
    true
}

/// Loads the pixels of one row's run, `now`, while the next row's places are computed.
#[inline(always)]
fn advance<S: Simd>(
    places: &Places<S>,
    [row_steps, column_steps]: [&[S::u32s]; 2],
    next: &mut Run,
    now: &Run,
    pairs: &Pairs,
    out: &mut [f32],
) {
    let (out, last) = S::as_mut_simd_f32s(out);
    let steps = row_steps.iter().zip(column_steps);
    let mut vectors = steps.zip(next.vectors_mut::<S>()).zip(now.vectors::<S>());
    for (out, ((step, to), from)) in out.iter_mut().zip(&mut vectors) {
        places.write(step, to);
        *out = pixels(places.simd, pairs, from);
    }
    if !last.is_empty()
        && let Some(((step, to), from)) = vectors.next()
    {
        places.write(step, to);
        let values = pixels(places.simd, pairs, from);
        last.copy_from_slice(&bytemuck::cast_slice(&[values])[..last.len()]);
    }
}

/// The places of a run of one row. Per axis they count from [`REACH`] pixels before the run's first, so that they
/// are never negative.
struct Places<S: Simd> {
    simd: S,
    part: [S::u32s; 2],
    low: [S::i32s; 2],
    high: [S::i32s; 2],
    stride: S::u32s,
    index: S::u32s,
}

impl<S: Simd> Places<S> {
    #[inline(always)]
    fn new(simd: S, map: &FixedMap, row: usize, column: usize, pairs: &Pairs) -> Self {
        let place = [0, 1].map(|axis| map.at(row, column, axis).wrapping_add(HALF));
        let first = place.map(|place| (place >> FINE) as i32 - REACH);
        let last = [pairs.rows() as i32 - 1, pairs.columns() as i32 - 1];
        let stride = pairs.stride() as i32;
        let index = (first[0] + 1).wrapping_mul(stride).wrapping_add(first[1] + 1);
        Self {
            simd,
            part: place.map(|place| simd.splat_u32s(((place >> (FINE - PART)) & MASK) as u32)),
            low: first.map(|first| simd.splat_i32s(-1 - first)),
            high: [0, 1].map(|axis| simd.splat_i32s(last[axis] - first[axis])),
            stride: simd.splat_u32s(stride as u32),
            index: simd.splat_u32s(index as u32),
        }
    }

    #[inline(always)]
    fn write_all(&self, [row_steps, column_steps]: [&[S::u32s]; 2], to: &mut Run) {
        for (step, to) in row_steps.iter().zip(column_steps).zip(to.vectors_mut::<S>()) {
            self.write(step, to);
        }
    }

    /// The places that are these steps from the first, as indices of pairs and weights.
    #[inline(always)]
    fn write(
        &self,
        (row, column): (&S::u32s, &S::u32s),
        (index, down, across): (&mut [u64], &mut S::f32s, &mut S::f32s),
    ) {
        let simd = self.simd;
        let row = simd.add_u32s(self.part[0], *row);
        let column = simd.add_u32s(self.part[1], *column);
        (*down, *across) = (weight(simd, row), weight(simd, column));
        let row = whole(simd, row, self.low[0], self.high[0]);
        let column = whole(simd, column, self.low[1], self.high[1]);
        let at = simd.add_u32s(simd.mul_u32s(row, self.stride), simd.add_u32s(column, self.index));
        bytemuck::cast_slice_mut(index).copy_from_slice(bytemuck::bytes_of(&at));
    }
}

/// The bits before the point, within bounds.
#[inline(always)]
fn whole<S: Simd>(simd: S, place: S::u32s, low: S::i32s, high: S::i32s) -> S::u32s {
    let whole = simd.wrapping_dyn_shr_u32s(place, simd.splat_u32s(PART));
    let bounded = simd.min_i32s(simd.max_i32s(simd.transmute_i32s_u32s(whole), low), high);
    simd.transmute_u32s_i32s(bounded)
}

/// The bits behind the point, as a number in [0, 1): behind the exponent of 1 they are that much more than 1.
#[inline(always)]
fn weight<S: Simd>(simd: S, place: S::u32s) -> S::f32s {
    let part = simd.and_u32s(place, simd.splat_u32s(MASK as u32));
    let from_one = simd.or_u32s(part, simd.splat_u32s(1.0_f32.to_bits()));
    simd.sub_f32s(simd.transmute_f32s_u32s(from_one), simd.splat_f32s(1.0))
}

/// Corners of one output pixel: above and below on the left, above and below on the right.
type Corners = [[f32; 2]; 2];

/// A vector of pixels, from as many indices and weights.
#[inline(always)]
fn pixels<S: Simd>(simd: S, pairs: &Pairs, (index, down, across): (&[u64], S::f32s, S::f32s)) -> S::f32s {
    let mut corners = [simd.splat_f32s(0.0); 4];
    for (i, corners) in corners.iter_mut().enumerate() {
        // Block b of vector i belongs to output pixel 4b + i: transposed, they come out in order.
        let mut blocks = [Corners::default(); 4];
        for (b, block) in blocks.iter_mut().enumerate().take(S::F32_LANES / 4) {
            *block = load(pairs, index[2 * b + i / 2], i % 2);
        }
        let blocks = &bytemuck::cast_slice(&blocks)[..S::F32_LANES];
        *corners = bytemuck::pod_read_unaligned(bytemuck::cast_slice::<f32, u8>(blocks));
    }
    let [above_left, below_left, above_right, below_right] = simd.deinterleave_shfl_f32s(corners);
    let above = lerp(simd, above_left, above_right, across);
    let below = lerp(simd, below_left, below_right, across);
    lerp(simd, above, below, down)
}

/// The corners at one of two indices.
#[inline(always)]
fn load(pairs: &Pairs, two: u64, which: usize) -> Corners {
    let is_low = (which == 0) == cfg!(target_endian = "little");
    let index = if is_low { two as u32 } else { (two >> 32) as u32 } as usize;
    let pairs = pairs.as_slice();
    debug_assert!(index + 1 < pairs.len());
    // SAFETY: `Places::write` has made the index `(row + 1)·stride + column + 1` of a row in −1..rows and a column in
    // −1..columns, and the pairs are (rows + 1)·stride with a stride of columns + 2: it and the next are among them.
    // A check here costs a seventh of the kernel's time.
    unsafe { *pairs.as_ptr().add(index).cast::<Corners>() }
}

#[inline(always)]
fn lerp<S: Simd>(simd: S, from: S::f32s, to: S::f32s, weight: S::f32s) -> S::f32s {
    simd.add_f32s(from, simd.mul_f32s(simd.sub_f32s(to, from), weight))
}
