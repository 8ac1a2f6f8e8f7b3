//! A network lowered once, for every device: stages in order, each with what it reads and what follows it.
//!
//! A stage is a convolution or a dense layer together with what comes after it, in this order, each or none:
//!
//! ```text
//! y = activation(op(input) + bias)      n = norm(y)      m = after(n + skip)      z = dropout(pool(m))
//! ```
//!
//! where `skip` is another stage's output (a residual addition is an edge of the plan) and `pool` the maximum of 2×2
//! values. Everything else is a stage of its own. Engines, summaries and saved names all read the one plan.

mod lower;
mod table;

use candle_core::{DType, Result, Tensor, Var, bail};
use serde::{Deserialize, Serialize};

use crate::geometry::{ConvShape, DenseShape, Padding, Windows};
use crate::{Activation, Mask};

/// What a layer does, for an engine to do in its own way. A layer that no engine knows is [`Own`](Self::Own).
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is the layer of its name")]
pub enum Op {
    Conv2d(Conv),
    ConvTranspose2d(Conv),
    Dense(Affine),
    BatchNorm(Norm),
    Activation(Activation),
    /// One slope a channel below 0.
    PRelu(Tensor),
    MaxPool2d(Pool),
    MeanPool2d(Pool),
    GlobalMean,
    Dropout(Mask),
    Flatten,
    /// Every value a square of so many rows and columns.
    Upsample(usize),
    /// Channels of zeros after those that there are, up to so many.
    PadChannels(usize),
    /// The sum of two inputs.
    Sum,
    /// Done by the layer itself.
    Own,
}

/// A convolution, or a transposed one.
#[derive(Clone, Debug)]
pub struct Conv {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
    pub(crate) activation: Activation,
    pub(crate) padding: Padding,
    pub(crate) stride: usize,
    pub(crate) groups: usize,
}

/// A fully connected layer.
#[derive(Clone, Debug)]
pub struct Affine {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
    pub(crate) activation: Activation,
}

/// A batch normalisation.
#[derive(Clone, Debug)]
pub struct Norm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) running_mean: Var,
    pub(crate) running_var: Var,
    /// The weight of the old value in the moving statistics.
    pub(crate) momentum: f64,
    pub(crate) epsilon: f64,
    pub(crate) moving_variance: MovingVariance,
}

/// Which variance of a batch enters the moving variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovingVariance {
    /// N/(N − 1) times the biased variance for images, the biased variance for vectors: TensorFlow 2.1.
    #[default]
    #[serde(alias = "notebook")]
    Keras2,
    /// The biased variance everywhere: Keras 3.
    Biased,
    /// N/(N − 1) times the biased variance everywhere: PyTorch.
    Unbiased,
}

/// Pooling by square windows.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub(crate) size: usize,
    pub(crate) stride: usize,
    pub(crate) padding: Padding,
}

/// A tensor of a layer.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name within the layer: `weight`.
    pub name: &'static str,
    /// The tensor.
    pub tensor: Tensor,
}

/// A layer of a network.
#[derive(Clone, Debug)]
pub struct LayerInfo {
    /// The layer's name, which the names of its variables begin with.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// The layers that it reads, by their places in the network; `None` is the network's input.
    pub inputs: Vec<Option<usize>>,
    /// Its output for the input that was asked about: `(batch, …)`.
    pub output: Vec<usize>,
    /// Its tensors.
    pub variables: Vec<Variable>,
}

/// Where values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// The network's input.
    Images,
    /// The output of a node or a stage.
    Of(usize),
}

impl Source {
    /// The node or the stage; `None` for the network's input.
    pub fn of(self) -> Option<usize> {
        match self {
            Self::Images => None,
            Self::Of(of) => Some(of),
        }
    }
}

/// A layer at its place in a network.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub name: String,
    pub op: Op,
    pub variables: Vec<Variable>,
    pub inputs: Vec<Source>,
}

/// Layers that are computed together.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// The layers, in order.
    pub nodes: Vec<usize>,
    pub op: Op,
    pub input: Source,
    /// What stands before the norm, or before the addition.
    pub activation: Activation,
    pub norm: Option<Norm>,
    /// What is added.
    pub skip: Option<Source>,
    /// What stands after the norm and the addition.
    pub after: Activation,
    /// 2×2 maximum pooling.
    pub pool: bool,
    pub dropout: Option<Mask>,
}

/// A network lowered.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub nodes: Vec<Node>,
    pub stages: Vec<Stage>,
    /// The stages whose outputs are the network's.
    pub outputs: Vec<Source>,
}

impl Conv {
    /// The geometry for an input of these dimensions.
    pub(crate) fn shape(&self, input: &[usize]) -> Result<ConvShape> {
        let &[batch, in_channels, height, width] = input else {
            bail!("conv2d: expected (batch, in_channels, height, width), got {input:?}")
        };
        let (out_channels, of_group, kernel_height, kernel_width) = self.weight.dims4()?;
        if in_channels != of_group * self.groups {
            bail!("conv2d: the input has {in_channels} channels, the weight {}", of_group * self.groups)
        }
        let windows = self.padding.windows([height, width], [kernel_height, kernel_width], self.stride);
        let (Some([padding, [out_height, out_width]]), false) = (windows, batch == 0) else {
            bail!("conv2d: no {kernel_height}×{kernel_width} window fits the input {input:?}")
        };
        Ok(ConvShape {
            batch,
            in_channels,
            height,
            width,
            out_channels,
            kernel: (kernel_height, kernel_width),
            stride: self.stride,
            padding: padding.into(),
            out_height,
            out_width,
            groups: self.groups,
        })
    }

