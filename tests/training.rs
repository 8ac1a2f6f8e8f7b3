//! Twenty steps of training small DCNNs against Keras of both generations: `golden/training.py`.

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Tensor};
use candle_nn::VarMap;
use fer_model::DcnnConfig;
use fer_nn::{Mode, MovingVariance, Network, Step, var_builder};
use fer_train::{Algorithm, Generation, LossConfig, Optimizer, OptimizerConfig, cross_entropy, weights};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    batches: Vec<usize>,
    networks: HashMap<String, DcnnConfig>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    network: String,
    algorithm: Algorithm,
    generation: Generation,
    label_smoothing: f64,
    losses: Vec<f64>,
    eval_loss: f64,
    probabilities: Vec<Vec<f64>>,
}

/// Of a loss, and of a probability.
const LOSS: f64 = 1e-4;
/// Of how far a variable has moved from its start.
const MOVED: f64 = 1e-3;

fn path(extension: &str) -> String {
    format!("{}/tests/golden/training.{extension}", env!("CARGO_MANIFEST_DIR"))
}

fn labels(step: usize, batch: usize, classes: usize) -> Vec<u32> {
    (0..batch).map(|i| ((i * i + i / 2 + step) % classes) as u32).collect()
}

/// The script's formulas: `(batch, 1, height, width)` and the labels.
fn batch(step: usize, batch: usize, config: &DcnnConfig) -> (Tensor, Tensor) {
    let (height, width) = (config.height, config.width);
    let labels = labels(step, batch, config.classes);
    let value = |i: usize| {
        let noise = (31 * i * i + 17 * (step + 1) * i + 7 * step) % 65537;
        let (item, row, column) = (i / (height * width), i / width % height, i % width);
        let stripes = (row * (labels[item] as usize + 1) + column) % 4;
        (noise + 16384 * stripes) as f32 / 131072.0
    };
    let pixels: Vec<f32> = (0..batch * height * width).map(value).collect();
    let images = Tensor::from_vec(pixels, (batch, 1, height, width), &Device::Cpu).unwrap();
    (images, Tensor::new(labels, &Device::Cpu).unwrap())
}

fn assert_close(what: &str, found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs() / expected.abs();
    assert!(error <= tolerance, "{what}: {found}, Keras {expected}: off by {error:e}");
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

fn follows_keras(golden: &Golden, case: &Case) {
    let tensors = candle_core::safetensors::load(path("safetensors"), &Device::Cpu).unwrap();
    let under = |prefix: &str| -> weights::Weights {
        let own = tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.into(), t.clone())));
        own.collect()
    };
    let initial = under(&format!("initial/{}/", case.network));

    let moving_variance = match case.generation {
        Generation::Keras2 => MovingVariance::Keras2,
        Generation::Keras3 => MovingVariance::Biased,
    };
    let config = DcnnConfig { moving_variance, ..golden.networks[&case.network].clone() };
    let vars = VarMap::new();
    let net = config.network(var_builder(&vars, 0, &Device::Cpu)).unwrap();
    weights::restore(&vars, &initial).unwrap();
    let settings =
        OptimizerConfig { algorithm: case.algorithm, generation: case.generation, ..Default::default() };
    let mut optimizer = Optimizer::new(settings).unwrap();
    let loss_config = LossConfig { label_smoothing: case.label_smoothing, ..Default::default() };
    let loss_of = |step: usize, mode: Mode| {
        let (images, labels) = batch(step, golden.batches[step], &config);
        let logits = net.forward(&images, mode).unwrap();
        (cross_entropy(&logits, &labels, &loss_config).unwrap(), logits)
    };
    let value = |loss: &Tensor| f64::from(loss.to_scalar::<f32>().unwrap());

    for (step, &expected) in case.losses.iter().enumerate() {
        let mode = Mode::Train(Step { step: step as u32, ..Default::default() });
        let (loss, _) = loss_of(step, mode);
        assert_close(&format!("{}: loss of step {step}", case.name), value(&loss), expected, LOSS);
        optimizer.step(&vars, &loss.backward().unwrap()).unwrap();
    }

    let found = weights::snapshot(&vars).unwrap();
    let expected = under(&format!("{}/", case.name));
    let values = |all: &BTreeMap<String, Tensor>, name: &str| -> Vec<f64> {
        let flat = all[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        flat.into_iter().map(f64::from).collect()
    };
    assert!(found.keys().eq(expected.keys()));
    for name in expected.keys() {
        let (start, found, end) = (values(&initial, name), values(&found, name), values(&expected, name));
        let off = norm(found.iter().zip(&end).map(|(f, e)| f - e));
        let moved = norm(start.iter().zip(&end).map(|(s, e)| s - e));
        let error = off / moved;
        assert!(error <= MOVED, "{}: {name} is off by {error:e} of its way", case.name);
    }

    let (loss, logits) = loss_of(0, Mode::Eval);
    assert_close(&format!("{}: loss in inference", case.name), value(&loss), case.eval_loss, LOSS);
    let found = candle_nn::ops::softmax(&logits, 1).unwrap().to_vec2::<f32>().unwrap();
    for (found, expected) in found.concat().into_iter().zip(case.probabilities.concat()) {
        assert!((f64::from(found) - expected).abs() <= LOSS, "{}: {found}, Keras {expected}", case.name);
    }
}

#[test]
fn twenty_steps_follow_keras_loss_by_loss() {
    let golden: Golden = serde_json::from_slice(&std::fs::read(path("json")).unwrap()).unwrap();
    assert_eq!(golden.cases.len(), 5);
    golden.cases.iter().for_each(|case| follows_keras(&golden, case));
}
