//! What a model's probabilities are worth, drawn.

use fer_plot::Figure;

use crate::{Error, Evaluation};

/// Equal-width bins of the reliability diagram.
const BINS: usize = 10;

/// ROC curves, precision over recall, and reliability, by the names of their files. Where one class alone occurs there are no
/// ROC curves: there is nothing to tell it from.
pub(crate) fn of_probabilities(evaluation: &Evaluation) -> Result<Vec<(&'static str, Figure)>, Error> {
    let (truth, probabilities) = (&evaluation.truth, evaluation.probabilities.view());
    // A class that does not occur has no curve.
    let classes: Vec<usize> = (0..evaluation.names.len()).filter(|class| truth.contains(class)).collect();
    let roc = classes.iter().map(|&class| fer_metrics::roc_curve(truth, probabilities, class));
    let roc = roc.collect::<Result<Vec<_>, _>>()?;
    let precision =
        classes.iter().map(|&class| fer_metrics::precision_recall_curve(truth, probabilities, class));
    let precision = precision.collect::<Result<Vec<_>, _>>()?;
    let names = || classes.iter().map(|&class| evaluation.names[class].as_str());
    let mut figures = Vec::new();
    if classes.len() > 1 {
        let curves: Vec<_> = names().zip(&roc).collect();
        figures.push(("roc_curves", fer_plot::roc_curves(&curves)?));
    }
    let curves: Vec<_> = names().zip(&precision).collect();
    figures.push(("precision_recall_curves", fer_plot::precision_recall_curves(&curves)?));
    let bins = fer_metrics::reliability(truth, probabilities, BINS)?;
    figures.push(("reliability", fer_plot::reliability_diagram(&[("model", &bins)])?));
    Ok(figures)
}
