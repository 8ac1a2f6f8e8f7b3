//! Keras models, read and written without Keras or the HDF5 library.
//!
//! Read are `.keras` files, whole models in `.h5` files, and weights alone in `.h5` and `.weights.h5` files with the
//! description of their network, of Keras 2 and Keras 3. The network is any of layers that this crate has: convolutions
//! (with groups, depthwise, separable), dense layers, batch norm, pooling, global mean, upsampling, sums, activations in
//! layers or as layers. What only training sees is left out. The notebook's network becomes
//! [`Architecture::Dcnn`](crate::Architecture::Dcnn), any other [`Architecture::Layers`](crate::Architecture::Layers). Keras' order `(height, width, channels)` becomes this
//! crate's `(channels, height, width)`; the probabilities stay the same to 1e-5.
//!
//! ```
//! use candle_core::Device;
//! use candle_nn::VarMap;
//! use fer_model::{Architecture, BlockConfig, DcnnConfig, keras};
//!
//! let narrow = DcnnConfig {
//!     blocks: vec![BlockConfig { filters: 8, kernel: 3, dropout: 0.1 }; 2],
//!     ..Default::default()
//! };
//! let vars = VarMap::new();
//! narrow.network(fer_nn::var_builder(&vars, 42, &Device::Cpu))?;
//!
//! let dir = std::env::temp_dir().join("fer-model-keras");
//! # std::fs::create_dir_all(&dir).unwrap();
//! keras::export(dir.join("model.h5"), &narrow, &vars)?;
//! let imported = keras::import(dir.join("model.h5"))?;
//! assert_eq!(imported.architecture, Architecture::Dcnn(narrow));
//!
//! let labels = ["happy", "sad", "neutral"].map(String::from).to_vec();
//! fer_model::save(&dir, &imported.config(labels)?, &imported.tensors)?;
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), fer_model::Error>(())
//! ```

mod convert;
mod export;
mod file;
mod imported;
mod model_config;
mod names;
mod notebook;
mod order;
mod package;
mod settings;
#[cfg(test)]
mod tests;
mod weighted;

use std::fs;
use std::path::Path;

use fer_files::{Kind, printable};
use serde_json::Value;

pub use self::export::export;
pub use self::imported::Imported;
use crate::{Error, Result};

/// What the network of a file of weights alone is: such a file has neither its activations nor the order of its layers nor
/// the size of its images.
#[derive(Clone, Debug)]
pub enum Structure {
    /// What Keras' `model.to_json()` gave.
    Json(String),
    /// The notebook's network (ELU, a batch norm after each convolution) with any blocks, kernels and classes, for
    /// square images of so many pixels a side.
    Notebook {
        /// The side in pixels.
        side: usize,
    },
}

/// Reads a Keras model: a `.keras` file, or an `.h5` file that holds a whole model.
///
/// Optimizer state is not read. A file that Keras 3 wrote gives [`MovingVariance::Biased`](fer_nn::MovingVariance::Biased),
/// which matters only when training goes on.
///
/// # Errors
/// When the file cannot be read, is no Keras file, is damaged, holds weights alone, or holds a layer that this crate does
/// not have; the error names the layer or tensor, what was found and what was expected.
pub fn import(path: impl AsRef<Path>) -> Result<Imported> {
    let path = path.as_ref();
    read(contents(path)?, None, &printable(path.display()))
}

/// Reads the weights in an `.h5` file for a network that is known otherwise.
///
/// # Errors
/// As [`import`], when the weights are not those of the network, and when the file describes its network itself.
pub fn import_weights(path: impl AsRef<Path>, structure: &Structure) -> Result<Imported> {
    let path = path.as_ref();
    read(contents(path)?, Some(structure), &printable(path.display()))
}

/// As [`import`], or with a structure as [`import_weights`], from the contents of a file; errors call it `model.h5`.
///
/// # Errors
/// As these.
pub fn import_bytes(bytes: Vec<u8>, structure: Option<&Structure>) -> Result<Imported> {
    read(bytes, structure, "model.h5")
}

fn contents(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        let message = "a folder, as TensorFlow's SavedModel is; save the model as a .keras file";
        return Err(Error::keras(&printable(path.display()), message));
    }
    fs::read(path).map_err(Error::io(path))
}

fn read(bytes: Vec<u8>, structure: Option<&Structure>, name: &str) -> Result<Imported> {
    let mut stored = match Kind::of(&bytes) {
        Some(Kind::Zip) => {
            let package = package::open(&bytes, name)?;
            let mut stored = file::read(package.weights, name)?;
            (stored.keras3, stored.model_config) = (package.keras3, Some(package.config));
            stored
        }
        Some(kind) if kind != Kind::Hdf5 => {
            let advice = match kind {
                Kind::GitLfs => "; fetch it with `git lfs pull`",
                Kind::Html => ": it was saved in place of the file",
                Kind::TfLite | Kind::Onnx => "; import the Keras model that it was made of",
                _ => "",
            };
            return Err(Error::keras(
                name,
                format!("{kind}, where a Keras .h5 or .keras file was expected{advice}"),
            ));
        }
        _ => file::read(bytes, name)?,
    };
    let json = |text: &str| {
        serde_json::from_str(text).map_err(|e| Error::keras(name, format!("the model's description: {e}")))
    };
    let description: Value = match (stored.model_config.take(), structure) {
        (Some(own), None) => json(&own)?,
        (Some(_), Some(_)) => {
            let message =
                "a whole model, which describes its network itself; import it without another description";
            return Err(Error::keras(name, message));
        }
        (None, Some(Structure::Json(text))) => json(text)?,
        (None, Some(Structure::Notebook { side })) => notebook::describe(&mut stored, *side, name)?,
        (None, None) => return Err(Error::KerasWeightsAlone { name: name.to_owned() }),
    };
    convert::convert(model_config::parse(&description, name)?, stored, name)
}
