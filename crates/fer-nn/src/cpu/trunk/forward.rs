//! The forward pass, in training and in inference.

use candle_core::{Device, Result, Tensor};

use super::{Buffers, Stage, Trunk, Workspace, sized};
use crate::Step;
use crate::cpu::conv2d::ConvShape;
use crate::cpu::elementwise::activate_group;
use crate::cpu::grouped_conv2d::{Kernel, Source, convolve};
use crate::cpu::groups::{GROUP, Strip, from_groups, groups};
use crate::cpu::moments::Moments;
use crate::cpu::tail::Tail;
use crate::cpu::{read, vectorized};

/// A forward pass in training: what its backward pass needs.
pub(crate) struct Pass<'a> {
    pub(super) trunk: &'a Trunk,
    pub(super) images: Tensor,
    pub(super) shapes: Vec<ConvShape>,
    pub(super) step: Step,
    pub(super) workspace: Workspace,
}

impl Trunk {
    /// The features `(batch, channels, height, width)` of images, by the moving statistics.
    pub fn infer(&self, images: &Tensor) -> Result<Tensor> {
        let images = images.contiguous()?;
        let shapes = self.shapes(&images)?;
        let mut workspace = self.workspace();
        let features = read(&images, |pixels| {
            for (i, (stage, s)) in self.stages.iter().zip(&shapes).enumerate() {
                let (before, rest) = workspace.stages.split_at_mut(i);
                let x = self.source(i, &shapes, before, pixels);
                stage.infer(x, s, self.materialised(i), &mut rest[0], &mut workspace.kernel)?;
            }
            self.features(&shapes, &workspace)
        });
        self.give_back(workspace);
        features?
    }

    /// The features of a batch in training; the moving statistics are updated.
    pub fn forward(&self, images: &Tensor, step: Step) -> Result<(Tensor, Pass<'_>)> {
        let images = images.contiguous()?;
        let shapes = self.shapes(&images)?;
        let mut workspace = self.workspace();
        let features = read(&images, |pixels| {
            for (i, (stage, s)) in self.stages.iter().zip(&shapes).enumerate() {
                let (before, rest) = workspace.stages.split_at_mut(i);
                let x = self.source(i, &shapes, before, pixels);
                stage.forward(x, s, step, self.materialised(i), &mut rest[0], &mut workspace.kernel)?;
            }
            self.features(&shapes, &workspace)
        })??;
        Ok((features, Pass { trunk: self, images, shapes, step, workspace }))
    }

    /// What stage `i` reads.
    pub(super) fn source<'a>(
        &self,
        i: usize,
        shapes: &[ConvShape],
        before: &'a [Buffers],
        pixels: &'a [f32],
    ) -> Source<'a> {
        match i.checked_sub(1) {
            None => Source::Plain(pixels),
            Some(i) => self.stages[i].output(&shapes[i], &before[i], self.materialised(i)),
        }
    }

    /// Whether the output of stage `i` is written, or normalised as it is read.
    pub(super) fn materialised(&self, i: usize) -> bool {
        let stage = &self.stages[i];
        stage.pool || stage.dropout.is_some() || i + 1 == self.stages.len()
    }

    /// The output of the last stage as a plain tensor.
    fn features(&self, shapes: &[ConvShape], workspace: &Workspace) -> Result<Tensor> {
        let (Some(s), Some(buffers), Some(stage)) =
            (shapes.last(), workspace.stages.last(), self.stages.last())
        else {
            candle_core::bail!("a trunk has at least one stage")
        };
        let pool = if stage.pool { 2 } else { 1 };
        let (height, width) = (s.out_height / pool, s.out_width / pool);
        let len = s.batch * groups(s.out_channels) * height * width * GROUP;
        let mut features = vec![0.0; s.batch * s.out_channels * height * width];
        from_groups(&buffers.z[..len], s.out_channels, height * width, &mut features);
        Tensor::from_vec(features, (s.batch, s.out_channels, height, width), &Device::Cpu)
    }
}

impl Stage {
    /// The activation's output; where the stage's output is `materialised`, that alone, by the moving statistics.
    fn infer(
        &self,
        x: Source,
        s: &ConvShape,
        materialised: bool,
        buffers: &mut Buffers,
        kernel: &mut Kernel,
    ) -> Result<()> {
        let channels = match &self.norm {
            Some(norm) => {
                let (mean, var) = norm.moving()?;
                norm.constants(&mean, &var)?
            }
            None => Vec::new(),
        };
        buffers.norms = self.norms(&channels)?;
        let (bias, activation, norms) = (self.bias()?, self.conv.config.activation, &buffers.norms);
        let tail = self.tail(s, None);
        let (out, pool) = match materialised {
            true => (sized(&mut buffers.z, tail.out_len(s.batch)), if self.pool { 2 } else { 1 }),
            false => (sized(&mut buffers.y, s.batch * groups(s.out_channels) * s.out_area() * GROUP), 1),
        };
        let finish = |strip: Strip, values: &mut [f32], out: &mut [f32]| {
            activate_group(values, &bias[strip.group], activation);
            if !materialised {
                return out.copy_from_slice(values);
            }
            let rows = Tail { height: strip.rows, ..tail };
            let (values, out) = (values.as_chunks::<GROUP>().0, out.as_chunks_mut::<GROUP>().0);
            vectorized(
                #[inline(always)]
                || rows.pool_plane(values, &norms[strip.group], out),
            );
        };
        self.with_weight(&mut buffers.kernel, kernel, |weight| convolve(x, weight, s, out, pool, finish))?;
        Ok(())
    }

    /// The activation's output and its moments; the output where it is `materialised`.
    fn forward(
        &self,
        x: Source,
        s: &ConvShape,
        step: Step,
        materialised: bool,
        buffers: &mut Buffers,
        kernel: &mut Kernel,
    ) -> Result<()> {
        let (bias, activation, width) = (self.bias()?, self.conv.config.activation, s.out_width);
        let y = sized(&mut buffers.y, s.batch * groups(s.out_channels) * s.out_area() * GROUP);
        let normalised = self.norm.is_some();
        let finish = |strip: Strip, values: &mut [f32], out: &mut [f32]| {
            activate_group(values, &bias[strip.group], activation);
            out.copy_from_slice(values);
            (strip.group, if normalised { Moments::of(values, width) } else { Moments::NONE })
        };
        let strips =
            self.with_weight(&mut buffers.kernel, kernel, |weight| convolve(x, weight, s, y, 1, finish))?;
        buffers.channels = match &self.norm {
            Some(norm) => {
                let mut moments = vec![Moments::NONE; groups(s.out_channels)];
                strips.iter().for_each(|(group, of_strip)| moments[*group].join(of_strip));
                let of_channel = |c: usize| moments[c / GROUP].mean_and_variance(c % GROUP);
                let (mean, var): (Vec<_>, Vec<_>) = (0..s.out_channels).map(of_channel).unzip();
                norm.update_moving(&mean, &var, s.batch * s.out_area(), 4)?;
                norm.constants(&mean, &var)?
            }
            None => Vec::new(),
        };
        buffers.norms = self.norms(&buffers.channels)?;
        if materialised {
            let tail = self.tail(s, Some(step));
            let z = sized(&mut buffers.z, tail.out_len(s.batch));
            tail.forward(y, &buffers.norms, z);
        }
        Ok(())
    }
}
