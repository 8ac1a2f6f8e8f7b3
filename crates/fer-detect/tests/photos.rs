//! The detector on real photos, beside what the reference finds there (`expected.json`: libfacedetection's YuNet-s at 0.7).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fer_detect::{Detector, DetectorConfig, Face, Point, Rect};
use image::{RgbImage, imageops};
use serde::Deserialize;

#[derive(Deserialize)]
struct Photo {
    #[serde(rename = "yunet-s")]
    faces: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    r#box: [f32; 4],
    score: f32,
    pts: [f32; 10],
}

impl Expected {
    fn assert_is(&self, face: &Face, what: &str) {
        let [x, y, right, bottom] = self.r#box;
        let bounds = Rect { x, y, width: right - x, height: bottom - y };
        assert!(face.bounds.iou(bounds) > 0.99, "{what}: {face:?}");
        assert!((face.score - self.score).abs() <= 1e-3, "{what}: {face:?}");
        for (point, at) in face.landmarks.iter().zip(self.pts.as_chunks::<2>().0) {
            assert!((point.x - at[0]).abs() < 0.1 && (point.y - at[1]).abs() < 0.1, "{what}: {face:?}");
        }
    }
}

/// A part of a photo, mirrored or not, darker or brighter.
#[derive(Deserialize)]
struct Transformed {
    photo: String,
    part: [u32; 4],
    mirrored: bool,
    gain: u32,
    faces: Vec<Expected>,
}

impl Transformed {
    fn picture(&self) -> RgbImage {
        let photo = image::open(path("photos").join(&self.photo)).unwrap().to_rgb8();
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

fn faces(detector: &Detector, photo: &str) -> Vec<Face> {
    detector.detect(&image::open(path("photos").join(photo)).unwrap()).unwrap()
}

#[test]
fn faces_are_the_references() {
    let photos: BTreeMap<String, Photo> =
        serde_json::from_str(&fs::read_to_string(path("expected.json")).unwrap()).unwrap();
    assert_eq!(photos.len(), 5);
    let detector = Detector::new().unwrap();
    for (name, photo) in photos {
        let found = faces(&detector, &name);
        assert_eq!(found.len(), photo.faces.len(), "{name}: {found:?}");
        found.iter().zip(&photo.faces).for_each(|(face, expected)| expected.assert_is(face, &name));
    }
}

#[test]
fn faces_of_parts_of_photos_are_onnx_runtimes() {
    let cases: Vec<Transformed> =
        serde_json::from_str(&fs::read_to_string(path("transformed.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 60);
    let detector = Detector::with(DetectorConfig { eyes: false, ..Default::default() }).unwrap();
    for (i, case) in cases.iter().enumerate() {
        let found = detector.detect_rgb(&case.picture()).unwrap();
        let what = format!("case {i}, {}", case.photo);
        assert_eq!(found.len(), case.faces.len(), "{what}: {found:?}");
        found.iter().zip(&case.faces).for_each(|(face, expected)| expected.assert_is(face, &what));
    }
}

#[test]
fn eyes_are_near_the_landmarks() {
    let detector = Detector::new().unwrap();
    let [face] = faces(&detector, "astronaut.png")[..] else { panic!("one face") };
    let [left, right] = face.eyes.unwrap();
    let near = |point: Point, to: Point| (point.x - to.x).hypot(point.y - to.y) < 6.0;
    assert!(near(left, face.landmarks[0]) && near(right, face.landmarks[1]), "{face:?}");
    let roll = face.roll().unwrap();
    assert!(roll.abs() < 8.0, "{roll}");
}

#[test]
fn a_face_that_is_too_small_is_left_out() {
    let detector = Detector::with(DetectorConfig { least_face: 100.0, ..Default::default() }).unwrap();
    assert!(faces(&detector, "astronaut.png").is_empty());
}
