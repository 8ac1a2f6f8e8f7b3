//! A sequence of layers against the same layers called in turn, which are checked against f64 one by one.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use candle_nn::VarMap;
use fer_nn::{
    Activation, BatchNormConfig, Conv2dConfig, Flatten, GlobalMean, Graph, Layer, MaxPool2d, MeanPool2d,
    Mode, Network, Padding, Sequential, Step, batch_norm, conv2d, dense, dropout, var_builder,
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
    /// A layer of its own, after the norm.
    after: Activation,
    pool: bool,
    rate: f32,
}

fn block() -> impl Strategy<Value = Block> {
    use Activation::*;
    let inside = prop_oneof![2 => Just(Elu), 1 => Just(Relu), 2 => Just(Linear), 1 => Just(LeakyRelu(0.1)), 1 => Just(Silu)];
    let after =
        prop_oneof![3 => Just(Linear), 1 => Just(Relu), 1 => Just(Silu), 1 => Just(Elu), 1 => Just(Sigmoid)];
    let explicit = Just(Padding::Explicit { top: 1, bottom: 2, left: 0, right: 1 });
    let padding = prop_oneof![4 => Just(Padding::Same), 1 => Just(Padding::Valid), 1 => explicit];
    let stride = prop_oneof![4 => Just(1), 1 => Just(2)];
    let config = (padding, stride, inside, any::<bool>()).prop_map(|(padding, stride, activation, bias)| {
        Conv2dConfig { padding, stride, activation, bias, groups: 1 }
    });
    let kernel = prop_oneof![Just(1), Just(3), Just(4), Just(5), Just(7)];
    let rate = prop_oneof![Just(0.0_f32), Just(0.4)];
    (1..40_usize, kernel, config, any::<bool>(), after, any::<bool>(), rate).prop_map(
        |(filters, kernel, config, norm, after, pool, rate)| Block {
            filters,
            kernel,
            config,
            norm,
            after,
            pool,
            rate,
        },
    )
}

fn layers(blocks: &[Block], global: bool, input: &[usize], vars: &VarMap) -> Result<Vec<Arc<dyn Layer>>> {
    let vb = var_builder(vars, 42, &Device::Cpu);
    let mut layers: Vec<Arc<dyn Layer>> = Vec::new();
    let mut channels = input[1];
    for (i, block) in blocks.iter().enumerate() {
        let conv = conv2d(channels, block.filters, block.kernel, block.config, vb.pp(format!("conv_{i}")))?;
        layers.push(Arc::new(conv));
        channels = block.filters;
        if block.norm {
            let norm = batch_norm(channels, BatchNormConfig::default(), vb.pp(format!("norm_{i}")))?;
            layers.push(Arc::new(norm));
        }
        if block.after != Activation::Linear {
            layers.push(Arc::new(block.after));
        }
        if block.pool {
            layers.push(Arc::new(MaxPool2d::new(2, 2)?));
        }
        if block.rate > 0.0 {
            layers.push(Arc::new(dropout(block.rate, &format!("dropout_{i}"))?));
        }
    }
    match global {
        true => layers.push(Arc::new(GlobalMean)),
        false => layers.push(Arc::new(Flatten)),
    }
    let features = layers
        .iter()
        .try_fold(Tensor::zeros(input, candle_core::DType::F32, &Device::Cpu)?, |xs, layer| {
            layer.forward(&xs, Mode::Eval)
        })?;
    layers.push(Arc::new(dense(features.dims()[1], 3, Default::default(), vb.pp("out"))?));
    Ok(layers)
}

/// The layers called in turn.
struct InTurn(Vec<Arc<dyn Layer>>);

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
            // Not symmetric, so that no gradient cancels in a normalisation; and steep at zero, which is what the mean of a
            // normalised image is.
            logits.affine(1.0, 0.7)?.sqr()?.affine(1.0, 0.5)?.sqr()?.sum_all()
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

/// The layers with every weight off by up to one part in 10⁶, as the roundings of a fast kernel are.
fn nudge(vars: &VarMap, random: &mut Random) {
    // In the order of their names, so that the same noise is drawn every time.
    let vars = vars.data().lock().unwrap();
    for var in vars.iter().collect::<BTreeMap<_, _>>().into_values() {
        let noise = tensor(&random.array(var.dims()));
        let nudged = (var.as_tensor() * noise.affine(1e-6, 1.0).unwrap()).unwrap();
        var.set(&nudged).unwrap();
    }
}

