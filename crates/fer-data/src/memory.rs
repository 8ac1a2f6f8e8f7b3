//! Data already in memory: arrays of pixels, and decoded images of any kind.

use std::path::Path;

use image::{DynamicImage, RgbImage, imageops};
use ndarray::{Array3, Array4};

use crate::{Dataset, EMOTIONS, Error, Result, Source, Usage, Vocabulary, size};

impl Dataset {
    /// Faces in memory: images (row, height, width) of 0 to 255, with labels and usages where known. Labels of 0 to 6 are
    /// FER2013's emotions, larger ones have numbers for names; [`named`](Self::named) gives others.
    ///
    /// ```
    /// let images = ndarray::Array3::zeros((2, 48, 48));
    /// let data = fer_data::Dataset::new(images, Some(vec![3, 6]), None)?;
    /// assert_eq!(data.label(1), Some(6));
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for images that are not square, or not one label and usage an image.
    pub fn new(images: Array3<u8>, labels: Option<Vec<u8>>, usages: Option<Vec<Usage>>) -> Result<Self> {
        let (n, height, width) = images.dim();
        if height != width || height == 0 {
            return Err(invalid("images", format!("{height}×{width}"), "square images"));
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
        let source = Source::memory("memory", [&pixels, labels.as_deref().unwrap_or_default()]);
        let largest = labels.iter().flatten().max().map_or(0, |label| usize::from(*label));
        let vocabulary = match largest < EMOTIONS.len() {
            true => Vocabulary::fer2013(),
            false => Vocabulary::numbered(largest + 1),
        };
        Ok(Self::of(pixels, height, labels.map(|labels| (labels, vocabulary)), usages, source))
    }

    /// Colour faces in memory: images (row, height, width, 3) of red, green and blue, 0 to 255, the rest as
    /// [`new`](Self::new). They are converted to grey as [`DynamicImage::to_luma8`] does, which is logged once.
    ///
    /// ```
    /// let images = ndarray::Array4::from_elem((2, 48, 48, 3), 90);
    /// let data = fer_data::Dataset::from_colour(images, Some(vec![3, 6]), None)?;
    /// assert_eq!(data.image(1)[(0, 0)], 90);
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for another number of channels, and as [`new`](Self::new).
    pub fn from_colour(
        images: Array4<u8>,
        labels: Option<Vec<u8>>,
        usages: Option<Vec<Usage>>,
    ) -> Result<Self> {
        let (n, height, width, channels) = images.dim();
        if channels != 3 {
            let found = format!("{n}×{height}×{width}×{channels}");
            return Err(invalid("images", found, "images × height × width × 3: red, green, blue"));
        }
        let side = |length| {
            u32::try_from(length).map_err(|_| invalid("images", length, "at most 2³² − 1 pixels wide"))
        };
        let (rows, columns) = (side(height)?, side(width)?);
        let mut pixels = Vec::with_capacity(n * height * width);
        for image in images.outer_iter() {
            // As many values as the shape has, so there always is an image.
            let image =
                RgbImage::from_raw(columns, rows, image.iter().copied().collect()).unwrap_or_default();
            pixels.extend(DynamicImage::from(image).into_luma8().into_raw());
        }
        let grey = Array3::from_shape_vec((n, height, width), pixels).unwrap_or_default();
        let data = Self::new(grey, labels, usages)?;
        log_conversion("memory", n, n);
        Ok(data)
    }

    /// Decoded images of any colour type with their labels, as in [`new`](Self::new). Colour is converted to grey as
    /// [`DynamicImage::to_luma8`] does, which is logged once, with the number of images.
    ///
    /// With a `side`, images of any size are resized to `side`×`side` by a triangle filter, whatever their
    /// proportions: as a model resizes what it is shown. Without one they must be square and of one size.
    ///
    /// ```
    /// use image::DynamicImage;
    /// let images = [(DynamicImage::new_rgb8(100, 80), 3), (DynamicImage::new_luma8(48, 48), 6)];
    /// let data = fer_data::Dataset::from_images(images, Some(48))?;
    /// assert_eq!((data.len(), data.side(), data.labels()), (2, 48, Some(&[3, 6][..])));
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for a side of 0, an image that is empty, not square or not as large as the first;
    /// [`Error::Missing`] for no image; [`Error::TooLarge`] for more than 8 GiB.
    pub fn from_images(
        images: impl IntoIterator<Item = (DynamicImage, u8)>,
        side: Option<usize>,
    ) -> Result<Self> {
        let wanted = match side {
            Some(side) => match u32::try_from(side) {
                Ok(side) if side > 0 => Some(side),
                _ => return Err(invalid("side", side, "1 to 2³² − 1 pixels")),
            },
            None => None,
        };
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        let (mut first, mut coloured) = (None, 0);
        for (i, (image, label)) in images.into_iter().enumerate() {
            coloured += usize::from(image.color().has_color());
            let grey = image.into_luma8();
            let (width, height) = grey.dimensions();
            let wrong =
                |allowed| Err(invalid("images", format!("{width}×{height} at position {i}"), allowed));
            size::bytes(Path::new("memory"), i + 1, wanted.unwrap_or(width))?;
            let grey = match (wanted, *first.get_or_insert(width)) {
                _ if width == 0 || height == 0 => return wrong("at least one pixel".to_owned()),
                (Some(side), _) if (width, height) == (side, side) => grey,
                (Some(side), _) => imageops::resize(&grey, side, side, imageops::FilterType::Triangle),
                (None, _) if width != height => return wrong("square images, or any with a side".to_owned()),
                (None, first) if width != first => {
                    return wrong(format!("{first}×{first}, as the first image, or any with a side"));
                }
                (None, _) => grey,
            };
            pixels.extend(grey.into_raw());
            labels.push(label);
        }
        let Some(first) = first else {
            return Err(Error::Missing { data: "memory".to_owned(), missing: "no image".to_owned() });
        };
        let side = wanted.unwrap_or(first) as usize;
        // Whole images of this side are all that was pushed, so the shape always fits.
        let grey = Array3::from_shape_vec((labels.len(), side, side), pixels).unwrap_or_default();
        let data = Self::new(grey, Some(labels), None)?;
        log_conversion("memory", coloured, data.len());
        Ok(data)
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
