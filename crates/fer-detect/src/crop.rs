//! The part of a picture that a classifier sees: the face where FER2013's faces lie.

use image::{GrayImage, Luma, Rgb, RgbImage};

use crate::detector::Face;
use crate::geometry::Point;
use crate::picture::bilinear;

/// The most samples of a pixel along an axis: a face of 48 pixels cut from a square of 12,288.
const MOST_SAMPLES: f32 = 256.0;

/// Where a face lies in the pictures of a data set, as parts of the picture's side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Framing {
    /// The middle of the detector's box.
    pub center: Point,
    /// The side of a square of the box's area.
    pub size: f32,
    /// The middle between the eyes.
    pub eyes: Point,
}

impl Framing {
    /// FER2013's: medians over the faces found in its training pictures. The example `crop_study` measures them.
    pub const FER2013: Self =
        Self { center: Point { x: 0.496, y: 0.514 }, size: 0.908, eyes: Point { x: 0.494, y: 0.395 } };
}

/// A square of a picture, in the picture's pixels; it may be turned and may reach over the edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Square {
    /// Its middle.
    pub center: Point,
    /// The length of its side.
    pub side: f32,
    /// How far it is turned, in degrees, clockwise as it is seen.
    pub roll: f32,
}

impl Face {
    /// The square in which the face lies as in `framing`, turned with the face where the eyes were seen.
    ///
    /// Its size is the box's, which varies less with the head's pose than the distance of the eyes does; its place is the mean of
    /// what box and eyes say.
    pub fn square(&self, framing: Framing) -> Square {
        let side = (self.bounds.width * self.bounds.height).sqrt() / framing.size;
        let roll = self.roll().unwrap_or(0.0);
        let middle = |point: Point, place: Point| {
            let to = Point { x: (0.5 - place.x) * side, y: (0.5 - place.y) * side }.turned(roll);
            Point { x: point.x + to.x, y: point.y + to.y }
        };
        let by_box = middle(self.bounds.center(), framing.center);
        let center = match self.eyes {
            Some([left, right]) => by_box.midway(middle(left.midway(right), framing.eyes)),
            None => by_box,
        };
        Square { center, side, roll }
    }

    /// The face as FER2013 shows one: upright, in a grey square of `pixels`×`pixels`.
    ///
    /// Grey is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), as in OpenCV, with which FER2013 was made (Goodfellow et al. 2013,
    /// "Challenges in Representation Learning").
    pub fn crop(&self, picture: &RgbImage, pixels: u32) -> GrayImage {
        let colour = self.square(Framing::FER2013).cut(picture, pixels);
        GrayImage::from_fn(pixels, pixels, |x, y| {
            let [r, g, b] = colour.get_pixel(x, y).0.map(f32::from);
            Luma([(0.299 * r + 0.587 * g + 0.114 * b).round() as u8])
        })
    }
}

