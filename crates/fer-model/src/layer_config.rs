//! A network written out layer by layer, and made from that.

use std::collections::HashMap;
use std::sync::Arc;

use candle_nn::VarBuilder;
use fer_nn::initializer::{fan_in_uniform, glorot_uniform, he_normal};
use fer_nn::{
    Activation, BatchNormConfig, Conv2dConfig, ConvTranspose2dConfig, DenseConfig, Flatten, GlobalMean,
    Graph, Layer, MaxPool2d, MeanPool2d, MovingVariance, Padding, Upsample, Value, batch_norm,
    conv_transpose2d, conv2d, dense, dropout, prelu,
};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_UNITS;
use crate::{Error, Input, Result};

/// One layer of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// The layer's name, which its tensors begin with; each layer has another.
    pub name: String,
    /// The layers that it reads: two for a sum, else one. The layer before it when there is none; `images` is the
    /// network's input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// What it is.
    pub is: LayerKind,
}

/// What a layer is, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the settings are those of fer-nn's layers of these names")]
pub enum LayerKind {
    #[serde(rename = "conv2d")]
    Conv2d {
        filters: usize,
        kernel: usize,
        #[serde(default = "one")]
        stride: usize,
        #[serde(default)]
        padding: Padding,
        #[serde(default = "one")]
        groups: usize,
        #[serde(default = "yes")]
        bias: bool,
        #[serde(default)]
        activation: Activation,
    },
    #[serde(rename = "conv_transpose2d")]
    ConvTranspose2d {
        filters: usize,
        kernel: usize,
        stride: usize,
        #[serde(default = "valid")]
        padding: Padding,
        #[serde(default = "yes")]
        bias: bool,
        #[serde(default)]
        activation: Activation,
    },
    Dense {
        units: usize,
        #[serde(default = "yes")]
        bias: bool,
        #[serde(default)]
        activation: Activation,
        #[serde(default)]
        initializer: Initializer,
    },
    BatchNorm {
        momentum: f64,
        epsilon: f64,
        moving_variance: MovingVariance,
    },
    Activation(Activation),
    PRelu,
    #[serde(rename = "max_pool2d")]
    MaxPool2d {
        size: usize,
        stride: usize,
        #[serde(default = "valid")]
        padding: Padding,
    },
    #[serde(rename = "mean_pool2d")]
    MeanPool2d {
        size: usize,
        stride: usize,
        #[serde(default = "valid")]
        padding: Padding,
    },
    GlobalMean,
    Dropout {
        rate: f32,
    },
    Flatten,
    Upsample {
        factor: usize,
    },
    Sum,
}

/// What a dense layer's weight begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initializer {
    /// [`glorot_uniform`](fer_nn::initializer::glorot_uniform).
    #[default]
    GlorotUniform,
    /// [`he_normal`](fer_nn::initializer::he_normal).
    HeNormal,
    /// [`fan_in_uniform`](fer_nn::initializer::fan_in_uniform).
    FanInUniform,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

fn valid() -> Padding {
    Padding::Valid
}

impl LayerConfig {
    /// A layer that reads the one before it.
    pub(crate) fn new(name: impl Into<String>, is: LayerKind) -> Self {
        Self { name: name.into(), inputs: Vec::new(), is }
    }

    /// The same, reading these layers.
    pub(crate) fn reading(self, inputs: &[&str]) -> Self {
        Self { inputs: inputs.iter().map(|&name| name.to_owned()).collect(), ..self }
    }
}

impl LayerKind {
    /// A batch normalisation with these settings.
    pub fn batch_norm(config: BatchNormConfig) -> Self {
        let BatchNormConfig { momentum, epsilon, moving_variance } = config;
        Self::BatchNorm { momentum, epsilon, moving_variance }
    }

    /// The same layer, whatever its weights begin with.
    #[cfg(feature = "keras")]
    pub(crate) fn without_initializer(self) -> Self {
        match self {
            Self::Dense { units, bias, activation, .. } => {
                Self::Dense { units, bias, activation, initializer: Initializer::default() }
            }
            other => other,
        }
    }

    /// The layer under a name, for an input of these dimensions; none for a sum.
    pub(crate) fn layer(
        &self,
        name: &str,
        input: &[usize],
        vb: VarBuilder,
    ) -> candle_core::Result<Option<Arc<dyn Layer>>> {
        let channels = input.get(1).copied().unwrap_or(0);
        Ok(Some(match *self {
            Self::Conv2d { filters, kernel, stride, padding, groups, bias, activation } => {
                check_size([filters, channels, kernel, kernel])?;
                let config = Conv2dConfig { padding, stride, groups, bias, activation };
                Arc::new(conv2d(channels, filters, kernel, config, vb)?)
            }
            Self::ConvTranspose2d { filters, kernel, stride, padding, bias, activation } => {
                check_size([filters, channels, kernel, kernel])?;
                let config = ConvTranspose2dConfig { padding, stride, bias, activation };
                Arc::new(conv_transpose2d(channels, filters, kernel, config, vb)?)
            }
            Self::Dense { units, bias, activation, initializer } => {
                check_size([units, channels, 1, 1])?;
                let initializer = Some(match initializer {
                    Initializer::GlorotUniform => glorot_uniform(channels, units),
                    Initializer::HeNormal => he_normal(),
                    Initializer::FanInUniform => fan_in_uniform(channels),
                });
                Arc::new(dense(channels, units, DenseConfig { activation, bias, initializer }, vb)?)
            }
            Self::BatchNorm { momentum, epsilon, moving_variance } => {
                Arc::new(batch_norm(channels, BatchNormConfig { momentum, epsilon, moving_variance }, vb)?)
            }
            Self::Activation(activation) => Arc::new(activation),
            Self::PRelu => Arc::new(prelu(channels, vb)?),
            Self::MaxPool2d { size, stride, padding } => {
                check_lengths([size, stride])?;
                Arc::new(MaxPool2d::new(size, stride)?.padding(padding).named(name))
            }
            Self::MeanPool2d { size, stride, padding } => {
                check_lengths([size, stride])?;
                Arc::new(MeanPool2d::new(size, stride)?.padding(padding).named(name))
            }
            Self::GlobalMean => Arc::new(GlobalMean),
            Self::Dropout { rate } => Arc::new(dropout(rate, name)?),
            Self::Flatten => Arc::new(Flatten),
            Self::Upsample { factor } => {
                check_lengths([factor, 1])?;
                Arc::new(Upsample::new(factor)?)
            }
            Self::Sum => return Ok(None),
        }))
    }
}

