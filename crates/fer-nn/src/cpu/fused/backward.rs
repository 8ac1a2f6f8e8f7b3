//! The backward pass.

use std::ops::{Deref, DerefMut};

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::forward::Pass;
use super::stage::{Buffers, From, FusedStage, Workspace, grouped_len};
use crate::Step;
use crate::channel::Channel;
use crate::cpu::grouped_conv2d::{Weight, convolve_back, weight_gradient};
use crate::cpu::groups::{GROUP, Images, Strip, from_groups, groups, to_groups};
use crate::cpu::tail::{Slopes, Sums};
use crate::cpu::winograd::Transformed;
use crate::cpu::{read, read_all, vectorized};
use crate::geometry::ConvShape;

/// Σ dn and Σ dn·(y − center) of some values of a group, with the group.
type GroupSums = Vec<(usize, Sums)>;

/// Memory that is used again from stage to stage and from step to step.
struct Pool(Vec<Vec<f32>>);

/// Some values of memory that is longer: what is not used again is not cleared.
struct Values {
    memory: Vec<f32>,
    len: usize,
}

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[..self.len]
    }
}

impl DerefMut for Values {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.len]
    }
}

impl Pool {
    /// `len` values of whatever content.
    fn take(&mut self, len: usize) -> Values {
        let fits = self.0.iter().enumerate().filter(|(_, memory)| memory.len() >= len);
        let at = fits.min_by_key(|(_, memory)| memory.len()).map(|(at, _)| at);
        let memory = match at {
            Some(at) => self.0.swap_remove(at),
            None => {
                // The largest is given up for one that is large enough.
                let largest = (0..self.0.len()).max_by_key(|&i| self.0[i].len());
                drop(largest.map(|i| self.0.swap_remove(i)));
                vec![0.0; len]
            }
        };
        Values { memory, len }
    }

    fn give(&mut self, values: Values) {
        self.0.push(values.memory);
    }

    /// Adds a gradient to another, or is it where there is none.
    fn add(&mut self, to: &mut Option<Values>, gradient: Values) {
        match to {
            None => *to = Some(gradient),
            Some(to) => {
                to.par_chunks_mut(1 << 14).zip(gradient.par_chunks(1 << 14)).for_each(|(to, from)| {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                });
                self.give(gradient);
            }
        }
    }
}

impl Pass<'_> {
    /// Adds the gradients of the stages' variables to `store`, from those of the outputs, and gives those of the inputs
    /// that are `wanted`.
    pub fn backward(
        mut self,
        of_outputs: &[Option<Tensor>],
        wanted: &[bool],
        store: &mut GradStore,
    ) -> Result<Vec<Option<Tensor>>> {
        let Workspace { stages: buffers, inputs: grouped, free, weight } = &mut self.workspace;
        let (fused, shapes) = (self.fused, &self.shapes[..]);
        let mut pool = Pool(std::mem::take(free));
        let mut of_stages: Vec<Option<Values>> = fused.stages.iter().map(|_| None).collect();
        let mut of_inputs: Vec<Option<Values>> = fused.inputs.iter().map(|_| None).collect();
        let mut sums: Vec<Option<GroupSums>> = vec![None; fused.stages.len()];
        for (&output, gradient) in fused.outputs.iter().zip(of_outputs) {
            let Some(gradient) = gradient else { continue };
            let i = output - fused.first;
            let [_, channels, height, width] = fused.stages[i].out_dims(&shapes[i]);
            let mut dz = pool.take(fused.stages[i].out_len(&shapes[i]));
            read(gradient, |values| to_groups(values, channels, height * width, &mut dz))?;
            pool.add(&mut of_stages[i], dz);
        }
        let done = read_all("conv2d backward", &self.inputs, |inputs| -> Result<()> {
            for (i, (stage, s)) in fused.stages.iter().zip(shapes).enumerate().rev() {
                let Some(dz) = of_stages[i].take() else { continue };
                let (before, rest) = buffers.split_at_mut(i);
                let skip = fused.added(stage, shapes, before, grouped);
                let back = Back { stage, s, step: self.step, buffers: &rest[0] };
                let (da, of_skip) = back.to_convolution(dz, skip, sums[i].take(), &mut pool, store)?;
                match (stage.skip, of_skip) {
                    (Some(From::Stage(j)), Some(gradient)) => pool.add(&mut of_stages[j], gradient),
                    (Some(From::Input(k)), Some(gradient)) => pool.add(&mut of_inputs[k], gradient),
                    _ => {}
                }
                let dy = s.output(&da);
                let x = fused.source(stage.input, shapes, before, inputs);
                let mut dw = vec![0.0; stage.conv.weight.elem_count()];
                weight_gradient(x, dy, s, &mut dw);
                insert(store, &stage.conv.weight, dw)?;
                let of_x = match stage.input {
                    From::Input(k) if !wanted[k] => None,
                    From::Input(k) => Some((&mut of_inputs[k], None)),
                    From::Stage(j) => {
                        let summed = !fused.stages[j].materialised && fused.stages[j].norm.is_some();
                        Some((&mut of_stages[j], summed.then_some(&before[j])))
                    }
                };
                if let Some((of_x, summed)) = of_x {
                    let mut dx = pool.take(grouped_len(&[s.batch, s.in_channels, s.height, s.width]));
                    let strips = back.to_input(dy, summed, &mut dx, weight)?;
                    if let (From::Stage(j), true) = (stage.input, summed.is_some()) {
                        sums[j] = Some(strips);
                    }
                    pool.add(of_x, dx);
                }
                pool.give(da);
            }
            Ok(())
        })?;
        done?;
        let plain = |(input, gradient): (&Tensor, Option<Values>)| -> Result<Option<Tensor>> {
            let Some(gradient) = gradient else { return Ok(None) };
            let (_, channels, height, width) = input.dims4()?;
            let mut values = vec![0.0; input.elem_count()];
            from_groups(&gradient, channels, height * width, &mut values);
            pool.give(gradient);
            Ok(Some(Tensor::from_vec(values, input.dims(), &Device::Cpu)?))
        };
        let of_inputs = self.inputs.iter().zip(of_inputs).map(plain).collect::<Result<_>>()?;
        *free = pool.0;
        fused.give_back(self.workspace);
        Ok(of_inputs)
    }
}

