//! What can go wrong with a model.

use std::path::{Path, PathBuf};

use fer_files::printable;

/// A result with the error of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
    /// A layer of the architecture cannot be.
    #[error("layer `{layer}`: {source}")]
    Layer {
        /// The layer.
        layer: String,
        /// Why.
        source: candle_core::Error,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}", path = fer_files::printable(path.display()))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A `model.toml` is not one.
    #[error("{name}: {}", fer_files::printable_lines(message))]
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
    #[error("{name}: {}", fer_files::printable_lines(source))]
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
    /// A tensor holds values that are not finite.
    #[error("{name}: tensor '{tensor}' holds values that are not finite: the training that made it diverged")]
    NotFinite {
        /// The file, or what stands for it.
        name: String,
        /// The tensor.
        tensor: String,
    },
    /// A network gives what is no probability.
    #[error("the network gives no probabilities for image {image}: its values overflow")]
    NoProbabilities {
        /// The image, from 0.
        image: usize,
    },
    /// The number of labels is not the number of classes.
    #[error("{labels} labels for {classes} classes")]
    Labels {
        /// The labels given.
        labels: usize,
        /// The classes of the network.
        classes: usize,
    },
    /// An HDF5 file is damaged.
    #[cfg(feature = "keras")]
    #[error("{name}: {}", fer_files::printable_lines(source))]
    Hdf5 {
        /// The file, or what stands for it.
        name: String,
        /// What is wrong.
        source: hdf5_pure::Error,
    },
    /// A file is not Keras', or not of the architecture that this crate has.
    #[cfg(feature = "keras")]
    #[error("{name}: {message}")]
    Keras {
        /// The file, or what stands for it.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A file holds weights without the network that they are of.
    #[cfg(feature = "keras")]
    #[error(
        "{name}: weights alone: neither the activations nor the size of the images are in the file; give the network's \
         description, which model.to_json() writes, or say that it is the notebook's and its images' side"
    )]
    KerasWeightsAlone {
        /// The file, or what stands for it.
        name: String,
    },
    /// A layer of a Keras file is not the one that the architecture has there.
    #[cfg(feature = "keras")]
    #[error("{name}: layer '{layer}' has {found}, expected {expected}")]
    KerasLayer {
        /// The file, or what stands for it.
        name: String,
        /// The layer.
        layer: String,
        /// What the layer is or has.
        found: String,
        /// What it should be or have.
        expected: String,
    },
    /// An encoded image could not be decoded.
    #[error(transparent)]
    Picture(#[from] fer_picture::Problem),
    /// The picture in a file could not be read.
    #[error(transparent)]
    PictureFile(#[from] fer_picture::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn config(field: &str, value: impl ToString, allowed: impl ToString) -> Self {
        let value = printable(value.to_string());
        Self::Config { field: printable(field), value, allowed: allowed.to_string() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    #[cfg(feature = "keras")]
    pub(crate) fn hdf5(name: &str) -> impl Fn(hdf5_pure::Error) -> Self {
        move |source| Self::Hdf5 { name: name.to_owned(), source }
    }

    #[cfg(feature = "keras")]
    pub(crate) fn keras(name: &str, message: impl ToString) -> Self {
        Self::Keras { name: name.to_owned(), message: printable(message.to_string()) }
    }

    #[cfg(feature = "keras")]
    pub(crate) fn keras_layer(
        name: &str,
        layer: &str,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        Self::KerasLayer {
            name: name.to_owned(),
            layer: printable(layer),
            found: printable(found.to_string()),
            expected: expected.to_string(),
        }
    }
}
