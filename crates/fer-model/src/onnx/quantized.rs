//! A network in 8 bits.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use fer_nn::Mode;
use prost::Message;

use super::config::OnnxConfig;
use super::convert::Network;
use super::program::{Grid, Program};
use super::proto::{Entry, Model};
use super::range::Range;
use super::{file, quantize};
use crate::saved::{NamedTensors, checked};
use crate::{Classifier, Error, Input, ModelConfig, Result};

/// Images that are measured at once.
const BATCH: usize = 32;

/// A network in 8 bits: an ONNX file with QuantizeLinear and DequantizeLinear around its operators (QDQ), which ONNX Runtime turns
/// into integer ones.
///
/// Weights are whole numbers from −63 to 63 times a scale for each output channel, biases of 32 bits, values of 0 to 255 over
/// the range that was measured, without one number in a hundred thousand. Preprocessing, activations other than ReLU, norms that are
/// not folded, transposed convolutions and the softmax stay in floats.
///
/// ```
/// # fn main() -> Result<(), fer_model::Error> {
/// use fer_model::onnx::{OnnxConfig, Quantized};
/// use fer_model::{Input, ModelConfig, VggConfig};
///
/// let narrow = VggConfig { widths: vec![4, 8], dropout: vec![0.1, 0.1], ..Default::default() };
/// let config = ModelConfig::new(narrow, Input::grey(16), vec!["happy".into(), "sad".into()])?;
/// let vars = candle_nn::VarMap::new();
/// config.network(fer_nn::var_builder(&vars, 42, &candle_core::Device::Cpu))?;
/// let faces: Vec<u8> = (0..20 * 16 * 16).map(|i| (i * i % 251) as u8).collect();
/// let quantized = Quantized::new(&config, &vars, OnnxConfig::default(), &faces)?;
/// let probabilities = quantized.classifier()?.predict_pixels(&faces)?;
/// assert_eq!((probabilities.len(), probabilities[0].len()), (20, 2));
/// assert!(quantized.to_bytes().windows(14).any(|bytes| bytes == b"QuantizeLinear"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Quantized {
    config: ModelConfig,
    model: Model,
    program: Arc<Program>,
}

/// [`Program`] as a network that a classifier may hold.
struct Shared(Arc<Program>);

impl fer_nn::Network for Shared {
    fn forward(&self, images: &Tensor, mode: Mode) -> candle_core::Result<Tensor> {
        self.0.forward(images, mode)
    }
}

impl Quantized {
    /// The network in 8 bits, norms folded, for images like these, whose ranges are taken: as
    /// [`Classifier::predict_pixels`] takes them, `channels·height·width` values each, 0..=255, one image after the other. Some
    /// hundred of all classes are enough.
    ///
    /// # Errors
    /// As [`to_bytes`](super::to_bytes), when the pixels are not a whole number of images, at least one, and when a value
    /// overflows.
    pub fn new(
        config: &ModelConfig,
        tensors: &impl NamedTensors,
        settings: OnnxConfig,
        pixels: &[u8],
    ) -> Result<Self> {
        let Input { channels, height, width } = config.input;
        let size = channels * height * width;
        if pixels.is_empty() || !pixels.len().is_multiple_of(size) {
            return Err(Error::config(
                "pixels",
                pixels.len(),
                format!("a multiple of {size}, at least {size}"),
            ));
        }
        let settings = OnnxConfig { fold_norms: true, ..settings };
        let tensors = checked(tensors, config.tensors()?, "the network")?;
        let mut network = Network::of(config, &tensors, settings)?;
        let (seen, before) = network.seen.clone();
        let program = Program::new(&network.nodes[before..], &network.tensors, &seen)?;
        let mut ranges: HashMap<String, Range> =
            quantize::values(&network.nodes[before..]).into_iter().map(|name| (name, Range::new())).collect();
        for counts in [false, true] {
            for batch in pixels.chunks(BATCH * size) {
                let values: Vec<f32> = batch.iter().map(|&v| config.preprocessing.value(v)).collect();
                let shape = (batch.len() / size, channels, height, width);
                let images = Tensor::from_vec(values, shape, &Device::Cpu)?;
                program.run(&images, &mut |name, value| {
                    if let Some(range) = ranges.get_mut(name) {
                        let values = value.flatten_all()?.to_vec1()?;
                        if counts { range.count(&values) } else { range.widen(&values) }
                    }
                    Ok(())
                })?;
            }
        }
        if let Some(value) = ranges.iter().filter(|(_, range)| !range.is_finite()).map(|(name, _)| name).min()
        {
            return Err(Error::NotFinite { name: "the network".to_owned(), tensor: value.clone() });
        }
        let grids: HashMap<String, Grid> =
            ranges.iter().map(|(name, range)| (name.clone(), range.grid())).collect();
        network.quantize(&grids)?;
        let program = Arc::new(Program::new(&network.nodes[before..], &network.tensors, &seen)?);
        let model = file::model(config, network, settings);
        let mut quantized = Self { config: config.clone(), model, program };
        quantized.note("quantized", format!("8 bits, ranges of {} images", pixels.len() / size));
        Ok(quantized)
    }

    /// A classifier that answers as the file does, by the same 8-bit numbers in floats: ONNX Runtime's sums are whole numbers,
    /// these are rounded, so that now and then a value is the next of its 256.
    ///
    /// # Errors
    /// Never for a network that [`new`](Self::new) made.
    pub fn classifier(&self) -> Result<Classifier> {
        let ModelConfig { labels, input, preprocessing, .. } = self.config.clone();
        Classifier::from_network(Shared(self.program.clone()), labels, input, preprocessing, &Device::Cpu)
    }

    /// Adds an entry to the file's metadata, such as an accuracy.
    pub fn note(&mut self, key: &str, value: impl Into<String>) {
        self.model.metadata_props.push(Entry { key: key.to_owned(), value: value.into() });
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.model.encode_to_vec()
    }

    /// Writes [`to_bytes`](Self::to_bytes) to the file `path`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn export(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        fer_files::write(path, self.to_bytes()).map_err(Error::io(path))
    }
}
