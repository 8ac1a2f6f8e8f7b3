//! Networks with global means, strides, groups and additions against the CPU.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use candle_nn::VarMap;

use super::super::Inference;
use super::super::emulator::Emulator;
use super::super::sizes::{sizes, trainable};
use super::{Subject, check_gradients, distance, random, samples};
use crate::{
    Activation, BatchNormConfig, Conv2dConfig, DenseConfig, Flatten, GlobalMean, Graph, MaxPool2d,
    MeanPool2d, Mode, Padding, Precision, Sequential, batch_norm, conv2d, dense, dropout, var_builder,
};

const PLAIN: Conv2dConfig = Conv2dConfig {
    padding: Padding::Same,
    stride: 1,
    groups: 1,
    bias: false,
    activation: Activation::Linear,
};

/// Convolutions without biases, each with norm and activation, pooled and masked; a global mean before the output.
fn vgg(vars: &VarMap, activation: Activation) -> Result<Graph> {
    let vb = var_builder(vars, 3, &Device::Cpu);
    let mut net = Sequential::new();
    let mut channels = 1;
    for (block, filters) in [8, 12].into_iter().enumerate() {
        for i in 0..2 {
            let name = format!("{block}_{i}");
            net = net
                .add(conv2d(channels, filters, 3, PLAIN, vb.pp(format!("conv_{name}")))?)
                .add(batch_norm(filters, BatchNormConfig::pytorch(), vb.pp(format!("norm_{name}")))?)
                .add(activation);
            channels = filters;
        }
        net = net.add(MaxPool2d::new(2, 2)?).add(dropout(0.2, &format!("dropout_{block}"))?);
    }
    let net = net.add(GlobalMean).add(dropout(0.5, "dropout")?);
    Ok(net.add(dense(channels, 4, Default::default(), vb.pp("out"))?).graph().clone())
}

/// Basic blocks (He et al. 2016): a second one of half the size whose input is projected.
fn resnet(vars: &VarMap) -> Result<Graph> {
    let vb = var_builder(vars, 4, &Device::Cpu);
    let mut graph = Graph::new();
    let norm = |n, name: &str| batch_norm(n, BatchNormConfig::default(), vb.pp(name));
    let x = graph.images();
    let x = graph.add(x, conv2d(1, 8, 3, PLAIN, vb.pp("stem"))?);
    let x = graph.add(x, norm(8, "stem_norm")?);
    let mut x = graph.add(x, Activation::Relu);
    let mut channels = 8;
    for (block, (filters, stride)) in [(8, 1), (12, 2), (12, 1)].into_iter().enumerate() {
        let explicit = Conv2dConfig { padding: Padding::all(1), stride, ..PLAIN };
        let y = graph.add(x, conv2d(channels, filters, 3, explicit, vb.pp(format!("{block}_a")))?);
        let y = graph.add(y, norm(filters, &format!("{block}_a_norm"))?);
        let y = graph.add(y, Activation::Relu);
        let y = graph.add(y, conv2d(filters, filters, 3, PLAIN, vb.pp(format!("{block}_b")))?);
        let y = graph.add(y, norm(filters, &format!("{block}_b_norm"))?);
        if stride > 1 {
            let projection = Conv2dConfig { padding: Padding::Valid, stride, ..PLAIN };
            x = graph.add(x, conv2d(channels, filters, 1, projection, vb.pp(format!("{block}_p")))?);
            x = graph.add(x, norm(filters, &format!("{block}_p_norm"))?);
        }
        let sum = graph.sum(y, x);
        x = graph.add(sum, Activation::Relu);
        channels = filters;
    }
    let x = graph.add(x, GlobalMean);
    graph.add(x, dense(channels, 3, Default::default(), vb.pp("out"))?);
    Ok(graph)
}

