//! Reading an image at the places of an affine map, as `scipy.ndimage.affine_transform(order=1)` does.
//!
//! Two ways lead to the same pixels. [`Source::sample`] is scipy's, in `f64`: it knows every fill mode.
//! [`Source::blend`] does a run of a row at a time, without a branch: it computes each row's start and
//! each column's step in `f64`, keeps them as whole pixels and a fraction of 24 bits, and blends in `f32`.
//! For pixels in 0..=1 the two agree to 5·10⁻⁷. It knows the nearest fill mode only, which is what every
//! mode is where the map stays inside the image; the rest is left to `sample`.

use std::cell::RefCell;
use std::ops::Range;

use crate::affine::Affine;
use crate::{AugmentConfig, FillMode};

thread_local! {
    static SOURCE: RefCell<Source> = const { RefCell::new(Source::new()) };
}

/// Replaces a (height, `width`) image by what the map reads from it.
pub(crate) fn resample(image: &mut [f32], width: usize, affine: &Affine, config: &AugmentConfig) {
    SOURCE.with_borrow_mut(|source| {
        source.load(image, width);
        let fast = source.can_blend(affine);
        if fast {
            source.measure_steps(affine);
        }
        for (row, line) in image.chunks_exact_mut(width).enumerate() {
            let run = match config.fill_mode {
                _ if !fast => 0..0,
                FillMode::Nearest => 0..width,
                _ => source.inside(affine, row),
            };
            source.blend(affine.at(row, 0), run.start, &mut line[run.clone()]);
            for column in (0..run.start).chain(run.end..width) {
                line[column] = source.sample(affine.at(row, column), config);
            }
        }
    });
}

/// A copy of the image to read from, and the buffers of one row. Reused from image to image.
struct Source {
    height: usize,
    width: usize,
    /// (height + 1, width + 2) pairs of vertical neighbours of the image with its border pixels repeated
    /// once all round: a pixel and the three that it is blended with lie side by side.
    pairs: Vec<[f32; 2]>,
    /// Per axis, the step from column 0 to each column.
    steps: [Steps; 2],
    /// The index in `pairs` of each output pixel of a row.
    index: Vec<u32>,
    /// Per axis, the weight of the neighbour after it.
    weight: [Vec<f32>; 2],
    /// Each output pixel of a row, blended along the columns: above and below.
    blended: Vec<[f32; 2]>,
}

/// Distances in pixels: the whole part, rounded down, and the rest in [0, 1).
struct Steps {
    whole: Vec<f32>,
    part: Vec<f32>,
}

impl Steps {
    fn from(&self, start: usize, n: usize) -> (&[f32], &[f32]) {
        (&self.whole[start..][..n], &self.part[start..][..n])
    }
}

/// `f32` holds every whole number up to here, and the kernel computes indices in it.
const EXACT: f64 = (1 << 23) as f64;

impl Source {
    const fn new() -> Self {
        const EMPTY: Steps = Steps { whole: Vec::new(), part: Vec::new() };
        Self {
            height: 0,
            width: 0,
            pairs: Vec::new(),
            steps: [EMPTY; 2],
            index: Vec::new(),
            weight: [Vec::new(), Vec::new()],
            blended: Vec::new(),
        }
    }

    fn load(&mut self, image: &[f32], width: usize) {
        self.height = image.len() / width;
        self.width = width;
        self.pairs.resize((self.height + 1) * (width + 2), [0.0; 2]);
        let row = |index: usize| &image[index * width..][..width];
        for (index, pairs) in self.pairs.chunks_exact_mut(width + 2).enumerate() {
            let above = row(index.saturating_sub(1));
            let below = row(index.min(self.height - 1));
            let inner = &mut pairs[1..=width];
            for ((pair, &above), &below) in inner.iter_mut().zip(above).zip(below) {
                *pair = [above, below];
            }
            pairs[0] = pairs[1];
            pairs[width + 1] = pairs[width];
        }
    }

