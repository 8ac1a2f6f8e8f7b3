//! Batch normalisation.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use fer_nn::{BatchNorm, BatchNormConfig, Mode, MovingVariance, Step, batch_norm, var_builder};
use proptest::prelude::*;

use crate::compare::{Memory, Random, assert_close, assert_close_by, builder, gradients, values, var};
use crate::reference::{self, Array};

const TRAIN: Mode = Mode::Train(Step { seed: 0, epoch: 0, step: 0 });
const EPSILON: f64 = 1e-3;

/// Gamma, beta, moving mean and moving variance.
struct State([Var; 4]);

impl State {
    fn new(values: [&Array; 4]) -> Self {
        Self(values.map(var))
    }

    fn layer(&self, config: BatchNormConfig) -> BatchNorm {
        let [gamma, beta, mean, variance] = &self.0;
        let names = [("weight", gamma), ("bias", beta), ("running_mean", mean), ("running_var", variance)];
        batch_norm(gamma.elem_count(), config, builder(&names)).unwrap()
    }
}

fn config(moving_variance: MovingVariance) -> BatchNormConfig {
    BatchNormConfig { moving_variance, ..Default::default() }
}

fn dims() -> impl Strategy<Value = Vec<usize>> {
    let channels = 1..7_usize;
    prop_oneof![
        (1..40_usize, channels.clone()).prop_map(|(n, c)| vec![n, c]),
        (1..7_usize, channels.clone(), 1..40_usize).prop_map(|(n, c, l)| vec![n, c, l]),
        (1..7_usize, channels, 1..20_usize, 1..20_usize).prop_map(|(n, c, h, w)| vec![n, c, h, w]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn any_shape_is_its_definition(
        dims in dims(),
        mean in prop_oneof![Just(0.0), Just(3.0), Just(-1e4)],
        std in prop_oneof![Just(1.0), Just(0.05), Just(30.0)],
        training in any::<bool>(),
        biased in any::<bool>(),
        memory in Memory::any(),
        seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let channels = dims[1];
        let x = random.array(&dims).mapv(|v| f64::from((mean + std * v) as f32));
        let (gamma, beta) = (random.array(&[channels]), random.array(&[channels]));
        let moving = [
            random.array(&[channels]).mapv(|v| f64::from((mean + std * v) as f32)),
            random.array(&[channels]).mapv(|v| f64::from((std * std * (1.5 + v)) as f32)),
        ];
        let state = State::new([&gamma, &beta, &moving[0], &moving[1]]);
        let convention = if biased { MovingVariance::Biased } else { MovingVariance::Keras2 };
        let layer = state.layer(config(convention));
        let base = memory.hold(&x);
        let y = layer.forward(&memory.view(&base), if training { TRAIN } else { Mode::Eval }).unwrap();

        let given = (moving[0].iter().copied().collect(), moving[1].iter().copied().collect());
        let given = (!training).then_some(&given);
        let inputs = [&x, &gamma, &beta];
        assert_close("y", &y, &reference::batch_norm(inputs, EPSILON, given), 1);

        let dy = random.array(&dims);
        let [dx, d_gamma, d_beta] = gradients(&y, &dy, [&base, &state.0[0], &state.0[1]]);
        let expected = reference::batch_norm_backward(inputs, &dy, EPSILON, given);
        // dx is the difference of terms of this size, and may be nothing: of one value the mean is the value.
        let variance = reference::moments(&x).1.into_iter().fold(f64::INFINITY, f64::min);
        let variance = given.map_or(variance, |(_, v)| v.iter().copied().fold(f64::INFINITY, f64::min));
        assert_close_by("dx", &memory.view(&dx), &expected[0], 1.0 / (variance + EPSILON).sqrt());
        assert_close("d_gamma", &d_gamma, &expected[1], x.len() / channels);
        assert_close("d_beta", &d_beta, &expected[2], x.len() / channels);

        let (batch_mean, batch_variance) = reference::moments(&x);
        let count = (x.len() / channels) as f64;
        let correction = if biased || dims.len() == 2 { 1.0 } else { count / (count - 1.0).max(1.0) };
        let blend = |old: &Array, new: Vec<f64>, factor: f64| match training {
            true => old * 0.99 + Array::from_shape_vec(vec![channels], new).unwrap() * (0.01 * factor),
            false => old.clone(),
        };
        assert_close("moving mean", &state.0[2], &blend(&moving[0], batch_mean, 1.0), 1);
        assert_close("moving variance", &state.0[3], &blend(&moving[1], batch_variance, correction), 1);
    }
}

#[test]
fn a_batch_of_one_vector_is_beta_and_shrinks_the_moving_variance() {
    let mut random = Random::new(5);
    let (gamma, beta, x) = (random.array(&[4]), random.array(&[4]), random.array(&[1, 4]));
    let state = State::new([&gamma, &beta, &Array::zeros(vec![4]), &Array::ones(vec![4])]);
    let layer = state.layer(config(MovingVariance::Keras2));
    let x = var(&x);
    let y = layer.forward(&x, TRAIN).unwrap();
    assert_eq!(values(&y), values(&state.0[1]));
    assert_eq!(values(&state.0[3]), [0.99; 4]);
    let [dx] = gradients(&y, &Array::ones(vec![1, 4]), [&x]);
    assert_eq!(values(&dx), [0.0; 4]);
    for _ in 0..1000 {
        layer.forward(&x, TRAIN).unwrap();
    }
    assert!(values(&state.0[3]).iter().all(|v| *v > 0.0 && *v < 1e-4));
    assert!(values(&layer.forward(&x, Mode::Eval).unwrap()).iter().all(|v| v.is_finite()));
}

#[test]
fn one_image_of_one_pixel_keeps_everything_finite() {
    for convention in [MovingVariance::Keras2, MovingVariance::Biased] {
        let ones = Array::ones(vec![2]);
        let state = State::new([&ones, &ones, &ones, &ones]);
        let layer = state.layer(config(convention));
        let x = var(&Array::from_elem(vec![1, 2, 1, 1], 7.0));
        assert_eq!(values(&layer.forward(&x, TRAIN).unwrap()), [1.0; 2]);
        assert_eq!(values(&state.0[3]), [0.99; 2]);
    }
}

#[test]
fn evaluation_leaves_the_moving_statistics() {
    let vars = VarMap::new();
    let layer = batch_norm(2, BatchNormConfig::default(), var_builder(&vars, 0, &Device::Cpu)).unwrap();
    let x = Tensor::new(&[[5_f32, 6.0], [7.0, 9.0]], &Device::Cpu).unwrap();
    layer.forward(&x, Mode::Eval).unwrap();
    let data = vars.data().lock().unwrap();
    assert_eq!(values(&data["running_mean"]), [0.0; 2]);
    assert_eq!(values(&data["running_var"]), [1.0; 2]);
    drop(data);
    // Training reaches the variables of the map: they are what a checkpoint holds.
    layer.forward(&x, TRAIN).unwrap();
    assert_ne!(values(&vars.data().lock().unwrap()["running_mean"]), [0.0; 2]);
}

#[test]
fn an_input_that_does_not_fit_is_an_error() {
    let layer =
        batch_norm(3, BatchNormConfig::default(), var_builder(&VarMap::new(), 0, &Device::Cpu)).unwrap();
    for dims in [&[3][..], &[2, 2], &[0, 3], &[1, 2, 3, 3], &[1, 3, 0, 3]] {
        let x = Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
        let message = layer.forward(&x, TRAIN).unwrap_err().to_string();
        assert!(message.contains(&format!("expected (batch, 3, …), got {dims:?}")), "{message}");
    }
}
