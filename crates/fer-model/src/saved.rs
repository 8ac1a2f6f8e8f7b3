//! A model on disk: `model.safetensors` with the weights and `model.toml` with all else.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use fer_files::printable;
use fer_nn::Graph;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{
    Architecture, DcnnConfig, Error, Input, LayerConfig, LayersConfig, Preprocessing, ResnetConfig, VggConfig,
};

/// The version of the format that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;

const WEIGHTS: &str = "model.safetensors";
const SETTINGS: &str = "model.toml";

/// What a tensor may be stored as.
const FLOATS: [&str; 2] = ["F32", "F16"];

/// What `model.toml` holds: everything that is needed to use the weights.
///
/// The file has one table with the architecture's name; for `dcnn` that table holds the images' size too, for the others
/// the table `input` does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub struct ModelConfig {
    /// The names of the classes, in the order of the outputs.
    pub labels: Vec<String>,
    /// What is done to an image before the network sees it.
    pub preprocessing: Preprocessing,
    /// The size of the images that the network sees.
    pub input: Input,
    /// The architecture.
    pub architecture: Architecture,
}

/// `model.toml` as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format_version: u32,
    labels: Vec<String>,
    #[serde(default)]
    preprocessing: Preprocessing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<Input>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dcnn: Option<DcnnConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vgg: Option<VggConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resnet: Option<ResnetConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<LayerConfig>>,
}

impl From<ModelConfig> for File {
    fn from(config: ModelConfig) -> Self {
        let ModelConfig { labels, preprocessing, input, architecture } = config;
        let mut file = Self {
            format_version: FORMAT_VERSION,
            preprocessing,
            input: Some(input),
            dcnn: None,
            vgg: None,
            resnet: None,
            layers: None,
            labels,
        };
        match architecture {
            Architecture::Dcnn(dcnn) => {
                file.dcnn = Some(dcnn.of(input, file.labels.len()));
                file.input = None;
            }
            Architecture::Vgg(vgg) => file.vgg = Some(vgg),
            Architecture::Resnet(resnet) => file.resnet = Some(resnet),
            Architecture::Layers(config) => file.layers = Some(config.layers),
        }
        file
    }
}

impl TryFrom<File> for ModelConfig {
    type Error = Error;

    fn try_from(file: File) -> Result<Self, Error> {
        let File { labels, preprocessing, input, dcnn, vgg, resnet, layers, .. } = file;
        dcnn.as_ref().map_or(Ok(()), DcnnConfig::validate)?;
        let of_dcnn = dcnn.as_ref().map(|dcnn| (dcnn.input(), dcnn.classes));
        let layers = layers.map(|layers| LayersConfig { layers });
        let all = [dcnn.map(Into::into), vgg.map(Into::into), resnet.map(Into::into), layers.map(Into::into)];
        let mut given = all.into_iter().flatten();
        let (Some(architecture), None) = (given.next(), given.next()) else {
            return Err(Error::config(
                "the architecture",
                "missing or given twice",
                "one of dcnn, vgg, resnet, layers",
            ));
        };
        if let (Some(input), Some((own, _))) = (input, of_dcnn)
            && input != own
        {
            return Err(Error::config("input", format!("{input:?}"), format!("{own:?}, as dcnn says")));
        }
        let Some(input) = input.or(of_dcnn.map(|(input, _)| input)) else {
            return Err(Error::config("input", "missing", "channels, height and width of the images"));
        };
        if let Some((_, classes)) = of_dcnn.filter(|(_, classes)| *classes != labels.len()) {
            return Err(Error::Labels { labels: labels.len(), classes });
        }
        let config = Self { labels, preprocessing, input, architecture };
        config.validate()?;
        Ok(config)
    }
}

impl ModelConfig {
    /// The configuration of a network for images of this size with these labels, and the default preprocessing.
    ///
    /// # Errors
    /// When the architecture is invalid or does not fit the images and the labels.
    pub fn new(
        architecture: impl Into<Architecture>,
        input: Input,
        labels: Vec<String>,
    ) -> Result<Self, Error> {
        let architecture = match architecture.into() {
            Architecture::Dcnn(dcnn) => dcnn.of(input, labels.len()).into(),
            other => other,
        };
        let config = Self { labels, preprocessing: Default::default(), input, architecture };
        config.validate()?;
        Ok(config)
    }

