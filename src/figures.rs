//! What a model's probabilities are worth, drawn.

use fer_plot::Figure;

use crate::{Evaluation, Result};

/// Equal-width bins of the reliability diagram.
const BINS: usize = 10;

/// What a model's probabilities are worth.
pub(crate) struct ProbabilityFigures {
    /// None where one class alone occurs: there is nothing to tell it from.
    pub roc_curves: Option<Figure>,
    pub precision_recall_curves: Figure,
    pub reliability: Figure,
}

pub(crate) fn of_probabilities(evaluation: &Evaluation) -> Result<ProbabilityFigures> {
    let (truth, probabilities) = (&evaluation.truth, evaluation.probabilities.view());
    // A class that does not occur has no curve.
    let classes: Vec<usize> = (0..evaluation.names.len()).filter(|class| truth.contains(class)).collect();
    let roc = classes.iter().map(|&class| fer_metrics::roc_curve(truth, probabilities, class));
    let roc = roc.collect::<Result<Vec<_>, _>>()?;
    let precision =
        classes.iter().map(|&class| fer_metrics::precision_recall_curve(truth, probabilities, class));
    let precision = precision.collect::<Result<Vec<_>, _>>()?;
    let names = || classes.iter().map(|&class| evaluation.names[class].as_str());
    let roc: Vec<_> = names().zip(&roc).collect();
    let precision: Vec<_> = names().zip(&precision).collect();
    let bins = fer_metrics::reliability(truth, probabilities, BINS)?;
    Ok(ProbabilityFigures {
        roc_curves: (classes.len() > 1).then(|| fer_plot::roc_curves(&roc)).transpose()?,
        precision_recall_curves: fer_plot::precision_recall_curves(&precision)?,
        reliability: fer_plot::reliability_diagram(&[("model", &bins)])?,
    })
}