/// What else there is: depthwise and pointwise convolutions, a value of several readers, a sum that no convolution takes
/// in, an addition that is pooled, and flattening.
fn mixed(vars: &VarMap) -> Result<Graph> {
    let vb = var_builder(vars, 5, &Device::Cpu);
    let mut graph = Graph::new();
    let images = graph.images();
    let stem = Conv2dConfig { bias: true, activation: Activation::LeakyRelu(0.1), ..PLAIN };
    let x = graph.add(images, conv2d(1, 6, 3, stem, vb.pp("stem"))?);
    let depthwise = Conv2dConfig { groups: 6, bias: true, ..PLAIN };
    let y = graph.add(x, conv2d(6, 6, 3, depthwise, vb.pp("depthwise"))?);
    let y = graph.add(y, batch_norm(6, BatchNormConfig::default(), vb.pp("norm"))?);
    let y = graph.add(y, Activation::Silu);
    let y = graph.add(y, conv2d(6, 6, 1, PLAIN, vb.pp("pointwise"))?);
    let z = graph.add(x, conv2d(6, 6, 3, Conv2dConfig { groups: 2, bias: true, ..PLAIN }, vb.pp("grouped"))?);
    let z = graph.add(z, Activation::Sigmoid);
    // Both have other readers, so that the sum is a stage of its own.
    let sum = graph.sum(y, z);
    let w = graph.add(z, conv2d(6, 6, 3, Conv2dConfig { bias: true, ..PLAIN }, vb.pp("last"))?);
    let w = graph.sum(w, y);
    let w = graph.sum(w, sum);
    let v = graph.add(w, conv2d(6, 5, 3, Conv2dConfig { bias: true, ..PLAIN }, vb.pp("to_pool"))?);
    let other = graph.add(w, conv2d(6, 5, 1, PLAIN, vb.pp("beside"))?);
    let v = graph.sum(v, other);
    let v = graph.add(v, MaxPool2d::new(2, 2)?);
    let v = graph.add(v, dropout(0.3, "pooled")?);
    let v = graph.add(v, Flatten);
    let elu = DenseConfig { activation: Activation::Elu, bias: false, ..Default::default() };
    let v = graph.add(v, dense(5 * 4 * 4, 7, elu, vb.pp("dense"))?);
    let u = graph.add(v, dense(7, 7, Default::default(), vb.pp("inner"))?);
    let v = graph.sum(u, v);
    let no_bias = DenseConfig { bias: false, ..Default::default() };
    graph.add(v, dense(7, 3, no_bias, vb.pp("out"))?);
    Ok(graph)
}

/// A value that is averaged, added and convolved, and additions that are pooled where a row or a column is left over: for
/// images of 11×9.
fn several_readers(vars: &VarMap) -> Result<Graph> {
    let vb = var_builder(vars, 8, &Device::Cpu);
    let mut graph = Graph::new();
    let images = graph.images();
    let x = graph.add(images, conv2d(1, 4, 3, Conv2dConfig { bias: true, ..PLAIN }, vb.pp("stem"))?);
    let x = graph.add(x, batch_norm(4, BatchNormConfig::default(), vb.pp("norm"))?);
    let x = graph.add(x, Activation::Relu);
    let means = graph.add(x, GlobalMean);
    let a = graph.add(x, conv2d(4, 4, 3, PLAIN, vb.pp("a"))?);
    let a = graph.add(a, batch_norm(4, BatchNormConfig::default(), vb.pp("a_norm"))?);
    let a = graph.sum(a, x);
    let a = graph.add(a, Activation::Elu);
    let a = graph.add(a, MaxPool2d::new(2, 2)?);
    let halved = Conv2dConfig { padding: Padding::Valid, stride: 2, ..PLAIN };
    let b = graph.add(x, conv2d(4, 4, 2, halved, vb.pp("b"))?);
    let c = graph.add(a, conv2d(4, 4, 3, PLAIN, vb.pp("c"))?);
    let c = graph.sum(c, b);
    let c = graph.add(c, Activation::Silu);
    let c = graph.add(c, MaxPool2d::new(2, 2)?);
    let c = graph.add(c, Flatten);
    let from_means = graph.add(means, dense(4, 6, Default::default(), vb.pp("from_means"))?);
    let from_maps = graph.add(c, dense(4 * 2 * 2, 6, Default::default(), vb.pp("from_maps"))?);
    let sum = graph.sum(from_maps, from_means);
    let sum = graph.add(sum, Activation::Relu);
    graph.add(sum, dense(6, 3, Default::default(), vb.pp("out"))?);
    Ok(graph)
}

fn check(
    network: &dyn Fn(&VarMap) -> Result<Graph>,
    size: (usize, usize),
    classes: usize,
    tolerances: [f64; 2],
) {
    let mut samples = samples(6, size, classes, 6);
    // Shares of classes, some of them equal.
    for (i, target) in samples.targets.chunks_mut(classes).enumerate().skip(2) {
        let votes: Vec<f32> = (0..classes).map(|k| ((i * 3 + k * 5) % 4) as f32).collect();
        let sum: f32 = votes.iter().sum();
        target.iter_mut().zip(votes).for_each(|(share, votes)| *share = votes / sum);
    }
    let class_weights = Some((0..classes).map(|k| 0.5 + k as f64 / 2.0).collect());
    for (label_smoothing, class_weights) in [(0.0, None), (0.1, class_weights)] {
        let subject = Subject { network, samples: samples.clone(), label_smoothing, class_weights };
        check_gradients(&subject, Precision::F32, tolerances[0]).unwrap();
        check_gradients(&subject, Precision::Bf16, tolerances[1]).unwrap();
    }
}

#[test]
fn a_chain_with_a_global_mean_has_the_cpus_gradients() {
    for activation in [Activation::Relu, Activation::Silu, Activation::LeakyRelu(-0.2)] {
        // In bfloat16 maxima and signs move, and gradients with them.
        check(&|vars| vgg(vars, activation), (13, 10), 4, [1e-4, 0.3]);
    }
}

#[test]
fn residual_blocks_have_the_cpus_gradients() {
    check(&resnet, (11, 9), 3, [1e-4, 0.3]);
}

