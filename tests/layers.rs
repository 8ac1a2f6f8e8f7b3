//! The layers and the loss against Keras, forward and backward: `golden/layers.py`.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use fer_nn::{
    Activation, BatchNormConfig, Conv2d, Conv2dConfig, DenseConfig, Mode, MovingVariance, Padding, Step,
    batch_norm, dense, dropout, max_pool2d,
};
use fer_train::{LossConfig, cross_entropy};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    conv2d: Vec<ConvCase>,
    dense: Vec<DenseCase>,
    max_pool2d: Vec<PoolCase>,
    batch_norm: Vec<NormCase>,
    dropout: Vec<DropoutCase>,
    cross_entropy: Vec<LossCase>,
}

#[derive(Debug, Deserialize)]
struct ConvCase {
    x: [usize; 4],
    filters: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: String,
    activation: Activation,
    y_shape: [usize; 4],
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
    db: Vec<f64>,
}

#[derive(Deserialize)]
struct DenseCase {
    x: [usize; 2],
    units: usize,
    activation: Activation,
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
    db: Vec<f64>,
}

#[derive(Deserialize)]
struct PoolCase {
    x: [usize; 4],
    size: usize,
    stride: usize,
    levels: f32,
    y_shape: [usize; 4],
    y: Vec<f64>,
    dx: Vec<f64>,
}

#[derive(Deserialize)]
struct NormCase {
    generation: String,
    shape: Vec<usize>,
    offset: f32,
    steps: Vec<NormStep>,
}

#[derive(Deserialize)]
struct NormStep {
    batch: usize,
    training: bool,
    y: Vec<f64>,
    dx: Vec<f64>,
    d_gamma: Vec<f64>,
    d_beta: Vec<f64>,
    moving_mean: Vec<f64>,
    moving_variance: Vec<f64>,
}

#[derive(Deserialize)]
struct DropoutCase {
    rate: f32,
    scales: Vec<f32>,
}

#[derive(Deserialize)]
struct LossCase {
    samples: usize,
    classes: usize,
    scale: f32,
    labels: Vec<u32>,
    label_smoothing: f64,
    class_weights: Option<Vec<f64>>,
    loss: f64,
    gradient: Vec<f64>,
}

