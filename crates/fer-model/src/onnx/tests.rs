//! What stands in a file of 8 bits.

use std::collections::HashMap;

use candle_core::{Device, Tensor as CandleTensor};
use candle_nn::VarMap;
use fer_nn::{Activation, var_builder};
use prost::Message;

use super::proto::{INT8, INT32, Model, Node, Tensor, UINT8};
use super::{OnnxConfig, Quantized};
use crate::saved::NamedTensors;
use crate::{Architecture, Classifier, Input, ModelConfig, Preprocessing, ResnetConfig, VggConfig};

const INPUT: Input = Input { channels: 1, height: 12, width: 10 };

fn config(architecture: impl Into<Architecture>) -> ModelConfig {
    let labels = ["happy", "sad", "neutral"].map(String::from).to_vec();
    let config = ModelConfig::new(architecture, INPUT, labels).unwrap();
    config.preprocessed(Preprocessing { mean: 0.5, deviation: 0.25, ..Default::default() }).unwrap()
}

fn vgg(activation: Activation) -> ModelConfig {
    config(VggConfig { widths: vec![4, 6], dropout: vec![0.1; 2], activation, ..Default::default() })
}

/// The network's first variables, and images.
fn drawn(config: &ModelConfig) -> (VarMap, Vec<u8>) {
    let vars = VarMap::new();
    config.network(var_builder(&vars, 42, &Device::Cpu)).unwrap();
    let pixels = (0..20 * 120_usize).map(|i| (i * i % 241 / (1 + i / 120 % 3)) as u8).collect();
    (vars, pixels)
}

struct File {
    nodes: Vec<Node>,
    tensors: HashMap<String, Tensor>,
    metadata: HashMap<String, String>,
}

fn file(quantized: &Quantized) -> File {
    let model = Model::decode(&*quantized.to_bytes()).unwrap();
    let graph = model.graph.unwrap();
    let tensors = graph.initializer.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let metadata = model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect();
    File { nodes: graph.node, tensors, metadata }
}

impl File {
    fn of(config: &ModelConfig) -> Self {
        let (vars, pixels) = drawn(config);
        file(&Quantized::new(config, &vars, OnnxConfig::default(), &pixels).unwrap())
    }

    fn maker(&self, value: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.output[0] == value)
    }

    fn all<'a>(&'a self, op_type: &'a str) -> impl Iterator<Item = &'a Node> {
        self.nodes.iter().filter(move |node| node.op_type == op_type)
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.tensors[name].raw_data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
    }
}

