//! The networks that run as one on a card: convolutions, then dense layers, each with what follows it.

use candle_core::{Result, Tensor, bail};

use super::Kind;
use crate::cpu::conv2d::ConvShape;
use crate::sequential::Tail;
use crate::{Activation, BatchNorm, Conv2d, Dropout, Layer, Precision};

/// The stages of a network.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub stages: Vec<Stage>,
}

/// A convolution or a dense layer, and what follows it in this order.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// The convolution's settings; `None` for a dense layer.
    pub conv: Option<Conv2d>,
    pub weight: Tensor,
    pub bias: Tensor,
    pub activation: Activation,
    pub norm: Option<BatchNorm>,
    /// 2×2 maximum pooling.
    pub pool: bool,
    pub dropout: Option<Dropout>,
}

impl Stage {
    pub fn channels(&self) -> usize {
        self.bias.elem_count()
    }

    /// Whether nothing follows the layer: its results are the logits.
    fn is_plain(&self) -> bool {
        let Self { activation, norm, pool, dropout, .. } = self;
        *activation == Activation::Linear && norm.is_none() && !pool && dropout.is_none()
    }

    /// What the optimiser changes.
    pub fn parameters(&self) -> impl Iterator<Item = &Tensor> {
        let norm = self.norm.iter().flat_map(|norm| [&norm.weight, &norm.bias]);
        [&self.weight, &self.bias].into_iter().chain(norm)
    }
}

/// The sizes of a stage for a batch, and the types of its values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// The convolution; a dense layer is one whose windows are the whole image.
    pub shape: ConvShape,
    pub dense: bool,
    /// Computed by the kernels of `direct.cu`.
    pub direct: bool,
    /// The type of the convolution's input, weight and result.
    pub kind: Kind,
    /// The type of the stage's output.
    pub out: Kind,
    pub pool: bool,
}

impl Geometry {
    /// Values of the convolution's result.
    pub fn c_len(&self) -> usize {
        self.shape.batch * self.shape.out_channels * self.area()
    }

    /// Rows times columns of the convolution's result.
    pub fn area(&self) -> usize {
        self.shape.out_height * self.shape.out_width
    }

    /// Rows and columns of the stage's output.
    pub fn out_size(&self) -> (usize, usize) {
        let pool = if self.pool { 2 } else { 1 };
        (self.shape.out_height / pool, self.shape.out_width / pool)
    }

    /// Values of the stage's output.
    pub fn z_len(&self) -> usize {
        let (height, width) = self.out_size();
        self.shape.batch * self.shape.out_channels * height * width
    }

    /// `(outputs, channels, positions)` of the weight: those before the positions in tensors, last on the card.
    pub fn weight_layout(&self) -> (usize, usize, usize) {
        let ConvShape { out_channels, in_channels, kernel, .. } = self.shape;
        (out_channels, in_channels, kernel.0 * kernel.1)
    }
}

impl Chain {
    /// The chain that `layers` are, if they are one: convolutions, a flattening and dense layers, the last of them
    /// with nothing after it.
    pub fn of(layers: &[Layer]) -> Option<Self> {
        let mut stages = Vec::new();
        let mut rest = layers;
        let mut flat = false;
        while let [layer, after @ ..] = rest {
            let (conv, weight, bias, activation) = match layer {
                Layer::Conv2d(conv) if !flat => {
                    (Some(conv.clone()), &conv.weight, &conv.bias, conv.config.activation)
                }
                Layer::Flatten if !flat => {
                    (flat, rest) = (true, after);
                    continue;
                }
                Layer::Dense(dense) if flat => (None, &dense.weight, &dense.bias, dense.activation),
                _ => return None,
            };
            let (tail, taken) = Tail::of(after, bias.elem_count());
            rest = &after[taken..];
            if flat && tail.pool {
                return None;
            }
            let (weight, bias) = (weight.clone(), bias.clone());
            let Tail { norm, pool, dropout } = tail;
            stages.push(Stage { conv, weight, bias, activation, norm, pool, dropout });
        }
        let last = stages.last()?;
        (last.conv.is_none() && last.is_plain()).then_some(Self { stages })
    }

    /// The number of logits of an image.
    pub fn classes(&self) -> usize {
        self.stages.last().map_or(0, Stage::channels)
    }

    /// Whether every weight is a variable, so that it can be trained.
    #[cfg(feature = "cuda")]
    pub fn is_trainable(&self) -> bool {
        self.stages.iter().all(|stage| stage.parameters().all(Tensor::is_variable))
    }

    /// The geometry of every stage for images `(batch, channels, height, width)`; `None` when a stage pads its
    /// images by other numbers before and after, which convolutions of a card do not.
    pub fn geometry(&self, images: [usize; 4], precision: Precision) -> Result<Option<Vec<Geometry>>> {
        let [batch, mut channels, mut height, mut width] = images;
        let mut geometry: Vec<Geometry> = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let shape = match &stage.conv {
                Some(conv) => conv.shape(&[batch, channels, height, width])?,
                None => {
                    let (out_channels, inputs) = stage.weight.dims2()?;
                    if inputs != channels * height * width {
                        let values = channels * height * width;
                        bail!("dense: expected (batch, {inputs}), got ({batch}, {values})")
                    }
                    ConvShape {
                        batch,
                        in_channels: channels,
                        height,
                        width,
                        out_channels,
                        kernel: (height, width),
                        stride: 1,
                        padding: (0, 0),
                        out_height: 1,
                        out_width: 1,
                        groups: 1,
                    }
                }
            };
            if !shape.is_symmetric() {
                return Ok(None);
            }
            let dense = stage.conv.is_none();
            let direct = !dense
                && geometry.is_empty()
                && shape.in_channels == 1
                && shape.stride == 1
                && matches!(shape.kernel, (3, 3) | (5, 5));
            // Dense layers stay in f32: they are a hundredth of the work, and end in the loss.
            let half = precision == Precision::Bf16 && !dense;
            let kind = if half { Kind::Bf16 } else { Kind::F32 };
            if let Some(before) = geometry.last_mut() {
                before.out = kind;
            }
            let this = Geometry { shape, dense, direct, kind, out: Kind::F32, pool: stage.pool };
            (channels, (height, width)) = (shape.out_channels, this.out_size());
            if height == 0 || width == 0 {
                bail!("max_pool2d: no 2×2 window fits {}×{} values", shape.out_height, shape.out_width)
            }
            geometry.push(this);
        }
        Ok(Some(geometry))
    }
}
