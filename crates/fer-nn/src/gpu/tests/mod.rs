//! Networks on the emulated card against the same on the CPU, whose layers are checked against f64 one by one.

#![allow(clippy::arc_with_non_send_sync, reason = "an emulated card stays with its thread")]

mod batches;
mod layers;
mod training;

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::VarMap;
use fer_rand::{Purpose, Stream};
use proptest::prelude::*;

use super::emulator::Emulator;
use super::{Chain, Inference, Training};
use crate::on_device::{BatchResult, Edge, EpochPlan, OnDevice, Samples, Setup, Stretch, Update, Warp};
use crate::{
    Activation, BatchNormConfig, Compute, Conv2dConfig, DenseConfig, Layer, Mode, Network, Padding,
    Precision, Sequential, Step, batch_norm, conv2d, dense, dropout, var_builder,
};

/// A convolution and what follows it.
#[derive(Clone, Copy, Debug)]
struct Block {
    filters: usize,
    kernel: usize,
    padding: Padding,
    activation: Activation,
    norm: bool,
    pool: bool,
    rate: f32,
}

/// A network and its data.
#[derive(Clone, Debug)]
struct Case {
    size: (usize, usize),
    blocks: Vec<Block>,
    units: usize,
    classes: usize,
    samples: usize,
    batch_size: usize,
    label_smoothing: f64,
    class_weights: Option<Vec<f64>>,
}

/// The notebook's network, narrow: as many filters as vectors of four hold, and one more where they do not.
fn dcnn(filters: usize) -> Case {
    let block = |filters, kernel, pool, rate| Block {
        filters,
        kernel,
        padding: Padding::Same,
        activation: Activation::Elu,
        norm: true,
        pool,
        rate,
    };
    Case {
        size: (12, 12),
        blocks: vec![
            block(filters, 5, false, 0.0),
            block(filters, 5, true, 0.4),
            block(2 * filters, 3, false, 0.0),
            block(2 * filters, 3, true, 0.5),
        ],
        units: 12,
        classes: 3,
        samples: 11,
        batch_size: 4,
        label_smoothing: 0.0,
        class_weights: None,
    }
}

impl Case {
    fn network(&self, vars: &VarMap) -> Result<Sequential> {
        let vb = var_builder(vars, 7, &Device::Cpu);
        let norm =
            |n, name: String| batch_norm(n, BatchNormConfig::default(), vb.pp(name)).map(Layer::BatchNorm);
        let mut layers = Vec::new();
        let (mut channels, (mut height, mut width)) = (1, self.size);
        for (i, block) in self.blocks.iter().enumerate() {
            let config = Conv2dConfig { padding: block.padding, stride: 1, activation: block.activation };
            let conv = conv2d(channels, block.filters, block.kernel, config, vb.pp(format!("conv_{i}")))?;
            layers.push(Layer::Conv2d(conv));
            channels = block.filters;
            if block.padding == Padding::Valid {
                (height, width) = (height + 1 - block.kernel, width + 1 - block.kernel);
            }
            if block.norm {
                layers.push(norm(channels, format!("norm_{i}"))?);
            }
            if block.pool {
                layers.push(Layer::MaxPool2d { size: 2, stride: 2 });
                (height, width) = (height / 2, width / 2);
            }
            if block.rate > 0.0 {
                layers.push(Layer::Dropout(dropout(block.rate, &format!("dropout_{i}"))?));
            }
        }
        layers.push(Layer::Flatten);
        let elu = DenseConfig { activation: Activation::Elu, ..Default::default() };
        layers.push(Layer::Dense(dense(channels * height * width, self.units, elu, vb.pp("dense"))?));
        layers.push(norm(self.units, "norm".into())?);
        layers.push(Layer::Dropout(dropout(0.3, "dropout")?));
        layers.push(Layer::Dense(dense(self.units, self.classes, Default::default(), vb.pp("out"))?));
        // Not at their initial values, where a mistake in their use could hide.
        for (i, var) in sorted(vars).iter().enumerate() {
            let noise = random(var.elem_count(), 100 + i as u32).iter().map(|v| 0.1 * v).collect::<Vec<_>>();
            let noise = Tensor::from_vec(noise, var.shape(), &Device::Cpu)?;
            var.set(&(var.as_tensor() + noise)?)?;
        }
        Ok(Sequential::new(layers))
    }

