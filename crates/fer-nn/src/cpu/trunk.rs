//! The convolutional part of a network run as one: forward and backward over channel groups in kept memory.
//!
//! A stage is a convolution with what follows it. Its convolution reads the stage before, normalising on the way,
//! and leaves the activation's output `y` with its channels' moments; only where pooling or dropout follow (or
//! the trunk ends) is the normalised output `z` written too, in the same pass. Backward, the gradient of the
//! input's convolution adds up what the normalisation before it needs, while it is in cache.

mod backward;
mod forward;

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Result, Tensor, bail};

use super::conv2d::ConvShape;
use super::grouped_conv2d::{Kernel, Source, Weight};
use super::groups::{GROUP, Images, Lanes, Norm, groups, in_lanes};
use super::normalize::Channel;
use super::tail;
use crate::sequential::Tail;
use crate::{BatchNorm, Conv2d, Dropout, Layer, Step};

pub(crate) use forward::Pass;

/// The stages that a network begins with. Clones share their memory.
#[derive(Clone, Debug)]
pub(crate) struct Trunk {
    stages: Vec<Stage>,
    layers: usize,
    idle: Arc<Mutex<Vec<Workspace>>>,
}

/// A convolution, and what follows it in this order.
#[derive(Clone, Debug)]
struct Stage {
    conv: Conv2d,
    norm: Option<BatchNorm>,
    /// 2×2 maximum pooling.
    pool: bool,
    dropout: Option<Dropout>,
}

/// The memory of a pass.
#[derive(Debug, Default)]
struct Workspace {
    stages: Vec<Buffers>,
    gradients: [Vec<f32>; 2],
    /// The kernel of one convolution at a time, where weights change from pass to pass.
    kernel: Kernel,
}

/// What a stage leaves of its forward pass.
#[derive(Debug, Default)]
struct Buffers {
    /// The activation's output.
    y: Vec<f32>,
    /// Normalised, pooled and masked, where the next stage reads that.
    z: Vec<f32>,
    channels: Vec<Channel>,
    norms: Vec<Norm>,
    /// The kernel of a weight that never changes.
    kernel: Kernel,
}

impl Trunk {
    /// The longest run of stages that `layers` begin with.
    pub fn of(layers: &[Layer]) -> Self {
        let mut stages: Vec<Stage> = Vec::new();
        let mut taken = 0;
        while let Some(Layer::Conv2d(conv)) = layers.get(taken) {
            let (Tail { norm, pool, dropout }, after) =
                Tail::of(&layers[taken + 1..], conv.bias.elem_count());
            taken += 1 + after;
            stages.push(Stage { conv: conv.clone(), norm, pool, dropout });
        }
        Self { stages, layers: taken, idle: Arc::default() }
    }

    /// The number of layers that the stages hold.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Whether the layers hold variables or constants themselves, not what is computed from others.
    pub fn holds_its_variables(&self) -> bool {
        let is_leaf = |tensor: &Tensor| tensor.is_variable() || !tensor.track_op();
        self.stages.iter().all(|stage| {
            let norm = stage.norm.as_ref().is_none_or(|norm| is_leaf(&norm.weight) && is_leaf(&norm.bias));
            norm && is_leaf(&stage.conv.weight) && is_leaf(&stage.conv.bias)
        })
    }

    /// The geometry of every stage for images of these dimensions.
    fn shapes(&self, images: &Tensor) -> Result<Vec<ConvShape>> {
        let mut dims = images.dims().to_vec();
        let mut shapes = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let s = stage.conv.shape(&dims)?;
            let pool = if stage.pool { 2 } else { 1 };
            dims = vec![s.batch, s.out_channels, s.out_height / pool, s.out_width / pool];
            if dims.contains(&0) {
                bail!("max_pool2d: no 2×2 window 2 apart fits {}×{} values", s.out_height, s.out_width)
            }
            shapes.push(s);
        }
        Ok(shapes)
    }

    fn workspace(&self) -> Workspace {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = idle.unwrap_or_default();
        workspace.stages.resize_with(self.stages.len(), Buffers::default);
        workspace
    }

    fn give_back(&self, workspace: Workspace) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }
}

impl Stage {
    fn tail(&self, s: &ConvShape, step: Option<Step>) -> tail::Tail {
        let dropout = step.and_then(|step| self.dropout.as_ref()?.mask(step));
        let (channels, height, width) = (s.out_channels, s.out_height, s.out_width);
        tail::Tail { channels, height, width, pool: self.pool, dropout }
    }

    /// Calls `work` with the weight, which is transformed into one of two memories.
    fn with_weight<R>(
        &self,
        kept: &mut Kernel,
        passing: &mut Kernel,
        work: impl FnOnce(Weight) -> R,
    ) -> Result<R> {
        let constant = !self.conv.weight.is_variable();
        let kernel = if constant { kept } else { passing };
        super::read(&self.conv.weight, |values| work(Weight { values, constant, kernel }))
    }

    /// The biases of every group.
    fn bias(&self) -> Result<Vec<Lanes>> {
        super::read(&self.conv.bias, in_lanes)
    }

    /// How the channels are normalised by `channels`.
    fn norms(&self, channels: &[Channel]) -> Result<Vec<Norm>> {
        let Some(norm) = &self.norm else {
            return Ok(vec![Norm::IDENTITY; groups(self.conv.bias.elem_count())]);
        };
        super::read(&norm.bias, |beta| {
            let mut norms = vec![Norm::IDENTITY; groups(channels.len())];
            for (c, (channel, &beta)) in channels.iter().zip(beta).enumerate() {
                let (norm, lane) = (&mut norms[c / GROUP], c % GROUP);
                norm.center[lane] = channel.center();
                [norm.scale[lane], norm.shift[lane]] = channel.affine(beta);
            }
            norms
        })
    }

    /// What the stage after this one reads.
    fn output<'a>(&self, s: &ConvShape, buffers: &'a Buffers, materialised: bool) -> Source<'a> {
        let (data, norm, pool) = match materialised {
            true => (&buffers.z[..], None, if self.pool { 2 } else { 1 }),
            false => (&buffers.y[..], self.norm.as_ref().map(|_| &buffers.norms[..]), 1),
        };
        let (height, width) = (s.out_height / pool, s.out_width / pool);
        let len = s.batch * groups(s.out_channels) * height * width * GROUP;
        Source::Groups(Images { data: &data[..len], channels: s.out_channels, height, width, norm })
    }
}

/// The first `len` values of a buffer, which grows when it must. Their old contents stay.
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        *buffer = vec![0.0; len];
    }
    &mut buffer[..len]
}