impl Square {
    /// The square cut out and turned upright, as `pixels`×`pixels`: each pixel is the mean of what it covers, of at most 256×256
    /// samples; outside the picture its edge goes on. An empty picture, or a square whose numbers are not finite, gives black.
    pub fn cut(&self, picture: &RgbImage, pixels: u32) -> RgbImage {
        let Self { center, side, roll } = *self;
        if picture.is_empty() || ![center.x, center.y, side, roll].iter().all(|v| v.is_finite()) {
            return RgbImage::new(pixels, pixels);
        }
        let step = side / pixels as f32;
        // So many samples along each axis of a pixel that none lies further than a pixel of the picture from the next.
        let samples = step.ceil().clamp(1.0, MOST_SAMPLES) as u32;
        let share = 1.0 / (samples * samples) as f32;
        // From the middle to each sample, along an axis.
        let along: Vec<f32> = (0..pixels)
            .flat_map(|pixel| (0..samples).map(move |sample| (pixel, (sample as f32 + 0.5) / samples as f32)))
            .map(|(pixel, within)| (pixel as f32 + within) * step - side / 2.0)
            .collect();
        let (sin, cos) = roll.to_radians().sin_cos();
        let columns: Vec<Point> =
            along.iter().map(|x| Point { x: center.x + x * cos, y: center.y + x * sin }).collect();
        let of_pixel = |pixel: u32| (pixel * samples) as usize..((pixel + 1) * samples) as usize;
        RgbImage::from_fn(pixels, pixels, |column, row| {
            let mut sum = [0.0; 3];
            for y in &along[of_pixel(row)] {
                for from in &columns[of_pixel(column)] {
                    let colour = bilinear(picture, Point { x: from.x - y * sin, y: from.y + y * cos });
                    sum.iter_mut().zip(colour).for_each(|(sum, v)| *sum += v);
                }
            }
            Rgb(sum.map(|sum| (sum * share).round() as u8))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rect;

    /// A face that lies exactly as in FER2013 in the square of this middle, side and roll.
    fn face(square: Square, eyes: bool) -> Face {
        let Square { center, side, roll } = square;
        let place = |p: Point| {
            let to = Point { x: (p.x - 0.5) * side, y: (p.y - 0.5) * side }.turned(roll);
            Point { x: center.x + to.x, y: center.y + to.y }
        };
        let Framing { center: middle, size, eyes: between } = Framing::FER2013;
        let eye = |x: f32| place(Point { x: between.x + x, y: between.y });
        Face {
            bounds: Rect::around(place(middle), size * side * 0.9, size * side / 0.9),
            score: 1.0,
            landmarks: [Point::default(); 5],
            eyes: eyes.then(|| [eye(-0.18), eye(0.18)]),
        }
    }

    #[test]
    fn a_face_that_lies_as_fer2013s_gives_back_its_square() {
        for (roll, eyes) in [(0.0, false), (0.0, true), (25.0, true), (-140.0, true)] {
            let expected = Square { center: Point { x: 40.0, y: 70.0 }, side: 96.0, roll };
            let found = face(expected, eyes).square(Framing::FER2013);
            let off = (found.center.x - 40.0).hypot(found.center.y - 70.0);
            assert!(off < 0.01 && (found.side - 96.0).abs() < 0.01, "{found:?}");
            assert!((found.roll - roll).abs() < 0.01, "{found:?}");
        }
    }

    #[test]
    fn any_square_comes_to_an_end() {
        let picture = RgbImage::from_pixel(8, 8, Rgb([9, 9, 9]));
        let cut = |side, roll| Square { center: Point { x: 4.0, y: 4.0 }, side, roll }.cut(&picture, 2);
        for (side, roll) in [(f32::NAN, 0.0), (f32::INFINITY, 0.0), (8.0, f32::NAN)] {
            assert_eq!(cut(side, roll), RgbImage::new(2, 2), "{side} {roll}");
        }
        for side in [0.0, -8.0, 1e30] {
            assert_eq!(cut(side, 0.0), RgbImage::from_pixel(2, 2, Rgb([9, 9, 9])), "{side}");
        }
    }

    #[test]
    fn pixels_are_means_and_the_edge_goes_on() {
        let picture = RgbImage::from_fn(8, 8, |x, y| Rgb([(x * 10) as u8, (y * 10) as u8, 7]));
        let square = |x, y, side| Square { center: Point { x, y }, side, roll: 0.0 };
        assert_eq!(square(4.0, 4.0, 8.0).cut(&picture, 8), picture);
        let halved = square(4.0, 4.0, 8.0).cut(&picture, 4);
        assert_eq!(halved.get_pixel(1, 2).0, [25, 45, 7]);
        assert_eq!(square(-20.0, 4.0, 8.0).cut(&picture, 1).get_pixel(0, 0).0, [0, 35, 7]);
        let turned = Square { roll: 90.0, ..square(4.0, 4.0, 8.0) }.cut(&picture, 8);
        assert_eq!(
            turned.get_pixel(0, 0),
            picture.get_pixel(7, 0),
            "its upper left is the picture's upper right"
        );
    }
}