    /// The geometry of the convolution whose input's gradient a transposed one is, for an input of these dimensions.
    pub(crate) fn transposed_shape(&self, input: &[usize]) -> Result<ConvShape> {
        let &[batch, channels, height, width] = input else {
            bail!("conv_transpose2d: expected (batch, in_channels, height, width), got {input:?}")
        };
        let (expected, of_group, kernel_height, kernel_width) = self.weight.dims4()?;
        if channels != expected || batch == 0 {
            bail!("conv_transpose2d: expected {expected} channels and some images, got {input:?}")
        }
        let (before, after) = match self.padding {
            Padding::Explicit { top, bottom, left, right } => ((top, left), (bottom, right)),
            Padding::Valid => ((0, 0), (0, 0)),
            Padding::Same => bail!("conv_transpose2d: padding is `valid` or explicit"),
        };
        let along = |size: usize, kernel: usize, [before, after]: [usize; 2]| {
            let cut = before.checked_add(after)?;
            let all = size.checked_sub(1)?.checked_mul(self.stride)?.checked_add(kernel)?;
            all.checked_sub(cut).filter(|&out| out > 0)
        };
        let rows = along(height, kernel_height, [before.0, after.0]);
        let columns = along(width, kernel_width, [before.1, after.1]);
        let (Some(rows), Some(columns)) = (rows, columns) else {
            bail!("conv_transpose2d: nothing is left of the input {input:?} with this padding")
        };
        Ok(ConvShape {
            batch,
            in_channels: of_group * self.groups,
            height: rows,
            width: columns,
            out_channels: channels,
            kernel: (kernel_height, kernel_width),
            stride: self.stride,
            padding: before,
            out_height: height,
            out_width: width,
            groups: self.groups,
        })
    }
}

impl Affine {
    /// The sizes for an input of these dimensions, of which those after the first are taken together.
    pub(crate) fn shape(&self, input: &[usize]) -> Result<DenseShape> {
        let (outputs, expected) = self.weight.dims2()?;
        let (batch, inputs) = match input {
            [batch, rest @ ..] if !rest.is_empty() => (*batch, rest.iter().product()),
            _ => (0, 0),
        };
        if inputs != expected || batch == 0 {
            bail!("dense: expected (batch, {expected}), got {input:?}")
        }
        Ok(DenseShape { batch, inputs, outputs })
    }
}

impl Norm {
    /// The number of channels.
    pub(crate) fn channels(&self) -> usize {
        self.weight.elem_count()
    }

    /// The factor of the biased variance of `count` values, of a tensor of `rank` dimensions, that enters the moving one.
    pub(crate) fn correction(&self, count: usize, rank: usize) -> f64 {
        let unbiased = match self.moving_variance {
            MovingVariance::Keras2 => rank > 2,
            MovingVariance::Biased => false,
            MovingVariance::Unbiased => true,
        };
        if unbiased { count as f64 / (count - 1).max(1) as f64 } else { 1.0 }
    }

    /// The moving means and variances.
    pub(crate) fn moving(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let row = |var: &Var| var.as_tensor().to_dtype(DType::F64)?.to_vec1();
        Ok((row(&self.running_mean)?, row(&self.running_var)?))
    }

    /// Takes the means and biased variances of a batch into the moving ones; `count` is the number of values that
    /// each was taken over, of a tensor of `rank` dimensions.
    pub(crate) fn update_moving(&self, mean: &[f64], var: &[f64], count: usize, rank: usize) -> Result<()> {
        let correction = self.correction(count, rank);
        for (moving, new, correction) in
            [(&self.running_mean, mean, 1.0), (&self.running_var, var, correction)]
        {
            let new = Tensor::from_slice(new, new.len(), moving.device())?;
            let new = (new * ((1.0 - self.momentum) * correction))?.to_dtype(moving.dtype())?;
            moving.set(&((moving.as_tensor() * self.momentum)? + new)?.detach())?;
        }
        Ok(())
    }
}

impl Pool {
    /// The windows of planes of this size.
    pub(crate) fn windows(&self, op: &str, size: [usize; 2]) -> Result<Windows> {
        Windows::new(op, size, self.size, self.stride, self.padding)
    }

    /// Whether it is the maximum or mean of 2×2 values, each of one window.
    pub(crate) fn is_two_by_two(&self) -> bool {
        self.size == 2 && self.stride == 2 && self.padding == Padding::Valid
    }
}

impl Stage {
    /// Whether nothing stands between the norm and pooling.
    pub fn is_simple(&self) -> bool {
        self.skip.is_none() && self.after == Activation::Linear
    }

    /// Whether anything follows the activation.
    #[cfg(any(feature = "cuda", test))]
    pub fn has_tail(&self) -> bool {
        !self.is_simple() || self.norm.is_some() || self.pool || self.dropout.is_some()
    }
}
