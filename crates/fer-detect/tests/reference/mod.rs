//! What the references find in the photos.

use std::fs;
use std::path::{Path, PathBuf};

use fer_detect::{Face, Rect};
use image::{RgbImage, imageops};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A face as a reference finds it.
#[derive(Deserialize)]
pub struct Expected {
    r#box: [f32; 4],
    score: f32,
    pts: [f32; 10],
}

/// How far a face may be from the reference's.
#[derive(Clone, Copy)]
pub struct Tolerance {
    /// The least overlap of the boxes, as intersection over union.
    pub overlap: f32,
    pub score: f32,
    /// Of a landmark along each axis, pixels.
    pub point: f32,
}

impl Expected {
    fn assert_is(&self, face: &Face, tolerance: Tolerance, what: &str) {
        let [x, y, right, bottom] = self.r#box;
        let bounds = Rect { x, y, width: right - x, height: bottom - y };
        let Tolerance { overlap, score, point: most } = tolerance;
        assert!(face.bounds.iou(bounds) > overlap, "{what}: {face:?}");
        assert!((face.score - self.score).abs() <= score, "{what}: {face:?}");
        for (point, at) in face.landmarks.iter().zip(self.pts.as_chunks::<2>().0) {
            assert!((point.x - at[0]).abs() < most && (point.y - at[1]).abs() < most, "{what}: {face:?}");
        }
    }
}

pub fn assert_are(found: &[Face], expected: &[Expected], tolerance: Tolerance, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: {found:?}");
    found.iter().zip(expected).for_each(|(face, expected)| expected.assert_is(face, tolerance, what));
}

/// A part of a photo, mirrored or not, darker or brighter.
#[derive(Deserialize)]
pub struct Transformed {
    pub photo: String,
    part: [u32; 4],
    mirrored: bool,
    gain: u32,
}

impl Transformed {
    pub fn picture(&self) -> RgbImage {
        let photo = photo(&self.photo);
        let [left, top, width, height] = self.part;
        let mut picture = imageops::crop_imm(&photo, left, top, width, height).to_image();
        if self.mirrored {
            imageops::flip_horizontal_in_place(&mut picture);
        }
        let value = |v: u8| (u32::from(v) * self.gain / 256).min(255) as u8;
        picture.iter_mut().for_each(|v| *v = value(*v));
        picture
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

pub fn photo(name: &str) -> RgbImage {
    image::open(path("photos").join(name)).unwrap().to_rgb8()
}

/// The contents of a JSON file in this folder.
pub fn read<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&fs::read_to_string(path(name)).unwrap()).unwrap()
}
