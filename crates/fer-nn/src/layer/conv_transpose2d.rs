//! Transposed convolution: the gradient of a convolution's input, as a layer.

use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;

use super::base::{bias, wanted};
use crate::geometry::Padding;
use crate::kernel::differentiable;
use crate::plan::Conv;
use crate::primitive::Primitive;
use crate::{Activation, initializer};

/// The settings of a [`ConvTranspose2d`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvTranspose2dConfig {
    /// What is cut from the output's edges: [`Padding::Valid`], nothing, or rows and columns of it.
    pub padding: Padding,
    /// Rows and columns from one window of the output to the next, at least 1. Default 2.
    pub stride: usize,
    /// Whether there is a bias.
    pub bias: bool,
    /// The function applied to the output.
    pub activation: Activation,
}

impl Default for ConvTranspose2dConfig {
    fn default() -> Self {
        Self { padding: Padding::Valid, stride: 2, bias: true, activation: Activation::Linear }
    }
}

/// A transposed convolution: every value adds its multiple of the kernel to the output, windows `stride` apart.
///
/// # Shapes
/// - input `(batch, in_channels, height, width)`
/// - weight `(in_channels, out_channels, kernel, kernel)`, as PyTorch's; bias `(out_channels)`
/// - output `(batch, out_channels, (height − 1)·stride + kernel − cut, …)`
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    name: String,
    conv: Conv,
}

impl ConvTranspose2d {
    /// A layer with these weights; [`ConvTranspose2dConfig::bias`] is whether there is one.
    ///
    /// # Errors
    /// When the weight is not 4-D or is empty, the bias is not one value an output channel, the stride is 0, or the padding
    /// is [`Padding::Same`].
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: ConvTranspose2dConfig) -> Result<Self> {
        let ConvTranspose2dConfig { padding, stride, activation, .. } = config;
        let out_channels = weight.dims4()?.1;
        if weight.elem_count() == 0 || stride == 0 || padding == Padding::Same {
            bail!(
                "conv_transpose2d: the weight {:?} must not be empty, the stride {stride} at least 1, the padding \
                 `valid` or explicit",
                weight.dims()
            )
        }
        if let Some(bias) = bias.as_ref().filter(|bias| bias.dims() != [out_channels]) {
            bail!("conv_transpose2d: the bias must have shape ({out_channels}), got {:?}", bias.dims())
        }
        let conv = Conv { weight, bias, activation, padding, stride, groups: 1 };
        Ok(Self { name: String::new(), conv })
    }

    /// The same layer under a name.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The weight.
    pub fn weight(&self) -> &Tensor {
        &self.conv.weight
    }

    /// The bias, where there is one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.conv.bias.as_ref()
    }

    /// The output for a batch of images.
    ///
    /// # Errors
    /// When the input is not `(batch, in_channels, height, width)` or is empty.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        const OP: &str = "conv_transpose2d";
        let s = self.conv.transposed_shape(xs.dims())?;
        let dims = [s.batch, s.in_channels, s.height, s.width];
        let weight = &self.conv.weight;
        let y = Primitive::Conv2dInput(s).run(OP, &[weight, xs], &dims)?;
        let y = differentiable(OP, &[xs, weight], y, &dims, move |operands, _, dy| {
            let (x, weight) = (operands[0], operands[1]);
            let (input, kernels) = (x.dims(), weight.dims());
            let linear = Primitive::Conv2d(s, Activation::Linear);
            wanted(
                operands,
                &[&|| linear.tensor("conv_transpose2d backward input", &[dy, weight], input), &|| {
                    Primitive::Conv2dWeight(s).tensor("conv_transpose2d backward weight", &[dy, x], kernels)
                }],
            )
        })?;
        let y = match &self.conv.bias {
            Some(bias) => y.broadcast_add(&bias.reshape((1, s.in_channels, 1, 1))?)?,
            None => y,
        };
        self.conv.activation.forward(&y)
    }
}

/// Makes a transposed convolution with a square kernel: weight he_normal, bias zero.
///
/// # Errors
/// When a size or the stride is 0, or the builder holds other shapes under these names.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use fer_nn::{conv_transpose2d, var_builder};
///
/// let vb = var_builder(&candle_nn::VarMap::new(), 42, &Device::Cpu);
/// let up = conv_transpose2d(8, 4, 2, Default::default(), vb.pp("up"))?;
/// let xs = Tensor::zeros((1, 8, 5, 7), DType::F32, &Device::Cpu)?;
/// assert_eq!(up.forward(&xs)?.dims(), [1, 4, 10, 14]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn conv_transpose2d(
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    config: ConvTranspose2dConfig,
    vb: VarBuilder,
) -> Result<ConvTranspose2d> {
    let shape = (in_channels, out_channels, kernel, kernel);
    let weight = vb.get_with_hints(shape, "weight", initializer::he_normal())?;
    let bias = bias(config.bias, out_channels, &vb)?;
    Ok(ConvTranspose2d::new(weight, bias, config)?.named(vb.prefix()))
}

layer!(ConvTranspose2d, conv);
