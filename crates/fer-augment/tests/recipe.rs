//! The recipe's augmentation against a plain transcription of PyTorch's operations in `f64`.

use fer_augment::{Augment, AugmentConfig, EraseConfig, FillMode, Generation, Transform};
use fer_rand::{Purpose, Stream};
use ndarray::{Array2, Array3};

const SIDE: usize = 48;

fn face(item: u32) -> Array3<f32> {
    let item = item as usize;
    Array3::from_shape_fn((1, SIDE, SIDE), |(_, r, c)| {
        ((37 * r + 11 * c * c + r * c + 53 * item) % 256) as f32 / 255.0
    })
}

fn rng(item: u32) -> fer_rand::Philox {
    Stream { seed: 42, purpose: Purpose::named("augment"), epoch: 1, item }.rng()
}

/// `affine_grid` and `grid_sample(padding_mode="reflection", align_corners=False)`, bilinear. `theta` gives x and y of
/// the input, in −1..1 from edge to edge, for those of the output.
fn grid_sample(image: &Array2<f64>, theta: [[f64; 3]; 2]) -> Array2<f64> {
    let (height, width) = image.dim();
    // Reflected at the outer edges of the pixels, then held to their centres.
    let reflect = |place: f64, side: usize| {
        let span = side as f64;
        let within = (place + 0.5).abs().rem_euclid(2.0 * span);
        (within.min(2.0 * span - within) - 0.5).clamp(0.0, span - 1.0)
    };
    Array2::from_shape_fn((height, width), |(row, column)| {
        let of = |index: usize, side: usize| (2.0 * index as f64 + 1.0) / side as f64 - 1.0;
        let (x, y) = (of(column, width), of(row, height));
        let [x, y] = theta.map(|[by_x, by_y, shift]| by_x * x + by_y * y + shift);
        let place = |value: f64, side: usize| reflect(((value + 1.0) * side as f64 - 1.0) / 2.0, side);
        let (r, c) = (place(y, height), place(x, width));
        let (top, left) = (r.floor(), c.floor());
        let (down, across) = (r - top, c - left);
        let pixel = |below: usize, right: usize| {
            image[[(top as usize + below).min(height - 1), (left as usize + right).min(width - 1)]]
        };
        (pixel(0, 0) * (1.0 - across) + pixel(0, 1) * across) * (1.0 - down)
            + (pixel(1, 0) * (1.0 - across) + pixel(1, 1) * across) * down
    })
}

/// The recipe, operation by operation, on one plane.
fn plain(image: &Array3<f32>, transform: &Transform, value: f64) -> Array2<f64> {
    let side = SIDE as f64;
    let (sin, cos) = transform.theta.to_radians().sin_cos();
    let &Transform { tx, ty, zx, zy, .. } = transform;
    let mirror = if transform.flip_horizontal { -1.0 } else { 1.0 };
    // Keras turns and zooms (row, column) about the centre, and shifts before it turns; a mirror is that of the output.
    let [down, right] = [cos * tx - sin * ty, sin * tx + cos * ty].map(|shift| 2.0 * shift / side);
    let theta = [[cos * zy * mirror, sin * zx, right], [-sin * zy * mirror, cos * zx, down]];
    let image = image.index_axis(ndarray::Axis(0), 0).mapv(f64::from);
    let mut made = grid_sample(&image, theta);
    let mean = made.mean().unwrap();
    let (contrast, offset) = (transform.contrast.unwrap_or(1.0), transform.offset.unwrap_or(0.0));
    made.mapv_inplace(|pixel| ((pixel - mean) * contrast + mean + offset).clamp(0.0, 1.0));
    for ((row, column), pixel) in made.indexed_iter_mut() {
        let is_erased = transform.erased.is_some_and(|r| {
            (r.top..r.bottom).contains(&(row as u32)) && (r.left..r.right).contains(&(column as u32))
        });
        if is_erased {
            *pixel = value;
        }
    }
    made
}

#[test]
fn the_recipe_is_that_of_pytorchs_operations() {
    let augment = Augment::new(AugmentConfig::recipe()).unwrap();
    let value = f64::from(EraseConfig::default().value);
    let (mut flips, mut erased) = (0, 0);
    for item in 0..300 {
        let transform = augment.draw(&mut rng(item), SIDE, SIDE);
        (flips, erased) = (
            flips + usize::from(transform.flip_horizontal),
            erased + usize::from(transform.erased.is_some()),
        );
        let mut found = face(item);
        augment.image(&mut rng(item), found.view_mut()).unwrap();
        let expected = plain(&face(item), &transform, value);
        for ((row, column), expected) in expected.indexed_iter() {
            let found = f64::from(found[[0, row, column]]);
            assert!(
                (found - expected).abs() < 1e-6,
                "{transform:?} ({row}, {column}): {found}, not {expected}"
            );
        }
    }
    assert!(flips > 100 && flips < 200 && erased > 100 && erased < 200, "{flips} {erased}");
}