    fn samples(&self) -> Samples {
        let (height, width) = self.size;
        let pixels =
            random(self.samples * height * width, 1).iter().map(|v| (v * 60.0 + 128.0) as u8).collect();
        let labels = (0..self.samples).map(|i| (i * 7 % self.classes) as u32).collect();
        Samples { pixels, labels, height, width, batch_size: self.batch_size }
    }
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

/// An epoch in an order of its own, images as they are.
fn plan(samples: usize, epoch: u32) -> EpochPlan {
    let stream = Stream { seed: 1, purpose: Purpose::named("order"), epoch, item: 0 };
    let order = stream.rng().permutation(samples).into_iter().map(|i| i as u32).collect();
    EpochPlan { order, warps: vec![Warp::default(); samples], tones: Vec::new() }
}

/// The images and labels of a batch on the CPU.
fn batch(samples: &Samples, rows: &[u32]) -> Result<(Tensor, Vec<u32>)> {
    let area = samples.height * samples.width;
    let image =
        |&row: &u32| samples.pixels[row as usize * area..][..area].iter().map(|&v| f32::from(v) / 255.0);
    let pixels: Vec<f32> = rows.iter().flat_map(image).collect();
    let labels = rows.iter().map(|&row| samples.labels[row as usize]).collect();
    Ok((Tensor::from_vec(pixels, (rows.len(), 1, samples.height, samples.width), &Device::Cpu)?, labels))
}

/// The sum of the losses of a batch.
fn loss(logits: &Tensor, labels: &[u32], smoothing: f64, weights: Option<&[f64]>) -> Result<Tensor> {
    let classes = logits.dim(1)?;
    let mut targets = vec![smoothing / classes as f64; labels.len() * classes];
    for (row, &label) in targets.chunks_mut(classes).zip(labels) {
        row[label as usize] += 1.0 - smoothing;
        row.iter_mut().for_each(|t| *t *= weights.map_or(1.0, |weights| weights[label as usize]));
    }
    let targets = Tensor::from_vec(targets, logits.shape(), &Device::Cpu)?.to_dtype(DType::F32)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
    let log_softmax = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(1)?.log()?)?;
    (log_softmax * targets)?.sum_all()?.neg()
}

fn correct(logits: &Tensor, labels: &[u32]) -> Result<u32> {
    let predicted: Vec<u32> = logits.argmax(1)?.to_vec1()?;
    Ok(predicted.iter().zip(labels).filter(|(a, b)| a == b).count() as u32)
}

/// `‖a − b‖ / ‖b‖`
fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
    let [a, b] = [a, b].map(|t| t.to_dtype(DType::F64)?.flatten_all());
    let (a, b) = (a?, b?);
    let error = (&a - &b)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
    Ok(error / b.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt().max(1e-6))
}

fn training(
    case: &Case,
    net: &Sequential,
    samples: &Samples,
    precision: Precision,
) -> Result<Option<Training<Emulator>>> {
    toned_training(case, net, samples, precision, None)
}

fn toned_training(
    case: &Case,
    net: &Sequential,
    samples: &Samples,
    precision: Precision,
    tones: Option<Stretch>,
) -> Result<Option<Training<Emulator>>> {
    let Some(emulator) = Emulator::new() else { return Ok(None) };
    let setup = Setup {
        train: samples,
        valid: Some(samples),
        edge: Edge::Nearest,
        tones,
        label_smoothing: case.label_smoothing,
        class_weights: case.class_weights.as_deref(),
        seed: 42,
    };
    let chain = Chain::of(net.layers()).expect("a chain");
    let compute = Compute { precision, deterministic: false };
    Training::new(chain, Arc::new(emulator), &setup, compute)
}

/// An update that changes nothing and leaves the gradient in the first moment.
const OBSERVE: Update = Update {
    new_in_mean: 1.0,
    new_in_square: 0.0,
    of_mean: 0.0,
    of_gradient: 0.0,
    of_square: 0.0,
    epsilon: 1.0,
};

