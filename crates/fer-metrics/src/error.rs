//! What can be wrong with the labels, probabilities and logs that this crate is given.

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a metric cannot be computed. Rows count from 0, lines of a file from 1.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to measure.
    #[error("there are no samples")]
    Empty,
    /// Two inputs that belong together have different lengths.
    #[error("{labels} true labels but {predictions} predictions")]
    Lengths {
        /// The number of true labels.
        labels: usize,
        /// The number of predicted labels or rows of probabilities.
        predictions: usize,
    },
    /// A label is no class.
    #[error("row {row}: label {label} is outside 0..{classes}")]
    Label {
        /// The row with the label.
        row: usize,
        /// The label found.
        label: usize,
        /// The number of classes; labels are below it.
        classes: usize,
    },
    /// A class asked for does not exist, or was asked for twice.
    #[error("class {class} cannot be reported: {reason}")]
    Class {
        /// The class asked for.
        class: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A class has no name.
    #[error("class {class} has no name: {names} names are given")]
    Name {
        /// The class without a name.
        class: usize,
        /// The number of names given.
        names: usize,
    },
    /// A confusion matrix has as many rows as columns, and at least one.
    #[error("a confusion matrix is square and not empty, not {rows}x{columns}")]
    Square {
        /// The number of rows found.
        rows: usize,
        /// The number of columns found.
        columns: usize,
    },
    /// A score is not finite, or a probability is outside 0..=1.
    #[error("row {row}, class {class}: {value} is not {allowed}")]
    Score {
        /// The row with the score.
        row: usize,
        /// The class, that is the column, with the score.
        class: usize,
        /// The value found.
        value: f32,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The probabilities of a row do not add up to 1.
    #[error("row {row}: the probabilities add up to {sum}, not to 1")]
    Sum {
        /// The row.
        row: usize,
        /// The sum found.
        sum: f64,
    },
    /// `k` of the top-k accuracy or the number of calibration bins is 0.
    #[error("{name} is 0 and must be at least 1")]
    Zero {
        /// The name of the parameter.
        name: &'static str,
    },
    /// A line of `history.csv` does not read.
    #[error("line {line}, column {column}: found {found:?}, expected {expected}")]
    History {
        /// The line, from 1, which is the header.
        line: usize,
        /// The name of the column.
        column: &'static str,
        /// The text found.
        found: String,
        /// What is allowed there.
        expected: &'static str,
    },
}
