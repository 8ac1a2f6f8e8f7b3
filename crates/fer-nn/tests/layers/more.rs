//! Transposed convolution, activations, PReLU, upsampling and the global mean.

use candle_core::{Device, Module, ModuleT, Tensor};
use fer_nn::{
    Activation, ConvTranspose2d, ConvTranspose2dConfig, GlobalMean, Graph, Mode, Network, PRelu, Padding,
    Upsample, dropout,
};
use proptest::prelude::*;

use crate::compare::{Memory, Random, assert_close, gradients, values, var};
use crate::reference::{self, Array};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_transposed_convolution_is_its_definition(
        x in [1..3_usize, 1..5, 1..9, 1..9],
        out_channels in 1..5_usize,
        (kernel, stride, cut) in (1..5_usize, 1..4_usize, 0..2_usize),
        memory in Memory::any(),
        seed in any::<u64>(),
    ) {
        let smallest = (x[2].min(x[3]) - 1) * stride + kernel;
        prop_assume!(2 * cut < smallest);
        let mut random = Random::new(seed);
        let inputs = [random.array(&x), random.array(&[x[1], out_channels, kernel, kernel])];
        let (base, weight) = (memory.hold(&inputs[0]), var(&inputs[1]));
        let config = ConvTranspose2dConfig { padding: Padding::all(cut), stride, ..Default::default() };
        let layer = ConvTranspose2d::new(weight.as_tensor().clone(), None, config).unwrap();
        let y = layer.forward(&memory.view(&base)).unwrap();
        let expected = reference::conv_transpose2d(inputs.each_ref(), stride, cut);
        assert_close("y", &y, &expected, x[1] * kernel * kernel);
        let dy = random.array(expected.shape());
        let [dx, dw] = gradients(&y, &dy, [&base, &weight]);
        let expected = reference::conv_transpose2d_backward(inputs.each_ref(), &dy, stride, cut);
        assert_close("dx", &memory.view(&dx), &expected[0], out_channels * kernel * kernel);
        assert_close("dw", &dw, &expected[1], x[0] * x[2] * x[3]);
    }

    #[test]
    fn an_activation_is_its_definition(
        dims in prop::collection::vec(1..9_usize, 1..5),
        memory in Memory::any(),
        which in 0..6_usize,
        seed in any::<u64>(),
    ) {
        use Activation::*;
        let activation = [Relu, Elu, LeakyRelu(0.05), LeakyRelu(-0.1), Silu, Sigmoid][which];
        prop_assume!(dims.len() > 1 || !matches!(memory, Memory::Transposed));
        let mut random = Random::new(seed);
        let x = random.array(&dims).mapv(|v| f64::from((v * 6.0) as f32));
        let base = memory.hold(&x);
        let y = activation.forward(&memory.view(&base)).unwrap();
        assert_close("y", &y, &x.mapv(|v| reference::activate(v, activation)), 1);
        let dy = random.array(&dims);
        let [dx] = gradients(&y, &dy, [&base]);
        assert_close("dx", &memory.view(&dx), &(x.mapv(|v| reference::slope(v, activation)) * &dy), 1);
    }

    #[test]
    fn a_learned_slope_is_its_definition((n, c, h, w) in (1..4_usize, 1..5_usize, 1..6_usize, 1..6_usize), seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let (x, slopes) = (random.array(&[n, c, h, w]), random.array(&[c]));
        let (vx, vs) = (var(&x), var(&slopes));
        let y = PRelu::new(vs.as_tensor().clone()).unwrap().forward(&vx).unwrap();
        let dy = random.array(&[n, c, h, w]);
        let mut expected = [x.clone(), dy.clone(), Array::zeros(vec![c])];
        for (at, &v) in x.indexed_iter() {
            if v <= 0.0 {
                expected[0][&at] = v * slopes[at[1]];
                expected[1][&at] = dy[&at] * slopes[at[1]];
                expected[2][at[1]] += dy[&at] * v;
            }
        }
        assert_close("y", &y, &expected[0], 1);
        let [dx, ds] = gradients(&y, &dy, [&vx, &vs]);
        assert_close("dx", &dx, &expected[1], 1);
        assert_close("slopes", &ds, &expected[2], n * h * w);
    }

    #[test]
    fn upsampling_and_the_global_mean_are_their_definitions(
        (n, c, h, w) in (1..4_usize, 1..5_usize, 1..6_usize, 1..6_usize),
        factor in 1..4_usize,
        seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let x = random.array(&[n, c, h, w]);
        let vx = var(&x);
        let y = Upsample::new(factor).unwrap().forward(&vx).unwrap();
        let expected = Array::from_shape_fn(vec![n, c, h * factor, w * factor], |at| {
            x[[at[0], at[1], at[2] / factor, at[3] / factor]]
        });
        assert_close("y", &y, &expected, 1);
        let dy = random.array(expected.shape());
        let mut of_x = Array::zeros(vec![n, c, h, w]);
        dy.indexed_iter().for_each(|(at, g)| of_x[[at[0], at[1], at[2] / factor, at[3] / factor]] += g);
        assert_close("dx", &gradients(&y, &dy, [&vx])[0], &of_x, factor * factor);

        let y = GlobalMean.forward(&vx).unwrap();
        let area = (h * w) as f64;
        let expected = Array::from_shape_fn(vec![n, c], |at| {
            ndarray::indices([h, w]).into_iter().map(|(i, j)| x[[at[0], at[1], i, j]]).sum::<f64>() / area
        });
        assert_close("mean", &y, &expected, 1);
        let dy = random.array(&[n, c]);
        let of_x = Array::from_shape_fn(vec![n, c, h, w], |at| dy[[at[0], at[1]]] / area);
        assert_close("dx of the mean", &gradients(&y, &dy, [&vx])[0], &of_x, 1);
    }
}

