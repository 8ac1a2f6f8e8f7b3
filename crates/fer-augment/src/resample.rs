//! Reading an image at the places of an affine map, as `scipy.ndimage.affine_transform(order=1)` does.
//!
//! Two ways lead to the same pixels. [`sample`] is scipy's, in `f64`, pixel by pixel: it knows every fill mode.
//! [`blend`] does the whole image in vectors, with weights of 23 bits. It knows the nearest fill mode only, which
//! is what every mode is where the map stays inside the image, and what reflection is where the image's mirror lies
//! beside it as far as the map leads ([`margin`]); the rest is left to `sample`. For pixels in 0..=1 the two agree to
//! 5·10⁻⁷.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::affine::Affine;
use crate::blend::blend;
use crate::fill_mode::floor;
use crate::pairs::{Margin, Pairs};
use crate::{AugmentConfig, FillMode};

/// The widest margin, in pixels, for the mirror of a large image not to take its memory several times.
const WIDEST: usize = 256;

thread_local! {
    static PAIRS: RefCell<Pairs> = const { RefCell::new(Pairs::new()) };
}

/// Replaces a (height, `width`) image by what the map reads from it.
pub(crate) fn resample(image: &mut [f32], width: usize, affine: &Affine, config: &AugmentConfig) {
    PAIRS.with_borrow_mut(|pairs| {
        pulp::Arch::new().dispatch(Resample { image, width, pairs, affine, config })
    });
}

struct Resample<'a> {
    image: &'a mut [f32],
    width: usize,
    pairs: &'a mut Pairs,
    affine: &'a Affine,
    config: &'a AugmentConfig,
}

impl WithSimd for Resample<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { image, width, pairs, affine, config } = self;
        let margin = match config.fill_mode {
            FillMode::Nearest => Some(Margin::default()),
            FillMode::Reflect => margin(affine, image.len() / width, width),
            FillMode::Constant | FillMode::Wrap => None,
        };
        pairs.load(image, width, margin.unwrap_or_default());
        let is_blended = blend(simd, image, pairs, affine);
        if is_blended && margin.is_some() {
            return;
        }
        for (row, line) in image.chunks_exact_mut(width).enumerate() {
            let done = if is_blended { inside(pairs, affine, row) } else { 0..0 };
            for column in (0..done.start).chain(done.end..width) {
                line[column] = sample(pairs, affine.at(row, column), config);
            }
        }
    }
}

/// How far beside the image the map leads, or none where that is too far for a margin.
#[inline(always)]
fn margin(affine: &Affine, height: usize, width: usize) -> Option<Margin> {
    let (bottom, right) = (height - 1, width - 1);
    // The map is linear: its corners are its extremes.
    let corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)].map(|(r, c)| affine.at(r, c));
    let beside = |axis: usize, last: usize| {
        let before = corners.iter().fold(0.0_f64, |most, place| most.max(-place[axis]));
        let after = corners.iter().fold(0.0_f64, |most, place| most.max(place[axis] - last as f64));
        let [before, after] = [before, after].map(|most| most.ceil() as usize);
        (before.max(after) <= WIDEST.min(last + 1)).then_some((before, after))
    };
    let ((above, below), (left, right)) = (beside(0, bottom)?, beside(1, right)?);
    Some(Margin { above, below, left, right })
}

/// The columns of a row whose places are inside the image. They are one run, since the place is monotone in the
/// column.
#[inline(always)]
fn inside(pairs: &Pairs, affine: &Affine, row: usize) -> Range<usize> {
    let last = [pairs.height - 1, pairs.width - 1].map(|last| last as f64);
    let is_inside = |&column: &usize| {
        let place = affine.at(row, column);
        (0..2).all(|axis| place[axis] >= 0.0 && place[axis] <= last[axis])
    };
    match (0..pairs.width).find(is_inside) {
        Some(first) => first..(first..pairs.width).rfind(is_inside).map_or(first, |last| last + 1),
        None => 0..0,
    }
}

