//! Faces put into a photo.

use std::path::Path;

use fer::detect::{Face, Point};
use fer::rand::{RandomState, next_double};
use image::{GrayImage, Rgb, RgbImage, imageops};

use crate::Failure;

/// The photo's size: a usual camera's.
const SIZE: (u32, u32) = (640, 480);

pub fn open(path: &Path) -> Result<RgbImage, Failure> {
    let photo = image::open(path).map_err(|e| format!("{}: {e}", path.display()))?.to_rgb8();
    Ok(imageops::resize(&photo, SIZE.0, SIZE.1, imageops::FilterType::Triangle))
}

/// Where a face's picture lies in the photo.
pub struct Pasted {
    center: Point,
    side: f32,
    /// Sine and cosine of how far it is turned, clockwise.
    turn: (f32, f32),
}

impl Pasted {
    /// The place of the `index`-th face: anywhere in the photo where all of it is seen.
    pub fn new(photo: &RgbImage, index: usize, side: f32, angle: f32) -> Self {
        let turn = angle.to_radians().sin_cos();
        let half = side / 2.0 * (turn.0.abs() + turn.1.abs());
        let mut rng = RandomState::new(index as u32);
        let mut place = |length: u32| half + next_double(&mut rng) as f32 * (length as f32 - 2.0 * half);
        let center = Point { x: place(photo.width()), y: place(photo.height()) };
        Self { center, side, turn }
    }

    /// The photo with the face's picture in it, enlarged bilinearly.
    pub fn photo(&self, photo: &RgbImage, face: &GrayImage) -> RgbImage {
        let (sin, cos) = self.turn;
        let last = (face.width() - 1) as f32;
        RgbImage::from_fn(photo.width(), photo.height(), |x, y| {
            let (dx, dy) = (x as f32 + 0.5 - self.center.x, y as f32 + 0.5 - self.center.y);
            let (u, v) = ((dx * cos + dy * sin) / self.side + 0.5, (dy * cos - dx * sin) / self.side + 0.5);
            if !((0.0..1.0).contains(&u) && (0.0..1.0).contains(&v)) {
                return *photo.get_pixel(x, y);
            }
            let at = |part: f32| (part * face.width() as f32 - 0.5).clamp(0.0, last);
            let grey = imageops::interpolate_bilinear(face, at(u), at(v)).map_or(0, |pixel| pixel.0[0]);
            Rgb([grey; 3])
        })
    }

    /// Whether this is the face: its middle lies in the middle half of the picture.
    pub fn is(&self, found: &Face) -> bool {
        let center = found.bounds.center();
        (center.x - self.center.x).hypot(center.y - self.center.y) < self.side / 4.0
    }
}
