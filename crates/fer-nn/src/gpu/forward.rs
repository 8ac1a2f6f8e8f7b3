//! The launches of the forward pass.

use candle_core::Result;

use super::args::{DirectArgs, LayoutArgs, MeanArgs, StageArgs};
use super::card::{Address, Direction, Gpu, Half, Kind, Product};
use super::program::{Phase, Prepared, Program};
use super::sizes::{Sizes, Work, has_few_rows, is_result};
use super::spread::{DIRECT_ROWS, Launch, Spread, THREADS};
use crate::geometry::ConvShape;
use crate::plan::Source;
use crate::{Activation, Mask};

impl<G: Gpu> Program<G> {
    /// Queues the constants of the normalisations by the moving statistics.
    pub fn use_moving_statistics(&self, batch: usize) -> Result<()> {
        let prepared = self.prepared(batch)?;
        for (i, sizes) in prepared.sizes.iter().enumerate() {
            if self.plan.stages[i].norm.is_some() {
                let blocks = sizes.channels.div_ceil(THREADS);
                let args = self.stage_args(i, sizes, Phase::Eval);
                self.gpu().launch("moving_norm_f32", [blocks, 1], [THREADS, 1], &args)?;
            }
        }
        Ok(())
    }

    /// Queues the forward pass of the images. `last` says whether the last stage's bias, and what else follows its result,
    /// is done too.
    pub fn forward(&self, batch: usize, phase: Phase, last: bool) -> Result<()> {
        let prepared = self.prepared(batch)?;
        self.bring_in(batch)?;
        for (i, (stage, sizes)) in self.plan.stages.iter().zip(&prepared.sizes).enumerate() {
            self.compute(prepared, i, phase)?;
            let args = self.stage_args(i, sizes, phase);
            if phase == Phase::Train && stage.norm.is_some() {
                if has_few_rows(stage, sizes) {
                    Launch::all_rows(sizes.channels).queue(self.gpu(), "vectors_f32", &args)?;
                    continue;
                }
                self.moments(sizes, &args)?;
            }
            if is_result(stage, sizes) || (i + 1 == prepared.sizes.len() && !last) {
                continue;
            }
            let name = if stage.is_simple() { tail_kernel(stage.activation) } else { "joined" };
            self.tail(name, sizes, &args, Spread::each)?;
        }
        Ok(())
    }

    /// Queues the batch's moments of a stage.
    fn moments(&self, sizes: &Sizes, args: &StageArgs) -> Result<()> {
        let kind = sizes.kind.name();
        let vectors: &[usize] = if sizes.kind == Kind::Bf16 { &[8, 4] } else { &[4] };
        let spread = Spread::of(sizes.channels, vectors);
        let launch = spread.sums(sizes.batch * sizes.area());
        launch.queue(self.gpu(), &format!("moments_{kind}_{}", spread.vector), args)?;
        total(self.gpu(), &format!("total_moments_{kind}"), launch, args)
    }

    /// Brings the images into the forms in which the stages read them.
    fn bring_in(&self, batch: usize) -> Result<()> {
        let [last, half] = self.inputs;
        if [last, half] == [Address::NONE; 2] {
            return Ok(());
        }
        let [_, in_channels, height, width] = self.capacity();
        let args = LayoutArgs {
            planar: self.images,
            last,
            half,
            outer: batch as u32,
            channels: in_channels as u32,
            area: (height * width) as u32,
            unused: 0,
        };
        let blocks = (batch * in_channels * height * width).div_ceil(THREADS);
        self.gpu().launch("to_channels_last_f32", [blocks, 1], [THREADS, 1], &args)
    }

