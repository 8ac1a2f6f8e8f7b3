//! Metrics of predicted probabilities, shape `(samples, classes)`: top-k accuracy, log loss, ROC-AUC,
//! calibration error and temperature. All sums are in `f64`.

use ndarray::ArrayView2;

use crate::curves::{Steps, reliability};
use crate::scores::{check_labels, check_probabilities, check_scores, first_maximum};
use crate::{Error, Result};

/// The class with the highest score of each row; the first of equal ones, as `numpy.argmax` takes it.
pub fn predicted_labels(scores: ArrayView2<'_, f32>) -> Result<Vec<usize>> {
    check_scores(scores, |value| !value.is_nan(), "a number")?;
    Ok(scores.rows().into_iter().map(|row| first_maximum(row.iter()).0).collect())
}

/// The part of the samples whose true class is among the `k` highest scores, in 0..=1. Of equal scores the
/// higher class number ranks first, as in scikit-learn's `top_k_accuracy_score`. 1 when `k` is at least the
/// number of classes. The scores may be probabilities or logits.
pub fn top_k_accuracy(truth: &[usize], scores: ArrayView2<'_, f32>, k: usize) -> Result<f64> {
    check_labels(truth, scores)?;
    check_scores(scores, |value| !value.is_nan(), "a number")?;
    if k == 0 {
        return Err(Error::Zero { name: "k" });
    }
    let hits = truth.iter().zip(scores.rows()).filter(|&(&label, row)| {
        let own = row[label];
        let above = |&(class, &score): &(usize, &f32)| score > own || (score == own && class > label);
        row.iter().enumerate().filter(above).count() < k
    });
    Ok(hits.count() as f64 / truth.len() as f64)
}

/// The mean of −ln(probability of the true class), in nats, at least 0: the cross-entropy. Probabilities are
/// clipped to [ε, 1 − ε], ε = 2⁻²³, as scikit-learn's `log_loss` clips `float32`.
pub fn log_loss(truth: &[usize], probabilities: ArrayView2<'_, f32>) -> Result<f64> {
    check_probabilities(truth, probabilities)?;
    let losses = truth.iter().zip(probabilities.rows()).map(|(&label, row)| {
        let clipped = row[label].clamp(f32::EPSILON, 1.0 - f32::EPSILON);
        -f64::from(clipped).ln()
    });
    Ok(losses.sum::<f64>() / truth.len() as f64)
}

/// The area under the ROC curve of each class against the rest, each in 0..=1 and 0.5 by chance.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RocAuc {
    /// One area a class; NaN for a class that has no sample, or that has every sample.
    pub classes: Vec<f64>,
    /// The plain mean of the areas; NaN when one of them is.
    pub macro_average: f64,
    /// The mean of the areas weighted by the number of samples; classes without samples do not count.
    pub weighted_average: f64,
}

/// The area under the ROC curve, one class against the rest: the probability that a sample of the class gets
/// a higher probability for it than a sample of another class, equal ones counting half. scikit-learn's
/// `roc_auc_score(multi_class="ovr")` with all classes in `labels`.
pub fn roc_auc(truth: &[usize], probabilities: ArrayView2<'_, f32>) -> Result<RocAuc> {
    check_probabilities(truth, probabilities)?;
    let area = |class| Steps::new(truth, probabilities, class).map(|steps| steps.area());
    let classes = (0..probabilities.ncols()).map(area).collect::<Result<Vec<_>>>()?;
    let mut supports = vec![0.0; classes.len()];
    for &label in truth {
        supports[label] += 1.0;
    }
    let present = classes.iter().zip(&supports).filter(|&(_, &support)| support > 0.0);
    Ok(RocAuc {
        macro_average: classes.iter().sum::<f64>() / classes.len() as f64,
        weighted_average: present.map(|(area, support)| area * support).sum::<f64>() / truth.len() as f64,
        classes,
    })
}

/// The expected calibration error, in 0..=1: how far the confidence (the highest probability) is from the
/// accuracy, averaged over bins of equal width, a bin weighing as much as it has samples. Bin `m` of `M` holds
/// the confidences in (m/M, (m + 1)/M]. Guo et al., "On Calibration of Modern Neural Networks", 2017, who use
/// 15 bins.
///
/// ```
/// # fn main() -> fer_metrics::Result<()> {
/// // Sure to 75 % and right three times of four: perfectly calibrated.
/// let probabilities = ndarray::arr2(&[[0.75, 0.25]; 4]);
/// assert_eq!(fer_metrics::calibration_error(&[0, 0, 1, 0], probabilities.view(), 15)?, 0.0);
/// # Ok(())
/// # }
/// ```
pub fn calibration_error(truth: &[usize], probabilities: ArrayView2<'_, f32>, bins: usize) -> Result<f64> {
    let bins = reliability(truth, probabilities, bins)?;
    let filled = bins.iter().filter(|bin| bin.samples > 0);
    let gaps = filled.map(|bin| (bin.accuracy - bin.confidence).abs() * bin.samples as f64);
    Ok(gaps.sum::<f64>() / truth.len() as f64)
}

