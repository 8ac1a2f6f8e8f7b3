//! The architectures by name, each a list of layers, from which the network and its table are made.

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use fer_nn::Graph;
use serde::{Deserialize, Serialize};

use crate::layer_config::{LayerConfig, network};
use crate::limits::size;
use crate::{DcnnConfig, Error, Input, LayerInfo, Parameters, ResnetConfig, Result, VggConfig, layers};

/// What a network is made of. In a file, `architecture` names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Architecture {
    /// The notebook's network. Its classes and image size are those that it is asked for, not its own.
    Dcnn(DcnnConfig),
    /// A chain of blocks.
    Vgg(VggConfig),
    /// Residual blocks.
    Resnet(ResnetConfig),
    /// Any network, layer by layer.
    Layers(LayersConfig),
}

/// Any network, layer by layer; the last layer's output is the network's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayersConfig {
    /// The layers, each after those that it reads.
    pub layers: Vec<LayerConfig>,
}

macro_rules! from {
    ($($config:ident $variant:ident),*) => {
        $(impl From<$config> for Architecture {
            fn from(config: $config) -> Self {
                Self::$variant(config)
            }
        })*
    };
}

from!(DcnnConfig Dcnn, VggConfig Vgg, ResnetConfig Resnet, LayersConfig Layers);