    /// A stage's result.
    fn compute(&self, prepared: &Prepared<G>, i: usize, phase: Phase) -> Result<()> {
        let sizes = &prepared.sizes[i];
        let (x, to) = (self.source(i, sizes), self.stages[i].c);
        match (sizes.work, &prepared.convolutions[i]) {
            (Work::Direct(s), _) => {
                let spread = Spread::of(s.out_channels, &[4]).in_blocks_of(THREADS, DIRECT_ROWS);
                let name = format!("direct_{}_{}_{}", sizes.kind.name(), s.kernel.0, spread.vector);
                let items = s.batch * s.out_height * s.out_width.div_ceil(8);
                let args = self.direct_args(i, &s, to, 0, phase);
                spread.each(items).queue(self.gpu(), &name, &args)
            }
            (_, Some(conv)) => {
                let weight = self.weight(i, sizes, phase);
                self.gpu().convolve(conv, Direction::Forward, [x, weight], to)
            }
            (Work::Dense { channels, positions }, _) => self.gpu().multiply(Product {
                a: x,
                b: self.weight(i, sizes, phase),
                c: to,
                a_transposed: false,
                b_transposed: true,
                adds: false,
                rows: sizes.batch,
                columns: sizes.channels,
                inner: channels * positions,
            }),
            (Work::Mean { positions }, _) => {
                let args = self.mean_args(sizes, positions, x, to);
                let kind = self.input_kind(prepared, i);
                let blocks = sizes.result_len().div_ceil(THREADS);
                self.gpu().launch(&format!("global_mean_{}", kind.name()), [blocks, 1], [THREADS, 1], &args)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn mean_args(
        &self,
        sizes: &Sizes,
        positions: usize,
        maps: Address,
        means: Address,
    ) -> MeanArgs {
        let [batch, area, channels] = [sizes.batch, positions, sizes.channels].map(|n| n as u32);
        MeanArgs { maps, means, batch, area, channels, adds: 0 }
    }

    /// The type of what a stage reads from another.
    pub(super) fn input_kind(&self, prepared: &Prepared<G>, i: usize) -> Kind {
        let input = self.plan.stages[i].input.of();
        input.map_or(Kind::F32, |input| prepared.sizes[input].out)
    }

    /// The weight as a stage reads it.
    pub(super) fn weight(&self, i: usize, sizes: &Sizes, phase: Phase) -> Address {
        let (at, values) = (self.parameters.places[i].weight, self.values(phase));
        match sizes.has_half_weight() {
            true => values.halves.after::<Half>(at),
            false => values.weights.after::<f32>(at),
        }
    }

    /// Queues a kernel over the output positions of a stage, four at a time.
    pub(super) fn tail(
        &self,
        name: &str,
        sizes: &Sizes,
        args: &StageArgs,
        launch: impl Fn(&Spread, usize) -> Launch,
    ) -> Result<Launch> {
        let spread = Spread::of(sizes.channels, &[4]);
        let (height, width) = sizes.out_size();
        let items = sizes.batch * (height * width).div_ceil(4);
        let name = format!("{name}_{}_{}_{}", sizes.kind.name(), sizes.out.name(), spread.vector);
        let launch = launch(&spread, items);
        launch.queue(self.gpu(), &name, args)?;
        Ok(launch)
    }

    pub(super) fn direct_args(
        &self,
        i: usize,
        s: &ConvShape,
        c: Address,
        blocks: usize,
        phase: Phase,
    ) -> DirectArgs {
        let at = self.parameters.places[i].weight;
        DirectArgs {
            images: self.images,
            weight: self.values(phase).weights.after::<f32>(at),
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

    pub(super) fn stage_args(&self, i: usize, sizes: &Sizes, phase: Phase) -> StageArgs {
        let (stage, memory, places) = (&self.plan.stages[i], &self.stages[i], &self.parameters.places[i]);
        let values = self.values(phase);
        let value = |at: usize| values.weights.after::<f32>(at);
        let gradient = |at: usize| self.gradients.after::<f32>(at);
        let ((activation, slope), (after, after_slope)) = (number(stage.activation), number(stage.after));
        let mut args = StageArgs {
            c: memory.c,
            z: memory.z,
            bias: places.bias.map_or(Address::NONE, value),
            dbias: places.bias.map_or(Address::NONE, gradient),
            norm: memory.norm,
            slopes: memory.slopes,
            moments: memory.moments,
            state: self.state,
            partial: self.partial,
            batch: sizes.batch as u32,
            height: sizes.height as u32,
            width: sizes.width as u32,
            channels: sizes.channels as u32,
            pool: u32::from(sizes.pool),
            activation,
            after,
            slope,
            after_slope,
            ..Default::default()
        };
        if let (Some(norm), Some([gamma, beta])) = (&stage.norm, places.norm) {
            let rank = if sizes.is_flat { 2 } else { 4 };
            let [mean, var] = places.moving.map(|at| values.states.after::<f32>(at));
            args = StageArgs {
                gamma: value(gamma),
                beta: value(beta),
                dgamma: gradient(gamma),
                dbeta: gradient(beta),
                running_mean: mean,
                running_var: var,
                momentum: norm.momentum,
                epsilon: norm.epsilon,
                correction: norm.correction(sizes.batch * sizes.area(), rank),
                ..args
            };
        }
        if let Some(skip) = stage.skip.and_then(Source::of) {
            args.skip = self.stages[skip].z;
            args.skip_half = u32::from(self.is_half_output(sizes.batch, skip));
        }
        let dropout = stage.dropout.filter(|_| phase == Phase::Train);
        if let Some((mask, (threshold, kept))) =
            dropout.and_then(|mask| Some((mask, Mask::threshold(&mask)?)))
        {
            args = StageArgs { dropout: 1, purpose: mask.purpose.number(), threshold, kept, ..args };
        }
        args
    }

    fn is_half_output(&self, batch: usize, stage: usize) -> bool {
        self.prepared(batch).is_ok_and(|prepared| prepared.sizes[stage].out == Kind::Bf16)
    }
}

/// Queues the kernel that adds up the sums which the blocks of a launch leave.
pub(super) fn total(gpu: &impl Gpu, kernel: &str, left_by: Launch, args: &StageArgs) -> Result<()> {
    let args = StageArgs { blocks: left_by.grid[0] as u32, ..*args };
    Launch::totals(args.channels as usize).queue(gpu, kernel, &args)
}

/// The kernel of what follows a result, with this activation and nothing joined: the fast one has few activations.
pub(super) fn tail_kernel(activation: Activation) -> &'static str {
    match activation {
        Activation::Linear | Activation::Relu | Activation::Elu => "tail",
        _ => "joined",
    }
}

/// An activation as the kernels know it, with its slope below 0.
pub(super) fn number(activation: Activation) -> (u32, f32) {
    match activation {
        Activation::Linear => (0, 0.0),
        Activation::Relu => (1, 0.0),
        Activation::Elu => (2, 0.0),
        Activation::LeakyRelu(slope) => (3, slope),
        Activation::Silu => (4, 0.0),
        Activation::Sigmoid => (5, 0.0),
    }
}