#[test]
fn weights_are_symmetric_by_output_channel_and_biases_have_32_bits() {
    let config = vgg(Activation::Elu);
    let (vars, _) = drawn(&config);
    let file = File::of(&config);
    let mut count = 0;
    for node in file.all("Conv").chain(file.all("Gemm")) {
        let [input, weight, bias] = [0, 1, 2].map(|i| file.maker(&node.input[i]).unwrap());
        assert!([input, weight, bias].iter().all(|node| node.op_type == "DequantizeLinear"), "{}", node.name);
        let numbers = &file.tensors[&weight.input[0]];
        let scales = file.floats(&weight.input[1]);
        let original: CandleTensor = vars.named(&format!("{}.weight", node.name)).unwrap();
        let dims: Vec<usize> = numbers.dims.iter().map(|&dim| dim as usize).collect();
        assert_eq!((numbers.data_type, &dims[..]), (INT8, original.dims()));
        let rows = original.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        let coded = numbers.raw_data.chunks_exact(rows[0].len());
        for ((row, scale), coded) in rows.iter().zip(&scales).zip(coded) {
            let largest = row.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
            assert_eq!(*scale, largest / super::quantize::MOST);
            for (value, &number) in row.iter().zip(coded) {
                assert!((value - f32::from(number as i8) * scale).abs() <= scale * 0.5001);
            }
        }
        assert!(file.tensors[&weight.input[2]].raw_data.iter().all(|zero| *zero == 0));
        let by_input = file.floats(&input.input[1])[0];
        let of_bias: Vec<f32> = scales.iter().map(|scale| scale * by_input).collect();
        assert_eq!(file.tensors[&bias.input[0]].data_type, INT32);
        assert_eq!(file.floats(&bias.input[1]), of_bias);
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn values_have_a_byte_over_the_range_that_was_measured() {
    let config = vgg(Activation::Elu);
    let (_, pixels) = drawn(&config);
    let file = File::of(&config);
    let (least, most) = (*pixels.iter().min().unwrap(), *pixels.iter().max().unwrap());
    let [low, high] = [least, most].map(|v| config.preprocessing.value(v));
    let images = file.all("QuantizeLinear").next().unwrap();
    assert_eq!(images.input[0], "images");
    let scale = file.floats(&images.input[1])[0];
    let exact = (high - low) / 255.0;
    assert!((exact..exact * 1.01).contains(&scale), "{scale}, {exact}");
    let zero = &file.tensors[&images.input[2]];
    assert_eq!((zero.data_type, zero.raw_data[0]), (UINT8, (-low / scale).round_ties_even() as u8));
}

#[test]
fn numbers_stand_where_onnx_runtime_computes_in_integers() {
    let relu = File::of(&vgg(Activation::Relu));
    for conv in relu.all("Conv") {
        let reader = relu.nodes.iter().find(|node| node.input.contains(&conv.output[0])).unwrap();
        assert_eq!(reader.op_type, "Relu", "{}: cut off by the numbers' bounds", conv.name);
    }
    for pool in relu.all("MaxPool") {
        let before = relu.maker(&pool.input[0]).unwrap();
        let after = relu.nodes.iter().find(|node| node.input[0] == pool.output[0]).unwrap();
        assert_eq!((&*after.op_type, &before.input[1..]), ("QuantizeLinear", &after.input[1..]));
    }
    let softmax = relu.all("Softmax").next().unwrap();
    assert_eq!(relu.maker(&softmax.input[0]).unwrap().op_type, "Gemm", "logits are floats");

    let resnet =
        File::of(&config(ResnetConfig { widths: vec![4, 6], blocks: vec![1; 2], ..Default::default() }));
    assert_eq!((resnet.all("BatchNormalization").count(), resnet.all("Add").count()), (0, 2));
    for add in resnet.all("Add") {
        assert!(add.input.iter().all(|input| resnet.maker(input).unwrap().op_type == "DequantizeLinear"));
    }
}

#[test]
fn the_classifier_answers_nearly_as_in_32_bits() {
    let config = vgg(Activation::Elu);
    let (vars, pixels) = drawn(&config);
    let mut quantized = Quantized::new(&config, &vars, OnnxConfig::default(), &pixels).unwrap();
    let whole = Classifier::new(config, &vars, &Device::Cpu).unwrap().predict_pixels(&pixels).unwrap();
    let coded = quantized.classifier().unwrap().predict_pixels(&pixels).unwrap();
    let differences = whole.iter().flatten().zip(coded.iter().flatten()).map(|(a, b)| (a - b).abs());
    let largest = differences.fold(0.0, f32::max);
    assert!(largest > 0.0 && largest < 0.02, "{largest}");
    quantized.note("accuracy", "0.9");
    let metadata = file(&quantized).metadata;
    let notes = (&*metadata["accuracy"], &*metadata["quantized"]);
    assert_eq!(notes, ("0.9", "8 bits, ranges of 20 images"));
}

#[test]
fn what_cannot_be_measured_is_said() {
    let config = vgg(Activation::Elu);
    let (vars, mut pixels) = drawn(&config);
    let error = |vars: &VarMap, pixels: &[u8]| {
        Quantized::new(&config, vars, OnnxConfig::default(), pixels).err().unwrap().to_string()
    };
    assert_eq!(error(&vars, &[]), "pixels is 0, allowed: a multiple of 120, at least 120");
    assert_eq!(error(&vars, &pixels[1..]), "pixels is 2399, allowed: a multiple of 120, at least 120");
    pixels.truncate(120);
    let infinite = vars.named("conv2d_1.bias").unwrap().affine(0.0, f64::INFINITY).unwrap();
    vars.data().lock().unwrap()["conv2d_1.bias"].set(&infinite).unwrap();
    assert!(error(&vars, &pixels).contains("not finite"), "{}", error(&vars, &pixels));
}
