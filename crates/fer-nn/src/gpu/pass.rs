//! A chain with its memory on a card, and the launches of its forward pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, bail};

use super::args::{DirectArgs, LayoutArgs, StageArgs};
use super::chain::{Chain, Geometry};
use super::memory::Memory;
use super::parameters::Parameters;
use super::spread::{BLOCKS, Spread, THREADS};
use super::{Address, Direction, Gpu, Half, Kind, Product};
use crate::batch_norm::BatchNormConfig;
use crate::cpu::conv2d::ConvShape;
use crate::{Activation, Precision};

/// Rows that a thread adds up before another is started for the rest.
const ROWS_A_THREAD: usize = 8;
/// The most tiles of channels: those of 65,536 channels one by one.
pub(super) const TILES: usize = 2048;

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Batch statistics and dropout.
    Train,
    /// Moving statistics.
    Eval,
}

/// A chain with its memory.
pub(super) struct Program<G: Gpu> {
    pub memory: Memory<G>,
    pub parameters: Parameters,
    pub chain: Chain,
    /// The images `(batch, channels, height, width)` of the largest batch.
    capacity: [usize; 4],
    precision: Precision,
    trains: bool,
    pub images: Address,
    /// Of the images, where the first stage reads them in another form.
    input: Address,
    stages: Vec<Buffers>,
    pub gradients: Address,
    pub half_gradients: Address,
    /// The gradient of a stage's output, and that of its convolution's result.
    pub dz: Address,
    pub da: Address,
    pub state: Address,
    partial: Address,
    direct_partial: Address,
    pub tickets: Address,
    plans: BTreeMap<usize, Plan<G>>,
}

/// The memory of a stage.
#[derive(Clone, Copy, Debug, Default)]
struct Buffers {
    c: Address,
    z: Address,
    norm: Address,
    slopes: Address,
    moments: Address,
}

/// What depends on the number of images in a batch.
pub(super) struct Plan<G: Gpu> {
    pub geometry: Vec<Geometry>,
    pub convolutions: Vec<Option<G::Convolution>>,
}

impl<G: Gpu> Program<G> {
    /// A chain for batches of at most these images; `None` when the card's convolutions cannot have its shapes.
    pub fn new(
        chain: Chain,
        gpu: Arc<G>,
        images: [usize; 4],
        precision: Precision,
        trains: bool,
    ) -> Result<Option<Self>> {
        let Some(geometry) = chain.geometry(images, precision)? else { return Ok(None) };
        let memory = Memory::new(gpu);
        let parameters = Parameters::new(&chain, &geometry, &memory)?;
        let most = |of: fn(&Geometry) -> usize| geometry.iter().map(of).max().unwrap_or(0);
        let c_bytes = most(|g| g.c_len() * g.kind.size());
        let z_bytes = most(|g| g.z_len() * g.out.size());
        let channels = most(|g| g.shape.out_channels);
        // In inference a stage's results are read by the next alone.
        let shared = match trains {
            true => None,
            false => Some([memory.bytes(c_bytes)?, memory.bytes(z_bytes)?, memory.bytes(z_bytes)?]),
        };
        let mut stages = Vec::with_capacity(geometry.len());
        for (i, g) in geometry.iter().enumerate() {
            let n = g.shape.out_channels;
            let identity = [vec![0.0_f32; n], vec![1.0; n], vec![0.0; n]].concat();
            let pass_through = [vec![1.0_f32; n], vec![0.0; 2 * n]].concat();
            stages.push(Buffers {
                c: shared.map_or_else(|| memory.bytes(g.c_len() * g.kind.size()), |[c, ..]| Ok(c))?,
                z: shared.map_or_else(
                    || memory.bytes(g.z_len() * g.out.size()),
                    |buffers| Ok(buffers[1 + i % 2]),
                )?,
                norm: memory.holding(&identity)?,
                slopes: memory.holding(&pass_through)?,
                moments: memory.zeros::<f64>(2 * n)?,
            });
        }
        let trained = |len: usize| if trains { len } else { 0 };
        let [batch, in_channels, height, width] = images;
        let pixels = batch * in_channels * height * width;
        let first = geometry.first();
        let direct =
            first.filter(|g| g.direct).map_or(0, |g| BLOCKS * g.shape.out_channels * g.weight_layout().2);
        Ok(Some(Self {
            images: memory.zeros::<f32>(pixels)?,
            input: memory.zeros::<f32>(pixels)?,
            gradients: memory.zeros::<f32>(trained(parameters.len))?,
            half_gradients: memory.zeros::<Half>(trained(parameters.halves))?,
            dz: memory.bytes(trained(z_bytes))?,
            da: memory.bytes(trained(c_bytes))?,
            state: memory.zeros::<super::args::State>(1)?,
            partial: memory.zeros::<f64>(2 * BLOCKS * channels)?,
            direct_partial: memory.zeros::<f32>(trained(direct))?,
            tickets: memory.zeros::<u32>(TILES)?,
            plans: BTreeMap::new(),
            capacity: images,
            memory,
            parameters,
            chain,
            precision,
            trains,
            stages,
        }))
    }

