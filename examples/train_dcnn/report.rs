//! What came of the training: predictions, report and figures, as the notebook gives them.

use fer::data::Dataset;
use fer::metrics::History;
use fer::model::{Classifier, Views};
use fer::plot::{self, Prediction};
use fer::rand::RandomState;
use fer::{Comparison, Evaluation, write_file};

use crate::Failure;
use crate::data::Faces;
use crate::run_folder::{RunFolder, RunResult};

/// Asks the saved model about the validation images, and once about the test images where there are any.
pub fn write(
    folder: &RunFolder,
    faces: &Faces,
    history: &History,
    views: Views,
) -> Result<RunResult, Failure> {
    let classifier = Classifier::open(folder.path())?;
    let (train, valid) = (&faces.subsets.train, &faces.subsets.valid);
    let comparison = Comparison::new(Evaluation::new(&classifier, valid)?, valid, train);
    let evaluation = &comparison.all;
    let matrix = evaluation.matrix()?;

    let report = matrix.report().to_string();
    println!("\ntotal wrong validation predictions: {}\n\n\n{report}", matrix.wrong());
    let valid_by_views = by_views(&classifier, valid, views)?;
    let mut text = comparison.to_string();
    if let Some((_, line)) = &valid_by_views {
        text += line;
    }
    println!("{text}");
    write_file(folder.join("classification_report.txt"), format!("{report}\n{text}"))?;
    write_file(folder.join("predictions.csv"), evaluation.predictions_csv())?;
    plot::epoch_history(history)?.save(folder.join("epoch_history_dcnn"))?;
    plot::performance_dist(history)?.save(folder.join("performance_dist"))?;
    plot::confusion_matrix(&matrix, &evaluation.names)?.save(folder.join("confusion_matrix_dcnn"))?;
    let samples = samples(evaluation, valid);
    if !samples.is_empty() {
        plot::sample_predictions(&samples, 9)?.save(folder.join("sample_predictions"))?;
    }

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
        let mut text = format!("{}\n{comparison}", matrix.report());
        if let Some((accuracy, line)) = by_views(&classifier, test, views)? {
            text += &line;
            result.test_accuracy_by_views = Some(accuracy);
        }
        println!("test\n\n{text}");
        write_file(folder.join("test_report.txt"), text)?;
        result.test_accuracy = Some(matrix.accuracy());
        result.leak_free_test_accuracy = Some(comparison.leak_free.matrix()?.accuracy());
    }
    println!("{}", folder.path().display());
    Ok(result)
}

/// The accuracy by several views of each image, and a line that says so; none for one view.
fn by_views(classifier: &Classifier, data: &Dataset, views: Views) -> Result<Option<(f64, String)>, Failure> {
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
