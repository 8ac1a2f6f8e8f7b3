//! What is drawn for an image, and from what ranges.

use serde::{Deserialize, Serialize};

use crate::{EraseConfig, FillMode, Generation, Result, error::check};

/// The arguments of Keras' `ImageDataGenerator`, by their names there, and what that does not have: contrast, offset,
/// erasing, zooms of nearly one size, shifts by whole pixels.
///
/// A range of 0 means that the parameter is neither drawn nor applied. Start from [`identity`](Self::identity), which
/// leaves images as they are, and name what you want:
///
/// ```
/// use fer_augment::{Augment, AugmentConfig, FillMode, Generation};
///
/// let config = AugmentConfig {
///     rotation_range: 30.0,
///     horizontal_flip: true,
///     contrast_range: 0.1,
///     fill_mode: FillMode::Reflect,
///     generation: Generation::Plain,
///     ..AugmentConfig::identity()
/// };
/// assert!(Augment::new(config).is_ok());
/// ```
///
/// [`default`](Self::default) has the notebook's settings, [`recipe`](Self::recipe) those of the recipes for FER2013
/// and FER+. An invalid value is named:
///
/// ```
/// use fer_augment::{Augment, AugmentConfig};
///
/// let wrong = AugmentConfig { zoom_range: (1.2, 0.8), ..AugmentConfig::default() };
/// assert_eq!(
///     Augment::new(wrong).unwrap_err().to_string(),
///     "zoom_range is (1.2, 0.8), but must be two finite numbers over 0, the smaller first",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Rotation by up to this many degrees either way.
    pub rotation_range: f64,
    /// Shift along the width: below 1 a fraction of the width, from 1 on a number of pixels, either way. With a
    /// [`fill_mode`](Self::fill_mode) this is the crop of a padded image.
    pub width_shift_range: f64,
    /// Shift along the height: below 1 a fraction of the height, from 1 on a number of pixels, either way.
    /// [`Generation::Keras3`] shifts along the width by it.
    pub height_shift_range: f64,
    /// Round the shifts to whole pixels. Where nothing else moves the image, its pixels then keep their values.
    pub shift_whole: bool,
    /// Shear by up to this many **degrees** either way: the notebook's 0.15 is 0.15°, almost nothing.
    pub shear_range: f64,
    /// The smallest and the largest zoom, drawn for each axis on its own; over 1 shows more of the image,
    /// smaller. Keras' `zoom_range=z` is `(1 - z, 1 + z)`.
    pub zoom_range: (f64, f64),
    /// None: each axis has a zoom of its own, as in Keras. Some(a): one zoom is drawn for both axes, and the second
    /// one ([`zy`](crate::Transform::zy)) is then multiplied by 1 ± a.
    pub zoom_aspect: Option<f64>,
    /// Mirror left and right, for half of the images.
    pub horizontal_flip: bool,
    /// Mirror top and bottom, for half of the images.
    pub vertical_flip: bool,
    /// Add up to this much, in units of the pixels, to all of them, within the image's own minimum and
    /// maximum.
    pub channel_shift_range: f64,
    /// The smallest and the largest factor of brightness, which depends on [`generation`](Self::generation).
    /// [`Plain`](Generation::Plain) multiplies pixels of 0..=1 and keeps them there.
    /// [`Keras2`](Generation::Keras2) stretches the image first, so that a factor of 1.0 makes 0..=255 of an image of 100 to
    /// 127, and leaves 0..=1 for 0..=255. [`Keras3`](Generation::Keras3) is made for 0..=255: of 0..=1 it makes zeros and
    /// ones.
    pub brightness_range: Option<(f64, f64)>,
    /// Multiply each pixel's distance from the image's own mean, over all its channels, by 1 ± this. The pixels are
    /// then kept in 0..=1, which they must be in.
    pub contrast_range: f64,
    /// Add up to this much either way to all pixels, which are then kept in 0..=1 and must be in it: a change of
    /// brightness that does not depend on the image.
    pub offset_range: f64,
    /// Multiply the pixels by this, after the transforms.
    pub rescale: Option<f32>,
    /// Subtract the image's own mean.
    pub samplewise_center: bool,
    /// Divide by the image's own standard deviation; centres too.
    pub samplewise_std_normalization: bool,
    /// Subtract each channel's mean over the images of [`Augment::fit`](crate::Augment::fit).
    pub featurewise_center: bool,
    /// Divide by each channel's standard deviation over the images of
    /// [`Augment::fit`](crate::Augment::fit); centres too.
    pub featurewise_std_normalization: bool,
    /// What lies outside the image.
    pub fill_mode: FillMode,
    /// The value outside the image, for [`FillMode::Constant`].
    pub cval: f32,
    /// Which Keras to equal, or none.
    pub generation: Generation,
    /// Set a rectangle of some of the images to one value, last of all but rescaling and standardisation.
    pub erase: Option<EraseConfig>,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            rotation_range: 15.0,
            width_shift_range: 0.15,
            height_shift_range: 0.15,
            shear_range: 0.15,
            zoom_range: (0.85, 1.15),
            horizontal_flip: true,
            ..Self::identity()
        }
    }
}

