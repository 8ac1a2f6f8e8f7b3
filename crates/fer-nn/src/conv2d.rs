//! Two-dimensional convolution with its bias and activation.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use candle_nn::VarBuilder;

use crate::cpu::{self, conv2d::ConvShape};
#[cfg(feature = "cuda")]
use crate::gpu::held;
use crate::{Activation, initializer};

/// What happens at the edges of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Zeros around the image so that the output has ⌈size / stride⌉ rows and columns; where their number is
    /// odd, the last goes to the bottom and to the right, as in TensorFlow.
    #[default]
    Same,
    /// No zeros: only windows that lie wholly inside the image.
    Valid,
}

impl Padding {
    /// The zeros before an axis of `size` values, and the output's length along it.
    fn along(self, size: usize, kernel: usize, stride: usize) -> Option<(usize, usize)> {
        match self {
            Self::Same => {
                let out = size.div_ceil(stride);
                let total = ((out.checked_sub(1)?) * stride + kernel).saturating_sub(size);
                Some((total / 2, out))
            }
            Self::Valid => Some((0, size.checked_sub(kernel)? / stride + 1)),
        }
    }
}

/// The settings of a [`Conv2d`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dConfig {
    /// What happens at the edges.
    pub padding: Padding,
    /// Rows and columns from one window to the next, at least 1.
    pub stride: usize,
    /// The function applied to the output.
    pub activation: Activation,
}

impl Default for Conv2dConfig {
    fn default() -> Self {
        Self { padding: Padding::Same, stride: 1, activation: Activation::Linear }
    }
}

/// A convolution: `activation(x ∗ weight + bias)`.
///
/// # Shapes
/// - input `(batch, in_channels, height, width)`
/// - weight `(out_channels, in_channels, kernel, kernel)`, bias `(out_channels)`
/// - output `(batch, out_channels, out_height, out_width)`
#[derive(Clone, Debug)]
pub struct Conv2d {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) config: Conv2dConfig,
}

impl Conv2d {
    /// A convolution with these weights.
    ///
    /// # Errors
    /// When the weight is not 4-D or is empty, the bias is not one value an output channel, or the stride is 0.
    pub fn new(weight: Tensor, bias: Tensor, config: Conv2dConfig) -> Result<Self> {
        let out_channels = weight.dims4()?.0;
        if weight.elem_count() == 0 {
            bail!("conv2d: the weight is empty: {:?}", weight.dims())
        }
        if bias.dims() != [out_channels] {
            bail!("conv2d: the bias must have shape ({out_channels}), got {:?}", bias.dims())
        }
        if config.stride == 0 {
            bail!("conv2d: stride is 0, it must be at least 1")
        }
        Ok(Self { weight, bias, config })
    }

    /// The output for a batch of images.
    ///
    /// # Errors
    /// When the input is not `(batch, in_channels, height, width)`, is empty, or is smaller than the kernel.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let mut shape = self.shape(xs.dims())?;
        let mut xs = xs.clone();
        if !xs.device().is_cpu() && !shape.is_symmetric() {
            // A card pads alike on both sides: here the zeros are a part of the images.
            let [above, left] = [shape.padding.0, shape.padding.1];
            let stride = shape.stride;
            let after = |out: usize, kernel: usize, size: usize, before: usize| {
                ((out - 1) * stride + kernel).saturating_sub(size + before)
            };
            let below = after(shape.out_height, shape.kernel.0, shape.height, above);
            let right = after(shape.out_width, shape.kernel.1, shape.width, left);
            xs = xs.pad_with_zeros(2, above, below)?.pad_with_zeros(3, left, right)?;
            let (height, width) = (shape.height + above + below, shape.width + left + right);
            shape = ConvShape { height, width, padding: (0, 0), ..shape };
        }
        let (weight, bias) = (self.weight.contiguous()?, self.bias.contiguous()?);
        xs.contiguous()?.apply_op3(&weight, &bias, Forward { shape, activation: self.config.activation })
    }

    /// The geometry for an input of these dimensions.
    pub(crate) fn shape(&self, input: &[usize]) -> Result<ConvShape> {
        let &[batch, in_channels, height, width] = input else {
            bail!("conv2d: expected (batch, in_channels, height, width), got {input:?}")
        };
        let (out_channels, expected, kernel_height, kernel_width) = self.weight.dims4()?;
        if in_channels != expected {
            bail!("conv2d: the input has {in_channels} channels, the weight {expected}")
        }
        let Conv2dConfig { padding, stride, .. } = self.config;
        let rows = padding.along(height, kernel_height, stride);
        let columns = padding.along(width, kernel_width, stride);
        let (Some((top, out_height)), Some((left, out_width)), false) = (rows, columns, batch == 0) else {
            bail!("conv2d: no {kernel_height}×{kernel_width} window fits the input {input:?}")
        };
        Ok(ConvShape {
            batch,
            in_channels,
            height,
            width,
            out_channels,
            kernel: (kernel_height, kernel_width),
            stride,
            padding: (top, left),
            out_height,
            out_width,
        })
    }
}

