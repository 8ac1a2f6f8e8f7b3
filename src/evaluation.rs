//! What a model makes of a dataset, and how good that is.

use std::fmt::{self, Write};

use fer_data::{Dataset, Shape, Vocabulary};
use fer_metrics::{ConfusionMatrix, calibration_error, log_loss, roc_auc, top_k_accuracy};
use fer_model::{Classifier, Input};
use image::DynamicImage;
use ndarray::Array2;

use crate::{Error, Result};

/// Equal-width bins of the calibration error.
pub(crate) const BINS: usize = 15;

/// A model's predictions on a dataset, row by row.
///
/// Classes are numbered as the model numbers them.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The data row of each image.
    pub rows: Vec<u32>,
    /// The true class of each image.
    pub truth: Vec<usize>,
    /// The class that the model holds for the most probable.
    pub predicted: Vec<usize>,
    /// `(images, classes)`.
    pub probabilities: Array2<f32>,
    /// The names of the classes.
    pub names: Vec<String>,
}

impl Evaluation {
    /// Asks the model about every image of `data`, in grey or in colour as the model takes them.
    ///
    /// # Errors
    /// When the data has no labels or no rows, a class that the model does not know, or images of another size.
    pub fn new(classifier: &Classifier, data: &Dataset) -> Result<Self> {
        let names = classifier.labels().to_vec();
        let Input { channels, height, width } = classifier.input();
        let (found, expected) = (data.shape(), Shape { channels, height, width });
        if (found.height, found.width) != (height, width) {
            return Err(Error::Shape { found, expected });
        }
        let Some(labels) = data.labels().filter(|labels| !labels.is_empty()) else {
            return Err(Error::NothingToEvaluate { data: data.source().path.clone() });
        };
        // The model may spell an emotion otherwise.
        let known = Vocabulary::new(names.iter().map(String::as_str))?;
        let class_of = |label: &u32| {
            let class = data.encoder().name(*label).unwrap_or_default();
            known
                .label(class)
                .map(|label| label as usize)
                .ok_or_else(|| Error::UnknownClass { class: class.to_owned(), known: names.join(", ") })
        };
        let truth = labels.iter().map(class_of).collect::<Result<Vec<_>, _>>()?;
        // The classifier makes grey or colour of them, as of any picture.
        let pictures: Vec<DynamicImage> = (0..data.len()).map(|i| data.picture(i)).collect();
        let predictions = classifier.predict_batch(&pictures)?;
        let flat: Vec<f32> = predictions.into_iter().flat_map(|p| p.probabilities).map(|(_, p)| p).collect();
        // One row of `names.len()` probabilities an image is what the classifier gives.
        let probabilities = Array2::from_shape_vec((truth.len(), names.len()), flat).unwrap_or_default();
        let predicted = fer_metrics::predicted_labels(probabilities.view())?;
        Ok(Self { rows: data.rows().to_vec(), truth, predicted, probabilities, names })
    }

    /// True classes against predicted ones.
    ///
    /// # Errors
    /// Never for an evaluation that [`new`](Self::new) made.
    pub fn matrix(&self) -> Result<ConfusionMatrix> {
        Ok(ConfusionMatrix::new(&self.truth, &self.predicted, self.names.len())?)
    }

    /// The same evaluation on the rows that are in `kept`.
    pub fn only(&self, kept: &Dataset) -> Self {
        let kept: std::collections::HashSet<u32> = kept.rows().iter().copied().collect();
        let at: Vec<usize> = (0..self.rows.len()).filter(|&i| kept.contains(&self.rows[i])).collect();
        Self {
            rows: at.iter().map(|&i| self.rows[i]).collect(),
            truth: at.iter().map(|&i| self.truth[i]).collect(),
            predicted: at.iter().map(|&i| self.predicted[i]).collect(),
            probabilities: self.probabilities.select(ndarray::Axis(0), &at),
            names: self.names.clone(),
        }
    }

    /// The text of `predictions.csv`: `row,label,predicted` and the probability of each class, by its name.
    pub fn predictions_csv(&self) -> String {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let header = ["row", "label", "predicted"].into_iter().chain(self.names.iter().map(String::as_str));
        let mut record: Vec<String> = header.map(str::to_owned).collect();
        let rows =
            self.rows.iter().zip(self.truth.iter().zip(&self.predicted)).zip(self.probabilities.rows());
        for ((row, (truth, predicted)), probabilities) in rows {
            // Memory takes everything, and all records are equally long.
            let _ = csv.write_record(&record);
            record = vec![row.to_string(), truth.to_string(), predicted.to_string()];
            record.extend(probabilities.iter().map(f32::to_string));
        }
        let _ = csv.write_record(&record);
        String::from_utf8(csv.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// The probability of the class that was predicted for an image.
    pub(crate) fn sureness(&self, i: usize) -> f32 {
        self.probabilities[(i, self.predicted[i])]
    }

    /// The images, those first that the model is surest of: the right ones, and the wrong ones.
    pub(crate) fn surest(&self) -> (Vec<usize>, Vec<usize>) {
        let mut surest: Vec<usize> = (0..self.truth.len()).collect();
        surest.sort_by(|&a, &b| self.sureness(b).total_cmp(&self.sureness(a)));
        surest.into_iter().partition(|&i| self.truth[i] == self.predicted[i])
    }

    /// Accuracy and its companions in a few lines.
    ///
    /// # Errors
    /// Never for an evaluation that [`new`](Self::new) made.
    pub fn scores(&self) -> Result<String> {
        let matrix = self.matrix()?;
        let (truth, probabilities) = (&self.truth, self.probabilities.view());
        let mut text = format!(
            "accuracy {:.4} ({} of {} wrong), majority-class baseline {:.4}\n",
            matrix.accuracy(),
            matrix.wrong(),
            matrix.total(),
            matrix.majority_baseline(),
        );
        let _ = writeln!(
            text,
            "top-2 accuracy {:.4}, log loss {:.4}, ROC-AUC one-vs-rest {:.4}, calibration error {:.4}",
            top_k_accuracy(truth, probabilities, 2)?,
            log_loss(truth, probabilities)?,
            roc_auc(truth, probabilities)?.macro_average,
            calibration_error(truth, probabilities, BINS)?,
        );
        Ok(text)
    }
}

/// An evaluation beside its leak-free twin: the rows that have no copy, pixel for pixel, in training.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// All rows.
    pub all: Evaluation,
    /// The rows without a copy in training.
    pub leak_free: Evaluation,
}

impl Comparison {
    /// Splits an evaluation of `data` by what `train` holds.
    pub fn new(all: Evaluation, data: &Dataset, train: &Dataset) -> Self {
        let leak_free = all.only(&data.without_copies_in(train));
        Self { all, leak_free }
    }

    /// The evaluation rows with a copy in training.
    pub fn leaked(&self) -> usize {
        self.all.rows.len() - self.leak_free.rows.len()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scores = |evaluation: &Evaluation| evaluation.scores().map_err(|_| fmt::Error);
        writeln!(f, "{} rows\n{}", self.all.rows.len(), scores(&self.all)?)?;
        writeln!(
            f,
            "without the {} rows that have a copy in training: {} rows",
            self.leaked(),
            self.leak_free.rows.len(),
        )?;
        match self.leak_free.rows.is_empty() {
            true => Ok(()),
            false => f.write_str(&scores(&self.leak_free)?),
        }
    }
}
