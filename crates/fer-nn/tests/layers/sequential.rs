//! A sequence of layers against the same layers called in turn, which are checked against f64 one by one.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};
use candle_nn::VarMap;
use fer_nn::{
    Activation, BatchNormConfig, Conv2dConfig, Layer, Mode, Network, Padding, Sequential, Step, batch_norm,
    conv2d, dense, dropout, var_builder,
};
use proptest::prelude::*;

use crate::compare::{Random, tensor, values};

/// A convolution and what follows it.
#[derive(Clone, Copy, Debug)]
struct Block {
    filters: usize,
    kernel: usize,
    config: Conv2dConfig,
    norm: bool,
    pool: bool,
    rate: f32,
}

fn block() -> impl Strategy<Value = Block> {
    let activation = prop_oneof![Just(Activation::Elu), Just(Activation::Relu), Just(Activation::Linear)];
    let padding = prop_oneof![4 => Just(Padding::Same), 1 => Just(Padding::Valid)];
    let config = (padding, prop_oneof![4 => Just(1), 1 => Just(2)], activation)
        .prop_map(|(padding, stride, activation)| Conv2dConfig { padding, stride, activation });
    let kernel = prop_oneof![Just(1), Just(3), Just(4), Just(5), Just(7)];
    let rate = prop_oneof![Just(0.0_f32), Just(0.4)];
    (1..40_usize, kernel, config, any::<bool>(), any::<bool>(), rate).prop_map(
        |(filters, kernel, config, norm, pool, rate)| Block { filters, kernel, config, norm, pool, rate },
    )
}

fn layers(blocks: &[Block], input: &[usize], vars: &VarMap) -> Result<Vec<Layer>> {
    let vb = var_builder(vars, 42, &Device::Cpu);
    let mut layers = Vec::new();
    let mut channels = input[1];
    for (i, block) in blocks.iter().enumerate() {
        let conv = conv2d(channels, block.filters, block.kernel, block.config, vb.pp(format!("conv_{i}")))?;
        layers.push(Layer::Conv2d(conv));
        channels = block.filters;
        if block.norm {
            let norm = batch_norm(channels, BatchNormConfig::default(), vb.pp(format!("norm_{i}")))?;
            layers.push(Layer::BatchNorm(norm));
        }
        if block.pool {
            layers.push(Layer::MaxPool2d { size: 2, stride: 2 });
        }
        if block.rate > 0.0 {
            layers.push(Layer::Dropout(dropout(block.rate, &format!("dropout_{i}"))?));
        }
    }
    layers.push(Layer::Flatten);
    let features = layers
        .iter()
        .try_fold(Tensor::zeros(input, candle_core::DType::F32, &Device::Cpu)?, |xs, layer| {
            layer.forward(&xs, Mode::Eval)
        })?;
    layers.push(Layer::Dense(dense(features.dims()[1], 3, Default::default(), vb.pp("out"))?));
    Ok(layers)
}

/// The layers called in turn.
struct InTurn(Vec<Layer>);

impl Network for InTurn {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        self.0.iter().try_fold(images.clone(), |xs, layer| layer.forward(&xs, mode))
    }
}

/// The logits, every gradient and the moving statistics of two steps, then the logits by the moving statistics.
fn train(network: &dyn Network, vars: &VarMap, batches: &[Tensor]) -> BTreeMap<String, Vec<f32>> {
    let mut all = BTreeMap::new();
    for (i, images) in batches.iter().enumerate() {
        let step = Step { seed: 1, epoch: 2, step: i as u32 };
        let loss = &mut |logits: &Tensor| {
            all.insert(format!("logits {i}"), values(logits));
            // Not symmetric, so that no gradient cancels in a normalisation.
            (logits * logits)?.affine(1.0, 0.5)?.sqr()?.sum_all()
        };
        let gradients = network.gradients(images, step, loss).unwrap();
        for (name, var) in vars.data().lock().unwrap().iter() {
            if let Some(gradient) = gradients.get(var) {
                all.insert(format!("gradient {i} of {name}"), values(gradient));
            }
            all.insert(format!("{name} after {i}"), values(var));
        }
    }
    all.insert("inference".into(), values(&network.forward(&batches[0], Mode::Eval).unwrap()));
    all
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_sequence_computes_what_its_layers_do(
        blocks in prop::collection::vec(block(), 1..4),
        (batch, channels, height, width) in (1..4_usize, 1..20_usize, 1..20_usize, 1..20_usize),
        seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let dims = [batch, channels, height, width];
        let vars = [VarMap::new(), VarMap::new()];
        let Ok(fused) = layers(&blocks, &dims, &vars[0]) else { return Ok(()) };
        let in_turn = layers(&blocks, &dims, &vars[1]).unwrap();
        // The second batch is smaller: buffers hold more than it needs.
        let smaller = [batch.div_ceil(2), channels, height, width];
        let batches = [tensor(&random.array(&dims)), tensor(&random.array(&smaller))];
        let found = train(&Sequential::new(fused), &vars[0], &batches);
        let expected = train(&InTurn(in_turn), &vars[1], &batches);
        prop_assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        // Some gradients are nothing but rounding: that of a bias before a normalisation, for one.
        let gradients = expected.iter().filter(|(name, _)| name.starts_with("gradient"));
        let largest = gradients.map(|(_, gradient)| norm(gradient.iter().copied())).fold(0.0, f64::max);
        for (name, expected) in &expected {
            let found = &found[name];
            let least = if name.starts_with("gradient") { 0.1 * largest } else { 1e-3 };
            let error = norm(found.iter().zip(expected).map(|(a, b)| a - b));
            let size = norm(expected.iter().copied()).max(least);
            prop_assert!(error <= 1e-4 * size, "{name}: off by {:e} of {size:e}", error / size);
        }
    }
}

#[test]
fn an_input_of_other_channels_is_an_error_that_says_so() {
    let vars = VarMap::new();
    let vb = var_builder(&vars, 42, &Device::Cpu);
    let conv = conv2d(1, 8, 3, Default::default(), vb.pp("conv")).unwrap();
    let net = Sequential::new(vec![Layer::Conv2d(conv), Layer::MaxPool2d { size: 2, stride: 2 }]);
    let images = |dims: [usize; 4]| Tensor::zeros(&dims, candle_core::DType::F32, &Device::Cpu).unwrap();
    for (dims, expected) in
        [([2, 3, 8, 8], "3 channels"), ([2, 1, 1, 8], "no 2×2 window"), ([0, 1, 8, 8], "fits")]
    {
        for mode in [Mode::Eval, Mode::Train(Step::default())] {
            let error = net.forward(&images(dims), mode).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
