//! What came of the training: predictions, report and figures, as the notebook gives them.

use fer_data::Dataset;
use fer_metrics::{EpochLog, History};
use fer_model::{Classifier, Views};
use fer_plot::{Figure, Prediction};
use fer_rand::RandomState;

use crate::page::Part;
use crate::run::data::Faces;
use crate::run::folder::RunFolder;
use crate::run::record::RunResult;
use crate::{Comparison, Evaluation, Result, figures, write_file};

/// Asks the saved model about the validation images, and once about the test images where there are any. Writes what it
/// answers, and gives it in numbers, for the page and in words.
pub(super) fn write(
    folder: &RunFolder,
    faces: &Faces,
    history: &History,
    views: Views,
    with_faces: bool,
) -> Result<(RunResult, Vec<Part>, String)> {
    let classifier = Classifier::open(folder.path())?;
    let (train, valid) = (&faces.subsets.train, &faces.subsets.valid);
    let comparison = Comparison::new(Evaluation::new(&classifier, valid)?, valid, train);
    let evaluation = &comparison.all;
    let matrix = evaluation.matrix()?;

    let report = matrix.report().to_string();
    let valid_by_views = by_views(&classifier, valid, views)?;
    let mut scores = comparison.to_string();
    if let Some((_, line)) = &valid_by_views {
        scores += line;
    }
    write_file(folder.join("classification_report.txt"), format!("{report}\n{scores}"))?;
    write_file(folder.join("predictions.csv"), evaluation.predictions_csv())?;
    let by_epoch = fer_plot::epoch_history(history)?;
    by_epoch.save(folder.join("epoch_history_dcnn"))?;
    let distribution = fer_plot::performance_dist(history)?;
    distribution.save(folder.join("performance_dist"))?;
    let confusion = fer_plot::confusion_matrix(&matrix, &evaluation.names)?;
    confusion.save(folder.join("confusion_matrix_dcnn"))?;
    page([by_epoch, distribution, confusion], history, evaluation)?.save(folder.join("training_page"))?;
    let samples = samples(evaluation, valid);
    if !samples.is_empty() {
        fer_plot::sample_predictions(&samples, 9)?.save(folder.join("sample_predictions"))?;
    }

    let mut text =
        format!("\ntotal wrong validation predictions: {}\n\n\n{report}\n{scores}\n", matrix.wrong());
    let mut parts = vec![Part::of("Validation", evaluation, Some(&comparison), valid, with_faces)?];
    let mut result = RunResult {
        epochs: history.epochs.len(),
        seconds: history.values("seconds").iter().sum(),
        valid_accuracy: matrix.accuracy(),
        leak_free_valid_accuracy: comparison.leak_free.matrix()?.accuracy(),
        wrong_validation_predictions: matrix.wrong(),
        test_accuracy: None,
        leak_free_test_accuracy: None,
        valid_accuracy_by_views: valid_by_views.map(|(accuracy, _)| accuracy),
        test_accuracy_by_views: None,
    };
    if let Some(test) = &faces.subsets.test {
        let comparison = Comparison::new(Evaluation::new(&classifier, test)?, test, train);
        let matrix = comparison.all.matrix()?;
        let mut report = format!("{}\n{comparison}", matrix.report());
        if let Some((accuracy, line)) = by_views(&classifier, test, views)? {
            report += &line;
            result.test_accuracy_by_views = Some(accuracy);
        }
        text += &format!("test\n\n{report}\n");
        write_file(folder.join("test_report.txt"), report)?;
        parts.push(Part::of("Test", &comparison.all, Some(&comparison), test, with_faces)?);
        result.test_accuracy = Some(matrix.accuracy());
        result.leak_free_test_accuracy = Some(comparison.leak_free.matrix()?.accuracy());
    }
    Ok((result, parts, text))
}

/// The training and the model on one page: what was learned, by which learning rate, and what the probabilities are worth.
fn page(
    [by_epoch, distribution, confusion]: [Figure; 3],
    history: &History,
    evaluation: &Evaluation,
) -> Result<Figure> {
    let rate = |log: &EpochLog| (log.epoch as f64, log.learning_rate);
    let rates = history.epochs.iter().map(rate).collect();
    let rates = fer_plot::lines("Learning rate", ("epoch", "learning rate"), &[("rate", rates)])?;
    let figures = figures::of_probabilities(evaluation)?;
    // Rows of about the same width.
    let rows = [
        vec![by_epoch, rates],
        [Some(confusion), figures.roc_curves, Some(figures.precision_recall_curves)]
            .into_iter()
            .flatten()
            .collect(),
        vec![figures.reliability, distribution],
    ];
    let rows = rows.iter().map(|row| fer_plot::page(row, row.len())).collect::<Result<Vec<_>, _>>()?;
    Ok(fer_plot::page(&rows, 1)?)
}

/// The accuracy by several views of each image, and a line that says so; none for one view.
fn by_views(classifier: &Classifier, data: &Dataset, views: Views) -> Result<Option<(f64, String)>> {
    if views.count() == 1 {
        return Ok(None);
    }
    let accuracy = Evaluation::new(&classifier.clone().views(views), data)?.matrix()?.accuracy();
    let line = format!("{} views of each image ({views}): accuracy {accuracy:.4}\n", views.count());
    Ok(Some((accuracy, line)))
}

/// The notebook's last figure: `np.random.seed(2)`, then nine validation images of each of the last two classes.
fn samples<'a>(evaluation: &'a Evaluation, valid: &'a Dataset) -> Vec<Prediction<'a>> {
    let mut rng = RandomState::new(2);
    let classes = evaluation.names.len();
    let drawn = (classes.saturating_sub(2)..classes).flat_map(|class| {
        let of_class: Vec<usize> =
            (0..evaluation.truth.len()).filter(|&i| evaluation.truth[i] == class).collect();
        rng.choice(&of_class, 9)
    });
    let drawn: Vec<usize> = drawn.collect();
    drawn
        .into_iter()
        .map(|i| Prediction {
            image: valid.image(i),
            truth: &evaluation.names[evaluation.truth[i]],
            predicted: &evaluation.names[evaluation.predicted[i]],
        })
        .collect()
}
