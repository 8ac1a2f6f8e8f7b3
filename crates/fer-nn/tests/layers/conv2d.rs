//! Convolution.

use candle_core::{DType, Device, Tensor};
use fer_nn::{Activation, Conv2d, Conv2dConfig, Padding};
use proptest::prelude::*;

use crate::compare::{Memory, Random, assert_close, gradients, tensor, values, var};
use crate::reference;

#[derive(Clone, Debug)]
struct Case {
    x: [usize; 4],
    out_channels: usize,
    kernel: [usize; 2],
    config: Conv2dConfig,
    memory: Memory,
    seed: u64,
}

fn activation() -> impl Strategy<Value = Activation> {
    use Activation::*;
    prop_oneof![Just(Linear), Just(Elu), Just(LeakyRelu(0.1)), Just(Silu), Just(Sigmoid)]
}

fn padding() -> impl Strategy<Value = Padding> {
    let explicit = [0..3_usize, 0..3, 0..3, 0..3].prop_map(|[top, bottom, left, right]| Padding::Explicit {
        top,
        bottom,
        left,
        right,
    });
    prop_oneof![2 => Just(Padding::Same), 2 => Just(Padding::Valid), 1 => explicit]
}

prop_compose! {
    /// Few channels and any geometry: one row, even kernels, kernels larger than the image.
    fn any_geometry()(
        x in [1..4_usize, 1..5, 1..12, 1..12],
        out_channels in 1..6_usize,
        kernel in [1..8_usize, 1..8],
        stride in 1..4_usize,
        padding in padding(),
        activation in activation(),
        // The channels of both sides are in so many parts.
        groups in prop_oneof![3 => Just(1_usize), 1 => 2..5_usize],
        memory in Memory::any(),
        seed in any::<u64>(),
    ) -> Case {
        let [batch, channels, height, width] = x;
        let depthwise = channels == 1 && groups > 1;
        let x = [batch, channels * groups, height, width];
        let out_channels = if depthwise { groups * out_channels.min(2) } else { groups * out_channels };
        let config = Conv2dConfig { padding, stride, activation, groups, ..Default::default() };
        Case { x, out_channels, kernel, config, memory, seed }
    }
}

prop_compose! {
    /// The network's kind: many channels, square odd kernels, stride 1.
    fn many_channels()(
        x in [1..4_usize, 1..33, 3..18, 3..18],
        out_channels in 1..33_usize,
        kernel in prop_oneof![3 => Just(3_usize), 2 => Just(5)],
        padding in padding(),
        elu in any::<bool>(),
        memory in Memory::any(),
        seed in any::<u64>(),
    ) -> Case {
        let activation = if elu { Activation::Elu } else { Activation::Linear };
        let config = Conv2dConfig { padding, activation, ..Default::default() };
        Case { x, out_channels, kernel: [kernel; 2], config, memory, seed }
    }
}

