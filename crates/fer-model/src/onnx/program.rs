//! The operators of an ONNX file, run here: what every value is, and what the file answers.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::VarBuilder;
use fer_nn::{
    Activation, BatchNormConfig, Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig, Dense,
    Flatten, GlobalMean, Layer, MaxPool2d, MeanPool2d, Mode, Network, PRelu, Padding, Upsample, batch_norm,
};

use super::proto::{self, Attribute, INT8, INT32, Node, UINT8};

/// Operators in order, each ready to be called.
#[derive(Debug)]
pub(super) struct Program {
    steps: Vec<Step>,
    /// The value that is what the network sees.
    images: String,
}

#[derive(Debug)]
struct Step {
    does: Does,
    inputs: Vec<String>,
    output: String,
    /// Values that nothing reads after this step.
    done: Vec<String>,
}

#[derive(Debug)]
enum Does {
    Layer(Box<dyn Layer>),
    Add,
    Mul,
    Quantize(Grid),
    Dequantize(Grid),
}

/// Whole numbers from `low` to `high`, each of which stands for `(number − zero) · scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    pub scale: f32,
    pub zero: f32,
    pub low: f32,
    pub high: f32,
}

impl Grid {
    /// The number next to a value, of two as near the even one.
    pub fn number(self, value: f32) -> f32 {
        ((value / self.scale).round_ties_even() + self.zero).clamp(self.low, self.high)
    }

    fn value(self, number: f32) -> f32 {
        (number - self.zero) * self.scale
    }
}

impl Program {
    /// The program of these operators, which read what the network sees as `images` and give logits. The softmax is left out.
    pub fn new(nodes: &[Node], tensors: &[proto::Tensor], images: &str) -> Result<Self> {
        let known = tensors.iter().map(|tensor| Ok((tensor.name.clone(), values(tensor)?)));
        let mut known: HashMap<String, Tensor> = known.collect::<Result<_>>()?;
        let kinds: HashMap<&str, i32> =
            tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.data_type)).collect();
        let mut steps: Vec<Step> = Vec::new();
        for node in nodes.iter().filter(|node| node.op_type != "Softmax") {
            let kind = node.input.last().and_then(|zero| kinds.get(zero.as_str())).copied();
            if node.op_type == "DequantizeLinear" && known.contains_key(&node.input[0]) {
                let weight = dequantized(&known[&node.input[0]], &known[&node.input[1]])?;
                known.insert(node.output[0].clone(), weight);
                continue;
            }
            let does = does(node, &known, kind)?;
            let inputs = node.input.iter().filter(|name| !name.is_empty() && !known.contains_key(*name));
            let (inputs, output) = (inputs.cloned().collect(), node.output[0].clone());
            steps.push(Step { does, inputs, output, done: Vec::new() });
        }
        let mut read = Vec::new();
        for step in steps.iter_mut().rev() {
            step.done = step.inputs.iter().filter(|input| !read.contains(*input)).cloned().collect();
            read.extend(step.done.iter().cloned());
        }
        Ok(Self { steps, images: images.to_owned() })
    }

    /// Runs the operators on what the network sees, `(batch, channels, height, width)`, and shows every value with its name.
    pub fn run(&self, images: &Tensor, see: &mut dyn FnMut(&str, &Tensor) -> Result<()>) -> Result<Tensor> {
        see(&self.images, images)?;
        let mut values = HashMap::from([(self.images.as_str(), images.clone())]);
        let mut last = images.clone();
        for step in &self.steps {
            let read = |i: usize| match step.inputs.get(i).and_then(|name| values.get(name.as_str())) {
                Some(value) => Ok(value),
                None => bail!("{}: a value is missing", step.output),
            };
            last = match &step.does {
                Does::Layer(layer) => layer.forward(read(0)?, Mode::Eval)?,
                Does::Add => (read(0)? + read(1)?)?,
                Does::Mul => (read(0)? * read(1)?)?,
                Does::Quantize(grid) => each(read(0)?, |value| grid.number(value))?,
                Does::Dequantize(grid) => each(read(0)?, |number| grid.value(number))?,
            };
            see(&step.output, &last)?;
            for name in &step.done {
                values.remove(name.as_str());
            }
            values.insert(&step.output, last.clone());
        }
        Ok(last)
    }
}

impl Network for Program {
    fn forward(&self, images: &Tensor, _: Mode) -> Result<Tensor> {
        self.run(images, &mut |_, _| Ok(()))
    }
}

fn each(xs: &Tensor, of: impl Fn(f32) -> f32) -> Result<Tensor> {
    let mut values = xs.flatten_all()?.to_vec1::<f32>()?;
    values.iter_mut().for_each(|value| *value = of(*value));
    Tensor::from_vec(values, xs.dims(), xs.device())
}

