//! Explanations against PyTorch's hooks, on the networks that the project ships: tests/golden/grad_cam.py.

use std::error::Error;
use std::fs;

use fer::model::Classifier;
use image::{DynamicImage, GrayImage, Luma};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "crate")]
    krate: String,
    layer: String,
    label: String,
    probabilities: Vec<f32>,
    width: usize,
    height: usize,
    map: Vec<f32>,
}

fn picture() -> DynamicImage {
    GrayImage::from_fn(48, 48, |x, y| Luma([((5 * y + 3 * x + (y * x) % 17 * 4) % 256) as u8])).into()
}

fn shipped(krate: &str) -> Classifier {
    Classifier::open(format!("{}/crates/{krate}/weights", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn maps_are_those_of_pytorchs_hooks() -> Result<(), Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/grad_cam.json");
    let golden: Golden = serde_json::from_str(&fs::read_to_string(path)?)?;
    assert_eq!(golden.cases.len(), 12);
    let classifiers = ["fer-weights", "fer-weights-dcnn"].map(|krate| (krate, shipped(krate)));
    for case in golden.cases {
        let (_, classifier) = classifiers.iter().find(|(krate, _)| *krate == case.krate).unwrap();
        let explained = classifier.explainer(Some(&case.layer))?.explain(&picture(), &case.label)?;
        let name = format!("{}, {}, {}", case.krate, case.layer, case.label);
        assert_eq!((explained.map.width, explained.map.height), (case.width, case.height), "{name}");
        let largest = case.map.iter().copied().fold(0.0, f32::max);
        assert!((explained.strength - largest).abs() < 1e-4 * largest, "{name}: {}", explained.strength);
        for (found, expected) in explained.map.values.iter().zip(&case.map) {
            assert!((found - expected / largest).abs() < 1e-4, "{name}: {found}, not {}", expected / largest);
        }
        for ((_, found), expected) in explained.prediction.probabilities.iter().zip(&case.probabilities) {
            assert!((found - expected).abs() < 1e-5, "{name}: {found}, not {expected}");
        }
    }
    Ok(())
}

#[test]
fn the_last_convolution_explains_unless_another_layer_is_named() -> Result<(), Box<dyn Error>> {
    let classifier = shipped("fer-weights-dcnn");
    let explained = classifier.explain(&picture(), "sad")?;
    assert_eq!(explained, classifier.explainer(Some("conv2d_6"))?.explain(&picture(), "sad")?);
    assert_eq!(explained.prediction, classifier.predict(&picture())?);
    let error = |layer, label| match classifier.explainer(layer) {
        Ok(explainer) => explainer.explain(&picture(), label).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(error(Some("conv9"), "sad").starts_with("no layer `conv9`; there are conv2d_1, "));
    assert_eq!(error(None, "bored"), "label is bored, allowed: happy, sad, neutral");
    assert!(error(Some("dense_1"), "sad").starts_with("layer is values of [128], allowed: "));
    Ok(())
}

#[test]
fn what_is_covered_shows_what_the_answer_hung_on() -> Result<(), Box<dyn Error>> {
    let classifier = shipped("fer-weights-dcnn");
    let (picture, label) = (picture(), "happy");
    let map = classifier.occlusion(&picture, label, 12, 8)?;
    assert_eq!((map.width, map.height, map.values.len()), (6, 6, 36));
    // One of them by hand: the cell in row 1, column 2 has its middle at (12, 20).
    let of = |picture: &DynamicImage| -> Result<f32, fer::model::Error> {
        Ok(classifier.predict(picture)?.probabilities[0].1)
    };
    let mut covered = picture.to_luma8();
    let mean = covered.as_raw().iter().map(|&v| u64::from(v)).sum::<u64>() / (48 * 48);
    for y in 6..18 {
        for x in 14..26 {
            covered.put_pixel(x, y, Luma([mean as u8]));
        }
    }
    let lost = of(&picture)? - of(&covered.into())?;
    assert!((map.values[6 + 2] - lost).abs() < 1e-5, "{} and {lost}", map.values[8]);
    assert!(classifier.occlusion(&picture, label, 0, 8).is_err());
    // Cells whose middle lies beyond the edge, and squares larger than the image.
    for (size, step) in [(2, 47), (3, 40), (500, 20), (usize::MAX, usize::MAX)] {
        let map = classifier.occlusion(&picture, label, size, step)?;
        assert_eq!(map.values.len(), 48_usize.div_ceil(step).pow(2), "{size} {step}");
    }
    Ok(())
}
