//! CenterFace on real photos, beside what the references find there: `expected.json` with the network's own weights of 32 bits
//! at 0.35, `centerface.json` ONNX Runtime with those and with this crate's of 16 bits.

mod reference;

use std::collections::BTreeMap;

use fer_detect::{Detector, DetectorConfig, Network, Point};
use image::RgbImage;
use reference::{Expected, Tolerance, Transformed, assert_are, photo, read};
use serde::Deserialize;

/// Arithmetic in another order.
const SAME_WEIGHTS: Tolerance = Tolerance { overlap: 0.9999, score: 1e-4, point: 0.01 };

/// What 16 bits cost: `make_centerface.py` measures 0.0013 of overlap, 0.0009 of score, 0.06 pixels.
const OWN_WEIGHTS: Tolerance = Tolerance { overlap: 0.998, score: 1e-3, point: 0.1 };

#[derive(Deserialize)]
struct Photo {
    #[serde(rename = "centerface")]
    faces: Vec<Expected>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(flatten)]
    transformed: Transformed,
    faces: Vec<Expected>,
    exact: Vec<Expected>,
}

fn detector() -> Detector {
    Detector::with(DetectorConfig { network: Network::CenterFace, ..Default::default() }).unwrap()
}

#[test]
fn faces_are_the_references() {
    let photos: BTreeMap<String, Photo> = read("expected.json");
    assert_eq!(photos.len(), 5);
    let detector = detector();
    for (name, expected) in photos {
        let found = detector.detect_rgb(&photo(&name)).unwrap();
        assert_are(&found, &expected.faces, OWN_WEIGHTS, &name);
    }
}

#[test]
fn faces_of_parts_of_photos_are_onnx_runtimes() {
    let cases: Vec<Case> = read("centerface.json");
    assert_eq!(cases.len(), 60);
    let detector = detector();
    for (i, Case { transformed, faces, exact }) in cases.iter().enumerate() {
        let found = detector.detect_rgb(&transformed.picture()).unwrap();
        let what = format!("case {i}, {}", transformed.photo);
        assert_are(&found, faces, SAME_WEIGHTS, &what);
        assert_are(&found, exact, OWN_WEIGHTS, &what);
    }
}

#[test]
fn a_tilted_face_is_found_once_with_its_eyes() {
    let config = DetectorConfig { network: Network::CenterFace, tilted: true, ..Default::default() };
    let detector = Detector::with(config).unwrap();
    let [face] = detector.detect_rgb(&photo("astronaut.png")).unwrap()[..] else { panic!("one face") };
    let near = |point: Point, to: Point| (point.x - to.x).hypot(point.y - to.y) < 6.0;
    let [left, right] = face.eyes.unwrap();
    assert!(near(left, face.landmarks[0]) && near(right, face.landmarks[1]), "{face:?}");
}

#[test]
fn the_threshold_is_the_networks_own() {
    let photo = photo("astronaut.png");
    // ONNX Runtime's score of the face, some 12 pixels high here, is 0.462.
    let small = RgbImage::from_fn(64, 64, |x, y| *photo.get_pixel(8 * x, 8 * y));
    let [face] = detector().detect_rgb(&small).unwrap()[..] else { panic!("one face") };
    assert!((face.score - 0.462).abs() < 2e-3, "{face:?}");
    let config = DetectorConfig { network: Network::CenterFace, threshold: Some(0.5), ..Default::default() };
    assert!(Detector::with(config).unwrap().detect_rgb(&small).unwrap().is_empty());
}
