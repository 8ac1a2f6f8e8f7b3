//! What a card makes of a plan: which stages it can record, and their sizes for a batch.

use candle_core::{Result, Tensor, TensorId, bail};

use super::card::Kind;
use crate::geometry::ConvShape;
use crate::plan::{Op, Plan, Source, Stage};
use crate::{Activation, Precision};

/// What computes a stage's result, before what follows it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// A convolution of images of one channel by the kernels of `direct.cu`.
    Direct(ConvShape),
    Convolution(ConvShape),
    /// A dense layer that reads so many channels at so many positions.
    Dense {
        channels: usize,
        positions: usize,
    },
    /// The means of so many positions.
    Mean {
        positions: usize,
    },
    /// The stage's input is the result, to which something is added.
    Input,
}

/// The sizes of a stage for a batch, and the types of its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub work: Work,
    pub batch: usize,
    /// Channels of the result, which are those of the output.
    pub channels: usize,
    /// Rows and columns of the result; one each where it is vectors.
    pub height: usize,
    pub width: usize,
    /// Whether the result is vectors.
    pub is_flat: bool,
    /// The type of the result; of a convolution's input and weight too.
    pub kind: Kind,
    /// The type of the output.
    pub out: Kind,
    pub pool: bool,
}

/// A stage that a card does not record.
#[derive(Clone, Debug)]
pub(crate) struct Unsupported {
    stage: usize,
    reason: &'static str,
}

impl Unsupported {
    /// What is said of it, with the layer's name.
    pub fn message(&self, plan: &Plan) -> String {
        let node = plan.stages.get(self.stage).and_then(|stage| plan.nodes.get(*stage.nodes.first()?));
        let name = node.map_or("the network", |node| &node.name);
        format!("{name}: {}; the card calls the network's layers one by one", self.reason)
    }
}

impl Sizes {
    /// Values of the result.
    pub fn result_len(&self) -> usize {
        self.batch * self.channels * self.area()
    }

    /// Rows times columns of the result.
    pub fn area(&self) -> usize {
        self.height * self.width
    }

    /// Rows and columns of the output.
    pub fn out_size(&self) -> (usize, usize) {
        let pool = if self.pool { 2 } else { 1 };
        (self.height / pool, self.width / pool)
    }

    /// Values of the output.
    pub fn out_len(&self) -> usize {
        let (height, width) = self.out_size();
        self.batch * self.channels * height * width
    }

    pub fn result_bytes(&self) -> usize {
        self.result_len() * self.kind.size()
    }

    pub fn out_bytes(&self) -> usize {
        self.out_len() * self.out.size()
    }

    /// The output's dimensions, channels before positions.
    pub fn out_dims(&self) -> Vec<usize> {
        let (height, width) = self.out_size();
        match self.is_flat {
            true => vec![self.batch, self.channels],
            false => vec![self.batch, self.channels, height, width],
        }
    }

    /// `(outputs, channels, positions)` of the weight: in tensors the channels are before the positions, on the card after.
    pub fn weight_layout(&self) -> [usize; 3] {
        match self.work {
            Work::Direct(s) | Work::Convolution(s) => {
                [s.out_channels, s.in_channels / s.groups, s.kernel.0 * s.kernel.1]
            }
            Work::Dense { channels, positions } => [self.channels, channels, positions],
            Work::Mean { .. } | Work::Input => [0, 0, 0],
        }
    }

    /// Whether convolutions read the weight, and write its gradient, as bfloat16.
    pub fn has_half_weight(&self) -> bool {
        matches!(self.work, Work::Convolution(_)) && self.kind == Kind::Bf16
    }
}

/// Whether nothing follows a stage's result, not even a bias: the output is the result.
pub(super) fn is_result(stage: &Stage, sizes: &Sizes) -> bool {
    let bias = match &stage.op {
        Op::Conv2d(conv) => conv.bias.is_some(),
        Op::Dense(dense) => dense.bias.is_some(),
        _ => false,
    };
    !bias && !stage.has_tail() && stage.activation == Activation::Linear && sizes.kind == sizes.out
}