/// The temperature `T` that makes these probabilities fit best: `softmax(ln(p) / T)` has the least log loss. Above 1 the
/// probabilities were too sure. Temperature scaling of Guo et al. 2017; `ln(p)` stands for the logits, from which it differs by a
/// constant a row. It is searched between 1/100 and 100.
///
/// ```
/// # fn main() -> fer_metrics::Result<()> {
/// // Sure to 90 %, right in three of four.
/// let probabilities = ndarray::arr2(&[[0.9, 0.1]; 4]);
/// let temperature = fer_metrics::temperature(&[0, 0, 1, 0], probabilities.view())?;
/// assert!((temperature - 2.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
pub fn temperature(truth: &[usize], probabilities: ArrayView2<'_, f32>) -> Result<f64> {
    check_probabilities(truth, probabilities)?;
    let logits = probabilities.mapv(|p| f64::from(p.max(f32::MIN_POSITIVE)).ln());
    // The slope of the log loss over 1/T: the mean of what the probabilities expect of the logit less what the truth has. It grows
    // with 1/T.
    let slope = |inverse: f64| {
        let rows = logits.rows().into_iter().zip(truth).map(|(row, &label)| {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights = row.mapv(|z| ((z - most) * inverse).exp());
            weights.dot(&row) / weights.sum() - row[label]
        });
        rows.sum::<f64>()
    };
    let (mut low, mut high) = (0.01_f64.ln(), 100.0_f64.ln());
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if slope(middle.exp()) < 0.0 { low = middle } else { high = middle }
    }
    Ok((-high).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn inputs_that_do_not_fit_are_errors() {
        let good = array![[0.5_f32, 0.5], [1.0, 0.0]];
        for metric in [log_loss, |truth: &[usize], p: ArrayView2<'_, f32>| roc_auc(truth, p).map(|_| 0.0)] {
            assert_eq!(metric(&[0], good.view()), Err(Error::Lengths { labels: 1, predictions: 2 }));
            assert_eq!(metric(&[0, 2], good.view()), Err(Error::Label { row: 1, label: 2, classes: 2 }));
            assert_eq!(metric(&[], Array2::zeros((0, 2)).view()), Err(Error::Empty));
            let sum = array![[0.5_f32, 0.5], [0.75, 0.0]];
            assert_eq!(metric(&[0, 1], sum.view()), Err(Error::Sum { row: 1, sum: 0.75 }));
            for value in [f32::NAN, -0.1, 1.5, f32::INFINITY] {
                let error = metric(&[0, 1], array![[value, 0.5], [1.0, 0.0]].view()).unwrap_err();
                assert!(matches!(error, Error::Score { row: 0, class: 0, .. }), "{error}");
            }
        }
        assert_eq!(top_k_accuracy(&[0, 0], good.view(), 0), Err(Error::Zero { name: "k" }));
        assert_eq!(calibration_error(&[0, 0], good.view(), 0), Err(Error::Zero { name: "bins" }));
        assert!(predicted_labels(array![[0.1, f32::NAN]].view()).is_err());
    }

    #[test]
    fn the_first_of_equal_scores_is_predicted() {
        let labels = predicted_labels(array![[0.2, 0.4, 0.4], [f32::NEG_INFINITY, 3.0, -1.0]].view());
        assert_eq!(labels.unwrap(), [1, 1]);
    }

    #[test]
    fn areas_of_absent_classes_are_nan_and_weigh_nothing() {
        let probabilities = array![[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1]];
        let auc = roc_auc(&[0, 1, 1], probabilities.view()).unwrap();
        assert_eq!(auc.classes[..2], [1.0, 1.0]);
        assert!(auc.classes[2].is_nan() && auc.macro_average.is_nan());
        assert_eq!(auc.weighted_average, 1.0);
        assert!(roc_auc(&[0, 0, 0], probabilities.view()).unwrap().classes[0].is_nan());
    }

    #[test]
    fn a_certain_wrong_answer_has_a_finite_loss() {
        let loss = log_loss(&[1], array![[1.0, 0.0]].view()).unwrap();
        assert_eq!(loss, -f64::from(f32::EPSILON).ln());
    }
}
