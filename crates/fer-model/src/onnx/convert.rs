//! Layers as ONNX's operators.

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Tensor as CandleTensor};
use fer_nn::{Activation, Padding};

use super::config::OnnxConfig;
use super::proto::{Attribute, FLOAT, Node, Tensor};
use crate::{Error, LayerConfig, LayerKind, ModelConfig, Result};

/// A network's operators in order, and its tensors.
pub(super) struct Network<'a> {
    pub nodes: Vec<Node>,
    pub tensors: Vec<Tensor>,
    /// The value that is what the network sees, and the operators before it.
    pub seen: (String, usize),
    weights: &'a HashMap<String, CandleTensor>,
    /// What each layer gives: the value's name and, for an image, its channels, rows and columns, or its units.
    values: HashMap<String, (String, Vec<usize>)>,
    /// The names that values and tensors have: layers may be called whatever we call ours.
    taken: HashSet<String>,
    /// The batch normalisations that were multiplied into the convolutions of these names.
    folded: HashMap<String, Folded>,
}

/// What a batch normalisation does to each channel: `scale · x + shift`.
struct Folded {
    norm: String,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl<'a> Network<'a> {
    pub fn of(
        config: &ModelConfig,
        weights: &'a HashMap<String, CandleTensor>,
        settings: OnnxConfig,
    ) -> Result<Self> {
        let layers = config.architecture.layer_configs(config.labels.len());
        let mut network = Self {
            nodes: Vec::new(),
            tensors: Vec::new(),
            seen: (String::new(), 0),
            weights,
            values: HashMap::new(),
            taken: ["images", "probabilities"].map(String::from).into(),
            folded: HashMap::new(),
        };
        if settings.fold_norms {
            network.fold(&layers)?;
        }
        let images = network.images(config, settings)?;
        network.seen = (images.clone(), network.nodes.len());
        let input = config.input;
        let dims = vec![input.channels, input.height, input.width];
        network.values.insert("images".to_owned(), (images, dims));
        let outputs = config.architecture.layers(input, config.labels.len())?;
        let mut last = "images".to_owned();
        for (layer, info) in layers.iter().zip(&outputs) {
            let names = if layer.inputs.is_empty() { vec![last] } else { layer.inputs.clone() };
            let inputs: Vec<_> = names.iter().filter_map(|name| network.values.get(name).cloned()).collect();
            // The table has rows and columns before channels.
            let dims = match info.output[..] {
                [height, width, channels] => vec![channels, height, width],
                _ => info.output.clone(),
            };
            let value = network.layer(layer, &inputs)?;
            network.values.insert(layer.name.clone(), (value, dims));
            last = layer.name.clone();
        }
        let logits = network.values[&last].0.clone();
        let softmax = vec![Attribute::int("axis", 1)];
        network.named_node("Softmax", "probabilities".to_owned(), &[&logits], softmax);
        Ok(network)
    }

    /// This name, with `_` behind it where another has it.
    pub fn free(&mut self, name: &str) -> String {
        let mut name = name.to_owned();
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    /// An operator whose output has its name, which is given: this one where it is free.
    pub fn node(&mut self, op_type: &str, name: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let name = self.free(name);
        self.named_node(op_type, name, inputs, attributes)
    }

    fn named_node(
        &mut self,
        op_type: &str,
        name: String,
        inputs: &[&str],
        attribute: Vec<Attribute>,
    ) -> String {
        self.nodes.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op_type.to_owned(),
            attribute,
        });
        name
    }

    /// A tensor of these values, whose name is given: this one where it is free.
    fn tensor(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let name = self.free(name);
        self.tensors.push(Tensor::floats(name.clone(), dims, values));
        name
    }

    fn scalar(&mut self, name: &str, value: f32) -> String {
        self.tensor(name, &[], &[value])
    }