/// Asserts that a training gave the numbers of the layers called in turn, to rounding.
///
/// An input of a ReLU may be so near zero, or the two largest of a window so near each other, that a rounding decides which
/// way the gradient takes. What is off by more than rounding must be off as far when the weights are nudged.
fn assert_same(
    found: &BTreeMap<String, Vec<f32>>,
    in_turn: &dyn Fn(&VarMap) -> Box<dyn Network>,
    batches: &[Tensor],
) {
    let vars = VarMap::new();
    let expected = &train(&*in_turn(&vars), &vars, batches);
    let nudged = LazyCell::new(|| {
        let mut random = Random::new(1);
        let mut nudged = || {
            let vars = VarMap::new();
            let network = in_turn(&vars);
            nudge(&vars, &mut random);
            train(&*network, &vars, batches)
        };
        (0..32).map(|_| nudged()).collect::<Vec<_>>()
    });
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    // Some gradients are nothing but rounding: that of a bias before a normalisation, for one.
    let gradients = expected.iter().filter(|(name, _)| name.starts_with("gradient"));
    let largest = gradients.map(|(_, gradient)| norm(gradient.iter().copied())).fold(0.0, f64::max);
    for (name, expected) in expected {
        let found = &found[name];
        // Logits can be sums of values near 1 that cancel, of which f32 leaves a few 1e-7.
        let least = match name.split(' ').next() {
            Some("gradient") => 0.1 * largest,
            Some("logits" | "inference") => 1e-2,
            _ => 1e-3,
        };
        let error = norm(found.iter().zip(expected).map(|(a, b)| a - b));
        let size = norm(expected.iter().copied()).max(least);
        if error > 1e-4 * size {
            let off = |nudged: &BTreeMap<String, Vec<f32>>| {
                norm(nudged[name].iter().zip(expected).map(|(a, b)| a - b))
            };
            let rounding = nudged.iter().map(off).fold(0.0, f64::max);
            assert!(
                error <= 1.5 * rounding,
                "{name}: off by {error:e} of {size:e}, where rounding makes {rounding:e}"
            );
        }
    }
}

fn sequence(layers: Vec<Arc<dyn Layer>>) -> Sequential {
    let mut net = Sequential::new();
    layers.into_iter().for_each(|layer| net.push(layer));
    net
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn a_sequence_computes_what_its_layers_do(
        blocks in prop::collection::vec(block(), 1..4),
        global in any::<bool>(),
        (batch, channels, height, width) in (1..4_usize, 1..20_usize, 1..20_usize, 1..20_usize),
        seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let dims = [batch, channels, height, width];
        let vars = VarMap::new();
        let Ok(fused) = layers(&blocks, global, &dims, &vars) else { return Ok(()) };
        let in_turn = |vars: &VarMap| -> Box<dyn Network> {
            Box::new(InTurn(layers(&blocks, global, &dims, vars).unwrap()))
        };
        // The second batch is smaller: buffers hold more than it needs.
        let smaller = [batch.div_ceil(2), channels, height, width];
        let batches = [tensor(&random.array(&dims)), tensor(&random.array(&smaller))];
        assert_same(&train(&sequence(fused), &vars, &batches), &in_turn, &batches);
    }
}

/// Residual blocks with everything that a graph can have: branches, a projection, a layer that is called in the middle, an
/// addition of the images, an output inside.
struct Residual {
    stem: Arc<dyn Layer>,
    blocks: Vec<[Arc<dyn Layer>; 5]>,
    project: [Arc<dyn Layer>; 2],
    middle: Arc<dyn Layer>,
    last: [Arc<dyn Layer>; 3],
    out: Arc<dyn Layer>,
}