impl AugmentConfig {
    /// The configuration that leaves images as they are: Keras' `ImageDataGenerator()`.
    pub const fn identity() -> Self {
        Self {
            rotation_range: 0.0,
            width_shift_range: 0.0,
            height_shift_range: 0.0,
            shift_whole: false,
            shear_range: 0.0,
            zoom_range: (1.0, 1.0),
            zoom_aspect: None,
            horizontal_flip: false,
            vertical_flip: false,
            channel_shift_range: 0.0,
            brightness_range: None,
            contrast_range: 0.0,
            offset_range: 0.0,
            rescale: None,
            samplewise_center: false,
            samplewise_std_normalization: false,
            featurewise_center: false,
            featurewise_std_normalization: false,
            fill_mode: FillMode::Nearest,
            cval: 0.0,
            generation: Generation::Keras2,
            erase: None,
        }
    }

    /// Settings for people's own photos, of any size, grey or in colour, as bytes or in 0..=1: 10° of rotation, 0.05 of shift,
    /// one zoom of 0.9 to 1.1 for both axes, horizontal flips, brightness times 0.7 to 1.3, edges repeated. Nothing turns
    /// about another point than the centre, and nothing is stretched.
    ///
    /// ```
    /// use fer_augment::{Augment, AugmentConfig};
    /// use fer_rand::{Purpose, Stream};
    ///
    /// let augment = Augment::new(AugmentConfig::photos())?;
    /// let photo = ndarray::Array3::from_shape_fn((3, 48, 64), |(channel, ..)| [0.5, 0.3, 0.4][channel]);
    /// for item in 0..9 {
    ///     let mut rng = Stream { seed: 42, purpose: Purpose::named("photos"), epoch: 0, item }.rng();
    ///     let mut variant = photo.clone();
    ///     augment.image(&mut rng, variant.view_mut())?;
    ///     // Of one colour the photo stays, brighter or darker.
    ///     let factor = variant[(0, 7, 9)] / 0.5;
    ///     assert!((0.7..=1.3).contains(&factor));
    ///     assert!(variant.iter().zip(&photo).all(|(new, old)| (new - factor * old).abs() < 1e-6));
    /// }
    /// # Ok::<(), fer_augment::Error>(())
    /// ```
    pub fn photos() -> Self {
        Self {
            rotation_range: 10.0,
            width_shift_range: 0.05,
            height_shift_range: 0.05,
            zoom_range: (0.9, 1.1),
            zoom_aspect: Some(0.0),
            horizontal_flip: true,
            brightness_range: Some((0.7, 1.3)),
            fill_mode: FillMode::Nearest,
            generation: Generation::Plain,
            ..Self::identity()
        }
    }