/// One step on all samples: every gradient, the loss, the hits and the moving statistics against the CPU's.
fn check_gradients(case: &Case, precision: Precision, tolerance: f64) -> Result<()> {
    let (vars, reference) = (VarMap::new(), VarMap::new());
    let (net, cpu) = (case.network(&vars)?, case.network(&reference)?);
    let case = Case { batch_size: case.samples, ..case.clone() };
    let samples = case.samples();
    let Some(mut training) = training(&case, &net, &samples, precision)? else { return Ok(()) };
    let plan = plan(case.samples, 3);
    let results = training.train(3, 0, &plan, &[OBSERVE])?;

    let (images, labels) = batch(&samples, &plan.order)?;
    let mut logits = None;
    let gradients = cpu.gradients(&images, Step { seed: 42, epoch: 3, step: 0 }, &mut |l| {
        logits = Some(l.detach());
        loss(l, &labels, case.label_smoothing, case.class_weights.as_deref())? / labels.len() as f64
    })?;
    let logits = logits.unwrap();
    let sum = loss(&logits, &labels, case.label_smoothing, case.class_weights.as_deref())?;
    let sum = f64::from(sum.to_scalar::<f32>()?);
    let [BatchResult { samples: n, loss, correct: hits }] = results[..] else { panic!("{results:?}") };
    assert_eq!(n, case.samples);
    assert!((loss - sum).abs() <= tolerance * sum.abs().max(1.0), "loss {loss}, on the CPU {sum}");
    if precision == Precision::F32 {
        assert_eq!(hits, correct(&logits, &labels)?);
    }

    let moments = training.moments()?;
    let mut trained = 0;
    let norm_of = |g: &Tensor| -> Result<f32> { Ok(g.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt()) };
    let mut largest = 0.0_f32;
    for gradient in sorted(&reference).iter().filter_map(|var| gradients.get(var)) {
        largest = largest.max(norm_of(gradient)?);
    }
    for (var, cpu) in sorted(&vars).iter().zip(sorted(&reference)) {
        match gradients.get(&cpu) {
            Some(wanted) => {
                let found = &moments.iter().find(|m| m.variable == var.id()).expect("its moments").m;
                // A bias before a normalisation has a gradient of nothing but rounding.
                let norm = norm_of(wanted)?.max(0.1 * largest);
                let error = norm_of(&(found - wanted)?)?;
                assert!(
                    f64::from(error) <= tolerance * f64::from(norm),
                    "{:?} {error} of {norm}",
                    var.shape()
                );
                trained += 1;
            }
            None => {
                let error = distance(var, &cpu)?;
                assert!(error <= tolerance, "moving {:?} {error}", var.shape());
            }
        }
    }
    assert_eq!(trained, moments.len());
    Ok(())
}

fn block() -> impl Strategy<Value = Block> {
    let activation = prop_oneof![Just(Activation::Elu), Just(Activation::Relu), Just(Activation::Linear)];
    let padding = prop_oneof![4 => Just(Padding::Same), 1 => Just(Padding::Valid)];
    let kernel = prop_oneof![Just(1_usize), Just(3), Just(5)];
    let rate = prop_oneof![Just(0.0_f32), Just(0.4)];
    (1..21_usize, kernel, padding, activation, any::<bool>(), any::<bool>(), rate).prop_map(
        |(filters, kernel, padding, activation, norm, pool, rate)| Block {
            filters,
            kernel,
            padding,
            activation,
            norm,
            pool,
            rate,
        },
    )
}