    fn ints(&mut self, name: &str, values: &[i64]) -> String {
        let name = self.free(name);
        self.tensors.push(Tensor::ints(name.clone(), values));
        name
    }

    /// The values of a layer's tensor, and its dimensions.
    fn read(&self, layer: &str, tensor: &str) -> Result<(Vec<f32>, Vec<usize>)> {
        let name = format!("{layer}.{tensor}");
        let missing = || Error::MissingTensor { name: "the network".to_owned(), tensor: name.clone() };
        let value = self.weights.get(&name).ok_or_else(missing)?.to_dtype(DType::F32)?;
        Ok((value.flatten_all()?.to_vec1()?, value.dims().to_vec()))
    }

    /// A layer's tensor as it is.
    fn weight(&mut self, layer: &str, tensor: &str) -> Result<String> {
        let (values, dims) = self.read(layer, tensor)?;
        Ok(self.tensor(&format!("{layer}.{tensor}"), &dims, &values))
    }

    /// A layer's weight and, where it has one, its bias.
    fn affine(&mut self, layer: &str, bias: bool) -> Result<Vec<String>> {
        let mut inputs = vec![self.weight(layer, "weight")?];
        if bias {
            inputs.push(self.weight(layer, "bias")?);
        }
        Ok(inputs)
    }

    /// What the network sees of the images that it is given.
    fn images(&mut self, config: &ModelConfig, settings: OnnxConfig) -> Result<String> {
        if !settings.preprocessing {
            return Ok("images".to_owned());
        }
        let preprocessing = config.preprocessing;
        let numbers =
            self.node("Cast", "images_as_floats", &["images"], vec![Attribute::int("to", i64::from(FLOAT))]);
        let scale = self.scalar("preprocessing.scale", preprocessing.scale);
        let mean = self.scalar("preprocessing.mean", preprocessing.mean);
        let deviation = self.scalar("preprocessing.deviation", preprocessing.deviation);
        let scaled = self.node("Mul", "images_scaled", &[&numbers, &scale], Vec::new());
        let centred = self.node("Sub", "images_centred", &[&scaled, &mean], Vec::new());
        let seen = self.node("Div", "images_standardised", &[&centred, &deviation], Vec::new());
        match config.input.channels {
            1 => {
                let axes = self.ints("channel_axis", &[1]);
                Ok(self.node("Unsqueeze", "images_in_channels", &[&seen, &axes], Vec::new()))
            }
            3 => {
                let order = Attribute::ints("perm", [0, 3, 1, 2]);
                Ok(self.node("Transpose", "images_in_channels", &[&seen], vec![order]))
            }
            channels => Err(Error::config(
                "channels",
                channels,
                "1 or 3 for preprocessing: images are grey or have three colours",
            )),
        }
    }

    /// Finds the batch normalisations that stand behind a convolution which nothing else reads.
    fn fold(&mut self, layers: &[LayerConfig]) -> Result<()> {
        let input = |i: usize| match (layers[i].inputs.first(), i) {
            (Some(name), _) => name.as_str(),
            (None, 0) => "images",
            (None, _) => layers[i - 1].name.as_str(),
        };
        for (i, layer) in layers.iter().enumerate() {
            let LayerKind::BatchNorm { epsilon, .. } = layer.is else { continue };
            let before = layers[..i].iter().find(|before| before.name == input(i));
            let Some(LayerConfig {
                name, is: LayerKind::Conv2d { activation: Activation::Linear, .. }, ..
            }) = before
            else {
                continue;
            };
            let reads = |i: usize| {
                let named = layers[i].inputs.iter().filter(|read| *read == name).count();
                named + usize::from(layers[i].inputs.is_empty() && input(i) == name)
            };
            if (0..layers.len()).map(reads).sum::<usize>() != 1 {
                continue;
            }
            let of = |tensor: &str| Ok::<_, Error>(self.read(&layer.name, tensor)?.0);
            let (weight, bias) = (of("weight")?, of("bias")?);
            let (mean, variance) = (of("running_mean")?, of("running_var")?);
            let scale: Vec<f32> = weight
                .iter()
                .zip(&variance)
                .map(|(&weight, &variance)| {
                    (f64::from(weight) / (f64::from(variance) + epsilon).sqrt()) as f32
                })
                .collect();
            let shift = (0..scale.len()).map(|c| bias[c] - mean[c] * scale[c]).collect();
            self.folded.insert(name.clone(), Folded { norm: layer.name.clone(), scale, shift });
        }
        Ok(())
    }