    /// The settings of the recipes for FER2013 and FER+, for pixels in 0..=1: 15° of rotation, 0.1 of shift, 0.12 of
    /// zoom with the axes within 0.04 of each other, horizontal flips, reflected edges, 0.2 of contrast, 0.1 of
    /// offset, and erasing in half of the images.
    pub fn recipe() -> Self {
        Self {
            rotation_range: 15.0,
            width_shift_range: 0.1,
            height_shift_range: 0.1,
            zoom_range: (0.88, 1.12),
            zoom_aspect: Some(0.04),
            horizontal_flip: true,
            contrast_range: 0.2,
            offset_range: 0.1,
            fill_mode: FillMode::Reflect,
            generation: Generation::Plain,
            erase: Some(EraseConfig::default()),
            ..Self::identity()
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for the first one that means nothing.
    pub fn validate(&self) -> Result<()> {
        let symmetric = [
            ("rotation_range", self.rotation_range),
            ("width_shift_range", self.width_shift_range),
            ("height_shift_range", self.height_shift_range),
            ("shear_range", self.shear_range),
            ("channel_shift_range", self.channel_shift_range),
            ("offset_range", self.offset_range),
        ];
        for (field, value) in symmetric {
            let valid = value.is_finite() && value >= 0.0;
            check(valid, field, value, "a finite number, 0 or more")?;
        }
        let (low, high) = self.zoom_range;
        let valid = low > 0.0 && low <= high && high.is_finite();
        check(valid, "zoom_range", self.zoom_range, "two finite numbers over 0, the smaller first")?;
        if let Some(aspect) = self.zoom_aspect {
            check((0.0..1.0).contains(&aspect), "zoom_aspect", aspect, "a number from 0 to below 1")?;
        }
        if let Some((low, high)) = self.brightness_range {
            let valid = low >= 0.0 && low <= high && high.is_finite();
            let allowed = "two finite numbers, 0 or more, the smaller first";
            check(valid, "brightness_range", (low, high), allowed)?;
            let is_kept = self.generation != Generation::Keras2 || !self.changes_tones();
            let allowed =
                "None beside contrast_range and offset_range: Generation::Keras2 leaves pixels in 0..=255";
            check(is_kept, "brightness_range", (low, high), allowed)?;
        }
        let contrast = self.contrast_range;
        check((0.0..=1.0).contains(&contrast), "contrast_range", contrast, "a number from 0 to 1")?;
        if let Some(rescale) = self.rescale {
            let valid = rescale.is_finite() && rescale != 0.0;
            check(valid, "rescale", rescale, "a finite number other than 0")?;
        }
        check(self.cval.is_finite(), "cval", self.cval, "a finite number")?;
        self.erase.map_or(Ok(()), |erase| erase.validate())
    }

    /// Whether contrast or offset is in use, which keep the pixels in 0..=1.
    fn changes_tones(&self) -> bool {
        self.contrast_range != 0.0 || self.offset_range != 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn the_default_is_the_notebooks() {
        let config: AugmentConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, AugmentConfig::default());
        assert_eq!(
            (config.rotation_range, config.shear_range, config.zoom_range),
            (15.0, 0.15, (0.85, 1.15))
        );
        assert!(config.horizontal_flip && !config.vertical_flip);
    }

    #[test]
    fn a_configuration_survives_json() {
        let config = AugmentConfig {
            brightness_range: Some((0.5, 1.5)),
            rescale: Some(1.0 / 255.0),
            fill_mode: FillMode::Reflect,
            generation: Generation::Keras3,
            ..AugmentConfig::default()
        };
        let json = serde_json::to_string(&config).unwrap();
        assert!(json.contains(r#""fill_mode":"reflect""#) && json.contains(r#""generation":"keras3""#));
        assert_eq!(serde_json::from_str::<AugmentConfig>(&json).unwrap(), config);
        assert!(serde_json::from_str::<AugmentConfig>(r#"{"rotation": 3}"#).is_err());
    }

    #[test]
    fn the_older_name_of_a_generation_is_still_read() {
        let read = |name: &str| serde_json::from_str::<Generation>(&format!("\"{name}\"")).unwrap();
        assert_eq!([read("keras2"), read("notebook")], [Generation::Keras2; 2]);
        assert_eq!([read("keras3"), read("plain")], [Generation::Keras3, Generation::Plain]);
        assert_eq!(serde_json::to_string(&Generation::Keras2).unwrap(), "\"keras2\"");
    }

    #[test]
    fn the_recipe_is_valid_and_survives_json() {
        let recipe = AugmentConfig::recipe();
        recipe.validate().unwrap();
        let json = serde_json::to_string(&recipe).unwrap();
        assert_eq!(serde_json::from_str::<AugmentConfig>(&json).unwrap(), recipe);
        let erase: AugmentConfig = serde_json::from_str(r#"{"erase": {}}"#).unwrap();
        assert_eq!(erase.erase, recipe.erase);
    }

    #[test]
    fn an_invalid_value_is_named_with_what_is_allowed() {
        let base = AugmentConfig::default;
        let erasing = |erase| AugmentConfig { erase: Some(erase), ..base() };
        let wrong = [
            ("rotation_range", AugmentConfig { rotation_range: -1.0, ..base() }),
            ("width_shift_range", AugmentConfig { width_shift_range: f64::NAN, ..base() }),
            ("height_shift_range", AugmentConfig { height_shift_range: f64::INFINITY, ..base() }),
            ("shear_range", AugmentConfig { shear_range: -0.1, ..base() }),
            ("zoom_range", AugmentConfig { zoom_range: (0.0, 1.0), ..base() }),
            ("zoom_range", AugmentConfig { zoom_range: (1.0, f64::INFINITY), ..base() }),
            ("channel_shift_range", AugmentConfig { channel_shift_range: -0.1, ..base() }),
            ("brightness_range", AugmentConfig { brightness_range: Some((1.0, 0.5)), ..base() }),
            ("rescale", AugmentConfig { rescale: Some(0.0), ..base() }),
            ("cval", AugmentConfig { cval: f32::NAN, ..base() }),
            ("zoom_aspect", AugmentConfig { zoom_aspect: Some(1.0), ..base() }),
            ("contrast_range", AugmentConfig { contrast_range: 1.1, ..base() }),
            ("offset_range", AugmentConfig { offset_range: f64::NAN, ..base() }),
            (
                "brightness_range",
                AugmentConfig { brightness_range: Some((0.5, 1.5)), offset_range: 0.1, ..base() },
            ),
            ("erase.probability", erasing(EraseConfig { probability: 1.5, ..EraseConfig::default() })),
            ("erase.area", erasing(EraseConfig { area: (0.2, 0.1), ..EraseConfig::default() })),
            ("erase.area", erasing(EraseConfig { area: (0.2, 1.1), ..EraseConfig::default() })),
            ("erase.aspect", erasing(EraseConfig { aspect: f64::INFINITY, ..EraseConfig::default() })),
            ("erase.value", erasing(EraseConfig { value: f32::NAN, ..EraseConfig::default() })),
        ];
        for (name, config) in wrong {
            let error = config.validate().unwrap_err();
            assert!(matches!(&error, Error::Config { field, .. } if *field == name), "{error}");
        }
    }
}