/// Of four samples and more: the normalisation of a dense layer's one or two outputs has gradients of nothing but
/// rounding.
fn case() -> impl Strategy<Value = Case> {
    let weights = prop_oneof![Just(None), Just(Some(vec![0.5, 1.5, 1.0, 2.0]))];
    (
        (10..15_usize, 10..15_usize),
        prop::collection::vec(block(), 1..3),
        (1..9_usize, 2..5_usize, 4..9_usize),
        (prop_oneof![Just(0.0), Just(0.1)], weights),
    )
        .prop_map(|(size, blocks, (units, classes, samples), (label_smoothing, weights))| Case {
            size,
            blocks,
            units,
            classes,
            samples,
            batch_size: 4,
            label_smoothing,
            class_weights: weights.map(|weights: Vec<f64>| weights[..classes].to_vec()),
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_gradient_of_any_chain_is_the_cpus(case in case()) {
        check_gradients(&case, Precision::F32, 1e-4).unwrap();
    }
}

#[test]
fn the_notebooks_network_has_the_cpus_gradients() {
    for filters in [8, 5] {
        check_gradients(&dcnn(filters), Precision::F32, 1e-4).unwrap();
    }
}

#[test]
fn in_bfloat16_the_gradients_are_those_to_its_rounding() {
    for filters in [8, 5] {
        let mut case = dcnn(filters);
        // Where neighbours round to the same, a window's maximum may be another, and its gradient goes elsewhere.
        check_gradients(&case, Precision::Bf16, 0.4).unwrap();
        case.blocks.iter_mut().for_each(|block| block.pool = false);
        check_gradients(&case, Precision::Bf16, 0.05).unwrap();
    }
}

#[test]
fn inference_is_the_cpus_in_any_batch() {
    let Some(emulator) = Emulator::new() else { return };
    let emulator = Arc::new(emulator);
    for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.03)] {
        let vars = VarMap::new();
        let case = dcnn(8);
        let net = case.network(&vars).unwrap();
        let chain = Chain::of(net.layers()).unwrap();
        let mut inference =
            Inference::new(chain, emulator.clone(), [5, 1, 12, 12], precision).unwrap().unwrap();
        assert!(
            inference.takes([4, 1, 12, 12])
                && !inference.takes([6, 1, 12, 12])
                && !inference.takes([4, 1, 12, 13])
        );
        for (call, n) in [5, 3, 5, 5, 3, 3, 1].into_iter().enumerate() {
            let images =
                Tensor::from_vec(random(n * 144, call as u32), (n, 1, 12, 12), &Device::Cpu).unwrap();
            let (found, wanted) =
                (inference.forward(&images).unwrap(), net.forward(&images, Mode::Eval).unwrap());
            assert_eq!(found.dims(), [n, 3]);
            let error = distance(&found, &wanted).unwrap();
            assert!(error < tolerance, "{precision} batch {n}: {error}");
        }
    }
}

#[test]
fn other_networks_are_no_chain() {
    let vars = VarMap::new();
    let vb = var_builder(&vars, 1, &Device::Cpu);
    let out = || dense(8, 3, DenseConfig::default(), vb.pp("out")).map(Layer::Dense).unwrap();
    let relu = Conv2dConfig { activation: Activation::Relu, ..Default::default() };
    let conv = || conv2d(1, 8, 3, relu, vb.pp("conv")).map(Layer::Conv2d).unwrap();
    assert!(Chain::of(&[conv(), Layer::Flatten, out()]).is_some());
    for layers in [
        vec![],
        vec![conv()],
        vec![conv(), out()],
        vec![Layer::Flatten],
        vec![conv(), Layer::MaxPool2d { size: 3, stride: 2 }, Layer::Flatten, out()],
        vec![conv(), Layer::Flatten, out(), Layer::Dropout(dropout(0.5, "last").unwrap())],
    ] {
        assert!(Chain::of(&layers).is_none(), "{layers:?}");
    }
    // An even kernel needs one more row of zeros below than above.
    let even = conv2d(1, 8, 4, relu, vb.pp("even")).map(Layer::Conv2d).unwrap();
    let chain = Chain::of(&[even, Layer::Flatten, out()]).unwrap();
    assert!(chain.geometry([1, 1, 1, 1], Precision::F32).unwrap().is_none());
}

#[test]
fn samples_that_do_not_fit_are_named() {
    let case = dcnn(4);
    let net = case.network(&VarMap::new()).unwrap();
    let error = |change: fn(&mut Samples)| {
        let mut samples = case.samples();
        change(&mut samples);
        training(&case, &net, &samples, Precision::F32).err().map(|e| e.to_string())
    };
    let Some(message) = error(|samples| samples.labels[4] = 3) else { return };
    assert!(message.starts_with("sample 4 has the label 3, but the network has 3 classes"), "{message}");
    assert!(
        error(|samples| samples.pixels.truncate(1583)).unwrap().contains("1583 pixels of 11 images of 12×12")
    );
    assert!(error(|samples| samples.batch_size = 0).is_some());
}
