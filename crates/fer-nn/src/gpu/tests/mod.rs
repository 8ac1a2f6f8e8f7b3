//! Networks on the emulated card against the same on the CPU, whose layers are checked against f64 one by one.

#![allow(clippy::arc_with_non_send_sync, reason = "an emulated card stays with its thread")]

mod batches;
mod chains;
mod graphs;
mod optimizer;
mod planar;
mod training;

use std::cell::LazyCell;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::VarMap;
use fer_rand::{Purpose, Stream};

use super::Training;
use super::emulator::Emulator;
use crate::engine::{Engine, EpochPlan, Rule, Samples, Setup, StepResult, Treatment, Update};
use crate::{Compute, Graph, Network, Precision, Step};

/// A network that is made twice, of variables of its own each time, and what it is trained on.
struct Subject<'a> {
    network: &'a dyn Fn(&VarMap) -> Result<Graph>,
    samples: Samples,
    label_smoothing: f64,
    class_weights: Option<Vec<f64>>,
}

impl Subject<'_> {
    fn setup(&self) -> Setup<'_> {
        Setup {
            train: &self.samples,
            valid: Some(&self.samples),
            treatment: Treatment::default(),
            label_smoothing: self.label_smoothing,
            class_weights: self.class_weights.as_deref(),
            seed: 42,
            rule: Rule::Adaptive,
            decays_all: false,
            averages: false,
        }
    }

    /// The network, its variables not at their initial values, where a mistake in their use could hide.
    fn network(&self, vars: &VarMap) -> Result<Graph> {
        let network = (self.network)(vars)?;
        for (i, var) in sorted(vars).iter().enumerate() {
            let noise = random(var.elem_count(), 100 + i as u32).iter().map(|v| 0.1 * v).collect::<Vec<_>>();
            let noise = Tensor::from_vec(noise, var.shape(), &Device::Cpu)?;
            var.set(&(var.as_tensor() + noise)?)?;
        }
        Ok(network)
    }

    fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        loss(logits, targets, self.label_smoothing, self.class_weights.as_deref())
    }
}

/// A training on the emulated card; `None` where there is none.
fn training(net: &Graph, setup: &Setup, precision: Precision) -> Result<Option<Training<Emulator>>> {
    let Some(emulator) = Emulator::new() else { return Ok(None) };
    let compute = Compute { precision, deterministic: false };
    let training = Training::new(net.plan()?, Arc::new(emulator), setup, compute)?;
    Ok(Some(training.unwrap_or_else(|unsupported| panic!("{unsupported:?}"))))
}

fn random(n: usize, item: u32) -> Vec<f32> {
    let stream = Stream { seed: 5, purpose: Purpose::named("test"), epoch: 0, item };
    let value = |i: usize| {
        stream.block(i as u32).iter().map(|&word| word as f32 / u32::MAX as f32 - 0.5).sum::<f32>()
    };
    (0..n).map(value).collect()
}

fn sorted(vars: &VarMap) -> Vec<Var> {
    let vars = vars.data().lock().unwrap();
    let mut names: Vec<_> = vars.iter().collect();
    names.sort_by_key(|(name, _)| name.to_string());
    names.into_iter().map(|(_, var)| var.clone()).collect()
}

/// Random images with labels.
fn samples(count: usize, (height, width): (usize, usize), classes: usize, batch_size: usize) -> Samples {
    let pixels = random(count * height * width, 1).iter().map(|v| (v * 60.0 + 128.0) as u8).collect();
    let labels: Vec<u32> = (0..count).map(|i| (i * 7 % classes) as u32).collect();
    let targets = Samples::one_hot(&labels, classes);
    Samples { pixels, targets, classes, height, width, batch_size, drop_last: false }
}

/// An epoch in an order of its own, images as they are.
fn plan(samples: usize, epoch: u32) -> EpochPlan {
    let stream = Stream { seed: 1, purpose: Purpose::named("order"), epoch, item: 0 };
    let order = stream.rng().permutation(samples).into_iter().map(|i| i as u32).collect();
    EpochPlan { order, ..Default::default() }
}

/// The images and targets of a batch on the CPU.
fn batch(samples: &Samples, rows: &[u32]) -> Result<(Tensor, Tensor)> {
    let (area, classes) = (samples.height * samples.width, samples.classes);
    let image =
        |&row: &u32| samples.pixels[row as usize * area..][..area].iter().map(|&v| f32::from(v) / 255.0);
    let pixels: Vec<f32> = rows.iter().flat_map(image).collect();
    let target = |&row: &u32| samples.targets[row as usize * classes..][..classes].to_vec();
    let targets: Vec<f32> = rows.iter().flat_map(target).collect();
    let images = Tensor::from_vec(pixels, (rows.len(), 1, samples.height, samples.width), &Device::Cpu)?;
    Ok((images, Tensor::from_vec(targets, (rows.len(), classes), &Device::Cpu)?))
}

/// The sum of the losses of a batch.
fn loss(logits: &Tensor, targets: &Tensor, smoothing: f64, weights: Option<&[f64]>) -> Result<Tensor> {
    let classes = logits.dim(1)?;
    let mut smoothed = targets.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    for row in &mut smoothed {
        let weight = weights
            .map_or(1.0, |weights| row.iter().zip(weights).map(|(share, weight)| share * weight).sum());
        row.iter_mut().for_each(|share| {
            *share = weight * (*share * (1.0 - smoothing) + smoothing / classes as f64);
        });
    }
    let targets = Tensor::from_vec(smoothed.concat(), logits.shape(), &Device::Cpu)?.to_dtype(DType::F32)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
    let log_softmax = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(1)?.log()?)?;
    (log_softmax * targets)?.sum_all()?.neg()
}

