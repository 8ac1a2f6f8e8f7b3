//! The parameters of one image's transform, and their draw.

use fer_rand::next_double;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{
    AugmentConfig, Rectangle,
    draw::{around_one, symmetric, uniform},
};

/// The parameters of one image's transform: Keras' `transform_parameters`, by their names there, and those of what
/// Keras does not have. The default changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transform {
    /// Rotation in degrees.
    pub theta: f64,
    /// Shift in pixels along the rows ([`Generation::Keras3`](crate::Generation::Keras3): the columns).
    pub tx: f64,
    /// Shift in pixels along the columns ([`Generation::Keras3`](crate::Generation::Keras3): the rows).
    pub ty: f64,
    /// Shear in degrees.
    pub shear: f64,
    /// Zoom along the axis of `tx`; over 1 shows more of the image, smaller.
    pub zx: f64,
    /// Zoom along the axis of `ty`.
    pub zy: f64,
    /// Mirror left and right.
    pub flip_horizontal: bool,
    /// Mirror top and bottom.
    pub flip_vertical: bool,
    /// What to add to the pixels, within the image's own minimum and maximum.
    pub channel_shift_intensity: Option<f64>,
    /// The factor of brightness.
    pub brightness: Option<f64>,
    /// The factor of each pixel's distance from the image's mean.
    pub contrast: Option<f64>,
    /// What to add to the pixels.
    pub offset: Option<f64>,
    /// Where to erase.
    pub erased: Option<Rectangle>,
}

impl Default for Transform {
    fn default() -> Self {
        Self {
            theta: 0.0,
            tx: 0.0,
            ty: 0.0,
            shear: 0.0,
            zx: 1.0,
            zy: 1.0,
            flip_horizontal: false,
            flip_vertical: false,
            channel_shift_intensity: None,
            brightness: None,
            contrast: None,
            offset: None,
            erased: None,
        }
    }
}

impl Transform {
    /// Draws the parameters for an image of this size, each as `low + (high − low)·next_double`, in the
    /// order of Keras' `get_random_transform`, and then what Keras does not have: the zooms' ratio, contrast,
    /// offset, erasing. A range of 0 draws nothing; the flips always draw.
    pub(crate) fn draw(config: &AugmentConfig, rng: &mut impl Rng, height: usize, width: usize) -> Self {
        let theta = symmetric(rng, config.rotation_range);
        let mut tx = shift(rng, config.height_shift_range, height);
        let mut ty = shift(rng, config.width_shift_range, width);
        if config.shift_whole {
            (tx, ty) = (tx.round(), ty.round());
        }
        let shear = symmetric(rng, config.shear_range);
        let (zx, mut zy) = match config.zoom_range {
            (1.0, 1.0) => (1.0, 1.0),
            range if config.zoom_aspect.is_some() => [uniform(rng, range); 2].into(),
            range => (uniform(rng, range), uniform(rng, range)),
        };
        let flip_horizontal = next_double(rng) < 0.5 && config.horizontal_flip;
        let flip_vertical = next_double(rng) < 0.5 && config.vertical_flip;
        let channel_shift_intensity =
            (config.channel_shift_range != 0.0).then(|| symmetric(rng, config.channel_shift_range));
        let brightness = config.brightness_range.map(|range| uniform(rng, range));
        if let Some(aspect) = config.zoom_aspect.filter(|&aspect| aspect != 0.0) {
            zy *= around_one(rng, aspect);
        }
        let contrast = (config.contrast_range != 0.0).then(|| around_one(rng, config.contrast_range));
        let offset = (config.offset_range != 0.0).then(|| symmetric(rng, config.offset_range));
        let erased = config.erase.and_then(|erase| erase.draw(rng, height, width));
        Self {
            theta,
            tx,
            ty,
            shear,
            zx,
            zy,
            flip_horizontal,
            flip_vertical,
            channel_shift_intensity,
            brightness,
            contrast,
            offset,
            erased,
        }
    }
}