    pub(super) fn gpu(&self) -> &G {
        &self.memory.gpu
    }

    /// Chooses how batches of `batch` images are computed, once.
    pub fn prepare(&mut self, batch: usize) -> Result<()> {
        if self.plans.contains_key(&batch) {
            return Ok(());
        }
        let [most, channels, height, width] = self.capacity;
        let geometry = match self.chain.geometry([batch, channels, height, width], self.precision)? {
            Some(geometry) if batch <= most => geometry,
            _ => bail!("a batch of {batch} images, where there is memory for {most}"),
        };
        let mut convolutions = Vec::with_capacity(geometry.len());
        for (i, g) in geometry.iter().enumerate() {
            let wanted = !g.dense && !g.direct;
            let gradients = [self.trains && i > 0, self.trains];
            let conv = wanted.then(|| self.gpu().convolution(&g.shape, g.kind, gradients)).transpose()?;
            convolutions.push(conv);
        }
        self.plans.insert(batch, Plan { geometry, convolutions });
        Ok(())
    }

    pub(super) fn plan(&self, batch: usize) -> Result<&Plan<G>> {
        match self.plans.get(&batch) {
            Some(plan) => Ok(plan),
            None => bail!("batches of {batch} images were not prepared"),
        }
    }

    /// Where the logits are, without the last stage's bias.
    pub fn logits(&self) -> Address {
        self.stages.last().map_or(Address::NONE, |last| last.c)
    }

    /// Where the last stage's output is.
    pub fn output(&self) -> Address {
        self.stages.last().map_or(Address::NONE, |last| last.z)
    }

    /// The last stage's bias, and its gradient.
    pub fn last_bias(&self) -> [Address; 2] {
        let at = self.parameters.places.last().map_or(0, |places| places.bias);
        [self.parameters.values, self.gradients].map(|values| values.after::<f32>(at))
    }

    /// What stage `i` reads.
    pub(super) fn source(&self, plan: &Plan<G>, i: usize) -> Address {
        match i.checked_sub(1) {
            Some(before) => self.stages[before].z,
            None if self.reads_images(&plan.geometry[0]) => self.images,
            None => self.input,
        }
    }

    /// Whether the first stage reads the images as they are.
    fn reads_images(&self, first: &Geometry) -> bool {
        first.direct || (first.kind == Kind::F32 && self.capacity[1] == 1)
    }

    /// Queues the constants of the normalisations by the moving statistics.
    pub fn use_moving_statistics(&self, batch: usize) -> Result<()> {
        let plan = self.plan(batch)?;
        for (i, g) in plan.geometry.iter().enumerate() {
            if self.chain.stages[i].norm.is_some() {
                let blocks = g.shape.out_channels.div_ceil(THREADS);
                let args = self.stage_args(i, g, Phase::Eval);
                self.gpu().launch("moving_norm_f32", [blocks, 1], [THREADS, 1], &args)?;
            }
        }
        Ok(())
    }

    /// Queues the forward pass of the images; `logits` says whether the last stage's bias is added too.
    pub fn forward(&self, batch: usize, phase: Phase, logits: bool) -> Result<()> {
        let plan = self.plan(batch)?;
        let first = &plan.geometry[0];
        if !self.reads_images(first) {
            self.bring_in(first)?;
        }
        for (i, g) in plan.geometry.iter().enumerate() {
            self.convolve(plan, i)?;
            let args = self.stage_args(i, g, phase);
            if phase == Phase::Train && self.chain.stages[i].norm.is_some() {
                let spread = Spread::of(g.shape.out_channels, 4);
                let name = format!("moments_{}_{}", g.kind.name(), spread.vector);
                let grid = spread.sums(g.shape.batch * g.area(), ROWS_A_THREAD);
                self.gpu().launch(&name, grid, spread.block, &args)?;
            }
            if i + 1 < plan.geometry.len() || logits {
                self.tail("tail", g, &args, |spread, items| spread.grid(items))?;
            }
        }
        Ok(())
    }

    /// Brings the images into the form that the first convolution reads.
    fn bring_in(&self, first: &Geometry) -> Result<()> {
        let ConvShape { batch, in_channels, height, width, .. } = first.shape;
        let half = first.kind == Kind::Bf16;
        let args = LayoutArgs {
            planar: self.images,
            last: if half { Address::NONE } else { self.input },
            half: if half { self.input } else { Address::NONE },
            outer: batch as u32,
            channels: in_channels as u32,
            area: (height * width) as u32,
            unused: 0,
        };
        let blocks = (batch * in_channels * height * width).div_ceil(THREADS);
        self.gpu().launch("to_channels_last_f32", [blocks, 1], [THREADS, 1], &args)
    }