impl Architecture {
    /// The name in a file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dcnn(_) => "dcnn",
            Self::Vgg(_) => "vgg",
            Self::Resnet(_) => "resnet",
            Self::Layers(_) => "layers",
        }
    }

    /// Checks every field, for images of this size and so many classes.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field that is out of range, its value and what is allowed; [`Error::Layer`] a
    /// layer that cannot be.
    pub fn validate(&self, input: Input, classes: usize) -> Result<()> {
        size("classes", classes, 2)?;
        size("channels", input.channels, 1)?;
        size("height", input.height, 1)?;
        size("width", input.width, 1)?;
        match self {
            Self::Dcnn(dcnn) => dcnn.of(input, classes).validate(),
            Self::Vgg(vgg) => vgg.validate(input),
            Self::Resnet(resnet) => resnet.validate(),
            Self::Layers(_) => self.layers(input, classes).map(drop),
        }
    }

    /// The layers, first to last, for so many classes.
    pub fn layer_configs(&self, classes: usize) -> Vec<LayerConfig> {
        match self {
            Self::Dcnn(dcnn) => DcnnConfig { classes, ..dcnn.clone() }.layer_configs(),
            Self::Vgg(vgg) => vgg.layer_configs(classes),
            Self::Resnet(resnet) => resnet.layer_configs(classes),
            Self::Layers(config) => config.layers.clone(),
        }
    }

    /// The network for images of this size and so many classes, from the variables of `vb`. It gives logits.
    ///
    /// # Errors
    /// When the architecture is invalid, or `vb` has no tensor of a name or another shape under it.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::VarMap;
    /// use fer_model::{Architecture, Input, VggConfig};
    /// use fer_nn::{Mode, Network, var_builder};
    ///
    /// let narrow = VggConfig { widths: vec![8, 16], dropout: vec![0.1, 0.1], ..Default::default() };
    /// let vars = VarMap::new();
    /// let net = Architecture::from(narrow).network(Input::grey(48), 7, var_builder(&vars, 42, &Device::Cpu))?;
    /// let faces = Tensor::zeros((2, 1, 48, 48), DType::F32, &Device::Cpu)?;
    /// assert_eq!(net.forward(&faces, Mode::Eval)?.dims(), [2, 7]);
    /// # Ok::<(), fer_model::Error>(())
    /// ```
    pub fn network(&self, input: Input, classes: usize, vb: VarBuilder) -> Result<Graph> {
        match self {
            Self::Layers(LayersConfig { layers }) if layers.is_empty() => {
                return Err(Error::config("layers", 0, "at least one layer"));
            }
            Self::Layers(_) => {}
            _ => self.validate(input, classes)?,
        }
        let (graph, output) = network(&self.layer_configs(classes), input, vb)?;
        match output[..] {
            [_, units] if units == classes => Ok(graph),
            _ => Err(Error::config(
                "layers: the last one's output",
                format!("{:?}", output.get(1..).unwrap_or_default()),
                format!("[{classes}], one a class"),
            )),
        }
    }

    /// The layers as a table.
    ///
    /// # Errors
    /// When the architecture is invalid.
    pub fn layers(&self, input: Input, classes: usize) -> Result<Vec<LayerInfo>> {
        let net = self.network(input, classes, VarBuilder::zeros(DType::F32, &Device::Cpu))?;
        layers::table(&net, input)
    }

    /// Every tensor of the network: its full name and its shape.
    ///
    /// # Errors
    /// When the architecture is invalid.
    pub fn tensors(&self, input: Input, classes: usize) -> Result<Vec<(String, Vec<usize>)>> {
        Ok(layers::tensors(&self.layers(input, classes)?))
    }

    /// The parameters of the whole network.
    ///
    /// # Errors
    /// When the architecture is invalid.
    pub fn parameters(&self, input: Input, classes: usize) -> Result<Parameters> {
        Ok(layers::parameters(&self.layers(input, classes)?))
    }

    /// The table that Keras' `model.summary()` prints.
    ///
    /// # Errors
    /// When the architecture is invalid.
    pub fn summary(&self, input: Input, classes: usize) -> Result<String> {
        let title = match self {
            Self::Dcnn(_) => "DCNN",
            Self::Vgg(_) => "VGG",
            Self::Resnet(_) => "ResNet",
            Self::Layers(_) => "Layers",
        };
        Ok(layers::summary(title, &self.layers(input, classes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_written_out_layer_by_layer_is_the_network() {
        for architecture in [
            Architecture::from(DcnnConfig::default()),
            VggConfig { norm_first: true, ..Default::default() }.into(),
            VggConfig { head: crate::Head::Flatten, ..Default::default() }.into(),
            ResnetConfig { widths: vec![8, 16], blocks: vec![2, 1], ..Default::default() }.into(),
        ] {
            let (input, classes) = (Input::grey(48), 7);
            let written: Architecture = LayersConfig { layers: architecture.layer_configs(classes) }.into();
            written.validate(input, classes).unwrap();
            let layers = [&architecture, &written].map(|a| a.layers(input, classes).unwrap());
            assert_eq!(layers[0], layers[1]);
            let text = toml::to_string(&written).unwrap();
            assert_eq!(toml::from_str::<Architecture>(&text).unwrap(), written, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let error = |text: &str| {
            let architecture: Architecture = toml::from_str(text).map_err(|e| e.to_string()).unwrap();
            architecture.validate(Input::grey(48), 3).unwrap_err().to_string()
        };
        let vgg = "architecture = 'vgg'\nwidths = [8]\ndropout = [0.1, 0.2]";
        assert_eq!(error(vgg), "dropout is 2, allowed: 1 rates, one a block");
        assert_eq!(error("architecture = 'layers'\nlayers = []"), "layers is 0, allowed: at least one layer");
        let layers = |text: &str| format!("architecture = 'layers'\n{text}");
        let flat = "[[layers]]\nname = 'flat'\nis = 'flatten'\n";
        let found = error(&layers(flat));
        assert_eq!(found, "layers: the last one's output is [2304], allowed: [3], one a class");
        let found = error(&layers(&format!("{flat}[[layers]]\nname = 'a'\ninputs = ['b']\nis = 'flatten'")));
        assert_eq!(found, "layer `a`: inputs is b, allowed: images, or the name of a layer above it");
        let found = error(&layers(&format!(
            "{flat}[[layers]]\nname = 'p'\nis = {{ max_pool2d = {{ size = 2, stride = 2 }} }}"
        )));
        assert!(
            found.starts_with("layer `p`: max_pool2d: expected (batch, channels, height, width)"),
            "{found}"
        );
        assert!(toml::from_str::<Architecture>("architecture = 'vgg'\nwidth = [8]").is_err());
        assert!(toml::from_str::<Architecture>("architecture = 'vgg'\nnorm = { momentum = 0.8 }").is_err());
        let wide = "architecture = 'vgg'\nwidths = [65536, 65536]\ndropout = [0.1, 0.1]\nkernel = 31";
        let wide: Architecture = toml::from_str(wide).unwrap();
        let found = wide.layers(Input::grey(48), 3).unwrap_err().to_string();
        assert!(found.contains("is too large: at most 268435456 values"), "{found}");
        for is in [
            "{ max_pool2d = { size = 9000000000000000000, stride = 1, padding = 'same' } }",
            "{ mean_pool2d = { size = 1, stride = 9000000000000000000 } }",
            "{ upsample = { factor = 9000000000000000000 } }",
            "{ upsample = { factor = 65536 } }",
            "{ max_pool2d = { size = 1, stride = 1, padding = { explicit = { top = 9000000000000000000, bottom = 0, left = 0, right = 0 } } } }",
        ] {
            let found = error(&layers(&format!("[[layers]]\nname = 'p'\nis = {is}\n{flat}")));
            assert!(found.starts_with("layer `p`: "), "{found}");
        }
        let mean = "[[layers]]\nname = 'm'\nis = 'global_mean'\n[[layers]]\nname = 'd'\nis = { dense = { units = 3 } }";
        let mean: Architecture = toml::from_str(&layers(mean)).unwrap();
        assert!(mean.validate(Input { channels: 1, height: 0, width: 48 }, 3).is_err());
        // A list whose end is not one value a class is no network, whoever makes it.
        let vb = candle_nn::VarBuilder::zeros(candle_core::DType::F32, &candle_core::Device::Cpu);
        assert!(mean.network(Input::grey(48), 4, vb).is_err());
    }
}