    /// Whether indices and places are small enough for `f32`. The map is linear: its corners tell.
    fn can_blend(&self, affine: &Affine) -> bool {
        let (bottom, right) = (self.height - 1, self.width - 1);
        let corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)];
        (self.pairs.len() as f64) < EXACT
            && corners
                .iter()
                .all(|&(row, column)| affine.at(row, column).iter().all(|place| place.abs() < EXACT / 4.0))
    }

    fn measure_steps(&mut self, affine: &Affine) {
        for (axis, steps) in self.steps.iter_mut().enumerate() {
            steps.whole.resize(self.width, 0.0);
            steps.part.resize(self.width, 0.0);
            let places = steps.whole.iter_mut().zip(&mut steps.part);
            for (column, (whole, part)) in places.enumerate() {
                (*whole, *part) = split(affine.along_row(column)[axis]);
            }
        }
        self.index.resize(self.width, 0);
        self.weight.iter_mut().for_each(|weight| weight.resize(self.width, 0.0));
        self.blended.resize(self.width, [0.0; 2]);
    }

    /// The columns of a row whose places are inside the image. They are one run, since the place is
    /// monotone in the column.
    fn inside(&self, affine: &Affine, row: usize) -> Range<usize> {
        let last = [self.height - 1, self.width - 1].map(|last| last as f64);
        let is_inside = |&column: &usize| {
            let place = affine.at(row, column);
            (0..2).all(|axis| place[axis] >= 0.0 && place[axis] <= last[axis])
        };
        match (0..self.width).find(is_inside) {
            Some(first) => first..(first..self.width).rfind(is_inside).map_or(first, |last| last + 1),
            None => 0..0,
        }
    }

    /// The pixels from column `first` on of the row whose column 0 is read at `start`, clamped to the image.
    fn blend(&mut self, start: [f64; 2], first: usize, out: &mut [f32]) {
        let n = out.len();
        let [rows, columns] = &self.steps;
        let (row_whole, row_part) = rows.from(first, n);
        let (column_whole, column_part) = columns.from(first, n);
        let [down, across] = &mut self.weight;
        let (index, down, across) = (&mut self.index[..n], &mut down[..n], &mut across[..n]);
        let blended = &mut self.blended[..n];

        let [start_row, start_column] = start.map(split);
        let (bottom, right) = ((self.height - 1) as f32, (self.width - 1) as f32);
        let stride = (self.width + 2) as f32;
        for k in 0..n {
            let (row, weight) = place(start_row, (row_whole[k], row_part[k]), bottom);
            down[k] = weight;
            let (column, weight) = place(start_column, (column_whole[k], column_part[k]), right);
            across[k] = weight;
            // Adding 2²³ leaves a whole number in the low bits: a conversion that every machine does in lanes.
            let exact = (row + 1.0) * stride + (column + 1.0) + EXACT as f32;
            index[k] = exact.to_bits() & 0x7f_ffff;
        }
        for ((blended, &at), &weight) in blended.iter_mut().zip(&*index).zip(&*across) {
            let at = at as usize;
            let Some(pairs) = self.pairs.get(at..at + 2) else { continue };
            let (left, right) = (pairs[0], pairs[1]);
            *blended = [lerp(left[0], right[0], weight), lerp(left[1], right[1], weight)];
        }
        for k in 0..n {
            out[k] = lerp(blended[k][0], blended[k][1], down[k]);
        }
    }

    /// The pixel at one place, for any fill mode, in scipy's arithmetic.
    fn sample(&self, [row, column]: [f64; 2], config: &AugmentConfig) -> f32 {
        let (mode, height, width) = (config.fill_mode, self.height, self.width);
        let (Some(row), Some(column)) = (mode.map(row, height), mode.map(column, width)) else {
            return config.cval;
        };
        let (top, left) = (floor(row), floor(column));
        let (down, across) = (row - top, column - left);
        let rows = [top, top + 1.0].map(|row| (row as usize).min(height - 1) + 1);
        let columns = [left, left + 1.0].map(|column| (column as usize).min(width - 1) + 1);
        let pixel =
            |below: usize, right: usize| f64::from(self.pairs[rows[below] * (width + 2) + columns[right]][0]);
        let blend = pixel(0, 0) * (1.0 - down) * (1.0 - across)
            + pixel(0, 1) * (1.0 - down) * across
            + pixel(1, 0) * down * (1.0 - across)
            + pixel(1, 1) * down * across;
        blend as f32
    }
}

/// A distance as whole pixels, rounded down, and the rest in 24 bits: exact in fixed point.
fn split(distance: f64) -> (f32, f32) {
    let fixed = (distance * 4_294_967_296.0) as i64;
    ((fixed >> 32) as i32 as f32, (fixed as u32 >> 8) as f32 / 16_777_216.0)
}

/// The sum of two distances as a pixel in −1..=`last` and the weight of the one after it. Beyond the image
/// the weight is of no account: all the pixels there are the same.
#[inline(always)]
fn place(start: (f32, f32), step: (f32, f32), last: f32) -> (f32, f32) {
    let part = start.1 + step.1;
    let carry = if part >= 1.0 { 1.0 } else { 0.0 };
    let whole = start.0 + step.0 + carry;
    // Plain comparisons are one instruction each; `clamp`, `min` and `max` look out for NaN.
    let whole = if whole > -1.0 { whole } else { -1.0 };
    (if whole < last { whole } else { last }, part - carry)
}

/// `f64::floor` without the call that it is on machines before SSE 4.1; saturates at the bounds of `i64`.
fn floor(place: f64) -> f64 {
    let whole = place as i64 as f64;
    if whole > place { whole - 1.0 } else { whole }
}

#[inline(always)]
fn lerp(from: f32, to: f32, weight: f32) -> f32 {
    from + (to - from) * weight
}

