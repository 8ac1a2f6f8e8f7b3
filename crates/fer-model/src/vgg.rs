//! A chain of blocks of convolutions, in the manner of VGG (Simonyan and Zisserman 2015), with normalisation.

use fer_nn::{Activation, BatchNormConfig, Padding};
use serde::{Deserialize, Serialize};

use crate::layer_config::{Initializer, LayerConfig, LayerKind};
use crate::limits::{rate, size};
use crate::{Error, Input, Result};

/// The architecture `vgg`: blocks of convolutions, each with its activation and batch normalisation, then 2×2 maximum
/// pooling and dropout; a head. The default is the chain of this project's recipes, 4.69 million parameters.
///
/// ```
/// use fer_model::{Architecture, Input, VggConfig};
///
/// let vgg = Architecture::from(VggConfig::default());
/// let faces = Input { channels: 1, height: 48, width: 48 };
/// assert_eq!(vgg.parameters(faces, 8)?.trainable, 4_692_168);
/// # Ok::<(), fer_model::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VggConfig {
    /// The channels of each block, first to last; each block halves height and width.
    pub widths: Vec<usize>,
    /// Convolutions in a block.
    pub convolutions: usize,
    /// Rows and columns of the kernels, odd.
    pub kernel: usize,
    /// What follows a convolution.
    pub activation: Activation,
    /// Whether the normalisation comes before the activation, and the convolution has no bias; else after it.
    pub norm_first: bool,
    /// The normalisations' settings. The default is PyTorch's.
    pub norm: BatchNormConfig,
    /// The dropout rate after each block's pooling, in 0..1.
    pub dropout: Vec<f32>,
    /// What comes between the blocks and the output.
    pub head: Head,
    /// The dropout rate before the output, in 0..1.
    pub head_dropout: f32,
    /// Units of the dense layer of [`Head::Flatten`].
    pub head_units: usize,
}

/// What comes between the blocks and the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// The mean of each channel, and dropout.
    #[default]
    GlobalMean,
    /// All values, a dense layer with activation and normalisation, and dropout.
    Flatten,
}

impl Default for VggConfig {
    fn default() -> Self {
        Self {
            widths: vec![64, 128, 256, 512],
            convolutions: 2,
            kernel: 3,
            activation: Activation::Elu,
            norm_first: false,
            norm: BatchNormConfig::pytorch(),
            dropout: vec![0.1, 0.1, 0.2, 0.3],
            head: Head::GlobalMean,
            head_dropout: 0.4,
            head_units: 128,
        }
    }
}

impl VggConfig {
    pub(crate) fn validate(&self, input: Input) -> Result<()> {
        let blocks = self.widths.len();
        if !(1..=16).contains(&blocks) {
            return Err(Error::config("widths", blocks, "1 to 16 blocks"));
        }
        for (i, &width) in self.widths.iter().enumerate() {
            size(&format!("widths[{i}]"), width, 1)?;
        }
        if !(1..=64).contains(&self.convolutions) {
            return Err(Error::config("convolutions", self.convolutions, "1 to 64"));
        }
        if !(1..=31).contains(&self.kernel) || self.kernel.is_multiple_of(2) {
            return Err(Error::config("kernel", self.kernel, "odd, 1 to 31"));
        }
        if self.dropout.len() != blocks {
            return Err(Error::config("dropout", self.dropout.len(), format!("{blocks} rates, one a block")));
        }
        for (i, &of_block) in self.dropout.iter().enumerate() {
            rate(&format!("dropout[{i}]"), of_block)?;
        }
        rate("head_dropout", self.head_dropout)?;
        size("head_units", self.head_units, 1)?;
        size("height", input.height, 1 << blocks)?;
        size("width", input.width, 1 << blocks)
    }

    /// The layers, first to last.
    pub(crate) fn layer_configs(&self, classes: usize) -> Vec<LayerConfig> {
        let mut layers = Vec::new();
        let mut number = 0;
        let conv = |filters| LayerKind::Conv2d {
            filters,
            kernel: self.kernel,
            stride: 1,
            padding: Padding::Same,
            groups: 1,
            bias: !self.norm_first,
            activation: if self.norm_first { Activation::Linear } else { self.activation },
        };
        for (i, (&filters, &rate)) in self.widths.iter().zip(&self.dropout).enumerate() {
            for _ in 0..self.convolutions {
                number += 1;
                layers.push(LayerConfig::new(format!("conv2d_{number}"), conv(filters)));
                layers
                    .push(LayerConfig::new(format!("batchnorm_{number}"), LayerKind::batch_norm(self.norm)));
                if self.norm_first {
                    let activation = LayerKind::Activation(self.activation);
                    layers.push(LayerConfig::new(format!("activation_{number}"), activation));
                }
            }
            let pool = LayerKind::MaxPool2d { size: 2, stride: 2, padding: Padding::Valid };
            layers.push(LayerConfig::new(format!("maxpool2d_{}", i + 1), pool));
            layers.push(LayerConfig::new(format!("dropout_{}", i + 1), LayerKind::Dropout { rate }));
        }
        let mut add = |name: &str, is| layers.push(LayerConfig::new(name, is));
        let dense =
            |units, activation, initializer| LayerKind::Dense { units, bias: true, activation, initializer };
        match self.head {
            Head::GlobalMean => add("global_mean", LayerKind::GlobalMean),
            Head::Flatten => {
                add("flatten", LayerKind::Flatten);
                add("dense_1", dense(self.head_units, self.activation, Initializer::HeNormal));
                add("batchnorm_head", LayerKind::batch_norm(self.norm));
            }
        }
        add("dropout_head", LayerKind::Dropout { rate: self.head_dropout });
        add("out_layer", dense(classes, Activation::Linear, Initializer::FanInUniform));
        layers
    }
}