#[test]
fn draws_of_the_recipe_are_within_its_ranges() {
    let augment = Augment::new(AugmentConfig::recipe()).unwrap();
    for item in 0..500 {
        let drawn = augment.draw(&mut rng(item), SIDE, SIDE);
        assert!(drawn.theta.abs() <= 15.0 && drawn.tx.abs() <= 4.8 && drawn.ty.abs() <= 4.8);
        assert!((0.88..=1.12).contains(&drawn.zx) && (0.96..=1.04).contains(&(drawn.zy / drawn.zx)));
        assert!((0.8..=1.2).contains(&drawn.contrast.unwrap()) && drawn.offset.unwrap().abs() <= 0.1);
        assert!(drawn.shear == 0.0 && !drawn.flip_vertical && drawn.brightness.is_none());
        assert!(drawn.erased.is_none_or(|r| r.top <= r.bottom && r.bottom <= 48 && r.right <= 48));
    }
}

#[test]
fn a_crop_by_whole_shifts_moves_pixels_unchanged_over_any_edge() {
    for fill_mode in [FillMode::Nearest, FillMode::Constant, FillMode::Reflect, FillMode::Wrap] {
        let config = AugmentConfig {
            width_shift_range: 5.0,
            height_shift_range: 0.1,
            shift_whole: true,
            fill_mode,
            generation: Generation::Plain,
            ..AugmentConfig::identity()
        };
        let augment = Augment::new(config).unwrap();
        for item in 0..40 {
            let transform = augment.draw(&mut rng(item), SIDE, SIDE);
            let (before, mut found) = (face(item), face(item));
            augment.apply(&transform, found.view_mut()).unwrap();
            for ((_, row, column), &found) in found.indexed_iter() {
                let place = [row as f64 + transform.tx, column as f64 + transform.ty];
                let of = |place: f64| match fill_mode {
                    FillMode::Nearest => Some(place.clamp(0.0, 47.0)),
                    FillMode::Reflect if place < 0.0 => Some(-1.0 - place),
                    FillMode::Reflect => Some(place.min(95.0 - place)),
                    FillMode::Wrap if place > 47.0 => Some(place - 47.0),
                    FillMode::Wrap if place < 0.0 => Some(place + 47.0),
                    _ => (0.0..=47.0).contains(&place).then_some(place),
                };
                let [row, column] = place.map(of);
                let expected =
                    row.zip(column).map_or(0.0, |(row, column)| before[[0, row as usize, column as usize]]);
                assert_eq!(found, expected, "{fill_mode:?} {place:?}");
            }
        }
    }
}

#[test]
fn the_order_is_map_flip_brightness_contrast_offset_and_erasing() {
    let erase = EraseConfig { value: 0.3, ..EraseConfig::default() };
    let config = AugmentConfig {
        generation: Generation::Plain,
        erase: Some(erase),
        samplewise_center: true,
        ..AugmentConfig::identity()
    };
    let augment = Augment::new(config).unwrap();
    let transform = Transform {
        ty: 1.0,
        flip_horizontal: true,
        brightness: Some(2.0),
        contrast: Some(0.5),
        offset: Some(0.5),
        erased: Some(fer_augment::Rectangle { top: 0, left: 1, bottom: 1, right: 2 }),
        ..Transform::default()
    };
    let mut image = Array3::from_shape_vec((1, 1, 4), vec![0.9, 0.0, 0.25, 1.0]).unwrap();
    augment.apply(&transform, image.view_mut()).unwrap();
    // Moved: 0 0.25 1 1; mirrored: 1 1 0.25 0; twice as bright: 1 1 0.5 0, of mean 0.625; half the contrast:
    // 0.8125 0.8125 0.5625 0.3125.
    assert_eq!(image.into_raw_vec_and_offset().0, [1.0, 0.3, 1.0, 0.8125]);
}

#[test]
fn contrast_has_one_mean_for_all_channels() {
    let augment = Augment::new(AugmentConfig::identity()).unwrap();
    let mut image = Array3::from_shape_vec((2, 1, 2), vec![0.0, 0.0, 1.0, 1.0]).unwrap();
    augment.apply(&Transform { contrast: Some(0.5), ..Transform::default() }, image.view_mut()).unwrap();
    assert_eq!(image.into_raw_vec_and_offset().0, [0.25, 0.25, 0.75, 0.75]);
}