/// Whether what follows a stage's result is done by blocks that each take all rows of their channels: dense layers of small
/// batches, with nothing joined.
pub(super) fn has_few_rows(stage: &Stage, sizes: &Sizes) -> bool {
    /// The most rows for which that should be quicker than more blocks and a launch that adds up what they left: not measured.
    const FEW: usize = 256;
    let is_f32 = (sizes.kind, sizes.out) == (Kind::F32, Kind::F32);
    stage.is_simple() && is_f32 && !sizes.pool && sizes.area() == 1 && sizes.batch <= FEW
}

/// Whether a stage gives plain logits: a dense layer with nothing after it.
pub(super) fn gives_logits(stage: &Stage) -> bool {
    matches!(stage.op, Op::Dense(_)) && stage.activation == Activation::Linear && !stage.has_tail()
}

/// The sizes of every stage for images `(batch, channels, height, width)`, or what keeps the card from recording them.
///
/// # Errors
/// When a layer cannot have the input that it gets.
pub(super) fn sizes(
    plan: &Plan,
    images: [usize; 4],
    precision: Precision,
) -> Result<std::result::Result<Vec<Sizes>, Unsupported>> {
    let mut all: Vec<Sizes> = Vec::with_capacity(plan.stages.len());
    if plan.outputs.contains(&Source::Images) {
        return Ok(Err(Unsupported { stage: 0, reason: "the network's input is one of its outputs" }));
    }
    for (i, stage) in plan.stages.iter().enumerate() {
        let unsupported = |reason| Ok(Err(Unsupported { stage: i, reason }));
        let input = stage.input.of().map(|input| &all[input]);
        let dims = input.map_or(images.to_vec(), Sizes::out_dims);
        if !stage.activation.is_told_by_its_output() {
            return unsupported("its activation has something added to it");
        }
        let half = precision == Precision::Bf16;
        let (work, out, kind) = match (&stage.op, input) {
            (Op::Conv2d(conv), _) => {
                let s = conv.shape(&dims)?;
                if !s.is_symmetric() {
                    return unsupported("it pads one side more than the other");
                }
                let is_direct = input.is_none()
                    && (s.in_channels, s.stride, s.groups) == (1, 1, 1)
                    && matches!(s.kernel, (3, 3) | (5, 5));
                let work = if is_direct { Work::Direct(s) } else { Work::Convolution(s) };
                (work, s.out_dims(), if half { Kind::Bf16 } else { Kind::F32 })
            }
            // Dense layers stay in f32: they are a hundredth of the work, and end in the loss.
            (Op::Dense(dense), _)
                if dims.len() == 2 || matches!(plan.nodes[stage.nodes[0]].op, Op::Flatten) =>
            {
                let s = dense.shape(&dims)?;
                let positions = dims[2..].iter().product();
                let work = Work::Dense { channels: s.inputs / positions, positions };
                (work, [s.batch, s.outputs, 1, 1], Kind::F32)
            }
            (Op::GlobalMean, Some(_)) => match dims[..] {
                [batch, channels, height, width] => {
                    (Work::Mean { positions: height * width }, [batch, channels, 1, 1], Kind::F32)
                }
                _ => bail!("global_mean: expected (batch, channels, height, width), got {dims:?}"),
            },
            (Op::Sum, Some(input)) => {
                let (height, width) = input.out_size();
                (Work::Input, [input.batch, input.channels, height, width], input.out)
            }
            _ => return unsupported("it is none of the layers that a card records"),
        };
        let [batch, channels, height, width] = out;
        let is_flat = match (&stage.op, input) {
            (Op::Sum, Some(input)) => input.is_flat,
            (op, _) => !matches!(op, Op::Conv2d(_)),
        };
        let Some(out) = out_kind(plan, i, kind, half) else {
            return unsupported("its output is read by a convolution and by a dense layer");
        };
        if (kind, out) == (Kind::F32, Kind::Bf16) {
            return unsupported("it brings what dense layers made to a convolution");
        }
        let this = Sizes { work, batch, channels, height, width, is_flat, kind, out, pool: stage.pool };
        countable(this.result_len())?;
        if let Some(skip) = stage.skip {
            let Some(added) = skip.of().map(|skip| &all[skip]) else {
                return unsupported("the network's input is added to it");
            };
            if (added.out_dims().get(1..), added.is_flat)
                != (Sizes { pool: false, ..this }.out_dims().get(1..), is_flat)
            {
                bail!(
                    "sum: expected two inputs of one shape, got {:?} and {:?}",
                    Sizes { pool: false, ..this }.out_dims(),
                    added.out_dims()
                )
            }
        }
        if this.out_size().0 == 0 || this.out_size().1 == 0 {
            bail!("max_pool2d: no 2×2 window fits {height}×{width} values")
        }
        all.push(this);
    }
    Ok(Ok(all))
}

