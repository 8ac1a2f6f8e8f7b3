//! The launches of the backward pass.

use candle_core::Result;

use super::args::StageArgs;
use super::pass::{Phase, Plan, Program, dense_sizes};
use super::spread::Spread;
use super::{Direction, Gpu, Half, Kind, Product};

impl<G: Gpu> Program<G> {
    /// Queues the backward pass from the gradient of the logits, which is in `da`.
    pub fn backward(&self, batch: usize) -> Result<()> {
        let plan = self.plan(batch)?;
        let last = plan.geometry.len() - 1;
        for (i, g) in plan.geometry.iter().enumerate().rev() {
            if i < last {
                let args = StageArgs { z: self.dz, da: self.da, ..self.stage_args(i, g, Phase::Train) };
                if self.chain.stages[i].norm.is_some() {
                    self.tail("tail_sums", g, &args, |spread, items| spread.sums(items, 2))?;
                }
                self.tail("tail_backward", g, &args, |spread, items| spread.sums(items, 2))?;
            }
            self.convolve_back(plan, i)?;
        }
        Ok(())
    }

    /// From the gradient of a stage's convolution: those of its weight and of what it read.
    fn convolve_back(&self, plan: &Plan<G>, i: usize) -> Result<()> {
        let (g, x) = (&plan.geometry[i], self.source(plan, i));
        let at = self.parameters.places[i].weight;
        if g.direct {
            let spread = Spread::of(g.shape.out_channels, 2);
            let (kernel, kind) = (g.shape.kernel.0, g.kind.name());
            let grid = spread.sums(g.shape.batch * g.shape.out_height, 1);
            let args = self.direct_args(g, self.da, grid[0]);
            let name = format!("direct_gradient_{kind}_{kernel}_{}", spread.vector);
            self.gpu().launch(&name, grid, spread.block, &args)?;
            let values = g.shape.out_channels * kernel * kernel;
            return self.gpu().launch(
                &format!("direct_sum_{kernel}"),
                [values.div_ceil(64), 1],
                [64, 1],
                &args,
            );
        }
        let (weight, da) = (self.weight(i, g), self.da);
        match &plan.convolutions[i] {
            Some(conv) => {
                let dweight = match g.kind {
                    Kind::Bf16 => self.half_gradients.after::<Half>(at),
                    Kind::F32 => self.gradients.after::<f32>(at),
                };
                self.gpu().convolve(conv, Direction::Weight, [x, da], dweight)?;
                if i > 0 {
                    self.gpu().convolve(conv, Direction::Input, [weight, da], self.dz)?;
                }
            }
            None => {
                let (batch, outputs, inputs) = dense_sizes(g);
                let dweight = self.gradients.after::<f32>(at);
                let plain = Product {
                    a: da,
                    b: x,
                    c: dweight,
                    a_transposed: true,
                    b_transposed: false,
                    rows: outputs,
                    columns: inputs,
                    inner: batch,
                };
                self.gpu().multiply(plain)?;
                if i > 0 {
                    let (rows, columns, inner) = (batch, inputs, outputs);
                    let to_input =
                        Product { b: weight, c: self.dz, a_transposed: false, rows, columns, inner, ..plain };
                    self.gpu().multiply(to_input)?;
                }
            }
        }
        Ok(())
    }
}
