//! From any image to the input of the network.

use image::imageops::FilterType;
use image::{DynamicImage, GrayImage};
use serde::{Deserialize, Serialize};

use crate::{Error, Input, Result};

/// What is done to an image before the network sees it: it becomes grey, as [`to_grey`] says, or, for a network of three
/// channels, red, green and blue; then each value `v` of 0..=255 becomes `(v·scale − mean) / deviation`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocessing {
    /// 1/255.
    pub scale: f32,
    /// 0, or the mean of the training images after scaling.
    pub mean: f32,
    /// 1, or their standard deviation.
    pub deviation: f32,
    /// How an image of another size is brought to the network's.
    pub resize: Resize,
}

/// How an image of another size is brought to the network's. The aspect ratio is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// By a triangle filter: bilinear, averaging when it shrinks.
    #[default]
    Triangle,
    /// The nearest pixel.
    Nearest,
    /// Lanczos' windowed sinc of three lobes.
    Lanczos3,
}

impl Default for Preprocessing {
    fn default() -> Self {
        Self { scale: 1.0 / 255.0, mean: 0.0, deviation: 1.0, resize: Resize::Triangle }
    }
}

impl Preprocessing {
    pub(crate) fn validate(&self) -> Result<()> {
        let Self { scale, mean, deviation, .. } = *self;
        if !(scale.is_finite() && scale != 0.0) {
            return Err(Error::config("preprocessing.scale", scale, "a finite number other than 0"));
        }
        if !(deviation.is_finite() && deviation > 0.0) {
            return Err(Error::config("preprocessing.deviation", deviation, "above 0"));
        }
        match mean.is_finite() {
            true => Ok(()),
            false => Err(Error::config("preprocessing.mean", mean, "a finite number")),
        }
    }

    /// What the network sees of a value.
    pub(crate) fn value(&self, v: u8) -> f32 {
        (f32::from(v) * self.scale - self.mean) / self.deviation
    }

    /// Scale, mean and deviation.
    pub(crate) fn factors(&self) -> (f64, f64, f64) {
        (f64::from(self.scale), f64::from(self.mean), f64::from(self.deviation))
    }
}

impl Resize {
    fn filter(self) -> FilterType {
        match self {
            Self::Triangle => FilterType::Triangle,
            Self::Nearest => FilterType::Nearest,
            Self::Lanczos3 => FilterType::Lanczos3,
        }
    }
}

/// The values of an image as a network of this input takes them, channel by channel.
pub(crate) fn pixels(image: &DynamicImage, input: Input, resize: Resize) -> Vec<u8> {
    let size = (input.width as u32, input.height as u32);
    fer_picture::planes(image, input.channels, size, resize.filter())
}

/// Converts an image to `width` × `height` grey values.
///
/// 1. Colour becomes grey by the luma of ITU-R BT.709 (0.2126 R + 0.7152 G + 0.0722 B); 16-bit and float values
///    become 8-bit; transparency is dropped.
/// 2. Another size is resampled to the whole output by a triangle filter (bilinear, averaging when it shrinks);
///    the aspect ratio is not kept. A grey image of the right size passes unchanged.
///
/// The network expects a face that fills the image, as FER2013's do.
pub fn to_grey(image: &DynamicImage, width: u32, height: u32) -> GrayImage {
    let grey = fer_picture::planes(image, 1, (width, height), FilterType::Triangle);
    // As many values as the size has.
    GrayImage::from_raw(width, height, grey).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma, Rgba, RgbaImage};

    #[test]
    fn a_grey_image_of_the_right_size_is_unchanged() {
        let face = GrayImage::from_fn(48, 48, |x, y| Luma([(x * 5 + y) as u8]));
        assert_eq!(to_grey(&face.clone().into(), 48, 48), face);
    }

    #[test]
    fn every_colour_type_becomes_grey() {
        let colour = RgbaImage::from_pixel(96, 30, Rgba([200, 100, 50, 10]));
        let luma = (0.2126 * 200.0 + 0.7152 * 100.0 + 0.0722 * 50.0) as u8;
        let deep: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(10, 10, Luma([0x8080]));
        let float = DynamicImage::from(colour.clone());
        for (image, value) in [
            (DynamicImage::from(colour), luma),
            (DynamicImage::from(deep), 0x80),
            (DynamicImage::from(float.to_rgb32f()), luma),
        ] {
            let grey = to_grey(&image, 48, 48);
            assert_eq!(grey.dimensions(), (48, 48));
            assert!(grey.pixels().all(|p| p[0].abs_diff(value) <= 1), "{:?} {value}", grey.get_pixel(0, 0));
        }
    }
}
