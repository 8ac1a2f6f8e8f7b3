//! Rows against convolutions by their definition in f64, and against layers that are called in turn.

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use pulp::Simd;

use super::Rows;
use super::depthwise::Depthwise;
use super::filters::Convolution;
use super::product::Product;
use super::row::{Kept, Row, Under, Window};
use crate::cpu::groups::{GROUP, groups};
use crate::cpu::plain::{Plain, products, values};
use crate::geometry::ConvShape;
use crate::layer::Layer;
use crate::plan::{Conv, Node, Op, Plan, Source};
use crate::{
    Activation, BatchNormConfig, Conv2d, Conv2dConfig, Graph, MaxPool2d, Mode, PadChannels, Padding,
    Upsample, batch_norm, conv2d, var_builder,
};

fn tensor(shape: &[usize], seed: u64) -> Tensor {
    Tensor::from_vec(values(shape.iter().product(), seed), shape, &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// In a pool of so many threads.
fn on<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// The output of one convolution.
fn convolved(conv: &Conv2d, xs: &Tensor) -> Tensor {
    let node =
        Node { name: String::new(), op: conv.op(), variables: Vec::new(), inputs: vec![Source::Images] };
    let plan = Plan::of(vec![node], &[Source::Of(0)]);
    assert!(Rows::takes(&plan.stages[0]));
    Rows::new(&plan.stages, 0, |_| true).infer(std::slice::from_ref(xs)).unwrap().remove(0)
}

fn shape(conv: &Conv2d, xs: &Tensor) -> Option<ConvShape> {
    let Op::Conv2d(conv) = conv.op() else { panic!("a convolution") };
    conv.shape(xs.dims()).ok()
}

/// The convolution without bias by its definition.
fn plain(s: &ConvShape, x: &[f32], weight: &[f32]) -> Plain {
    let mut plain = Plain::new(vec![0.0; s.batch * s.out_size()]);
    products(s, |at_y, at_x, at_w| plain.add(at_y, x[at_x], weight[at_w]));
    plain
}

fn padding() -> impl Strategy<Value = Padding> {
    let explicit = (0..4_usize, 0..4_usize, 0..4_usize, 0..4_usize);
    prop_oneof![
        Just(Padding::Same),
        Just(Padding::Valid),
        explicit.prop_map(|(top, bottom, left, right)| Padding::Explicit { top, bottom, left, right }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn convolutions_are_their_definition(
        (batch, height, width) in (1..3_usize, 1..24_usize, 1..24_usize),
        (kind, of_input, of_output) in (0..3_usize, 1..40_usize, 1..40_usize),
        kernel in (1..8_usize, 1..8_usize),
        (stride, padding, threads) in (1..4_usize, padding(), 1..4_usize),
        (channels_last, bytes) in any::<(bool, bool)>(),
    ) {
        // Depthwise, 1×1, or of few channels.
        let (inputs, outputs, groups, kernel) = match kind {
            0 => (of_input + 1, of_input + 1, of_input + 1, kernel),
            1 => (of_input, of_output, 1, (1, 1)),
            _ => (of_input % 4 + 1, of_output, 1, kernel),
        };
        let weight = tensor(&[outputs, inputs / groups, kernel.0, kernel.1], 1);
        let config = Conv2dConfig { padding, stride, groups, bias: false, ..Default::default() };
        let conv = Conv2d::new(weight.clone(), None, config).unwrap();
        let mut xs = tensor(&[batch, inputs, height, width], 2);
        if bytes {
            xs = ((xs + 2.0).unwrap() * 60.0).unwrap().to_dtype(DType::U8).unwrap();
        }
        let x = flat(&xs.to_dtype(DType::F32).unwrap());
        if channels_last {
            let last = xs.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
            xs = last.permute((0, 3, 1, 2)).unwrap();
        }
        let Some(s) = shape(&conv, &xs) else { return Ok(()) };
        let found = flat(&on(threads, || convolved(&conv, &xs)));
        let error = plain(&s, &x, &flat(&weight)).relative_error(&found);
        prop_assert!(error <= 1e-6, "{s:?}: {error:e}");
    }
}

/// One row of a convolution in the middle of an image, by these instructions.
fn assert_right<S: Simd>(simd: S) {
    for (inputs, outputs, kernel, stride, width) in [
        (3, 16, (3, 3), 2, 25),
        (20, 37, (1, 1), 1, 29),
        (33, 33, (3, 3), 1, 27),
        (17, 17, (5, 5), 1, 9),
        (16, 16, (3, 2), 2, 13),
    ] {
        let depthwise = inputs == outputs;
        let (height, of) = (kernel.0, if depthwise { inputs } else { 1 });
        let s = ConvShape {
            batch: 1,
            in_channels: inputs,
            height,
            width,
            out_channels: outputs,
            kernel,
            stride,
            padding: (0, 1),
            out_height: 1,
            out_width: (width + 2 - kernel.1) / stride + 1,
            groups: of,
        };
        let weight = tensor(&[outputs, inputs / of, kernel.0, kernel.1], 1);
        let conv = Conv {
            weight: weight.clone(),
            bias: None,
            activation: Activation::Linear,
            padding: Padding::Valid,
            stride,
            groups: of,
        };
        let convolution = Convolution::new(conv, None, false);
        let x = values(inputs * height * width, 2);
        let pitch = if inputs < GROUP { inputs } else { GROUP };
        let row = Row { groups: inputs.div_ceil(pitch), pitch, before: 1, width, after: 1 };
        let mut rows = vec![0.0; height * row.len()];
        for (i, &value) in x.iter().enumerate() {
            let (channel, y, column) = (i / (height * width), i / width % height, i % width);
            row.columns_mut(&mut rows[y * row.len()..][..row.len()], channel / pitch)
                [column * pitch + channel % pitch] = value;
        }
        let filters = convolution.filters(row).unwrap();
        let window = Window { kernel: height, stride, before: 0, repeat: 1 };
        let under = Under::new(Kept { rows: &rows, capacity: height, row }, window, 0, height);
        let output = Row { groups: groups(outputs), pitch: GROUP, before: 2, width: s.out_width, after: 1 };
        let mut out = vec![f32::NAN; output.len()];
        let (filters, kernel) = (&filters, kernel.into());
        if depthwise {
            simd.vectorize(Depthwise { under, kernel, stride, filters, output, out: &mut out });
        } else {
            simd.vectorize(Product {
                under,
                in_channels: inputs,
                kernel,
                stride,
                filters,
                output,
                out: &mut out,
            });
        }
        let channel = |channel: usize| {
            output.lanes(&out, channel / GROUP).iter().map(move |lanes| lanes[channel % GROUP])
        };
        let found: Vec<f32> = (0..outputs).flat_map(channel).collect();
        let error = plain(&s, &x, &flat(&weight)).relative_error(&found);
        assert!(error <= 1e-6, "{simd:?} {s:?}: {error:e}");
        assert_eq!(out.iter().filter(|v| v.is_nan()).count(), 3 * GROUP * output.groups, "the rest stays");
    }
}

#[test]
fn rows_are_right_on_every_instruction_set() {
    assert_right(pulp::Scalar);
    #[cfg(target_arch = "x86_64")]
    {
        pulp::x86::V2::try_new().into_iter().for_each(assert_right);
        pulp::x86::V3::try_new().into_iter().for_each(assert_right);
        pulp::x86::V4::try_new().into_iter().for_each(assert_right);
    }
    #[cfg(target_arch = "aarch64")]
    pulp::aarch64::Neon::try_new().into_iter().for_each(assert_right);
}

/// A network with everything that rows flow through, of this many channels.
fn network(channels: usize) -> Graph {
    let vars = candle_nn::VarMap::new();
    let vb = var_builder(&vars, 7, &Device::Cpu);
    let mut graph = Graph::new();
    let images = graph.images();
    let light = |inputs: usize, out: usize, kernel, stride, activation, name: &str| {
        let groups = if kernel == 1 { 1 } else { out };
        let config = Conv2dConfig { stride, groups, activation, ..Default::default() };
        conv2d(inputs, out, kernel, config, vb.pp(name)).unwrap()
    };
    let (relu, linear) = (Activation::Relu, Activation::Linear);
    let stem = Conv2dConfig { stride: 2, padding: Padding::all(1), ..Default::default() };
    let x = graph.add(images, conv2d(3, channels, 3, stem, vb.pp("stem")).unwrap());
    let x = graph.add(x, batch_norm(channels, BatchNormConfig::default(), vb.pp("norm")).unwrap());
    // Not 0 of 0: what channels beyond the last become must not be seen in what is padded.
    let x = graph.add(x, Activation::Sigmoid);
    let wide = channels + 5;
    let y = graph.add(x, light(channels, channels, 5, 1, Activation::Silu, "a"));
    let y = graph.add(y, light(channels, wide, 1, 1, linear, "b"));
    let skip = graph.add(x, PadChannels::to(wide));
    let y = graph.sum(y, skip);
    let high = graph.add(y, Activation::Elu);
    let y = graph.add(high, light(wide, wide, 3, 1, relu, "c"));
    let low = graph.add(y, MaxPool2d::new(2, 2).unwrap());
    let y = graph.add(low, light(wide, wide, 3, 2, relu, "d"));
    let up = graph.add(y, Upsample::new(2).unwrap());
    let both = graph.sum(low, up);
    let y = graph.add(both, light(wide, 9, 1, 1, linear, "e"));
    let y = graph.add(y, light(9, 9, 3, 1, linear, "f"));
    graph.outputs([y, high]);
    graph
}

#[test]
fn a_network_gives_what_its_layers_give_on_any_number_of_threads() {
    for (batch, channels, height, width) in
        [(1, 3, 64, 48), (2, 16, 32, 40), (3, 21, 24, 16), (1, 40, 96, 104)]
    {
        let net = network(channels);
        let images = tensor(&[batch, 3, height, width], 3);
        let found = on(1, || net.forward_all(&images, Mode::Eval).unwrap());
        let expected = net.in_turn(&images).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.dims(), expected.dims());
            let expected = flat(expected).iter().map(|&v| f64::from(v)).collect();
            let error = Plain::new(expected).relative_error(&flat(found));
            assert!(error <= 2e-6, "{batch}×{channels}×{height}×{width}: {error:e}");
        }
        for threads in [2, 3] {
            let again = on(threads, || net.forward_all(&images, Mode::Eval).unwrap());
            assert!(found.iter().zip(&again).all(|(a, b)| flat(a) == flat(b)), "{threads} threads");
        }
    }
}

#[test]
fn what_is_no_number_stays() {
    let config = Conv2dConfig { bias: false, groups: 2, activation: Activation::Relu, ..Default::default() };
    let conv =
        Conv2d::new(Tensor::ones((2, 1, 1, 1), DType::F32, &Device::Cpu).unwrap(), None, config).unwrap();
    let xs = Tensor::new(&[[[[f32::NAN]], [[-1.0]]]], &Device::Cpu).unwrap();
    let ys = flat(&convolved(&conv, &xs));
    assert!(ys[0].is_nan() && ys[1] == 0.0, "{ys:?}");
}
