//! A checked configuration, ready to augment images.

use ndarray::{ArrayView4, ArrayViewMut3, ArrayViewMut4};
use rand::Rng;

use crate::affine::Affine;
use crate::resample::resample;
use crate::{AugmentConfig, Error, Result, Statistics, Transform, intensity, statistics, tone};

/// A checked [`AugmentConfig`], ready to augment images.
///
/// An image is a view of shape (channels, height, width), of any strides; contiguous ones are fastest.
/// All the randomness is in [`draw`](Self::draw): the same generator state gives the same image.
///
/// ```
/// use fer_augment::{Augment, AugmentConfig};
/// use fer_rand::{Purpose, Stream};
/// use ndarray::Array4;
///
/// let augment = Augment::new(AugmentConfig::default())?;
/// let mut batch = Array4::from_shape_fn((32, 1, 48, 48), |(n, _, row, column)| ((n * row + column) % 7) as f32);
/// augment.batch(batch.view_mut(), |item| {
///     Stream { seed: 42, purpose: Purpose::named("augment"), epoch: 0, item: item as u32 }.rng()
/// })?;
/// # Ok::<(), fer_augment::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Augment {
    config: AugmentConfig,
    statistics: Option<Statistics>,
}

impl Augment {
    /// Checks a configuration without feature-wise standardisation.
    ///
    /// # Errors
    /// [`Error::Config`] for a value that means nothing; [`Error::NotFitted`] when it asks for feature-wise
    /// standardisation, which [`fit`](Self::fit) and [`fitted`](Self::fitted) are for.
    pub fn new(config: AugmentConfig) -> Result<Self> {
        config.validate()?;
        match featurewise(&config) {
            Some(field) => Err(Error::NotFitted(field)),
            None => Ok(Self { config, statistics: None }),
        }
    }

    /// Checks a configuration and measures what its feature-wise standardisation needs on the training
    /// images, of shape (n, channels, height, width). Without one this is [`new`](Self::new).
    ///
    /// # Errors
    /// [`Error::Config`] for a value that means nothing; [`Error::NothingToFit`] without images.
    pub fn fit(config: AugmentConfig, images: ArrayView4<'_, f32>) -> Result<Self> {
        config.validate()?;
        let needed = featurewise(&config).is_some();
        let statistics = needed.then(|| Statistics::measure(images, config.rescale)).transpose()?;
        Ok(Self { config, statistics })
    }

    /// Checks a configuration that was fitted before, with the [`statistics`](Self::statistics) it had.
    ///
    /// # Errors
    /// [`Error::Config`] for a value that means nothing; [`Error::Statistics`] for statistics that do.
    pub fn fitted(config: AugmentConfig, statistics: Statistics) -> Result<Self> {
        config.validate()?;
        statistics.check()?;
        let statistics = featurewise(&config).is_some().then_some(statistics);
        Ok(Self { config, statistics })
    }

    /// The configuration.
    pub fn config(&self) -> &AugmentConfig {
        &self.config
    }

    /// What feature-wise standardisation was fitted to; none without it.
    pub fn statistics(&self) -> Option<&Statistics> {
        self.statistics.as_ref()
    }

    /// Draws the parameters for one image of this size, in Keras' order, and after them those of what Keras does not
    /// have: the zooms' ratio, contrast, offset, erasing.
    ///
    /// ```
    /// use fer_augment::{Augment, AugmentConfig};
    /// use fer_rand::RandomState;
    ///
    /// // np.random.seed(42); datagen.get_random_transform((48, 48, 1))
    /// let augment = Augment::new(AugmentConfig::default())?;
    /// let transform = augment.draw(&mut RandomState::new(42), 48, 48);
    /// assert_eq!(transform.theta, -15.0 + 30.0 * 0.3745401188473625);
    /// # Ok::<(), fer_augment::Error>(())
    /// ```
    pub fn draw(&self, rng: &mut impl Rng, height: usize, width: usize) -> Transform {
        Transform::draw(&self.config, rng, height, width)
    }