    /// The result of a stage's convolution or dense layer.
    fn convolve(&self, plan: &Plan<G>, i: usize) -> Result<()> {
        let (g, x, to) = (&plan.geometry[i], self.source(plan, i), self.stages[i].c);
        if g.direct {
            let spread = Spread::of(g.shape.out_channels, 4);
            let name = format!("direct_{}_{}_{}", g.kind.name(), g.shape.kernel.0, spread.vector);
            let items = g.shape.batch * g.shape.out_height * g.shape.out_width.div_ceil(8);
            let args = self.direct_args(g, to, 0);
            return self.gpu().launch(&name, spread.grid(items), spread.block, &args);
        }
        let weight = self.weight(i, g);
        match &plan.convolutions[i] {
            Some(conv) => self.gpu().convolve(conv, Direction::Forward, [x, weight], to),
            None => {
                let (rows, columns, inner) = dense_sizes(g);
                let b_transposed = true;
                self.gpu().multiply(Product {
                    a: x,
                    b: weight,
                    c: to,
                    a_transposed: false,
                    b_transposed,
                    rows,
                    columns,
                    inner,
                })
            }
        }
    }

    /// The weight as the stage's convolution reads it.
    pub(super) fn weight(&self, i: usize, g: &Geometry) -> Address {
        let at = self.parameters.places[i].weight;
        match g.kind {
            Kind::Bf16 if !g.direct => self.parameters.half_values.after::<Half>(at),
            _ => self.parameters.values.after::<f32>(at),
        }
    }

    /// Queues a kernel over the output positions of a stage, four at a time.
    pub(super) fn tail(
        &self,
        name: &str,
        g: &Geometry,
        args: &StageArgs,
        grid: impl Fn(&Spread, usize) -> [usize; 2],
    ) -> Result<()> {
        let spread = Spread::of(g.shape.out_channels, 4);
        let (height, width) = g.out_size();
        let items = g.shape.batch * (height * width).div_ceil(4);
        let name = format!("{name}_{}_{}_{}", g.kind.name(), g.out.name(), spread.vector);
        self.gpu().launch(&name, grid(&spread, items), spread.block, args)
    }

    pub(super) fn direct_args(&self, g: &Geometry, c: Address, blocks: usize) -> DirectArgs {
        let s = &g.shape;
        let at = self.parameters.places[0].weight;
        DirectArgs {
            images: self.images,
            weight: self.parameters.values.after::<f32>(at),
            c,
            partial: self.direct_partial,
            dweight: self.gradients.after::<f32>(at),
            batch: s.batch as u32,
            height: s.height as u32,
            width: s.width as u32,
            channels: s.out_channels as u32,
            out_height: s.out_height as u32,
            out_width: s.out_width as u32,
            top: s.padding.0 as u32,
            left: s.padding.1 as u32,
            blocks: blocks as u32,
            unused: 0,
        }
    }

    pub(super) fn stage_args(&self, i: usize, g: &Geometry, phase: Phase) -> StageArgs {
        let (stage, buffers, places) = (&self.chain.stages[i], &self.stages[i], &self.parameters.places[i]);
        let value = |at: usize| self.parameters.values.after::<f32>(at);
        let gradient = |at: usize| self.gradients.after::<f32>(at);
        let rank = if g.dense { 2 } else { 4 };
        let count = g.shape.batch * g.area();
        let dropout = stage.dropout.filter(|_| phase == Phase::Train).and_then(|dropout| dropout.threshold());
        let mut args = StageArgs {
            c: buffers.c,
            z: buffers.z,
            bias: value(places.bias),
            dbias: gradient(places.bias),
            norm: buffers.norm,
            slopes: buffers.slopes,
            moments: buffers.moments,
            state: self.state,
            partial: self.partial,
            tickets: self.tickets,
            batch: g.shape.batch as u32,
            height: g.shape.out_height as u32,
            width: g.shape.out_width as u32,
            channels: g.shape.out_channels as u32,
            pool: u32::from(g.pool),
            activation: number(stage.activation),
            ..Default::default()
        };
        if let (Some(norm), Some(gamma)) = (&stage.norm, places.gamma) {
            let BatchNormConfig { momentum, epsilon, .. } = norm.config;
            let [mean, var] = places.moving.map(|at| self.parameters.state_values.after::<f32>(at));
            args = StageArgs {
                gamma: value(gamma),
                beta: value(places.beta),
                dgamma: gradient(gamma),
                dbeta: gradient(places.beta),
                running_mean: mean,
                running_var: var,
                momentum,
                epsilon,
                correction: norm.config.correction(count, rank),
                ..args
            };
        }
        if let (Some((threshold, kept)), Some(dropout)) = (dropout, &stage.dropout) {
            let purpose = dropout.purpose.number();
            args = StageArgs { dropout: 1, purpose, threshold, kept, ..args };
        }
        args
    }
}

/// `(batch, outputs, inputs)` of a dense layer.
pub(super) fn dense_sizes(g: &Geometry) -> (usize, usize, usize) {
    let (outputs, channels, positions) = g.weight_layout();
    (g.shape.batch, outputs, channels * positions)
}

/// An activation as the kernels know it.
pub(super) fn number(activation: Activation) -> u32 {
    match activation {
        Activation::Linear => 0,
        Activation::Relu => 1,
        Activation::Elu => 2,
    }
}
