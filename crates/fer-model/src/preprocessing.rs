//! From any image to the input of the network.

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage};

/// Converts an image to `width` × `height` grey values.
///
/// 1. Colour becomes grey by the luma of ITU-R BT.709 (0.2126 R + 0.7152 G + 0.0722 B); 16-bit and float values
///    become 8-bit; transparency is dropped.
/// 2. Another size is resampled to the whole output by a triangle filter (bilinear, averaging when it shrinks);
///    the aspect ratio is not kept. A grey image of the right size passes unchanged.
///
/// The network expects a face that fills the image, as FER2013's do.
pub fn to_grey(image: &DynamicImage, width: u32, height: u32) -> GrayImage {
    let grey = image.to_luma8();
    if grey.dimensions() == (width, height) {
        return grey;
    }
    imageops::resize(&grey, width, height, FilterType::Triangle)
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
