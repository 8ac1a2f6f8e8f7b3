//! Parts and sizes of a picture.

use candle_core::{Error, Result};
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::{Rgb, RgbImage};

use crate::geometry::{Point, Scale};

/// The picture with its longer side at most `limit`, and the factors back to its own pixels.
pub(crate) fn limited(picture: &RgbImage, limit: u32) -> Result<(Option<RgbImage>, Scale)> {
    let (width, height) = picture.dimensions();
    let longer = width.max(height);
    if longer <= limit {
        return Ok((None, Scale { x: 1.0, y: 1.0 }));
    }
    let factor = f64::from(limit) / f64::from(longer);
    let side = |side: u32| (f64::from(side) * factor).round().max(1.0) as u32;
    let (new_width, new_height) = (side(width), side(height));
    let scale = Scale { x: width as f32 / new_width as f32, y: height as f32 / new_height as f32 };
    Ok((Some(resized(picture, new_width, new_height)?), scale))
}

/// A picture in another size, neither of them empty: linear, over as many pixels as become one (Pillow's `BILINEAR`).
pub(crate) fn resized(picture: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    let mut out = RgbImage::new(width, height);
    let linear = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let from = TypedImageRef::<U8x3>::from_buffer(picture.width(), picture.height(), picture.as_raw());
    let to = TypedImage::<U8x3>::from_buffer(width, height, &mut out);
    let (from, mut to) = (from.map_err(Error::wrap)?, to.map_err(Error::wrap)?);
    Resizer::new().resize_typed(&from, &mut to, &linear).map_err(Error::wrap)?;
    Ok(out)
}

/// The square of `side` pixels whose upper left corner is at (`left`, `top`), black where it lies outside.
pub(crate) fn square(picture: &RgbImage, left: i64, top: i64, side: u32) -> RgbImage {
    let mut part = RgbImage::new(side, side);
    // What of 0..side lies in the picture, along one axis.
    let inside = |first: i64, of_picture: u32| {
        let within = |at: i64| at.clamp(0, i64::from(side)) as usize;
        within(-first)..within(i64::from(of_picture) - first).max(within(-first))
    };
    let (rows, columns) = (inside(top, picture.height()), inside(left, picture.width()));
    if columns.is_empty() {
        return part;
    }
    let (of_row, of_part) = (3 * picture.width() as usize, 3 * side as usize);
    for y in rows {
        let from = (y as i64 + top) as usize * of_row + 3 * (columns.start as i64 + left) as usize;
        let to = y * of_part + 3 * columns.start;
        let bytes = 3 * columns.len();
        (&mut *part)[to..to + bytes].copy_from_slice(&picture.as_raw()[from..from + bytes]);
    }
    part
}

/// The picture turned clockwise about its middle, on black, in a frame that holds all of it; and the way back: a point of the
/// turned picture in the pixels of this one.
pub(crate) fn turned(picture: &RgbImage, degrees: f32) -> (RgbImage, impl Fn(Point) -> Point + use<>) {
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let (sin, cos) = degrees.to_radians().sin_cos();
    let frame = |a: f32, b: f32| (a * cos.abs() + b * sin.abs()).ceil();
    let (wide, high) = (frame(width, height), frame(height, width));
    let back = move |point: Point| {
        let p = Point { x: point.x - wide / 2.0, y: point.y - high / 2.0 }.turned(-degrees);
        Point { x: p.x + width / 2.0, y: p.y + height / 2.0 }
    };
    let turned = RgbImage::from_fn(wide as u32, high as u32, |x, y| {
        let at = back(Point { x: x as f32 + 0.5, y: y as f32 + 0.5 });
        let inside = (0.0..width).contains(&at.x) && (0.0..height).contains(&at.y);
        if inside { Rgb(bilinear(picture, at).map(|v| v.round() as u8)) } else { Rgb([0; 3]) }
    });
    (turned, back)
}

