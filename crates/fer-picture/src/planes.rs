//! Pictures as networks take them.

use image::DynamicImage;
use image::imageops::{self, FilterType};

/// The values of a picture, the rows of one channel before those of the next: one channel of grey, as
/// [`DynamicImage::to_luma8`] makes it, where `channels` is 1, else red, green and blue. A picture of another size is brought to
/// this width and height by the filter, whatever its proportions.
///
/// ```
/// use image::imageops::FilterType;
/// let picture = image::RgbImage::from_pixel(2, 1, image::Rgb([10, 20, 30])).into();
/// assert_eq!(fer_picture::planes(&picture, 3, (2, 1), FilterType::Triangle), [10, 10, 20, 20, 30, 30]);
/// assert_eq!(fer_picture::planes(&picture, 1, (1, 3), FilterType::Triangle), [19, 19, 19]);
/// ```
pub fn planes(
    picture: &DynamicImage,
    channels: usize,
    (width, height): (u32, u32),
    filter: FilterType,
) -> Vec<u8> {
    let resized = (picture.width(), picture.height()) != (width, height);
    if channels == 1 {
        let grey = picture.to_luma8();
        let grey = if resized { imageops::resize(&grey, width, height, filter) } else { grey };
        return grey.into_raw();
    }
    let rgb = picture.to_rgb8();
    let rgb = if resized { imageops::resize(&rgb, width, height, filter) } else { rgb };
    (0..3).flat_map(|channel| rgb.pixels().map(move |pixel| pixel[channel])).collect()
}