impl FillMode {
    /// The place along an axis of `len` pixels that stands for this one, or none where it is outside for good.
    ///
    /// Source: scipy, `ndimage/src/ni_interpolation.c`, `map_coordinate`.
    fn map(self, place: f64, len: usize) -> Option<f64> {
        let last = (len - 1) as f64;
        if (0.0..=last).contains(&place) {
            return Some(place);
        }
        match self {
            Self::Constant => None,
            Self::Nearest => Some(place.max(0.0).min(last)),
            _ if len == 1 => Some(0.0),
            Self::Reflect => {
                // The far side of the image is its mirror, half a pixel beyond the last.
                let period = 2.0 * len as f64;
                let within = place - period * floor(place / period);
                Some(if within < len as f64 { within } else { period - within - 1.0 })
            }
            Self::Wrap if place < 0.0 => Some(place + last * ((-place / last).trunc() + 1.0)),
            Self::Wrap => Some(place - last * (place / last).trunc()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, Transform};
    use proptest::prelude::*;

    /// The plain way for every pixel: scipy's sums in `f64` on the image itself.
    fn plain(image: &[f32], width: usize, affine: &Affine, config: &AugmentConfig) -> Vec<f32> {
        let mut source = Source::new();
        source.load(image, width);
        let places = (0..image.len()).map(|i| affine.at(i / width, i % width));
        places.map(|place| source.sample(place, config)).collect()
    }

    fn check(image: &[f32], width: usize, transform: &Transform, config: &AugmentConfig) {
        let height = image.len() / width;
        let Some(affine) = Affine::new(transform, config.generation, height, width) else { return };
        let expected = plain(image, width, &affine, config);
        let mut found = image.to_vec();
        resample(&mut found, width, &affine, config);
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let (row, column) = (index / width, index % width);
            assert!((found - expected).abs() < 5e-7, "({row}, {column}): {found}, plain {expected}");
        }
    }

    fn config(fill_mode: FillMode, generation: Generation) -> AugmentConfig {
        AugmentConfig { fill_mode, generation, cval: 0.25, ..AugmentConfig::identity() }
    }

    const MODES: [FillMode; 4] = [FillMode::Nearest, FillMode::Constant, FillMode::Reflect, FillMode::Wrap];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn the_fast_way_is_the_plain_way(
            (height, width, pixels) in (1_usize..40, 1_usize..90).prop_flat_map(|(height, width)| {
                (Just(height), Just(width), prop::collection::vec(0.0_f32..=1.0, height * width))
            }),
            (theta, shear) in (-180.0..180.0, -60.0..60.0),
            (tx, ty) in (-100.0..100.0, -30.0..30.0),
            (zx, zy) in (0.05..4.0, 0.05..4.0),
            only in 0_usize..4,
        ) {
            prop_assert_eq!(pixels.len(), height * width);
            let all = Transform { theta, tx, ty, shear, zx, zy, ..Transform::default() };
            let some = [
                all,
                Transform { theta: 0.0, shear: 0.0, ..all },
                Transform { tx: tx.round(), ty: ty.round(), ..Transform::default() },
                Transform { zx, zy, ..Transform::default() },
            ];
            for mode in MODES {
                for generation in [Generation::Notebook, Generation::Keras3] {
                    check(&pixels, width, &some[only], &config(mode, generation));
                }
            }
        }
    }

    #[test]
    fn places_far_away_are_still_scipys() {
        let image: Vec<f32> = (0..63).map(|i| (i * 37 % 64) as f32 / 63.0).collect();
        for mode in MODES {
            for far in [1e5, 3e6, 1e9, 1e15, 1e300] {
                let transform = Transform { tx: far, ty: -far, theta: 3.0, ..Transform::default() };
                check(&image, 9, &transform, &config(mode, Generation::Notebook));
            }
        }
    }

    #[test]
    fn a_transform_that_is_no_number_does_not_panic() {
        for mode in MODES {
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let transform = Transform { theta: 1.0, tx: bad, zy: bad, ..Transform::default() };
                let affine = Affine::new(&transform, Generation::Notebook, 7, 9).unwrap();
                resample(&mut [0.5; 63], 9, &affine, &config(mode, Generation::Notebook));
            }
        }
    }

    #[test]
    fn a_whole_shift_moves_pixels_unchanged() {
        let mut image: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let transform = Transform { tx: 1.0, ty: -2.0, ..Transform::default() };
        let affine = Affine::new(&transform, Generation::Notebook, 3, 4).unwrap();
        let config = AugmentConfig { cval: -1.0, ..config(FillMode::Constant, Generation::Notebook) };
        resample(&mut image, 4, &affine, &config);
        assert_eq!(image, [-1., -1., 4., 5., -1., -1., 8., 9., -1., -1., -1., -1.]);
    }
}
