//! The stages that run as one, and their memory.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Result, Tensor, bail};

use crate::channel::{Channel, constants};
use crate::cpu::grouped_conv2d::{Source as Input, Weight};
use crate::cpu::groups::{GROUP, Images, Lanes, Norm as GroupNorm, groups, in_lanes};
use crate::cpu::read;
use crate::cpu::tail::Tail;
use crate::cpu::winograd::Transformed;
use crate::geometry::ConvShape;
use crate::plan::{Conv, Norm, Op, Source, Stage};
use crate::{Activation, Mask, Step};

/// Stages that run as one. Clones share their memory.
#[derive(Clone, Debug)]
pub(crate) struct Fused {
    pub(super) stages: Vec<FusedStage>,
    /// What they read from outside, in the order in which it is given.
    pub inputs: Vec<Source>,
    /// The stages of the plan whose outputs are given back, in that order.
    pub outputs: Vec<usize>,
    /// The plan's stage that is the first here.
    pub(super) first: usize,
    idle: Arc<Mutex<Vec<Workspace>>>,
}

/// Where a stage reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Input(usize),
    Stage(usize),
}

/// A convolution, and what follows it.
#[derive(Clone, Debug)]
pub(super) struct FusedStage {
    pub conv: Conv,
    pub input: From,
    pub skip: Option<From>,
    pub activation: Activation,
    pub norm: Option<Norm>,
    pub after: Activation,
    pub pool: bool,
    dropout: Option<Mask>,
    /// Whether the output is written, or normalised as it is read.
    pub materialised: bool,
}

/// The memory of a pass.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    pub stages: Vec<Buffers>,
    /// Inputs that are added, in groups.
    pub inputs: Vec<Vec<f32>>,
    /// Memory for gradients.
    pub free: Vec<Vec<f32>>,
    /// The weight of one convolution at a time, where weights change from pass to pass.
    pub weight: Transformed,
}

/// What a stage leaves of its forward pass.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// The activation's output.
    pub y: Vec<f32>,
    /// The stage's output, where it is written.
    pub z: Vec<f32>,
    pub channels: Vec<Channel>,
    pub norms: Vec<GroupNorm>,
    /// A weight that never changes.
    pub weight: Transformed,
}

impl Fused {
    /// Whether a stage can be one of those that run as one.
    pub fn takes(stage: &Stage) -> bool {
        let Op::Conv2d(conv) = &stage.op else { return false };
        conv.groups == 1 && stage.activation.is_told_by_its_output()
    }

    /// The plan's stages `first..first + stages.len()`; `is_read` says whose outputs others read.
    pub fn new(stages: &[Stage], first: usize, is_read: impl Fn(usize) -> bool) -> Self {
        let mut inputs: Vec<Source> = Vec::new();
        let mut from = |source: Source| match source {
            Source::Of(stage) if stage >= first => From::Stage(stage - first),
            outside => {
                let at = inputs.iter().position(|&input| input == outside).unwrap_or(inputs.len());
                if at == inputs.len() {
                    inputs.push(outside);
                }
                From::Input(at)
            }
        };
        let mut all: Vec<FusedStage> = Vec::new();
        for stage in stages {
            let Op::Conv2d(conv) = &stage.op else { continue };
            all.push(FusedStage {
                conv: conv.clone(),
                input: from(stage.input),
                skip: stage.skip.map(&mut from),
                activation: stage.activation,
                norm: stage.norm.clone(),
                after: stage.after,
                pool: stage.pool,
                dropout: stage.dropout,
                materialised: stage.pool || stage.dropout.is_some() || !stage.is_simple(),
            });
        }
        let outputs: Vec<usize> = (first..first + all.len()).filter(|&stage| is_read(stage)).collect();
        let mut readers = vec![0; all.len()];
        for stage in &all {
            if let From::Stage(i) = stage.input {
                readers[i] += 1;
            }
            // What is added is read as it is.
            if let Some(From::Stage(i)) = stage.skip {
                readers[i] += 2;
            }
        }
        outputs.iter().for_each(|&stage| readers[stage - first] += 2);
        for (stage, readers) in all.iter_mut().zip(readers) {
            stage.materialised |= readers > 1;
        }
        Self { stages: all, inputs, outputs, first, idle: Arc::default() }
    }

    /// Whether the layers hold variables or constants themselves, not what is computed from others.
    pub fn holds_its_variables(&self) -> bool {
        let is_leaf = |tensor: &Tensor| tensor.is_variable() || !tensor.track_op();
        self.stages.iter().all(|stage| {
            let norm = stage.norm.as_ref().is_none_or(|norm| is_leaf(&norm.weight) && is_leaf(&norm.bias));
            norm && is_leaf(&stage.conv.weight) && stage.conv.bias.as_ref().is_none_or(is_leaf)
        })
    }

