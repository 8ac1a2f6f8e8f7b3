//! What an evaluation leaves behind, of a model or of a file.

use fer_metrics::ConfusionMatrix;

use crate::run::RunFolder;
use crate::{Evaluation, Result, figures, write_file};

/// Writes the report and the figure.
pub(super) fn write(
    folder: &RunFolder,
    text: &str,
    matrix: &ConfusionMatrix,
    names: &[String],
) -> Result<()> {
    write_file(folder.join("classification_report.txt"), text)?;
    Ok(fer_plot::confusion_matrix(matrix, names)?.save(folder.join("confusion_matrix"))?)
}

/// Draws what a model's probabilities are worth.
pub(super) fn draw_probabilities(folder: &RunFolder, evaluation: &Evaluation) -> Result<()> {
    let figures = figures::of_probabilities(evaluation)?;
    if let Some(roc_curves) = figures.roc_curves {
        roc_curves.save(folder.join("roc_curves"))?;
    }
    figures.precision_recall_curves.save(folder.join("precision_recall_curves"))?;
    Ok(figures.reliability.save(folder.join("reliability"))?)
}
