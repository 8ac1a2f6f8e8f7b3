//! The launches of the backward pass.

use candle_core::Result;

use super::args::{AddArgs, MeanArgs, StageArgs};
use super::assignment::Gradient;
use super::card::{Address, Direction, Gpu, Half, Kind, Product};
use super::forward::total;
use super::program::{Phase, Prepared, Program};
use super::sizes::{Sizes, Work, has_few_rows, is_result};
use super::spread::{DIRECT_ROWS, Launch, Spread, THREADS};
use crate::Activation;
use crate::geometry::ConvShape;
use crate::plan::{Source, Stage};

impl<G: Gpu> Program<G> {
    /// Queues the backward pass, from the gradient of the logits, which is in its place.
    pub fn backward(&self, batch: usize) -> Result<()> {
        let prepared = self.prepared(batch)?;
        let last = prepared.sizes.len() - 1;
        for (i, (stage, sizes)) in self.plan.stages.iter().zip(&prepared.sizes).enumerate().rev() {
            if let Work::Input = sizes.work {
                self.sum_back(prepared, i)?;
                continue;
            }
            if i < last && !is_result(stage, sizes) {
                self.tail_back(i, stage, sizes)?;
            }
            self.compute_back(prepared, i)?;
        }
        Ok(())
    }

    /// From the gradient of a stage's output to that of its result, and of what is added to it.
    fn tail_back(&self, i: usize, stage: &Stage, sizes: &Sizes) -> Result<()> {
        let back = self.stages[i].back;
        let args = StageArgs { z: back.dz, da: back.da, ..self.stage_args(i, sizes, Phase::Train) };
        if has_few_rows(stage, sizes) {
            return Launch::all_rows(sizes.channels).queue(self.gpu(), "vectors_backward_f32", &args);
        }
        if stage.is_simple() {
            if stage.norm.is_some() {
                let launch = self.tail("tail_sums", sizes, &args, Spread::sums)?;
                total(self.gpu(), "total_gradients_f32", launch, &args)?;
            }
            return self.result_back(sizes, &args);
        }
        let Gradient { at: dskip, adds } = back.skip.unwrap_or_default();
        let joined = StageArgs { dskip, adds_skip: u32::from(adds), ..args };
        let launch = self.tail("joined_sums", sizes, &joined, Spread::sums)?;
        if stage.norm.is_some() {
            total(self.gpu(), "total_gradients_f32", launch, &args)?;
        }
        // The gradient before what was joined is in the place of the result's, which may be it.
        let is_done =
            stage.norm.is_none() && args.bias == Address::NONE && stage.activation == Activation::Linear;
        if is_done {
            return Ok(());
        }
        let args = StageArgs { z: back.da, pool: 0, dropout: 0, ..args };
        self.result_back(&Sizes { out: sizes.kind, pool: false, ..*sizes }, &args)
    }

    /// The last pass back: the gradient of a stage's result, and of its bias.
    fn result_back(&self, sizes: &Sizes, args: &StageArgs) -> Result<()> {
        let launch = self.tail("tail_backward", sizes, args, Spread::sums)?;
        match args.dbias {
            Address::NONE => Ok(()),
            _ => total(self.gpu(), "total_bias_f32", launch, args),
        }
    }

    /// Of a stage that only adds: both gradients are that of its output, changed by what follows the addition.
    fn sum_back(&self, prepared: &Prepared<G>, i: usize) -> Result<()> {
        let (sizes, back) = (&prepared.sizes[i], self.stages[i].back);
        let skip = self.plan.stages[i].skip.and_then(Source::of);
        let skip_kind = skip.map_or(sizes.kind, |skip| prepared.sizes[skip].out);
        for (to, kind) in [(back.skip, skip_kind), (back.input, self.input_kind(prepared, i))] {
            if let Some(to) = to {
                self.add(back.dz, sizes.out, to, kind, sizes.out_len())?;
            }
        }
        Ok(())
    }