impl Residual {
    fn new(channels: usize, filters: usize, order: Activation, vars: &VarMap) -> Result<Self> {
        let vb = var_builder(vars, 3, &Device::Cpu);
        let plain = Conv2dConfig { bias: false, ..Default::default() };
        let conv = |inputs, outputs, kernel, config, name: &str| -> Result<Arc<dyn Layer>> {
            Ok(Arc::new(conv2d(inputs, outputs, kernel, config, vb.pp(name))?))
        };
        let norm = |channels, name: &str| -> Result<Arc<dyn Layer>> {
            Ok(Arc::new(batch_norm(channels, BatchNormConfig::pytorch(), vb.pp(name))?))
        };
        let strided = Conv2dConfig { stride: 2, ..plain };
        let block = |inputs, outputs, config, i: usize| -> Result<[Arc<dyn Layer>; 5]> {
            Ok([
                conv(inputs, outputs, 3, config, &format!("conv_{i}_1"))?,
                norm(outputs, &format!("norm_{i}_1"))?,
                Arc::new(order),
                conv(outputs, outputs, 3, plain, &format!("conv_{i}_2"))?,
                norm(outputs, &format!("norm_{i}_2"))?,
            ])
        };
        Ok(Self {
            stem: conv(channels, filters, 3, Default::default(), "stem")?,
            blocks: vec![block(filters, filters, plain, 0)?, block(filters, 2 * filters, strided, 1)?],
            project: [conv(filters, 2 * filters, 1, strided, "project")?, norm(2 * filters, "project_norm")?],
            middle: Arc::new(MeanPool2d::new(3, 1)?.padding(Padding::Same)),
            last: [
                conv(2 * filters, filters, 3, Default::default(), "last")?,
                Arc::new(dropout(0.3, "last_dropout")?),
                Arc::new(GlobalMean),
            ],
            out: Arc::new(dense(filters, 3, Default::default(), vb.pp("out"))?),
        })
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        let chain = |graph: &mut Graph, x, layers: &[Arc<dyn Layer>]| {
            layers.iter().fold(x, |x, layer| graph.add_shared(x, layer.clone()))
        };
        let images = graph.images();
        let mut x = graph.add_shared(images, self.stem.clone());
        for (i, block) in self.blocks.iter().enumerate() {
            let inner = chain(&mut graph, x, block);
            let skip = if i == 1 { chain(&mut graph, x, &self.project) } else { x };
            let sum = graph.sum(inner, skip);
            x = graph.add(sum, Activation::Relu);
        }
        let x = chain(&mut graph, x, std::slice::from_ref(&self.middle));
        let features = chain(&mut graph, x, &self.last);
        let logits = graph.add_shared(features, self.out.clone());
        graph.outputs([logits, x]);
        graph
    }
}

impl Network for Residual {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let chain = |x: &Tensor, layers: &[Arc<dyn Layer>]| {
            layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x, mode))
        };
        let mut x = self.stem.forward(images, mode)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let inner = chain(&x, block)?;
            let skip = if i == 1 { chain(&x, &self.project)? } else { x };
            x = (inner + skip)?.relu()?;
        }
        let x = self.middle.forward(&x, mode)?;
        self.out.forward(&chain(&x, &self.last)?, mode)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_graph_of_residual_blocks_computes_what_its_layers_do(
        (batch, channels, height, width) in (1..4_usize, 1..4_usize, 5..14_usize, 5..14_usize),
        filters in 1..20_usize,
        order in prop_oneof![Just(Activation::Relu), Just(Activation::Silu), Just(Activation::Elu)],
        seed in any::<u64>(),
    ) {
        check_residual([batch, channels, height, width], filters, order, seed);
    }
}

fn check_residual(dims: [usize; 4], filters: usize, order: Activation, seed: u64) {
    let [batch, channels, height, width] = dims;
    let mut random = Random::new(seed);
    let batches = [batch, batch.div_ceil(2)].map(|n| tensor(&random.array(&[n, channels, height, width])));
    let residual = |vars: &VarMap| Residual::new(channels, filters, order, vars).unwrap();
    let vars = VarMap::new();
    let graph = residual(&vars).graph();
    assert_same(&train(&graph, &vars, &batches), &|vars| Box::new(residual(vars)), &batches);
    let outputs = graph.forward_all(&batches[0], Mode::Eval).unwrap();
    assert_eq!(outputs[1].dims(), [batch, 2 * filters, height.div_ceil(2), width.div_ceil(2)]);
}

/// The fused kernel and the layers in turn round an input of a ReLU to different sides of zero.
#[test]
fn an_input_of_a_relu_within_rounding_of_zero_may_go_either_way() {
    check_residual([3, 2, 11, 8], 8, Activation::Relu, 16162699175710049866);
}

#[test]
fn an_input_of_other_channels_is_an_error_that_says_so() {
    let vars = VarMap::new();
    let vb = var_builder(&vars, 42, &Device::Cpu);
    let conv = conv2d(1, 8, 3, Default::default(), vb.pp("conv")).unwrap();
    let net = Sequential::new().add(conv).add(MaxPool2d::new(2, 2).unwrap());
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
