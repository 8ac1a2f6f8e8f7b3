//! Keras' own files, read; and what we write, read by Keras.
//!
//! The golden files are made by `tests/golden/keras_h5.py`.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{Device, Tensor};
use fer_model::keras::{self, Imported, Structure};
use fer_model::{Architecture, BlockConfig, Classifier, DcnnConfig};
use fer_nn::MovingVariance;
use serde::Deserialize;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

#[derive(Deserialize)]
struct Golden {
    height: usize,
    width: usize,
    classes: usize,
    blocks: Vec<(usize, usize, f32)>,
    generation: u32,
    probabilities: Vec<Vec<f32>>,
}

impl Golden {
    fn dcnn(&self) -> DcnnConfig {
        let block = |&(filters, kernel, dropout): &_| BlockConfig { filters, kernel, dropout };
        DcnnConfig {
            classes: self.classes,
            height: self.height,
            width: self.width,
            dense_units: 8,
            moving_variance: match self.generation {
                2 => MovingVariance::Keras2,
                _ => MovingVariance::Biased,
            },
            blocks: self.blocks.iter().map(block).collect(),
            ..Default::default()
        }
    }

    /// The images of the script.
    fn pixels(&self) -> Vec<u8> {
        let pixel =
            |n: usize, r: usize, c: usize| ((37 * r + 11 * c * c + r * c * (n + 1) + 53 * n) % 256) as u8;
        let image = |n| (0..self.height).flat_map(move |r| (0..self.width).map(move |c| pixel(n, r, c)));
        (0..10).flat_map(image).collect()
    }
}

fn golden() -> BTreeMap<String, Golden> {
    let text = std::fs::read_to_string(format!("{GOLDEN}/keras_h5.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn file(name: &str) -> PathBuf {
    Path::new(GOLDEN).join("keras_h5").join(name)
}

/// The notebook's network of a file, of weights alone too.
fn import(bytes: Vec<u8>, golden: &Golden) -> Result<Imported, fer_model::Error> {
    match keras::import_bytes(bytes.clone(), None) {
        Err(fer_model::Error::KerasWeightsAlone { .. }) => {
            keras::import_bytes(bytes, Some(&Structure::Notebook { side: golden.height }))
        }
        imported => imported,
    }
}

fn import_file(name: &str, golden: &Golden) -> Imported {
    import(std::fs::read(file(name)).unwrap(), golden).unwrap()
}

fn dcnn(imported: &Imported) -> DcnnConfig {
    match &imported.architecture {
        Architecture::Dcnn(dcnn) => dcnn.clone(),
        other => panic!("{other:?}"),
    }
}

fn probabilities(imported: &Imported, pixels: &[u8]) -> Vec<Vec<f32>> {
    let labels = (0..imported.classes).map(|class| format!("class_{class}")).collect();
    let config = imported.config(labels).unwrap();
    let classifier = Classifier::new(config, &imported.tensors, &Device::Cpu).unwrap();
    classifier.predict_pixels(pixels).unwrap()
}

fn values(tensors: &HashMap<String, Tensor>) -> BTreeMap<&str, Vec<f32>> {
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    tensors.iter().map(|(name, tensor)| (name.as_str(), values(tensor))).collect()
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b).flat_map(|(a, b)| a.iter().zip(b));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn every_keras_layout_gives_the_same_probabilities() {
    let golden = golden();
    assert_eq!(golden.len(), 8);
    for (name, golden) in golden {
        let imported = import_file(&name, &golden);
        assert_eq!(dcnn(&imported), golden.dcnn(), "{name}");
        let found = probabilities(&imported, &golden.pixels());
        let difference = largest_difference(&found, &golden.probabilities);
        assert!(difference < 1e-5, "{name}: {difference}");
    }
}

#[test]
fn an_exported_model_is_imported_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["keras2_model.h5", "keras3_other.h5"] {
        let original = keras::import(file(name)).unwrap();
        let path = dir.path().join(name);
        keras::export(&path, &dcnn(&original), &original.tensors).unwrap();
        let again = keras::import(&path).unwrap();
        let expected = DcnnConfig { moving_variance: MovingVariance::Keras2, ..dcnn(&original) };
        assert_eq!(dcnn(&again), expected);
        assert_eq!(values(&again.tensors), values(&original.tensors));
    }
}

/// `KERAS_PYTHON` is a Python that has the packages of `tests/golden/keras_h5.py`.
#[test]
fn both_kerases_load_an_exported_model_and_its_weights() {
    let Ok(python) = std::env::var("KERAS_PYTHON") else {
        println!("skipped: KERAS_PYTHON is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for (name, golden) in golden() {
        let imported = import_file(&name, &golden);
        let path = dir.path().join("exported.h5");
        keras::export(&path, &dcnn(&imported), &imported.tensors).unwrap();
        let output = Command::new(&python)
            .arg(format!("{GOLDEN}/keras_h5.py"))
            .arg(&path)
            .args([golden.height.to_string(), golden.width.to_string()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answers: Vec<Vec<Vec<f32>>> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answers.len(), 4);
        for found in answers {
            let difference = largest_difference(&found, &golden.probabilities);
            assert!(difference < 1e-5, "{name}: {difference}");
        }
    }
}

#[test]
fn a_truncated_file_never_gives_other_weights() {
    for (name, golden) in &golden() {
        let bytes = std::fs::read(file(name)).unwrap();
        let whole = import_file(name, golden);
        for length in (0..bytes.len()).step_by(997) {
            if let Ok(found) = import(bytes[..length].to_vec(), golden) {
                assert_eq!(values(&found.tensors), values(&whole.tensors), "{name}: {length} bytes");
            }
        }
    }
}
