//! The deep convolutional network of the notebook.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use fer_nn::initializer::he_normal;
use fer_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dense, DenseConfig, Dropout, Mode, Network,
    batch_norm, conv2d, dense, dropout, max_pool2d,
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
    blocks: Vec<Block>,
    dense: Dense,
    norm: BatchNorm,
    dropout: Dropout,
    out: Dense,
}

#[derive(Clone, Debug)]
struct Block {
    layers: [(Conv2d, BatchNorm); 2],
    dropout: Dropout,
}

impl Dcnn {
    /// Makes the network from the variables of `vb`.
    ///
    /// # Errors
    /// When the configuration is invalid, or `vb` has no tensor of a name or another shape under it.
    pub fn new(config: &DcnnConfig, vb: VarBuilder) -> std::result::Result<Self, Error> {
        config.validate()?;
        let norm = BatchNormConfig { moving_variance: config.moving_variance, ..Default::default() };
        let elu = Conv2dConfig { activation: Activation::Elu, ..Default::default() };
        let mut channels = config.channels;
        let mut blocks = Vec::with_capacity(config.blocks.len());
        for (i, block) in config.blocks.iter().enumerate() {
            let layer = |inputs, n: usize| -> Result<_> {
                let conv = conv2d(inputs, block.filters, block.kernel, elu, vb.pp(format!("conv2d_{n}")))?;
                Ok((conv, batch_norm(block.filters, norm, vb.pp(format!("batchnorm_{n}")))?))
            };
            let layers = [layer(channels, 2 * i + 1)?, layer(block.filters, 2 * i + 2)?];
            blocks.push(Block { layers, dropout: dropout(block.dropout, &format!("dropout_{}", i + 1))? });
            channels = block.filters;
        }
        let (channels, height, width) = config.features();
        let elu = DenseConfig { activation: Activation::Elu, initializer: Some(he_normal()) };
        let (inputs, units, count) = (channels * height * width, config.dense_units, blocks.len());
        Ok(Self {
            blocks,
            dense: dense(inputs, units, elu, vb.pp("dense_1"))?,
            norm: batch_norm(units, norm, vb.pp(format!("batchnorm_{}", 2 * count + 1)))?,
            dropout: dropout(config.dense_dropout, &format!("dropout_{}", count + 1))?,
            out: dense(units, config.classes, DenseConfig::default(), vb.pp("out_layer"))?,
        })
    }
}

impl Network for Dcnn {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut xs = images.clone();
        for block in &self.blocks {
            for (conv, norm) in &block.layers {
                xs = norm.forward(&conv.forward(&xs)?, mode)?;
            }
            xs = block.dropout.forward(&max_pool2d(&xs, 2, 2)?, mode)?;
        }
        let xs = self.dense.forward(&xs.flatten_from(1)?)?;
        let xs = self.dropout.forward(&self.norm.forward(&xs, mode)?, mode)?;
        self.out.forward(&xs)
    }
}
