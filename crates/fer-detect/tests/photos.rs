//! The detector on real photos, beside what the reference finds there (`expected.json`: libfacedetection's YuNet-s at 0.7).

mod reference;

use std::collections::BTreeMap;

use fer_detect::{Detector, DetectorConfig, Face, Point};
use reference::{Expected, Tolerance, Transformed, assert_are, photo, read};
use serde::Deserialize;

const TOLERANCE: Tolerance = Tolerance { overlap: 0.99, score: 1e-3, point: 0.1 };

#[derive(Deserialize)]
struct Photo {
    #[serde(rename = "yunet-s")]
    faces: Vec<Expected>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(flatten)]
    transformed: Transformed,
    faces: Vec<Expected>,
}

fn faces(detector: &Detector, name: &str) -> Vec<Face> {
    detector.detect_rgb(&photo(name)).unwrap()
}

#[test]
fn faces_are_the_references() {
    let photos: BTreeMap<String, Photo> = read("expected.json");
    assert_eq!(photos.len(), 5);
    let detector = Detector::new().unwrap();
    for (name, photo) in photos {
        assert_are(&faces(&detector, &name), &photo.faces, TOLERANCE, &name);
    }
}

#[test]
fn faces_of_parts_of_photos_are_onnx_runtimes() {
    let cases: Vec<Case> = read("transformed.json");
    assert_eq!(cases.len(), 60);
    let detector = Detector::with(DetectorConfig { eyes: false, ..Default::default() }).unwrap();
    for (i, Case { transformed, faces }) in cases.iter().enumerate() {
        let found = detector.detect_rgb(&transformed.picture()).unwrap();
        assert_are(&found, faces, TOLERANCE, &format!("case {i}, {}", transformed.photo));
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
