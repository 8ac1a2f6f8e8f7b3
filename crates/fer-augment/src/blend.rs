//! The fast way through an image: all its pixels, in vectors, with the nearest pixel outside.
//!
//! The place in the input of the output's pixel (r, c) is linear in r and c, so that whole numbers follow it:
//!
//! ```text
//! place(r, c) = origin + r·by_row + c·by_column                      per axis, 40 bits behind the point
//! pixel       = clamp(⌊place⌋, −1, last)      w = place − ⌊place⌋     23 bits behind the point
//! value       = lerp(lerp(a, b, w_column), lerp(c, d, w_column), w_row)          lerp(x, y, w) = x + (y − x)·w
//! ```
//!
//! In the input with its border repeated, `a b` are the pixel and the next one, `c d` those below. Outside the
//! image the four are the same, whatever the weights. [`Pairs`] hold them as `a c b d`: one load an output pixel,
//! and four such loads are transposed in registers.
//!
//! A band of a few rows is done in two loops: places first, pixels then. Between them indices go through memory,
//! from the vectors that they are computed in to the registers that loads need them in.
//!
//! Neither the vectors' width nor the machine changes a bit of the result: products are not fused with sums.

use pulp::{Scalar128b, Simd, bytemuck};

use crate::affine::Affine;
use crate::pairs::Pairs;

/// Columns done at a time: the table of steps has as many, and places in it at most [`REACH`] from its first.
const RUN: usize = 64;
/// Rows done at a time: enough that indices have arrived in the cache when they are read.
const BAND: usize = 2;
/// The bits behind the point of a place along a run, as many as a weight in `f32` has.
const PART: u32 = 23;
/// The bits behind the point of any other place: sums over many rows and columns stay exact.
const FINE: u32 = 40;
/// How far a place in a run is from the run's first, in pixels: half of what the bits before the point count.
const REACH: i32 = 1 << (31 - PART);
/// How far from the image places may be, in pixels, for their sums not to overflow.
const FAR: f64 = (1 << 21) as f64;

/// An affine map in whole numbers, per axis, [`FINE`] bits behind the point.
#[derive(Clone, Copy)]
struct FixedMap {
    origin: [i64; 2],
    by_row: [i64; 2],
    by_column: [i64; 2],
}

impl FixedMap {
    /// None where the map leads too far or too fast for whole numbers of this size.
    fn new(affine: &Affine, height: usize, width: usize) -> Option<Self> {
        let (bottom, right) = (height - 1, width - 1);
        // The map is linear: its corners tell.
        let is_near = |(row, column)| affine.at(row, column).iter().all(|place| place.abs() < FAR);
        let corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)];
        let [by_row, by_column] = affine.steps();
        let is_slow = by_column.iter().all(|step| step.abs() * (RUN as f64) < f64::from(REACH));
        let pairs = (height as u64 + 1).checked_mul(width as u64 + 2);
        let is_small = pairs.is_some_and(|pairs| pairs < i32::MAX as u64);
        let fixed = |place: f64| (place * (1_i64 << FINE) as f64) as i64;
        (corners.into_iter().all(is_near) && is_slow && is_small).then(|| Self {
            origin: affine.at(0, 0).map(fixed),
            by_row: by_row.map(fixed),
            by_column: by_column.map(fixed),
        })
    }

    #[inline(always)]
    fn at(&self, row: usize, column: usize, axis: usize) -> i64 {
        let moved = row as i64 * self.by_row[axis] + column as i64 * self.by_column[axis];
        self.origin[axis].wrapping_add(moved)
    }
}

/// Where a run of a row starts, and what its columns have in common. Per axis, places count from [`REACH`] pixels
/// before the run's first, so that they are never negative.
#[derive(Clone, Copy, Default)]
struct Start {
    part: [u32; 2],
    low: [i32; 2],
    high: [i32; 2],
    index: i32,
}

impl Start {
    #[inline(always)]
    fn new(map: &FixedMap, row: usize, column: usize, pairs: &Pairs) -> Self {
        let mut start = Self::default();
        let ends = [(pairs.height, pairs.stride()), (pairs.width, 1)];
        for (axis, (len, stride)) in ends.into_iter().enumerate() {
            let place = map.at(row, column, axis) + HALF;
            let first = (place >> FINE) as i32 - REACH;
            start.part[axis] = ((place >> (FINE - PART)) & MASK) as u32;
            start.low[axis] = -1 - first;
            start.high[axis] = len as i32 - 1 - first;
            start.index = start.index.wrapping_add((first + 1).wrapping_mul(stride as i32));
        }
        start
    }
}

const MASK: i64 = (1 << PART) - 1;
/// Half of the last of [`PART`] bits: what is cut off after adding it is rounded.
const HALF: i64 = 1 << (FINE - PART - 1);

/// What the two loops hand over.
struct Band {
    /// Two to an element: half the loads to read them.
    index: [[u64; RUN / 2]; BAND],
    weight: [[[f32; RUN]; 2]; BAND],
}

