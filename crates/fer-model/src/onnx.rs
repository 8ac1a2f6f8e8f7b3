//! Networks for ONNX: one file for ONNX Runtime and whatever else reads it.

mod config;
mod convert;
mod file;
mod program;
mod proto;
mod quantize;
mod quantized;
mod range;
#[cfg(test)]
mod tests;

use std::path::Path;

use prost::Message;

pub use config::OnnxConfig;
pub use quantized::Quantized;

use crate::saved::{NamedTensors, checked};
use crate::{Error, ModelConfig, Result};

/// The network as the bytes of an ONNX file: operators of version 17, any number of images at once, output `probabilities`
/// `(N, classes)`. The labels (a list in JSON) and what was done to images stand in the metadata.
///
/// ```
/// # fn main() -> Result<(), fer_model::Error> {
/// use fer_model::{Input, ModelConfig, VggConfig, onnx};
///
/// let narrow = VggConfig { widths: vec![8, 16], dropout: vec![0.1, 0.1], ..Default::default() };
/// let config = ModelConfig::new(narrow, Input::grey(48), vec!["happy".into(), "sad".into()])?;
/// let vars = candle_nn::VarMap::new();
/// config.network(fer_nn::var_builder(&vars, 42, &candle_core::Device::Cpu))?;
/// let settings = onnx::OnnxConfig { preprocessing: true, ..Default::default() };
/// let file = onnx::to_bytes(&config, &vars, settings)?;
/// assert!(file.windows(4).any(|bytes| bytes == b"Conv"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When a tensor is missing or has another shape, or images of other than one or three channels are to be preprocessed.
pub fn to_bytes(config: &ModelConfig, tensors: &impl NamedTensors, settings: OnnxConfig) -> Result<Vec<u8>> {
    let tensors = checked(tensors, config.tensors()?, "the network")?;
    let network = convert::Network::of(config, &tensors, settings)?;
    Ok(file::model(config, network, settings).encode_to_vec())
}

/// Writes [`to_bytes`] to the file `path`.
///
/// # Errors
/// As [`to_bytes`], and when the file cannot be written.
pub fn export(
    path: impl AsRef<Path>,
    config: &ModelConfig,
    tensors: &impl NamedTensors,
    settings: OnnxConfig,
) -> Result<()> {
    let path = path.as_ref();
    fer_files::write(path, to_bytes(config, tensors, settings)?).map_err(Error::io(path))
}
