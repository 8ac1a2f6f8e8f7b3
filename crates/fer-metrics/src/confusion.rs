//! The confusion matrix, from which every metric of hard labels follows.

use std::fmt;

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How often each class was taken for each other: rows are the true classes, columns the predicted ones,
/// as in scikit-learn's `confusion_matrix`.
///
/// ```
/// # fn main() -> fer_metrics::Result<()> {
/// let matrix = fer_metrics::ConfusionMatrix::new(&[0, 0, 1, 1, 1], &[0, 1, 1, 1, 0], 2)?;
/// assert_eq!(matrix.counts(), ndarray::array![[1, 1], [1, 2]]);
/// assert_eq!((matrix.accuracy(), matrix.wrong()), (0.6, 2));
/// # Ok(())
/// # }
/// ```
///
/// It is written as its rows, `[[1,1],[1,2]]`, and displayed as a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u64>>", into = "Vec<Vec<u64>>")]
pub struct ConfusionMatrix {
    counts: Array2<u64>,
}

impl ConfusionMatrix {
    /// Counts the pairs of true and predicted label, each in `0..classes`.
    pub fn new(truth: &[usize], predicted: &[usize], classes: usize) -> Result<Self> {
        if truth.len() != predicted.len() {
            return Err(Error::Lengths { labels: truth.len(), predictions: predicted.len() });
        }
        if truth.is_empty() {
            return Err(Error::Empty);
        }
        let mut counts = Array2::zeros((classes, classes));
        for (row, (&label, &guess)) in truth.iter().zip(predicted).enumerate() {
            let Some(count) = counts.get_mut((label, guess)) else {
                return Err(Error::Label { row, label: label.max(guess), classes });
            };
            *count += 1;
        }
        Ok(Self { counts })
    }

    /// A matrix that was counted elsewhere, shape `(true classes, predicted classes)`.
    pub fn from_counts(counts: Array2<u64>) -> Result<Self> {
        let (rows, columns) = counts.dim();
        if rows != columns || rows == 0 {
            return Err(Error::Square { rows, columns });
        }
        if counts.iter().all(|&count| count == 0) {
            return Err(Error::Empty);
        }
        Ok(Self { counts })
    }

    /// The counts, shape `(true classes, predicted classes)`.
    pub fn counts(&self) -> ArrayView2<'_, u64> {
        self.counts.view()
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.counts.nrows()
    }

    /// The number of samples.
    pub fn total(&self) -> u64 {
        self.counts.sum()
    }

    /// The number of samples predicted wrongly.
    pub fn wrong(&self) -> u64 {
        self.total() - self.counts.diag().sum()
    }

    /// The part of the samples predicted rightly, in 0..=1.
    pub fn accuracy(&self) -> f64 {
        self.counts.diag().sum() as f64 / self.total() as f64
    }

    /// The accuracy of always answering the most frequent true class, in 0..=1: what a classifier has to beat.
    pub fn majority_baseline(&self) -> f64 {
        let largest = self.counts.sum_axis(Axis(1)).into_iter().max().unwrap_or(0);
        largest as f64 / self.total() as f64
    }

    /// The counts divided by their row's sum, in 0..=1: what became of each true class. The row of a class
    /// without samples is zero. scikit-learn's `normalize="true"`.
    pub fn by_true_class(&self) -> Array2<f64> {
        let mut fractions = self.counts.mapv(|count| count as f64);
        for mut row in fractions.rows_mut() {
            let sum = row.sum();
            if sum > 0.0 {
                row /= sum;
            }
        }
        fractions
    }

    /// The table with the classes named, the class `c` is `names[c]`: rows true, columns predicted.
    ///
    /// ```
    /// # fn main() -> fer_metrics::Result<()> {
    /// let matrix = fer_metrics::ConfusionMatrix::new(&[0, 0, 1], &[0, 1, 1], 2)?;
    /// let table = "   true   happy     sad\n  happy       1       1\n    sad       0       1\n";
    /// assert_eq!(matrix.table(&["happy", "sad"])?, table);
    /// # Ok(())
    /// # }
    /// ```
    pub fn table(&self, names: &[impl AsRef<str>]) -> Result<String> {
        if names.len() < self.classes() {
            return Err(Error::Name { class: names.len(), names: names.len() });
        }
        let names: Vec<&str> = names.iter().take(self.classes()).map(AsRef::as_ref).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(7);
        let mut text = format!("{:>width$}", "true");
        names.iter().for_each(|name| text += &format!(" {name:>width$}"));
        for (name, row) in names.iter().zip(self.counts.rows()) {
            text += &format!("\n{name:>width$}");
            row.iter().for_each(|count| text += &format!(" {count:>width$}"));
        }
        Ok(text + "\n")
    }
}

impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = (0..self.classes()).map(|class| class.to_string()).collect();
        f.write_str(&self.table(&numbers).unwrap_or_default())
    }
}

impl From<ConfusionMatrix> for Vec<Vec<u64>> {
    fn from(matrix: ConfusionMatrix) -> Self {
        matrix.counts.rows().into_iter().map(|row| row.to_vec()).collect()
    }
}

impl TryFrom<Vec<Vec<u64>>> for ConfusionMatrix {
    type Error = Error;

    fn try_from(rows: Vec<Vec<u64>>) -> Result<Self> {
        let columns = rows.first().map_or(0, Vec::len);
        let shape = (rows.len(), columns);
        match rows.iter().find(|row| row.len() != columns) {
            Some(row) => Err(Error::Square { rows: shape.0, columns: row.len() }),
            // All rows are equally long.
            None => Self::from_counts(Array2::from_shape_vec(shape, rows.concat()).unwrap_or_default()),
        }
    }
}

/// The part of the labels predicted rightly, in 0..=1.
pub fn accuracy(truth: &[usize], predicted: &[usize]) -> Result<f64> {
    let classes = truth.iter().chain(predicted).max().map_or(0, |&label| label + 1);
    Ok(ConfusionMatrix::new(truth, predicted, classes)?.accuracy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn inputs_that_do_not_fit_are_errors() {
        let new = ConfusionMatrix::new;
        assert_eq!(new(&[0], &[0, 1], 2).unwrap_err(), Error::Lengths { labels: 1, predictions: 2 });
        assert_eq!(new(&[], &[], 2).unwrap_err(), Error::Empty);
        assert_eq!(new(&[0, 2], &[0, 1], 2).unwrap_err(), Error::Label { row: 1, label: 2, classes: 2 });
        assert_eq!(new(&[0, 1], &[5, 1], 2).unwrap_err(), Error::Label { row: 0, label: 5, classes: 2 });
        assert!(ConfusionMatrix::from_counts(Array2::zeros((2, 3))).is_err());
        assert!(ConfusionMatrix::from_counts(Array2::zeros((2, 2))).is_err());
        assert!(accuracy(&[], &[]).is_err());
    }

    #[test]
    fn a_matrix_is_read_as_it_was_written() {
        let matrix = ConfusionMatrix::new(&[0, 0, 2], &[1, 0, 1], 3).unwrap();
        let json = serde_json::to_string(&matrix).unwrap();
        assert_eq!(json, "[[1,1,0],[0,0,0],[0,1,0]]");
        assert_eq!(serde_json::from_str::<ConfusionMatrix>(&json).unwrap(), matrix);
        for wrong in ["[[1,1],[1]]", "[[1,1]]", "[]", "[[0]]"] {
            assert!(serde_json::from_str::<ConfusionMatrix>(wrong).is_err(), "{wrong}");
        }
        assert!(
            matrix
                .to_string()
                .starts_with("   true       0       1       2\n      0       1       1       0\n")
        );
        assert_eq!(matrix.table(&["a", "b"]).unwrap_err(), Error::Name { class: 2, names: 2 });
    }

    #[test]
    fn rows_are_true_and_columns_predicted() {
        let matrix = ConfusionMatrix::new(&[0, 0, 2], &[1, 0, 1], 3).unwrap();
        assert_eq!(matrix.counts(), array![[1, 1, 0], [0, 0, 0], [0, 1, 0]]);
        assert_eq!(matrix.by_true_class(), array![[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
        assert_eq!(matrix.majority_baseline(), 2.0 / 3.0);
        assert_eq!(ConfusionMatrix::from_counts(matrix.counts().to_owned()).unwrap(), matrix);
    }
}
