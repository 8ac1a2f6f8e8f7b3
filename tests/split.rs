//! The split against scikit-learn's, row for row; `tests/golden/split.py` made the golden file.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::{env, error::Error};

use fer_data::{Dataset, Split, Stratify};
use ndarray::Array3;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    fer2013: Vec<Real>,
}

#[derive(Deserialize)]
struct Case {
    /// One digit a row.
    labels: String,
    test_size: f64,
    seed: u32,
    stratify: Stratify,
    train: Vec<u32>,
    valid: Vec<u32>,
}

/// The notebook's split of FER2013: size, first rows and checksum of training and of validation.
#[derive(Deserialize)]
struct Real {
    stratify: Stratify,
    sizes: [usize; 2],
    first: [Vec<u32>; 2],
    /// Of the rows in order: 31·sum + row for each, modulo 2³².
    sum: [u32; 2],
}

fn golden() -> Result<Golden, Box<dyn Error>> {
    let json = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/split.json"))?;
    Ok(serde_json::from_str(&json)?)
}

#[test]
fn splits_match_scikit_learn() -> Result<(), Box<dyn Error>> {
    let cases = golden()?.cases;
    assert!(cases.len() > 30);
    for case in cases {
        let labels: Vec<u32> = case.labels.bytes().map(|digit| u32::from(digit - b'0')).collect();
        let data = Dataset::new(Array3::zeros((labels.len(), 1, 1)), Some(labels), None)?;
        let split = Split::stratified(case.test_size).seed(case.seed).stratify(case.stratify);
        let subsets = data.split(split)?;
        assert_eq!(subsets.train.rows(), case.train, "{split:?}");
        assert_eq!(subsets.valid.rows(), case.valid, "{split:?}");
    }
    Ok(())
}

#[test]
fn the_notebooks_split_of_fer2013_matches_scikit_learn() -> Result<(), Box<dyn Error>> {
    let Some(path) = env::var_os("FER2013_CSV") else {
        println!("skipped: FER2013_CSV is not set");
        return Ok(());
    };
    let data = Dataset::open(path)?.select(&[3, 4, 6])?;
    for real in golden()?.fer2013 {
        let subsets = data.split(Split::stratified(0.1).seed(42).stratify(real.stratify))?;
        for (side, data) in [&subsets.train, &subsets.valid].into_iter().enumerate() {
            assert_eq!(data.len(), real.sizes[side]);
            assert_eq!(data.rows()[..4], real.first[side]);
            let sum = data.rows().iter().fold(0, |sum: u32, row| sum.wrapping_mul(31).wrapping_add(*row));
            assert_eq!(sum, real.sum[side]);
        }
        let supports: Vec<usize> = subsets.valid.class_counts().iter().map(|class| class.rows).collect();
        assert_eq!(supports, [899, 608, 620]);
    }
    Ok(())
}
