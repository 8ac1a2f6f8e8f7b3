//! Two-dimensional convolution with its bias and activation.

use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;

use super::base::{bias, wanted};
use crate::geometry::{ConvShape, Padding};
use crate::kernel::differentiable;
use crate::plan::Conv;
use crate::primitive::Primitive;
use crate::{Activation, initializer};

/// The settings of a [`Conv2d`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2dConfig {
    /// What happens at the edges.
    pub padding: Padding,
    /// Rows and columns from one window to the next, at least 1.
    pub stride: usize,
    /// Parts of the channels that are convolved each for itself; as many as there are input channels is a depthwise
    /// convolution. They divide the channels on both sides.
    pub groups: usize,
    /// Whether there is a bias.
    pub bias: bool,
    /// The function applied to the output.
    pub activation: Activation,
}

impl Default for Conv2dConfig {
    fn default() -> Self {
        Self { padding: Padding::Same, stride: 1, groups: 1, bias: true, activation: Activation::Linear }
    }
}

/// A convolution: `activation(x ∗ weight + bias)`.
///
/// # Shapes
/// - input `(batch, in_channels, height, width)`
/// - weight `(out_channels, in_channels / groups, kernel, kernel)`, bias `(out_channels)`
/// - output `(batch, out_channels, out_height, out_width)`
#[derive(Clone, Debug)]
pub struct Conv2d {
    name: String,
    conv: Conv,
}

impl Conv2d {
    /// A convolution with these weights; [`Conv2dConfig::bias`] is whether there is one.
    ///
    /// # Errors
    /// When the weight is not 4-D or is empty, the bias is not one value an output channel, the stride is 0, or the
    /// groups do not divide the output channels.
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: Conv2dConfig) -> Result<Self> {
        let out_channels = weight.dims4()?.0;
        if weight.elem_count() == 0 {
            bail!("conv2d: the weight is empty: {:?}", weight.dims())
        }
        if let Some(bias) = bias.as_ref().filter(|bias| bias.dims() != [out_channels]) {
            bail!("conv2d: the bias must have shape ({out_channels}), got {:?}", bias.dims())
        }
        let Conv2dConfig { padding, stride, groups, activation, .. } = config;
        if stride == 0 {
            bail!("conv2d: stride is 0, it must be at least 1")
        }
        if groups == 0 || !out_channels.is_multiple_of(groups) {
            bail!("conv2d: {groups} groups of {out_channels} output channels, they must divide them")
        }
        Ok(Self { name: String::new(), conv: Conv { weight, bias, activation, padding, stride, groups } })
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
    /// When the input is not `(batch, in_channels, height, width)`, is empty, or is smaller than the kernel.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let Conv { weight, bias, activation, .. } = &self.conv;
        let mut shape = self.conv.shape(xs.dims())?;
        let mut xs = xs.clone();
        if !xs.device().is_cpu() && !shape.is_symmetric() {
            (xs, shape) = padded(&xs, shape)?;
        }
        // What the output does not tell is computed from what came before, which is kept then.
        let inside = if activation.is_told_by_its_output() { *activation } else { Activation::Linear };
        let ys = convolve(&xs, weight, bias.as_ref(), shape, inside)?;
        if inside == *activation { Ok(ys) } else { activation.forward(&ys) }
    }
}

/// Images with their zeros around them: a card pads alike on both sides.
fn padded(xs: &Tensor, s: ConvShape) -> Result<(Tensor, ConvShape)> {
    let after = |out: usize, kernel: usize, size: usize, before: usize| {
        ((out - 1) * s.stride + kernel).saturating_sub(size + before)
    };
    let (top, left) = s.padding;
    let bottom = after(s.out_height, s.kernel.0, s.height, top);
    let right = after(s.out_width, s.kernel.1, s.width, left);
    let xs = xs.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    let (height, width) = (s.height + top + bottom, s.width + left + right);
    Ok((xs, ConvShape { height, width, padding: (0, 0), ..s }))
}

fn convolve(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    s: ConvShape,
    activation: Activation,
) -> Result<Tensor> {
    const OP: &str = "conv2d";
    let operands: Vec<&Tensor> = [xs, weight].into_iter().chain(bias).collect();
    let y = Primitive::Conv2d(s, activation).run(OP, &operands, &s.out_dims())?;
    differentiable(OP, &operands, y, &s.out_dims(), move |operands, y, dy| {
        let (x, weight, dy) = (operands[0], operands[1], &activation.backward(y, dy)?);
        let (input, kernels) = (x.dims(), weight.dims());
        wanted(
            operands,
            &[
                &|| Primitive::Conv2dInput(s).tensor("conv2d backward input", &[weight, dy], input),
                &|| Primitive::Conv2dWeight(s).tensor("conv2d backward weight", &[x, dy], kernels),
                &|| {
                    let sums = Primitive::ChannelSums(s.out_channels, s.out_area());
                    sums.tensor("conv2d backward bias", &[dy], &[s.out_channels])
                },
            ],
        )
    })
}

/// Makes a convolution with a square kernel: weight he_normal, bias zero.
///
/// # Errors
/// When a size or the stride is 0, the groups do not divide the channels, or the builder holds other shapes under these
/// names.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use candle_nn::VarMap;
/// use fer_nn::{Activation, Conv2dConfig, conv2d, var_builder};
///
/// let vars = VarMap::new();
/// let vb = var_builder(&vars, 42, &Device::Cpu);
/// let config = Conv2dConfig { activation: Activation::Elu, ..Default::default() };
/// let conv = conv2d(1, 64, 5, config, vb.pp("conv2d_1"))?;
/// let faces = Tensor::zeros((2, 1, 48, 48), candle_core::DType::F32, &Device::Cpu)?;
/// assert_eq!(conv.forward(&faces)?.dims(), [2, 64, 48, 48]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn conv2d(
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    config: Conv2dConfig,
    vb: VarBuilder,
) -> Result<Conv2d> {
    if config.groups == 0 || !in_channels.is_multiple_of(config.groups) {
        bail!("conv2d: {} groups of {in_channels} input channels, they must divide them", config.groups)
    }
    let shape = (out_channels, in_channels / config.groups, kernel, kernel);
    let weight = vb.get_with_hints(shape, "weight", initializer::he_normal())?;
    let bias = bias(config.bias, out_channels, &vb)?;
    Ok(Conv2d::new(weight, bias, config)?.named(vb.prefix()))
}

layer!(Conv2d, conv);
