//! Every rule against its definition, a number at a time.

use candle_core::{DType, Device};
use candle_nn::Init;
use fer_rand::{Purpose, Stream, next_double};

use super::update::CHUNK;
use super::*;
use crate::Generation;

const SIZES: [usize; 3] = [1, 7, CHUNK * 2 + 5];

fn every_rule() -> [OptimizerConfig; 8] {
    let of = |algorithm| OptimizerConfig { algorithm, ..Default::default() };
    let sgd = OptimizerConfig { learning_rate: 0.05, ..of(Algorithm::Sgd) };
    [
        of(Algorithm::Adam),
        of(Algorithm::Nadam),
        OptimizerConfig { generation: Generation::Keras3, ..of(Algorithm::Nadam) },
        OptimizerConfig { weight_decay: 0.1, decay_all: true, ..of(Algorithm::AdamW) },
        OptimizerConfig { weight_decay: 0.1, decay_all: true, decoupled: true, ..of(Algorithm::Adam) },
        sgd,
        OptimizerConfig { nesterov: true, weight_decay: 0.1, ..sgd },
        OptimizerConfig { nesterov: true, weight_decay: 0.1, decay_all: true, clip_norm: Some(0.5), ..sgd },
    ]
}

fn random(len: usize, item: u32) -> Tensor {
    let mut rng = Stream { seed: 3, purpose: Purpose::named("gradient"), epoch: 0, item }.rng();
    let values: Vec<f64> = (0..len).map(|_| next_double(&mut rng) - 0.5).collect();
    Tensor::from_vec(values, len, &Device::Cpu).unwrap()
}

fn weights(dtype: DType) -> VarMap {
    let weights = VarMap::new();
    for (i, &len) in SIZES.iter().enumerate() {
        weights.get(len, &format!("w{i}"), Init::Const(0.5), dtype, &Device::Cpu).unwrap();
    }
    weights
}

/// Gradients of step `step`, the same for every type.
fn gradients(weights: &VarMap, step: u32) -> GradStore {
    let mut loss = Tensor::zeros((), DType::F64, &Device::Cpu).unwrap();
    for (i, (_, var)) in weights::sorted(weights).into_iter().enumerate() {
        let wanted = random(var.elem_count(), step * 10 + i as u32);
        loss = (loss + (var.to_dtype(DType::F64).unwrap() * wanted).unwrap().sum_all().unwrap()).unwrap();
    }
    loss.backward().unwrap()
}

fn values(weights: &VarMap) -> Vec<Vec<f64>> {
    let values = |var: Var| var.to_dtype(DType::F64).unwrap().to_vec1().unwrap();
    weights::sorted(weights).into_values().map(values).collect()
}

/// The definitions in the module `rule` and in `fer_nn::engine::Update`, a number at a time.
fn plain(
    config: &OptimizerConfig,
    u: &Update,
    w: &mut [Vec<f64>],
    g: &[Vec<f64>],
    kept: &mut [Vec<[f64; 2]>],
) {
    let float = |x: f32| f64::from(x);
    let norm = g.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
    let scale = if u.clip > 0.0 { (float(u.clip) / (norm + 1e-6)).min(1.0) } else { 1.0 };
    for ((w, g), kept) in w.iter_mut().zip(g).zip(kept) {
        for ((w, g), [m, v]) in w.iter_mut().zip(g).zip(kept) {
            // The variables of this test have one dimension.
            let (decay, shrink) =
                if config.decay_all { (float(u.decay), float(u.shrink)) } else { (0.0, 0.0) };
            let g = g * scale + decay * *w;
            let before = *w;
            match config.rule() {
                fer_nn::engine::Rule::Adaptive => {
                    *m += (g - *m) * float(u.new_in_mean);
                    *v += (g * g - *v) * float(u.new_in_square);
                    let below = (float(u.of_square) * *v).sqrt() + float(u.epsilon);
                    *w -= (float(u.of_mean) * *m + float(u.of_gradient) * g) / below;
                }
                fer_nn::engine::Rule::Momentum => {
                    *m = float(u.momentum) * *m + g;
                    *w -= float(u.of_mean) * *m + float(u.of_gradient) * g;
                }
            }
            *w -= shrink * before;
        }
    }
}

