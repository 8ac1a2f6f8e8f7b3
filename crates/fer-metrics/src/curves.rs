//! Curves of predicted probabilities: ROC, precision over recall, reliability.

use ndarray::ArrayView2;
use serde::Serialize;

use crate::scores::{check_labels, check_probabilities, check_scores, first_maximum};
use crate::{Error, Result};

/// The ROC curve of a class against the rest: at each threshold what part of the others is taken for it, and what part of
/// its own is found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RocCurve {
    /// Rising from 0 to 1; NaN where every sample is of the class.
    pub false_positive_rate: Vec<f64>,
    /// Rising from 0 to 1; NaN where no sample is of the class.
    pub true_positive_rate: Vec<f64>,
    /// The least score that counts, falling; infinite at the first point, where nothing does.
    pub thresholds: Vec<f32>,
    /// The area under the curve, 0..=1 and 0.5 by chance; NaN where a rate is.
    pub area: f64,
}

/// The ROC curve of `class`, with a point a different score: scikit-learn's `roc_curve(drop_intermediate=False)`.
///
/// ```
/// # fn main() -> fer_metrics::Result<()> {
/// let probabilities = ndarray::arr2(&[[0.1, 0.9], [0.6, 0.4], [0.7, 0.3], [0.8, 0.2]]);
/// let curve = fer_metrics::roc_curve(&[1, 0, 1, 0], probabilities.view(), 1)?;
/// assert_eq!(curve.true_positive_rate, [0.0, 0.5, 0.5, 1.0, 1.0]);
/// assert_eq!(curve.false_positive_rate, [0.0, 0.0, 0.5, 0.5, 1.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When there is no sample, not one label a row, a label or class beyond the columns, or a score that is NaN.
pub fn roc_curve(truth: &[usize], scores: ArrayView2<'_, f32>, class: usize) -> Result<RocCurve> {
    let steps = Steps::new(truth, scores, class)?;
    let (positives, negatives) = steps.totals();
    let part = |count: u64, of: u64| count as f64 / of as f64;
    let points = || std::iter::once(&(f32::INFINITY, 0, 0)).chain(&steps.0);
    Ok(RocCurve {
        false_positive_rate: points().map(|&(_, _, taken)| part(taken, negatives)).collect(),
        true_positive_rate: points().map(|&(_, found, _)| part(found, positives)).collect(),
        thresholds: points().map(|&(threshold, ..)| threshold).collect(),
        area: steps.area(),
    })
}

/// Precision over recall of a class: at each threshold what part of those taken for it is of it, and what part of its own is
/// found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PrecisionRecallCurve {
    /// One more than there are thresholds: the last is 1.
    pub precision: Vec<f64>,
    /// Falling to 0, one more than there are thresholds; 1 all along where no sample is of the class.
    pub recall: Vec<f64>,
    /// The least score that counts, rising.
    pub thresholds: Vec<f32>,
}

/// Precision over recall of `class`, with a point a different score: scikit-learn's `precision_recall_curve`.
///
/// # Errors
/// As [`roc_curve`].
pub fn precision_recall_curve(
    truth: &[usize],
    scores: ArrayView2<'_, f32>,
    class: usize,
) -> Result<PrecisionRecallCurve> {
    let steps = Steps::new(truth, scores, class)?;
    let (positives, _) = steps.totals();
    let mut curve = PrecisionRecallCurve { precision: vec![1.0], recall: vec![0.0], thresholds: Vec::new() };
    for &(threshold, found, taken) in &steps.0 {
        curve.thresholds.push(threshold);
        curve.precision.push(found as f64 / (found + taken) as f64);
        curve.recall.push(if positives == 0 { 1.0 } else { found as f64 / positives as f64 });
    }
    curve.precision.reverse();
    curve.recall.reverse();
    curve.thresholds.reverse();
    Ok(curve)
}

/// A threshold, from the highest, with how many samples of the class and of others reach it.
pub(crate) struct Steps(Vec<(f32, u64, u64)>);

impl Steps {
    pub(crate) fn new(truth: &[usize], scores: ArrayView2<'_, f32>, class: usize) -> Result<Self> {
        check_labels(truth, scores)?;
        check_scores(scores, |value| !value.is_nan(), "a number")?;
        if class >= scores.ncols() {
            return Err(Error::Label { row: 0, label: class, classes: scores.ncols() });
        }
        let mut ranked: Vec<(f32, bool)> =
            scores.column(class).iter().zip(truth).map(|(&score, &label)| (score, label == class)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut found, mut taken) = (0, 0);
        let steps = ranked.chunk_by(|a, b| a.0 == b.0).map(|ties| {
            let own = ties.iter().filter(|(_, is_own)| *is_own).count() as u64;
            found += own;
            taken += ties.len() as u64 - own;
            (ties[0].0, found, taken)
        });
        Ok(Self(steps.collect()))
    }

    /// The area under the ROC curve: trapezoids of whole counts, and so exact.
    pub(crate) fn area(&self) -> f64 {
        let (mut before, mut twice) = ((0, 0), 0);
        for &(_, found, taken) in &self.0 {
            twice += (taken - before.1) * (before.0 + found);
            before = (found, taken);
        }
        let (positives, negatives) = self.totals();
        twice as f64 / 2.0 / (positives as f64 * negatives as f64)
    }

    /// How many samples are of the class, and how many are not.
    fn totals(&self) -> (u64, u64) {
        self.0.last().map_or((0, 0), |&(_, found, taken)| (found, taken))
    }
}

/// The samples whose confidence, the highest probability, is in one bin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Their mean confidence, 0..=1; NaN without a sample.
    pub confidence: f64,
    /// The part of them that is right, 0..=1; NaN without a sample.
    pub accuracy: f64,
    /// How many they are.
    pub samples: usize,
}

/// How often answers of each confidence are right, in bins of equal width: what a reliability diagram shows and
/// [`calibration_error`](crate::calibration_error) sums up.
///
/// ```
/// # fn main() -> fer_metrics::Result<()> {
/// let probabilities = ndarray::arr2(&[[0.75, 0.25]; 4]);
/// let bins = fer_metrics::reliability(&[0, 0, 1, 0], probabilities.view(), 10)?;
/// assert_eq!((bins[7].confidence, bins[7].accuracy, bins[7].samples), (0.75, 0.75, 4));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When there is no sample, not one label a row, a label beyond the columns, what is no probability, or no bin.
pub fn reliability(
    truth: &[usize],
    probabilities: ArrayView2<'_, f32>,
    bins: usize,
) -> Result<Vec<ReliabilityBin>> {
    check_probabilities(truth, probabilities)?;
    if bins == 0 {
        return Err(Error::Zero { name: "bins" });
    }
    let edges: Vec<f64> = (1..bins).map(|edge| edge as f64 / bins as f64).collect();
    let mut sums = vec![(0.0, 0.0, 0); bins];
    for (&label, row) in truth.iter().zip(probabilities.rows()) {
        let (class, confidence) = first_maximum(row.iter());
        let confidence = f64::from(confidence);
        let sum = &mut sums[edges.partition_point(|&edge| edge < confidence)];
        *sum = (sum.0 + confidence, sum.1 + if class == label { 1.0 } else { 0.0 }, sum.2 + 1);
    }
    let mean = |(confidence, right, samples): (f64, f64, usize)| ReliabilityBin {
        confidence: confidence / samples as f64,
        accuracy: right / samples as f64,
        samples,
    };
    Ok(sums.into_iter().map(mean).collect())
}