/// Replaces an image by what the map reads from its `pairs`; false where it leaves it as it is, because the map
/// leads too far.
#[inline(always)]
pub(crate) fn blend<S: Simd>(simd: S, image: &mut [f32], pairs: &Pairs, affine: &Affine) -> bool {
    if S::F32_LANES < 4 {
        return blend(Scalar128b, image, pairs, affine);
    }
    let Some(map) = FixedMap::new(affine, pairs.height, pairs.width) else { return false };
    let mut steps = [[0; RUN]; 2];
    for (steps, by_column) in steps.iter_mut().zip(map.by_column) {
        for (column, step) in (0..).zip(steps) {
            *step = (((column * by_column + HALF) >> (FINE - PART)) + (i64::from(REACH) << PART)) as u32;
        }
    }
    let steps = steps.each_ref().map(|steps| S::as_simd_u32s(steps).0);
    let mut band = Band { index: [[0; RUN / 2]; BAND], weight: [[[0.0; RUN]; 2]; BAND] };
    for first in (0..pairs.width).step_by(RUN) {
        let run = RUN.min(pairs.width - first);
        let vectors = run.div_ceil(S::F32_LANES);
        let rows = (0..pairs.height).step_by(BAND);
        for (row, lines) in rows.zip(image.chunks_mut(pairs.width * BAND)) {
            for ((row, index), weight) in (row..).zip(&mut band.index).zip(&mut band.weight) {
                let start = Start::new(&map, row, first, pairs);
                places(simd, &start, steps, pairs.stride() as u32, vectors, index, weight);
            }
            let lines = lines.chunks_exact_mut(pairs.width);
            for ((line, index), weight) in lines.zip(&band.index).zip(&band.weight) {
                pixels(simd, pairs, index, weight, &mut line[first..first + run]);
            }
        }
    }
    true
}

/// The first `vectors` places of a run, as indices of pairs and weights.
#[inline(always)]
fn places<S: Simd>(
    simd: S,
    start: &Start,
    [row_steps, column_steps]: [&[S::u32s]; 2],
    stride: u32,
    vectors: usize,
    index: &mut [u64; RUN / 2],
    [down, across]: &mut [[f32; RUN]; 2],
) {
    let [row_part, column_part] = start.part.map(|part| simd.splat_u32s(part));
    let [row_low, column_low] = start.low.map(|low| simd.splat_i32s(low));
    let [row_high, column_high] = start.high.map(|high| simd.splat_i32s(high));
    let (stride, from) = (simd.splat_u32s(stride), simd.splat_u32s(start.index as u32));
    let index = index.chunks_exact_mut(S::F32_LANES / 2);
    let (down, across) = (S::as_mut_simd_f32s(down).0, S::as_mut_simd_f32s(across).0);
    let steps = row_steps.iter().zip(column_steps).take(vectors);
    for (((&row_step, &column_step), index), (down, across)) in
        steps.zip(index).zip(down.iter_mut().zip(across))
    {
        let row = simd.add_u32s(row_part, row_step);
        let column = simd.add_u32s(column_part, column_step);
        (*down, *across) = (weight(simd, row), weight(simd, column));
        let row = whole(simd, row, row_low, row_high);
        let column = whole(simd, column, column_low, column_high);
        let at = simd.add_u32s(simd.mul_u32s(row, stride), simd.add_u32s(column, from));
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

/// The pixels of a run, or of a row's last part of one.
#[inline(always)]
fn pixels<S: Simd>(
    simd: S,
    pairs: &Pairs,
    index: &[u64; RUN / 2],
    [down, across]: &[[f32; RUN]; 2],
    out: &mut [f32],
) {
    let weights = S::as_simd_f32s(down).0.iter().zip(S::as_simd_f32s(across).0);
    let mut places = index.chunks_exact(S::F32_LANES / 2).zip(weights);
    let (out, last) = S::as_mut_simd_f32s(out);
    for (out, (index, (&down, &across))) in out.iter_mut().zip(&mut places) {
        *out = vector(simd, pairs, index, down, across);
    }
    if !last.is_empty()
        && let Some((index, (&down, &across))) = places.next()
    {
        let values = vector(simd, pairs, index, down, across);
        last.copy_from_slice(&bytemuck::cast_slice(&[values])[..last.len()]);
    }
}

/// Corners of one output pixel: above and below on the left, above and below on the right.
type Corners = [[f32; 2]; 2];

/// A vector of pixels, from as many indices.
#[inline(always)]
fn vector<S: Simd>(simd: S, pairs: &Pairs, index: &[u64], down: S::f32s, across: S::f32s) -> S::f32s {
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
    // SAFETY: `places` has made the index `(row + 1)·stride + column + 1` of a row in −1..height and a column in
    // −1..width, and the pairs are (height + 1)·stride with a stride of width + 2: it and the next are among them.
    // A check here costs a third of the kernel's time.
    unsafe { *pairs.as_ptr().add(index).cast::<Corners>() }
}

#[inline(always)]
fn lerp<S: Simd>(simd: S, from: S::f32s, to: S::f32s, weight: S::f32s) -> S::f32s {
    simd.add_f32s(from, simd.mul_f32s(simd.sub_f32s(to, from), weight))
}