#[test]
fn the_single_pass_is_the_definition() {
    for config in every_rule() {
        for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::F64, 1e-13)] {
            let fused = weights(dtype);
            let mut optimizer = Optimizer::new(config).unwrap();
            let mut factors_of = Optimizer::new(config).unwrap();
            let mut w = values(&fused);
            let mut kept: Vec<Vec<[f64; 2]>> = w.iter().map(|w| vec![[0.0; 2]; w.len()]).collect();
            for step in 0..5 {
                let gradients = gradients(&fused, step);
                let gradient =
                    |var: Var| gradients.get(&var).unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
                let g: Vec<Vec<f64>> = weights::sorted(&fused).into_values().map(gradient).collect();
                assert_eq!(optimizer.step(&fused, &gradients).unwrap(), SIZES.len());
                plain(&config, &factors_of.next_update(1.0), &mut w, &g, &mut kept);
            }
            for (a, b) in values(&fused).concat().into_iter().zip(w.concat()) {
                assert!((a - b).abs() <= tolerance, "{config:?} {dtype:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_restored_optimiser_goes_on_to_the_bit() {
    for config in every_rule() {
        let straight = weights(DType::F32);
        let mut optimizer = Optimizer::new(config).unwrap();
        let stopped = weights(DType::F32);
        let mut first = Optimizer::new(config).unwrap();
        for step in 0..4 {
            optimizer.step(&straight, &gradients(&straight, step)).unwrap();
            first.step(&stopped, &gradients(&stopped, step)).unwrap();
        }
        first.set_learning_rate(3e-4);
        optimizer.set_learning_rate(3e-4);
        let mut second = Optimizer::new(config).unwrap();
        second.restore(&first.state(&stopped).unwrap(), &stopped).unwrap();
        for step in 4..8 {
            optimizer.step(&straight, &gradients(&straight, step)).unwrap();
            second.step(&stopped, &gradients(&stopped, step)).unwrap();
        }
        assert_eq!(values(&straight), values(&stopped));
        assert_eq!(second.steps(), 8);
    }
}

#[test]
fn a_variable_without_gradient_stays() {
    let weights = weights(DType::F32);
    let w0 = weights::sorted(&weights)["w0"].clone();
    let mut optimizer = Optimizer::new(OptimizerConfig::default()).unwrap();
    let loss = w0.sum_all().unwrap();
    assert_eq!(optimizer.step(&weights, &loss.backward().unwrap()).unwrap(), 1);
    assert!(values(&weights)[1].iter().all(|&w| w == 0.5));
    assert!(values(&weights)[0][0] < 0.5);
}

#[test]
fn moments_of_another_shape_are_refused() {
    let small = VarMap::new();
    small.get(2, "w0", Init::Const(0.0), DType::F32, &Device::Cpu).unwrap();
    let large = weights(DType::F32);
    let mut optimizer = Optimizer::new(OptimizerConfig::default()).unwrap();
    optimizer.step(&large, &gradients(&large, 0)).unwrap();
    let error = optimizer.state(&large).and_then(|state| optimizer.restore(&state, &small)).unwrap_err();
    assert!(error.to_string().contains("expected w0 F32 [2], found F32 [1]"), "{error}");
}

#[test]
fn weight_decay_leaves_biases_and_norms_unless_asked() {
    let decayed = |algorithm, decay_all| {
        let weights = VarMap::new();
        for (name, shape) in [("matrix", vec![2, 2]), ("bias", vec![2])] {
            weights.get(shape, name, Init::Const(1.0), DType::F32, &Device::Cpu).unwrap();
        }
        let config = OptimizerConfig { algorithm, weight_decay: 0.5, decay_all, ..Default::default() };
        let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu).unwrap();
        for var in weights.all_vars() {
            loss = (loss + (var.sum_all().unwrap() * 1e-20).unwrap()).unwrap();
        }
        Optimizer::new(config).unwrap().step(&weights, &loss.backward().unwrap()).unwrap();
        let fell =
            |name: &str| weights::sorted(&weights)[name].min_all().unwrap().to_scalar::<f32>().unwrap() < 1.0;
        (fell("matrix"), fell("bias"))
    };
    for algorithm in [Algorithm::Adam, Algorithm::Nadam, Algorithm::AdamW, Algorithm::Sgd] {
        assert_eq!((decayed(algorithm, false), decayed(algorithm, true)), ((true, false), (true, true)));
    }
}