/// The most values of a weight, or of what a layer gives for an image: more are taken for a damaged file before memory is
/// asked for them.
const MOST_VALUES: usize = 1 << 28;

/// Refuses a weight of more than [`MOST_VALUES`] values.
fn check_size(dims: [usize; 4]) -> candle_core::Result<()> {
    let values = dims.into_iter().try_fold(1_usize, |values, dim| values.checked_mul(dim));
    match values {
        Some(values) if values <= MOST_VALUES => Ok(()),
        _ => candle_core::bail!("a weight of {dims:?} is too large: at most {MOST_VALUES} values"),
    }
}

/// Refuses windows and factors that no image has.
fn check_lengths(lengths: [usize; 2]) -> candle_core::Result<()> {
    match lengths.iter().find(|length| **length > MAX_UNITS) {
        Some(length) => candle_core::bail!("a size of {length}; allowed: 1 to {MAX_UNITS}"),
        None => Ok(()),
    }
}

/// The dimensions that a layer gives, unless they are of too many values.
pub(crate) fn output(layer: &dyn Layer, input: &[usize]) -> candle_core::Result<Vec<usize>> {
    let dims = layer.output(input)?;
    let values = dims.iter().try_fold(1_usize, |values, dim| values.checked_mul(*dim));
    match values {
        Some(values) if values <= MOST_VALUES => Ok(dims),
        _ => candle_core::bail!("an output of {dims:?} is too large: at most {MOST_VALUES} values"),
    }
}

/// The network of these layers for images of this size, from the variables of `vb`, and the dimensions of what it gives: the
/// output of its last layer.
pub(crate) fn network(layers: &[LayerConfig], input: Input, vb: VarBuilder) -> Result<(Graph, Vec<usize>)> {
    let Input { channels, height, width } = input;
    let mut graph = Graph::new();
    let mut known: HashMap<&str, (Value, Vec<usize>)> = HashMap::new();
    known.insert("images", (graph.images(), vec![1, channels, height, width]));
    let mut last = "images";
    for LayerConfig { name, inputs, is } in layers {
        if name.is_empty() || name.contains(char::is_control) {
            return Err(Error::config(
                "a layer's name",
                format!("'{name}'"),
                "at least a letter, no control characters",
            ));
        }
        let failed = |error: candle_core::Error| Error::Layer { layer: name.clone(), source: error };
        let count = if *is == LayerKind::Sum { 2 } else { 1 };
        let names: Vec<&str> = match inputs.len() {
            0 => vec![last],
            _ => inputs.iter().map(String::as_str).collect(),
        };
        if names.len() != count {
            return Err(Error::config(&format!("layer `{name}`: inputs"), names.len(), count));
        }
        let find = |input: &&str| match known.get(input) {
            Some((value, dims)) => Ok((*value, dims.clone())),
            None => {
                let allowed = "images, or the name of a layer above it";
                Err(Error::config(&format!("layer `{name}`: inputs"), input, allowed))
            }
        };
        let found = names.iter().map(find).collect::<Result<Vec<_>>>()?;
        let (value, dims) = match (is.layer(name, &found[0].1, vb.pp(name)).map_err(failed)?, &found[..]) {
            (Some(layer), [(input, dims), ..]) => {
                let output = output(&*layer, dims).map_err(failed)?;
                (graph.add_shared(*input, layer), output)
            }
            (None, [(a, dims), (b, others), ..]) if dims == others => (graph.sum(*a, *b), dims.clone()),
            _ => {
                let (a, b) = (&found[0].1[1..], &found[count - 1].1[1..]);
                let allowed = "two layers of one shape";
                return Err(Error::config(
                    &format!("layer `{name}`: inputs"),
                    format!("{a:?} and {b:?}"),
                    allowed,
                ));
            }
        };
        graph.rename_last(name);
        if known.insert(name, (value, dims)).is_some() {
            return Err(Error::config("a layer's name", name, "another for each layer, not `images`"));
        }
        last = name;
    }
    let output = known.remove(last).map_or(Vec::new(), |(_, dims)| dims);
    Ok((graph, output))
}