    /// The same with this preprocessing.
    ///
    /// # Errors
    /// When one of its numbers is not allowed.
    pub fn preprocessed(self, preprocessing: Preprocessing) -> Result<Self, Error> {
        preprocessing.validate()?;
        Ok(Self { preprocessing, ..self })
    }

    /// The configuration of the notebook's network with these labels and the default preprocessing.
    ///
    /// # Errors
    /// When the architecture is invalid or the labels are not one a class.
    pub fn dcnn(dcnn: DcnnConfig, labels: Vec<String>) -> Result<Self, Error> {
        if labels.len() != dcnn.classes {
            return Err(Error::Labels { labels: labels.len(), classes: dcnn.classes });
        }
        let input = dcnn.input();
        Self::new(dcnn, input, labels)
    }

    fn validate(&self) -> Result<(), Error> {
        check_labels(&self.labels)?;
        self.preprocessing.validate()?;
        self.architecture.validate(self.input, self.labels.len())
    }

    /// The network, from the variables of `vb`.
    ///
    /// # Errors
    /// As [`Architecture::network`].
    pub fn network(&self, vb: VarBuilder) -> Result<Graph, Error> {
        self.architecture.network(self.input, self.labels.len(), vb)
    }

    /// Every tensor of the network: its full name and its shape.
    ///
    /// # Errors
    /// When the architecture is invalid.
    pub fn tensors(&self) -> Result<Vec<(String, Vec<usize>)>, Error> {
        self.architecture.tensors(self.input, self.labels.len())
    }

    /// The table that Keras' `model.summary()` prints.
    ///
    /// # Errors
    /// When the architecture is invalid.
    pub fn summary(&self) -> Result<String, Error> {
        self.architecture.summary(self.input, self.labels.len())
    }

    /// Reads `model.toml`'s text; `name` stands for it in errors.
    pub(crate) fn parse(text: &str, name: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let toml = |e: toml::de::Error| Error::Toml { name: name.to_owned(), message: e.to_string() };
        let Version { format_version: found } = toml::from_str(text).map_err(toml)?;
        if found != FORMAT_VERSION {
            return Err(Error::FormatVersion { name: name.to_owned(), found, expected: FORMAT_VERSION });
        }
        toml::from_str::<File>(text).map_err(toml)?.try_into()
    }
}

/// Names without space around them, each another.
pub(crate) fn check_labels(labels: &[String]) -> Result<(), Error> {
    for (i, label) in labels.iter().enumerate() {
        let wrong = |allowed| Err(Error::config("labels", format!("'{}'", label.escape_debug()), allowed));
        if label.is_empty() || label.trim() != label || label.contains(char::is_control) {
            return wrong("names without space around them, at least a letter long");
        }
        if labels[..i].contains(label) {
            return wrong("each name once");
        }
    }
    Ok(())
}

/// Tensors by name: the variables of a network in training, or tensors read from a file.
pub trait NamedTensors {
    /// The tensor of this name, as `conv2d_1.weight`.
    fn named(&self, name: &str) -> Option<Tensor>;
}

impl NamedTensors for VarMap {
    fn named(&self, name: &str) -> Option<Tensor> {
        let vars = self.data().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        vars.get(name).map(|var| var.as_detached_tensor())
    }
}

impl NamedTensors for HashMap<String, Tensor> {
    fn named(&self, name: &str) -> Option<Tensor> {
        self.get(name).cloned()
    }
}

impl NamedTensors for BTreeMap<String, Tensor> {
    fn named(&self, name: &str) -> Option<Tensor> {
        self.get(name).cloned()
    }
}

/// Writes `model.safetensors` and `model.toml` into `dir`, which is made if needed. The tensors that `config`
/// names are taken from `tensors` and written as they are: in f32, or in f16, which is half as large.
///
/// # Errors
/// When a tensor is missing or has another shape, or a file cannot be written.
pub fn save(dir: impl AsRef<Path>, config: &ModelConfig, tensors: &impl NamedTensors) -> Result<(), Error> {
    let dir = dir.as_ref();
    config.validate()?;
    let name = printable(dir.join(WEIGHTS).display());
    let tensors = checked(tensors, config.tensors()?, &name)?;
    let weights = safetensors::serialize(&tensors, None)
        .map_err(|source| Error::Safetensors { name: name.clone(), source })?;
    let settings = toml::to_string(config)
        .map_err(|e| Error::Toml { name: printable(dir.join(SETTINGS).display()), message: e.to_string() })?;
    let write = |name, bytes: &[u8]| {
        let path = dir.join(name);
        fer_files::write(&path, bytes).map_err(Error::io(&path))
    };
    write(WEIGHTS, &weights)?;
    write(SETTINGS, settings.as_bytes())
}

