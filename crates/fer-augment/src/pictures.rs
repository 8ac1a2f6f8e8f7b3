//! Pictures of bytes, augmented as they are.

use ndarray::ArrayViewMut3;
use rand::Rng;

use crate::{Augment, Error, Generation, Result};

impl Augment {
    /// Augments one image of bytes in place, of shape (channels, height, width), row by row: draws and applies a
    /// transform to the pixels over 255, and rounds what becomes of them, times 255, to bytes in 0..=255.
    ///
    /// ```
    /// use fer_augment::{Augment, AugmentConfig};
    /// use fer_rand::{Purpose, Stream};
    ///
    /// let augment = Augment::new(AugmentConfig::recipe())?;
    /// let mut face: Vec<u8> = (0..48 * 48).map(|i| (i % 256) as u8).collect();
    /// let stream = Stream { seed: 42, purpose: Purpose::named("augment"), epoch: 0, item: 5 };
    /// augment.bytes(&mut stream.rng(), &mut face, 1, 48, 48)?;
    /// # Ok::<(), fer_augment::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Size`] where there are not as many pixels; [`Error::NotBytes`] where the configuration rescales or
    /// standardises, or has Keras' brightness, which leave other values than bytes hold. Nothing is changed then.
    pub fn bytes(
        &self,
        rng: &mut impl Rng,
        pixels: &mut [u8],
        channels: usize,
        height: usize,
        width: usize,
    ) -> Result<()> {
        if let Some(setting) = self.beyond_bytes() {
            return Err(Error::NotBytes(setting));
        }
        let mut image: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
        let shape = [channels, height, width];
        let size = Error::Size { found: pixels.len(), shape };
        let view = ArrayViewMut3::from_shape(shape, &mut image).map_err(|_| size.clone())?;
        if view.len() != pixels.len() {
            return Err(size);
        }
        let transform = self.draw(rng, height, width);
        self.apply(&transform, view)?;
        // Half is added and the rest cut off: the cast keeps to the bounds.
        pixels.iter_mut().zip(image).for_each(|(pixel, value)| *pixel = (value * 255.0 + 0.5) as u8);
        Ok(())
    }

    /// Augments a grey picture, as [`bytes`](Self::bytes) does.
    ///
    /// ```
    /// use fer_augment::{Augment, AugmentConfig};
    /// use fer_rand::{Purpose, Stream};
    /// use image::GrayImage;
    ///
    /// let augment = Augment::new(AugmentConfig::recipe())?;
    /// let picture = GrayImage::from_fn(64, 48, |x, y| image::Luma([(x * y % 256) as u8]));
    /// let stream = Stream { seed: 42, purpose: Purpose::named("augment"), epoch: 0, item: 5 };
    /// let augmented = augment.grey(&mut stream.rng(), &picture)?;
    /// assert_eq!(augmented.dimensions(), (64, 48));
    /// # Ok::<(), fer_augment::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotBytes`], as with [`bytes`](Self::bytes).
    #[cfg(feature = "image")]
    pub fn grey(&self, rng: &mut impl Rng, picture: &image::GrayImage) -> Result<image::GrayImage> {
        let mut pixels: Vec<u8> = picture.pixels().map(|pixel| pixel.0[0]).collect();
        let (width, height) = picture.dimensions();
        self.bytes(rng, &mut pixels, 1, height as usize, width as usize)?;
        let mut augmented = image::GrayImage::new(width, height);
        augmented.pixels_mut().zip(pixels).for_each(|(pixel, value)| pixel.0 = [value]);
        Ok(augmented)
    }

    /// Augments a colour picture, all its channels alike, as [`bytes`](Self::bytes) does.
    ///
    /// ```
    /// use fer_augment::{Augment, AugmentConfig};
    /// use fer_rand::{Purpose, Stream};
    /// use image::RgbImage;
    ///
    /// let augment = Augment::new(AugmentConfig { rotation_range: 10.0, ..AugmentConfig::identity() })?;
    /// let picture = RgbImage::from_pixel(64, 48, image::Rgb([200, 150, 100]));
    /// let stream = Stream { seed: 42, purpose: Purpose::named("augment"), epoch: 0, item: 5 };
    /// assert_eq!(augment.rgb(&mut stream.rng(), &picture)?, picture);
    /// # Ok::<(), fer_augment::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotBytes`], as with [`bytes`](Self::bytes).
    #[cfg(feature = "image")]
    pub fn rgb(&self, rng: &mut impl Rng, picture: &image::RgbImage) -> Result<image::RgbImage> {
        let channel = |channel: usize| picture.pixels().map(move |pixel| pixel.0[channel]);
        let mut pixels: Vec<u8> = (0..3).flat_map(channel).collect();
        let (width, height) = picture.dimensions();
        self.bytes(rng, &mut pixels, 3, height as usize, width as usize)?;
        let mut augmented = image::RgbImage::new(width, height);
        let (red, rest) = pixels.split_at(pixels.len() / 3);
        let (green, blue) = rest.split_at(red.len());
        let colours = red.iter().zip(green).zip(blue);
        let pixels = augmented.pixels_mut().zip(colours);
        pixels.for_each(|(pixel, ((&red, &green), &blue))| pixel.0 = [red, green, blue]);
        Ok(augmented)
    }

