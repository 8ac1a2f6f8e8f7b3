//! What an evaluation leaves behind, of a model or of a file.

use fer_metrics::ConfusionMatrix;

use crate::run::RunFolder;
use crate::{Error, write_file};

/// The confusion matrix as text: rows true, columns predicted.
pub(super) fn table(matrix: &ConfusionMatrix, names: &[String]) -> String {
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(7);
    let mut text = format!("{:>width$}", "true");
    names.iter().for_each(|name| text += &format!(" {name:>width$}"));
    for (name, row) in names.iter().zip(matrix.counts().rows()) {
        text += &format!("\n{name:>width$}");
        row.iter().for_each(|count| text += &format!(" {count:>width$}"));
    }
    text + "\n"
}

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