/// The tensors of these names and shapes on the CPU, for the file `name`.
pub(crate) fn checked(
    tensors: &impl NamedTensors,
    wanted: Vec<(String, Vec<usize>)>,
    name: &str,
) -> Result<HashMap<String, Tensor>, Error> {
    let take = |(tensor, shape): (String, Vec<usize>)| {
        let Some(value) = tensors.named(&tensor) else {
            return Err(Error::MissingTensor { name: name.to_owned(), tensor });
        };
        check_shape(name, &tensor, &FLOATS, &shape, &format!("{:?}", value.dtype()), value.dims())?;
        Ok((tensor, value.to_device(&Device::Cpu)?))
    };
    wanted.into_iter().map(take).collect()
}

/// Reads what [`save`] wrote: the configuration and, on the CPU and in f32, the tensors that
/// [`ModelConfig::tensors`] names.
///
/// # Errors
/// As [`Classifier::open`](crate::Classifier::open).
pub fn load(dir: impl AsRef<Path>) -> Result<(ModelConfig, HashMap<String, Tensor>), Error> {
    let dir = dir.as_ref();
    let (settings, weights) = (dir.join(SETTINGS), dir.join(WEIGHTS));
    let text = fs::read_to_string(&settings).map_err(Error::io(&settings))?;
    let config = ModelConfig::parse(&text, &printable(settings.display()))?;
    let bytes = fs::read(&weights).map_err(Error::io(&weights))?;
    let tensors = read_tensors(config.tensors()?, &bytes, &printable(weights.display()))?;
    Ok((config, tensors))
}

/// As [`load`], the network that comes with the project.
///
/// # Errors
/// When there is no memory for it.
#[cfg(feature = "pretrained")]
pub fn load_pretrained() -> Result<(ModelConfig, HashMap<String, Tensor>), Error> {
    let config = ModelConfig::parse(fer_weights::TOML, "model.toml")?;
    let tensors = read_tensors(config.tensors()?, fer_weights::SAFETENSORS, "model.safetensors")?;
    Ok((config, tensors))
}

/// The tensors of these names and shapes from the bytes of a safetensors file; `name` stands for it in errors.
pub(crate) fn read_tensors(
    wanted: Vec<(String, Vec<usize>)>,
    bytes: &[u8],
    name: &str,
) -> Result<HashMap<String, Tensor>, Error> {
    let damaged = |source| Error::Safetensors { name: name.to_owned(), source };
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut tensors = HashMap::new();
    for (tensor, shape) in wanted {
        let Ok(view) = file.tensor(&tensor) else {
            return Err(Error::MissingTensor { name: name.to_owned(), tensor });
        };
        check_shape(name, &tensor, &FLOATS, &shape, &format!("{:?}", view.dtype()), view.shape())?;
        let stored = if view.dtype() == safetensors::Dtype::F16 { DType::F16 } else { DType::F32 };
        if !is_finite(view.data(), stored) {
            return Err(Error::NotFinite { name: name.to_owned(), tensor });
        }
        let value =
            Tensor::from_raw_buffer(view.data(), stored, &shape, &Device::Cpu)?.to_dtype(DType::F32)?;
        tensors.insert(tensor, value);
    }
    for extra in file.names().into_iter().filter(|extra| !tensors.contains_key(*extra)) {
        tracing::warn!("{name}: tensor '{extra}' is not part of the architecture and is not used");
    }
    Ok(tensors)
}

/// Whether these little-endian floats are all finite: the exponent of infinity and NaN is all ones.
fn is_finite(bytes: &[u8], stored: DType) -> bool {
    match stored {
        DType::F16 => bytes.chunks_exact(2).all(|v| v[1] & 0x7c != 0x7c),
        _ => bytes.chunks_exact(4).all(|v| (v[3] & 0x7f, v[2] & 0x80) != (0x7f, 0x80)),
    }
}

pub(crate) fn check_shape(
    name: &str,
    tensor: &str,
    dtypes: &[&str],
    expected: &[usize],
    dtype: &str,
    found: &[usize],
) -> Result<(), Error> {
    if dtypes.contains(&dtype) && expected == found {
        return Ok(());
    }
    Err(Error::TensorShape {
        name: name.to_owned(),
        tensor: printable(tensor),
        expected: format!("{} {expected:?}", dtypes.join(" or ")),
        found: format!("{dtype} {found:?}"),
    })
}
