//! Data already in memory: arrays of pixels, and decoded images of any kind.

use std::path::Path;

use image::{DynamicImage, imageops::FilterType};
use ndarray::{Array3, Array4, Axis};

use crate::{
    Dataset, EMOTIONS, Error, Result, Shape, Size, Source, Usage, Vocabulary, size, vocabulary::MAX_LABELS,
};

impl Dataset {
    /// Grey faces in memory: images (row, height, width) of 0 to 255, with labels and usages where known. Labels of 0 to 6
    /// are FER2013's emotions, larger ones have numbers for names; [`named`](Self::named) gives others.
    ///
    /// ```
    /// let images = ndarray::Array3::zeros((2, 48, 48));
    /// let data = fer_data::Dataset::new(images, Some(vec![3, 6]), None)?;
    /// assert_eq!(data.label(1), Some(6));
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for images without pixels, a label over 255, or not one label and usage an image.
    pub fn new(images: Array3<u8>, labels: Option<Vec<u32>>, usages: Option<Vec<Usage>>) -> Result<Self> {
        Self::from_planes(images.insert_axis(Axis(1)), labels, usages)
    }

    /// Colour faces in memory: images (row, height, width, 3) of red, green and blue, 0 to 255, the rest as
    /// [`new`](Self::new). [`in_grey`](Self::in_grey) makes grey of them.
    ///
    /// ```
    /// let images = ndarray::Array4::from_elem((2, 40, 48, 3), 90);
    /// let data = fer_data::Dataset::from_colour(images, Some(vec![3, 6]), None)?;
    /// assert_eq!(data.shape().to_string(), "48×40 colour");
    /// assert_eq!(data.in_grey().image(1)[(0, 0, 0)], 90);
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for another number of channels, and as [`new`](Self::new).
    pub fn from_colour(
        images: Array4<u8>,
        labels: Option<Vec<u32>>,
        usages: Option<Vec<Usage>>,
    ) -> Result<Self> {
        let (n, height, width, channels) = images.dim();
        if channels != 3 {
            let found = format!("{n}×{height}×{width}×{channels}");
            return Err(invalid("images", found, "images × height × width × 3: red, green, blue"));
        }
        Self::from_planes(images.permuted_axes([0, 3, 1, 2]), labels, usages)
    }

    /// Images (row, channel, height, width).
    fn from_planes(images: Array4<u8>, labels: Option<Vec<u32>>, usages: Option<Vec<Usage>>) -> Result<Self> {
        let (n, channels, height, width) = images.dim();
        let side = |length| (1..=u32::MAX as usize).contains(&length);
        if !side(height) || !side(width) {
            return Err(invalid("images", format!("{height}×{width}"), "1 to 2³² − 1 pixels each way"));
        }
        for (name, found) in
            [("labels", labels.as_ref().map(Vec::len)), ("usages", usages.as_ref().map(Vec::len))]
        {
            if let Some(found) = found.filter(|found| *found != n) {
                return Err(invalid(name, format!("{found} long"), format!("{n}, one an image")));
            }
        }
        let pixels: Vec<u8> = match images.is_standard_layout() {
            true => images.into_raw_vec_and_offset().0,
            false => images.iter().copied().collect(),
        };
        let source = Source::memory("memory", &pixels, labels.as_deref().unwrap_or_default());
        let largest = labels.iter().flatten().max().map_or(0, |label| *label as usize);
        if largest >= MAX_LABELS {
            return Err(invalid("labels", largest, format!("0 to {}", MAX_LABELS - 1)));
        }
        let vocabulary = match largest < EMOTIONS.len() {
            true => Vocabulary::fer2013(),
            false => Vocabulary::numbered(largest + 1),
        };
        let shape = Shape { channels, height, width };
        Ok(Self::of(pixels, shape, labels.map(|labels| (labels, vocabulary)), usages, source))
    }

    /// Decoded images of any colour type with their labels, as in [`new`](Self::new). Colour is converted to grey as
    /// [`DynamicImage::to_luma8`] does, which is logged once, with the number of images.
    ///
    /// With a `size`, images of any size and proportions are resized to it by a triangle filter, as a model resizes what
    /// it is shown. Without one they must be of one size.
    ///
    /// ```
    /// use image::DynamicImage;
    /// let images = [(DynamicImage::new_rgb8(100, 80), 3), (DynamicImage::new_luma8(48, 48), 6)];
    /// let data = fer_data::Dataset::from_images(images, Some("48".parse()?))?;
    /// assert_eq!(data.shape().to_string(), "48×48 grey");
    /// assert_eq!(data.labels(), Some(&[3, 6][..]));
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image that is empty or not as large as the first; [`Error::Missing`] for no image;
    /// [`Error::TooLarge`] for more than 8 GiB.
    pub fn from_images(
        images: impl IntoIterator<Item = (DynamicImage, u32)>,
        size: Option<Size>,
    ) -> Result<Self> {
        let (data, coloured) = Self::from_pictures(images, size, 1)?;
        log_conversion("memory", coloured, data.len());
        Ok(data)
    }

    /// As [`from_images`](Self::from_images), in colour: grey gets equal red, green and blue.
    ///
    /// # Errors
    /// As [`from_images`](Self::from_images).
    pub fn from_colour_images(
        images: impl IntoIterator<Item = (DynamicImage, u32)>,
        size: Option<Size>,
    ) -> Result<Self> {
        Ok(Self::from_pictures(images, size, 3)?.0)
    }

    /// The images in so many channels, and how many of them had colour.
    fn from_pictures(
        images: impl IntoIterator<Item = (DynamicImage, u32)>,
        size: Option<Size>,
        channels: usize,
    ) -> Result<(Self, usize)> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        let (mut first, mut coloured) = (size.map(|size| (size.width.get(), size.height.get())), 0);
        for (i, (image, label)) in images.into_iter().enumerate() {
            coloured += usize::from(image.color().has_color());
            let found = (image.width(), image.height());
            let wrong = |allowed: String| {
                let found = format!("{}×{} at position {i}", found.0, found.1);
                Err(invalid("images", found, allowed))
            };
            if found.0 == 0 || found.1 == 0 {
                return wrong("at least one pixel".to_owned());
            }
            let (width, height) = *first.get_or_insert(found);
            if size.is_none() && found != (width, height) {
                return wrong(format!("{width}×{height}, as the first image, or any with a size"));
            }
            let shape = Shape { channels, height: height as usize, width: width as usize };
            size::bytes(Path::new("memory"), i + 1, shape)?;
            pixels.extend(fer_picture::planes(&image, channels, (width, height), FilterType::Triangle));
            labels.push(label);
        }
        let Some((width, height)) = first.filter(|_| !labels.is_empty()) else {
            return Err(Error::Missing { data: "memory".to_owned(), missing: "no image".to_owned() });
        };
        // Whole images of this size are all that was pushed, so the shape always fits.
        let dims = (labels.len(), channels, height as usize, width as usize);
        let images = Array4::from_shape_vec(dims, pixels).unwrap_or_default();
        Ok((Self::from_planes(images, Some(labels), None)?, coloured))
    }
}

/// Says, once for all images of a source, that some had colour.
pub(crate) fn log_conversion(source: &str, coloured: usize, images: usize) {
    if coloured > 0 {
        tracing::info!("{source}: {coloured} of {images} images in colour, converted to grey");
    }
}

fn invalid(name: &'static str, found: impl ToString, allowed: impl Into<String>) -> Error {
    Error::Invalid { name, found: found.to_string(), allowed: allowed.into() }
}
