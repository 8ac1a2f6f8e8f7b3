//! The forward pass, in training and in inference.

use candle_core::{Device, Result, Tensor};

use super::stage::{Buffers, From, Fused, FusedStage, Workspace, grouped_len, sized};
use crate::Step;
use crate::cpu::elementwise::activate_group;
use crate::cpu::grouped_conv2d::{Source, convolve};
use crate::cpu::groups::{GROUP, Strip, from_groups, groups, to_groups};
use crate::cpu::moments::Moments;
use crate::cpu::tail::Tail;
use crate::cpu::winograd::Transformed;
use crate::cpu::{read_all, vectorized};
use crate::geometry::ConvShape;

/// A forward pass in training: what its backward pass needs.
pub(crate) struct Pass<'a> {
    pub(super) fused: &'a Fused,
    pub(super) inputs: Vec<Tensor>,
    pub(super) shapes: Vec<ConvShape>,
    pub(super) step: Step,
    pub(super) workspace: Workspace,
}

impl Fused {
    /// The outputs `(batch, channels, height, width)` for inputs, by the moving statistics.
    pub fn infer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let inputs = contiguous(inputs)?;
        let shapes = self.shapes(&inputs)?;
        let mut workspace = self.workspace();
        let outputs = self.run(&inputs, &shapes, &mut workspace, None);
        self.give_back(workspace);
        outputs
    }

    /// The outputs for a batch in training; the moving statistics are updated.
    pub fn forward(&self, inputs: &[Tensor], step: Step) -> Result<(Vec<Tensor>, Pass<'_>)> {
        let inputs = contiguous(inputs)?;
        let shapes = self.shapes(&inputs)?;
        let mut workspace = self.workspace();
        let outputs = self.run(&inputs, &shapes, &mut workspace, Some(step))?;
        Ok((outputs, Pass { fused: self, inputs, shapes, step, workspace }))
    }

    fn run(
        &self,
        inputs: &[Tensor],
        shapes: &[ConvShape],
        workspace: &mut Workspace,
        step: Option<Step>,
    ) -> Result<Vec<Tensor>> {
        read_all("conv2d", inputs, |values| {
            let Workspace { stages, inputs: grouped, weight, .. } = workspace;
            for (i, (stage, s)) in self.stages.iter().zip(shapes).enumerate() {
                if let Some(From::Input(k)) = stage.skip {
                    let out = sized(&mut grouped[k], grouped_len(&s.out_dims()));
                    to_groups(values[k], s.out_channels, s.out_area(), out);
                }
                let (before, rest) = stages.split_at_mut(i);
                let x = self.source(stage.input, shapes, before, values);
                let skip = self.added(stage, shapes, before, grouped);
                match step {
                    Some(step) => stage.forward(x, skip, s, step, &mut rest[0], weight)?,
                    None => stage.infer(x, skip, s, &mut rest[0], weight)?,
                }
            }
            self.outputs.iter().map(|&stage| self.plain(stage - self.first, shapes, stages)).collect()
        })?
    }

    /// What a stage reads.
    pub(super) fn source<'a>(
        &self,
        from: From,
        shapes: &[ConvShape],
        before: &'a [Buffers],
        inputs: &[&'a [f32]],
    ) -> Source<'a> {
        match from {
            From::Input(k) => Source::Plain(inputs[k]),
            From::Stage(i) => self.stages[i].output(&shapes[i], &before[i]),
        }
    }

    /// What a stage adds.
    pub(super) fn added<'a>(
        &self,
        stage: &FusedStage,
        shapes: &[ConvShape],
        before: &'a [Buffers],
        grouped: &'a [Vec<f32>],
    ) -> Option<&'a [f32]> {
        stage.skip.map(|skip| match skip {
            From::Input(k) => &grouped[k][..],
            From::Stage(i) => &before[i].z[..self.stages[i].out_len(&shapes[i])],
        })
    }

    /// The output of a stage as a plain tensor.
    fn plain(&self, i: usize, shapes: &[ConvShape], stages: &[Buffers]) -> Result<Tensor> {
        let dims = self.stages[i].out_dims(&shapes[i]);
        let mut values = vec![0.0; dims.iter().product()];
        let z = &stages[i].z[..self.stages[i].out_len(&shapes[i])];
        from_groups(z, dims[1], dims[2] * dims[3], &mut values);
        Tensor::from_vec(values, &dims, &Device::Cpu)
    }
}

