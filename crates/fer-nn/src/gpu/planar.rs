//! Single layers on a card, for networks that it does not record: tensors with channels before positions, brought into the
//! kernels' layout and back.

use std::sync::Arc;

use candle_core::{Result, bail};
use fer_rand::Stream;

use super::args::{LayerArgs, LayoutArgs, StageArgs, State};
use super::forward::{number, tail_kernel};
use super::memory::Memory;
use super::program::TILES;
use super::spread::{BLOCKS, Spread, THREADS};
use super::{Address, Direction, Gpu, Kind, Product};
use crate::Activation;
use crate::cpu::normalize::Channel;
use crate::geometry::{ConvShape, DenseShape, Windows};
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
            (Primitive::MaxPool2d(w), &[x]) => self.pool("max_pool_f32", [x, Address::NONE], to, planes, w),
            (Primitive::MaxPool2dBackward(w), &[x, dy]) => {
                self.pool_backward("max_pool_backward_f32", [x, dy], to, planes, w)
            }
            (Primitive::MeanPool2d(w), &[x]) => self.pool("mean_pool_f32", [x, Address::NONE], to, planes, w),
            (Primitive::MeanPool2dBackward(w), &[dy]) => {
                self.pool_backward("mean_pool_backward_f32", [Address::NONE, dy], to, planes, w)
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

    fn each(&self, kernel: &str, count: usize, args: &impl super::args::Args) -> Result<()> {
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
            tickets: self.memory.zeros::<u32>(TILES)?,
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

    /// Queues a kernel over all values, or, for `sums`, one that adds up.
    fn launch(
        &self,
        kernel: &str,
        [batch, channels, area]: Planes,
        sums: bool,
        args: &StageArgs,
    ) -> Result<()> {
        let spread = Spread::of(channels, 4);
        let quads = batch * area.div_ceil(4);
        let grid = if sums { spread.sums(quads, 2) } else { spread.grid(quads) };
        self.gpu().launch(&format!("{kernel}_{}", spread.vector), grid, spread.block, args)
    }

    /// `activation(conv(x, weight) + bias)`.
    fn conv2d(
        &self,
        [x, weight, bias]: [Address; 3],
        y: Address,
        activation: Activation,
        s: &ConvShape,
    ) -> Result<()> {
        let [of_x, of_weight, of_y] = planes(s);
        let (x, weight) = (self.last(x, of_x)?, self.last(weight, of_weight)?);
        let conv = self.gpu().convolution(s, Kind::F32, [false, false])?;
        self.planar(y, of_y, |c| {
            self.gpu().convolve(&conv, Direction::Forward, [x, weight], c)?;
            let kernel = format!("{}_f32_f32", tail_kernel(activation));
            let (activation, slope) = number(activation);
            let args = StageArgs { c, z: c, bias, activation, slope, ..self.stage(of_y)? };
            self.launch(&kernel, of_y, false, &args)
        })
    }

    /// The gradient of a convolution's input, from the weight and the output's gradient.
    fn conv2d_input(&self, [weight, dy]: [Address; 2], dx: Address, s: &ConvShape) -> Result<()> {
        let [of_x, of_weight, of_y] = planes(s);
        let operands = [self.last(weight, of_weight)?, self.last(dy, of_y)?];
        let conv = self.gpu().convolution(s, Kind::F32, [true, false])?;
        self.planar(dx, of_x, |dx| self.gpu().convolve(&conv, Direction::Input, operands, dx))
    }

    /// The gradient of a convolution's weight, from the input and the output's gradient.
    fn conv2d_weight(&self, [x, dy]: [Address; 2], dw: Address, s: &ConvShape) -> Result<()> {
        let [of_x, of_weight, of_y] = planes(s);
        let operands = [self.last(x, of_x)?, self.last(dy, of_y)?];
        let conv = self.gpu().convolution(s, Kind::F32, [false, true])?;
        self.planar(dw, of_weight, |dw| self.gpu().convolve(&conv, Direction::Weight, operands, dw))
    }

    /// `activation(x·weightᵀ + bias)`.
    fn dense(
        &self,
        [x, weight, bias]: [Address; 3],
        y: Address,
        activation: Activation,
        s: DenseShape,
    ) -> Result<()> {
        let DenseShape { batch: rows, outputs: columns, inputs: inner } = s;
        let (a_transposed, b_transposed, adds) = (false, true, false);
        let product =
            Product { a: x, b: weight, c: y, a_transposed, b_transposed, adds, rows, columns, inner };
        self.gpu().multiply(product)?;
        let planes = [rows, columns, 1];
        let kernel = format!("{}_f32_f32", tail_kernel(activation));
        let (activation, slope) = number(activation);
        let args = StageArgs { c: y, z: y, bias, activation, slope, ..self.stage(planes)? };
        self.launch(&kernel, planes, false, &args)
    }

    /// The gradient of a dense layer's input.
    fn dense_input(&self, [weight, dy]: [Address; 2], dx: Address, s: DenseShape) -> Result<()> {
        let DenseShape { batch: rows, outputs: inner, inputs: columns } = s;
        self.gpu().multiply(Product {
            a: dy,
            b: weight,
            c: dx,
            a_transposed: false,
            b_transposed: false,
            adds: false,
            rows,
            columns,
            inner,
        })
    }

    /// The gradient of a dense layer's weight.
    fn dense_weight(&self, [x, dy]: [Address; 2], dw: Address, s: DenseShape) -> Result<()> {
        let DenseShape { batch: inner, outputs: rows, inputs: columns } = s;
        let (a_transposed, b_transposed, adds) = (true, false, false);
        self.gpu().multiply(Product {
            a: dy,
            b: x,
            c: dw,
            a_transposed,
            b_transposed,
            adds,
            rows,
            columns,
            inner,
        })
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
        self.launch("tail_backward_f32_f32", planes, true, &args)
    }

    /// The means and biased variances of every channel.
    pub fn moments(&self, x: Address, planes: Planes) -> Result<[Vec<f64>; 2]> {
        let c = self.last(x, planes)?;
        let args = StageArgs { c, ..self.with_moments(planes)? };
        let spread = Spread::of(planes[1], 4);
        let grid = spread.sums(planes[0] * planes[2], 8);
        self.gpu().launch(&format!("moments_f32_{}", spread.vector), grid, spread.block, &args)?;
        self.two(args.moments, planes[1])
    }

    /// `y = x̂·gamma + beta`.
    fn batch_norm(
        &self,
        x: Address,
        y: Address,
        channels: &[Channel],
        beta: &[f32],
        planes: Planes,
    ) -> Result<()> {
        let c = self.last(x, planes)?;
        let norm = self.norm(channels, |c| channels[c].affine(beta[c]))?;
        self.planar(y, planes, |z| {
            self.launch("tail_f32_f32", planes, false, &StageArgs { c, z, norm, ..self.stage(planes)? })
        })
    }

    /// `(Σ dy·x̂, Σ dy)` of every channel: the gradients of gamma and beta.
    pub fn gradient_sums(
        &self,
        [x, dy]: [Address; 2],
        channels: &[Channel],
        planes: Planes,
    ) -> Result<Vec<(f64, f64)>> {
        let [c, z] = [self.last(x, planes)?, self.last(dy, planes)?];
        let norm = self.norm(channels, |_| [1.0, 0.0])?;
        let args = StageArgs { c, z, norm, ..self.with_moments(planes)? };
        self.launch("tail_sums_f32_f32", planes, true, &args)?;
        let [products, gradients] = self.two(args.moments, planes[1])?;
        let sums = channels.iter().zip(products).zip(gradients);
        Ok(sums.map(|((channel, products), gradients)| channel.gradient_sums(products, gradients)).collect())
    }

    /// The gradient of a normalisation's input; an infinite `count` leaves the sums out.
    fn batch_norm_input(
        &self,
        [x, dy]: [Address; 2],
        dx: Address,
        channels: &[Channel],
        sums: &[(f64, f64)],
        count: f64,
        planes: Planes,
    ) -> Result<()> {
        let [c, z] = [self.last(x, planes)?, self.last(dy, planes)?];
        let norm = self.norm(channels, |_| [1.0, 0.0])?;
        let factors: Vec<_> =
            channels.iter().zip(sums).map(|(channel, &sums)| channel.input_gradient(sums, count)).collect();
        let of = |i: usize| factors.iter().map(move |factors| factors[i]);
        let slopes = self.memory.holding(&of(0).chain(of(1)).chain(of(2)).collect::<Vec<f32>>())?;
        self.planar(dx, planes, |da| {
            let args = StageArgs { c, z, da, norm, slopes, ..self.stage(planes)? };
            self.launch("tail_backward_f32_f32", planes, true, &args)
        })
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
            self.launch("tail_f32_f32", planes, false, &args)
        })
    }

    /// Pooling of planes, forward.
    fn pool(
        &self,
        kernel: &str,
        [x, dy]: [Address; 2],
        out: Address,
        planes: Planes,
        w: Windows,
    ) -> Result<()> {
        let count = planes[0] * planes[1] * w.out_height * w.out_width;
        self.each(kernel, count, &LayerArgs { x, dy, out, count: count as u32, ..windows(w) })
    }

    /// The gradient of a pooling's input.
    fn pool_backward(
        &self,
        kernel: &str,
        [x, dy]: [Address; 2],
        out: Address,
        planes: Planes,
        w: Windows,
    ) -> Result<()> {
        let count = planes[0] * planes[1] * w.height * w.width;
        self.each(kernel, count, &LayerArgs { x, dy, out, count: count as u32, ..windows(w) })
    }

    /// A stage whose sums go to `moments`.
    fn with_moments(&self, planes: Planes) -> Result<StageArgs> {
        Ok(StageArgs { moments: self.memory.zeros::<f64>(2 * planes[1])?, ..self.stage(planes)? })
    }

    fn two(&self, from: Address, channels: usize) -> Result<[Vec<f64>; 2]> {
        let mut first = self.memory.read::<f64>(from, 2 * channels)?;
        let second = first.split_off(channels);
        Ok([first, second])
    }

    /// The channels' centres, and a scale and a shift for each.
    fn norm(&self, channels: &[Channel], affine: impl Fn(usize) -> [f32; 2]) -> Result<Address> {
        let centers = channels.iter().map(Channel::center);
        let of = |i: usize| (0..channels.len()).map(|c| affine(c)[i]).collect::<Vec<_>>();
        self.memory.holding(&centers.chain(of(0)).chain(of(1)).collect::<Vec<f32>>())
    }
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

/// A convolution's input, weight and output.
fn planes(s: &ConvShape) -> [Planes; 3] {
    [
        [s.batch, s.in_channels, s.height * s.width],
        [s.out_channels, s.in_channels / s.groups, s.kernel.0 * s.kernel.1],
        [s.batch, s.out_channels, s.out_height * s.out_width],
    ]
}
