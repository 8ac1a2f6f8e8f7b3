//! What can go wrong where the crates meet.

use std::path::PathBuf;

use fer_data::Shape;

/// A result with the error of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate or of one that it puts to work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data.
    #[error(transparent)]
    Data(#[from] fer_data::Error),
    /// The model.
    #[error(transparent)]
    Model(#[from] fer_model::Error),
    /// The face detector.
    #[error(transparent)]
    Detect(#[from] fer_detect::Error),
    /// The augmentation.
    #[error(transparent)]
    Augment(#[from] fer_augment::Error),
    /// The device, or how it is to compute.
    #[error(transparent)]
    Device(#[from] fer_nn::Error),
    /// The training.
    #[error(transparent)]
    Train(#[from] fer_train::Error),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] fer_metrics::Error),
    /// A figure.
    #[error(transparent)]
    Plot(#[from] fer_plot::Error),
    /// A setting is out of range, or settings do not go together.
    #[error("{0}")]
    Settings(String),
    /// A folder holds the files of another run, or other results.
    #[error("{path} already holds a run or results ({file})", path = fer_files::printable(path.display()))]
    Held {
        /// The folder.
        path: PathBuf,
        /// The first of the files.
        file: &'static str,
    },
    /// The data holds a class that the model does not know.
    #[error("the data has images of '{class}', the model knows {known}; choose labels that it knows")]
    UnknownClass {
        /// The class's name.
        class: String,
        /// The model's labels.
        known: String,
    },
    /// The images do not have the network's size.
    #[error("the images are {found}, the model takes {expected}; a size resizes them while they are read")]
    Shape {
        /// What the images are.
        found: Shape,
        /// What the network takes.
        expected: Shape,
    },
    /// There is nothing to evaluate: no row, or no labels.
    #[error("{data}: no labelled images to evaluate")]
    NothingToEvaluate {
        /// Where the data came from.
        data: String,
    },
    /// A picture.
    #[error(transparent)]
    Picture(#[from] fer_picture::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = fer_files::printable(path.display()))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {}", fer_files::printable(path.display()), fer_files::printable_lines(reason))]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// What there is to say could not be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}
