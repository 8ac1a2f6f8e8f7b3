//! Chains of convolutions and dense layers: random ones, and the notebook's.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use candle_nn::VarMap;
use proptest::prelude::*;

use super::super::Inference;
use super::super::emulator::Emulator;
use super::{Subject, check_gradients, distance, random, samples, training};
use crate::engine::Samples;
use crate::{
    Activation, BatchNormConfig, Conv2dConfig, DenseConfig, Flatten, Graph, MaxPool2d, Mode, Network,
    Padding, Precision, Sequential, batch_norm, conv2d, dense, dropout, var_builder,
};

/// A convolution and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    filters: usize,
    kernel: usize,
    padding: Padding,
    bias: bool,
    activation: Activation,
    norm: bool,
    /// After the norm.
    after: Activation,
    pool: bool,
    rate: f32,
}

/// A network and its data.
#[derive(Clone, Debug)]
pub struct Case {
    size: (usize, usize),
    blocks: Vec<Block>,
    units: usize,
    classes: usize,
    pub samples: usize,
    batch_size: usize,
    label_smoothing: f64,
    class_weights: Option<Vec<f64>>,
}

/// The notebook's network, narrow: as many filters as vectors of four hold, and one more where they do not.
pub fn dcnn(filters: usize) -> Case {
    let block = |filters, kernel, pool, rate| Block {
        filters,
        kernel,
        padding: Padding::Same,
        bias: true,
        activation: Activation::Elu,
        norm: true,
        after: Activation::Linear,
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
    /// Whether something is left of the images after all blocks.
    fn leaves_something(&self) -> bool {
        let along = |size: usize| {
            self.blocks.iter().try_fold(size, |size, block| {
                let cut = if block.padding == Padding::Valid { block.kernel - 1 } else { 0 };
                let left = size.checked_sub(cut)? / if block.pool { 2 } else { 1 };
                (left > 0).then_some(left)
            })
        };
        along(self.size.0).is_some() && along(self.size.1).is_some()
    }

    pub fn network(&self, vars: &VarMap) -> Result<Graph> {
        let vb = var_builder(vars, 7, &Device::Cpu);
        let mut net = Sequential::new();
        let (mut channels, (mut height, mut width)) = (1, self.size);
        for (i, block) in self.blocks.iter().enumerate() {
            let Block { padding, activation, bias, .. } = *block;
            let config = Conv2dConfig { padding, activation, bias, ..Default::default() };
            net = net.add(conv2d(channels, block.filters, block.kernel, config, vb.pp(format!("conv_{i}")))?);
            channels = block.filters;
            if block.padding == Padding::Valid {
                (height, width) = (height + 1 - block.kernel, width + 1 - block.kernel);
            }
            if block.norm {
                net = net.add(batch_norm(channels, BatchNormConfig::default(), vb.pp(format!("norm_{i}")))?);
            }
            if block.after != Activation::Linear {
                net = net.add(block.after);
            }
            if block.pool {
                net = net.add(MaxPool2d::new(2, 2)?);
                (height, width) = (height / 2, width / 2);
            }
            if block.rate > 0.0 {
                net = net.add(dropout(block.rate, &format!("dropout_{i}"))?);
            }
        }
        let elu = DenseConfig { activation: Activation::Elu, ..Default::default() };
        let net = net
            .add(Flatten)
            .add(dense(channels * height * width, self.units, elu, vb.pp("dense"))?)
            .add(batch_norm(self.units, BatchNormConfig::default(), vb.pp("norm"))?)
            .add(dropout(0.3, "dropout")?)
            .add(dense(self.units, self.classes, Default::default(), vb.pp("out"))?);
        Ok(net.graph().clone())
    }

    pub fn samples(&self) -> Samples {
        samples(self.samples, self.size, self.classes, self.batch_size)
    }

    /// Calls `work` with the network and its data.
    pub fn with<R>(&self, work: impl FnOnce(&Subject) -> R) -> R {
        work(&Subject {
            network: &|vars| self.network(vars),
            samples: self.samples(),
            label_smoothing: self.label_smoothing,
            class_weights: self.class_weights.clone(),
        })
    }
}

fn check(case: &Case, precision: Precision, tolerance: f64) {
    case.with(|subject| check_gradients(subject, precision, tolerance)).unwrap();
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        2 => Just(Activation::Elu),
        2 => Just(Activation::Relu),
        2 => Just(Activation::Linear),
        1 => Just(Activation::LeakyRelu(0.2)),
        1 => Just(Activation::Sigmoid),
        1 => Just(Activation::Silu),
    ]
}