/// A tensor of a file as floats.
fn values(tensor: &proto::Tensor) -> Result<Tensor> {
    let dims: Vec<usize> = tensor.dims.iter().map(|&dim| dim as usize).collect();
    let raw = &tensor.raw_data;
    let fours = raw.as_chunks::<4>().0.iter();
    let values: Vec<f32> = match tensor.data_type {
        INT8 => raw.iter().map(|&byte| f32::from(byte as i8)).collect(),
        UINT8 => raw.iter().map(|&byte| f32::from(byte)).collect(),
        INT32 => fours.map(|&bytes| i32::from_le_bytes(bytes) as f32).collect(),
        proto::INT64 => {
            raw.as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as f32).collect()
        }
        _ => fours.map(|&bytes| f32::from_le_bytes(bytes)).collect(),
    };
    Tensor::from_vec(values, dims, &Device::Cpu)
}

/// Numbers around 0, each times the scale of its first dimension.
fn dequantized(numbers: &Tensor, scales: &Tensor) -> Result<Tensor> {
    let mut dims = vec![1; numbers.rank()];
    dims[0] = numbers.dims()[0];
    numbers.broadcast_mul(&scales.reshape(dims)?)
}

/// What an operator does, from its attributes and the tensors that it reads.
fn does(node: &Node, known: &HashMap<String, Tensor>, kind: Option<i32>) -> Result<Does> {
    let tensor = |i: usize| node.input.get(i).and_then(|name| known.get(name)).cloned();
    let needed = |i: usize| match tensor(i) {
        Some(tensor) => Ok(tensor),
        None => bail!("{}: input {i} is not a tensor of the file", node.name),
    };
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let ints = |name: &str| -> Vec<usize> {
        attribute(name).map_or(Vec::new(), |of: &Attribute| of.ints.iter().map(|&n| n as usize).collect())
    };
    let float = |name: &str| attribute(name).and_then(|of| of.f).unwrap_or(0.0);
    let stride = ints("strides").first().copied().unwrap_or(1);
    let size = ints("kernel_shape").first().copied().unwrap_or(1);
    let padding = match ints("pads")[..] {
        [0, 0, 0, 0] => Padding::Valid,
        [top, left, bottom, right] => Padding::Explicit { top, bottom, left, right },
        _ => Padding::Valid,
    };
    let (bias, linear) = (tensor(2), Activation::Linear);
    let layer: Box<dyn Layer> = match node.op_type.as_str() {
        "Conv" => {
            let groups = attribute("group").and_then(|of| of.i).unwrap_or(1) as usize;
            let config = Conv2dConfig { padding, stride, groups, bias: bias.is_some(), activation: linear };
            Box::new(Conv2d::new(needed(1)?, bias, config)?)
        }
        "ConvTranspose" => {
            let config = ConvTranspose2dConfig { padding, stride, bias: bias.is_some(), activation: linear };
            Box::new(ConvTranspose2d::new(needed(1)?, bias, config)?)
        }
        "Gemm" => Box::new(Dense::new(needed(1)?, bias, linear)?),
        "BatchNormalization" => {
            let names = ["weight", "bias", "running_mean", "running_var"].into_iter().zip(1..);
            let parts = names.map(|(name, i)| Ok((name.to_owned(), needed(i)?)));
            let parts: HashMap<_, _> = parts.collect::<Result<_>>()?;
            let vb = VarBuilder::from_tensors(parts, DType::F32, &Device::Cpu);
            let config = BatchNormConfig { epsilon: f64::from(float("epsilon")), ..Default::default() };
            Box::new(batch_norm(needed(1)?.elem_count(), config, vb)?)
        }
        "PRelu" => Box::new(PRelu::new(needed(1)?.flatten_all()?)?),
        "Identity" => Box::new(linear),
        "Relu" => Box::new(Activation::Relu),
        "Elu" => Box::new(Activation::Elu),
        "LeakyRelu" => Box::new(Activation::LeakyRelu(float("alpha"))),
        "Sigmoid" => Box::new(Activation::Sigmoid),
        "MaxPool" => Box::new(MaxPool2d::new(size, stride)?.padding(padding)),
        "AveragePool" => Box::new(MeanPool2d::new(size, stride)?.padding(padding)),
        "GlobalAveragePool" => Box::new(GlobalMean),
        "Flatten" => Box::new(Flatten),
        "Resize" => Box::new(Upsample::new(needed(2)?.flatten_all()?.to_vec1::<f32>()?[2] as usize)?),
        "Add" => return Ok(Does::Add),
        "Mul" => return Ok(Does::Mul),
        "QuantizeLinear" | "DequantizeLinear" => {
            let one = |i: usize| needed(i)?.reshape(())?.to_scalar::<f32>();
            let (low, high) = if kind == Some(UINT8) { (0.0, 255.0) } else { (-128.0, 127.0) };
            let grid = Grid { scale: one(1)?, zero: one(2)?, low, high };
            return Ok(match node.op_type.as_str() {
                "QuantizeLinear" => Does::Quantize(grid),
                _ => Does::Dequantize(grid),
            });
        }
        other => bail!("{}: the operator {other} is not known", node.name),
    };
    Ok(Does::Layer(layer))
}