    fn add(&self, from: Address, from_kind: Kind, to: Gradient, kind: Kind, count: usize) -> Result<()> {
        let vector = if count.is_multiple_of(4) { 4 } else { 1 };
        let args = AddArgs { from, to: to.at, count: count as u32, adds: u32::from(to.adds) };
        let name = format!("add_{}_{}_{vector}", from_kind.name(), kind.name());
        self.gpu().launch(&name, [(count / vector).div_ceil(THREADS), 1], [THREADS, 1], &args)
    }

    /// From the gradient of a stage's result: those of its weight and of what it read.
    fn compute_back(&self, prepared: &Prepared<G>, i: usize) -> Result<()> {
        let (sizes, back) = (&prepared.sizes[i], self.stages[i].back);
        let (x, da) = (self.source(i, sizes), back.da);
        let at = self.parameters.places[i].weight;
        match (sizes.work, &prepared.convolutions[i]) {
            (Work::Direct(s), _) => self.direct_back(i, sizes, &s),
            (_, Some(conv)) => {
                let dweight = match sizes.has_half_weight() {
                    true => self.half_gradients.after::<Half>(at),
                    false => self.gradients.after::<f32>(at),
                };
                self.gpu().convolve(conv, Direction::Weight, [x, da], dweight)?;
                let Some(input) = back.input else { return Ok(()) };
                let operands = [self.weight(i, sizes, Phase::Train), da];
                if !input.adds {
                    return self.gpu().convolve(conv, Direction::Input, operands, input.at);
                }
                // cuDNN tries its algorithms without adding to what is there, so the sum is a kernel of its own.
                self.gpu().convolve(conv, Direction::Input, operands, back.scratch)?;
                let count = match sizes.work {
                    Work::Convolution(s) => s.batch * s.in_size(),
                    _ => 0,
                };
                self.add(back.scratch, sizes.kind, input, sizes.kind, count)
            }
            (Work::Dense { channels, positions }, _) => {
                let (batch, outputs, inputs) = (sizes.batch, sizes.channels, channels * positions);
                let of_weight = Product {
                    a: da,
                    b: x,
                    c: self.gradients.after::<f32>(at),
                    a_transposed: true,
                    b_transposed: false,
                    adds: false,
                    rows: outputs,
                    columns: inputs,
                    inner: batch,
                };
                self.gpu().multiply(of_weight)?;
                let Some(input) = back.input else { return Ok(()) };
                self.gpu().multiply(Product {
                    b: self.weight(i, sizes, Phase::Train),
                    c: input.at,
                    a_transposed: false,
                    adds: input.adds,
                    rows: batch,
                    inner: outputs,
                    ..of_weight
                })
            }
            (Work::Mean { positions }, _) => {
                let Some(input) = back.input else { return Ok(()) };
                let args = self.mean_args(sizes, positions, input.at, da);
                let args = MeanArgs { adds: u32::from(input.adds), ..args };
                let name = format!("global_mean_backward_{}", self.input_kind(prepared, i).name());
                let blocks = (sizes.result_len() * positions).div_ceil(THREADS);
                self.gpu().launch(&name, [blocks, 1], [THREADS, 1], &args)
            }
            _ => Ok(()),
        }
    }

    fn direct_back(&self, i: usize, sizes: &Sizes, s: &ConvShape) -> Result<()> {
        let spread = Spread::of(s.out_channels, &[2]).in_blocks_of(THREADS / 2, DIRECT_ROWS);
        let (kernel, kind) = (s.kernel.0, sizes.kind.name());
        let launch = spread.sums(s.batch * s.out_height);
        let args = self.direct_args(i, s, self.stages[i].back.da, launch.grid[0], Phase::Train);
        let name = format!("direct_gradient_{kind}_{kernel}_{}", spread.vector);
        launch.queue(self.gpu(), &name, &args)?;
        let values = s.out_channels * kernel * kernel;
        Launch::totals(values).queue(self.gpu(), &format!("direct_sum_{kernel}"), &args)
    }
}