fn block() -> impl Strategy<Value = Block> {
    let padding = prop_oneof![4 => Just(Padding::Same), 1 => Just(Padding::Valid)];
    let kernel = prop_oneof![Just(1_usize), Just(3), Just(5)];
    let rate = prop_oneof![Just(0.0_f32), Just(0.4)];
    let after = prop_oneof![2 => Just(Activation::Linear), 1 => activation()];
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.8));
    (1..21_usize, kernel, padding, activation(), after, flags, rate).prop_map(
        |(filters, kernel, padding, activation, after, (norm, pool, bias), rate)| {
            // One that its output does not tell is no part of what a norm follows.
            let activation =
                if norm && activation == Activation::Silu { Activation::Elu } else { activation };
            Block { filters, kernel, padding, bias, activation, norm, after, pool, rate }
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
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_gradient_of_any_chain_is_the_cpus(case in case()) {
        // Two activations in a row are not one stage.
        let two = |b: &Block| !b.norm && ![b.activation, b.after].contains(&Activation::Linear);
        prop_assume!(case.leaves_something() && !case.blocks.iter().any(two));
        check(&case, Precision::F32, 1e-4);
    }
}

/// Every unit of the second block is dead: what reaches the first is rounding.
#[test]
fn behind_dead_units_gradients_are_nothing_but_rounding() {
    let block = |filters, activation, pool| Block {
        filters,
        kernel: 1,
        padding: Padding::Same,
        bias: true,
        activation,
        norm: true,
        after: Activation::Linear,
        pool,
        rate: 0.0,
    };
    let case = Case {
        size: (12, 14),
        blocks: vec![block(7, Activation::Elu, true), block(3, Activation::Relu, false)],
        units: 7,
        classes: 2,
        samples: 5,
        batch_size: 4,
        label_smoothing: 0.0,
        class_weights: None,
    };
    check(&case, Precision::F32, 1e-4);
}

#[test]
fn the_notebooks_network_has_the_cpus_gradients() {
    for filters in [8, 5] {
        check(&dcnn(filters), Precision::F32, 1e-4);
    }
}

/// The first layer works on lines in pieces: three by one thread or two, two by five threads.
#[test]
fn wide_images_have_the_cpus_gradients() {
    for (filters, width) in [(2, 45), (4, 45), (5, 101)] {
        check(&Case { size: (9, width), ..dcnn(filters) }, Precision::F32, 1e-4);
    }
}

#[test]
fn in_bfloat16_the_gradients_are_those_to_its_rounding() {
    for filters in [8, 5] {
        let mut case = dcnn(filters);
        // Where neighbours round to the same, a window's maximum may be another, and its gradient goes elsewhere.
        check(&case, Precision::Bf16, 0.4);
        case.blocks.iter_mut().for_each(|block| block.pool = false);
        check(&case, Precision::Bf16, 0.05);
    }
}

#[test]
fn inference_is_the_cpus_in_any_batch() {
    let Some(emulator) = Emulator::new() else { return };
    let emulator = Arc::new(emulator);
    for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.03)] {
        let vars = VarMap::new();
        let net = dcnn(8).with(|subject| subject.network(&vars)).unwrap();
        let mut inference = Inference::new(net.plan().unwrap(), emulator.clone(), [5, 1, 12, 12], precision)
            .unwrap()
            .unwrap();
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
            assert_eq!(found[0].dims(), [n, 3]);
            let error = distance(&found[0], &wanted).unwrap();
            assert!(error < tolerance, "{precision} batch {n}: {error}");
        }
    }
}

#[test]
fn samples_that_do_not_fit_are_named() {
    let case = dcnn(4);
    let net = case.network(&VarMap::new()).unwrap();
    let error = |change: fn(&mut Samples)| {
        let mut samples = case.samples();
        change(&mut samples);
        case.with(|subject| {
            let setup = crate::engine::Setup { train: &samples, valid: None, ..subject.setup() };
            training(&net, &setup, Precision::F32).err().map(|e| e.to_string())
        })
    };
    let Some(message) = error(|samples| samples.classes = 11) else { return };
    assert!(message.starts_with("the targets are of 11 classes, the network gives 3"), "{message}");
    assert!(
        error(|samples| samples.pixels.truncate(1583)).unwrap().contains("1583 pixels of 11 images of 12×12")
    );
    assert!(error(|samples| samples.batch_size = 0).is_some());
}
