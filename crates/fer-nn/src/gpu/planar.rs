//! Single layers on a card, for networks that it does not record: tensors with channels before positions, brought into the
//! kernels' layout and back.

mod norm;
mod products;

use std::sync::Arc;

use candle_core::{Result, bail};
use fer_rand::Stream;

use super::args::{LayerArgs, LayoutArgs, StageArgs, State};
use super::card::{Address, Gpu};
use super::forward::{number, total};
use super::memory::Memory;
use super::sizes::countable;
use super::spread::{BLOCKS, Spread, THREADS};
use crate::Activation;
use crate::geometry::Windows;
use crate::mask::threshold;
use crate::primitive::Primitive;

/// Bytes of four channels, which are read as one.
const VECTOR: u64 = 16;

/// One kernel's call with the memory that it needs.
pub(crate) struct Planar<G: Gpu> {
    memory: Memory<G>,
}

/// `(batch, channels, positions)` of a tensor.
pub(crate) type Planes = [usize; 3];

/// The planes of a tensor of these dimensions.
pub(crate) fn planes_of(dims: &[usize]) -> Planes {
    match dims {
        [batch, channels, rest @ ..] => [*batch, *channels, rest.iter().product()],
        [channels] => [1, *channels, 1],
        [] => [1, 1, 1],
    }
}

fn len(planes: Planes) -> usize {
    planes.iter().product()
}

impl<G: Gpu> Planar<G> {
    pub fn new(gpu: Arc<G>) -> Self {
        Self { memory: Memory::new(gpu) }
    }

    /// Computes from operands in the order that the primitive has, the first of these dimensions, to `to`.
    pub fn perform(
        &self,
        primitive: &Primitive,
        operands: &[Address],
        dims: &[usize],
        to: Address,
    ) -> Result<()> {
        let planes = planes_of(dims);
        match (*primitive, operands) {
            (Primitive::Conv2d(s, activation), &[x, weight, ref bias @ ..]) => {
                let bias = bias.first().copied().unwrap_or_default();
                self.conv2d([x, weight, bias], to, activation, &s)
            }
            (Primitive::Conv2dInput(s), &[weight, dy]) => self.conv2d_input([weight, dy], to, &s),
            (Primitive::Conv2dWeight(s), &[x, dy]) => self.conv2d_weight([x, dy], to, &s),
            (Primitive::ChannelSums(channels, area), &[dy]) => {
                let batch = len(planes) / (channels * area).max(1);
                self.channel_sums(dy, to, [batch, channels, area])
            }
            (Primitive::Dense(s, activation), &[x, weight, ref bias @ ..]) => {
                let bias = bias.first().copied().unwrap_or_default();
                self.dense([x, weight, bias], to, activation, s)
            }
            (Primitive::DenseInput(s), &[weight, dy]) => self.dense_input([weight, dy], to, s),
            (Primitive::DenseWeight(s), &[x, dy]) => self.dense_weight([x, dy], to, s),
            (Primitive::Activation(activation), &[x]) => {
                self.activation("activation_f32", [x, Address::NONE], to, activation, len(planes))
            }
            (Primitive::ActivationBackward(activation), &[told, dy]) => {
                self.activation("activation_backward_f32", [told, dy], to, activation, len(planes))
            }
            (Primitive::MaxPool2d(w), &[x]) => {
                self.pool("max_pool_f32", [x, Address::NONE], to, pooled(planes, w), w)
            }
            (Primitive::MaxPool2dBackward(w), &[x, dy]) => {
                self.pool("max_pool_backward_f32", [x, dy], to, len(planes), w)
            }
            (Primitive::MeanPool2d(w), &[x]) => {
                self.pool("mean_pool_f32", [x, Address::NONE], to, pooled(planes, w), w)
            }
            (Primitive::MeanPool2dBackward(w), &[dy]) => {
                let count = planes[0] * planes[1] * w.height * w.width;
                self.pool("mean_pool_backward_f32", [Address::NONE, dy], to, count, w)
            }
            (Primitive::Dropout(rate, stream), &[x]) => self.dropout(x, to, rate, stream, planes),
            (Primitive::BatchNorm(channels, shifts), &[x]) => {
                self.batch_norm(x, to, channels, shifts, planes)
            }
            (Primitive::BatchNormInput(channels, sums, count), &[x, dy]) => {
                self.batch_norm_input([x, dy], to, channels, sums, count, planes)
            }
            _ => bail!("{primitive:?} of {} operands", operands.len()),
        }
    }

    fn gpu(&self) -> &G {
        &self.memory.gpu
    }

    fn each(&self, kernel: &str, count: usize, args: &impl super::card::Args) -> Result<()> {
        countable(count)?;
        self.gpu().launch(kernel, [count.div_ceil(THREADS), 1], [THREADS, 1], args)
    }

    fn layout([outer, channels, area]: Planes, planar: Address, last: Address) -> LayoutArgs {
        let [outer, channels, area] = [outer, channels, area].map(|n| n as u32);
        LayoutArgs { planar, last, outer, channels, area, ..Default::default() }
    }

