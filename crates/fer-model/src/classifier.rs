//! A trained network, ready to be asked.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use fer_nn::{Compute, Graph, Mode, Network};
use image::DynamicImage;

use crate::limits::size;
use crate::preprocessing::pixels;
use crate::saved::{self, ModelConfig, NamedTensors};
use crate::{Error, Input, Prediction, Preprocessing, Result, Views};

/// Images that go through the network at once: as many as the CPU's caches like, or as fill a card.
fn batch(device: &Device) -> usize {
    if device.is_cpu() { 64 } else { 1024 }
}

/// A trained network with its labels and its preprocessing. It can be shared between threads.
#[derive(Clone, Debug)]
pub struct Classifier {
    net: Net,
    labels: Vec<String>,
    input: Input,
    preprocessing: Preprocessing,
    views: Views,
    device: Device,
}

/// What gives the logits.
#[derive(Clone)]
enum Net {
    Graph(Graph),
    Own(Arc<dyn Network + Send + Sync>),
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Graph(graph) => graph.fmt(f),
            Self::Own(_) => f.write_str("a network of one's own"),
        }
    }
}

impl Classifier {
    /// Loads the model in the folder `dir` (`model.safetensors` and `model.toml`) for the CPU.
    ///
    /// # Errors
    /// When a file is missing, damaged, of another format version or does not fit the architecture.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(dir, &Device::Cpu)
    }

    /// Loads the model in the folder `dir` for `device`.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when the device has no room for it.
    pub fn open_on(dir: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let (config, tensors) = saved::load(dir.as_ref())?;
        Self::of(config, tensors, device)
    }

    /// The same classifier, computing like this on a card. A network of one's own is left as it is.
    pub fn compute(self, compute: Compute) -> Self {
        let net = match self.net {
            Net::Graph(graph) => Net::Graph(graph.compute(compute)),
            own => own,
        };
        Self { net, ..self }
    }

    /// The same classifier, looking at each image in these ways. By default it looks once, at the image as it is.
    pub fn views(self, views: Views) -> Self {
        Self { views, ..self }
    }

    /// Makes a classifier from the contents of `model.toml` and `model.safetensors`, embedded or received.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(model_toml: &str, model_safetensors: &[u8]) -> Result<Self> {
        let config = ModelConfig::parse(model_toml, "model.toml")?;
        let tensors = saved::read_tensors(config.tensors()?, model_safetensors, "model.safetensors")?;
        Self::of(config, tensors, &Device::Cpu)
    }

    /// The classifier that comes with the project: eight expressions of a grey face, for the CPU. `fer-weights` has its card.
    ///
    /// # Errors
    /// When there is no memory for it.
    #[cfg(feature = "pretrained")]
    pub fn pretrained() -> Result<Self> {
        let (config, tensors) = saved::load_pretrained()?;
        Self::of(config, tensors, &Device::Cpu)
    }

    /// Makes a classifier of these tensors on `device`: of those that were read, or the variables of a training, which are
    /// copied.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit the architecture.
    pub fn new(config: ModelConfig, tensors: &impl NamedTensors, device: &Device) -> Result<Self> {
        let tensors = saved::checked(tensors, config.tensors()?, "the classifier")?;
        let copies = tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.copy()?)));
        Self::of(config, copies.collect::<Result<_>>()?, device)
    }

    fn of(config: ModelConfig, tensors: HashMap<String, Tensor>, device: &Device) -> Result<Self> {
        let net = Net::Graph(config.network(VarBuilder::from_tensors(tensors, DType::F32, device))?);
        let ModelConfig { labels, preprocessing, input, architecture: _ } = config;
        Ok(Self { net, labels, input, preprocessing, views: Views::default(), device: device.clone() })
    }

    /// Makes a classifier of a network of one's own, whatever it is made of, on the device `device`: its images are of the
    /// size `input`, its logits are of these labels, in their order.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::{Linear, Module, VarBuilder, VarMap};
    /// use fer_model::{Classifier, Input, Preprocessing};
    /// use fer_nn::{Mode, Network};
    ///
    /// struct Line(Linear);
    ///
    /// impl Network for Line {
    ///     fn forward(&self, images: &Tensor, _mode: Mode) -> candle_core::Result<Tensor> {
    ///         self.0.forward(&images.flatten_from(1)?)
    ///     }
    /// }
    ///
    /// let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
    /// let line = Line(candle_nn::linear(8 * 8, 2, vb)?);
    /// let labels = vec!["bird".to_owned(), "cat".to_owned()];
    /// let classifier =
    ///     Classifier::from_network(line, labels, Input::grey(8), Preprocessing::default(), &Device::Cpu)?;
    /// let prediction = classifier.predict(&image::DynamicImage::new_luma8(20, 30))?;
    /// assert_eq!(prediction.probabilities.len(), 2);
    /// # Ok::<(), fer_model::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the labels are not names, each another, the images have no pixels, or the preprocessing is of no use. That the network gives other than one
    /// logit a label is an error when it is asked.
    pub fn from_network(
        network: impl Network + Send + Sync + 'static,
        labels: Vec<String>,
        input: Input,
        preprocessing: Preprocessing,
        device: &Device,
    ) -> Result<Self> {
        saved::check_labels(&labels)?;
        preprocessing.validate()?;
        size("channels", input.channels, 1)?;
        size("height", input.height, 1)?;
        size("width", input.width, 1)?;
        let net = Net::Own(Arc::new(network));
        Ok(Self { net, labels, input, preprocessing, views: Views::default(), device: device.clone() })
    }

    /// The labels, in the order of the classes.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The size of the images that the network sees.
    pub fn input(&self) -> Input {
        self.input
    }

    /// What is done to an image before the network sees it.
    pub fn preprocessing(&self) -> Preprocessing {
        self.preprocessing
    }

    /// What the network says of one image of any size and colour type (see [`Preprocessing`](crate::Preprocessing)).
    ///
    /// # Errors
    /// When the image has no pixels, or the device fails.
    pub fn predict(&self, image: &DynamicImage) -> Result<Prediction> {
        let mut predictions = self.predict_batch([image])?;
        // One image gives one prediction.
        Ok(predictions.swap_remove(0))
    }

    /// What the network says of an encoded picture in memory (PNG, JPEG, BMP, GIF, TIFF, WebP), turned as its EXIF
    /// orientation says.
    ///
    /// # Errors
    /// When the bytes are no picture, or a damaged one, or one that is cut off; when the device fails.
    pub fn predict_encoded(&self, bytes: &[u8]) -> Result<Prediction> {
        self.predict(&fer_picture::decode(bytes)?)
    }

    /// What the network says of the picture in a file, as [`predict_encoded`](Self::predict_encoded).
    ///
    /// # Errors
    /// As [`predict_encoded`](Self::predict_encoded), with the file's name, and when it cannot be read.
    pub fn predict_file(&self, path: impl AsRef<Path>) -> Result<Prediction> {
        self.predict(&fer_picture::read(path)?)
    }

    /// What the network says of many images, in their order.
    ///
    /// # Errors
    /// When an image has no pixels, or the device fails.
    pub fn predict_batch<'a>(
        &self,
        images: impl IntoIterator<Item = &'a DynamicImage>,
    ) -> Result<Vec<Prediction>> {
        let mut all = Vec::new();
        for image in images {
            all.extend(self.pixels(image)?);
        }
        let rows = self.predict_pixels(&all)?;
        Ok(rows.into_iter().map(|row| Prediction::of(self.labels(), row)).collect())
    }

    /// The probabilities of each class, for images of the network's own size.
    ///
    /// `pixels` holds the images one after the other, `channels·height·width` values each, 0..=255: the rows of one channel,
    /// then those of the next.
    ///
    /// # Errors
    /// When the pixels are not a whole number of images, the network's values overflow, or the device fails.
    pub fn predict_pixels(&self, pixels: &[u8]) -> Result<Vec<Vec<f32>>> {
        let Input { channels, height, width } = self.input;
        let size = channels * height * width;
        if !pixels.len().is_multiple_of(size) {
            return Err(Error::config("pixels", pixels.len(), format!("a multiple of {size}")));
        }
        let mut rows = Vec::with_capacity(pixels.len() / size);
        for batch in pixels.chunks(batch(&self.device) * size) {
            let logits = self.logits(batch)?;
            if self.views.is_one() {
                rows.extend(candle_nn::ops::softmax(&logits, 1)?.to_vec2::<f32>()?);
                continue;
            }
            let mut sum = candle_nn::ops::log_softmax(&logits, 1)?;
            for view in self.views.others() {
                let logits = self.logits(&view.of(batch, self.input))?;
                sum = (sum + candle_nn::ops::log_softmax(&logits, 1)?)?;
            }
            let mean = (sum / self.views.count() as f64)?;
            rows.extend(candle_nn::ops::softmax(&mean, 1)?.to_vec2::<f32>()?);
        }
        match rows.iter().position(|row| row.iter().any(|p| !p.is_finite())) {
            Some(image) => Err(Error::NoProbabilities { image }),
            None => Ok(rows),
        }
    }

    /// An image at the network's size, channel by channel.
    pub(crate) fn pixels(&self, image: &DynamicImage) -> Result<Vec<u8>> {
        let channels = self.input.channels;
        if !matches!(channels, 1 | 3) {
            return Err(Error::config("channels", channels, "1 or 3: images are grey or have three colours"));
        }
        if image.width() == 0 || image.height() == 0 {
            let found = format!("{}×{}", image.width(), image.height());
            return Err(Error::config("an image", found, "at least one pixel"));
        }
        Ok(pixels(image, self.input, self.preprocessing.resize))
    }

    /// The network's layers, where they are known.
    pub(crate) fn graph(&self) -> Option<&Graph> {
        match &self.net {
            Net::Graph(graph) => Some(graph),
            Net::Own(_) => None,
        }
    }

    /// Images as the network takes them.
    pub(crate) fn tensor(&self, pixels: &[u8]) -> Result<Tensor> {
        let Input { channels, height, width } = self.input;
        let shape = (pixels.len() / (channels * height * width), channels, height, width);
        let preprocessing = &self.preprocessing;
        match self.device.is_cpu() {
            true => {
                let values: Vec<f32> = pixels.iter().map(|&v| preprocessing.value(v)).collect();
                Ok(Tensor::from_vec(values, shape, &self.device)?)
            }
            // A quarter of the bytes travel.
            false => {
                let (scale, mean, deviation) = preprocessing.factors();
                let bytes = Tensor::from_slice(pixels, shape, &self.device)?.to_dtype(DType::F32)?;
                Ok(bytes.affine(scale / deviation, -mean / deviation)?)
            }
        }
    }

    /// The logits of images as they are.
    fn logits(&self, pixels: &[u8]) -> Result<Tensor> {
        let images = self.tensor(pixels)?;
        let logits = match &self.net {
            Net::Graph(graph) => graph.forward(&images, Mode::Eval)?,
            Net::Own(network) => network.forward(&images, Mode::Eval)?,
        };
        match logits.dims2()? {
            (_, classes) if classes == self.labels.len() => Ok(logits),
            (_, classes) => Err(Error::Labels { labels: self.labels.len(), classes }),
        }
    }
}
