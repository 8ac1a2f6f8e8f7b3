//! Residual blocks (He, Zhang, Ren and Sun 2016).

use fer_nn::{Activation, BatchNormConfig, Padding};
use serde::{Deserialize, Serialize};

use crate::layer_config::{Initializer, LayerConfig, LayerKind};
use crate::limits::{rate, size};
use crate::{Error, Result};

/// The architecture `resnet`: a convolution, stages of basic blocks (two 3×3 convolutions around an addition), the mean of
/// each channel, dropout and the output. Every stage after the first begins with stride 2 and a 1×1 projection. The default
/// has the blocks of ResNet-18, with a stem for small images.
///
/// ```
/// use fer_model::{Architecture, Input, ResnetConfig};
///
/// let small = ResnetConfig { widths: vec![16, 32], blocks: vec![1, 1], ..Default::default() };
/// let faces = Input { channels: 1, height: 48, width: 48 };
/// let layers = Architecture::from(small).layers(faces, 7)?;
/// assert_eq!(layers.last().unwrap().output, [7]);
/// # Ok::<(), fer_model::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResnetConfig {
    /// The channels of each stage, first to last.
    pub widths: Vec<usize>,
    /// The blocks of each stage.
    pub blocks: Vec<usize>,
    /// What follows a normalisation and an addition.
    pub activation: Activation,
    /// The normalisations' settings. The default is PyTorch's.
    pub norm: BatchNormConfig,
    /// The dropout rate before the output, in 0..1.
    pub head_dropout: f32,
}

impl Default for ResnetConfig {
    fn default() -> Self {
        Self {
            widths: vec![64, 128, 256, 512],
            blocks: vec![2; 4],
            activation: Activation::Relu,
            norm: BatchNormConfig::pytorch(),
            head_dropout: 0.0,
        }
    }
}

impl ResnetConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        let stages = self.widths.len();
        if !(1..=16).contains(&stages) {
            return Err(Error::config("widths", stages, "1 to 16 stages"));
        }
        if self.blocks.len() != stages {
            return Err(Error::config("blocks", self.blocks.len(), format!("{stages} numbers, one a stage")));
        }
        for (i, (&width, &blocks)) in self.widths.iter().zip(&self.blocks).enumerate() {
            size(&format!("widths[{i}]"), width, 1)?;
            if !(1..=64).contains(&blocks) {
                return Err(Error::config(&format!("blocks[{i}]"), blocks, "1 to 64"));
            }
        }
        rate("head_dropout", self.head_dropout)
    }

    /// The layers, first to last.
    pub(crate) fn layer_configs(&self, classes: usize) -> Vec<LayerConfig> {
        let mut layers = Vec::new();
        let conv = |filters, kernel, stride| LayerKind::Conv2d {
            filters,
            kernel,
            stride,
            padding: Padding::Same,
            groups: 1,
            bias: false,
            activation: Activation::Linear,
        };
        let norm = || LayerKind::batch_norm(self.norm);
        let activation = || LayerKind::Activation(self.activation);
        let mut add = |name: String, is, inputs: &[&str]| {
            layers.push(LayerConfig::new(name.clone(), is).reading(inputs));
            name
        };
        let mut channels = self.widths.first().copied().unwrap_or(1);
        add("stem_conv".into(), conv(channels, 3, 1), &[]);
        add("stem_norm".into(), norm(), &[]);
        let mut last = add("stem_activation".into(), activation(), &[]);
        for (stage, (&width, &blocks)) in self.widths.iter().zip(&self.blocks).enumerate() {
            for block in 0..blocks {
                let name = |of: &str| format!("block_{}_{}_{of}", stage + 1, block + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                add(name("conv_1"), conv(width, 3, stride), &[&last]);
                add(name("norm_1"), norm(), &[]);
                add(name("activation_1"), activation(), &[]);
                add(name("conv_2"), conv(width, 3, 1), &[]);
                let inner = add(name("norm_2"), norm(), &[]);
                if stride != 1 || channels != width {
                    add(name("project"), conv(width, 1, stride), &[&last]);
                    last = add(name("project_norm"), norm(), &[]);
                }
                add(name("sum"), LayerKind::Sum, &[&inner, &last]);
                last = add(name("activation_2"), activation(), &[]);
                channels = width;
            }
        }
        add("global_mean".into(), LayerKind::GlobalMean, &[]);
        add("dropout_head".into(), LayerKind::Dropout { rate: self.head_dropout }, &[]);
        let (bias, activation) = (true, Activation::Linear);
        let out =
            LayerKind::Dense { units: classes, bias, activation, initializer: Initializer::FanInUniform };
        add("out_layer".into(), out, &[]);
        layers
    }
}
