//! A trained network, ready to be asked.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use fer_nn::{Compute, Mode, Network};
use image::DynamicImage;

use crate::saved::{self, ModelConfig};
use crate::{Dcnn, Error, to_grey};

/// Images that go through the network at once: as many as the CPU's caches like, or as fill a card.
fn batch(device: &Device) -> usize {
    if device.is_cpu() { 64 } else { 1024 }
}

/// A trained network with its labels and its preprocessing. It can be shared between threads.
#[derive(Clone, Debug)]
pub struct Classifier {
    net: Dcnn,
    config: ModelConfig,
    device: Device,
}

/// What the network says of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The most probable label.
    pub label: String,
    /// Every label with its probability, in the order of the classes; they sum to 1.
    pub probabilities: Vec<(String, f32)>,
}

impl Classifier {
    /// Loads the model in the folder `dir` (`model.safetensors` and `model.toml`) for the CPU.
    ///
    /// # Errors
    /// When a file is missing, damaged, of another format version or does not fit the architecture.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_on(dir, &Device::Cpu)
    }

    /// Loads the model in the folder `dir` for `device`.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when the device has no room for it.
    pub fn open_on(dir: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        let (config, tensors) = saved::load(dir.as_ref())?;
        Self::new(config, tensors, device)
    }

    /// The same classifier, computing like this on a card.
    pub fn compute(self, compute: Compute) -> Self {
        Self { net: self.net.compute(compute), ..self }
    }

    /// Makes a classifier from the contents of `model.toml` and `model.safetensors`, embedded or received.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(model_toml: &str, model_safetensors: &[u8]) -> Result<Self, Error> {
        let config = ModelConfig::parse(model_toml, "model.toml")?;
        let tensors = saved::read_tensors(&config.dcnn, model_safetensors, "model.safetensors")?;
        Self::new(config, tensors, &Device::Cpu)
    }

    /// Makes a classifier of these tensors on `device`.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit the architecture.
    pub fn new(
        config: ModelConfig,
        tensors: HashMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self, Error> {
        let vb = VarBuilder::from_tensors(tensors, DType::F32, device);
        Ok(Self { net: Dcnn::new(&config.dcnn, vb)?, config, device: device.clone() })
    }

    /// The labels, in the order of the classes.
    pub fn labels(&self) -> &[String] {
        &self.config.labels
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What the network says of one image of any size and colour type (see [`to_grey`]).
    ///
    /// # Errors
    /// When the device fails.
    pub fn predict(&self, image: &DynamicImage) -> Result<Prediction, Error> {
        let mut predictions = self.predict_batch(std::slice::from_ref(image))?;
        // One image gives one prediction.
        Ok(predictions.swap_remove(0))
    }

    /// What the network says of an encoded image (PNG or JPEG) in memory.
    ///
    /// # Errors
    /// When the bytes are no readable image, or the device fails.
    pub fn predict_encoded(&self, bytes: &[u8]) -> Result<Prediction, Error> {
        self.predict(&image::load_from_memory(bytes)?)
    }

    /// What the network says of many images, in their order.
    ///
    /// # Errors
    /// When the device fails.
    pub fn predict_batch(&self, images: &[DynamicImage]) -> Result<Vec<Prediction>, Error> {
        let (width, height) = (self.config.dcnn.width as u32, self.config.dcnn.height as u32);
        let pixels: Vec<u8> =
            images.iter().flat_map(|image| to_grey(image, width, height).into_raw()).collect();
        let rows = self.predict_pixels(&pixels)?;
        Ok(rows.into_iter().map(|row| self.prediction(row)).collect())
    }

    /// The probabilities of each class, for grey images of the network's own size.
    ///
    /// `pixels` holds the images one after the other, row by row, `height·width` values each, 0..=255.
    ///
    /// # Errors
    /// When the pixels are not a whole number of images, the network is not for grey images, or the device fails.
    pub fn predict_pixels(&self, pixels: &[u8]) -> Result<Vec<Vec<f32>>, Error> {
        let dcnn = &self.config.dcnn;
        if dcnn.channels != 1 {
            return Err(Error::config("channels", dcnn.channels, "1: images are converted to grey"));
        }
        let size = dcnn.height * dcnn.width;
        if !pixels.len().is_multiple_of(size) {
            return Err(Error::config("pixels", pixels.len(), format!("a multiple of {size}")));
        }
        let mut rows = Vec::with_capacity(pixels.len() / size);
        for batch in pixels.chunks(batch(&self.device) * size) {
            let scaled: Vec<f32> =
                batch.iter().map(|&v| f32::from(v) * self.config.preprocessing.scale).collect();
            let shape = (batch.len() / size, 1, dcnn.height, dcnn.width);
            let images = Tensor::from_vec(scaled, shape, &self.device)?;
            let logits = self.net.forward(&images, Mode::Eval)?;
            rows.extend(candle_nn::ops::softmax(&logits, 1)?.to_vec2::<f32>()?);
        }
        Ok(rows)
    }

    fn prediction(&self, row: Vec<f32>) -> Prediction {
        let probabilities: Vec<(String, f32)> = self.labels().iter().cloned().zip(row).collect();
        // The first of the most probable, as NumPy's argmax.
        let best = probabilities.iter().reduce(|best, p| if p.1 > best.1 { p } else { best });
        Prediction { label: best.map(|(label, _)| label.clone()).unwrap_or_default(), probabilities }
    }
}