    /// The operators of a layer; gives the name of its value.
    fn layer(&mut self, layer: &LayerConfig, inputs: &[(String, Vec<usize>)]) -> Result<String> {
        let name = layer.name.as_str();
        let (x, dims) = &inputs[0];
        let x = x.as_str();
        Ok(match layer.is {
            LayerKind::Conv2d { kernel, stride, padding, groups, bias, activation, .. } => {
                let inputs = self.convolution(name, bias)?;
                let inputs: Vec<&str> = [x].into_iter().chain(inputs.iter().map(String::as_str)).collect();
                let mut attributes = windows(kernel, stride, padding, dims);
                attributes.push(Attribute::int("group", groups as i64));
                let y = self.node("Conv", name, &inputs, attributes);
                self.activation(y, activation)?
            }
            LayerKind::ConvTranspose2d { kernel, stride, padding, bias, activation, .. } => {
                let inputs = self.affine(name, bias)?;
                let inputs: Vec<&str> = [x].into_iter().chain(inputs.iter().map(String::as_str)).collect();
                let y = self.node("ConvTranspose", name, &inputs, windows(kernel, stride, padding, dims));
                self.activation(y, activation)?
            }
            LayerKind::Dense { bias, activation, .. } => {
                let inputs = self.affine(name, bias)?;
                let inputs: Vec<&str> = [x].into_iter().chain(inputs.iter().map(String::as_str)).collect();
                let y = self.node("Gemm", name, &inputs, vec![Attribute::int("transB", 1)]);
                self.activation(y, activation)?
            }
            LayerKind::BatchNorm { .. } if self.folded.values().any(|folded| folded.norm == name) => {
                x.to_owned()
            }
            LayerKind::BatchNorm { epsilon, .. } => {
                let parts =
                    ["weight", "bias", "running_mean", "running_var"].map(|part| self.weight(name, part));
                let [weight, bias, mean, variance] = parts;
                let inputs = [x, &weight?, &bias?, &mean?, &variance?];
                self.node(
                    "BatchNormalization",
                    name,
                    &inputs,
                    vec![Attribute::float("epsilon", epsilon as f32)],
                )
            }
            LayerKind::Activation(activation) => self.activation_named(x, name, activation)?,
            LayerKind::PRelu => {
                let (slopes, _) = self.read(name, "weight")?;
                // One a channel, over all places.
                let mut shape = vec![1; dims.len()];
                shape[0] = slopes.len();
                let slopes = self.tensor(&format!("{name}.weight"), &shape, &slopes);
                self.node("PRelu", name, &[x, &slopes], Vec::new())
            }
            LayerKind::MaxPool2d { size, stride, padding } => {
                self.node("MaxPool", name, &[x], windows(size, stride, padding, dims))
            }
            LayerKind::MeanPool2d { size, stride, padding } => {
                // Values beyond the edge do not count: the operator's default.
                self.node("AveragePool", name, &[x], windows(size, stride, padding, dims))
            }
            LayerKind::GlobalMean => {
                let mean = self.node("GlobalAveragePool", &format!("{name}.places"), &[x], Vec::new());
                self.node("Flatten", name, &[&mean], vec![Attribute::int("axis", 1)])
            }
            LayerKind::Dropout { .. } => x.to_owned(),
            LayerKind::Flatten => self.node("Flatten", name, &[x], vec![Attribute::int("axis", 1)]),
            LayerKind::Upsample { factor } => {
                let factor = factor as f32;
                let scales = self.tensor(&format!("{name}.scales"), &[4], &[1.0, 1.0, factor, factor]);
                let attributes = vec![
                    Attribute::text("mode", "nearest"),
                    Attribute::text("coordinate_transformation_mode", "asymmetric"),
                    Attribute::text("nearest_mode", "floor"),
                ];
                self.node("Resize", name, &[x, "", &scales], attributes)
            }
            LayerKind::Sum => self.node("Add", name, &[x, &inputs[1].0], Vec::new()),
        })
    }

