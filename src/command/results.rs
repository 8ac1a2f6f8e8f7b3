//! What an evaluation leaves behind, of a model or of a file.

use fer_metrics::ConfusionMatrix;

use crate::run::RunFolder;
use crate::{Error, Evaluation, write_file};

/// Equal-width bins of the reliability diagram.
const BINS: usize = 10;

/// Writes the report and the figure.
pub(super) fn write(
    folder: &RunFolder,
    text: &str,
    matrix: &ConfusionMatrix,
    names: &[String],
) -> Result<(), Error> {
    write_file(folder.join("classification_report.txt"), text)?;
    Ok(fer_plot::confusion_matrix(matrix, names)?.save(folder.join("confusion_matrix"))?)
}

/// Draws what a model's probabilities are worth: ROC curves, precision over recall, reliability.
pub(super) fn draw_probabilities(folder: &RunFolder, evaluation: &Evaluation) -> Result<(), Error> {
    let (truth, probabilities) = (&evaluation.truth, evaluation.probabilities.view());
    // A class that does not occur has no curve.
    let classes: Vec<usize> = (0..evaluation.names.len()).filter(|class| truth.contains(class)).collect();
    let roc = classes.iter().map(|&class| fer_metrics::roc_curve(truth, probabilities, class));
    let roc = roc.collect::<Result<Vec<_>, _>>()?;
    let precision =
        classes.iter().map(|&class| fer_metrics::precision_recall_curve(truth, probabilities, class));
    let precision = precision.collect::<Result<Vec<_>, _>>()?;
    let names = || classes.iter().map(|&class| evaluation.names[class].as_str());
    // Of one class alone there is nothing to tell it from.
    if classes.len() > 1 {
        let curves: Vec<_> = names().zip(&roc).collect();
        fer_plot::roc_curves(&curves)?.save(folder.join("roc_curves"))?;
    }
    let curves: Vec<_> = names().zip(&precision).collect();
    fer_plot::precision_recall_curves(&curves)?.save(folder.join("precision_recall_curves"))?;
    let bins = fer_metrics::reliability(truth, probabilities, BINS)?;
    Ok(fer_plot::reliability_diagram(&[("model", &bins)])?.save(folder.join("reliability"))?)
}
