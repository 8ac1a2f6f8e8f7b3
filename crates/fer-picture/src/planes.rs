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
/// let grey = image::GrayImage::from_fn(9, 5, |x, y| image::Luma([(25 * x + 3 * y) as u8]));
/// let coloured = image::DynamicImage::from(grey.clone()).into_rgb8().into();
/// let small = |picture| fer_picture::planes(picture, 3, (4, 3), FilterType::Triangle);
/// assert_eq!(small(&grey.into()), small(&coloured));
/// ```
pub fn planes(
    picture: &DynamicImage,
    channels: usize,
    (width, height): (u32, u32),
    filter: FilterType,
) -> Vec<u8> {
    let resized = (picture.width(), picture.height()) != (width, height);
    // A grey picture is resized as such: in colour it would be three times as large.
    if channels == 1 || !picture.color().has_color() {
        let grey = match picture.as_luma8() {
            Some(grey) if resized => imageops::resize(grey, width, height, filter),
            _ if resized => imageops::resize(&picture.to_luma8(), width, height, filter),
            _ => picture.to_luma8(),
        };
        return grey.into_raw().repeat(channels);
    }
    let rgb = match picture.as_rgb8() {
        Some(rgb) if resized => imageops::resize(rgb, width, height, filter),
        _ if resized => imageops::resize(&picture.to_rgb8(), width, height, filter),
        _ => picture.to_rgb8(),
    };
    (0..3).flat_map(|channel| rgb.pixels().map(move |pixel| pixel[channel])).collect()
}