    /// A copy with the channels last; the tensor itself where that is the same and vectors of channels can be read.
    fn last(&self, planar: Address, planes: Planes) -> Result<Address> {
        if (planes[1] == 1 || planes[2] == 1) && planar.0.is_multiple_of(VECTOR) {
            return Ok(planar);
        }
        let last = self.memory.zeros::<f32>(len(planes))?;
        self.each("to_channels_last_f32", len(planes), &Self::layout(planes, planar, last))?;
        Ok(last)
    }

    /// Writes to `planar` what `work` writes with the channels last.
    fn planar(
        &self,
        planar: Address,
        planes: Planes,
        work: impl FnOnce(Address) -> Result<()>,
    ) -> Result<()> {
        let last = self.memory.zeros::<f32>(len(planes))?;
        work(last)?;
        self.each("to_planar_f32", len(planes), &Self::layout(planes, planar, last))
    }

    fn stage(&self, [batch, channels, area]: Planes) -> Result<StageArgs> {
        Ok(StageArgs {
            partial: self.memory.zeros::<f64>(2 * BLOCKS * channels)?,
            norm: self
                .memory
                .holding(&[vec![0.0_f32; channels], vec![1.0; channels], vec![0.0; channels]].concat())?,
            batch: batch as u32,
            height: 1,
            width: area as u32,
            channels: channels as u32,
            ..Default::default()
        })
    }

    /// Queues a kernel over all values.
    fn launch(&self, kernel: &str, [batch, channels, area]: Planes, args: &StageArgs) -> Result<()> {
        let spread = Spread::of(channels, &[4]);
        let launch = spread.each(batch * area.div_ceil(4));
        launch.queue(self.gpu(), &format!("{kernel}_{}", spread.vector), args)
    }

    /// Queues a kernel that adds up so many rows, and the one that adds up the sums of its blocks, if any does.
    fn sums(
        &self,
        kernel: &str,
        total_kernel: Option<&str>,
        channels: usize,
        rows: usize,
        args: &StageArgs,
    ) -> Result<()> {
        let spread = Spread::of(channels, &[4]);
        let launch = spread.sums(rows);
        launch.queue(self.gpu(), &format!("{kernel}_{}", spread.vector), args)?;
        total_kernel.map_or(Ok(()), |kernel| total(self.gpu(), kernel, launch, args))
    }

    /// An activation, or the gradient before it from what tells its derivative and the gradient after it.
    fn activation(
        &self,
        kernel: &str,
        [x, dy]: [Address; 2],
        out: Address,
        activation: Activation,
        count: usize,
    ) -> Result<()> {
        let (activation, slope) = number(activation);
        let args = LayerArgs { x, dy, out, count: count as u32, activation, slope, ..Default::default() };
        self.each(kernel, count, &args)
    }

    /// Σ over batch and positions for every channel, to f32.
    fn channel_sums(&self, dy: Address, to: Address, planes: Planes) -> Result<()> {
        let z = self.last(dy, planes)?;
        let slopes = [vec![1.0_f32; planes[1]], vec![0.0; 2 * planes[1]]].concat();
        let slopes = self.memory.holding(&slopes)?;
        let da = self.memory.zeros::<f32>(len(planes))?;
        let args = StageArgs { c: z, z, da, slopes, dbias: to, ..self.stage(planes)? };
        let quads = planes[0] * planes[2].div_ceil(4);
        self.sums("tail_backward_f32_f32", Some("total_bias_f32"), planes[1], quads, &args)
    }

    /// Inverted dropout with the numbers of `stream`.
    fn dropout(&self, x: Address, y: Address, rate: f32, stream: Stream, planes: Planes) -> Result<()> {
        let c = self.last(x, planes)?;
        let Stream { seed, purpose, epoch, item: step } = stream;
        let state = self.memory.holding(&[State { seed, epoch, step }])?;
        let (threshold, kept) = threshold(rate);
        self.planar(y, planes, |z| {
            let purpose = purpose.number();
            let args = StageArgs { c, z, state, dropout: 1, purpose, threshold, kept, ..self.stage(planes)? };
            self.launch("tail_f32_f32", planes, &args)
        })
    }

    /// Pooling of planes, or the gradient of its input: so many values.
    fn pool(
        &self,
        kernel: &str,
        [x, dy]: [Address; 2],
        out: Address,
        count: usize,
        w: Windows,
    ) -> Result<()> {
        self.each(kernel, count, &LayerArgs { x, dy, out, count: count as u32, ..windows(w) })
    }
}

/// The values of pooled planes.
fn pooled([batch, channels, _]: Planes, w: Windows) -> usize {
    batch * channels * w.out_height * w.out_width
}

fn windows(w: Windows) -> LayerArgs {
    LayerArgs {
        height: w.height as u32,
        width: w.width as u32,
        out_height: w.out_height as u32,
        out_width: w.out_width as u32,
        size: w.size as u32,
        stride: w.stride as u32,
        top: w.padding.0 as u32,
        left: w.padding.1 as u32,
        ..Default::default()
    }
}
