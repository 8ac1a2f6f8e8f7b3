//! What is drawn for an image, and from what ranges.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The arguments of Keras' `ImageDataGenerator`, by their names there. The default is the notebook's.
///
/// A range of 0 means that the parameter is neither drawn nor applied.
///
/// ```
/// use fer_augment::{Augment, AugmentConfig};
///
/// let config = AugmentConfig { rotation_range: 30.0, vertical_flip: true, ..AugmentConfig::default() };
/// assert!(Augment::new(config).is_ok());
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
    /// Shift along the width: below 1 a fraction of the width, from 1 on a number of pixels, either way.
    pub width_shift_range: f64,
    /// Shift along the height: below 1 a fraction of the height, from 1 on a number of pixels, either way.
    /// [`Generation::Keras3`] shifts along the width by it.
    pub height_shift_range: f64,
    /// Shear by up to this many **degrees** either way: the notebook's 0.15 is 0.15°, almost nothing.
    pub shear_range: f64,
    /// The smallest and the largest zoom, drawn for each axis on its own; over 1 shows more of the image,
    /// smaller. Keras' `zoom_range=z` is `(1 - z, 1 + z)`.
    pub zoom_range: (f64, f64),
    /// Mirror left and right, for half of the images.
    pub horizontal_flip: bool,
    /// Mirror top and bottom, for half of the images.
    pub vertical_flip: bool,
    /// Add up to this much, in units of the pixels, to all of them, within the image's own minimum and
    /// maximum.
    pub channel_shift_range: f64,
    /// The smallest and the largest factor of brightness. What it does to the range of the pixels depends
    /// on [`generation`](Self::generation).
    pub brightness_range: Option<(f64, f64)>,
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
    /// Which Keras to equal.
    pub generation: Generation,
}

/// What lies outside the image, here for the pixels `a b c d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FillMode {
    /// `a a a | a b c d | d d d`
    #[default]
    Nearest,
    /// `k k k | a b c d | k k k` with k = [`cval`](AugmentConfig::cval); there is no blending across the edge.
    Constant,
    /// `c b a | a b c d | d c b`
    Reflect,
    /// `d b c | a b c d | b c a`, as scipy does it: the period is one pixel shorter than the image, so
    /// that the first and the last pixel share a place.
    Wrap,
}

/// Which Keras to equal where they differ: in the affine transform and in the brightness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// keras-preprocessing 1.1, of the notebook's time. The affine transform turns about
    /// (height/2 + ½, width/2 + ½), one pixel off the centre. Brightness stretches the image to 0..=255,
    /// scales and truncates it there, and leaves it there.
    #[default]
    Notebook,
    /// Keras 3 (and 2 since TensorFlow 2.9). The affine transform turns about (height/2 − ½,
    /// width/2 − ½) and has its axes swapped: `tx`, drawn from the height's range, moves columns.
    /// Brightness truncates pixels within 0..=255 to whole numbers, whatever their scale: an image in
    /// 0..=1 becomes zeros and ones.
    Keras3,
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
            shear_range: 0.0,
            zoom_range: (1.0, 1.0),
            horizontal_flip: false,
            vertical_flip: false,
            channel_shift_range: 0.0,
            brightness_range: None,
            rescale: None,
            samplewise_center: false,
            samplewise_std_normalization: false,
            featurewise_center: false,
            featurewise_std_normalization: false,
            fill_mode: FillMode::Nearest,
            cval: 0.0,
            generation: Generation::Notebook,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] for the first one that means nothing.
    pub fn validate(&self) -> Result<()> {
        let symmetric = [
            ("rotation_range", self.rotation_range),
            ("width_shift_range", self.width_shift_range),
            ("height_shift_range", self.height_shift_range),
            ("shear_range", self.shear_range),
            ("channel_shift_range", self.channel_shift_range),
        ];
        for (field, value) in symmetric {
            let valid = value.is_finite() && value >= 0.0;
            check(valid, field, value, "a finite number, 0 or more")?;
        }
        let (low, high) = self.zoom_range;
        let valid = low > 0.0 && low <= high && high.is_finite();
        check(valid, "zoom_range", self.zoom_range, "two finite numbers over 0, the smaller first")?;
        if let Some((low, high)) = self.brightness_range {
            let valid = low >= 0.0 && low <= high && high.is_finite();
            let allowed = "two finite numbers, 0 or more, the smaller first";
            check(valid, "brightness_range", (low, high), allowed)?;
        }
        if let Some(rescale) = self.rescale {
            let valid = rescale.is_finite() && rescale != 0.0;
            check(valid, "rescale", rescale, "a finite number other than 0")?;
        }
        check(self.cval.is_finite(), "cval", self.cval, "a finite number")
    }
}

fn check(valid: bool, field: &'static str, value: impl std::fmt::Debug, allowed: &'static str) -> Result<()> {
    if valid { Ok(()) } else { Err(Error::Config { field, value: format!("{value:?}"), allowed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_invalid_value_is_named_with_what_is_allowed() {
        let base = AugmentConfig::default;
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
        ];
        for (name, config) in wrong {
            let error = config.validate().unwrap_err();
            assert!(matches!(&error, Error::Config { field, .. } if *field == name), "{error}");
        }
    }
}