    /// The weight and the bias of a convolution, with the batch normalisation behind it where it is folded.
    fn convolution(&mut self, name: &str, bias: bool) -> Result<Vec<String>> {
        let Some(folded) = self.folded.get(name) else { return self.affine(name, bias) };
        let (mut weight, dims) = self.read(name, "weight")?;
        let mut shift = folded.shift.clone();
        if bias {
            let (bias, _) = self.read(name, "bias")?;
            shift
                .iter_mut()
                .zip(&folded.scale)
                .zip(bias)
                .for_each(|((shift, scale), bias)| *shift += scale * bias);
        }
        let of_channel = weight.len() / dims[0];
        for (channel, scale) in weight.chunks_exact_mut(of_channel).zip(&folded.scale) {
            channel.iter_mut().for_each(|value| *value *= scale);
        }
        let channels = [dims[0]];
        Ok(vec![
            self.tensor(&format!("{name}.weight"), &dims, &weight),
            self.tensor(&format!("{name}.bias"), &channels, &shift),
        ])
    }

    /// The activation that is part of a layer.
    fn activation(&mut self, x: String, activation: Activation) -> Result<String> {
        match activation {
            Activation::Linear => Ok(x),
            _ => self.activation_named(&x, &format!("{x}.activation"), activation),
        }
    }

    fn activation_named(&mut self, x: &str, name: &str, activation: Activation) -> Result<String> {
        Ok(match activation {
            Activation::Linear => self.node("Identity", name, &[x], Vec::new()),
            Activation::Relu => self.node("Relu", name, &[x], Vec::new()),
            Activation::Elu => self.node("Elu", name, &[x], vec![Attribute::float("alpha", 1.0)]),
            Activation::LeakyRelu(slope) => {
                self.node("LeakyRelu", name, &[x], vec![Attribute::float("alpha", slope)])
            }
            Activation::Sigmoid => self.node("Sigmoid", name, &[x], Vec::new()),
            Activation::Silu => {
                let gate = self.node("Sigmoid", &format!("{name}.gate"), &[x], Vec::new());
                self.node("Mul", name, &[x, &gate], Vec::new())
            }
            other => {
                let found = format!("{other:?}");
                return Err(Error::config("activation", found, "one that ONNX is known to have"));
            }
        })
    }
}

/// The attributes of windows over an image of these channels, rows and columns.
fn windows(size: usize, stride: usize, padding: Padding, dims: &[usize]) -> Vec<Attribute> {
    let along = |length: usize| match padding {
        Padding::Same => {
            let total = ((length.div_ceil(stride).max(1) - 1) * stride + size).saturating_sub(length);
            [total / 2, total - total / 2]
        }
        _ => [0, 0],
    };
    let [[top, bottom], [left, right]] = match padding {
        Padding::Explicit { top, bottom, left, right } => [[top, bottom], [left, right]],
        _ => [along(dims[1]), along(dims[2])],
    };
    let square = |value: usize| [value as i64; 2];
    vec![
        Attribute::ints("kernel_shape", square(size)),
        Attribute::ints("strides", square(stride)),
        Attribute::ints("pads", [top, left, bottom, right].map(|n| n as i64)),
    ]
}
