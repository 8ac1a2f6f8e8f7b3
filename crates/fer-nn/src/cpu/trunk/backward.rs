//! The backward pass.

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor};

use super::{Buffers, Pass, Stage, Workspace, sized};
use crate::Step;
use crate::cpu::conv2d::ConvShape;
use crate::cpu::grouped_conv2d::{Kernel, Weight, convolve_back, weight_gradient};
use crate::cpu::groups::{GROUP, Images, Strip, groups, to_groups};
use crate::cpu::normalize::Channel;
use crate::cpu::tail::{Slopes, Sums};
use crate::cpu::{read, vectorized};

/// Σ dn and Σ dn·(y − center) of some values of a group, with the group.
type GroupSums = Vec<(usize, Sums)>;

impl Pass<'_> {
    /// Adds the gradients of the trunk's variables to `store`, from that of the features.
    pub fn backward(mut self, of_features: &Tensor, store: &mut GradStore) -> Result<()> {
        let Workspace { stages, gradients, kernel } = &mut self.workspace;
        let (trunk, shapes) = (self.trunk, &self.shapes[..]);
        let (batch, channels, height, width) = of_features.dims4()?;
        let dz = sized(&mut gradients[0], batch * groups(channels) * height * width * GROUP);
        read(of_features, |values| to_groups(values, channels, height * width, dz))?;

        let mut sums = None;
        for (i, stage) in trunk.stages.iter().enumerate().rev() {
            let s = &shapes[i];
            let (before, rest) = stages.split_at_mut(i);
            stage.backward(s, self.step, sums, &rest[0], gradients, store)?;
            let [dy, dx] = &mut *gradients;
            let dy = Images {
                data: &dy[..s.batch * groups(s.out_channels) * s.out_area() * GROUP],
                channels: s.out_channels,
                height: s.out_height,
                width: s.out_width,
                norm: None,
            };
            let mut dw = vec![0.0; stage.conv.weight.elem_count()];
            read(&self.images, |pixels| {
                let x = trunk.source(i, shapes, before, pixels);
                weight_gradient(x, dy, s, &mut dw);
            })?;
            insert(store, &stage.conv.weight, dw)?;
            let Some(previous) = before.last() else { break };
            let summed = !trunk.materialised(i - 1) && trunk.stages[i - 1].norm.is_some();
            let dx = sized(dx, s.batch * groups(s.in_channels) * s.height * s.width * GROUP);
            let strips = stage.backward_input(dy, s, summed.then_some(previous), dx, kernel)?;
            sums = summed.then_some(strips);
            gradients.swap(0, 1);
        }
        self.trunk.give_back(self.workspace);
        Ok(())
    }
}

impl Stage {
    /// Turns the gradient of the stage's output into that of its convolution's, each in the first of `gradients`;
    /// those of the normalisation and the bias go to `store`. `sums` are there when they were taken on the way.
    fn backward(
        &self,
        s: &ConvShape,
        step: Step,
        sums: Option<GroupSums>,
        buffers: &Buffers,
        gradients: &mut [Vec<f32>; 2],
        store: &mut GradStore,
    ) -> Result<()> {
        let tail = self.tail(s, Some(step));
        let of_image = groups(s.out_channels);
        let y = &buffers.y[..s.batch * of_image * s.out_area() * GROUP];
        let [here, there] = &mut *gradients;
        let dz = &mut here[..tail.out_len(s.batch)];
        let sums = sums.unwrap_or_else(|| {
            let planes = tail.backward_sums(y, &buffers.norms, dz);
            planes.into_iter().enumerate().map(|(plane, sums)| (plane % of_image, sums)).collect()
        });
        let slopes = self.norm_gradients(&sums, buffers, s.batch * s.out_area(), store)?;
        let activation = self.conv.config.activation;
        let planes = if self.pool {
            let da = sized(there, y.len());
            let planes = tail.backward_pooled(y, &buffers.norms, &slopes, activation, dz, da);
            gradients.swap(0, 1);
            planes
        } else {
            tail.backward_in_place(y, &slopes, activation, dz)
        };
        let mut bias = vec![0.0_f64; of_image * GROUP];
        for (plane, sums) in planes.iter().enumerate() {
            let lanes = &mut bias[plane % of_image * GROUP..][..GROUP];
            lanes.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
        }
        insert(store, &self.conv.bias, bias[..s.out_channels].iter().map(|&v| v as f32).collect())
    }

    /// The gradients of gamma and beta, and what the input's gradient needs, from sums over `count` values.
    fn norm_gradients(
        &self,
        sums: &GroupSums,
        buffers: &Buffers,
        count: usize,
        store: &mut GradStore,
    ) -> Result<Vec<Slopes>> {
        let Some(norm) = &self.norm else { return Ok(vec![Slopes::IDENTITY; buffers.norms.len()]) };
        let mut of_groups = vec![Sums::default(); buffers.norms.len()];
        sums.iter().for_each(|(group, sums)| of_groups[*group].add(sums));
        let of_channel = |(c, channel): (usize, &Channel)| {
            let (sums, lane) = (&of_groups[c / GROUP], c % GROUP);
            channel.gradient_sums(sums.of_product[lane], sums.of_gradient[lane])
        };
        let sums: Vec<(f64, f64)> = buffers.channels.iter().enumerate().map(of_channel).collect();
        insert(store, &norm.weight, sums.iter().map(|&(gamma, _)| gamma as f32).collect())?;
        insert(store, &norm.bias, sums.iter().map(|&(_, beta)| beta as f32).collect())?;
        Ok(Slopes::of(&buffers.channels, &sums, count as f64))
    }

    /// The gradient of the input, to `dx`; with the sums for the normalisation of the stage `before`, whose output
    /// the input is.
    fn backward_input(
        &self,
        dy: Images,
        s: &ConvShape,
        before: Option<&Buffers>,
        dx: &mut [f32],
        kernel: &mut Kernel,
    ) -> Result<GroupSums> {
        let (of_image, width) = (groups(s.in_channels), s.width);
        let finish = |strip: Strip, values: &mut [f32], out: &mut [f32]| {
            let mut sums = Sums::default();
            if let Some(Buffers { y, norms, .. }) = before {
                let center = &norms[strip.group].center;
                let first = (strip.image * of_image + strip.group) * s.height + strip.first_row;
                let y = y[first * width * GROUP..][..values.len()].as_chunks::<GROUP>().0;
                let dn = values.as_chunks::<GROUP>().0;
                vectorized(
                    #[inline(always)]
                    || {
                        for (y, dn) in y.chunks_exact(width).zip(dn.chunks_exact(width)) {
                            sums.add_row(y, dn, center);
                        }
                    },
                );
            }
            out.copy_from_slice(values);
            (strip.group, sums)
        };
        read(&self.conv.weight, |values| {
            convolve_back(dy, Weight { values, constant: false, kernel }, s, dx, finish)
        })
    }
}

fn insert(store: &mut GradStore, variable: &Tensor, gradient: Vec<f32>) -> Result<()> {
    if variable.is_variable() {
        store.insert(variable, Tensor::from_vec(gradient, variable.shape(), &Device::Cpu)?);
    }
    Ok(())
}
