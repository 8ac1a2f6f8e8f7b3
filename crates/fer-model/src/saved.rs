//! A model on disk: `model.safetensors` with the weights and `model.toml` with all else.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{DcnnConfig, Error};

/// The version of the format that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;

const WEIGHTS: &str = "model.safetensors";
const SETTINGS: &str = "model.toml";

/// What `model.toml` holds: everything that is needed to use the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The names of the classes, in the order of the outputs.
    pub labels: Vec<String>,
    /// What is done to an image before the network sees it.
    #[serde(default)]
    pub preprocessing: Preprocessing,
    /// The architecture.
    pub dcnn: DcnnConfig,
}

/// What is done to an image before the network sees it, after [`to_grey`](crate::to_grey).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocessing {
    /// Grey values 0..=255 are multiplied by this; 1/255.
    pub scale: f32,
}

impl Default for Preprocessing {
    fn default() -> Self {
        Self { scale: 1.0 / 255.0 }
    }
}

impl ModelConfig {
    /// The configuration of a network with these labels and the default preprocessing.
    ///
    /// # Errors
    /// When the architecture is invalid or the labels are not one a class.
    pub fn new(dcnn: DcnnConfig, labels: Vec<String>) -> Result<Self, Error> {
        let config = Self { format_version: FORMAT_VERSION, labels, preprocessing: Default::default(), dcnn };
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), Error> {
        self.dcnn.validate()?;
        if self.labels.len() != self.dcnn.classes {
            return Err(Error::Labels { labels: self.labels.len(), classes: self.dcnn.classes });
        }
        if !(self.preprocessing.scale.is_finite() && self.preprocessing.scale > 0.0) {
            return Err(Error::config("preprocessing.scale", self.preprocessing.scale, "above 0"));
        }
        Ok(())
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
        let config: Self = toml::from_str(text).map_err(toml)?;
        config.validate()?;
        Ok(config)
    }
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
/// names are taken from `tensors`.
///
/// # Errors
/// When a tensor is missing or has another shape, or a file cannot be written.
pub fn save(dir: &Path, config: &ModelConfig, tensors: &impl NamedTensors) -> Result<(), Error> {
    config.validate()?;
    let name = dir.join(WEIGHTS).display().to_string();
    let tensors = checked(tensors, &config.dcnn, &name)?;
    let weights = safetensors::serialize(&tensors, None)
        .map_err(|source| Error::Safetensors { name: name.clone(), source })?;
    let settings = toml::to_string(config).map_err(|e| Error::Toml {
        name: dir.join(SETTINGS).display().to_string(),
        message: e.to_string(),
    })?;
    let write = |name, bytes: &[u8]| {
        let path = dir.join(name);
        fer_files::write(&path, bytes).map_err(Error::io(&path))
    };
    write(WEIGHTS, &weights)?;
    write(SETTINGS, settings.as_bytes())
}

/// The tensors of this architecture on the CPU, for the file `name`.
pub(crate) fn checked(
    tensors: &impl NamedTensors,
    dcnn: &DcnnConfig,
    name: &str,
) -> Result<HashMap<String, Tensor>, Error> {
    let take = |(tensor, shape): (String, Vec<usize>)| {
        let Some(value) = tensors.named(&tensor) else {
            return Err(Error::MissingTensor { name: name.to_owned(), tensor });
        };
        check_shape(name, &tensor, &shape, &format!("{:?}", value.dtype()), value.dims())?;
        Ok((tensor, value.to_device(&Device::Cpu)?))
    };
    dcnn.tensors().map(take).collect()
}

/// Reads what [`save`] wrote: the configuration and, on the CPU, the tensors that
/// [`DcnnConfig::tensors`] names.
///
/// # Errors
/// As [`Classifier::open`](crate::Classifier::open).
pub fn load(dir: &Path) -> Result<(ModelConfig, HashMap<String, Tensor>), Error> {
    let (settings, weights) = (dir.join(SETTINGS), dir.join(WEIGHTS));
    let text = fs::read_to_string(&settings).map_err(Error::io(&settings))?;
    let config = ModelConfig::parse(&text, &settings.display().to_string())?;
    let bytes = fs::read(&weights).map_err(Error::io(&weights))?;
    let tensors = read_tensors(&config.dcnn, &bytes, &weights.display().to_string())?;
    Ok((config, tensors))
}

/// The tensors of this architecture from the bytes of a safetensors file; `name` stands for it in errors.
pub(crate) fn read_tensors(
    dcnn: &DcnnConfig,
    bytes: &[u8],
    name: &str,
) -> Result<HashMap<String, Tensor>, Error> {
    let damaged = |source| Error::Safetensors { name: name.to_owned(), source };
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut tensors = HashMap::new();
    for (tensor, shape) in dcnn.tensors() {
        let Ok(view) = file.tensor(&tensor) else {
            return Err(Error::MissingTensor { name: name.to_owned(), tensor });
        };
        check_shape(name, &tensor, &shape, &format!("{:?}", view.dtype()), view.shape())?;
        let value = Tensor::from_raw_buffer(view.data(), DType::F32, &shape, &Device::Cpu)?;
        tensors.insert(tensor, value);
    }
    for extra in file.names().into_iter().filter(|extra| !tensors.contains_key(*extra)) {
        tracing::warn!("{name}: tensor '{extra}' is not part of the architecture and is not used");
    }
    Ok(tensors)
}

pub(crate) fn check_shape(
    name: &str,
    tensor: &str,
    expected: &[usize],
    dtype: &str,
    found: &[usize],
) -> Result<(), Error> {
    if dtype == "F32" && expected == found {
        return Ok(());
    }
    Err(Error::TensorShape {
        name: name.to_owned(),
        tensor: tensor.to_owned(),
        expected: format!("F32 {expected:?}"),
        found: format!("{dtype} {found:?}"),
    })
}
