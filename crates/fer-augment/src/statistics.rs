//! Standardisation: each image's own statistics, and those of all training images.

use ndarray::ArrayView4;
use serde::{Deserialize, Serialize};

use crate::{AugmentConfig, Error, Result};

/// Keeps the division defined where there is no contrast; Keras' value.
const EPSILON: f32 = 1e-6;

/// The statistics of each channel over a set of images, for feature-wise standardisation. Save them with a
/// model that was trained on images standardised by them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, over n, not n − 1.
    pub std: Vec<f32>,
}

impl Statistics {
    /// Measures images of shape (n, channels, height, width), multiplied by `rescale`. Sums are in `f64`.
    pub(crate) fn measure(images: ArrayView4<'_, f32>, rescale: Option<f32>) -> Result<Self> {
        let (count, channels, height, width) = images.dim();
        if images.is_empty() {
            return Err(Error::NothingToFit([count, channels, height, width]));
        }
        let n = (count * height * width) as f64;
        let rescale = rescale.unwrap_or(1.0);
        let pixels = |channel| images.index_axis_move(ndarray::Axis(1), channel);
        let value = |pixel: f32| f64::from(pixel * rescale);
        let measured = (0..channels).map(|channel| {
            let mean = pixels(channel).fold(0.0, |sum, &pixel| sum + value(pixel)) / n;
            let squares = pixels(channel).fold(0.0, |sum, &pixel| sum + (value(pixel) - mean).powi(2));
            (mean as f32, (squares / n).sqrt() as f32)
        });
        let (mean, std) = measured.unzip();
        Ok(Self { mean, std })
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Self { mean, std } = self;
        if mean.len() != std.len() || mean.is_empty() {
            let sizes = format!("{} means and {} standard deviations", mean.len(), std.len());
            return Err(Error::Statistics(format!("{sizes}, but must be one of each a channel")));
        }
        if let Some(mean) = mean.iter().find(|mean| !mean.is_finite()) {
            return Err(Error::Statistics(format!("a mean is {mean}, but must be finite")));
        }
        if let Some(std) = std.iter().find(|&&std| !(std >= 0.0 && std.is_finite())) {
            return Err(Error::Statistics(format!(
                "a standard deviation is {std}, but must be finite, 0 or more"
            )));
        }
        Ok(())
    }
}

/// Applies what the configuration asks for, in Keras' order, to a (channels, …) image.
pub(crate) fn standardize(
    image: &mut [f32],
    channels: usize,
    config: &AugmentConfig,
    statistics: Option<&Statistics>,
) {
    if let Some(rescale) = config.rescale {
        image.iter_mut().for_each(|pixel| *pixel *= rescale);
    }
    if config.samplewise_center || config.samplewise_std_normalization {
        let mean = mean(image, |pixel| pixel) as f32;
        image.iter_mut().for_each(|pixel| *pixel -= mean);
    }
    if config.samplewise_std_normalization {
        // The pixels are centred, but only to the precision of `f32`.
        let centre = mean(image, |pixel| pixel);
        let std = mean(image, |pixel| (pixel - centre) * (pixel - centre)).sqrt() as f32 + EPSILON;
        image.iter_mut().for_each(|pixel| *pixel /= std);
    }
    let Some(Statistics { mean, std }) = statistics else { return };
    for ((plane, mean), std) in image.chunks_exact_mut(image.len() / channels).zip(mean).zip(std) {
        plane.iter_mut().for_each(|pixel| *pixel -= mean);
        if config.featurewise_std_normalization {
            plane.iter_mut().for_each(|pixel| *pixel /= std + EPSILON);
        }
    }
}

/// The mean of a function of the pixels, summed in lanes of `f64` that need not wait for each other.
#[inline(always)]
pub(crate) fn mean(pixels: &[f32], value: impl Fn(f64) -> f64) -> f64 {
    let (chunks, rest) = pixels.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for chunk in chunks {
        for (lane, &pixel) in lanes.iter_mut().zip(chunk) {
            *lane += value(f64::from(pixel));
        }
    }
    let rest: f64 = rest.iter().map(|&pixel| value(f64::from(pixel))).sum();
    (lanes.iter().sum::<f64>() + rest) / pixels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array4;

    #[test]
    fn statistics_are_by_channel_over_all_images() {
        let images = Array4::from_shape_fn((4, 2, 3, 5), |(n, c, ..)| (10 * c + n) as f32);
        let measured = Statistics::measure(images.view(), Some(0.5)).unwrap();
        assert_eq!(measured.mean, [0.75, 5.75]);
        assert_eq!(measured.std, [0.559_017; 2]);
    }

    #[test]
    fn statistics_of_nothing_are_an_error() {
        let none = Array4::zeros((0, 1, 48, 48));
        assert_eq!(Statistics::measure(none.view(), None), Err(Error::NothingToFit([0, 1, 48, 48])));
    }

    #[test]
    fn a_standardised_image_has_mean_0_and_deviation_1_and_a_constant_one_stays_finite() {
        let config = AugmentConfig { samplewise_std_normalization: true, ..AugmentConfig::identity() };
        let mut image: Vec<f32> = (0..100).map(|i| 7.0 + (i * i % 31) as f32).collect();
        standardize(&mut image, 1, &config, None);
        let mean = image.iter().sum::<f32>() / 100.0;
        let variance = image.iter().map(|pixel| pixel * pixel).sum::<f32>() / 100.0;
        assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
        let mut constant = [0.3; 16];
        standardize(&mut constant, 1, &config, None);
        assert!(constant.iter().all(|pixel| pixel.abs() < 0.1));
    }
}