    /// The geometry of every stage for inputs of these dimensions.
    pub(super) fn shapes(&self, inputs: &[Tensor]) -> Result<Vec<ConvShape>> {
        let mut shapes: Vec<ConvShape> = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let s = match stage.input {
                From::Input(i) => stage.conv.shape(inputs[i].dims())?,
                From::Stage(i) => stage.conv.shape(&self.stages[i].out_dims(&shapes[i]))?,
            };
            let out = stage.out_dims(&s);
            if out.contains(&0) {
                bail!("max_pool2d: no 2×2 window 2 apart fits {}×{} values", s.out_height, s.out_width)
            }
            let added = match stage.skip {
                None => None,
                Some(From::Input(i)) => Some(inputs[i].dims().to_vec()),
                Some(From::Stage(i)) => Some(self.stages[i].out_dims(&shapes[i]).to_vec()),
            };
            if let Some(added) = added.filter(|added| *added != s.out_dims()) {
                bail!("sum: expected two inputs of one shape, got {:?} and {added:?}", s.out_dims())
            }
            shapes.push(s);
        }
        Ok(shapes)
    }

    pub(super) fn workspace(&self) -> Workspace {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = idle.unwrap_or_default();
        workspace.stages.resize_with(self.stages.len(), Buffers::default);
        workspace.inputs.resize_with(self.inputs.len(), Vec::new);
        workspace
    }

    pub(super) fn give_back(&self, workspace: Workspace) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }
}

impl FusedStage {
    fn pooled(&self) -> usize {
        if self.pool { 2 } else { 1 }
    }

    /// `(batch, channels, height, width)` of the stage's output.
    pub fn out_dims(&self, s: &ConvShape) -> [usize; 4] {
        [s.batch, s.out_channels, s.out_height / self.pooled(), s.out_width / self.pooled()]
    }

    /// The stage's output with the values of a group together.
    pub fn out_len(&self, s: &ConvShape) -> usize {
        grouped_len(&self.out_dims(s))
    }

    /// Whether nothing stands between the norm and pooling.
    pub fn is_simple(&self) -> bool {
        self.skip.is_none() && self.after == Activation::Linear
    }

    pub fn tail(&self, s: &ConvShape, step: Option<Step>) -> Tail {
        let dropout = step.and_then(|step| self.dropout.as_ref()?.of(step));
        Tail { height: s.out_height, width: s.out_width, pool: self.pool, dropout, after: self.after }
    }

    /// Calls `work` with the weight, which is transformed into one of two memories.
    pub fn with_weight<R>(
        &self,
        kept: &mut Transformed,
        passing: &mut Transformed,
        work: impl FnOnce(Weight) -> R,
    ) -> Result<R> {
        let constant = !self.conv.weight.is_variable();
        let kernel = if constant { kept } else { passing };
        read(&self.conv.weight, |values| work(Weight { values, constant, kernel }))
    }

    /// The biases of every group.
    pub fn bias(&self) -> Result<Vec<Lanes>> {
        match &self.conv.bias {
            Some(bias) => read(bias, in_lanes),
            None => Ok(vec![[0.0; GROUP]; groups(self.conv.weight.dims()[0])]),
        }
    }

    /// What each channel is normalised by, given the means and variances.
    pub fn constants(&self, norm: &Norm, mean: &[f64], var: &[f64]) -> Result<Vec<Channel>> {
        read(&norm.weight, |gamma| constants(mean, var, gamma, norm.epsilon))
    }

    /// How the channels are normalised by `channels`.
    pub fn norms(&self, channels: &[Channel]) -> Result<Vec<GroupNorm>> {
        let Some(norm) = &self.norm else {
            return Ok(vec![GroupNorm::IDENTITY; groups(self.conv.weight.dims()[0])]);
        };
        read(&norm.bias, |beta| {
            let mut norms = vec![GroupNorm::IDENTITY; groups(channels.len())];
            for (c, (channel, &beta)) in channels.iter().zip(beta).enumerate() {
                let (norm, lane) = (&mut norms[c / GROUP], c % GROUP);
                norm.center[lane] = channel.center();
                [norm.scale[lane], norm.shift[lane]] = channel.affine(beta);
            }
            norms
        })
    }

    /// What a convolution after this stage reads.
    pub fn output<'a>(&self, s: &ConvShape, buffers: &'a Buffers) -> Input<'a> {
        let [_, channels, height, width] = self.out_dims(s);
        let (data, norm) = match self.materialised {
            true => (&buffers.z[..], None),
            false => (&buffers.y[..], self.norm.as_ref().map(|_| &buffers.norms[..])),
        };
        Input::Groups(Images { data: &data[..self.out_len(s)], channels, height, width, norm })
    }
}

/// The values of `(batch, channels, height, width)` in groups.
pub(super) fn grouped_len([batch, channels, height, width]: &[usize; 4]) -> usize {
    batch * groups(*channels) * height * width * GROUP
}

/// The first `len` values of a buffer, which grows when it must. Their old contents stay.
pub(super) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        *buffer = vec![0.0; len];
    }
    &mut buffer[..len]
}
