//! The fully connected layer.

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use fer_nn::{Activation, DenseConfig, dense, var_builder};
use proptest::prelude::*;

use crate::compare::{Memory, Random, assert_close, builder, gradients, tensor, var};
use crate::reference;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_shape_is_its_definition(
        batch in 1..40_usize,
        // Beyond one block of the kernel on both sides.
        inputs in 1..150_usize,
        outputs in 1..150_usize,
        activation in prop_oneof![Just(Activation::Linear), Just(Activation::Relu), Just(Activation::Elu)],
        memory in Memory::any(),
        seed in any::<u64>(),
    ) {
        // Sixteenths add up exactly, so that f32 and f64 agree on where ReLU cuts.
        let mut random = Random::new(seed);
        let mut sixteenths = |dims: &[usize]| random.array(dims).mapv(|v| (v * 16.0).round() / 16.0);
        let values = [sixteenths(&[batch, inputs]), sixteenths(&[outputs, inputs]), sixteenths(&[outputs])];
        let dy = sixteenths(&[batch, outputs]);

        let (base, weight, bias) = (memory.hold(&values[0]), var(&values[1]), var(&values[2]));
        let config = DenseConfig { activation, ..Default::default() };
        let layer = dense(inputs, outputs, config, builder(&[("weight", &weight), ("bias", &bias)])).unwrap();
        let y = layer.forward(&memory.view(&base)).unwrap();
        assert_close("y", &y, &reference::dense(values.each_ref(), activation), inputs);
        let [dx, dw, db] = gradients(&y, &dy, [&base, &weight, &bias]);
        let expected = reference::dense_backward(values.each_ref(), &dy, activation);
        assert_close("dx", &memory.view(&dx), &expected[0], outputs);
        assert_close("dw", &dw, &expected[1], batch);
        assert_close("db", &db, &expected[2], batch);
    }
}

#[test]
fn a_weight_that_is_a_view_is_taken_as_it_is() {
    let mut random = Random::new(2);
    let values = [random.array(&[2, 5]), random.array(&[3, 5]), random.array(&[3])];
    let weight = Memory::Transposed.view(&Memory::Transposed.hold(&values[1]));
    let tensors = [("weight".into(), weight), ("bias".into(), tensor(&values[2]))].into();
    let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let y = dense(5, 3, DenseConfig::default(), vb).unwrap().forward(&tensor(&values[0])).unwrap();
    assert_close("y", &y, &reference::dense(values.each_ref(), Activation::Linear), 1);
}

#[test]
fn a_shape_that_does_not_fit_is_an_error() {
    let vb = || var_builder(&VarMap::new(), 0, &Device::Cpu);
    for (inputs, outputs) in [(0, 2), (2, 0)] {
        let message = dense(inputs, outputs, DenseConfig::default(), vb()).unwrap_err().to_string();
        assert!(message.contains("must be at least 1"), "{message}");
    }
    let layer = dense(3, 2, DenseConfig::default(), vb()).unwrap();
    for dims in [&[2, 4][..], &[0, 3]] {
        let x = Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
        let message = layer.forward(&x).unwrap_err().to_string();
        assert!(message.contains(&format!("expected (batch, 3), got {dims:?}")), "{message}");
    }
}