#[test]
fn dropout_as_candles_module_draws_a_new_mask_at_every_call() {
    let dropout = dropout(0.5, "d").unwrap();
    let xs = Tensor::ones(200, candle_core::DType::F32, &Device::Cpu).unwrap();
    let masks = [0, 1].map(|_| values(&dropout.forward_t(&xs, true).unwrap()));
    assert_ne!(masks[0], masks[1]);
    assert_eq!(values(&dropout.forward_t(&xs, false).unwrap()), values(&xs));
}

#[test]
fn settings_that_mean_nothing_are_named() {
    let zeros = |dims: &[usize]| Tensor::zeros(dims, candle_core::DType::F32, &Device::Cpu).unwrap();
    let vb = || fer_nn::var_builder(&candle_nn::VarMap::new(), 0, &Device::Cpu);
    let config = fer_nn::BatchNormConfig { momentum: 1.5, ..Default::default() };
    let error = fer_nn::batch_norm(2, config, vb()).unwrap_err().to_string();
    assert!(error.contains("momentum is 1.5, it must be at least 0 and at most 1"), "{error}");
    let config = fer_nn::BatchNormConfig { epsilon: f64::NAN, ..Default::default() };
    assert!(fer_nn::batch_norm(2, config, vb()).is_err());
    let config = fer_nn::Conv2dConfig { groups: 2, ..Default::default() };
    let error = fer_nn::conv2d(3, 4, 3, config, vb()).unwrap_err().to_string();
    assert!(error.contains("2 groups of 3 input channels"), "{error}");
    let config = ConvTranspose2dConfig { padding: Padding::Same, ..Default::default() };
    assert!(ConvTranspose2d::new(zeros(&[1, 1, 2, 2]), None, config).is_err());
    assert!(Upsample::new(0).is_err());
    let padding = Padding::Explicit { top: usize::MAX, bottom: 1, left: 0, right: 0 };
    let config = fer_nn::Conv2dConfig { padding, ..Default::default() };
    assert!(fer_nn::conv2d(1, 1, 3, config, vb()).unwrap().forward(&zeros(&[1, 1, 8, 8])).is_err());
    assert_eq!(dropout(0.5, "d").unwrap().forward_t(&zeros(&[2, 0]), true).unwrap().dims(), [2, 0]);
    // What a graph's table says is what its layers do.
    let dense = fer_nn::dense(64, 3, Default::default(), vb()).unwrap();
    assert!(fer_nn::Layer::output(&dense, &[1, 1, 8, 8]).is_err());
    assert!(dense.forward(&zeros(&[1, 1, 8, 8])).is_err());
}

#[test]
fn a_value_of_another_graph_is_refused() {
    let xs = Tensor::zeros((1, 1, 4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
    let mut other = Graph::new();
    let first = other.add(other.images(), fer_nn::Flatten);
    let second = other.add(first, Activation::Relu);
    let mut graph = Graph::new();
    graph.add(second, fer_nn::Flatten);
    let error = graph.forward(&xs, Mode::Eval).unwrap_err().to_string();
    assert!(error.contains("layer `flatten_1`: its input is a value of another graph"), "{error}");
    assert!(graph.layers(xs.dims()).is_err());
    let mut graph = Graph::new();
    graph.add(graph.images(), fer_nn::Flatten);
    graph.outputs([second]);
    assert!(
        graph.forward(&xs, Mode::Eval).unwrap_err().to_string().contains("an output is a value of another")
    );
}
