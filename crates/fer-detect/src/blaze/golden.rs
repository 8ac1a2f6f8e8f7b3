//! The network beside TensorFlow Lite's, on parts of photos: `tests/make_blazeface.py` writes what that makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fer_nn::Mode;
use image::{Rgb, RgbImage};
use serde::Deserialize;

use super::{BlazeFace, LEVELS, SIDE, input};

/// Arithmetic in another order; both compute in f32 with the same weights of 16 bits.
const RELATIVE: f32 = 1e-3;

/// Of an eye along each axis, pixels of the part.
const OFF: f32 = 0.1;

#[derive(Deserialize)]
struct Case {
    photo: String,
    /// Pixel (x, y) is the photo's at `(a·x + b·y + c) >> 16`, `(d·x + e·y + f) >> 16`; black outside.
    part: [i64; 6],
    /// Of the surest face, in pixels of the part.
    eyes: Option<[[f32; 2]; 2]>,
    /// Of all anchors, before the logistic function.
    scores: Vec<f32>,
    /// The values of the surest anchors.
    anchors: BTreeMap<usize, [f32; 16]>,
}

impl Case {
    fn picture(&self) -> RgbImage {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let photo = image::open(tests.join("photos").join(&self.photo)).unwrap().to_rgb8();
        let [a, b, c, d, e, f] = self.part;
        RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let (x, y) = (i64::from(x), i64::from(y));
            let at = [(a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16].map(u32::try_from);
            match at {
                [Ok(column), Ok(row)] => photo.get_pixel_checked(column, row).copied().unwrap_or(Rgb([0; 3])),
                _ => Rgb([0; 3]),
            }
        })
    }
}

fn assert_near(value: f32, expected: f32, what: &str) {
    assert!(
        (value - expected).abs() <= RELATIVE * expected.abs().max(1.0),
        "{what}: {value}, not {expected}"
    );
}

/// All scores, and the 16 values of each anchor, in TensorFlow Lite's order: by place, then by the anchors there.
fn raw(network: &BlazeFace, picture: &RgbImage) -> (Vec<f32>, Vec<Vec<f32>>) {
    let outputs = network.0.forward_all(&input(picture).unwrap(), Mode::Eval).unwrap();
    let (mut scores, mut values) = (Vec::new(), Vec::new());
    for (rows, heads) in LEVELS.into_iter().zip(outputs.chunks(2)) {
        let by_place = |i: usize| heads[i].reshape(((), rows * rows)).unwrap().t().unwrap();
        scores.extend(by_place(0).flatten_all().unwrap().to_vec1::<f32>().unwrap());
        values.extend(by_place(1).reshape(((), 16)).unwrap().to_vec2::<f32>().unwrap());
    }
    (scores, values)
}

#[test]
fn outputs_and_eyes_are_tensorflow_lites() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/blazeface.json");
    let cases: Vec<Case> = serde_json::from_str(&fs::read_to_string(cases).unwrap()).unwrap();
    assert!(cases.len() == 8 && cases.iter().any(|case| case.eyes.is_none()));
    let network = BlazeFace::new().unwrap();
    for (i, case) in cases.iter().enumerate() {
        let picture = case.picture();
        let (scores, values) = raw(&network, &picture);
        assert_eq!((scores.len(), case.scores.len()), (896, 896));
        for (anchor, (&score, &expected)) in scores.iter().zip(&case.scores).enumerate() {
            assert_near(score, expected, &format!("case {i}, anchor {anchor}"));
        }
        for (&anchor, expected) in &case.anchors {
            for (k, (&value, &expected)) in values[anchor].iter().zip(expected).enumerate() {
                assert_near(value, expected, &format!("case {i}, anchor {anchor}, value {k}"));
            }
        }
        let found = network.find(&picture).unwrap();
        assert_eq!(found.is_empty(), case.eyes.is_none(), "case {i}");
        for ((_, eyes), expected) in found.iter().zip(&case.eyes) {
            for (eye, [x, y]) in eyes.iter().zip(expected) {
                let (dx, dy) = (eye.x * SIDE as f32 - x, eye.y * SIDE as f32 - y);
                assert!(dx.abs() < OFF && dy.abs() < OFF, "case {i}: {eyes:?}");
            }
        }
    }
}
