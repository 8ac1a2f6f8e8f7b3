//! Pictures as networks take them, the rows of one channel before those of the next, and back.

use image::imageops::{FilterType::Triangle, resize};
use image::{DynamicImage, RgbImage};

/// A picture in so many channels, 1 or 3, brought to this width and height by a triangle filter where it has others.
pub(crate) fn planes(picture: DynamicImage, channels: usize, (width, height): (u32, u32)) -> Vec<u8> {
    let resized = (picture.width(), picture.height()) != (width, height);
    match channels {
        1 => {
            let grey = picture.into_luma8();
            let grey = if resized { resize(&grey, width, height, Triangle) } else { grey };
            grey.into_raw()
        }
        _ => {
            let rgb = picture.into_rgb8();
            let rgb = if resized { resize(&rgb, width, height, Triangle) } else { rgb };
            (0..3).flat_map(|channel| rgb.pixels().map(move |pixel| pixel[channel])).collect()
        }
    }
}

/// Red, green and blue, pixel by pixel, of three planes.
pub(crate) fn interleaved(planes: &[u8]) -> Vec<u8> {
    let size = planes.len() / 3;
    (0..size).flat_map(|i| [planes[i], planes[size + i], planes[2 * size + i]]).collect()
}

/// One plane of grey of three of colour.
pub(crate) fn grey(planes: &[u8]) -> Vec<u8> {
    // In one row, for grey does not depend on the place.
    let row = RgbImage::from_raw((planes.len() / 3) as u32, 1, interleaved(planes)).unwrap_or_default();
    DynamicImage::from(row).into_luma8().into_raw()
}
