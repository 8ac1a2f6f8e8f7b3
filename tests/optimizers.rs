//! Adam and Nadam move the variables as Keras' do, in both generations: `golden/optimizers.py`.

use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, VarMap};
use fer_train::{Optimizer, OptimizerConfig};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    shapes: Vec<Vec<usize>>,
    start: Vec<Vec<f64>>,
    gradients: Vec<Vec<Vec<f64>>>,
    halved_before_step: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    algorithm: String,
    generation: String,
    settings: serde_json::Map<String, serde_json::Value>,
    steps: Vec<Vec<Vec<f64>>>,
}

// Of values near 1 that move by hundredths, f32 holds five digits.
const TOLERANCE: f64 = 5e-5;

fn golden() -> Golden {
    let golden = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/optimizers.json")).unwrap();
    serde_json::from_slice(&golden).unwrap()
}

/// The largest distance from Keras, relative to how far the variable has moved from its start, over all steps.
fn distance(golden: &Golden, case: &Case, generation: &str, dtype: DType) -> f64 {
    let cpu = &Device::Cpu;
    let tensor = |values: &[f64], shape: &[usize]| {
        Tensor::new(values, cpu).unwrap().reshape(shape).unwrap().to_dtype(dtype).unwrap()
    };
    let mut settings = case.settings.clone();
    settings.insert("algorithm".into(), case.algorithm.clone().into());
    settings.insert("generation".into(), generation.into());
    let config: OptimizerConfig = serde_json::from_value(settings.into()).unwrap();
    let weights = VarMap::new();
    let mut variables = Vec::new();
    for (index, (shape, start)) in golden.shapes.iter().zip(&golden.start).enumerate() {
        let name = format!("w{index}");
        weights.get(shape.as_slice(), &name, Init::Const(0.0), dtype, cpu).unwrap();
        let variable = weights.data().lock().unwrap()[&name].clone();
        variable.set(&tensor(start, shape)).unwrap();
        variables.push(variable);
    }
    let mut optimizer = Optimizer::new(config).unwrap();
    let mut worst = 0_f64;
    for (number, (gradients, expected)) in golden.gradients.iter().zip(&case.steps).enumerate() {
        if number + 1 == golden.halved_before_step {
            optimizer.set_learning_rate((config.learning_rate / 2.0) as f32);
        }
        // A loss with just these gradients.
        let mut loss = Tensor::zeros((), dtype, cpu).unwrap();
        for (variable, gradient) in variables.iter().zip(gradients) {
            let term = (variable.as_tensor() * tensor(gradient, variable.dims())).unwrap();
            loss = (loss + term.sum_all().unwrap()).unwrap();
        }
        optimizer.step(&weights, &loss.backward().unwrap()).unwrap();
        for ((variable, expected), start) in variables.iter().zip(expected).zip(&golden.start) {
            let values =
                variable.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for ((value, expected), start) in values.iter().zip(expected).zip(start) {
                worst = worst.max((value - expected).abs() / (expected - start).abs().max(1e-2));
            }
        }
    }
    worst
}

#[test]
fn adam_and_nadam_are_keras_in_both_generations() {
    let golden = golden();
    assert_eq!((golden.cases.len(), golden.gradients.len()), (8, 25));
    for case in &golden.cases {
        for dtype in [DType::F32, DType::F64] {
            let distance = distance(&golden, case, &case.generation, dtype);
            assert!(distance < TOLERANCE, "{} {} {dtype:?}: {distance}", case.algorithm, case.generation);
        }
    }
}

#[test]
fn the_two_nadams_are_told_apart() {
    let golden = golden();
    for case in golden.cases.iter().filter(|case| case.algorithm == "nadam") {
        let other = if case.generation == "notebook" { "keras3" } else { "notebook" };
        let distance = distance(&golden, case, other, DType::F64);
        assert!(distance > 20.0 * TOLERANCE, "{other} in place of {}: {distance}", case.generation);
    }
}
