//! The notebook's deep convolutional network (DCNN): its settings, and its layers.

use candle_nn::VarBuilder;
use fer_nn::{Activation, BatchNormConfig, Graph, MovingVariance, Padding};
use serde::{Deserialize, Serialize};

use crate::layer_config::{Initializer, LayerConfig, LayerKind, network};
use crate::limits::{rate, size};
use crate::{Error, Input, LayerInfo, Result, layers};

/// The architecture `dcnn`. The default is the notebook's: 48×48 grey faces, three classes.
///
/// ```
/// use fer_model::DcnnConfig;
/// let seven = DcnnConfig { classes: 7, ..Default::default() };
/// assert_eq!(seven.layers()?.iter().map(|layer| layer.parameters().total()).sum::<usize>(), 2_395_591);
/// # Ok::<(), fer_model::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DcnnConfig {
    /// Classes to tell apart, at least 2.
    pub classes: usize,
    /// Channels of an image: 1 for grey.
    pub channels: usize,
    /// Rows of an image; each block halves them.
    pub height: usize,
    /// Columns of an image; each block halves them.
    pub width: usize,
    /// Units of the dense layer before the output.
    pub dense_units: usize,
    /// The dropout rate before the output, in 0..1.
    pub dense_dropout: f32,
    /// Which variance of a batch enters the moving variance.
    pub moving_variance: MovingVariance,
    /// The convolutional blocks, first to last, at least one.
    pub blocks: Vec<BlockConfig>,
}

/// A block: two convolutions with ELU, each followed by batch normalisation, then 2×2 max pooling and dropout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockConfig {
    /// Output channels of both convolutions.
    pub filters: usize,
    /// Rows and columns of the kernels.
    pub kernel: usize,
    /// The dropout rate after the pooling, in 0..1.
    pub dropout: f32,
}

impl Default for DcnnConfig {
    fn default() -> Self {
        Self {
            classes: 3,
            channels: 1,
            height: 48,
            width: 48,
            dense_units: 128,
            dense_dropout: 0.6,
            moving_variance: MovingVariance::Keras2,
            blocks: vec![
                BlockConfig { filters: 64, kernel: 5, dropout: 0.4 },
                BlockConfig { filters: 128, kernel: 3, dropout: 0.4 },
                BlockConfig { filters: 256, kernel: 3, dropout: 0.5 },
            ],
        }
    }
}

