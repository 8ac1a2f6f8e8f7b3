//! The backward pass.

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor};

use super::{Buffers, Pass, Stage, Workspace, sized};
use crate::Step;
use crate::cpu::conv2d::ConvShape;
use crate::cpu::grouped_conv2d::{Kernel, Weight, convolve_back, weight_gradient};
use crate::cpu::groups::{GROUP, Images, Strip, groups, to_groups};
use crate::cpu::tail::{Slopes, Sums};
use crate::cpu::{read, vectorized};

/// How far the gradient of a stage's output has come.
struct Gradient {
    /// Σ dn and Σ dn·(y − center) of every strip with its group, when they were taken on the way.
    sums: Option<Vec<(usize, Sums)>>,
}

impl Pass<'_> {
    /// Adds the gradients of the trunk's variables to `store`, from that of the features.
    pub fn backward(mut self, of_features: &Tensor, store: &mut GradStore) -> Result<()> {
        let Some(workspace) = &mut self.workspace else { return Ok(()) };
        let Workspace { stages, gradients: [here, there], kernel } = workspace;
        let (trunk, shapes) = (self.trunk, &self.shapes[..]);
        let (_, channels, height, width) = of_features.dims4()?;
        let len = shapes[0].batch * groups(channels) * height * width * GROUP;
        read(of_features, |dz| to_groups(dz, channels, height * width, sized(here, len)))?;

        let mut gradient = Gradient { sums: None };
        for (i, stage) in trunk.stages.iter().enumerate().rev() {
            let s = &shapes[i];
            let (before, rest) = stages.split_at_mut(i);
            // The gradient of the convolution's output is in `here` afterwards.
            stage.backward(s, self.step, gradient, &rest[0], here, there, store)?;
            let dy_len = s.batch * groups(s.out_channels) * s.out_area() * GROUP;
            let dy = Images {
                data: &here[..dy_len],
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
            let dx = sized(there, s.batch * groups(s.in_channels) * s.height * s.width * GROUP);
            let strips = stage.backward_input(dy, s, summed.then_some(previous), dx, kernel)?;
            gradient = Gradient { sums: summed.then_some(strips) };
            std::mem::swap(here, there);
        }
        Ok(())
    }
}

impl Stage {
    /// The gradients of the normalisation and the bias; turns the gradient of the stage's output, in `here`, into
    /// that of the convolution's, in `here` too.
    #[allow(clippy::too_many_arguments)]
    fn backward(
        &self,
        s: &ConvShape,
        step: Step,
        gradient: Gradient,
        buffers: &Buffers,
        here: &mut Vec<f32>,
        there: &mut Vec<f32>,
        store: &mut GradStore,
    ) -> Result<()> {
        let tail = self.tail(s, Some(step));
        let area = s.out_area();
        let of_image = groups(s.out_channels);
        let y_len = s.batch * of_image * area * GROUP;
        let y = &buffers.y[..y_len];
        let dz_len = tail.out_len(s.batch);
        let sums = match gradient.sums {
            Some(sums) => sums,
            None => {
                let planes = tail.backward_sums(y, &buffers.norms, &mut here[..dz_len]);
                planes.into_iter().enumerate().map(|(plane, sums)| (plane % of_image, sums)).collect()
            }
        };
        let slopes = match &self.norm {
            None => vec![Slopes::IDENTITY; of_image],
            Some(norm) => {
                let mut of_gradient = vec![0.0; of_image * GROUP];
                let mut of_product = of_gradient.clone();
                for (group, sums) in &sums {
                    let lanes = group * GROUP..(group + 1) * GROUP;
                    of_gradient[lanes.clone()]
                        .iter_mut()
                        .zip(sums.of_gradient)
                        .for_each(|(sum, v)| *sum += v);
                    of_product[lanes].iter_mut().zip(sums.of_product).for_each(|(sum, v)| *sum += v);
                }
                let sums = of_product.iter().zip(&of_gradient);
                let sums: Vec<(f64, f64)> = buffers
                    .channels
                    .iter()
                    .zip(sums)
                    .map(|(channel, (&product, &gradient))| channel.gradient_sums(product, gradient))
                    .collect();
                let (gamma, beta): (Vec<f32>, Vec<f32>) =
                    sums.iter().map(|&(gamma, beta)| (gamma as f32, beta as f32)).unzip();
                insert(store, &norm.weight, gamma)?;
                insert(store, &norm.bias, beta)?;
                Slopes::of(&buffers.channels, &sums, (s.batch * area) as f64)
            }
        };
        let activation = self.conv.config.activation;
        let planes = if self.pool {
            let da = sized(there, y_len);
            let planes = tail.backward_pooled(y, &buffers.norms, &slopes, activation, &here[..dz_len], da);
            std::mem::swap(here, there);
            planes
        } else {
            tail.backward_in_place(y, &slopes, activation, &mut here[..y_len])
        };
        let mut bias = vec![0.0_f64; of_image * GROUP];
        for (plane, sums) in planes.iter().enumerate() {
            let lanes = &mut bias[plane % of_image * GROUP..][..GROUP];
            lanes.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
        }
        insert(store, &self.conv.bias, bias[..s.out_channels].iter().map(|&v| v as f32).collect())
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
    ) -> Result<Vec<(usize, Sums)>> {
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