    /// Where [`apply`](Self::apply) reads the pixel (row, column) of an image of this size, before it mirrors:
    /// `(offset + row·matrix's first column) + column·its second`, for whoever moves images elsewhere. The matrix is
    /// given row by row; none where every pixel stays.
    ///
    /// ```
    /// use fer_augment::{Augment, AugmentConfig, Transform};
    ///
    /// let augment = Augment::new(AugmentConfig::default())?;
    /// let down = Transform { tx: 2.0, ..Transform::default() };
    /// assert_eq!(augment.map(&down, 48, 48), Some(([1.0, 0.0, 0.0, 1.0], [2.0, 0.0])));
    /// assert_eq!(augment.map(&Transform::default(), 48, 48), None);
    /// # Ok::<(), fer_augment::Error>(())
    /// ```
    pub fn map(&self, transform: &Transform, height: usize, width: usize) -> Option<([f64; 4], [f64; 2])> {
        Affine::new(transform, self.config.generation, height, width).map(|affine| affine.parts())
    }

    /// Applies a transform to an image in place, in Keras' order: affine map, channel shift, flips,
    /// brightness; and then contrast, offset, erasing. Does not standardise.
    ///
    /// Contrast and offset make of each pixel `((pixel − mean)·contrast + mean) + offset`, kept in 0..=1, in `f32`, with
    /// the mean of the whole image summed in `f64`. A rectangle is erased with the value that the configuration has
    /// for it, or its default's.
    ///
    /// # Errors
    /// [`Error::Channels`] for Keras' brightness on an image of other than 1, 3 or 4 channels.
    pub fn apply(&self, transform: &Transform, image: ArrayViewMut3<'_, f32>) -> Result<()> {
        let (channels, height, width) = image.dim();
        if transform.brightness.is_some() {
            intensity::check_brightness(channels, self.config.generation)?;
        }
        let AugmentConfig { generation, erase, .. } = self.config;
        in_place(image, |pixels| {
            if let Some(affine) = Affine::new(transform, generation, height, width) {
                for plane in pixels.chunks_exact_mut(height * width) {
                    resample(plane, width, &affine, &self.config);
                }
            }
            if let Some(shift) = transform.channel_shift_intensity {
                intensity::shift(pixels, shift as f32);
            }
            if transform.flip_horizontal {
                intensity::flip_horizontal(pixels, width);
            }
            if transform.flip_vertical {
                for plane in pixels.chunks_exact_mut(height * width) {
                    intensity::flip_vertical(plane, width);
                }
            }
            if let Some(factor) = transform.brightness {
                intensity::brighten(pixels, channels, factor as f32, generation);
            }
            if transform.contrast.is_some() || transform.offset.is_some() {
                tone::change(pixels, transform.contrast, transform.offset);
            }
            if let Some(rectangle) = transform.erased {
                let value = erase.unwrap_or_default().value;
                for plane in pixels.chunks_exact_mut(height * width) {
                    rectangle.fill(plane, width, value);
                }
            }
        });
        Ok(())
    }

    /// Rescales and standardises an image in place: what images to be predicted need, too.
    ///
    /// # Errors
    /// [`Error::Channels`] when the image has other channels than those that were fitted.
    pub fn standardize(&self, image: ArrayViewMut3<'_, f32>) -> Result<()> {
        let (found, ..) = image.dim();
        if let Some(expected) = self.statistics.as_ref().map(|statistics| statistics.mean.len())
            && expected != found
        {
            let what = "feature-wise standardisation as fitted";
            return Err(Error::Channels { what, expected: expected.to_string(), found });
        }
        in_place(image, |pixels| {
            statistics::standardize(pixels, found, &self.config, self.statistics.as_ref());
        });
        Ok(())
    }

    /// Draws, applies and standardises: augments one image in place.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply) and [`standardize`](Self::standardize).
    pub fn image(&self, rng: &mut impl Rng, mut image: ArrayViewMut3<'_, f32>) -> Result<()> {
        let (_, height, width) = image.dim();
        let transform = self.draw(rng, height, width);
        self.apply(&transform, image.view_mut())?;
        self.standardize(image)
    }

