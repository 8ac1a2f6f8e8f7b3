//! What can go wrong with a model.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range.
    #[error("{field} is {value}, allowed: {allowed}")]
    Config {
        /// The setting.
        field: String,
        /// Its value.
        value: String,
        /// The values it may have.
        allowed: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A `model.toml` is not one.
    #[error("{name}: {message}")]
    Toml {
        /// The file, or what stands for it.
        name: String,
        /// What is wrong and where.
        message: String,
    },
    /// The model was saved in a format that this version does not know.
    #[error("{name}: format version {found}, this version reads {expected}")]
    FormatVersion {
        /// The file, or what stands for it.
        name: String,
        /// The version found.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// A weight file is damaged.
    #[error("{name}: {source}")]
    Safetensors {
        /// The file, or what stands for it.
        name: String,
        /// What is wrong.
        source: safetensors::SafeTensorError,
    },
    /// A tensor that the architecture needs is not there.
    #[error("{name}: no tensor '{tensor}'")]
    MissingTensor {
        /// The file, or what stands for it.
        name: String,
        /// The tensor.
        tensor: String,
    },
    /// A tensor does not have the shape or type that the architecture needs.
    #[error("{name}: tensor '{tensor}' is {found}, expected {expected}")]
    TensorShape {
        /// The file, or what stands for it.
        name: String,
        /// The tensor.
        tensor: String,
        /// The type and shape expected.
        expected: String,
        /// The type and shape found.
        found: String,
    },
    /// The number of labels is not the number of classes.
    #[error("{labels} labels for {classes} classes")]
    Labels {
        /// The labels given.
        labels: usize,
        /// The classes of the network.
        classes: usize,
    },
    /// An image could not be decoded.
    #[error("not a readable image: {0}")]
    Image(#[from] image::ImageError),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn config(field: &str, value: impl ToString, allowed: impl ToString) -> Self {
        Self::Config { field: field.to_owned(), value: value.to_string(), allowed: allowed.to_string() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
