//! What an evaluation leaves behind, of a model or of a file.

use fer_metrics::ConfusionMatrix;

use crate::run::RunFolder;
use crate::{Error, Evaluation, figures, write_file};

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

/// Draws what a model's probabilities are worth.
pub(super) fn draw_probabilities(folder: &RunFolder, evaluation: &Evaluation) -> Result<(), Error> {
    for (name, figure) in figures::of_probabilities(evaluation)? {
        figure.save(folder.join(name))?;
    }
    Ok(())
}
