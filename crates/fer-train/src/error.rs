use std::path::PathBuf;

/// An error from a data source or a callback, of whatever type it likes.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A result with the error of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in training, and where it did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside what is allowed.
    #[error("{field} is {value}: it must be {allowed}")]
    Config {
        /// The setting, as it is written in a configuration file: `optimizer.learning_rate`.
        field: &'static str,
        /// What it was set to.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A label is not a class of the network.
    #[error("sample {sample} of the batch has the label {label}, but the network has {classes} classes")]
    Label {
        /// The sample's place in the batch, from 0.
        sample: usize,
        /// Its label.
        label: u32,
        /// The number of logits that the network gives.
        classes: usize,
    },
    /// The shares of a target are not parts of a whole.
    #[error(
        "sample {sample} of the batch has a target that sums to {sum}: shares are at least 0 and sum to 1"
    )]
    Share {
        /// The sample's place in the batch, from 0.
        sample: usize,
        /// The sum of its shares.
        sum: f64,
    },
    /// Images and targets, or logits and targets, do not belong together.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// The shape it should have.
        expected: String,
        /// The shape it has.
        found: String,
    },
    /// Something failed while working on a batch: its source, its labels or the network.
    #[error("{phase}, epoch {epoch}, batch {batch}: {source}")]
    Batch {
        /// `training` or `validation`.
        phase: &'static str,
        /// The epoch, from 1.
        epoch: u32,
        /// The batch in the epoch, from 1.
        batch: u32,
        /// What failed.
        source: BoxError,
    },
    /// An epoch's data was empty.
    #[error("{phase}, epoch {epoch}: there is no data, not a single batch")]
    NoData {
        /// `training` or `validation`.
        phase: &'static str,
        /// The epoch, from 1.
        epoch: u32,
    },
    /// The training loss became infinite or no number.
    #[error(
        "the loss became {loss} in epoch {epoch}, batch {batch}. Lower the learning rate (now {learning_rate}), \
         or look for images that are not finite in the data. A checkpoint, if there is one, still holds the \
         state before"
    )]
    NonFiniteLoss {
        /// The loss.
        loss: f64,
        /// The epoch, from 1.
        epoch: u32,
        /// The batch in the epoch, from 1.
        batch: u32,
        /// The learning rate at that time.
        learning_rate: f32,
    },
    /// The loss depends on no variable of the `VarMap` given to the trainer.
    #[error(
        "none of the {variables} variables received a gradient: was the network built on the VarMap that the \
         trainer was given?"
    )]
    NoGradient {
        /// How many variables the map holds.
        variables: usize,
    },
    /// A callback failed.
    #[error("{callback}: {source}")]
    Callback {
        /// The callback's name.
        callback: String,
        /// What failed.
        source: BoxError,
    },
    /// A file or a folder cannot be read or written.
    #[error("{}: {source}", fer_files::printable(path.display()))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {}", fer_files::printable(path.display()), fer_files::printable_lines(reason))]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint is of another training.
    #[error("{} belongs to another training: {}", fer_files::printable(path.display()), fer_files::printable(differences.join("; ")))]
    Mismatch {
        /// The checkpoint's file.
        path: PathBuf,
        /// What differs, each with the checkpoint's value and the present one.
        differences: Vec<String>,
    },
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// [`Error::Config`] unless the value is `allowed`.
pub(crate) fn require(
    allowed: bool,
    field: &'static str,
    value: impl ToString,
    what: impl ToString,
) -> Result<(), Error> {
    if allowed {
        return Ok(());
    }
    Err(Error::Config { field, value: value.to_string(), allowed: what.to_string() })
}
