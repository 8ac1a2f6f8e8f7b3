//! What an evaluation leaves behind, of a model or of a file.

use std::path::Path;

use fer_data::Dataset;
use fer_metrics::ConfusionMatrix;
use fer_model::{Classifier, HeatMap};
use fer_plot::{ExplainedFace, Prediction};
use ndarray::Array2;

use crate::page::{Page, Part, command_line, data_facts, fact};
use crate::run::RunFolder;
use crate::{Comparison, Evaluation, Result, figures, write_file};

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

/// Faces a row of the sheet of explanations.
const EXPLAINED: usize = 8;

/// Draws the faces that the model is surest of and right, and those that it is surest of and wrong, with what speaks for its
/// answers. A model without a convolution has no such sheet.
pub(super) fn draw_explanations(
    folder: &RunFolder,
    classifier: &Classifier,
    data: &Dataset,
    evaluation: &Evaluation,
) -> Result<()> {
    let Ok(explainer) = classifier.explainer(None) else { return Ok(()) };
    let Evaluation { truth, predicted, names, .. } = evaluation;
    let (right, wrong) = evaluation.surest();
    let shown: Vec<usize> =
        [right, wrong].into_iter().flat_map(|rows| rows.into_iter().take(EXPLAINED)).collect();
    let map = |&i: &usize| -> Result<Array2<f32>> {
        let HeatMap { width, height, values } =
            explainer.explain(&data.picture(i), &names[predicted[i]])?.map;
        Ok(Array2::from_shape_fn((height, width), |(y, x)| values[y * width + x]))
    };
    let maps = shown.iter().map(map).collect::<Result<Vec<_>>>()?;
    let faces: Vec<ExplainedFace<'_>> = shown
        .iter()
        .zip(&maps)
        .map(|(&i, map)| ExplainedFace {
            prediction: Prediction {
                image: data.image(i),
                truth: &names[truth[i]],
                predicted: &names[predicted[i]],
            },
            probability: evaluation.sureness(i),
            map: map.view(),
        })
        .collect();
    Ok(fer_plot::explained_faces(&faces, EXPLAINED)?.save(folder.join("explained_faces"))?)
}

/// Writes `report.html`. Without a comparison nothing is said of copies in training.
pub(super) fn write_page(
    folder: &RunFolder,
    model: &Path,
    data: &Dataset,
    evaluation: &Evaluation,
    comparison: Option<Comparison>,
    with_faces: bool,
) -> Result<()> {
    let part = Part::of("Evaluation", evaluation, comparison.as_ref(), data, with_faces)?;
    let page = Page {
        title: "Evaluation".to_owned(),
        subtitle: format!("{} by the model in {}", data.source().path, model.display()),
        numbers: vec![part.number(), fact("rows", evaluation.rows.len())],
        data: data_facts(&data.audit()),
        made: vec![
            fact("version", concat!("fer ", env!("CARGO_PKG_VERSION"))),
            fact("model", model.display()),
        ],
        again: command_line(),
        evaluations: vec![part],
        ..Page::default()
    };
    write_file(folder.join("report.html"), page.html(false))
}
