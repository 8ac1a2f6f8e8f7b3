//! Single layers on a card, for networks that are no [`Chain`](super::Chain): tensors with channels before positions,
//! brought into the kernels' layout and back.

use std::sync::Arc;

use candle_core::Result;
use fer_rand::Stream;

use super::args::{LayerArgs, LayoutArgs, StageArgs, State};
use super::memory::Memory;
use super::pass::{TILES, number};
use super::spread::{BLOCKS, Spread, THREADS};
use super::{Address, Direction, Gpu, Kind, Product};
use crate::Activation;
use crate::cpu::conv2d::ConvShape;
use crate::cpu::dense::DenseShape;
use crate::cpu::normalize::Channel;
use crate::cpu::pool::Windows;
use crate::dropout::threshold;

/// Bytes of four channels, which are read as one.
const VECTOR: u64 = 16;

/// The memory of one layer's call.
pub(crate) struct Layers<G: Gpu> {
    memory: Memory<G>,
}

/// `(batch, channels, positions)` of a tensor.
pub(crate) type Planes = [usize; 3];

fn len(planes: Planes) -> usize {
    planes.iter().product()
}

impl<G: Gpu> Layers<G> {
    pub fn new(gpu: Arc<G>) -> Self {
        Self { memory: Memory::new(gpu) }
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
    pub fn conv2d(
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
            let args = StageArgs { c, z: c, bias, activation: number(activation), ..self.stage(of_y)? };
            self.launch("tail_f32_f32", of_y, false, &args)
        })
    }

    /// The gradient of a convolution's input, from the weight and the output's gradient.
    pub fn conv2d_input(&self, [weight, dy]: [Address; 2], dx: Address, s: &ConvShape) -> Result<()> {
        let [of_x, of_weight, of_y] = planes(s);
        let operands = [self.last(weight, of_weight)?, self.last(dy, of_y)?];
        let conv = self.gpu().convolution(s, Kind::F32, [true, false])?;
        self.planar(dx, of_x, |dx| self.gpu().convolve(&conv, Direction::Input, operands, dx))
    }

    /// The gradient of a convolution's weight, from the input and the output's gradient.
    pub fn conv2d_weight(&self, [x, dy]: [Address; 2], dw: Address, s: &ConvShape) -> Result<()> {
        let [of_x, of_weight, of_y] = planes(s);
        let operands = [self.last(x, of_x)?, self.last(dy, of_y)?];
        let conv = self.gpu().convolution(s, Kind::F32, [false, true])?;
        self.planar(dw, of_weight, |dw| self.gpu().convolve(&conv, Direction::Weight, operands, dw))
    }

    /// `activation(x·weightᵀ + bias)`.
    pub fn dense(
        &self,
        [x, weight, bias]: [Address; 3],
        y: Address,
        activation: Activation,
        s: DenseShape,
    ) -> Result<()> {
        let DenseShape { batch: rows, outputs: columns, inputs: inner } = s;
        let (a_transposed, b_transposed) = (false, true);
        let product = Product { a: x, b: weight, c: y, a_transposed, b_transposed, rows, columns, inner };
        self.gpu().multiply(product)?;
        let planes = [rows, columns, 1];
        let args = StageArgs { c: y, z: y, bias, activation: number(activation), ..self.stage(planes)? };
        self.launch("tail_f32_f32", planes, false, &args)
    }

    /// The gradient of a dense layer's input.
    pub fn dense_input(&self, [weight, dy]: [Address; 2], dx: Address, s: DenseShape) -> Result<()> {
        let DenseShape { batch: rows, outputs: inner, inputs: columns } = s;
        let (a_transposed, b_transposed) = (false, false);
        self.gpu().multiply(Product {
            a: dy,
            b: weight,
            c: dx,
            a_transposed,
            b_transposed,
            rows,
            columns,
            inner,
        })
    }

    /// The gradient of a dense layer's weight.
    pub fn dense_weight(&self, [x, dy]: [Address; 2], dw: Address, s: DenseShape) -> Result<()> {
        let DenseShape { batch: inner, outputs: rows, inputs: columns } = s;
        let (a_transposed, b_transposed) = (true, false);
        self.gpu().multiply(Product { a: dy, b: x, c: dw, a_transposed, b_transposed, rows, columns, inner })
    }

    /// The gradient before an activation, from its output and the gradient after it.
    pub fn activation_backward(
        &self,
        [y, dy]: [Address; 2],
        dx: Address,
        activation: Activation,
        count: usize,
    ) -> Result<()> {
        let activation = number(activation);
        let args = LayerArgs { x: y, dy, out: dx, count: count as u32, activation, ..Default::default() };
        self.each("activation_backward_f32", count, &args)
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
    pub fn batch_norm(
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
    pub fn batch_norm_sums(
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
    pub fn batch_norm_input(
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
    pub fn dropout(&self, x: Address, y: Address, rate: f32, stream: Stream, planes: Planes) -> Result<()> {
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

    /// The maximum of every window.
    pub fn max_pool2d(&self, x: Address, y: Address, planes: usize, windows: Windows) -> Result<()> {
        let count = planes * windows.out_height() * windows.out_width();
        self.each("max_pool_f32", count, &LayerArgs { x, out: y, count: count as u32, ..pool(windows) })
    }

    /// The gradient of maximum pooling, whole to the first maximum of every window.
    pub fn max_pool2d_backward(
        &self,
        [x, dy]: [Address; 2],
        dx: Address,
        planes: usize,
        windows: Windows,
    ) -> Result<()> {
        let count = planes * windows.height * windows.width;
        self.each(
            "max_pool_backward_f32",
            count,
            &LayerArgs { x, dy, out: dx, count: count as u32, ..pool(windows) },
        )
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

fn pool(windows: Windows) -> LayerArgs {
    let Windows { height, width, size, stride } = windows;
    LayerArgs {
        height: height as u32,
        width: width as u32,
        out_height: windows.out_height() as u32,
        out_width: windows.out_width() as u32,
        size: size as u32,
        stride: stride as u32,
        ..Default::default()
    }
}

/// A convolution's input, weight and output.
fn planes(s: &ConvShape) -> [Planes; 3] {
    [
        [s.batch, s.in_channels, s.height * s.width],
        [s.out_channels, s.in_channels, s.kernel.0 * s.kernel.1],
        [s.batch, s.out_channels, s.out_height * s.out_width],
    ]
}