#[test]
fn groups_and_values_of_several_readers_have_the_cpus_gradients() {
    check(&mixed, (9, 8), 3, [1e-4, 0.3]);
    check(&several_readers, (11, 9), 3, [1e-4, 0.3]);
}

#[test]
fn inference_gives_all_outputs_of_any_graph() {
    let Some(emulator) = Emulator::new() else { return };
    let emulator = Arc::new(emulator);
    let with_maps = |vars: &VarMap| -> Result<Graph> {
        let vb = var_builder(vars, 6, &Device::Cpu);
        let mut graph = Graph::new();
        let images = graph.images();
        let maps = graph.add(
            images,
            conv2d(3, 6, 3, Conv2dConfig { stride: 2, padding: Padding::all(1), ..PLAIN }, vb.pp("a"))?,
        );
        let maps = graph.add(maps, Activation::Relu);
        let deeper = graph.add(maps, conv2d(6, 5, 3, PLAIN, vb.pp("b"))?);
        let means = graph.add(deeper, GlobalMean);
        let logits = graph.add(means, dense(5, 4, Default::default(), vb.pp("out"))?);
        graph.outputs([logits, maps, means]);
        Ok(graph)
    };
    type Network<'a> = &'a dyn Fn(&VarMap) -> Result<Graph>;
    let networks: [(Network, usize); 4] =
        [(&|vars| vgg(vars, Activation::Relu), 1), (&resnet, 1), (&|vars| mixed(vars), 1), (&with_maps, 3)];
    for (network, channels) in networks {
        for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.03)] {
            let subject = Subject {
                network,
                samples: samples(1, (9, 8), 3, 1),
                label_smoothing: 0.0,
                class_weights: None,
            };
            let net = subject.network(&VarMap::new()).unwrap();
            let dims = [3, channels, 9, 8];
            let mut inference =
                Inference::new(net.plan().unwrap(), emulator.clone(), dims, precision).unwrap().unwrap();
            for n in [3, 2, 3, 3] {
                let images = random(n * channels * 72, n as u32);
                let images = Tensor::from_vec(images, (n, channels, 9, 8), &Device::Cpu).unwrap();
                let found = inference.forward(&images).unwrap();
                let wanted = net.forward_all(&images, Mode::Eval).unwrap();
                assert_eq!(found.len(), wanted.len());
                for (found, wanted) in found.iter().zip(&wanted) {
                    assert_eq!(found.dims(), wanted.dims());
                    let error = distance(found, wanted).unwrap();
                    assert!(error < tolerance, "{precision} {:?}: {error}", wanted.dims());
                }
            }
        }
    }
}

#[test]
fn what_a_card_does_not_record_is_named() {
    let vars = VarMap::new();
    let vb = var_builder(&vars, 1, &Device::Cpu);
    let out = || dense(8, 3, DenseConfig::default(), vb.pp("out")).unwrap();
    let conv = |kernel| conv2d(1, 8, kernel, PLAIN, vb.pp(format!("conv_{kernel}"))).unwrap();
    let reason = |net: Sequential| {
        let sized = sizes(net.graph().plan().unwrap(), [1, 1, 1, 1], Precision::F32).unwrap();
        match sized.map(|_| trainable(net.graph().plan().unwrap())) {
            Err(unsupported) | Ok(Err(unsupported)) => unsupported.message(net.graph().plan().unwrap()),
            Ok(Ok(())) => String::new(),
        }
    };
    assert_eq!(reason(Sequential::new().add(conv(3)).add(Flatten).add(out())), "");
    let net = Sequential::new().add(conv(3));
    let error = sizes(net.graph().plan().unwrap(), [1 << 20, 1, 48, 48], Precision::F32).unwrap_err();
    assert!(error.to_string().contains("give fewer images at once"), "{error}");
    for (net, wanted) in [
        (Sequential::new(), "input is one of its outputs"),
        (Sequential::new().add(conv(3)), "a training ends in a dense layer"),
        (Sequential::new().add(conv(3)).add(Flatten), "none of the layers"),
        (
            Sequential::new().add(conv(3)).add(MeanPool2d::new(1, 1).unwrap()).add(Flatten).add(out()),
            "none of",
        ),
        (
            Sequential::new().add(conv(3)).add(Flatten).add(out()).add(dropout(0.5, "last").unwrap()),
            "ends in",
        ),
    ] {
        let found = reason(net);
        assert!(found.contains(wanted), "{found}, not {wanted}");
    }
    // An even kernel needs one more row of zeros below than above.
    let net = Sequential::new().add(conv(4)).add(Flatten).add(out());
    assert_eq!(
        reason(net),
        "conv_4: it pads one side more than the other; the card calls the network's layers one by one"
    );
    // Weights that are used twice.
    let shared = dense(8, 8, DenseConfig::default(), vb.pp("shared")).unwrap();
    let net = Sequential::new().add(conv(3)).add(Flatten).add(shared.clone()).add(shared).add(out());
    assert!(reason(net).contains("shares its weights"));
}