    /// Augments a batch of shape (n, channels, height, width) in place; `rng` gives the generator of each
    /// image by its place in the batch.
    ///
    /// # Errors
    /// Those of [`image`](Self::image).
    pub fn batch<R: Rng>(
        &self,
        mut images: ArrayViewMut4<'_, f32>,
        mut rng: impl FnMut(usize) -> R,
    ) -> Result<()> {
        let mut numbered = images.outer_iter_mut().enumerate();
        numbered.try_for_each(|(item, image)| self.image(&mut rng(item), image))
    }
}

/// The field that asks for feature-wise standardisation, if one does.
fn featurewise(config: &AugmentConfig) -> Option<&'static str> {
    if config.featurewise_std_normalization {
        Some("featurewise_std_normalization")
    } else {
        config.featurewise_center.then_some("featurewise_center")
    }
}

/// Works on the pixels in order, whatever the strides. Images without pixels are left alone.
fn in_place(mut image: ArrayViewMut3<'_, f32>, work: impl FnOnce(&mut [f32])) {
    if image.is_empty() {
        return;
    }
    if let Some(pixels) = image.as_slice_mut() {
        return work(pixels);
    }
    let mut pixels: Vec<f32> = image.iter().copied().collect();
    work(&mut pixels);
    image.iter_mut().zip(pixels).for_each(|(to, from)| *to = from);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FillMode, Generation};
    use fer_rand::{Purpose, RandomState, Stream};
    use ndarray::{Array3, Array4};

    fn drawn(channels: usize, height: usize, width: usize) -> Array3<f32> {
        let pixel = |(c, r, k)| ((97 * c + 37 * r + 11 * k * k + r * k) % 256) as f32 / 255.0;
        Array3::from_shape_fn((channels, height, width), pixel)
    }

    #[test]
    fn the_contracts_golden_rows() {
        let transform = Transform {
            theta: 10.0,
            tx: 0.6,
            ty: -0.9,
            shear: 5.0,
            zx: 0.9,
            zy: 1.1,
            ..Transform::default()
        };
        let golden = [
            (Generation::Keras2, 0, [0.3671103, 0.3183044, 0.2859869, 0.2675387, 0.2490905, 0.2306423]),
            (Generation::Keras2, 5, [0.8571429, 0.8655998, 0.8959574, 0.9263151, 0.9566727, 0.9870304]),
            (Generation::Keras3, 0, [0.0498029, 0.0751266, 0.1004502, 0.1257738, 0.1428571, 0.1428571]),
            (Generation::Keras3, 5, [0.6920084, 0.7441235, 0.7962386, 0.8483536, 0.9004687, 0.9525837]),
        ];
        for (generation, row, expected) in golden {
            let augment = Augment::new(AugmentConfig { generation, ..AugmentConfig::default() }).unwrap();
            let mut image = Array3::from_shape_fn((1, 6, 6), |(_, r, c)| (6 * r + c) as f32 / 35.0);
            augment.apply(&transform, image.view_mut()).unwrap();
            for (column, expected) in expected.into_iter().enumerate() {
                let found = image[[0, row, column]];
                assert!((found - expected).abs() < 2e-7, "{generation:?} {row} {column}: {found} {expected}");
            }
        }
    }

    #[test]
    fn the_identity_changes_no_bit() {
        let augment = Augment::new(AugmentConfig::identity()).unwrap();
        let mut image = drawn(3, 9, 7);
        augment.image(&mut RandomState::new(1), image.view_mut()).unwrap();
        assert_eq!(image, drawn(3, 9, 7));
    }

    #[test]
    fn channels_are_transformed_alike_and_strides_do_not_matter() {
        let config =
            AugmentConfig { fill_mode: FillMode::Reflect, vertical_flip: true, ..Default::default() };
        let augment = Augment::new(config).unwrap();
        let mut colour = drawn(3, 20, 14);
        let mut channels_last = colour.view().permuted_axes([1, 2, 0]).as_standard_layout().into_owned();
        let mut third = Array3::from_shape_fn((1, 20, 14), |(_, r, c)| colour[[2, r, c]]);
        let rng = || RandomState::new(8);
        augment.image(&mut rng(), colour.view_mut()).unwrap();
        augment.image(&mut rng(), channels_last.view_mut().permuted_axes([2, 0, 1])).unwrap();
        augment.image(&mut rng(), third.view_mut()).unwrap();
        assert_eq!(channels_last.permuted_axes([2, 0, 1]), colour);
        assert_eq!(third.index_axis(ndarray::Axis(0), 0), colour.index_axis(ndarray::Axis(0), 2));
    }

    #[test]
    fn a_batch_is_its_images_one_by_one() {
        let augment = Augment::new(AugmentConfig::default()).unwrap();
        let rng =
            |item| Stream { seed: 3, purpose: Purpose::named("augment"), epoch: 1, item: item as u32 }.rng();
        let mut batch = Array4::from_shape_fn((5, 1, 12, 10), |(n, c, r, k)| drawn(6, 12, 10)[[n + c, r, k]]);
        let mut single = batch.clone();
        augment.batch(batch.view_mut(), rng).unwrap();
        for item in (0..5).rev() {
            augment.image(&mut rng(item), single.index_axis_mut(ndarray::Axis(0), item)).unwrap();
        }
        assert_eq!(batch, single);
    }

    #[test]
    fn featurewise_standardisation_must_be_fitted_and_can_be_restored() {
        let config = AugmentConfig { featurewise_std_normalization: true, ..AugmentConfig::identity() };
        assert_eq!(
            Augment::new(config.clone()).unwrap_err(),
            Error::NotFitted("featurewise_std_normalization")
        );
        let images = drawn(2, 8, 8).insert_axis(ndarray::Axis(0));
        let fitted = Augment::fit(config.clone(), images.view()).unwrap();
        let restored = Augment::fitted(config, fitted.statistics().unwrap().clone()).unwrap();
        let (mut once, mut again) = (drawn(2, 8, 8), drawn(2, 8, 8));
        fitted.standardize(once.view_mut()).unwrap();
        restored.standardize(again.view_mut()).unwrap();
        assert_eq!(once, again);
        assert!(once.mean().unwrap().abs() < 1e-6);
        let error = restored.standardize(drawn(1, 8, 8).view_mut()).unwrap_err();
        assert!(matches!(error, Error::Channels { found: 1, .. }), "{error}");
    }

    #[test]
    fn unusable_statistics_are_refused() {
        let config = AugmentConfig { featurewise_center: true, ..AugmentConfig::identity() };
        let wrong = [
            (vec![], vec![]),
            (vec![0.0], vec![1.0, 1.0]),
            (vec![f32::NAN], vec![1.0]),
            (vec![0.0], vec![-1.0]),
        ];
        for (mean, std) in wrong {
            let result = Augment::fitted(config.clone(), Statistics { mean, std });
            assert!(matches!(result, Err(Error::Statistics(_))));
        }
    }

    #[test]
    fn brightness_of_two_channels_is_an_error_and_leaves_the_image() {
        let config = AugmentConfig { brightness_range: Some((0.5, 1.5)), ..Default::default() };
        let augment = Augment::new(config).unwrap();
        let mut image = drawn(2, 5, 5);
        assert!(augment.image(&mut RandomState::new(0), image.view_mut()).is_err());
        assert_eq!(image, drawn(2, 5, 5));
    }

    #[test]
    fn images_without_pixels_pass() {
        let config = AugmentConfig { samplewise_std_normalization: true, ..Default::default() };
        let augment = Augment::new(config).unwrap();
        for shape in [(0, 4, 4), (1, 0, 4), (1, 4, 0)] {
            augment.image(&mut RandomState::new(0), Array3::zeros(shape).view_mut()).unwrap();
        }
    }
}