fn is_its_definition(case: Case) {
    let Case { x, out_channels, kernel, config, memory, seed } = case;
    let mut random = Random::new(seed);
    // Weights of the size that initialisers give them: the output is of the size of the input.
    let size = ((x[1] / config.groups * kernel[0] * kernel[1]) as f64).sqrt();
    let inputs = [
        random.array(&x),
        random
            .array(&[out_channels, x[1] / config.groups, kernel[0], kernel[1]])
            .mapv(|v| f64::from((v / size) as f32)),
        random.array(&[out_channels]),
    ];
    let (base, weight, bias) = (memory.hold(&inputs[0]), var(&inputs[1]), var(&inputs[2]));
    let conv = Conv2d::new(weight.as_tensor().clone(), Some(bias.as_tensor().clone()), config).unwrap();
    let found = conv.forward(&memory.view(&base));
    let fits = |axis: usize| {
        reference::windows(config.padding, axis, x[2 + axis], kernel[axis], config.stride).is_some()
    };
    if !fits(0) || !fits(1) {
        let message = found.unwrap_err().to_string();
        assert!(message.contains("window fits the input"), "{message}");
        return;
    }
    let y = found.unwrap();
    let expected = reference::conv2d(inputs.each_ref(), config);
    assert_close("y", &y, &expected, 1);

    let dy = random.array(expected.shape());
    let [dx, dw, db] = gradients(&y, &dy, [&base, &weight, &bias]);
    let expected = reference::conv2d_backward(inputs.each_ref(), &dy, config);
    let positions = dy.len() / out_channels;
    assert_close("dx", &memory.view(&dx), &expected[0], out_channels.div_ceil(x[1]).max(1));
    assert_close("dw", &dw, &expected[1], positions);
    assert_close("db", &db, &expected[2], positions);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn any_geometry_is_its_definition(case in any_geometry()) {
        is_its_definition(case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn many_channels_are_their_definition(case in many_channels()) {
        is_its_definition(case);
    }
}

#[test]
fn several_blocks_of_tiles_are_their_definition() {
    for (x, out_channels, kernel, padding, memory) in [
        ([9, 16, 17, 15], 24, 5, Padding::Same, Memory::Contiguous),
        ([2, 40, 12, 21], 72, 3, Padding::Same, Memory::Strided),
        ([3, 17, 30, 9], 9, 3, Padding::Valid, Memory::Transposed),
        ([1, 8, 48, 48], 8, 5, Padding::Same, Memory::Offset),
    ] {
        let config = Conv2dConfig { padding, activation: Activation::Elu, ..Default::default() };
        is_its_definition(Case { x, out_channels, kernel: [kernel; 2], config, memory, seed: 3 });
    }
}

#[test]
fn nothing_stays_of_an_earlier_call() {
    // On one thread, so that both calls use the same working memory.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (channels, side, kernel) in [(8, 8, 3), (9, 7, 3), (17, 9, 5), (8, 16, 5), (3, 8, 3)] {
        let mut random = Random::new(6);
        let dims = [2, channels, side, side];
        let inputs = [
            random.array(&dims),
            random.array(&[channels + 1, channels, kernel, kernel]),
            random.array(&[channels + 1]),
        ];
        let dy = random.array(&[2, channels + 1, side, side]);
        let run = |inputs: [&reference::Array; 3], dy: &reference::Array| -> Vec<Vec<u32>> {
            let vars = inputs.map(var);
            let config = Conv2dConfig { activation: Activation::Elu, ..Default::default() };
            let conv =
                Conv2d::new(vars[1].as_tensor().clone(), Some(vars[2].as_tensor().clone()), config).unwrap();
            let y = conv.forward(&vars[0]).unwrap();
            let all = [vec![y.clone()], gradients(&y, dy, vars.each_ref()).to_vec()].concat();
            all.iter().map(|t| values(t).iter().map(|v| v.to_bits()).collect()).collect()
        };
        pool.install(|| {
            let first = run(inputs.each_ref(), &dy);
            let nan = inputs.each_ref().map(|i| i.mapv(|_| f64::NAN));
            run(nan.each_ref(), &dy.mapv(|_| f64::NAN));
            assert!(run(inputs.each_ref(), &dy) == first, "{channels} channels, {kernel}×{kernel}");
        });
    }
}

#[test]
fn relu_cuts_at_zero() {
    // Sixteenths add up exactly, so that f32 and f64 agree on the sign.
    let mut random = Random::new(1);
    let mut sixteenths = |dims: &[usize]| random.array(dims).mapv(|v| (v * 16.0).round() / 16.0);
    let inputs = [sixteenths(&[2, 3, 6, 6]), sixteenths(&[4, 3, 2, 4]), sixteenths(&[4])];
    let config = Conv2dConfig { activation: Activation::Relu, ..Default::default() };
    let vars = inputs.each_ref().map(var);
    let conv = Conv2d::new(vars[1].as_tensor().clone(), Some(vars[2].as_tensor().clone()), config).unwrap();
    let y = conv.forward(&vars[0]).unwrap();
    let expected = reference::conv2d(inputs.each_ref(), config);
    assert_close("y", &y, &expected, 1);
    let dy = sixteenths(expected.shape());
    let expected = reference::conv2d_backward(inputs.each_ref(), &dy, config);
    for (found, expected) in gradients(&y, &dy, vars.each_ref()).iter().zip(&expected) {
        assert_close("gradient", found, expected, 1);
    }
}

#[test]
fn a_weight_that_is_a_view_is_taken_as_it_is() {
    let mut random = Random::new(2);
    let inputs = [random.array(&[1, 2, 5, 5]), random.array(&[3, 2, 3, 4]), random.array(&[3])];
    let weight = Memory::Transposed.view(&Memory::Transposed.hold(&inputs[1]));
    let config = Conv2dConfig::default();
    let conv = Conv2d::new(weight, Some(tensor(&inputs[2])), config).unwrap();
    let y = conv.forward(&tensor(&inputs[0])).unwrap();
    assert_close("y", &y, &reference::conv2d(inputs.each_ref(), config), 1);
}

#[test]
fn a_convolution_that_cannot_be_is_an_error() {
    let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    let new = |weight: &[usize], bias: usize, stride| {
        let config = Conv2dConfig { stride, ..Default::default() };
        Conv2d::new(zeros(weight), Some(zeros(&[bias])), config)
    };
    let refused = |weight: &[usize], bias, stride| new(weight, bias, stride).unwrap_err().to_string();
    assert!(refused(&[2, 1, 3, 3], 2, 0).contains("stride is 0"));
    assert!(refused(&[2, 1, 3, 3], 3, 1).contains("bias must have shape (2), got [3]"));
    assert!(refused(&[2, 1, 3], 2, 1).contains("unexpected rank"));
    for weight in [[0, 1, 3, 3], [2, 0, 3, 3], [2, 1, 0, 3], [2, 1, 3, 0]] {
        assert!(refused(&weight, weight[0], 1).contains("weight is empty"), "{weight:?}");
    }

    let conv = new(&[2, 3, 3, 3], 2, 1).unwrap();
    let refused = |x: &Tensor| conv.forward(x).unwrap_err().to_string();
    assert!(refused(&zeros(&[1, 2, 5, 5])).contains("the input has 2 channels, the weight 3"));
    assert!(
        refused(&zeros(&[3, 5, 5])).contains("expected (batch, in_channels, height, width), got [3, 5, 5]")
    );
    assert!(refused(&zeros(&[0, 3, 5, 5])).contains("window fits the input [0, 3, 5, 5]"));
    assert!(refused(&zeros(&[1, 3, 0, 5])).contains("window fits the input [1, 3, 0, 5]"));
    let doubles = Tensor::zeros((1, 3, 5, 5), DType::F64, &Device::Cpu).unwrap();
    assert!(refused(&doubles).contains("f32"));
}

#[test]
fn without_a_bias_it_is_that_of_a_bias_of_zeros() {
    for (channels, groups, kernel) in [(16, 1, 3), (4, 4, 3), (3, 1, 5), (6, 2, 1)] {
        let mut random = Random::new(7);
        let inputs = [
            random.array(&[2, channels, 9, 8]),
            random.array(&[channels, channels / groups, kernel, kernel]),
        ];
        let (x, weight) = (var(&inputs[0]), var(&inputs[1]));
        let config = Conv2dConfig { groups, activation: Activation::Elu, ..Default::default() };
        let zeros = Tensor::zeros(channels, DType::F32, &Device::Cpu).unwrap();
        let conv = |bias| Conv2d::new(weight.as_tensor().clone(), bias, config).unwrap();
        let [without, with] = [conv(None), conv(Some(zeros))].map(|conv| conv.forward(&x).unwrap());
        assert_eq!(values(&without), values(&with));
        let dy = random.array(without.dims());
        let [a, b] = [without, with].map(|y| gradients(&y, &dy, [&x, &weight]).map(|g| values(&g)));
        assert_eq!(a, b);
    }
}
