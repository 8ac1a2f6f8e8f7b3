//! A photo tinted where something counts.

use image::RgbImage;
use ndarray::ArrayView2;

use crate::theme::warm;

/// The most that a tint covers of what is below it.
const COVERED: f32 = 0.72;

/// Numbers over a rectangle of a photo, which may be turned.
#[derive(Clone, Copy, Debug)]
pub struct Heat<'a> {
    /// The middle of the rectangle, in the photo's pixels, from the left and from the top.
    pub center: [f32; 2],
    /// Its width and height in the photo's pixels.
    pub size: [f32; 2],
    /// How far it is turned, in degrees, clockwise as it is seen.
    pub roll: f32,
    /// Rows of numbers over the whole rectangle: 0 leaves the photo as it is, 1 tints it most.
    pub map: ArrayView2<'a, f32>,
}

/// The photo with tints from yellow to red where the maps are over 0. Between the middles of a map's cells numbers change in
/// proportion.
///
/// ```
/// let photo = image::RgbImage::from_pixel(80, 60, image::Rgb([120; 3]));
/// let map = ndarray::array![[0.0, 0.0], [0.0, 1.0]];
/// let heat = fer_plot::Heat { center: [40.0, 30.0], size: [40.0, 40.0], roll: 0.0, map: map.view() };
/// let tinted = fer_plot::heated(&photo, &[heat]);
/// assert_eq!(tinted.get_pixel(22, 12), photo.get_pixel(22, 12));
/// let [red, green, _] = tinted.get_pixel(55, 45).0;
/// assert!(red > 2 * green);
/// ```
pub fn heated(photo: &RgbImage, heats: &[Heat<'_>]) -> RgbImage {
    let mut tinted = photo.clone();
    for heat in heats.iter().filter(|heat| !heat.map.is_empty()) {
        let [width, height] = heat.size;
        let (sin, cos) = heat.roll.to_radians().sin_cos();
        let reach = width.hypot(height) / 2.0;
        // Casts of floats end at the smallest and the largest number, and make 0 of NaN.
        let along = |middle: f32, length: u32| {
            (middle - reach).floor() as u32..((middle + reach).ceil() as u32).min(length)
        };
        for y in along(heat.center[1], photo.height()) {
            for x in along(heat.center[0], photo.width()) {
                let (dx, dy) = (x as f32 + 0.5 - heat.center[0], y as f32 + 0.5 - heat.center[1]);
                let place = [(dx * cos + dy * sin) / width + 0.5, (dy * cos - dx * sin) / height + 0.5];
                if !place.iter().all(|part| (0.0..1.0).contains(part)) {
                    continue;
                }
                let part = between(heat.map, place).clamp(0.0, 1.0);
                let color = warm(f64::from(part));
                let mix = |below: u8, above: u8| {
                    let covered = COVERED * part;
                    (f32::from(below) * (1.0 - covered) + f32::from(above) * covered).round() as u8
                };
                let pixel = tinted.get_pixel_mut(x, y);
                pixel.0 = [mix(pixel[0], color.0), mix(pixel[1], color.1), mix(pixel[2], color.2)];
            }
        }
    }
    tinted
}

/// The number at a place, in parts of the map's width and height.
fn between(map: ArrayView2<'_, f32>, [x, y]: [f32; 2]) -> f32 {
    let along = |part: f32, cells: usize| {
        let place = (part * cells as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
        let first = place as usize;
        (first, (first + 1).min(cells - 1), place - first as f32)
    };
    let (left, right, of_x) = along(x, map.ncols());
    let (above, below, of_y) = along(y, map.nrows());
    let row = |row: usize| map[(row, left)] * (1.0 - of_x) + map[(row, right)] * of_x;
    row(above) * (1.0 - of_y) + row(below) * of_y
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use ndarray::array;

    use super::*;

    #[test]
    fn a_turned_rectangle_is_tinted_inside_alone() {
        let photo = RgbImage::from_pixel(60, 60, Rgb([100; 3]));
        let map = array![[1.0_f32]];
        let heat = Heat { center: [30.0, 30.0], size: [40.0, 10.0], roll: 90.0, map: map.view() };
        let tinted = heated(&photo, &[heat]);
        let is_tinted = |x, y| tinted.get_pixel(x, y) != photo.get_pixel(x, y);
        assert!(is_tinted(30, 12) && is_tinted(30, 48) && is_tinted(26, 30));
        assert!(!is_tinted(12, 30) && !is_tinted(48, 30) && !is_tinted(30, 8));
    }

    #[test]
    fn what_lies_beyond_the_photo_or_is_no_number_is_left_out() {
        let photo = RgbImage::from_pixel(8, 8, Rgb([100; 3]));
        let map = array![[1.0_f32, f32::NAN]];
        for center in [[-50.0, 4.0], [4.0, 500.0], [f32::NAN, 4.0]] {
            let heat = Heat { center, size: [10.0, 10.0], roll: 0.0, map: map.view() };
            assert_eq!(heated(&photo, &[heat]), photo);
        }
        let empty = ndarray::Array2::zeros((0, 3));
        let heat = Heat { center: [4.0, 4.0], size: [8.0, 8.0], roll: 0.0, map: empty.view() };
        assert_eq!(heated(&photo, &[heat]), photo);
    }
}