fn shift(rng: &mut impl Rng, range: f64, side: usize) -> f64 {
    let drawn = symmetric(rng, range);
    if range < 1.0 { drawn * side as f64 } else { drawn }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EraseConfig;
    use fer_rand::RandomState;

    fn doubles_used(config: AugmentConfig) -> usize {
        let mut used = RandomState::new(3);
        Transform::draw(&config, &mut used, 48, 48);
        let after = next_double(&mut used);
        let mut fresh = RandomState::new(3);
        (0..).find(|_| next_double(&mut fresh) == after).unwrap()
    }

    #[test]
    fn the_notebooks_settings_use_eight_doubles_an_image() {
        assert_eq!(doubles_used(AugmentConfig::default()), 8);
    }

    #[test]
    fn a_range_of_zero_draws_nothing_and_the_flips_always_draw() {
        assert_eq!(doubles_used(AugmentConfig::identity()), 2);
        assert_eq!(doubles_used(AugmentConfig { rotation_range: 1.0, ..AugmentConfig::identity() }), 3);
        assert_eq!(doubles_used(AugmentConfig { zoom_range: (0.9, 1.0), ..AugmentConfig::identity() }), 4);
        let all = AugmentConfig {
            channel_shift_range: 0.1,
            brightness_range: Some((1.0, 1.0)),
            ..AugmentConfig::default()
        };
        assert_eq!(doubles_used(all), 10);
    }

    #[test]
    fn what_keras_does_not_have_is_drawn_last_and_only_where_in_use() {
        let identity = AugmentConfig::identity;
        assert_eq!(doubles_used(AugmentConfig { zoom_aspect: Some(0.0), ..identity() }), 2);
        assert_eq!(doubles_used(AugmentConfig { zoom_aspect: Some(0.1), ..identity() }), 3);
        assert_eq!(doubles_used(AugmentConfig { contrast_range: 0.1, ..identity() }), 3);
        assert_eq!(doubles_used(AugmentConfig { offset_range: 0.1, ..identity() }), 3);
        let erase = |probability| Some(EraseConfig { probability, ..EraseConfig::default() });
        assert_eq!(doubles_used(AugmentConfig { erase: erase(0.0), ..identity() }), 3);
        assert_eq!(doubles_used(AugmentConfig { erase: erase(1.0), ..identity() }), 7);

        let draw = |config: &AugmentConfig| Transform::draw(config, &mut RandomState::new(6), 48, 48);
        let keras = AugmentConfig { channel_shift_range: 0.1, ..AugmentConfig::default() };
        let more =
            AugmentConfig { contrast_range: 0.2, offset_range: 0.1, erase: erase(1.0), ..keras.clone() };
        let drawn = draw(&more);
        assert!(drawn.contrast.is_some() && drawn.offset.is_some() && drawn.erased.is_some());
        assert_eq!(Transform { contrast: None, offset: None, erased: None, ..drawn }, draw(&keras));
    }

    #[test]
    fn the_recipes_numbers_in_their_order() {
        let recipe = AugmentConfig { erase: None, ..AugmentConfig::recipe() };
        let mut numbers = RandomState::new(42);
        let mut between = |low: f64, high: f64| low + (high - low) * next_double(&mut numbers);
        let theta = between(-15.0, 15.0);
        let [tx, ty] = [(); 2].map(|()| between(-0.1, 0.1) * 48.0);
        let zx = between(0.88, 1.12);
        let (flip, _) = (between(0.0, 1.0) < 0.5, between(0.0, 1.0));
        let zy = zx * between(0.96, 1.04);
        let (contrast, offset) = (Some(between(0.8, 1.2)), Some(between(-0.1, 0.1)));
        let expected = Transform {
            theta,
            tx,
            ty,
            zx,
            zy,
            flip_horizontal: flip,
            contrast,
            offset,
            ..Transform::default()
        };
        assert_eq!(Transform::draw(&recipe, &mut RandomState::new(42), 48, 48), expected);
    }

    #[test]
    fn whole_shifts_are_the_others_rounded() {
        let config =
            AugmentConfig { height_shift_range: 0.2, width_shift_range: 3.0, ..AugmentConfig::identity() };
        let whole = AugmentConfig { shift_whole: true, ..config.clone() };
        let (mut rng, mut same) = (RandomState::new(2), RandomState::new(2));
        for _ in 0..50 {
            let drawn = Transform::draw(&config, &mut rng, 48, 48);
            let rounded = Transform { tx: drawn.tx.round(), ty: drawn.ty.round(), ..drawn };
            assert_eq!(Transform::draw(&whole, &mut same, 48, 48), rounded);
        }
    }

    #[test]
    fn a_shift_from_one_on_is_in_pixels() {
        let config = AugmentConfig { height_shift_range: 2.0, ..AugmentConfig::identity() };
        let drawn = Transform::draw(&config, &mut RandomState::new(42), 1000, 1000);
        assert_eq!(drawn.tx, -2.0 + 4.0 * 0.3745401188473625);
    }
}