impl DcnnConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field that is out of range, its value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        size("classes", self.classes, 2)?;
        size("channels", self.channels, 1)?;
        size("dense_units", self.dense_units, 1)?;
        rate("dense_dropout", self.dense_dropout)?;
        if !(1..=16).contains(&self.blocks.len()) {
            return Err(Error::config("blocks", self.blocks.len(), "1 to 16 blocks"));
        }
        size("height", self.height, 1 << self.blocks.len())?;
        size("width", self.width, 1 << self.blocks.len())?;
        for (i, block) in self.blocks.iter().enumerate() {
            size(&format!("blocks[{i}].filters"), block.filters, 1)?;
            rate(&format!("blocks[{i}].dropout"), block.dropout)?;
            if !(1..=31).contains(&block.kernel) || block.kernel % 2 == 0 {
                return Err(Error::config(&format!("blocks[{i}].kernel"), block.kernel, "odd, 1 to 31"));
            }
        }
        Ok(())
    }

    /// The size of the images.
    pub fn input(&self) -> Input {
        Input { channels: self.channels, height: self.height, width: self.width }
    }

    /// The same for images of this size and so many classes.
    pub(crate) fn of(&self, input: Input, classes: usize) -> Self {
        let Input { channels, height, width } = input;
        Self { classes, channels, height, width, ..self.clone() }
    }

    /// The network, from the variables of `vb`: blocks of two convolutions, then a dense layer and the output. It gives
    /// logits.
    ///
    /// # Shapes
    /// - input `(batch, channels, height, width)`, grey values in 0..=1
    /// - output `(batch, classes)`
    ///
    /// # Errors
    /// When the configuration is invalid, or `vb` has no tensor of a name or another shape under it.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::VarMap;
    /// use fer_model::DcnnConfig;
    /// use fer_nn::{Mode, Network, var_builder};
    ///
    /// let vars = VarMap::new();
    /// let net = DcnnConfig::default().network(var_builder(&vars, 42, &Device::Cpu))?;
    /// let faces = Tensor::zeros((2, 1, 48, 48), DType::F32, &Device::Cpu)?;
    /// assert_eq!(net.forward(&faces, Mode::Eval)?.dims(), [2, 3]);
    /// # Ok::<(), fer_model::Error>(())
    /// ```
    pub fn network(&self, vb: VarBuilder) -> Result<Graph> {
        self.validate()?;
        network(&self.layer_configs(), self.input(), vb).map(|(graph, _)| graph)
    }

    /// The layers as a table, first to last.
    ///
    /// # Errors
    /// When the configuration is invalid.
    ///
    /// ```
    /// use fer_model::DcnnConfig;
    /// let layers = DcnnConfig::default().layers()?;
    /// assert_eq!((layers[0].name.as_str(), layers[0].parameters().total()), ("conv2d_1", 1_664));
    /// # Ok::<(), fer_model::Error>(())
    /// ```
    pub fn layers(&self) -> Result<Vec<LayerInfo>> {
        let zeros = VarBuilder::zeros(candle_core::DType::F32, &candle_core::Device::Cpu);
        layers::table(&self.network(zeros)?, self.input())
    }

    /// Every tensor of the network: its full name and its shape.
    ///
    /// # Errors
    /// When the configuration is invalid.
    pub fn tensors(&self) -> Result<Vec<(String, Vec<usize>)>> {
        Ok(layers::tensors(&self.layers()?))
    }

    /// The layers, first to last.
    pub(crate) fn layer_configs(&self) -> Vec<LayerConfig> {
        let mut layers = Vec::new();
        let mut add = |name: String, is| layers.push(LayerConfig::new(name, is));
        let norm = LayerKind::batch_norm(BatchNormConfig {
            moving_variance: self.moving_variance,
            ..Default::default()
        });
        for (i, block) in self.blocks.iter().enumerate() {
            for n in [2 * i + 1, 2 * i + 2] {
                let conv = LayerKind::Conv2d {
                    filters: block.filters,
                    kernel: block.kernel,
                    stride: 1,
                    padding: Padding::Same,
                    groups: 1,
                    bias: true,
                    activation: Activation::Elu,
                };
                add(format!("conv2d_{n}"), conv);
                add(format!("batchnorm_{n}"), norm.clone());
            }
            let pool = LayerKind::MaxPool2d { size: 2, stride: 2, padding: Padding::Valid };
            add(format!("maxpool2d_{}", i + 1), pool);
            add(format!("dropout_{}", i + 1), LayerKind::Dropout { rate: block.dropout });
        }
        let blocks = self.blocks.len();
        let dense =
            |units, activation, initializer| LayerKind::Dense { units, bias: true, activation, initializer };
        add("flatten".into(), LayerKind::Flatten);
        add("dense_1".into(), dense(self.dense_units, Activation::Elu, Initializer::HeNormal));
        add(format!("batchnorm_{}", 2 * blocks + 1), norm);
        add(format!("dropout_{}", blocks + 1), LayerKind::Dropout { rate: self.dense_dropout });
        add("out_layer".into(), dense(self.classes, Activation::Linear, Initializer::GlorotUniform));
        layers
    }

    /// The notebook's network that these layers are, and the names that it gives to them; none when they are another.
    #[cfg(feature = "keras")]
    pub(crate) fn of_layers(
        layers: &[LayerConfig],
        input: Input,
        classes: usize,
    ) -> Option<(Self, std::collections::HashMap<String, String>)> {
        let mut rest = layers.iter().filter(|layer| !is_dropout(layer)).map(|layer| &layer.is);
        // The rate of the dropout after each pooling and before the output; 0 where there is none.
        let rate_after = |at: &LayerKind| {
            let at = layers.iter().position(|layer| std::ptr::eq(&layer.is, at))?;
            match layers.get(at + 1).map(|layer| &layer.is) {
                Some(LayerKind::Dropout { rate }) => Some(*rate),
                _ => Some(0.0),
            }
        };
        let mut dcnn = Self { blocks: Vec::new(), ..Self::default() }.of(input, classes);
        let mut next = rest.next()?;
        while let LayerKind::Conv2d { filters, kernel, .. } = *next {
            let LayerKind::BatchNorm { moving_variance, .. } = *rest.next()? else { return None };
            dcnn.moving_variance = moving_variance;
            let dropout = rate_after(rest.nth(2)?)?;
            dcnn.blocks.push(BlockConfig { filters, kernel, dropout });
            next = rest.next()?;
        }
        let LayerKind::Dense { units, .. } = *rest.next()? else { return None };
        (dcnn.dense_units, dcnn.dense_dropout) = (units, rate_after(rest.next()?)?);
        let own = dcnn.layer_configs();
        let found: Vec<&LayerConfig> = layers.iter().filter(|layer| !is_dropout(layer)).collect();
        let expected: Vec<&LayerConfig> = own.iter().filter(|layer| !is_dropout(layer)).collect();
        let same = |(found, expected): (&&LayerConfig, &&LayerConfig)| {
            found.inputs.is_empty()
                && found.is.clone().without_initializer() == expected.is.clone().without_initializer()
        };
        let dropouts = |layers: &[LayerConfig]| -> Vec<f32> {
            let rate = |layer: &LayerConfig| match layer.is {
                LayerKind::Dropout { rate } if rate > 0.0 => Some(rate),
                _ => None,
            };
            layers.iter().filter_map(rate).collect()
        };
        let is_dcnn = dcnn.validate().is_ok()
            && found.len() == expected.len()
            && found.iter().zip(&expected).all(same)
            && dropouts(layers) == dropouts(&own);
        let names = found.iter().zip(&expected).map(|(found, own)| (found.name.clone(), own.name.clone()));
        is_dcnn.then(|| (dcnn, names.collect()))
    }

    /// Values of one image after the last block: `(channels, height, width)`.
    #[cfg(any(feature = "keras", test))]
    pub(crate) fn features(&self) -> (usize, usize, usize) {
        let halvings = self.blocks.len() as u32;
        let channels = self.blocks.last().map_or(self.channels, |block| block.filters);
        (channels, self.height >> halvings, self.width >> halvings)
    }
}

#[cfg(feature = "keras")]
fn is_dropout(layer: &LayerConfig) -> bool {
    matches!(layer.is, LayerKind::Dropout { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notebooks_architecture_is_valid_and_survives_toml() {
        let config = DcnnConfig::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<DcnnConfig>(&text).unwrap(), config);
    }

    #[test]
    fn an_invalid_value_is_named_with_what_is_allowed() {
        let error = |change: fn(&mut DcnnConfig)| {
            let mut config = DcnnConfig::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(error(|c| c.classes = 1), "classes is 1, allowed: 2 to 65536");
        assert_eq!(error(|c| c.width = 7), "width is 7, allowed: 8 to 65536");
        assert_eq!(error(|c| c.blocks[1].kernel = 4), "blocks[1].kernel is 4, allowed: odd, 1 to 31");
        assert_eq!(error(|c| c.dense_dropout = 1.0), "dense_dropout is 1, allowed: at least 0 and below 1");
        assert_eq!(error(|c| c.blocks.clear()), "blocks is 0, allowed: 1 to 16 blocks");
        let typo = toml::from_str::<DcnnConfig>("clases = 3").unwrap_err().to_string();
        assert!(typo.contains("unknown field `clases`"), "{typo}");
    }
}
