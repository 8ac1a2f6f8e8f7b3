//! Scores as they come in, `(samples, classes)`: what they must be, and the largest of a row.

use ndarray::ArrayView2;

use crate::{Error, Result};

/// The largest deviation from 1 of a row's sum: probabilities rounded to four digits still pass.
const SUM_TOLERANCE: f64 = 1e-3;

pub(crate) fn first_maximum<'a>(row: impl Iterator<Item = &'a f32>) -> (usize, f32) {
    row.enumerate().fold(
        (0, f32::NEG_INFINITY),
        |best, (class, &score)| if score > best.1 { (class, score) } else { best },
    )
}

pub(crate) fn check_labels(truth: &[usize], scores: ArrayView2<'_, f32>) -> Result<()> {
    let (rows, classes) = scores.dim();
    if truth.len() != rows {
        return Err(Error::Lengths { labels: truth.len(), predictions: rows });
    }
    if truth.is_empty() {
        return Err(Error::Empty);
    }
    match truth.iter().position(|&label| label >= classes) {
        Some(row) => Err(Error::Label { row, label: truth[row], classes }),
        None => Ok(()),
    }
}

pub(crate) fn check_scores(
    scores: ArrayView2<'_, f32>,
    ok: impl Fn(f32) -> bool,
    allowed: &'static str,
) -> Result<()> {
    match scores.indexed_iter().find(|&(_, &value)| !ok(value)) {
        Some(((row, class), &value)) => Err(Error::Score { row, class, value, allowed }),
        None => Ok(()),
    }
}

pub(crate) fn check_probabilities(truth: &[usize], probabilities: ArrayView2<'_, f32>) -> Result<()> {
    check_labels(truth, probabilities)?;
    check_scores(probabilities, |value| (0.0..=1.0).contains(&value), "a probability in 0..=1")?;
    for (row, values) in probabilities.rows().into_iter().enumerate() {
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(Error::Sum { row, sum });
        }
    }
    Ok(())
}