fn golden() -> Golden {
    let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/layers.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The script's formula.
fn drawn(shape: &[usize], seed: i64, map: impl Fn(f32) -> f32) -> Var {
    let value = |i: i64| (31 * i * i + 17 * (seed + 1) * i + 7 * seed) % 257 - 128;
    let values: Vec<f32> =
        (0..shape.iter().product::<usize>()).map(|i| map(value(i as i64) as f32 / 128.0)).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

fn plain(value: f32) -> f32 {
    value
}

/// A builder that gives out these very variables.
fn builder(vars: &[(&str, &Var)]) -> VarBuilder<'static> {
    let tensors: HashMap<_, _> =
        vars.iter().map(|(name, var)| (name.to_string(), var.as_tensor().clone())).collect();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// Within 1e-5 of the norm; `least` is the norm below which that of rounding counts.
fn assert_close(what: &str, found: &Tensor, expected: &[f64], least: f64) {
    let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    let error = found.iter().zip(expected).map(|(&f, e)| (f64::from(f) - e).powi(2)).sum::<f64>().sqrt();
    let norm = expected.iter().map(|e| e * e).sum::<f64>().sqrt().max(least);
    assert!(error <= 1e-5 * norm, "{what}: off by {:e} of the norm", error / norm);
}

/// Compares the gradients of Σ dy·y.
fn assert_gradients(what: &str, y: &Tensor, expected: &[(&Var, &[f64])], least: f64) {
    let dy = drawn(y.dims(), 3, plain);
    let gradients = (y * dy.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
    for (which, (var, expected)) in expected.iter().enumerate() {
        assert_close(&format!("{what}: gradient {which}"), gradients.get(var).unwrap(), expected, least);
    }
}

#[test]
fn convolutions_are_keras() {
    for case in golden().conv2d {
        let what = format!("{:?} {} {}", case.kernel, case.stride, case.padding);
        let [x, weight, bias] = [
            drawn(&case.x, 0, plain),
            drawn(&[case.filters, case.x[1], case.kernel[0], case.kernel[1]], 1, plain),
            drawn(&[case.filters], 2, plain),
        ];
        let padding = if case.padding == "same" { Padding::Same } else { Padding::Valid };
        let config =
            Conv2dConfig { padding, stride: case.stride, activation: case.activation, ..Default::default() };
        let conv = Conv2d::new(weight.as_tensor().clone(), Some(bias.as_tensor().clone()), config).unwrap();
        let y = conv.forward(&x).unwrap();
        assert_eq!(y.dims(), case.y_shape, "{what}");
        assert_close(&what, &y, &case.y, 0.0);
        let expected = [(&x, &case.dx[..]), (&weight, &case.dw[..]), (&bias, &case.db[..])];
        assert_gradients(&what, &y, &expected, 0.0);
    }
}

#[test]
fn dense_layers_are_keras() {
    for case in golden().dense {
        let [batch, inputs] = case.x;
        let x = drawn(&[batch, inputs], 0, plain);
        let (weight, bias) = (drawn(&[case.units, inputs], 1, plain), drawn(&[case.units], 2, plain));
        let config = DenseConfig { activation: case.activation, ..Default::default() };
        let vb = builder(&[("weight", &weight), ("bias", &bias)]);
        let y = dense(inputs, case.units, config, vb).unwrap().forward(&x).unwrap();
        assert_close("dense", &y, &case.y, 0.0);
        let expected = [(&x, &case.dx[..]), (&weight, &case.dw[..]), (&bias, &case.db[..])];
        assert_gradients("dense", &y, &expected, 0.0);
    }
}

#[test]
fn max_pooling_sends_the_gradient_where_keras_does() {
    for case in golden().max_pool2d {
        let what = format!("size {} stride {} levels {}", case.size, case.stride, case.levels);
        let x = drawn(&case.x, 0, |v| (v * case.levels).floor());
        let y = max_pool2d(&x, case.size, case.stride).unwrap();
        assert_eq!(y.dims(), case.y_shape);
        assert_close(&what, &y, &case.y, 0.0);
        assert_gradients(&what, &y, &[(&x, &case.dx)], 0.0);
    }
}

#[test]
fn batch_norm_trains_as_both_generations_of_keras() {
    for case in golden().batch_norm {
        let moving_variance = match case.generation.as_str() {
            "notebook" => MovingVariance::Keras2,
            _ => MovingVariance::Biased,
        };
        let channels = case.shape[0];
        let state = |seed, map: fn(f32) -> f32| drawn(&[channels], seed, map);
        let (gamma, beta, mean, var) =
            (state(1, plain), state(2, plain), state(0, |_| 0.0), state(0, |_| 1.0));
        let names = [("weight", &gamma), ("bias", &beta), ("running_mean", &mean), ("running_var", &var)];
        let config = BatchNormConfig { moving_variance, ..Default::default() };
        let norm = batch_norm(channels, config, builder(&names)).unwrap();
        for (n, step) in case.steps.iter().enumerate() {
            let what = format!("{} {:?} step {n}", case.generation, case.shape);
            let x = drawn(&[&[step.batch], &case.shape[..]].concat(), 10 + n as i64, |v| v + case.offset);
            let mode = if step.training { Mode::Train(Step::default()) } else { Mode::Eval };
            let y = norm.forward(&x, mode).unwrap();
            assert_close(&what, &y, &step.y, 0.0);
            // The gradients of a batch of one cancel: what Keras leaves of them is rounding.
            let expected = [(&x, &step.dx[..]), (&gamma, &step.d_gamma[..]), (&beta, &step.d_beta[..])];
            assert_gradients(&what, &y, &expected, 1.0);
            assert_close(&format!("{what}: moving mean"), &mean, &step.moving_mean, 0.0);
            assert_close(&format!("{what}: moving variance"), &var, &step.moving_variance, 0.0);
        }
    }
}

#[test]
fn dropout_scales_what_it_keeps_as_keras() {
    let ones = Tensor::ones(1000, DType::F32, &Device::Cpu).unwrap();
    for case in golden().dropout {
        let layer = dropout(case.rate, "dropout").unwrap();
        let y = layer.forward(&ones, Mode::Train(Step::default())).unwrap().to_vec1::<f32>().unwrap();
        let mut kept = y.into_iter().filter(|&v| v != 0.0);
        let close = |v: f32| case.scales.iter().all(|scale| (v - scale).abs() <= f32::EPSILON * scale);
        assert!(kept.all(close), "rate {}", case.rate);
    }
}

#[test]
fn the_loss_and_its_gradient_are_keras() {
    for case in golden().cross_entropy {
        let logits = drawn(&[case.samples, case.classes], 4, |v| v * case.scale);
        let labels = Tensor::new(&case.labels[..], &Device::Cpu).unwrap();
        let (label_smoothing, class_weights) = (case.label_smoothing, case.class_weights);
        let config = LossConfig { label_smoothing, class_weights, ..Default::default() };
        let loss = cross_entropy(&logits, &labels, &config).unwrap();
        assert_close("loss", &loss, &[case.loss], 0.0);
        let gradients = loss.backward().unwrap();
        assert_close("gradient", gradients.get(&logits).unwrap(), &case.gradient, 0.0);
    }
}
