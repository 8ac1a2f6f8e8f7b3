//! Metrics of logits against targets that are shares: what a trainer measures over the rows of an epoch.
//!
//! A row's class is the one with its largest share, its prediction the one with its largest logit, the first of equal
//! ones. Without rows, or with a NaN, a metric is NaN.

use ndarray::ArrayView2;

use crate::{ConfusionMatrix, predicted_labels};

/// The plain mean of the F1 scores of the classes that are a row's class or its prediction, in 0..=1: scikit-learn's
/// `f1_score(average="macro")`. `logits` and `targets` are `(rows, classes)`.
///
/// ```
/// let logits = ndarray::arr2(&[[2.0_f32, 1.0, 0.0], [0.0, 3.0, 1.0], [0.5, 0.1, 0.2]]);
/// let targets = ndarray::arr2(&[[0.6_f32, 0.4, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]);
/// assert!((fer_metrics::macro_f1(logits.view(), targets.view()) - 2.0 / 3.0).abs() < 1e-12);
/// ```
pub fn macro_f1(logits: ArrayView2<'_, f32>, targets: ArrayView2<'_, f32>) -> f64 {
    mean_of_classes(logits, targets, |hits, predicted, support| {
        (predicted + support > 0).then(|| 2.0 * hits as f64 / (predicted + support) as f64)
    })
}

/// The plain mean of the recalls of the classes that occur, in 0..=1: scikit-learn's `balanced_accuracy_score`. `logits`
/// and `targets` are `(rows, classes)`.
pub fn balanced_accuracy(logits: ArrayView2<'_, f32>, targets: ArrayView2<'_, f32>) -> f64 {
    mean_of_classes(logits, targets, |hits, _, support| (support > 0).then(|| hits as f64 / support as f64))
}

/// The mean of what `score` makes of each class' hits, predictions and rows.
fn mean_of_classes(
    logits: ArrayView2<'_, f32>,
    targets: ArrayView2<'_, f32>,
    score: impl Fn(u64, u64, u64) -> Option<f64>,
) -> f64 {
    let matrix = predicted_labels(targets)
        .and_then(|truth| ConfusionMatrix::new(&truth, &predicted_labels(logits)?, logits.ncols()));
    let Ok(matrix) = matrix else { return f64::NAN };
    let counts = matrix.counts();
    let of =
        |class: usize| score(counts[(class, class)], counts.column(class).sum(), counts.row(class).sum());
    let scores: Vec<f64> = (0..matrix.classes()).filter_map(of).collect();
    scores.iter().sum::<f64>() / scores.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn means_are_those_of_the_report() {
        let logits =
            array![[9.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.5, 0.0], [0.0, 0.1, 0.2, 0.0], [0.3, 0.1, 0.2, 0.0]];
        let targets =
            array![[1.0, 0.0, 0.0, 0.0], [0.0, 0.6, 0.4, 0.0], [0.0, 0.5, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0]];
        let matrix = ConfusionMatrix::new(&[0, 1, 1, 1], &[0, 1, 2, 0], 4).unwrap();
        let expected = matrix.report().macro_average.f1;
        assert!((macro_f1(logits.view(), targets.view()) - expected).abs() < 1e-15);
        let recall = (1.0 + 1.0 / 3.0) / 2.0;
        assert!((balanced_accuracy(logits.view(), targets.view()) - recall).abs() < 1e-15);
    }

    #[test]
    fn what_cannot_be_measured_is_nan() {
        let none = Array2::<f32>::zeros((0, 3));
        assert!(macro_f1(none.view(), none.view()).is_nan());
        let nan = array![[f32::NAN, 0.0]];
        assert!(balanced_accuracy(nan.view(), array![[1.0, 0.0]].view()).is_nan());
    }
}