/// The pixel at one place, for any fill mode, in scipy's arithmetic.
#[inline(always)]
fn sample(pairs: &Pairs, [row, column]: [f64; 2], config: &AugmentConfig) -> f32 {
    let (mode, height, width) = (config.fill_mode, pairs.height, pairs.width);
    let (Some(row), Some(column)) = (mode.map(row, height), mode.map(column, width)) else {
        return config.cval;
    };
    let (top, left) = (floor(row), floor(column));
    let (down, across) = (row - top, column - left);
    let rows = [top, top + 1.0].map(|row| (row as usize).min(height - 1));
    let columns = [left, left + 1.0].map(|column| (column as usize).min(width - 1));
    let pixel = |below: usize, right: usize| f64::from(pairs.pixel(rows[below], columns[right]));
    let blend = pixel(0, 0) * (1.0 - down) * (1.0 - across)
        + pixel(0, 1) * (1.0 - down) * across
        + pixel(1, 0) * down * (1.0 - across)
        + pixel(1, 1) * down * across;
    blend as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, Transform};
    use proptest::prelude::*;

    /// The plain way for every pixel: scipy's sums in `f64` on the image itself.
    fn plain(image: &[f32], width: usize, affine: &Affine, config: &AugmentConfig) -> Vec<f32> {
        let mut pairs = Pairs::new();
        pairs.load(image, width, Margin::default());
        let places = (0..image.len()).map(|i| affine.at(i / width, i % width));
        places.map(|place| sample(&pairs, place, config)).collect()
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
            (height, width, pixels) in (1_usize..40, 1_usize..200).prop_flat_map(|(height, width)| {
                (Just(height), Just(width), prop::collection::vec(0.0_f32..=1.0, height * width))
            }),
            (theta, shear) in (-180.0..180.0, -60.0..60.0),
            (tx, ty) in (-100.0..100.0, -30.0..30.0),
            (zx, zy) in (0.05..4.0, 0.05..4.0),
            only in 0_usize..5,
        ) {
            prop_assert_eq!(pixels.len(), height * width);
            let all = Transform { theta, tx, ty, shear, zx, zy, ..Transform::default() };
            let some = [
                all,
                Transform { theta: 0.0, shear: 0.0, ..all },
                Transform { tx: tx.round(), ty: ty.round(), ..Transform::default() },
                Transform { zx, zy, ..Transform::default() },
                // Near enough for a margin.
                Transform {
                    theta: theta / 9.0,
                    tx: tx / 20.0,
                    ty: ty / 6.0,
                    zx: 0.8 + zx / 10.0,
                    zy: 0.8 + zy / 10.0,
                    ..Transform::default()
                },
            ];
            for mode in MODES {
                for generation in [Generation::Keras2, Generation::Keras3, Generation::Plain] {
                    check(&pixels, width, &some[only], &config(mode, generation));
                }
            }
        }
    }

    /// The bits of an image after the fast way on one instruction set.
    fn blended<S: Simd>(simd: S, image: &[f32], width: usize, affine: &Affine, mode: FillMode) -> Vec<u32> {
        let mut image = image.to_vec();
        let (pairs, config) = (&mut Pairs::new(), &config(mode, Generation::Keras2));
        simd.vectorize(Resample { image: &mut image, width, pairs, affine, config });
        image.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let sizes = [(1, 1), (3, 5), (7, 16), (48, 48), (5, 67), (33, 150)];
        for ((height, width), mode) in sizes.into_iter().flat_map(|size| MODES.map(|mode| (size, mode))) {
            let image: Vec<f32> = (0..height * width).map(|i| (i * i % 251) as f32 / 250.0).collect();
            let transform =
                Transform { theta: 12.0, tx: 1.3, ty: -2.1, zx: 0.9, zy: 1.1, ..Transform::default() };
            let affine = Affine::new(&transform, Generation::Keras2, height, width).unwrap();
            let portable = blended(pulp::Scalar, &image, width, &affine, mode);
            #[cfg(target_arch = "x86_64")]
            {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    assert_eq!(blended(simd, &image, width, &affine, mode), portable, "{simd:?}");
                }
                if let Some(simd) = pulp::x86::V4::try_new() {
                    assert_eq!(blended(simd, &image, width, &affine, mode), portable, "{simd:?}");
                }
            }
            #[cfg(target_arch = "aarch64")]
            if let Some(simd) = pulp::aarch64::Neon::try_new() {
                assert_eq!(blended(simd, &image, width, &affine, mode), portable, "{simd:?}");
            }
        }
    }

    #[test]
    fn the_recipes_maps_need_no_plain_way() {
        let recipe = AugmentConfig::recipe();
        for seed in 0..200 {
            let drawn = Transform::draw(&recipe, &mut fer_rand::RandomState::new(seed), 48, 48);
            let affine = Affine::new(&drawn, recipe.generation, 48, 48).unwrap();
            assert!(margin(&affine, 48, 48).is_some(), "{drawn:?}");
        }
    }

    #[test]
    fn places_far_away_are_still_scipys() {
        let image: Vec<f32> = (0..63).map(|i| (i * 37 % 64) as f32 / 63.0).collect();
        for mode in MODES {
            for far in [1e5, 3e6, 1e9, 1e15, 1e300] {
                let transform = Transform { tx: far, ty: -far, theta: 3.0, ..Transform::default() };
                check(&image, 9, &transform, &config(mode, Generation::Keras2));
            }
        }
    }

    #[test]
    fn a_transform_that_is_no_number_does_not_panic() {
        for mode in MODES {
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let transform = Transform { theta: 1.0, tx: bad, zy: bad, ..Transform::default() };
                let affine = Affine::new(&transform, Generation::Keras2, 7, 9).unwrap();
                resample(&mut [0.5; 63], 9, &affine, &config(mode, Generation::Keras2));
            }
        }
    }

    #[test]
    fn a_whole_shift_moves_pixels_unchanged() {
        let mut image: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let transform = Transform { tx: 1.0, ty: -2.0, ..Transform::default() };
        let affine = Affine::new(&transform, Generation::Keras2, 3, 4).unwrap();
        let config = AugmentConfig { cval: -1.0, ..config(FillMode::Constant, Generation::Keras2) };
        resample(&mut image, 4, &affine, &config);
        assert_eq!(image, [-1., -1., 4., 5., -1., -1., 8., 9., -1., -1., -1., -1.]);
    }
}