/// Makes a convolution with a square kernel: weight he_normal, bias zero.
///
/// # Errors
/// When a size or the stride is 0, or the builder holds other shapes under these names.
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
    let shape = (out_channels, in_channels, kernel, kernel);
    let weight = vb.get_with_hints(shape, "weight", initializer::he_normal())?;
    let bias = vb.get_with_hints(out_channels, "bias", initializer::ZEROS)?;
    Conv2d::new(weight, bias, config)
}

#[derive(Clone, Copy)]
struct Forward {
    shape: ConvShape,
    activation: Activation,
}

impl CustomOp3 for Forward {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        weight: &CpuStorage,
        lw: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = cpu::values(x, lx, self.name())?;
        let weight = cpu::values(weight, lw, self.name())?;
        let bias = cpu::values(bias, lb, self.name())?;
        let s = self.shape;
        let y = cpu::conv2d::forward(x, weight, bias, self.activation, s);
        Ok((CpuStorage::F32(y), (s.batch, s.out_channels, s.out_height, s.out_width).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        weight: &CudaStorage,
        lw: &Layout,
        bias: &CudaStorage,
        lb: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (operands, s) = ([(x, lx), (weight, lw), (bias, lb)], &self.shape);
        let shape = (s.batch, s.out_channels, s.out_height, s.out_width);
        held::run(self.name(), operands, shape, |layers, operands, y| {
            layers.conv2d(operands, y, self.activation, s)
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = self.activation.backward(y, &dy.contiguous()?)?;
        let on_demand =
            |wanted: bool, gradient: &dyn Fn() -> Result<Tensor>| wanted.then(gradient).transpose();
        Ok((
            on_demand(x.track_op(), &|| weight.apply_op2_no_bwd(&dy, &BackwardInput(self.shape)))?,
            on_demand(weight.track_op(), &|| x.apply_op2_no_bwd(&dy, &BackwardWeight(self.shape)))?,
            on_demand(bias.track_op(), &|| match dy.device().is_cpu() {
                true => dy.apply_op1_no_bwd(&BackwardBias(self.shape)),
                false => dy.sum((0, 2, 3)),
            })?,
        ))
    }
}

struct BackwardInput(ConvShape);

impl CustomOp2 for BackwardInput {
    fn name(&self) -> &'static str {
        "conv2d backward input"
    }

    fn cpu_fwd(
        &self,
        w: &CpuStorage,
        lw: &Layout,
        dy: &CpuStorage,
        ld: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (w, dy) = (cpu::values(w, lw, self.name())?, cpu::values(dy, ld, self.name())?);
        let s = self.0;
        let dx = cpu::conv2d::backward_input(w, dy, s);
        Ok((CpuStorage::F32(dx), (s.batch, s.in_channels, s.height, s.width).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        w: &CudaStorage,
        lw: &Layout,
        dy: &CudaStorage,
        ld: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let s = &self.0;
        let shape = (s.batch, s.in_channels, s.height, s.width);
        held::run(self.name(), [(w, lw), (dy, ld)], shape, |layers, operands, dx| {
            layers.conv2d_input(operands, dx, s)
        })
    }
}

struct BackwardWeight(ConvShape);

impl CustomOp2 for BackwardWeight {
    fn name(&self) -> &'static str {
        "conv2d backward weight"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        dy: &CpuStorage,
        ld: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, dy) = (cpu::values(x, lx, self.name())?, cpu::values(dy, ld, self.name())?);
        let s = self.0;
        let dw = cpu::conv2d::backward_weight(x, dy, s);
        Ok((CpuStorage::F32(dw), (s.out_channels, s.in_channels, s.kernel.0, s.kernel.1).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        dy: &CudaStorage,
        ld: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let s = &self.0;
        let shape = (s.out_channels, s.in_channels, s.kernel.0, s.kernel.1);
        held::run(self.name(), [(x, lx), (dy, ld)], shape, |layers, operands, dw| {
            layers.conv2d_weight(operands, dw, s)
        })
    }
}

struct BackwardBias(ConvShape);

impl CustomOp1 for BackwardBias {
    fn name(&self) -> &'static str {
        "conv2d backward bias"
    }

    fn cpu_fwd(&self, dy: &CpuStorage, ld: &Layout) -> Result<(CpuStorage, Shape)> {
        let s = self.0;
        let dy = cpu::values(dy, ld, self.name())?;
        let db = cpu::elementwise::sum_per_channel(dy, s.out_channels, s.out_height * s.out_width);
        Ok((CpuStorage::F32(db), s.out_channels.into()))
    }
}
