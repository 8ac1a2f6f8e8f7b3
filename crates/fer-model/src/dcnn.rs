//! The deep convolutional network of the notebook.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use fer_nn::initializer::he_normal;
use fer_nn::on_device::{OnDevice, Setup};
use fer_nn::{
    Activation, BatchNormConfig, Compute, Conv2dConfig, DenseConfig, Layer, Mode, Network, Sequential, Step,
    batch_norm, conv2d, dense, dropout,
};

use crate::{DcnnConfig, Error};

/// The network: blocks of two convolutions, then a dense layer and the output. Gives logits.
///
/// # Shapes
/// - input `(batch, channels, height, width)`, grey values in 0..=1
/// - output `(batch, classes)`
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::VarMap;
/// use fer_model::{Dcnn, DcnnConfig};
/// use fer_nn::{Mode, Network, var_builder};
///
/// let vars = VarMap::new();
/// let net = Dcnn::new(&DcnnConfig::default(), var_builder(&vars, 42, &Device::Cpu))?;
/// let faces = Tensor::zeros((2, 1, 48, 48), DType::F32, &Device::Cpu)?;
/// assert_eq!(net.forward(&faces, Mode::Eval)?.dims(), [2, 3]);
/// # Ok::<(), fer_model::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dcnn {
    layers: Sequential,
}

impl Dcnn {
    /// Makes the network from the variables of `vb`.
    ///
    /// # Errors
    /// When the configuration is invalid, or `vb` has no tensor of a name or another shape under it.
    pub fn new(config: &DcnnConfig, vb: VarBuilder) -> std::result::Result<Self, Error> {
        config.validate()?;
        let norm = |channels, n: usize| -> Result<_> {
            let config = BatchNormConfig { moving_variance: config.moving_variance, ..Default::default() };
            batch_norm(channels, config, vb.pp(format!("batchnorm_{n}"))).map(Layer::BatchNorm)
        };
        let drop = |rate, n: usize| dropout(rate, &format!("dropout_{n}")).map(Layer::Dropout);
        let elu = Conv2dConfig { activation: Activation::Elu, ..Default::default() };
        let mut layers = Vec::new();
        let mut channels = config.channels;
        for (i, block) in config.blocks.iter().enumerate() {
            for n in [2 * i + 1, 2 * i + 2] {
                let vb = vb.pp(format!("conv2d_{n}"));
                layers.push(Layer::Conv2d(conv2d(channels, block.filters, block.kernel, elu, vb)?));
                layers.push(norm(block.filters, n)?);
                channels = block.filters;
            }
            layers.push(Layer::MaxPool2d { size: 2, stride: 2 });
            layers.push(drop(block.dropout, i + 1)?);
        }
        let (channels, height, width) = config.features();
        let elu = DenseConfig { activation: Activation::Elu, initializer: Some(he_normal()) };
        let (inputs, units, blocks) = (channels * height * width, config.dense_units, config.blocks.len());
        layers.push(Layer::Flatten);
        layers.push(Layer::Dense(dense(inputs, units, elu, vb.pp("dense_1"))?));
        layers.push(norm(units, 2 * blocks + 1)?);
        layers.push(drop(config.dense_dropout, blocks + 1)?);
        let out = dense(units, config.classes, DenseConfig::default(), vb.pp("out_layer"))?;
        layers.push(Layer::Dense(out));
        Ok(Self { layers: Sequential::new(layers) })
    }

    /// The same network, computing like this on a card.
    pub fn compute(self, compute: Compute) -> Self {
        Self { layers: self.layers.compute(compute) }
    }
}

impl Network for Dcnn {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        self.layers.forward(images, mode)
    }

    fn gradients(
        &self,
        images: &Tensor,
        step: Step,
        loss: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<GradStore> {
        self.layers.gradients(images, step, loss)
    }

    fn on_device(&self, setup: &Setup) -> Result<Option<Box<dyn OnDevice>>> {
        self.layers.on_device(setup)
    }
}