    /// The setting that leaves values other than in 0..=1, if one does.
    fn beyond_bytes(&self) -> Option<&'static str> {
        let config = self.config();
        let settings = [
            ("rescale", config.rescale.is_some()),
            ("samplewise_center", config.samplewise_center),
            ("samplewise_std_normalization", config.samplewise_std_normalization),
            ("featurewise_center", config.featurewise_center),
            ("featurewise_std_normalization", config.featurewise_std_normalization),
            (
                "brightness_range other than of Generation::Plain",
                config.brightness_range.is_some() && config.generation != Generation::Plain,
            ),
        ];
        settings.into_iter().find(|&(_, is_set)| is_set).map(|(setting, _)| setting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AugmentConfig;
    use fer_rand::RandomState;
    use ndarray::Array3;

    #[test]
    fn the_identity_keeps_every_byte() {
        let augment = Augment::new(AugmentConfig::identity()).unwrap();
        let mut pixels: Vec<u8> = (0..=255).collect();
        augment.bytes(&mut RandomState::new(1), &mut pixels, 1, 16, 16).unwrap();
        assert!(pixels.into_iter().eq(0..=255));
    }

    #[test]
    fn bytes_are_the_images_rounded() {
        let augment = Augment::new(AugmentConfig::recipe()).unwrap();
        let mut pixels: Vec<u8> = (0..3 * 20 * 14).map(|i| (i * i % 256) as u8).collect();
        let pixel = |(c, r, k)| f32::from(pixels[(c * 20 + r) * 14 + k]) / 255.0;
        let mut image = Array3::from_shape_fn((3, 20, 14), pixel);
        augment.image(&mut RandomState::new(9), image.view_mut()).unwrap();
        augment.bytes(&mut RandomState::new(9), &mut pixels, 3, 20, 14).unwrap();
        let rounded = image.iter().map(|&pixel| (pixel * 255.0).round() as u8);
        assert!(rounded.eq(pixels));
    }

    #[test]
    fn another_number_of_pixels_is_an_error() {
        let augment = Augment::new(AugmentConfig::recipe()).unwrap();
        let sizes =
            [(1, 3, 4, 13), (1, 3, 4, 11), (0, 3, 4, 1), (usize::MAX, 3, 4, 12), (usize::MAX, 2, 1, 12)];
        for (channels, height, width, len) in sizes {
            let result = augment.bytes(&mut RandomState::new(0), &mut vec![7; len], channels, height, width);
            assert_eq!(result, Err(Error::Size { found: len, shape: [channels, height, width] }));
        }
        assert_eq!(augment.bytes(&mut RandomState::new(0), &mut [], 1, 0, 4), Ok(()));
    }

    #[test]
    fn what_bytes_cannot_hold_is_refused_and_plain_brightness_is_not() {
        let bright = AugmentConfig { brightness_range: Some((2.0, 2.0)), ..AugmentConfig::identity() };
        let centred = AugmentConfig { samplewise_center: true, ..AugmentConfig::identity() };
        for config in [bright.clone(), centred] {
            let mut pixels = [9; 12];
            let result = Augment::new(config).unwrap().bytes(&mut RandomState::new(0), &mut pixels, 1, 3, 4);
            assert!(matches!(result, Err(Error::NotBytes(_))) && pixels == [9; 12]);
        }
        let plain = Augment::new(AugmentConfig { generation: Generation::Plain, ..bright }).unwrap();
        let mut pixels = [9, 100, 200];
        plain.bytes(&mut RandomState::new(0), &mut pixels, 1, 1, 3).unwrap();
        assert_eq!(pixels, [18, 200, 255]);
    }

    #[cfg(feature = "image")]
    #[test]
    fn pictures_are_their_bytes() {
        let augment = Augment::new(AugmentConfig::recipe()).unwrap();
        let (width, height) = (14, 20);
        let colour = image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([x * y, x + 7 * y, 255 - x * x].map(|value| (value % 256) as u8))
        });
        let mut planar: Vec<u8> = (0..3).flat_map(|c| colour.pixels().map(move |pixel| pixel.0[c])).collect();
        augment.bytes(&mut RandomState::new(4), &mut planar, 3, 20, 14).unwrap();
        let found = augment.rgb(&mut RandomState::new(4), &colour).unwrap();
        assert!((0..3).flat_map(|c| found.pixels().map(move |pixel| pixel.0[c])).eq(planar));

        let grey = image::GrayImage::from_fn(width, height, |x, y| image::Luma([(x * y % 256) as u8]));
        let mut bytes = grey.as_raw().clone();
        augment.bytes(&mut RandomState::new(4), &mut bytes, 1, 20, 14).unwrap();
        assert_eq!(*augment.grey(&mut RandomState::new(4), &grey).unwrap().as_raw(), bytes);
        assert_eq!(augment.grey(&mut RandomState::new(4), &image::GrayImage::new(0, 3)).unwrap().len(), 0);
    }
}