/// The colour at a point; outside the picture, which has a pixel at least, that of its edge.
#[inline]
pub(crate) fn bilinear(picture: &RgbImage, at: Point) -> [f32; 3] {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (x, y) = ((at.x - 0.5).clamp(0.0, (width - 1) as f32), (at.y - 0.5).clamp(0.0, (height - 1) as f32));
    // Neither is below 0 or above 2³¹.
    let (left, top) = (x as i32 as usize, y as i32 as usize);
    let (fx, fy) = (x - left as i32 as f32, y - top as i32 as f32);
    let pixels = picture.as_raw().as_chunks::<3>().0;
    let at = top * width + left;
    let (right, below) = (usize::from(left + 1 < width), if top + 1 < height { width } else { 0 });
    let (a, b, c, d) = (pixels[at], pixels[at + right], pixels[at + below], pixels[at + below + right]);
    std::array::from_fn(|k| {
        let [a, b, c, d] = [a[k], b[k], c[k], d[k]].map(f32::from);
        let (upper, lower) = (a + (b - a) * fx, c + (d - c) * fx);
        upper + (lower - upper) * fy
    })
}

#[cfg(test)]
mod tests {
    use image::imageops;

    use super::*;

    #[test]
    fn a_square_over_the_edge_is_black_there() {
        let picture = RgbImage::from_pixel(3, 2, Rgb([9, 9, 9]));
        let part = square(&picture, -1, 0, 3);
        assert_eq!(part.get_pixel(0, 0).0, [0; 3]);
        assert_eq!(part.get_pixel(1, 1).0, [9; 3]);
        assert_eq!(part.get_pixel(1, 2).0, [0; 3]);
    }

    #[test]
    fn any_square_is_what_lies_under_it() {
        let picture = RgbImage::from_fn(7, 5, |x, y| Rgb([x as u8 + 1, y as u8 + 1, 9]));
        for side in [1, 3, 10] {
            for (left, top) in (-12..9).flat_map(|left| (-12..9).map(move |top| (left, top))) {
                let mut expected = RgbImage::new(side, side);
                imageops::replace(&mut expected, &picture, -left, -top);
                assert_eq!(square(&picture, left, top, side), expected, "{side} from ({left}, {top})");
            }
        }
    }

    #[test]
    fn points_of_a_turned_picture_are_found_again() {
        let mut picture = RgbImage::new(40, 30);
        picture.put_pixel(30, 8, Rgb([255; 3]));
        let (turned, back) = turned(&picture, 35.0);
        let (x, y, _) = turned.enumerate_pixels().max_by_key(|(_, _, pixel)| pixel.0[0]).unwrap();
        let at = back(Point { x: x as f32 + 0.5, y: y as f32 + 0.5 });
        assert!((at.x - 30.5).abs() < 0.8 && (at.y - 8.5).abs() < 0.8, "{at:?}");
    }

    #[test]
    fn a_smaller_picture_is_what_the_triangle_gives() {
        let picture = RgbImage::from_fn(93, 41, |x, y| Rgb([x * 2, y * 6, (x * y) % 256].map(|v| v as u8)));
        for (width, height) in [(93, 41), (31, 20), (64, 17), (1, 1), (120, 50)] {
            let found = resized(&picture, width, height).unwrap();
            let expected = imageops::resize(&picture, width, height, imageops::FilterType::Triangle);
            let off = found.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(off <= Some(1), "{width}×{height}: off by {off:?}");
        }
    }

    #[test]
    fn only_large_pictures_shrink() {
        assert!(limited(&RgbImage::new(640, 100), 640).unwrap().0.is_none());
        let (small, scale) = limited(&RgbImage::new(1000, 333), 640).unwrap();
        assert_eq!(small.unwrap().dimensions(), (640, 213));
        assert!((scale.x - 1.5625).abs() < 1e-6 && (scale.y - 333.0 / 213.0).abs() < 1e-6);
    }
}