fn correct(logits: &Tensor, targets: &Tensor) -> Result<u32> {
    let first_of_largest = |row: &Vec<f32>| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter().position(|&v| v == largest)
    };
    let (predicted, wanted) = (logits.to_vec2::<f32>()?, targets.to_vec2::<f32>()?);
    let hit = |(a, b): &(&Vec<f32>, &Vec<f32>)| first_of_largest(a) == first_of_largest(b);
    Ok(predicted.iter().zip(&wanted).filter(hit).count() as u32)
}

/// `‖a − b‖ / ‖b‖`
fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
    let [a, b] = [a, b].map(|t| t.to_dtype(DType::F64)?.flatten_all());
    let (a, b) = (a?, b?);
    let error = (&a - &b)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
    Ok(error / b.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt().max(1e-6))
}

/// Makes every weight off by up to one part in 10⁶, as the roundings of a kernel are.
fn nudge(vars: &VarMap, item: u32) -> Result<()> {
    for (i, var) in sorted(vars).iter().enumerate() {
        let noise = random(var.elem_count(), 1000 * item + i as u32);
        let values = var.flatten_all()?.to_vec1::<f32>()?;
        let nudged: Vec<f32> = values.iter().zip(noise).map(|(value, n)| value * (1.0 + 5e-7 * n)).collect();
        var.set(&Tensor::from_vec(nudged, var.shape(), &Device::Cpu)?)?;
    }
    Ok(())
}

/// An update that changes nothing and leaves the gradient in the first moment.
fn observe() -> Update {
    Update { new_in_mean: 1.0, epsilon: 1.0, ..Default::default() }
}

/// One step on all samples: every gradient, the loss, the hits and the moving statistics against the CPU's.
fn check_gradients(subject: &Subject, precision: Precision, tolerance: f64) -> Result<()> {
    let (vars, reference) = (VarMap::new(), VarMap::new());
    let (net, cpu) = (subject.network(&vars)?, subject.network(&reference)?);
    let samples = Samples { batch_size: subject.samples.len(), ..subject.samples.clone() };
    let setup = Setup { train: &samples, valid: None, ..subject.setup() };
    let Some(mut training) = training(&net, &setup, precision)? else { return Ok(()) };
    let plan = plan(samples.len(), 3);
    // From the second time on, memory is full of what was left there.
    training.begin(2, &plan)?;
    training.train(0..1, &[observe()])?;
    training.begin(3, &plan)?;
    let results = training.train(0..1, &[observe()])?;
    training.store()?;

    let (images, targets) = batch(&samples, &plan.order)?;
    let mut logits = None;
    let step = Step { seed: 42, epoch: 3, step: 0 };
    let gradients = cpu.gradients(&images, step, &mut |l| {
        logits = Some(l.detach());
        subject.loss(l, &targets)? / samples.len() as f64
    })?;
    let logits = logits.unwrap();
    // What roundings of the weights do to the CPU's own gradients, variable by variable.
    let nudged = LazyCell::new(|| {
        let gradients_of = |item| -> Result<Vec<Option<Tensor>>> {
            let vars = VarMap::new();
            let network = subject.network(&vars)?;
            nudge(&vars, item)?;
            let loss = &mut |l: &Tensor| subject.loss(l, &targets)? / samples.len() as f64;
            let gradients = network.gradients(&images, step, loss)?;
            Ok(sorted(&vars).iter().map(|var| gradients.get(var).cloned()).collect())
        };
        (1..=8).map(gradients_of).collect::<Result<Vec<_>>>().expect("gradients")
    });
    let sum = f64::from(subject.loss(&logits, &targets)?.to_scalar::<f32>()?);
    let [StepResult { samples: n, loss, correct: hits }] = results[..] else { panic!("{results:?}") };
    assert_eq!(n, samples.len());
    assert!((loss - sum).abs() <= tolerance * sum.abs().max(1.0), "loss {loss}, on the CPU {sum}");
    if precision == Precision::F32 {
        assert_eq!(hits, correct(&logits, &targets)?);
    }

    let slots = training.slots()?;
    let mut trained = 0;
    let norm_of = |g: &Tensor| -> Result<f32> { Ok(g.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt()) };
    let mut largest = 0.0_f32;
    for gradient in sorted(&reference).iter().filter_map(|var| gradients.get(var)) {
        largest = largest.max(norm_of(gradient)?);
    }
    for (i, (var, cpu)) in sorted(&vars).iter().zip(sorted(&reference)).enumerate() {
        match gradients.get(&cpu) {
            Some(wanted) => {
                let slot = slots.iter().find(|slot| slot.variable == var.id()).expect("its slots");
                let found = slot.m.as_ref().expect("its gradient");
                // A bias before a normalisation has a gradient of nothing but rounding.
                let norm = norm_of(wanted)?.max(0.1 * largest);
                let error = norm_of(&(found - wanted)?)?;
                trained += 1;
                if f64::from(error) <= tolerance * f64::from(norm) {
                    continue;
                }
                // So has all that is behind dead units, and some inputs lie so near a ReLU's zero that a rounding decides.
                let mut rounding = 0.0_f32;
                for nudged in nudged.iter() {
                    rounding = rounding.max(norm_of(&(nudged[i].as_ref().expect("its gradient") - wanted)?)?);
                }
                assert!(
                    error <= 1.5 * rounding,
                    "{:?} {error} of {norm}, where roundings of the weights make {rounding}",
                    var.shape()
                );
            }
            None => {
                let error = distance(var, &cpu)?;
                assert!(error <= tolerance, "moving {:?} {error}", var.shape());
            }
        }
    }
    assert_eq!(trained, slots.len());
    Ok(())
}