fn contiguous(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    inputs.iter().map(Tensor::contiguous).collect()
}

impl FusedStage {
    /// The activation's output; where the stage's output is written, that, by the moving statistics.
    fn infer(
        &self,
        x: Source,
        skip: Option<&[f32]>,
        s: &ConvShape,
        buffers: &mut Buffers,
        passing: &mut Transformed,
    ) -> Result<()> {
        let channels = match &self.norm {
            Some(norm) => {
                let (mean, var) = norm.moving()?;
                self.constants(norm, &mean, &var)?
            }
            None => Vec::new(),
        };
        buffers.norms = self.norms(&channels)?;
        let (bias, activation, norms) = (self.bias()?, self.activation, &buffers.norms);
        let tail = self.tail(s, None);
        // What is added, or stands after the norm, takes a pass of its own.
        let in_one = self.materialised && self.is_simple();
        let (out, pool) = match in_one {
            true => (sized(&mut buffers.z, self.out_len(s)), if self.pool { 2 } else { 1 }),
            false => (sized(&mut buffers.y, s.batch * groups(s.out_channels) * s.out_area() * GROUP), 1),
        };
        let finish = |strip: Strip, values: &mut [f32], out: &mut [f32]| {
            activate_group(values, &bias[strip.group], activation);
            if !in_one {
                return out.copy_from_slice(values);
            }
            let rows = Tail { height: strip.rows, ..tail };
            let (values, out) = (values.as_chunks::<GROUP>().0, out.as_chunks_mut::<GROUP>().0);
            vectorized(
                #[inline(always)]
                || rows.pool_plane(values, &norms[strip.group], out),
            );
        };
        self.with_weight(&mut buffers.weight, passing, |weight| convolve(x, weight, s, out, pool, finish))?;
        if self.materialised && !in_one {
            let Buffers { y, z, norms, .. } = buffers;
            let y = &y[..s.batch * groups(s.out_channels) * s.out_area() * GROUP];
            tail.forward(y, norms, skip, sized(z, self.out_len(s)));
        }
        Ok(())
    }

    /// The activation's output and its moments; the output where it is written.
    fn forward(
        &self,
        x: Source,
        skip: Option<&[f32]>,
        s: &ConvShape,
        step: Step,
        buffers: &mut Buffers,
        passing: &mut Transformed,
    ) -> Result<()> {
        let (bias, activation, width) = (self.bias()?, self.activation, s.out_width);
        let y = sized(&mut buffers.y, s.batch * groups(s.out_channels) * s.out_area() * GROUP);
        let normalised = self.norm.is_some();
        let finish = |strip: Strip, values: &mut [f32], out: &mut [f32]| {
            activate_group(values, &bias[strip.group], activation);
            out.copy_from_slice(values);
            (strip.group, if normalised { Moments::of(values, width) } else { Moments::NONE })
        };
        let strips =
            self.with_weight(&mut buffers.weight, passing, |weight| convolve(x, weight, s, y, 1, finish))?;
        buffers.channels = match &self.norm {
            Some(norm) => {
                let mut moments = vec![Moments::NONE; groups(s.out_channels)];
                strips.iter().for_each(|(group, of_strip)| moments[*group].join(of_strip));
                let of_channel = |c: usize| moments[c / GROUP].mean_and_variance(c % GROUP);
                let (mean, var): (Vec<_>, Vec<_>) = (0..s.out_channels).map(of_channel).unzip();
                norm.update_moving(&mean, &var, s.batch * s.out_area(), 4)?;
                self.constants(norm, &mean, &var)?
            }
            None => Vec::new(),
        };
        buffers.norms = self.norms(&buffers.channels)?;
        if self.materialised {
            let tail = self.tail(s, Some(step));
            let z = sized(&mut buffers.z, self.out_len(s));
            tail.forward(y, &buffers.norms, skip, z);
        }
        Ok(())
    }
}