/// Refuses more values of a tensor than kernels can count.
pub(super) fn countable(len: usize) -> Result<()> {
    let most = u32::MAX as usize;
    if len > most {
        bail!("{len} values of a layer, a card's kernels count to {most}: give fewer images at once");
    }
    Ok(())
}

/// The type of a stage's output, which convolutions read as they compute and dense layers as f32; `None` where both read
/// it.
fn out_kind(plan: &Plan, stage: usize, kind: Kind, half: bool) -> Option<Kind> {
    let source = Source::Of(stage);
    let reads = |op: fn(&Op) -> bool| plan.stages.iter().any(|other| other.input == source && op(&other.op));
    let adds = plan.stages.iter().any(|other| other.skip == Some(source));
    match (half, reads(|op| matches!(op, Op::Conv2d(_))), reads(|op| matches!(op, Op::Dense(_)))) {
        (false, ..) => Some(Kind::F32),
        (true, true, true) => None,
        (true, true, false) => Some(Kind::Bf16),
        (true, false, true) => Some(Kind::F32),
        (true, false, false) => {
            Some(if adds || reads(|op| matches!(op, Op::GlobalMean | Op::Sum)) { kind } else { Kind::F32 })
        }
    }
}

/// What keeps the card from training a plan, if anything does: it begins at the logits, which must be the last stage's, and
/// goes back once through every stage.
pub(super) fn trainable(plan: &Plan) -> std::result::Result<(), Unsupported> {
    let last = plan.stages.len().saturating_sub(1);
    let unsupported = |stage, reason| Err(Unsupported { stage, reason });
    let is_last = plan.outputs.first() == Some(&Source::Of(last));
    if !is_last || !plan.stages.last().is_some_and(gives_logits) {
        return unsupported(last, "a training ends in a dense layer with nothing after it");
    }
    let mut seen: Vec<TensorId> = Vec::new();
    for (i, stage) in plan.stages.iter().enumerate() {
        let source = Source::Of(i);
        if i < last && !plan.stages.iter().any(|other| other.input == source || other.skip == Some(source)) {
            return unsupported(i, "the logits do not depend on it");
        }
        for tensor in parameters(stage) {
            if !tensor.is_variable() {
                return unsupported(i, "its weights are not variables");
            }
            if seen.contains(&tensor.id()) {
                return unsupported(i, "it shares its weights with another layer");
            }
            seen.push(tensor.id());
        }
    }
    Ok(())
}

/// What an optimiser changes in a stage.
pub(super) fn parameters(stage: &Stage) -> impl Iterator<Item = &Tensor> {
    let (weight, bias) = match &stage.op {
        Op::Conv2d(conv) => (Some(&conv.weight), conv.bias.as_ref()),
        Op::Dense(dense) => (Some(&dense.weight), dense.bias.as_ref()),
        _ => (None, None),
    };
    let norm = stage.norm.iter().flat_map(|norm| [&norm.weight, &norm.bias]);
    weight.into_iter().chain(bias).chain(norm)
}