/// The way back through one stage.
struct Back<'a> {
    stage: &'a FusedStage,
    s: &'a ConvShape,
    step: Step,
    buffers: &'a Buffers,
}

impl Back<'_> {
    /// From the gradient of the stage's output to that of its convolution, and to that of what was added; those of the
    /// normalisation and the bias go to `store`. `sums` are there when they were taken on the way.
    fn to_convolution(
        &self,
        mut dz: Values,
        skip: Option<&[f32]>,
        sums: Option<GroupSums>,
        pool: &mut Pool,
        store: &mut GradStore,
    ) -> Result<(Values, Option<Values>)> {
        let Self { stage, s, buffers, .. } = *self;
        let tail = stage.tail(s, Some(self.step));
        let of_image = groups(s.out_channels);
        let y = &buffers.y[..s.batch * of_image * s.out_area() * GROUP];
        let in_groups = |planes: Vec<Sums>| {
            planes.into_iter().enumerate().map(|(i, sums)| (i % of_image, sums)).collect()
        };
        let joined = !stage.is_simple();
        let sums: GroupSums = match sums {
            Some(sums) => sums,
            None if joined => {
                let mut dn = pool.take(y.len());
                let planes = tail.backward_joined(y, &buffers.norms, skip, &mut dz, &mut dn);
                pool.give(std::mem::replace(&mut dz, dn));
                in_groups(planes)
            }
            None => in_groups(tail.backward_sums(y, &buffers.norms, &mut dz)),
        };
        let of_skip = skip.map(|_| {
            let mut copy = pool.take(dz.len());
            copy.par_chunks_mut(1 << 14)
                .zip(dz.par_chunks(1 << 14))
                .for_each(|(to, from)| to.copy_from_slice(from));
            copy
        });
        let slopes = self.norm_gradients(&sums, s.batch * s.out_area(), store)?;
        let planes = if stage.pool && !joined {
            let mut da = pool.take(y.len());
            let planes = tail.backward_pooled(y, &buffers.norms, &slopes, stage.activation, &dz, &mut da);
            pool.give(std::mem::replace(&mut dz, da));
            planes
        } else {
            tail.backward_in_place(y, &slopes, stage.activation, &mut dz)
        };
        if let Some(bias) = &stage.conv.bias {
            let mut of_bias = vec![0.0_f64; of_image * GROUP];
            for (plane, sums) in planes.iter().enumerate() {
                let lanes = &mut of_bias[plane % of_image * GROUP..][..GROUP];
                lanes.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
            }
            insert(store, bias, of_bias[..s.out_channels].iter().map(|&v| v as f32).collect())?;
        }
        Ok((dz, of_skip))
    }

    /// The gradients of gamma and beta, and what the input's gradient needs, from sums over `count` values.
    fn norm_gradients(&self, sums: &GroupSums, count: usize, store: &mut GradStore) -> Result<Vec<Slopes>> {
        let buffers = self.buffers;
        let Some(norm) = &self.stage.norm else { return Ok(vec![Slopes::IDENTITY; buffers.norms.len()]) };
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

    /// The gradient of the convolution's input, to `dx`; with the sums for the normalisation of the stage `before`, whose
    /// output the input is.
    fn to_input(
        &self,
        dy: Images,
        before: Option<&Buffers>,
        dx: &mut [f32],
        kernel: &mut Transformed,
    ) -> Result<GroupSums> {
        let s = self.s;
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
        read(&self.stage.conv.weight, |values| {
            convolve_back(dy, Weight { values, constant: false, kernel }, s, dx, finish)
        })
    }
}

fn insert(store: &mut GradStore, variable: &Tensor, gradient: Vec<f32>) -> Result<()> {
    if variable.is_variable() {
        let gradient = Tensor::from_vec(gradient, variable.shape(), &Device::Cpu)?;
        let sum = match store.get(variable) {
            Some(before) => (before + gradient)?,
            None => gradient,
        };
        store.insert(variable, sum);
    }
    Ok(())
}
